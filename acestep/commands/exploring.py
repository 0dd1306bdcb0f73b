"""``acestep explore``: batch after batch from new seeds until somebody has heard enough; the best stay in a folder.

In: arguments. Out: a table after every batch. Heavy imports happen inside the functions.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from acestep.commands import options, song
from acestep.commands.signing import add_signing, credentials_of
from acestep.errors import InputError

if TYPE_CHECKING:
    from acestep.exploring.explore import Exploration
    from acestep.exploring.standing import Standing

EXPLORE_EXAMPLE = 'Example: acestep explore "warm lo-fi beat with piano" --duration 20 --keep 3 --batches 2 -o ideas'
_SECONDS = 60


def add_explore(parser: argparse.ArgumentParser) -> None:
    """Declare ``acestep explore``."""
    parser.set_defaults(run=_explore, names={"output": "--output", "batches": "--batches", "keep": "--keep"})
    options.add_words(parser)
    options.add_planner(parser)
    options.add_planning(parser)
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        required=True,
        metavar="FOLDER",
        help="for the best songs; where the same was explored before, it goes on",
    )
    parser.add_argument("--keep", type=int, default=5, metavar="N", help="songs that stay, 1 to 100; default: 5")
    parser.add_argument("--batches", type=int, metavar="N", help="end after so many; default: Ctrl-C ends it")
    parser.add_argument("--minutes", type=float, metavar="M", help="make no further batch after so many minutes")
    song.add_performance(parser, songs=2)
    parser.add_argument("--format", default="flac", metavar="NAME", help="of the files; default: flac")
    add_signing(parser)


def _explore(arguments: argparse.Namespace) -> None:
    from acestep.inference import explore
    from acestep.params import GenerationConfig

    planned = options.planner_of(arguments) is not None
    params = replace(options.words_of(arguments, thinking=planned), **song.performance_of(arguments))
    config = GenerationConfig(batch_size=arguments.batch_size, audio_format=arguments.format)
    minutes = arguments.minutes
    if minutes is not None and not minutes > 0:
        raise InputError.must("--minutes", "be above 0", minutes)
    credentials = credentials_of(arguments, config.audio_format)
    song.check(params, config, options.model_of(arguments))
    handler = options.start_model(arguments)
    planner = options.start_planner(arguments) if planned else None
    with (
        options.progress_bar() as report,
        explore(
            handler,
            planner,
            params,
            config,
            arguments.output,
            keep=arguments.keep,
            batches=arguments.batches,
            progress=report,
            credentials=credentials,
        ) as exploration,
    ):
        _listen(exploration, None if minutes is None else time.monotonic() + minutes * _SECONDS)
    standing = exploration.standing
    sys.stdout.write(f"{arguments.output}: the best {len(standing.best)} of {standing.made}\n")


def _listen(exploration: Exploration, until: float | None) -> None:
    """Show every standing; Ctrl-C and the clock end it, and nothing of what was made is lost."""
    try:
        for standing in exploration:
            _show(standing)
            if until is not None and time.monotonic() >= until:
                return
    except KeyboardInterrupt:
        sys.stderr.write("acestep: stopped; the same command goes on.\n")


def _show(standing: Standing) -> None:
    from acestep.scoring.rank import standing_table

    sys.stdout.write(f"{standing.made} songs made; the best so far:\n{standing_table(standing.best)}\n")
    sys.stdout.flush()
