"""Commands whose answer is words or codes: ``acestep plan``, ``write``, ``understand``, ``codes``.

In: arguments. Out: JSON or codes, on standard output or in a file that is either whole or not there. Heavy imports
happen inside the functions, so that ``--help`` and bad arguments answer at once.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from acestep.commands import options
from acestep.errors import InputError

PLAN_EXAMPLE = 'Example: acestep plan "calm piano with strings" --duration 30 --bpm 72 -o plan.json'
WRITE_EXAMPLE = 'Example: acestep write "a soft Bengali love song"'
UNDERSTAND_EXAMPLE = "Example: acestep understand song.flac"
CODES_EXAMPLE = "Example: acestep codes song.flac -o codes.txt"


def add_plan(parser: argparse.ArgumentParser) -> None:
    """Declare ``acestep plan``."""
    parser.set_defaults(run=partial(_into_target, _plan))
    options.add_words(parser)
    options.add_planner(parser, optional=False)
    options.add_planning(parser)
    options.add_seed(parser)
    options.add_device(parser)
    _add_output(parser, "PLAN.json", "where the plan goes; default: standard output")


def add_write(parser: argparse.ArgumentParser) -> None:
    """Declare ``acestep write``."""
    parser.set_defaults(run=partial(_into_target, _write), names={"query": "TEXT", "simple_query": "TEXT"})
    parser.add_argument("query", metavar="TEXT", help="the song in one line")
    parser.add_argument("--instrumental", action="store_true", help="nobody sings")
    parser.add_argument("--language", help="language code of the lyrics; default: the planner's")
    options.add_planner(parser, optional=False)
    options.add_seed(parser)
    options.add_device(parser, model=False)
    _add_output(parser, "FILE", "where the answer goes; default: standard output")


def add_understand(parser: argparse.ArgumentParser) -> None:
    """Declare ``acestep understand``."""
    names = dict.fromkeys(("file", "audio", "audio_codes"), "FILE")
    parser.set_defaults(run=partial(_into_target, _understand), names=names)
    parser.add_argument("file", type=Path, metavar="FILE", help="a recording, or a text file with codes")
    options.add_planner(parser, optional=False)
    options.add_seed(parser)
    options.add_device(parser)
    _add_output(parser, "FILE", "where the answer goes; default: standard output")


def add_codes(parser: argparse.ArgumentParser) -> None:
    """Declare ``acestep codes``."""
    parser.set_defaults(run=partial(_into_target, _codes), names={"audio": "FILE"})
    parser.add_argument("file", type=Path, metavar="FILE", help="a recording")
    options.add_device(parser)
    _add_output(parser, "FILE", "where the codes go; default: standard output")


def _add_output(parser: argparse.ArgumentParser, name: str, about: str) -> None:
    parser.add_argument("-o", "--output", type=Path, metavar=name, help=about)


def _into_target(command: Callable[[argparse.Namespace], None], arguments: argparse.Namespace) -> None:
    """Run a command whose answer can be written where it is wanted; what can not is refused before any work."""
    from acestep.output.writer import writable_folder

    if arguments.output is None:
        command(arguments)
        return
    options.check_target(arguments.output)
    with writable_folder(arguments.output.parent):
        command(arguments)


def _plan(arguments: argparse.Namespace) -> None:
    from acestep.checkpoints.family import find_weights
    from acestep.params import GenerationConfig
    from acestep.planning import plan_songs
    from acestep.reading import Reader
    from acestep.request import Request

    params = options.words_of(arguments, thinking=True)
    model = options.model_of(arguments)
    request = Request.from_params(params, GenerationConfig(batch_size=1), model)
    reader = Reader.load(model, find_weights(model, Path()))
    planner = options.start_planner(arguments)
    with options.progress_bar() as report:
        batch = plan_songs(request, planner, reader, report, options.show_line)
    _deliver(arguments, batch.plans[0].to_json())


def _write(arguments: argparse.Namespace) -> None:
    from acestep.words import create_sample

    if not arguments.query.strip():
        raise InputError("query is blank; describe the song in one line.", field="query", value=arguments.query)
    planner = options.start_planner(arguments)
    with options.progress_bar() as report:
        song = create_sample(
            planner,
            arguments.query,
            arguments.instrumental,
            arguments.language,
            progress=report,
            line=options.show_line,
            **options.sampling_of(arguments),
        )
    song.check()
    _deliver_values(arguments, song.to_dict())


def _understand(arguments: argparse.Namespace) -> None:
    from acestep.inference import audio_codes_of
    from acestep.words import understand_music

    codes = options.written_codes("file", arguments.file)
    if codes is None:
        model = options.start_model(arguments)
        with options.progress_bar() as report:
            codes = audio_codes_of(model, arguments.file, report)
    planner = options.start_planner(arguments)
    with options.progress_bar() as report:
        song = understand_music(
            planner, codes, progress=report, line=options.show_line, **options.sampling_of(arguments)
        )
    song.check()
    _deliver_values(arguments, song.to_dict())


def _codes(arguments: argparse.Namespace) -> None:
    from acestep.audio.io import read_audio
    from acestep.inference import audio_codes_of

    read_audio(arguments.file, field="audio", require_sound=True)  # before a model is loaded
    model = options.start_model(arguments)
    with options.progress_bar() as report:
        codes = audio_codes_of(model, arguments.file, report)
    _deliver(arguments, codes)


def _deliver_values(arguments: argparse.Namespace, values: dict[str, Any]) -> None:
    _deliver(arguments, json.dumps(values, ensure_ascii=False, indent=2))


def _deliver(arguments: argparse.Namespace, text: str) -> None:
    from acestep.output.writer import write_text

    if arguments.output is None:
        sys.stdout.write(f"{text}\n")
    else:
        write_text(arguments.output, f"{text}\n")
