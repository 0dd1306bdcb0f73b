"""Pieces of audio files put together by hand, so that one of them can be wrong.

In: figures, some impossible. Out: bytes. Refuses to know what anybody thinks of them.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

PCM, FLOAT = 1, 3
RIFF_HEAD = 44  # bytes of ``wav`` before its samples
FLAC_TOTAL = slice(21, 26)  # four low bits of other fields, then 36 bits: samples in all (RFC 9639, section 8.2)


def chunk(mark: bytes, content: bytes, size: int | None = None) -> bytes:
    """A RIFF chunk, padded to an even length; ``size`` is what it says of itself."""
    return mark + struct.pack("<I", len(content) if size is None else size) + content + b"\0" * (len(content) % 2)


def wav(
    samples: bytes,
    *,
    codec: int = PCM,
    channels: int = 2,
    rate: int = 48_000,
    bits: int = 16,
    align: int | None = None,
    stated: int | None = None,
    before: bytes = b"",
) -> bytes:
    """A WAV file; ``align`` is bytes per frame, ``stated`` the bytes its header promises, ``before`` other chunks."""
    align = channels * bits // 8 if align is None else align
    described = struct.pack("<HHIIHH", codec, channels, rate, rate * align & 0xFFFF_FFFF, align & 0xFFFF, bits)
    return chunk(b"RIFF", b"WAVE" + before + chunk(b"fmt ", described) + chunk(b"data", samples, stated))


def with_flac_total(flac: bytes, total: int) -> bytes:
    """A FLAC file whose header claims another number of samples."""
    field = int.from_bytes(flac[FLAC_TOTAL]) >> 36 << 36 | total
    return flac[: FLAC_TOTAL.start] + field.to_bytes(5) + flac[FLAC_TOTAL.stop :]


def with_last_position(ogg: bytes, position: int) -> bytes:
    """An Ogg file whose last page claims to end at another sample, its checksum in order."""
    start = ogg.rfind(b"OggS")
    page = bytearray(ogg[start:])
    page[6:14] = struct.pack("<q", position)
    page[22:26] = bytes(4)
    page[22:26] = struct.pack("<I", _ogg_checksum(page))
    return ogg[:start] + bytes(page)


def _ogg_checksum(page: bytes) -> int:
    """CRC with polynomial 0x04C11DB7, nothing reflected, start and end 0 (RFC 3533, section 6)."""
    register = 0
    for byte in page:
        register ^= byte << 24
        for _ in range(8):
            register = (register << 1 ^ (0x04C1_1DB7 if register & 0x8000_0000 else 0)) & 0xFFFF_FFFF
    return register


def boxes(mp4: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Name and whole bytes of the outermost boxes of an MP4 file."""
    start = 0
    while start < len(mp4):
        size = int.from_bytes(mp4[start : start + 4])
        yield mp4[start + 4 : start + 8], mp4[start : start + size]
        start += size


def without_box(mp4: bytes, name: bytes) -> bytes:
    """An MP4 file that lacks a box."""
    return b"".join(box for found, box in boxes(mp4) if found != name)


def id3(size: int) -> bytes:
    """An ID3v2.4 tag of one private frame, ``size`` bytes of it."""
    frame = b"PRIV" + _seven_bits(size) + b"\0\0" + bytes(size)
    return b"ID3\4\0\0" + _seven_bits(len(frame)) + frame


def _seven_bits(number: int) -> bytes:
    return bytes(number >> shift & 0x7F for shift in (21, 14, 7, 0))
