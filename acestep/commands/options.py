"""Options that several commands have, each declared once, and what they say in the Python API's vocabulary.

In: a parser; parsed arguments. Out: ``GenerationParams``, started models. Heavy imports happen inside the functions.
"""

from __future__ import annotations

import argparse
import os
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from acestep.errors import InputError, UnsupportedError

if TYPE_CHECKING:
    from acestep.checkpoints.rows import ModelSpec
    from acestep.handler import AceStepHandler
    from acestep.llm_inference import LLMHandler
    from acestep.params import GenerationParams

AUTO = "auto"
NAME_BYTES_MAX = 255  # of a file, on the usual file systems


def add_words(parser: argparse.ArgumentParser) -> None:
    """What the song is about."""
    parser.add_argument("text", metavar="TEXT", help="the music in words")
    add_lyrics(parser)
    parser.add_argument("--duration", type=float, default=-1.0, metavar="S", help="seconds; default: the planner's")
    add_metadata(parser)
    parser.add_argument(
        "--simple", action="store_true", help="TEXT is a wish: the planner writes the caption and the lyrics too"
    )


def add_lyrics(parser: argparse.ArgumentParser) -> None:
    """What is sung."""
    parser.add_argument("--lyrics", default="", metavar="FILE|TEXT", help="words to sing, or a text file with them")


def add_metadata(parser: argparse.ArgumentParser) -> None:
    """What can be said about a song beside its words."""
    parser.add_argument("--instrumental", action="store_true", help="nobody sings")
    parser.add_argument("--bpm", type=int, metavar="N", help="beats per minute, 30 to 300")
    parser.add_argument("--key", default="", help="such as 'F# minor'")
    parser.add_argument("--timesignature", default="", metavar="N", help="2, 3, 4 or 6")
    parser.add_argument("--language", default="unknown", metavar="CODE", help="of the singing, such as en")


def add_planner(parser: argparse.ArgumentParser, *, optional: bool = True) -> None:
    """Which planner, and how it samples."""
    none = ", none" if optional else ""
    parser.add_argument("--lm", default=AUTO, metavar="NAME", help=f"language model: auto{none}, or a name")
    parser.add_argument("--backend", default="native", help="native, vllm or pt")
    parser.add_argument("--temperature", type=float, metavar="T", help="of the planner; 0 is greedy")
    parser.add_argument("--top-k", type=int, metavar="K", help="of the planner; 0 is off")
    parser.add_argument("--top-p", type=float, metavar="P", help="of the planner; 1 is off")


def add_planning(parser: argparse.ArgumentParser) -> None:
    """What the planner may decide."""
    parser.add_argument("--lm-guidance", type=float, metavar="G", help="how strictly codes follow words; 1 is off")
    parser.add_argument("--keep-caption", action="store_true", help="the planner does not rewrite TEXT")
    parser.add_argument("--write-lyrics", action="store_true", help="the planner writes or lays out the lyrics")


def add_device(parser: argparse.ArgumentParser, *, model: bool = True) -> None:
    """Where it runs, and on which transformer."""
    if model:
        parser.add_argument("--model", default=AUTO, metavar="NAME", help="default: what suits task and device")
    parser.add_argument("--device", default=AUTO, metavar="NAME", help="auto, cuda or cpu; default: auto")
    parser.add_argument("--offload", action="store_true", help="one network at a time on the GPU")


def add_seed(parser: argparse.ArgumentParser) -> None:
    """Where random numbers come from."""
    parser.add_argument(
        "--seed", type=int, default=-1, metavar="N", help="the same seed makes the same again; default: random"
    )


def given(arguments: argparse.Namespace, **parameters: str) -> dict[str, Any]:
    """Parameters by the option that says them; those that were not given, or not declared, are left out."""
    values = {name: getattr(arguments, option, None) for name, option in parameters.items()}
    return {name: value for name, value in values.items() if value is not None}


def words_of(arguments: argparse.Namespace, *, thinking: bool) -> GenerationParams:
    """The song in the vocabulary of the Python API, with what the planner may decide.

    Raises:
        UnsupportedError: a wish, and no planner to grant it.
    """
    from acestep.params import GenerationParams

    if arguments.simple and not thinking:
        raise UnsupportedError("--simple needs the planner, and there is none; name one by --lm.", field="--simple")
    return GenerationParams(
        **metadata_of(arguments),
        lyrics=text_or_file("lyrics", arguments.lyrics),
        duration=arguments.duration,
        seed=arguments.seed,
        thinking=thinking,
        use_cot_caption=not arguments.keep_caption,
        use_cot_lyrics=arguments.write_lyrics,
        **given(
            arguments, lm_temperature="temperature", lm_top_k="top_k", lm_top_p="top_p", lm_cfg_scale="lm_guidance"
        ),
        **{"simple_query" if arguments.simple else "caption": arguments.text},
    )


def metadata_of(arguments: argparse.Namespace) -> dict[str, Any]:
    """What ``add_metadata`` declares, as parameters of the Python API."""
    return {
        "instrumental": arguments.instrumental,
        "vocal_language": arguments.language,
        "bpm": arguments.bpm,
        "keyscale": arguments.key,
        "timesignature": arguments.timesignature,
    }


def sampling_of(arguments: argparse.Namespace) -> dict[str, float]:
    """The planner's sampling, as the functions of ``words`` take it; what was not given is theirs."""
    return given(arguments, temperature="temperature", top_k="top_k", top_p="top_p", seed="seed")


def model_of(arguments: argparse.Namespace, task: str | None = None) -> ModelSpec:
    """The transformer that will play; nothing is loaded. ``task`` is what for, when known."""
    from acestep.checkpoints.choose import choose
    from acestep.devices import device_facts

    return choose(arguments.model, device_facts(arguments.device), task).model


def planner_of(arguments: argparse.Namespace) -> str | None:
    """The language model that will plan, or None.

    Raises:
        InputError: unknown model, device or backend.
        UnsupportedError: one is named for a model that has none.
    """
    from acestep.checkpoints.choose import choose, planner_named
    from acestep.devices import device_facts
    from acestep.planner.engines import ENGINES

    if arguments.backend not in ENGINES:
        raise InputError.unknown("backend", arguments.backend, ENGINES)
    choice = choose(getattr(arguments, "model", AUTO), device_facts(arguments.device))
    row = planner_named(arguments.lm, choice.language_model)
    if row is not None and not choice.model.variant.generation.planned:
        from acestep.planning import check_pair

        check_pair(row, choice.model)
    return None if row is None else row.name


def start_model(arguments: argparse.Namespace, task: str | None = None) -> AceStepHandler:
    """The transformer of ``model_of`` and what it plays with, loaded; a line about it on standard error."""
    from acestep.handler import AceStepHandler

    handler = AceStepHandler()
    line, _ = handler.initialize_service(".", arguments.model, arguments.device, arguments.offload, task=task)
    sys.stderr.write(f"{line}\n")
    return handler


def start_planner(arguments: argparse.Namespace) -> LLMHandler:
    """The planner, loaded; a line about it on standard error.

    Raises:
        UnsupportedError: there is none for this device, or none is wanted.
    """
    from acestep.llm_inference import LLMHandler

    name = planner_of(arguments)
    if name is None:
        raise UnsupportedError(f"lm {arguments.lm!r} is no planner here; name one.", field="lm", value=arguments.lm)
    planner = LLMHandler()
    line, _ = planner.initialize(".", name, arguments.backend, arguments.device, arguments.offload)
    sys.stderr.write(f"{line}\n")
    return planner


def text_or_file(field: str, said: str) -> str:
    """Words as typed, or the text of the file they name."""
    if "\n" in said or len(os.fsencode(said)) > NAME_BYTES_MAX or not Path(said).is_file():
        return said
    try:
        return Path(said).read_text(encoding="utf-8").strip("\n")
    except (OSError, UnicodeDecodeError) as error:
        problem = f"{field}: {said!r} is not a readable UTF-8 text file."
        raise InputError(problem, field=field, value=said) from error


def written_codes(field: str, file: Path) -> str | None:
    """The codes in a text file, or None when it is no such file.

    Raises:
        InputError: it cannot be read, or holds more than codes.
    """
    try:
        with file.open("rb") as opened:
            start = opened.read(64).lstrip()
        return file.read_text(encoding="ascii").strip() if start.startswith(b"<|audio_code_") else None
    except OSError as error:
        raise InputError(f"{field} {file.name!r} cannot be read: {error.strerror}.", field=field) from error
    except UnicodeDecodeError as error:
        problem = f"{field} {file.name!r} holds more than <|audio_code_N|> tokens."
        raise InputError(problem, field=field) from error


def check_target(output: Path) -> None:
    """A name the file system takes, and no folder.

    Raises:
        InputError: it is something else.
    """
    try:
        status = output.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise InputError(f"output: {error.strerror}.", field="output", value=str(output)) from error
    if stat.S_ISDIR(status.st_mode):
        raise InputError(f"output {output.name!r} is a folder; name a file.", field="output", value=str(output))


@contextmanager
def progress_bar() -> Iterator[Callable[[float, str], None]]:
    """A progress bar on a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = TextColumn("{task.description:<24}"), BarColumn(), TimeElapsedColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("starting", total=1.0)
        yield lambda share, stage: bar.update(task, completed=share, description=stage)


def show_line(_: int, line: str) -> None:
    """A line of what the planner writes, on standard error."""
    sys.stderr.write(f"  {line}\n")
