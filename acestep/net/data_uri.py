"""A file that travels inside its own address: RFC 2397 `data:` URIs.

In: the text. Out: the bytes, in pieces, so that however the text is spelled it costs little memory beside itself. The
media type is not looked at: it is often missing or wrong, and what reads the file looks at its content. Refuses to
know: files, limits other than the size.
"""

from __future__ import annotations

import binascii
import string
from collections.abc import Iterable, Iterator
from urllib.parse import unquote_to_bytes

from acestep.net.url import Refused

SCHEME = "data:"
MIB = 1 << 20
_PIECE = 1 << 12  # characters; an escape costs up to 180 bytes while it is undone
_ESCAPE = 3  # characters: %41
_QUANTUM = 4  # characters of base64 that are three bytes
_WHITE = string.whitespace.encode()


def decode(uri: str, max_bytes: int) -> Iterator[bytes]:
    """The bytes of a `data:` URI, in order.

    Raises:
        Refused: it has no comma, no data, more than `max_bytes`, or base64 with a fault. Python's own reader takes
            faulty base64 for an empty file.
    """
    comma = uri.find(",")
    if comma < 0:
        raise Refused("begins with data: but has no comma before the data")
    pieces = _unquoted(uri, comma + 1)
    if uri[:comma].rpartition(";")[2].strip().lower() == "base64":
        pieces = _from_base64(pieces)
    size = 0
    for piece in pieces:
        size += len(piece)
        if size > max_bytes:
            raise Refused(f"holds more than {max_bytes / MIB:g} MiB")
        yield piece
    if not size:
        raise Refused("is a data: URI without data")


def _unquoted(text: str, start: int) -> Iterator[bytes]:
    """The rest of `text`, its escapes undone and other characters as UTF-8."""
    while start < len(text):
        end = start + _PIECE
        split = text.rfind("%", end - _ESCAPE + 1, end)  # an escape that would be cut in two
        end = end if split < 0 else split
        yield unquote_to_bytes(text[start:end])
        start = end


def _from_base64(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """What the pieces encode; white space between characters is no fault."""
    rest = b""
    try:
        for piece in pieces:
            text = rest + piece.translate(None, _WHITE)
            whole = max(len(text) - 1, 0) // _QUANTUM * _QUANTUM  # the last characters may be the padded end
            if b"=" in text[:whole]:
                raise binascii.Error("Excess data after padding")
            yield binascii.a2b_base64(text[:whole], strict_mode=True)
            rest = text[whole:]
        yield binascii.a2b_base64(rest, strict_mode=True)
    except binascii.Error as error:
        raise Refused(f"is a data: URI that is not valid base64 ({error})") from error
