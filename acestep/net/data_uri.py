"""A file that travels inside its own address: RFC 2397 `data:` URIs.

In: the text. Out: the bytes. The media type is not looked at: it is often missing or wrong, and what reads the file
looks at its content. Refuses to know: files, limits other than the size.
"""

from __future__ import annotations

import base64
import binascii
from urllib.parse import unquote_to_bytes

from acestep.net.url import Refused

SCHEME = "data:"
MIB = 1 << 20


def decode(uri: str, max_bytes: int) -> bytes:
    """The bytes of a `data:` URI.

    Raises:
        Refused: it has no comma, no data, more than `max_bytes`, or base64 with a fault. Python's own reader takes
            faulty base64 for an empty file.
    """
    header, comma, payload = uri.removeprefix(SCHEME).partition(",")
    if not comma:
        raise Refused("begins with data: but has no comma before the data")
    data = unquote_to_bytes(payload) if "%" in payload or not payload.isascii() else payload.encode()
    if header.rpartition(";")[2].strip().lower() == "base64":
        data = _from_base64(data)
    if not data:
        raise Refused("is a data: URI without data")
    if len(data) > max_bytes:
        raise Refused(f"holds more than {max_bytes / MIB:g} MiB")
    return data


def _from_base64(text: bytes) -> bytes:
    try:
        return base64.b64decode(b"".join(text.split()), validate=True)
    except binascii.Error as error:
        raise Refused(f"is a data: URI that is not valid base64 ({error})") from error
