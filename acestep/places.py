"""Paths that strangers write: what they may name below a folder, and nothing above it.

In: a folder, a client's text. Out: a path below the folder, or one sentence. What the text means is decided without
looking at the disk, apart from symbolic links, which must not lead out. Refuses to know what the files are for.
"""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path, PurePosixPath

from acestep.errors import InputError

_NAME_BYTES_MAX, _PATH_BYTES_MAX = 255, 1024  # of one part, on the usual file systems; of all


def below(folder: Path, text: str, field: str) -> Path:
    """The path that ``text`` names below ``folder``, which need not exist.

    Raises:
        InputError: it leads out, names nothing, or is not spelled as a plain path.
    """
    root = Path(os.path.realpath(folder))
    parts = _parts_below(folder, root, text, field)
    path = root.joinpath(*parts)
    if not Path(os.path.realpath(path)).is_relative_to(root):
        raise _outside(field, text)
    return path


def is_below(folder: Path, path: Path) -> bool:
    """Whether a path lies in a folder, symbolic links followed."""
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))


def _parts_below(folder: Path, root: Path, text: str, field: str) -> tuple[str, ...]:
    if "\\" in text or any(unicodedata.category(character) in {"Cc", "Cf", "Zl", "Zp"} for character in text):
        raise InputError.must(field, "be a plain path, without backslashes and control characters", text)
    path = PurePosixPath(text)
    if path.is_absolute():
        base = next((base for base in (root, folder.absolute()) if path.is_relative_to(base)), None)
        if base is None:
            raise _outside(field, text)
        path = path.relative_to(base)
    if ".." in path.parts:
        raise _outside(field, text)
    strange = text.endswith("/") or len(os.fsencode(text)) > _PATH_BYTES_MAX or any(map(_is_strange, path.parts))
    if strange or not path.parts:
        raise InputError.must(field, "name a file, without a dot at its beginning, by at most 255 bytes", text)
    return path.parts


def _is_strange(part: str) -> bool:
    return part.startswith(".") or len(os.fsencode(part)) > _NAME_BYTES_MAX


def _outside(field: str, text: str) -> InputError:
    return InputError.must(field, "be a name or a relative path below the server's folder", text)
