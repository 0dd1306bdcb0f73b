"""Options about what comes back: scores, the best of several songs, when lines are sung.

In: a parser; parsed arguments; a finished result. Out: whether songs are judged, which of them are kept, texts for
the files beside them. Refuses to know how songs are judged (``scoring``).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from acestep.errors import UnsupportedError

if TYPE_CHECKING:
    from acestep.result import GenerationResult

_TIMED = {"lrc": "for players", "srt": "subtitles", "vtt": "subtitles for the web"}


def add_judging(parser: argparse.ArgumentParser) -> None:
    """Scores, and what depends on them."""
    parser.add_argument("--score", action="store_true", help="judge every song; the scores are in its recipe too")
    parser.add_argument("--best", action="store_true", help="of several songs, keep the one with the best score")
    for suffix, what in _TIMED.items():
        about = f"write when each line is sung into a .{suffix} beside the song ({what})"
        parser.add_argument(f"--{suffix}", action="store_true", help=about)


def is_judged(arguments: argparse.Namespace) -> bool:
    """Whether songs are judged.

    Raises:
        UnsupportedError: the best of one song is asked for.
    """
    if arguments.best and arguments.batch_size == 1:
        raise UnsupportedError("--best needs several songs to choose from; say --batch-size 4.", field="--best")
    return arguments.score or arguments.best or any(_suffixes(arguments))


def chosen(result: GenerationResult, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """The files of a result that are kept: all, or those of its best song."""
    if not arguments.best:
        return list(result.audios)
    numbers, best = result.song_numbers, result.ranking[0]
    return [audio for audio, number in zip(result.audios, numbers, strict=True) if number == best]


def timed_texts(audio: dict[str, Any], arguments: argparse.Namespace) -> Iterator[tuple[str, str]]:
    """Suffix and text of every file about the times of its lines that is wanted; none where nobody sings."""
    from acestep.output import timed_lyrics

    for suffix in _suffixes(arguments):
        text = getattr(timed_lyrics, f"to_{suffix}")(audio["timed_lyrics"])
        if text:
            yield f".{suffix}", text
        else:
            seed = audio["params"]["seed"]
            sys.stderr.write(f"acestep: no line is sung with seed {seed}: there is no .{suffix}.\n")


def _suffixes(arguments: argparse.Namespace) -> Iterator[str]:
    return (suffix for suffix in _TIMED if getattr(arguments, suffix))
