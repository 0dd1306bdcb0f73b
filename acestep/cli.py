"""Command-line door: ``acestep generate`` makes a song file, ``acestep info`` reads back how one was made.

In: arguments. Out: files, one line per result, an exit code (``terminal``). Heavy imports happen inside the commands,
so that ``--help`` and bad arguments answer at once.
"""

from __future__ import annotations

import argparse
import logging
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from acestep import __version__
from acestep.constants import SAMPLE_RATE
from acestep.errors import InputError, OutputError
from acestep.terminal import finish_command, print_json

if TYPE_CHECKING:
    from acestep.params import GenerationParams
    from acestep.result import GenerationResult


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        The exit code.
    """
    arguments = _parser().parse_args(argv)
    logging.basicConfig(format="acestep: %(message)s")
    logging.getLogger("acestep").setLevel(logging.INFO if arguments.verbose else logging.WARNING)
    as_json = getattr(arguments, "json", False)
    return finish_command("acestep", partial(arguments.run, arguments), as_json=as_json)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="acestep", description="Make music with ACE-Step 1.5.")
    parser.add_argument("--version", action="version", version=f"acestep {__version__}")
    parser.add_argument("-v", "--verbose", action="store_true", help="say what is loaded and decided")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_generate(commands.add_parser("generate", help="make a song from text", epilog=_GENERATE_EXAMPLE))
    _add_info(commands.add_parser("info", help="show how a file was made", epilog="Example: acestep info song.flac"))
    _add_weights(commands)
    return parser


def _add_weights(commands: Any) -> None:
    """The commands about weights, each declared by its own module."""
    from acestep import download_cli, models_cli

    for name, door, about in (
        ("download", download_cli, "fetch published weights"),
        ("models", models_cli, "what is here, what fits this machine, what auto would choose"),
    ):
        parser = commands.add_parser(name, help=about)
        door.add_arguments(parser)
        parser.set_defaults(run=door.run)


_GENERATE_EXAMPLE = 'Example: acestep generate "calm piano with strings" --duration 30 --key "D minor" -o song.flac'


def _add_generate(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=_generate)
    parser.add_argument("text", metavar="TEXT", help="the music in words")
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="FILE", help="its suffix names the format"
    )
    parser.add_argument("--lyrics", default="", metavar="FILE|TEXT", help="words to sing, or a text file with them")
    parser.add_argument("--duration", type=float, default=-1.0, metavar="S", help="seconds; default: from the lyrics")
    parser.add_argument("--instrumental", action="store_true", help="nobody sings")
    parser.add_argument("--bpm", type=int, help="beats per minute")
    parser.add_argument("--key", default="", help="such as 'F# minor'")
    parser.add_argument("--timesignature", default="", help="2, 3, 4 or 6")
    parser.add_argument("--language", default="unknown", help="language code of the singing")
    parser.add_argument("--reference", metavar="FILE", help="recording whose timbre is taken over")
    parser.add_argument("--seed", type=int, default=-1, help="-1 is random")
    parser.add_argument("--batch-size", type=int, default=1, metavar="N", help="songs at once, 1 to 8")
    parser.add_argument("--steps", type=int, help="denoising steps")
    parser.add_argument("--guidance", type=float, help="guidance scale (base and sft models)")
    parser.add_argument("--shift", type=float, help="timestep shift")
    parser.add_argument("--solver", default="euler", help="euler, heun or pingpong")
    parser.add_argument("--sample-rate", type=int, default=SAMPLE_RATE, metavar="HZ", help="48000 or 44100")
    parser.add_argument("--format", help="wav24 or wav32 for a .wav; default: what the suffix says")
    parser.add_argument("--model", default="auto", help="model name; auto decides by device")
    parser.add_argument("--device", default="auto", help="auto, cuda or cpu")
    parser.add_argument("--offload", action="store_true", help="one network at a time on the GPU")
    parser.add_argument("--json", action="store_true", help="answer as JSON: status, output, error, seeds, metrics")


def _add_info(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=_info)
    parser.add_argument("file", type=Path, metavar="FILE", help="a file this project wrote")


def _generate(arguments: argparse.Namespace) -> None:
    from acestep.checkpoints.choose import choose
    from acestep.devices import device_facts
    from acestep.handler import AceStepHandler
    from acestep.inference import generate_music
    from acestep.llm_inference import LLMHandler
    from acestep.output.writer import writable_folder
    from acestep.params import GenerationConfig
    from acestep.request import Request

    params = _params(arguments)
    config = GenerationConfig(batch_size=arguments.batch_size, audio_format=_format_of(arguments))
    handler = AceStepHandler()
    _check_target(arguments.output)
    Request.from_params(params, config, choose(arguments.model, device_facts(arguments.device)).model)
    with writable_folder(arguments.output.parent):
        line, _ = handler.initialize_service(".", arguments.model, arguments.device, arguments.offload)
        sys.stderr.write(f"{line}\n")
        with tempfile.TemporaryDirectory(dir=arguments.output.parent, prefix=".acestep-") as folder:
            with _progress() as report:
                result = generate_music(handler, LLMHandler(), params, config, folder, report)
            result.check()
            written = _publish(result, arguments.output)
    if arguments.json:
        print_json(_answer(result, written))
        return
    for path, audio in zip(written, result.audios, strict=True):
        sys.stdout.write(f"{path}  seed {audio['params']['seed']}\n")


def _answer(result: GenerationResult, written: Sequence[Path]) -> dict[str, Any]:
    """The outcome in the words of a Cog prediction."""
    return {
        "status": "succeeded",
        "output": [str(path) for path in written],
        "error": None,
        "seeds": [audio["params"]["seed"] for audio in result.audios],
        "model": result.audios[0]["params"]["model"],
        "warnings": result.extra_outputs["warnings"],
        "metrics": result.extra_outputs["time_costs"],
    }


def _params(arguments: argparse.Namespace) -> GenerationParams:
    from acestep.params import GenerationParams

    return GenerationParams(
        caption=arguments.text,
        lyrics=_text_or_file(arguments.lyrics),
        instrumental=arguments.instrumental,
        vocal_language=arguments.language,
        bpm=arguments.bpm,
        keyscale=arguments.key,
        timesignature=arguments.timesignature,
        duration=arguments.duration,
        reference_audio=arguments.reference,
        seed=arguments.seed,
        inference_steps=arguments.steps,
        guidance_scale=arguments.guidance,
        shift=arguments.shift,
        scheduler_type=arguments.solver,
        sample_rate=arguments.sample_rate,
        thinking=False,
    )


def _format_of(arguments: argparse.Namespace) -> str:
    """The format asked for, else the first that is kept under the file's suffix; the suffix must fit."""
    from acestep.output.formats import FORMATS, format_named

    suffix = arguments.output.suffix.lower()
    if arguments.format is None:
        for name, row in FORMATS.items():
            if row.extension == suffix:
                return name
        suffixes = dict.fromkeys(row.extension for row in FORMATS.values())
        raise InputError.unknown("output", arguments.output.name, (f"NAME{suffix}" for suffix in suffixes))
    if format_named(arguments.format).extension != suffix:
        wanted = format_named(arguments.format).extension
        raise InputError.must("output", f"end in {wanted} for the format {arguments.format}", arguments.output.name)
    return arguments.format


def _check_target(output: Path) -> None:
    """A name the file system takes, and no folder."""
    try:
        status = output.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise InputError(f"output: {error.strerror}.", field="output", value=str(output)) from error
    if stat.S_ISDIR(status.st_mode):
        raise InputError(f"output {output.name!r} is a folder; name a file.", field="output", value=str(output))


def _text_or_file(given: str) -> str:
    """Lyrics as typed, or the text of the file they name."""
    if "\n" in given or len(given) > 255 or not Path(given).is_file():
        return given
    try:
        return Path(given).read_text(encoding="utf-8").strip("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"lyrics: {given!r} is not a readable UTF-8 text file.", field="lyrics", value=given
        ) from error


def _publish(result: GenerationResult, output: Path) -> list[Path]:
    """Move the finished files to where they were asked for; several get their number before the suffix."""
    several = len(result.audios) > 1
    written = []
    for number, audio in enumerate(result.audios, start=1):
        target = output.with_stem(f"{output.stem}-{number}") if several else output
        try:
            written.append(Path(audio["path"]).replace(target))
        except OSError as error:
            raise OutputError(f"cannot write {target.name!r}: {error.strerror}.") from error
    return written


@contextmanager
def _progress() -> Iterator[Callable[[float, str], None]]:
    """A progress bar on a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = TextColumn("{task.description:<24}"), BarColumn(), TimeElapsedColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("starting", total=1.0)
        yield lambda share, stage: bar.update(task, completed=share, description=stage)


def _info(arguments: argparse.Namespace) -> None:
    from acestep.output.tags import read_recipe

    print_json(read_recipe(arguments.file))
