"""The output folder: names that files get, what this server wrote there, and what has grown old.

In: finished files, names that clients wish for. Out: files under those names, complete or not at all. Files are made
on a workbench inside the folder and renamed; a killed server's workbenches are gone when the next one starts. What
this server wrote it writes down, and only that is ever replaced or deleted, and only while nobody has changed it.
Refuses to know how music is made and what HTTP is.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import shutil
import stat
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

import filelock

from acestep.cog_output import disk_faults
from acestep.errors import InputError, OutputError, shown
from acestep.output.formats import FORMATS
from acestep.output.writer import check_writable, move_file, write_text
from acestep.places import below
from acestep.server.faults import NotHereError

BUNDLE = ".zip"
MEDIA_TYPES = {BUNDLE: "application/zip"} | {row.extension: row.mime for row in reversed(FORMATS.values())}
FIELD = "output_path"
_DEEPEST = 8  # folders of a name
_LEDGER, _LOCK, _BENCH = ".acestep-server.json", ".acestep-server.lock", ".job-"
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Written:
    """A file as this server left it: bytes, time of change in nanoseconds, and when it was made (Unix time)."""

    size: int
    changed_ns: int
    made: float


class OutputFolder:
    """One server's folder of songs; made by ``opened``.

    Args:
        path: of the folder.
        expire_s: after how many seconds its files are deleted; 0 never.
        clock: Unix time.
    """

    def __init__(self, path: Path, expire_s: float, clock: Callable[[], float] = time.time) -> None:
        self.path = Path(os.path.realpath(path))
        self._expire_s, self._clock = expire_s, clock
        self._turn = threading.Lock()
        self._reserved: set[Path] = set()
        self._written: dict[str, Written] = {}

    @classmethod
    @contextmanager
    def opened(cls, path: Path, expire_s: float, clock: Callable[[], float] = time.time) -> Iterator[OutputFolder]:
        """The folder exists, no other server works in it, and what is old or half made is gone.

        Raises:
            OutputError: it cannot be written, or another server works in it.
        """
        check_writable(path)
        folder = cls(path, expire_s, clock)
        lock = filelock.FileLock(folder.path / _LOCK, blocking=False, thread_local=False)
        try:
            lock.acquire()
        except filelock.Timeout as error:
            raise OutputError(f"another server works in the output folder {path.name!r}; name another.") from error
        try:
            for bench in folder.path.glob(f"{_BENCH}*"):
                shutil.rmtree(bench, ignore_errors=True)
            folder._written = _read_ledger(folder.path)
            folder.expire()
            yield folder
        finally:
            lock.release()  # its file stays: taking it away could let two in at once

    @contextmanager
    def reserved(self, text: str, extension: str, *, overwrite: bool = False) -> Iterator[Path]:
        """The path that the first file of a request shall have; nobody else gets it inside the block.

        Args:
            text: what the client wishes, or "" for a name of ours.
            extension: of the format, with its dot.
            overwrite: a file that this server wrote may be replaced.

        Raises:
            InputError: not such a path, another suffix, taken by another request, or a file that may not be replaced.
        """
        path = below(self.path, text or f"output_{secrets.token_hex(8)}{extension}", FIELD)
        if path.suffix.lower() != extension:
            raise InputError.must(FIELD, f"end in {extension}, the suffix of the format", text)
        with self._turn:
            self._check_folders(path, text)
            if path in self._reserved:
                raise InputError(
                    f"{FIELD} {shown(text)} is what another request is writing.", field=FIELD, value=text
                )
            if os.path.lexists(path) and not (overwrite and self._is_ours(path)):
                hint = "this server did not write it" if overwrite else "choose another, or send overwrite=true"
                raise InputError(f"{FIELD} {shown(text)} is there already; {hint}.", field=FIELD, value=text)
            self._reserved.add(path)
        try:
            yield path
        finally:
            with self._turn:
                self._reserved.discard(path)

    def _check_folders(self, path: Path, text: str) -> None:
        """The folders of a name can be made."""
        folders = path.parents[: len(path.relative_to(self.path).parts) - 1]
        if len(folders) > _DEEPEST:
            raise InputError.must(FIELD, f"have at most {_DEEPEST} folders", text)
        for folder in folders:
            if folder in self._reserved or (os.path.lexists(folder) and not folder.is_dir()):
                raise InputError(
                    f"{FIELD} {shown(text)} leads through {shown(folder.name)}, which is no folder.",
                    field=FIELD,
                    value=text,
                )

    @contextmanager
    def workbench(self) -> Iterator[Path]:
        """An empty folder on the disk of the outputs, gone after the block.

        Raises:
            OutputError: the disk takes no folder.
        """
        with disk_faults("make a folder for the songs"):
            self.path.mkdir(parents=True, exist_ok=True)
            bench = Path(tempfile.mkdtemp(prefix=_BENCH, dir=self.path))
        try:
            yield bench
        finally:
            shutil.rmtree(bench, ignore_errors=True)

    def take(self, file: Path, wished: Path, *, overwrite: bool = False) -> Path:
        """Give a complete file its name, or the next that is free, and write down that it is ours.

        Raises:
            OutputError: it cannot be.
        """
        with self._turn:
            target = wished if overwrite and self._is_ours(wished) else _free(wished)
            with disk_faults(f"write {target.name!r}"):
                target.parent.mkdir(parents=True, exist_ok=True)
            move_file(file, target)
            self._written[self._name(target)] = self._seen(target)
            self._write_ledger()
        return target

    def drop(self, path: Path) -> None:
        """Undo ``take``, unless somebody has changed the file since."""
        with self._turn:
            self._delete(self._name(path))
            self._write_ledger()

    def opened_song(self, name: str) -> tuple[Path, BinaryIO]:
        """A file that can be downloaded, and the same open for reading.

        Raises:
            InputError: the name leads out of the folder.
            NotHereError: there is no such song.
        """
        path = below(self.path, name, "filename")
        if path.suffix.lower() in MEDIA_TYPES and path.is_file():
            with suppress(FileNotFoundError):  # it was there a moment ago
                return path, path.open("rb")
        raise NotHereError(f"File not found: {shown(name)}.", field="filename", value=name)

    def expire(self) -> list[str]:
        """Delete what this server wrote long ago and nobody has changed since; its names."""
        with self._turn:
            limit = self._clock() - self._expire_s
            old = [name for name, row in self._written.items() if self._expire_s and row.made <= limit]
            gone = [name for name in self._written if name in old or not os.path.lexists(self.path / name)]
            for name in gone:
                self._delete(name)
            if gone:
                self._write_ledger()
        return old

    def _delete(self, name: str) -> None:
        """Forget a file of ours; it goes too, and with it the folders that it leaves empty, unless it was changed."""
        path = self.path / name
        if self._is_ours(path):
            with suppress(OSError):  # somebody was faster
                path.unlink()
        self._written.pop(name, None)
        with suppress(OSError):  # the first that is not empty, or is gone, ends this
            for folder in path.parents[: len(Path(name).parts) - 1]:
                folder.rmdir()

    def _name(self, path: Path) -> str:
        return path.relative_to(self.path).as_posix()

    def _is_ours(self, path: Path) -> bool:
        """Whether this server wrote the file, and nobody has changed it since."""
        row = self._written.get(self._name(path))
        if row is None:
            return False
        try:
            status = path.lstat()
        except OSError:  # it is gone, or its folder is
            return False
        seen = (status.st_size, status.st_mtime_ns)
        return stat.S_ISREG(status.st_mode) and seen == (row.size, row.changed_ns)

    def _seen(self, path: Path) -> Written:
        status = path.stat()
        return Written(status.st_size, status.st_mtime_ns, self._clock())

    def _write_ledger(self) -> None:
        """A song does not fail because of the list of songs: what is missing in it is never deleted, that is all."""
        rows = {name: asdict(row) for name, row in self._written.items()}
        try:
            write_text(self.path / _LEDGER, json.dumps(rows, indent=0))
        except OutputError as error:
            logger.warning("The list of what this server wrote is not up to date: %s", error)


def _free(path: Path) -> Path:
    """``path``, or where something is there already, the first of ``song-1.wav``, ``song-2.wav`` ... that is free."""
    number, free = 0, path
    while os.path.lexists(free):
        number += 1
        free = path.with_stem(f"{path.stem}-{number}")
    return free


def _read_ledger(folder: Path) -> dict[str, Written]:
    """What was written down. Without a ledger that can be read nothing is ours, and nothing is deleted."""
    try:
        rows = json.loads((folder / _LEDGER).read_text(encoding="utf-8"))
        return {_checked(folder, name): _written(row) for name, row in rows.items()}
    except (OSError, ValueError, TypeError, AttributeError, KeyError, InputError):
        return {}


def _checked(folder: Path, name: str) -> str:
    """``name``, which leads to no other folder."""
    return below(folder, name, FIELD).relative_to(folder).as_posix()


def _written(row: Mapping[str, float]) -> Written:
    return Written(int(row["size"]), int(row["changed_ns"]), float(row["made"]))
