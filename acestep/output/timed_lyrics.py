"""Lyrics with times as text: .lrc for players, .srt and .vtt for subtitles, and the pairs that tags hold.

In: ``TimedLine`` values. Out: strings; "" where nothing is sung. Structure tags are left out unless they are asked
for. Refuses to know files and how the times were found.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from acestep.scoring.timestamps import TimedLine

Synced = tuple[tuple[float, str], ...]

CUE_MIN_S = 0.3  # a subtitle is shown at least this long, or until the next, even where a line has no duration
_TIME = re.compile(r"\[(\d{1,4}):(\d{1,2}(?:\.\d+)?)\]")
_VTT_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})


class _Cue(NamedTuple):
    """A subtitle; times in whole milliseconds, since only those carry from 59.9996 s to the next minute."""

    start_ms: int
    end_ms: int
    text: str


def to_lrc(
    lines: Sequence[TimedLine], title: str = "", length_s: float | None = None, *, with_tags: bool = False
) -> str:
    """Lines as players read them, such as ``[01:02.34]Over the hills``; minutes go on beyond 99.

    Args:
        lines: of the song, in their order.
        title: of the song; "" is left out. Its brackets become parentheses.
        length_s: of the song; None is left out.
        with_tags: keep structure tags.
    """
    shown = _shown(lines, with_tags)
    if not shown:
        return ""
    name = _one_line(title).translate(str.maketrans("[]", "()"))
    head = f"[ti:{name}]\n" if name else ""
    if length_s is not None:
        minutes, seconds = divmod(round(length_s), 60)
        head += f"[length:{minutes:02d}:{seconds:02d}]\n"
    return head + lrc_body(synced(lines, with_tags=with_tags))


def to_srt(lines: Sequence[TimedLine], *, with_tags: bool = False) -> str:
    """Numbered subtitles with times such as ``01:02:03,456``. The format has no escapes: ``-->`` becomes ``->``."""
    blocks = (
        f"{number}\n{_clock(cue.start_ms, ',')} --> {_clock(cue.end_ms, ',')}\n{cue.text.replace('-->', '->')}\n"
        for number, cue in enumerate(_cues(lines, with_tags), start=1)
    )
    return "\n".join(blocks)


def to_vtt(lines: Sequence[TimedLine], *, with_tags: bool = False) -> str:
    """Subtitles of the web, with times such as ``01:02:03.456`` and the three characters of markup escaped."""
    blocks = [
        f"{_clock(cue.start_ms, '.')} --> {_clock(cue.end_ms, '.')}\n{cue.text.translate(_VTT_ESCAPES)}\n"
        for cue in _cues(lines, with_tags)
    ]
    return "\n".join(["WEBVTT\n", *blocks]) if blocks else ""


def synced(lines: Sequence[TimedLine], *, with_tags: bool = False) -> Synced:
    """Start in seconds and text of each line, as ``SongTags.synced`` holds them."""
    return tuple((line.start_s, _one_line(line.text)) for line in _shown(lines, with_tags))


def lrc_body(pairs: Synced) -> str:
    """One line for each (start in seconds, text), to the hundredth of a second.

    A text that begins with a bracket gets a space before it, or it would be read as a second time.
    """
    return "".join(
        f"[{_minutes(start_s)}]{' ' if text.startswith('[') else ''}{_one_line(text)}\n" for start_s, text in pairs
    )


def from_lrc(text: str) -> Synced:
    """The pairs of ``lrc_body`` or another program, by time; whatever is no timed line is passed over."""
    return tuple(sorted(_timed_texts(text), key=lambda pair: pair[0]))


def _timed_texts(text: str) -> Iterator[tuple[float, str]]:
    for line in text.splitlines():
        starts, end = [], len(line) - len(line.lstrip())
        while found := _TIME.match(line, end):
            starts.append(round(int(found[1]) * 60 + float(found[2]), 3))
            end = found.end()
        words = line[end:].strip()
        yield from ((start, words) for start in starts if words)


def _shown(lines: Sequence[TimedLine], with_tags: bool) -> list[TimedLine]:
    return [line for line in lines if with_tags or not line.is_tag]


def _cues(lines: Sequence[TimedLine], with_tags: bool) -> list[_Cue]:
    """None is shown when the next begins that begins later; those that begin at once are shown together."""
    cues: list[_Cue] = []
    start_ms = next_ms = math.inf
    for line in reversed(_shown(lines, with_tags)):
        cue = _cue(line)
        if cue.start_ms < start_ms:
            start_ms, next_ms = cue.start_ms, start_ms
        cues.append(cue._replace(end_ms=min(cue.end_ms, next_ms)))
    return cues[::-1]


def _cue(line: TimedLine) -> _Cue:
    end_s = max(line.end_s, line.start_s + CUE_MIN_S)
    return _Cue(round(line.start_s * 1000), round(end_s * 1000), _one_line(line.text))


def _one_line(text: str) -> str:
    """Text without breaks; a blank line would end a subtitle."""
    return " ".join(text.split())


def _minutes(seconds: float) -> str:
    minutes, hundredths = divmod(round(seconds * 100), 60 * 100)
    return f"{minutes:02d}:{hundredths // 100:02d}.{hundredths % 100:02d}"


def _clock(milliseconds: int, point: str) -> str:
    seconds, thousandths = divmod(milliseconds, 1000)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}{point}{thousandths:03d}"
