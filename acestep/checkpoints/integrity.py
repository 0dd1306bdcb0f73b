"""Is this file the one that was meant, is this folder ready? Digests, and the marker that ends a download.

In: paths, and what the hub says of a file. Out: verdicts; ``.acestep.json``, which names the commit and every file of
a folder and is written last, so that its presence means the folder is whole. Refuses to know the network.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from acestep.checkpoints.files import files_in, folder_of, missing, origin_of, staging_of
from acestep.checkpoints.rows import HubFolder

MARKER = ".acestep.json"


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file as the hub describes it.

    Attributes:
        path: below the folder.
        size: bytes.
        sha256: of the content; known for large files.
        git_sha1: of the content as a git blob; known for small files.
    """

    path: str
    size: int
    sha256: str | None = None
    git_sha1: str | None = None


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file as it lies on disk: path below the folder, bytes, SHA-256."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Marker:
    """What a finished download wrote down about its folder; ``repository`` is what `files.origin_of` says."""

    repository: str
    commit: str
    files: tuple[StoredFile, ...]


class State(Enum):
    """What a folder of weights is good for; the value is the word that people read."""

    SHIPPED = "shipped"
    READY = "ready"
    BY_HAND = "by hand"
    OUTDATED = "outdated"
    INCOMPLETE = "incomplete"
    ABSENT = "absent"

    @property
    def usable(self) -> bool:
        """Everything the network needs is there."""
        return self in {State.SHIPPED, State.READY, State.BY_HAND}


@dataclass(frozen=True, slots=True)
class Found:
    """What is on disk for one row.

    Attributes:
        state: the verdict.
        folder: where.
        files: the files that are there.
        commit: of the hub; None when nobody wrote it down.
        why: it is not usable, in words that follow the folder's name; "" when it is.
    """

    state: State
    folder: Path
    files: tuple[Path, ...] = ()
    commit: str | None = None
    why: str = ""

    @property
    def size(self) -> int:
        """Bytes of its files."""
        return sum(path.stat().st_size for path in self.files)


def stored(path: Path, name: str) -> StoredFile:
    """Measure a file; reads it once."""
    with path.open("rb") as file:
        return StoredFile(name, path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest())


def difference(path: Path, here: StoredFile, wanted: RemoteFile) -> str | None:
    """What is wrong with a file, in words that follow its name; None when it is the one the hub means."""
    if here.size != wanted.size:
        return f"has {here.size} bytes instead of {wanted.size}"
    if wanted.sha256 is not None and here.sha256 != wanted.sha256:
        return f"has SHA-256 {here.sha256[:8]}... instead of {wanted.sha256[:8]}..."
    if wanted.sha256 is None and wanted.git_sha1 is not None:
        found = _git_sha1(path)
        if found != wanted.git_sha1:
            return f"has git hash {found[:8]}... instead of {wanted.git_sha1[:8]}..."
    return None


def read_marker(folder: Path) -> Marker | None:
    """The marker of a folder; None when there is none that can be trusted."""
    try:
        raw = json.loads((folder / MARKER).read_text(encoding="utf-8"))
        files = tuple(StoredFile(path, entry["size"], entry["sha256"]) for path, entry in raw["files"].items())
        return Marker(raw["repository"], raw["commit"], files)
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return None


def write_marker(folder: Path, marker: Marker) -> None:
    """Declare a folder whole: written beside, synced, renamed."""
    files = {file.path: {"size": file.size, "sha256": file.sha256} for file in marker.files}
    text = json.dumps({"repository": marker.repository, "commit": marker.commit, "files": files}, indent=2)
    beside = folder / f"{MARKER}.new"
    with beside.open("w", encoding="utf-8") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())
    beside.replace(folder / MARKER)


def inspect(row: HubFolder, root: Path) -> Found:
    """Look at the folder of ``row`` without the network and without reading the weights.

    A folder with a marker is held to it. One without is taken as filled by a person, unless a download of ours began
    there and did not end; only a file that is no network is then read and compared. One that cannot be read is
    incomplete.
    """
    try:
        return _inspect(row, root)
    except OSError as error:
        return Found(State.INCOMPLETE, root / row.folder, why=f"cannot be read ({error.strerror})")


def _inspect(row: HubFolder, root: Path) -> Found:
    folder = folder_of(row, root)
    if not folder.is_dir():
        return Found(State.ABSENT, folder, why="is not there")
    files, lacking = files_in(row.layout, folder), missing(row.layout, folder)
    lacks = f"lacks {', '.join(lacking)}" if lacking else ""
    if row.embedded:
        return Found(State.INCOMPLETE if lacking else State.SHIPPED, folder, files, why=lacks)
    marker = read_marker(folder)
    if marker is not None:
        state, why = _held_to(marker, row, folder, lacks)
        return Found(state, folder, files, marker.commit, why)
    why = lacks or ("is from a download that has not ended" if staging_of(row, root).exists() else "")
    why = why or _strange(row, folder)
    unusable = State.INCOMPLETE if files else State.ABSENT
    return Found(unusable if why else State.BY_HAND, folder, files, why=why)


def _held_to(marker: Marker, row: HubFolder, folder: Path, lacks: str) -> tuple[State, str]:
    """The verdict on a folder with a marker, and what is wrong with it; ``lacks`` names files it needs."""
    if marker.repository != origin_of(row):
        return State.OUTDATED, f"is from {marker.repository} instead of {origin_of(row)}"
    if row.revision not in {None, marker.commit}:
        return State.OUTDATED, f"is commit {marker.commit[:8]} instead of {row.revision[:8]}"
    changed = [file.path for file in marker.files if not _has_size(folder / file.path, file.size)]
    why = lacks or (f"has files of another size than was downloaded: {', '.join(changed)}" if changed else "")
    return (State.INCOMPLETE, why) if why else (State.READY, "")


def _strange(row: HubFolder, folder: Path) -> str:
    """What is wrong with the content of a folder that a person filled with the one file of an address; "" if nothing.

    A checkout on Windows ends the lines of a text with CR LF; that is the same file.
    """
    if not row.url:
        return ""
    ((name, digest),) = row.digests
    content = (folder / name).read_bytes()
    spellings = (content, content.replace(b"\r\n", b"\n"))
    same = digest in (hashlib.sha256(spelling).hexdigest() for spelling in spellings)
    return "" if same else f"has another {name} than was published"


def _has_size(path: Path, size: int) -> bool:
    return path.is_file() and path.stat().st_size == size


def _git_sha1(path: Path) -> str:
    """The name git gives to this content."""
    header = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    with path.open("rb") as file:
        return hashlib.file_digest(file, header.copy).hexdigest()
