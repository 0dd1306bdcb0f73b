"""The place of a C2PA manifest in the tag of an MP3: kept free, measured around, filled.

In: a tagged MP3. Out: the same file with a frame that a manifest fits into. Refuses to know manifests and keys.

The c2pa library can make the frame too, but writes every other frame anew with it: as ID3v2.4, with synced lyrics
that others cannot read, and with none at all if it does not understand one of them.
"""

from __future__ import annotations

import hashlib
import io
import secrets
from pathlib import Path

from mutagen.id3 import GEOB, ID3, Encoding

from acestep.output.tags import CONTAINERS

MEDIA_TYPE, FILE_NAME, DESCRIPTION = "application/c2pa", "c2pa", "c2pa manifest store"
BLOCK_BYTES = 1 << 20


def make_room(path: Path, size: int) -> int:
    """Give the tag a frame for a manifest of ``size`` bytes, in place of the one that it may have; return its offset.

    Raises:
        mutagen.MutagenError, OSError: the file cannot be rewritten.
    """
    stand_in = secrets.token_bytes(size)
    tag = ID3(path)
    frame = GEOB(encoding=Encoding.LATIN1, mime=MEDIA_TYPE, filename=FILE_NAME, desc=DESCRIPTION, data=stand_in)
    tag.setall(frame.HashKey, [frame])
    tag.save(path, **CONTAINERS["id3"].save_options)
    with path.open("rb") as file:
        return file.read(ID3(path).size).index(stand_in)


def digest_around(path: Path, start: int, size: int) -> bytes:
    """SHA-256 of a file without ``size`` bytes at ``start``."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        digest.update(file.read(start))
        file.seek(size, io.SEEK_CUR)
        while block := file.read(BLOCK_BYTES):
            digest.update(block)
    return digest.digest()


def fill(path: Path, start: int, manifest: bytes) -> None:
    """Overwrite a file from ``start`` on."""
    with path.open("r+b") as file:
        file.seek(start)
        file.write(manifest)
