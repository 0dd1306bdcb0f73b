"""What the Cog door needs beside the mapping: its own output folder, progress lines, texts that hold numbers.

In: a finished ``GenerationResult``. Out: the one path Cog delivers. Cog deletes its inputs but not our outputs, and
it reads an output after ``predict`` has returned: so files live until the prediction after the next one starts.
"""

from __future__ import annotations

import re
import shutil
import tempfile
import weakref
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from acestep.errors import InputError, OutputError
from acestep.inference import GenerationResult

Number = TypeVar("Number", int, float)
_KEPT = 2
_BAR = 10
INPUT_NAMES = {  # parameter of the Python API -> input of predict.py, where they differ
    "task_type": "task",
    "caption": "prompt",
    "duration": "audio_duration",
    "src_audio": "input_audio",
    "inference_steps": "infer_steps",
    "audio_format": "output_format",
    "repainting_start": "inpaint_start_time",
    "repainting_end": "inpaint_end_time",
}


class OutputFolder:
    """A private folder with one sub-folder per prediction; only the last two stay, and none when the process ends."""

    def __init__(self) -> None:
        self._root = Path(tempfile.mkdtemp(prefix="acestep-outputs-"))
        self._kept: list[Path] = []
        weakref.finalize(self, shutil.rmtree, self._root, ignore_errors=True)

    def fresh(self) -> Path:
        """A new empty folder; the ones nobody can be reading any more are deleted."""
        while len(self._kept) >= _KEPT:
            shutil.rmtree(self._kept.pop(0), ignore_errors=True)
        self._kept.append(Path(tempfile.mkdtemp(dir=self._root)))
        return self._kept[-1]


def deliver(result: GenerationResult, *, return_all: bool, score: bool) -> Path:
    """The path to return: one audio file, or a zip of all of them.

    Raises:
        AceStepError: the error of a failed result, speaking of this door's inputs.
        OutputError: a file is missing or empty, which Cog would deliver as success without output.
    """
    with cog_names():
        result.check()
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


def record_timings(result: GenerationResult, record: Callable[[str, float], None]) -> None:
    """The seconds per stage of a finished result as metrics ``timing.*``; a failed one has none."""
    for stage, seconds in result.extra_outputs.get("time_costs", {}).items():
        record(f"timing.{stage}", float(seconds))


@contextmanager
def cog_names() -> Iterator[None]:
    """Errors about a parameter leave the block speaking of the Cog input it came from."""
    try:
        yield
    except InputError as error:
        name = INPUT_NAMES.get(error.field)
        if name is None:
            raise
        text = re.sub(rf"(^|: ){error.field}\b", rf"\g<1>{name}", str(error), count=1)  # the sentence's subject
        raise type(error)(text, field=name, value=error.value) from error


def print_progress(share: float, stage: str) -> None:
    """Print ``share`` (0 to 1) as a bar, then the stage: one line in the shape clients parse."""
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
