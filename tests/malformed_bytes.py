"""Pieces of audio files put together by hand, so that one of them can be wrong.

In: figures, some impossible. Out: bytes. Refuses to know what anybody thinks of them.
"""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Iterator

import numpy as np

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


def many_chunks(mark: bytes, inside: bytes, count: int, order: str = "<") -> bytes:
    """A RIFF or IFF file of nothing but empty chunks; ``order`` is that of the bytes of a size."""
    chunks = (b"JUNK" + bytes(4)) * count
    return mark + struct.pack(f"{order}I", len(inside) + len(chunks)) + inside + chunks


def wave64_of_chunks(count: int) -> bytes:
    """A W64 file of nothing but empty chunks."""
    tail = bytes.fromhex("f3acd3118cd100c04f8edb8a")  # of the names of all but the outermost chunk
    outer = b"riff" + bytes.fromhex("2e91cf11a5d628db04c10000")
    chunks = (b"junk" + tail + struct.pack("<Q", 24)) * count
    return outer + struct.pack("<Q", 40 + len(chunks)) + b"wave" + tail + chunks


def caf_of_chunks(count: int) -> bytes:
    """A CAF file of a description and empty chunks."""
    described = struct.pack(">d4s5I", 48_000, b"lpcm", 0, 4, 1, 2, 16)
    return b"caff\0\1\0\0desc" + struct.pack(">q", len(described)) + described + (b"free" + bytes(8)) * count


def flac_of_blocks(flac: bytes, count: int) -> bytes:
    """A FLAC file with empty blocks of padding after its first block, which is said not to be the last."""
    first = 4 + 4 + int.from_bytes(flac[5:8])
    return flac[:4] + bytes([flac[4] & 0x7F]) + flac[5:first] + b"\1\0\0\0" * count + flac[first:]


def id3(size: int) -> bytes:
    """An ID3v2.4 tag of one private frame, ``size`` bytes of it."""
    frame = b"PRIV" + _seven_bits(size) + b"\0\0" + bytes(size)
    return b"ID3\4\0\0" + _seven_bits(len(frame)) + frame


def _seven_bits(number: int) -> bytes:
    return bytes(number >> shift & 0x7F for shift in (21, 14, 7, 0))


def cut(content: bytes, share: float = 0.5) -> bytes:
    """Only the start of a file."""
    return content[: round(len(content) * share)]


def holed(content: bytes, start: float, length: int) -> bytes:
    """A file with zeros from a share of its length on."""
    first = round(len(content) * start)
    return content[:first] + bytes(length) + content[first + length :]


def overwritten(content: bytes) -> bytes:
    """A file whose middle third is random."""
    third = len(content) // 3
    return content[:third] + np.random.default_rng(7).bytes(third) + content[2 * third :]


def zipped(content: bytes) -> bytes:
    """An archive with a song."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("song.wav", content)
    return archive.getvalue()


def nested(samples: bytes) -> bytes:
    """A WAV file in a WAV file in a WAV file."""
    inner = wav(samples)
    return chunk(b"RIFF", b"WAVE" + chunk(b"RIFF", b"WAVE" + chunk(b"LIST", b"wavl" + inner)))


def boxes_in_boxes(depth: int) -> bytes:
    """An MP4 file of nothing but boxes in each other."""
    box = b""
    for _ in range(depth):
        box = struct.pack(">I", len(box) + 8) + b"moov" + box
    return struct.pack(">I", 20) + b"ftypM4A \0\0\2\0M4A " + box


def endless_8svx() -> bytes:
    """An 8SVX file whose chunks without sound exhaust the memory libsndfile has for headers: it looks on for ever."""
    voice = b"VHDR" + struct.pack(">I3IHBBI", 20, 0, 0, 0, 48_000, 1, 0, 1 << 16)
    chunks = (b"JUNK" + bytes(4)) * 9000
    return b"FORM" + struct.pack(">I", 4 + len(voice) + len(chunks)) + b"8SVX" + voice + chunks
