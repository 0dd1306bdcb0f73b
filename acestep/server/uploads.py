"""Recordings that clients bring: uploaded, or named by the request that needs them.

In: bytes of ``POST /files``; the text of an audio field: an id of an upload, a ``data:`` URI, an http(s) URL, a path.
Out: a file on this disk that stays as long as the job does, or one sentence. A path is only followed below the input
folders. Refuses to know what the recordings are for, and whether they are sound.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import BinaryIO

from acestep.cog_output import disk_faults
from acestep.errors import InputError, shown
from acestep.net.data_uri import MIB
from acestep.net.fetch import FetchLimits, fetch
from acestep.places import is_below
from acestep.server.faults import NotHereError, TooLargeError
from acestep.server.room import Slots

_ID = re.compile(r"upload-[0-9a-f]{32}")
_WEB = ("https://", "http://")
_DATA = "data:"
FETCHES_AT_ONCE = 8  # from places that may be slow
_UPLOADS_MAX = 8  # of the largest size together
_BLOCK = 1 << 20


class Uploads:
    """Files that were sent ahead, in a folder of this server's own.

    Args:
        folder: for them; empty.
        max_bytes: of one file.
        expire_s: after how many seconds one is deleted; 0 never.
    """

    def __init__(self, folder: Path, max_bytes: int, expire_s: float) -> None:
        self.max_bytes = max_bytes
        self._folder, self._expire_s = folder, expire_s
        self._turn = threading.Lock()

    def check_room(self) -> None:
        """There is room for one more.

        Raises:
            TooLargeError: there is not.
        """
        self._check_held(1)

    def add(self, source: BinaryIO) -> str:
        """Keep a file; the id under which requests can name it.

        Raises:
            InputError: it is empty.
            TooLargeError: it, or all of them together, are too large.
            OutputError: this machine's disk does not take it.
        """
        identifier = f"upload-{secrets.token_hex(16)}"
        target = self._folder / identifier
        part = target.with_suffix(".part")
        try:
            with disk_faults("keep an uploaded file"), part.open("xb") as file:
                shutil.copyfileobj(source, file, _BLOCK)
            with self._turn:
                self._check(part.stat().st_size)
                part.rename(target)
        finally:
            part.unlink(missing_ok=True)
        return identifier

    def path_of(self, identifier: str, field: str) -> Path:
        """Where an upload is.

        Raises:
            NotHereError: there is no such upload, or not any more.
        """
        path = self._folder / identifier
        if not (_ID.fullmatch(identifier) and path.is_file()):
            raise NotHereError(
                f"{field} {shown(identifier)} is no upload of this server, or not any more.", field=field
            )
        return path

    def remove(self, identifier: str) -> None:
        """Delete an upload; jobs that were given it keep it.

        Raises:
            NotHereError: there is no such upload.
        """
        with self._turn:
            self.path_of(identifier, "file").unlink(missing_ok=True)

    def expire(self) -> None:
        """Delete what was sent long ago."""
        with self._turn:
            for path, status in self._present():
                if self._expire_s and status.st_mtime <= time.time() - self._expire_s:
                    path.unlink(missing_ok=True)

    def _present(self) -> Iterator[tuple[Path, os.stat_result]]:
        """Every file that does not vanish while it is looked at."""
        for path in self._folder.iterdir():
            try:
                status = path.stat()
            except FileNotFoundError:
                continue
            yield path, status

    def _check(self, size: int) -> None:
        if not size:
            raise InputError("file is empty.", field="file")
        if size > self.max_bytes:
            raise TooLargeError(
                f"file has {size / MIB:.1f} MiB; {self.max_bytes / MIB:g} MiB are taken.", field="file"
            )
        self._check_held(size)

    def _check_held(self, size: int) -> None:
        held = sum(status.st_size for path, status in self._present() if path.suffix != ".part")
        if held + size > _UPLOADS_MAX * self.max_bytes:
            raise TooLargeError("file: there is no room for more uploads; delete some, or wait.", field="file")


class Inbox:
    """Follows the text of audio fields.

    Args:
        uploads: those of this server.
        folders: below which paths may be named.
        max_bytes: of a file that is downloaded.
        allow_private: also follow URLs into this machine's own networks.
    """

    def __init__(self, uploads: Uploads, folders: Sequence[Path], max_bytes: int, *, allow_private: bool) -> None:
        self._uploads, self._folders, self._allow_private = uploads, tuple(folders), allow_private
        self._limits = FetchLimits(max_bytes=max_bytes)
        self._fetches = Slots(FETCHES_AT_ONCE, "with the recordings of others")

    def collect(self, field: str, text: str, folder: Path, wanted: Callable[[], object] = lambda: None) -> Path:
        """The file that ``text`` names.

        Args:
            field: as the client called it.
            folder: of the job, for what is downloaded or held.
            wanted: asked while something is downloaded; what it raises ends that.

        Raises:
            InputError: a place that may not be named, or a URL that gives no file.
            NotHereError: no such file or upload.
            BusyError: too many others download.
            OutputError: this machine's disk does not take it.
        """
        target = folder / field
        fetched = partial(fetch, text, target, field=field, allow_private=self._allow_private, limits=self._limits)
        if text.startswith(_DATA):
            return fetched()
        if text.startswith(_WEB):
            with self._fetches.taken():
                return fetched(watch=wanted)
        if _ID.fullmatch(text):
            with disk_faults("hold an uploaded file"):
                target.hardlink_to(self._uploads.path_of(text, field))
            return target
        return self._in_folders(field, text)

    def _in_folders(self, field: str, text: str) -> Path:
        places = [folder / text for folder in self._folders]  # an absolute text replaces the folder
        allowed = [place for folder, place in zip(self._folders, places, strict=True) if is_below(folder, place)]
        if not allowed:
            raise InputError(
                f"{field} {shown(text)} must be an id of POST /files, a data: URI, an https: URL, or a path in an "
                "input folder of this server.",
                field=field,
                value=text,
            )
        found = next(filter(_is_file, allowed), None)
        if found is None:
            raise NotHereError(f"{field}: file not found: {shown(text)}.", field=field, value=text)
        return Path(os.path.realpath(found))


def _is_file(path: Path) -> bool:
    """Whether there is a file; a name that no file system takes is none."""
    try:
        return path.is_file()
    except OSError:
        return False
