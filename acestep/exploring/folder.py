"""The folder of one exploration: locked, watched, and changed in steps that a killed process may end between.

In: songs in a workbench, the standings before and after them. Out: the best songs under their names, and the standing
that lists them. What somebody else put there is never touched. Refuses to know how songs are made and chosen.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import filelock

from acestep.errors import InputError, OutputError
from acestep.exploring.standing import Standing
from acestep.output.writer import move_file

_LOCK = ".exploration.lock"
_BENCH = ".batch-"
_BENCH_NAME = re.compile(re.escape(_BENCH) + "[a-z0-9_]{8}")  # as ``tempfile`` ends them


class SongFolder:
    """A folder that this process alone explores in; made by ``locked``.

    Attributes:
        path: absolute.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._identity = self._seen()

    @classmethod
    @contextmanager
    def locked(cls, path: Path) -> Iterator[SongFolder]:
        """The folder exists, nobody else explores in it, and nothing of a killed exploration's workbench is left.

        Raises:
            OutputError: it cannot be written, or another process explores in it.
        """
        path = path.absolute()
        lock = filelock.FileLock(path / _LOCK, blocking=False, thread_local=False)
        try:
            path.mkdir(parents=True, exist_ok=True)
            lock.acquire()
        except filelock.Timeout as error:
            raise OutputError(f"another exploration is at work in {path.name!r}.") from error
        except OSError as error:
            raise OutputError(f"cannot write into the folder {path.name!r}: {error.strerror}.") from error
        try:
            folder = cls(path)
            folder._sweep()
            yield folder
        finally:
            lock.release()  # its file stays: taking it away could let two in at once

    def settle(self, standing: Standing) -> Standing:
        """Take away the songs that a killed process had not yet counted, or no longer.

        Raises:
            OutputError: the folder cannot be written.
        """
        if not standing.loose:
            return standing
        settled = replace(standing, loose=())
        self._remove(set(standing.loose) - settled.files)
        self._write(settled)
        return settled

    def refuse_strangers(self, standing: Standing, names: Iterable[str]) -> None:
        """Songs that shall have these names replace nothing of somebody else's.

        Raises:
            InputError: a file of such a name is there, and the standing does not list it.
        """
        for name in names:
            if name not in standing.files and os.path.lexists(self.path / name):
                raise InputError(
                    f"{self.path.name!r} holds a {name!r} that this exploration did not make; move it away, or name "
                    "another folder.",
                    field="output",
                    value=name,
                )

    def check(self, standing: Standing) -> None:
        """The folder is still the one that was locked, and holds what the standing lists.

        Raises:
            OutputError: it is not, or a song is gone.
        """
        name = self.path.name
        if not self._is_here():
            raise OutputError(f"the folder {name!r} was moved or deleted while it was explored.")
        for file in sorted(standing.files):
            if not (self.path / file).is_file():
                raise OutputError(
                    f"{file!r} was taken away from {name!r} while it was explored; the same call goes on without it."
                )

    @contextmanager
    def workbench(self) -> Iterator[Path]:
        """A folder inside for songs that nobody has judged yet; gone after the block.

        Raises:
            OutputError: it cannot be made.
        """
        try:
            bench = tempfile.TemporaryDirectory(dir=self.path, prefix=_BENCH, ignore_cleanup_errors=True)
        except OSError as error:
            raise OutputError(f"cannot write into the folder {self.path.name!r}: {error.strerror}.") from error
        try:
            with bench as folder:
                yield Path(folder)
        finally:
            if not self._is_here():  # writing the songs made it again
                with suppress(OSError):
                    self.path.rmdir()

    def take(self, before: Standing, after: Standing, songs: Mapping[str, Path]) -> None:
        """Put what is kept into the folder, and the standing; take away what is kept no more.

        A standing is written before each step, so that whoever goes on after a kill knows which files are ours.

        Args:
            before: what the folder holds.
            after: what it shall hold.
            songs: complete files by the names that they shall have; others than the kept ones stay where they are.

        Raises:
            InputError: a file of somebody else has one of the names.
            OutputError: the folder is not the same any more, or cannot be written.
        """
        coming = {name: path for name, path in songs.items() if name in after.files}
        self.refuse_strangers(before, coming)
        if coming:
            self._write(replace(before, loose=tuple(coming)))
        for name, path in coming.items():
            move_file(path, self.path / name)
        dropped = before.files - after.files
        if dropped:
            self._write(replace(after, loose=tuple(sorted(dropped))))
            self._remove(dropped)
        self._write(after)

    def _write(self, standing: Standing) -> None:
        self.check(standing)
        standing.write(self.path)

    def _remove(self, names: Iterable[str]) -> None:
        for name in names:
            try:
                (self.path / name).unlink(missing_ok=True)
            except OSError as error:
                raise OutputError(f"cannot remove {name!r}: {error.strerror}.") from error

    def _sweep(self) -> None:
        """Workbenches of killed explorations."""
        for path in self.path.glob(f"{_BENCH}*"):
            if _BENCH_NAME.fullmatch(path.name) and path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)

    def _is_here(self) -> bool:
        return self._identity is not None and self._seen() == self._identity

    def _seen(self) -> tuple[int, int] | None:
        """Which file the lock is, whatever its path; None where there is none."""
        try:
            found = (self.path / _LOCK).stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino
