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
from acestep.commands.judging import add_judging, chosen, is_judged, timed_texts
from acestep.commands.names import naming
from acestep.commands.signing import add_signing, credentials_of
from acestep.commands.v1 import add_v1, v1_of
from acestep.constants import CD_RATE, SAMPLE_RATE, SEED_MAX
from acestep.errors import InputError
from acestep.tasks import EXTRACTION
from acestep.terminal import print_json

if TYPE_CHECKING:
    from acestep.checkpoints.rows import ModelSpec
    from acestep.handler import AceStepHandler
    from acestep.llm_inference import LLMHandler
    from acestep.naming import Naming
    from acestep.output.content_credentials import Credentials
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
    add_variation(parser)
    add_playing(parser)


def add_render(parser: argparse.ArgumentParser) -> None:
    """Declare ``acestep render``."""
    parser.set_defaults(run=_render, names=_IN_A_PLAN)
    parser.add_argument("plan", type=Path, metavar="PLAN.json", help="a plan, as `acestep plan` writes it")
    add_variation(parser)
    add_playing(parser)


def add_variation(parser: argparse.ArgumentParser) -> None:
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
    add_performance(parser, euler_only=euler_only)
    parser.add_argument("--format", metavar="NAME", help="wav24 or wav32 for a .wav; default: what the suffix says")
    add_judging(parser)
    add_signing(parser)
    parser.add_argument("--json", action="store_true", help="answer as JSON: status, output, error, seeds, and more")


def add_performance(parser: argparse.ArgumentParser, *, euler_only: bool = False, songs: int = 1) -> None:
    """How songs are played, whatever becomes of them.

    Args:
        euler_only: as in ``add_denoising``.
        songs: made at once, if nobody says how many.
    """
    parser.add_argument("--reference", metavar="FILE", help="recording whose timbre is taken over")
    options.add_seed(parser)
    about = f"songs at once, 1 to 8; default: {songs}"
    parser.add_argument("--batch-size", type=int, default=songs, metavar="N", help=about)
    add_denoising(parser, euler_only=euler_only)
    add_v1(parser)
    parser.add_argument(
        "--sample-rate", type=int, default=SAMPLE_RATE, metavar="HZ", help=f"{SAMPLE_RATE} (default) or {CD_RATE}"
    )
    options.add_device(parser)


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
    from acestep.result import score_rows
    from acestep.scoring.rank import table

    params = replace(params, **performance_of(arguments))
    config = GenerationConfig(
        batch_size=arguments.batch_size, audio_format=_format_of(arguments), score=is_judged(arguments)
    )
    options.check_target(arguments.output)
    credentials = credentials_of(arguments, config.audio_format)
    task = _deciding_task(params)
    check(params, config, options.model_of(arguments, task))
    with writable_folder(arguments.output.parent):
        handler = options.start_model(arguments, task)
        planner = options.start_planner(arguments) if planned else None
        result, audios, written = _songs(arguments, handler, planner, params, config, credentials)
    if arguments.json:
        print_json(_answer(result, audios, written, naming(arguments.names)))
        return
    if config.score:
        sys.stdout.write(f"{table(score_rows(result))}\n")
    for path, audio in zip(written, audios, strict=True):
        sys.stdout.write(f"{path}  seed {audio['params']['seed']}\n")


def check(params: GenerationParams, config: GenerationConfig, model: ModelSpec) -> None:
    """Values, recordings, and words that no planner will add to.

    Raises:
        InputError: something about them is wrong.
        WeightsError: the model's tokenizer is not there.
    """
    from acestep.checkpoints.family import find_weights
    from acestep.engines import engine_of
    from acestep.planning import plan_songs
    from acestep.recordings import listen
    from acestep.request import Request

    request = Request.from_params(params, config, model)
    request = listen(request).judged(request)
    if request.order is None:
        plan_songs(request, None, engine_of(model).reader(model, find_weights(model, Path())))


def _songs(
    arguments: argparse.Namespace,
    handler: AceStepHandler,
    planner: LLMHandler | None,
    params: GenerationParams,
    config: GenerationConfig,
    credentials: Credentials | None,
) -> tuple[GenerationResult, list[dict[str, Any]], list[Path]]:
    """The result, and the files of it that are kept with where they are."""
    from acestep.inference import generate_music

    output = arguments.output
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=".acestep-") as folder:
        with options.progress_bar() as report:
            result = generate_music(handler, planner, params, config, folder, report, credentials=credentials)
        result.check()
        audios = chosen(result, arguments)
        texts = [dict(timed_texts(audio, arguments)) for audio in audios]
        return result, audios, _publish(audios, texts, output)


def performance_of(arguments: argparse.Namespace) -> dict[str, Any]:
    """What ``add_performance`` and ``add_variation`` declare, as parameters of the Python API."""
    return {
        "reference_audio": arguments.reference,
        "sample_rate": arguments.sample_rate,
        **denoising_of(arguments),
        **v1_of(arguments),
        **options.given(arguments, variation_seed="variation_seed", variation_strength="variation_strength"),
    }


def _deciding_task(params: GenerationParams) -> str:
    """The task that a model is chosen for: fewer can take a voice out of a recording than play under it."""
    return EXTRACTION.name if params.preserve_vocals else params.task_type


def _answer(
    result: GenerationResult, audios: Sequence[dict[str, Any]], written: Sequence[Path], vocabulary: Naming
) -> dict[str, Any]:
    """The outcome as a Cog prediction has it, its warnings in the command's words."""
    return {
        "status": "succeeded",
        "output": [str(path) for path in written],
        "error": None,
        "seeds": [audio["params"]["seed"] for audio in audios],
        "tracks": [audio["track"] for audio in audios],
        "scores": [audio["scores"] for audio in audios],
        "model": audios[0]["params"]["model"],
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


def _publish(audios: Sequence[dict[str, Any]], texts: Sequence[dict[str, str]], output: Path) -> list[Path]:
    """Put the finished files, and the texts beside each, to where they were asked for, all or none."""
    from acestep.output.writer import move_file, write_text

    written: list[Path] = []
    with ExitStack() as undo:
        for audio, beside, name in zip(audios, texts, _names(audios, output), strict=True):
            target = output.with_name(name)
            move_file(Path(audio["path"]), target)
            undo.callback(target.unlink, missing_ok=True)
            for suffix, text in beside.items():
                write_text(target.with_suffix(suffix), text)
                undo.callback(target.with_suffix(suffix).unlink, missing_ok=True)
            written.append(target)
        undo.pop_all()
    return written


def _names(audios: Sequence[dict[str, Any]], output: Path) -> Iterator[str]:
    """A file name per result: several songs get their number before the suffix, several tracks their name."""
    from acestep.result import song_numbers

    numbers, several = song_numbers(audios), len({audio["track"] for audio in audios}) > 1
    for audio, number in zip(audios, numbers, strict=True):
        parts = (output.stem, str(number + 1) if max(numbers) else "", audio["track"] if several else "")
        yield "-".join(filter(None, parts)) + output.suffix
