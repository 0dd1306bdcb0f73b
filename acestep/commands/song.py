"""Commands that make song files: ``acestep generate`` from words, ``acestep render`` from a plan; and ``make``.

In: arguments. Out: files, one line per result. Heavy imports happen inside the functions, so that ``--help`` and bad
arguments answer at once.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from acestep.commands import options
from acestep.commands.denoising import add_denoising, denoising_of
from acestep.commands.names import naming
from acestep.constants import SAMPLE_RATE, SEED_MAX
from acestep.errors import InputError, OutputError
from acestep.output.formats import CD_RATE
from acestep.tasks import EXTRACTION
from acestep.terminal import print_json

if TYPE_CHECKING:
    from acestep.checkpoints.rows import ModelSpec
    from acestep.handler import AceStepHandler
    from acestep.llm_inference import LLMHandler
    from acestep.naming import Naming
    from acestep.params import GenerationConfig, GenerationParams
    from acestep.result import GenerationResult

GENERATE_EXAMPLE = 'Example: acestep generate "calm piano with strings" --duration 30 --key "D minor" -o song.flac'
RENDER_EXAMPLE = "Example: acestep render plan.json --seed 7 -o song.flac"
_PLAN_KEYS = ("caption", "lyrics", "bpm", "keyscale", "timesignature", "duration", "audio_codes")
_IN_A_PLAN = {"plan": "PLAN.json", "vocal_language": "language", **{key: key for key in _PLAN_KEYS}}


def add_generate(parser: argparse.ArgumentParser) -> None:
    """Declare ``acestep generate``."""
    parser.set_defaults(run=_generate, names={"audio_codes": "--codes", "codes": "--codes"})
    options.add_words(parser)
    options.add_planner(parser)
    options.add_planning(parser)
    parser.add_argument("--codes", default="", metavar="FILE|TEXT", help="semantic codes to play")
    _add_variation(parser)
    add_playing(parser)


def add_render(parser: argparse.ArgumentParser) -> None:
    """Declare ``acestep render``."""
    parser.set_defaults(run=_render, names=_IN_A_PLAN)
    parser.add_argument("plan", type=Path, metavar="PLAN.json", help="a plan, as `acestep plan` writes it")
    _add_variation(parser)
    add_playing(parser)


def _add_variation(parser: argparse.ArgumentParser) -> None:
    """A second noise, for songs that are a little different."""
    about = f"seed of a second noise, -1 (random) or 0 to {SEED_MAX}; default: random"
    parser.add_argument("--variation-seed", type=int, metavar="N", help=about)
    about = "share of the second noise, 0 (off) to 1 (another song); default: 0"
    parser.add_argument("--variation-strength", type=float, metavar="V", help=about)


def add_playing(parser: argparse.ArgumentParser, *, euler_only: bool = False) -> None:
    """Where the song goes and how it is played.

    Args:
        euler_only: as in ``add_denoising``.
    """
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="FILE", help="a .wav, .flac, .mp3, .ogg, .opus or .m4a"
    )
    parser.add_argument("--reference", metavar="FILE", help="recording whose timbre is taken over")
    options.add_seed(parser)
    parser.add_argument("--batch-size", type=int, default=1, metavar="N", help="songs at once, 1 to 8; default: 1")
    add_denoising(parser, euler_only=euler_only)
    parser.add_argument(
        "--sample-rate", type=int, default=SAMPLE_RATE, metavar="HZ", help=f"{SAMPLE_RATE} (default) or {CD_RATE}"
    )
    parser.add_argument("--format", metavar="NAME", help="wav24 or wav32 for a .wav; default: what the suffix says")
    options.add_device(parser)
    parser.add_argument("--json", action="store_true", help="answer as JSON: status, output, error, seeds, and more")


def _generate(arguments: argparse.Namespace) -> None:
    planner = options.planner_of(arguments)
    params = options.words_of(arguments, thinking=planner is not None)
    params.audio_codes = options.text_or_file("codes", arguments.codes)
    make(arguments, params, planned=planner is not None)


def _render(arguments: argparse.Namespace) -> None:
    from acestep.params import GenerationParams
    from acestep.planner.plan_file import parameters, read_plan

    plan = read_plan(arguments.plan)
    make(arguments, GenerationParams(**parameters(plan), seed=arguments.seed, thinking=False), planned=False)


def make(arguments: argparse.Namespace, params: GenerationParams, *, planned: bool) -> None:
    """Make what was asked for. Everything that can be wrong is found before a model is loaded.

    Args:
        arguments: what ``add_playing`` declares, and what the planner needs.
        params: the song; how it is played, the arguments say.
        planned: whether a planner is asked.

    Raises:
        AceStepError: it cannot be made; nothing is left behind.
    """
    from acestep.output.writer import writable_folder
    from acestep.params import GenerationConfig

    params = replace(params, **_playing_of(arguments))
    config = GenerationConfig(batch_size=arguments.batch_size, audio_format=_format_of(arguments))
    options.check_target(arguments.output)
    task = _deciding_task(params)
    _check(params, config, options.model_of(arguments, task))
    with writable_folder(arguments.output.parent):
        handler = options.start_model(arguments, task)
        planner = options.start_planner(arguments) if planned else None
        result, written = _songs(arguments, handler, planner, params, config)
    if arguments.json:
        print_json(_answer(result, written, naming(arguments.names)))
        return
    for path, audio in zip(written, result.audios, strict=True):
        sys.stdout.write(f"{path}  seed {audio['params']['seed']}\n")


def _check(params: GenerationParams, config: GenerationConfig, model: ModelSpec) -> None:
    """Values, recordings, and words that no planner will add to.

    Raises:
        InputError: something about them is wrong.
        WeightsError: the model's tokenizer is not there.
    """
    from acestep.checkpoints.family import find_weights
    from acestep.planning import plan_songs
    from acestep.reading import Reader
    from acestep.recordings import listen
    from acestep.request import Request

    request = Request.from_params(params, config, model)
    request = listen(request).judged(request)
    if request.order is None:
        plan_songs(request, None, Reader.load(model, find_weights(model, Path())))


def _songs(
    arguments: argparse.Namespace,
    handler: AceStepHandler,
    planner: LLMHandler | None,
    params: GenerationParams,
    config: GenerationConfig,
) -> tuple[GenerationResult, list[Path]]:
    from acestep.inference import generate_music

    output = arguments.output
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=".acestep-") as folder:
        with options.progress_bar() as report:
            result = generate_music(handler, planner, params, config, folder, report)
        result.check()
        return result, _publish(result, output)


def _playing_of(arguments: argparse.Namespace) -> dict[str, Any]:
    """What ``add_playing`` and ``_add_variation`` declare, as parameters of the Python API."""
    return {
        "reference_audio": arguments.reference,
        "sample_rate": arguments.sample_rate,
        **denoising_of(arguments),
        **options.given(arguments, variation_seed="variation_seed", variation_strength="variation_strength"),
    }


def _deciding_task(params: GenerationParams) -> str:
    """The task that a model is chosen for: fewer can take a voice out of a recording than play under it."""
    return EXTRACTION.name if params.preserve_vocals else params.task_type


def _answer(result: GenerationResult, written: Sequence[Path], vocabulary: Naming) -> dict[str, Any]:
    """The outcome as a Cog prediction has it, its warnings in the command's words."""
    return {
        "status": "succeeded",
        "output": [str(path) for path in written],
        "error": None,
        "seeds": [audio["params"]["seed"] for audio in result.audios],
        "tracks": [audio["track"] for audio in result.audios],
        "model": result.audios[0]["params"]["model"],
        "plan": result.extra_outputs["lm_metadata"],
        "warnings": [vocabulary.text(warning) for warning in result.extra_outputs["warnings"]],
        "metrics": result.extra_outputs["time_costs"],
    }


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


def _publish(result: GenerationResult, output: Path) -> list[Path]:
    """Move the finished files to where they were asked for, all or none."""
    written: list[Path] = []
    with ExitStack() as undo:
        for audio, name in zip(result.audios, _names(result, output), strict=True):
            target = output.with_name(name)
            _move(Path(audio["path"]), target)
            undo.callback(target.unlink, missing_ok=True)
            written.append(target)
        undo.pop_all()
    return written


def _move(file: Path, target: Path) -> None:
    try:
        file.replace(target)
    except OSError as error:
        raise OutputError(f"cannot write {target.name!r}: {error.strerror}.") from error


def _names(result: GenerationResult, output: Path) -> Iterator[str]:
    """A file name per result: several songs get their number before the suffix, several tracks their name."""
    from acestep.result import song_numbers

    numbers, several = song_numbers(result.audios), len({audio["track"] for audio in result.audios}) > 1
    for audio, number in zip(result.audios, numbers, strict=True):
        parts = (output.stem, str(number + 1) if max(numbers) else "", audio["track"] if several else "")
        yield "-".join(filter(None, parts)) + output.suffix
