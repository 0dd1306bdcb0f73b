"""Commands that help to find words for a song: ``acestep lint`` and ``acestep dice``. Neither loads a model.

In: arguments. Out: lines, or one JSON object, on standard output.
"""

from __future__ import annotations

import argparse
import sys

from acestep.commands import options
from acestep.errors import InputError
from acestep.terminal import EXIT_FAILED, print_json

LINT_EXAMPLE = 'Example: acestep lint "warm folk, banjo, male vocal" --lyrics words.txt --duration 120'
DICE_EXAMPLE = "Example: acestep dice --kind query --language bn"


def add_lint(parser: argparse.ArgumentParser) -> None:
    """Declare ``acestep lint``."""
    parser.set_defaults(run=_lint)
    parser.add_argument("text", nargs="?", default="", metavar="TEXT", help="the music in words")
    options.add_lyrics(parser)
    parser.add_argument("--duration", type=float, metavar="S", help="seconds the song is to last")
    options.add_metadata(parser)
    parser.add_argument("--strict", action="store_true", help="exit with 1 when there are warnings")
    parser.add_argument("--json", action="store_true", help="findings as JSON")


def add_dice(parser: argparse.ArgumentParser) -> None:
    """Declare ``acestep dice``."""
    names = {"kind": "--kind", "language": "--language", "count": "--count"}
    parser.set_defaults(run=_dice, names=names)
    parser.add_argument("--kind", metavar="KIND", help="caption or query; default: either")
    parser.add_argument("--language", metavar="CODE", help="such as bn; default: any")
    parser.add_argument("--count", type=int, default=1, metavar="N", help="how many; default: 1")
    options.add_seed(parser)
    parser.add_argument("--json", action="store_true", help="entries as JSON")
    parser.add_argument("--list", action="store_true", help="all of them, in order")


def _lint(arguments: argparse.Namespace) -> None:
    from acestep.clauses import check_duration
    from acestep.linting import WARNING, lint
    from acestep.lyrics import estimate_duration, is_instrumental

    lyrics = options.text_or_file("lyrics", arguments.lyrics)
    if not arguments.text.strip() and not lyrics.strip():
        raise InputError("caption and lyrics are both empty; give at least one.", field="caption")
    if arguments.duration is not None:
        check_duration("duration", arguments.duration)
    found = lint(arguments.text, lyrics, duration=arguments.duration, **options.metadata_of(arguments))
    warnings = sum(finding.severity == WARNING for finding in found)
    sung = not arguments.instrumental and not is_instrumental(lyrics)
    seconds = estimate_duration(lyrics) if sung else None
    if arguments.json:
        rows = [finding.to_dict() for finding in found]
        print_json({"findings": rows, "warnings": warnings, "estimated_duration": seconds})
    else:
        told = [str(finding) for finding in found]
        _write(told if seconds is None else [*told, f"estimated duration: {seconds:.0f} s"])
    if arguments.strict and warnings:
        raise SystemExit(EXIT_FAILED)


def _dice(arguments: argparse.Namespace) -> None:
    from acestep.dice import entries, throw

    wanted = {"kind": arguments.kind, "language": arguments.language}
    chosen = entries(**wanted) if arguments.list else throw(arguments.count, arguments.seed, **wanted)
    if arguments.json:
        print_json({"entries": [entry.to_dict() for entry in chosen]})
    else:
        _write([entry.text for entry in chosen])


def _write(lines: list[str]) -> None:
    sys.stdout.write("".join(f"{line}\n" for line in lines))
