"""Counts the pieces a sound file is put together from, before any decoder sees it.

In: an open file, a deadline. Out: whether the kind of file is one that is counted here, and where its first piece is;
or a refusal. A decoder skips each piece in microseconds, but no clock and no cancellation reaches into it: a file of
millions of them would hold it for minutes. Refuses to know decoders and what the pieces hold.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import BinaryIO

from acestep.audio.source import Deadline, Unreadable

MOST_PIECES = 10_000  # chunks, metadata blocks or tags; a song has a dozen
PIECES_PER_LOOK = 256  # at the clock
SCAN_BYTES = 1 << 20
TAG_MARKS = (b"APETAGEX", b"LYRICSBEGIN", b"ID3", b"TAG")


@dataclass(frozen=True, slots=True)
class Layout:
    """How a file is put together from pieces, each with a header that tells where the next one is.

    Attributes:
        first: bytes before the first piece.
        head_bytes: of a piece's header.
        reach: from a header to the bytes up to the next one; 0 or less where none follows.
        sound: mark of the piece that holds the sound: zeros after it are padding, not pieces.
    """

    first: int
    head_bytes: int
    reach: Callable[[bytes], int]
    sound: bytes = b""


def _riff_reach(head: bytes) -> int:
    size = int.from_bytes(head[4:], "little")
    return len(head) + size + size % 2


def _iff_reach(head: bytes) -> int:
    size = int.from_bytes(head[4:])
    return len(head) + size + size % 2


def _wave64_reach(head: bytes) -> int:
    """Its sizes include the header and leave out the padding to a multiple of 8."""
    return -(-int.from_bytes(head[16:], "little") // 8) * 8


def _caf_reach(head: bytes) -> int:
    """A negative size: the sound goes on to the end of the file."""
    size = int.from_bytes(head[4:], signed=True)
    return len(head) + size if size >= 0 else 0


def _flac_reach(head: bytes) -> int:
    is_last = head[0] & 0x80
    return 0 if is_last else len(head) + int.from_bytes(head[1:])


def _id3_reach(head: bytes) -> int:
    """Its size is 4 digits of 7 bits."""
    if not head.startswith(b"ID3"):
        return 0
    return len(head) + sum((digit & 0x7F) << 7 * place for place, digit in enumerate(reversed(head[6:])))


ID3_STACK = Layout(0, 10, _id3_reach)
LAYOUTS: Mapping[bytes, Layout] = {
    b"RIFF": Layout(12, 8, _riff_reach, b"data"),
    b"RF64": Layout(12, 8, _riff_reach, b"data"),
    b"RIFX": Layout(12, 8, _iff_reach, b"data"),
    b"FORM": Layout(12, 8, _iff_reach, b"SSND"),
    b"riff": Layout(40, 24, _wave64_reach, b"data"),
    b"caff": Layout(8, 12, _caf_reach, b"data"),
    b"fLaC": Layout(4, 4, _flac_reach),
}


def count_pieces(file: BinaryIO, deadline: Deadline) -> bytes:
    """Count the pieces of ``file`` if it is of a kind that has any.

    Returns:
        The first 12 bytes behind its ID3 tags.

    Raises:
        Unreadable: too many pieces, or counting them took too long.
    """
    start = _counted(_piece_ends(file, 0, ID3_STACK), deadline)
    mark = os.pread(file.fileno(), 12, start)
    layout = LAYOUTS.get(mark[:4])
    if layout is not None:
        _counted(_piece_ends(file, start + layout.first, layout), deadline)
    elif is_mp3(mark):
        _counted(_tags(file), deadline)
    return mark


def is_mp3(mark: bytes) -> bool:
    """Eleven ones, with which every frame begins."""
    return len(mark) >= 2 and mark[0] == 0xFF and mark[1] >= 0xE0


def _counted(places: Iterable[int], deadline: Deadline) -> int:
    """The last of the places, 0 if there is none.

    Raises:
        Unreadable: there are too many, or time is up.
    """
    last = 0
    for count, place in enumerate(places, start=1):
        last = place
        if count > MOST_PIECES:
            raise Unreadable(f"is split into too many pieces; at most {MOST_PIECES} are allowed")
        if count % PIECES_PER_LOOK == 0:
            deadline.check()
    return last


def _piece_ends(file: BinaryIO, start: int, layout: Layout) -> Iterator[int]:
    """Where each piece ends that says so; a piece that claims to reach beyond the file is the last."""
    size, past_sound = os.fstat(file.fileno()).st_size, False
    while start < size:
        head = os.pread(file.fileno(), layout.head_bytes, start)
        reach = layout.reach(head) if len(head) == layout.head_bytes else 0
        if reach <= 0 or (past_sound and not any(head)):
            return
        past_sound = past_sound or head[:4] == layout.sound
        start += reach
        yield start


def _tags(file: BinaryIO) -> Iterator[int]:
    """About where each tag is, and every thing that looks like one: MP3 may have them between any two frames."""
    for start in range(0, os.fstat(file.fileno()).st_size, SCAN_BYTES):
        block = os.pread(file.fileno(), SCAN_BYTES, start)
        for mark in TAG_MARKS:
            yield from [start] * block.count(mark)
