"""What the Cog door needs beside the mapping: its own output folder, progress lines, texts that hold numbers.

In: a finished ``GenerationResult``. Out: the one path Cog delivers. Cog deletes its inputs but not our outputs, and
it reads an output after ``predict`` has returned: so files live until the prediction after the next one starts.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from acestep.errors import InputError, OutputError
from acestep.inference import GenerationResult

logger = logging.getLogger(__name__)
Number = TypeVar("Number", int, float)
_KEPT = 2
_BAR = 10


class OutputFolder:
    """A private folder with one sub-folder per prediction; only the last two stay."""

    def __init__(self) -> None:
        self._root = Path(tempfile.mkdtemp(prefix="acestep-outputs-"))
        self._kept: list[Path] = []

    def fresh(self) -> Path:
        """A new empty folder; the ones nobody can be reading any more are deleted."""
        while len(self._kept) >= _KEPT:
            shutil.rmtree(self._kept.pop(0))
        self._kept.append(Path(tempfile.mkdtemp(dir=self._root)))
        return self._kept[-1]

    def deliver(
        self,
        result: GenerationResult,
        *,
        return_all: bool,
        score: bool,
        record: Callable[[str, float], None],
    ) -> Path:
        """The path to return: one audio file, or a zip of all of them.

        Raises:
            AceStepError: the error of a failed result.
            OutputError: a file is missing or empty, which Cog would deliver as success without output.
        """
        result.check()
        for stage, seconds in result.extra_outputs["time_costs"].items():
            record(f"timing.{stage}", float(seconds))
        print(result.status_message, flush=True)
        paths = [Path(audio["path"]) for audio in result.audios]
        for path in paths:
            if not path.is_file() or path.stat().st_size == 0:
                raise OutputError(f"The finished file {path.name} is missing or empty.")
        if return_all:
            return _zip(paths)
        if score and len(paths) > 1:
            print("Songs are not scored in this version; song 0 is returned.", flush=True)
        return paths[0]


class ProgressPrinter:
    """One line per step in the shape clients parse, each ended by a newline."""

    def __call__(self, share: float, stage: str) -> None:
        """Print ``share`` (0 to 1) as a bar, then the stage."""
        percent = round(share * 100)
        bar = "#" * (percent // _BAR)
        print(f"{percent:3d}%|{bar:<{_BAR}}| {percent}/100 [{stage}]", flush=True)


def print_stage(stage: str, seconds: float, size: int = 0) -> None:
    """One line of ``setup``: what, how long, how many bytes."""
    bytes_ = f", {size:,} bytes" if size else ""
    print(f"setup: {stage} {seconds:.2f} s{bytes_}", flush=True)


def local_file(field: str, value: object, delivered: type) -> str | None:
    """The path of a file input that the server delivered, or None.

    Raises:
        InputError: anything else, such as a path or ``file://`` text that would read the server's own disk.
    """
    if value is None:
        return None
    if not isinstance(value, delivered):
        raise InputError(f"{field} must be sent as a data: URI or an https: URL.", field=field)
    return str(value)


def numbers(field: str, text: str, kind: type[Number]) -> list[Number] | None:
    """A comma-separated list, or None when empty.

    Raises:
        InputError: an entry is not a number.
    """
    entries = [entry.strip() for entry in text.split(",") if entry.strip()]
    try:
        return [kind(entry) for entry in entries] or None
    except ValueError as error:
        raise InputError.must(field, "be numbers separated by commas", text) from error


def _zip(paths: list[Path]) -> Path:
    bundle = paths[0].with_name("songs.zip")
    with zipfile.ZipFile(bundle, "w", zipfile.ZIP_STORED) as archive:
        for index, path in enumerate(paths):
            archive.write(path, f"{index:02d}-{path.name}")
    return bundle
