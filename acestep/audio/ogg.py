"""Two questions about an Ogg file that its decoders do not ask: is its last page whole, is it several songs in a row.

In: an open file, Ogg or not. Out: an answer, or the reason to refuse it. Refuses to know codecs.
A page is ``OggS``, version, flags, position (8), serial number of its stream (4), 8 more bytes, the number of its
parts, one byte each with their lengths, and the parts (RFC 3533, section 6).
"""

from __future__ import annotations

import os
from typing import BinaryIO

from acestep.audio.source import Unreadable

PAGE = b"OggS"
HEAD_BYTES = 27
LONGEST_PAGE = HEAD_BYTES + 255 + 255 * 255
FLAGS, SERIAL = 5, slice(14, 18)
BEGINS_STREAM = 2


def check_last_page(file: BinaryIO) -> None:
    """Refuse an Ogg file that ends inside a page: its decoders would end at the page before and say nothing.

    Raises:
        Unreadable: the last page is not all there.
    """
    page = _last_page(file)
    if page is not None and len(page) < _whole_length(page):
        raise Unreadable("is cut short: its last page of sound is incomplete")


def is_chained(file: BinaryIO) -> bool:
    """Whether the last page belongs to a stream that did not yet begin at the start of the file."""
    page = _last_page(file)
    if page is None:
        return False
    start = os.pread(file.fileno(), LONGEST_PAGE, 0)
    while start.startswith(PAGE) and len(start) >= HEAD_BYTES and start[FLAGS] & BEGINS_STREAM:
        if start[SERIAL] == page[SERIAL]:
            return False
        start = start[_whole_length(start) :]
    return True


def _whole_length(page: bytes) -> int:
    """Bytes from the start of a page to its end, more than there are if even its head is cut."""
    if len(page) < HEAD_BYTES:
        return HEAD_BYTES
    parts = page[HEAD_BYTES - 1]
    return HEAD_BYTES + parts + sum(page[HEAD_BYTES : HEAD_BYTES + parts])


def _last_page(file: BinaryIO) -> bytes | None:
    """The last page as far as it is there; None when the file is not Ogg or its end is something else."""
    size = os.fstat(file.fileno()).st_size
    if os.pread(file.fileno(), len(PAGE), 0) != PAGE:
        return None
    tail = os.pread(file.fileno(), LONGEST_PAGE, max(0, size - LONGEST_PAGE))
    start = tail.rfind(PAGE)
    return tail[start:] if start >= 0 else None
