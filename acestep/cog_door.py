"""What the Cog door needs beside the mapping: files in and out, progress lines, texts that hold numbers.

In: the URLs of a request, a finished ``GenerationResult``. Out: local files, the one path Cog delivers. Cog does not
delete our outputs, and it reads an output after ``predict`` has returned: so the files of a success live until the
prediction after the next one starts. A prediction that fails or is cancelled leaves nothing.
"""

from __future__ import annotations

import re
import shutil
import tempfile
import weakref
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from acestep.checkpoints.provide import Say
from acestep.checkpoints.rows import HubFolder, ModelSpec
from acestep.devices import trim_host
from acestep.errors import DeviceMemoryError, InputError, OutputError, UnsupportedError
from acestep.inference import GenerationParams, GenerationResult
from acestep.llm_inference import LLMHandler
from acestep.net.fetch import fetch
from acestep.planning import check_pair

Number = TypeVar("Number", int, float)
_KEPT = 2
_BAR = 10
_FILES = ("src_audio", "reference_audio")  # parameters that are files
_DELIVERABLE = ("data:", "https://", "http://")
_OUTPUTS = "acestep-outputs-"
_SUFFIX = re.compile(r"\.\w{1,8}$", re.ASCII)
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
MEMORY_ADVICE = {  # what a caller of the Python API could change -> what one of this door can
    "a duration below": "an audio_duration below",
    "offload_to_cpu=True": "a server with ACESTEP_OFFLOAD=1",
}


@contextmanager
def memory_returned() -> Iterator[None]:
    """What the block allocated and freed goes back to the system at its end, however it ends.

    glibc keeps freed memory for the thread that used it, and Cog runs each prediction on whichever of its threads is
    free: without this, and without the one arena that the image and `cogrun` ask for (``MALLOC_ARENA_MAX``), twenty
    songs of the tiny model grow the process by 270 MB.
    """
    try:
        yield
    finally:
        trim_host()


class PlannerChoice:
    """Loads the planner that a request plans with; the last one stays loaded.

    Args:
        project: folder with the weights.
        download: fetch what is missing when a request asks for it, and how to say so; None never does.
    """

    def __init__(self, project: Path, backend: str, *, offload: bool, download: Say | None) -> None:
        self.handler = LLMHandler()
        self._project, self._backend, self._offload, self._download = project, backend, offload, download

    @staticmethod
    def judged(row: HubFolder | None, spec: ModelSpec, params: GenerationParams) -> HubFolder | None:
        """The planner of a request, or None when it is not asked.

        Raises:
            UnsupportedError: it is asked, but there is none, or it does not go with the model.
        """
        if not params.thinking:
            return None
        if row is None:
            raise UnsupportedError(
                "thinking=True needs a language model: lm_model is 'none', or 'auto' found none for this machine.",
                field="thinking",
            )
        check_pair(row, spec)
        return row

    def use(self, row: HubFolder, download: Say | None = None) -> LLMHandler:
        """The handler, with ``row`` loaded.

        Raises:
            WeightsError: its weights are not there or broken.
            DeviceMemoryError: it does not fit.
        """
        if not (self.handler.initialized and self.handler.row == row):
            settings = {"backend": self._backend, "offload_to_cpu": self._offload}
            line, _ = self.handler.initialize(
                self._project, row.name, download=download or self._download, **settings
            )
            print_line(f"Loaded {line}")
        return self.handler


class OutputFolder:
    """A private folder with one sub-folder per prediction; only the last two stay, and none when the process ends."""

    def __init__(self) -> None:
        self._kept: list[Path] = []
        self._root = self._new_root()

    def fresh(self) -> Path:
        """A new empty folder; the ones nobody can be reading any more are deleted.

        Raises:
            OutputError: the disk is full, or takes no folder for another reason.
        """
        while len(self._kept) >= _KEPT:
            shutil.rmtree(self._kept.pop(0), ignore_errors=True)
        with _disk_faults("make a folder for the songs"):
            if not self._root.is_dir():  # what cleans up temporary files thought it forgotten
                self._root = self._new_root()
            self._kept.append(Path(tempfile.mkdtemp(dir=self._root)))
        return self._kept[-1]

    @contextmanager
    def filling(self) -> Iterator[Path]:
        """A fresh folder that stays if the block succeeds and is gone if it fails or is cancelled."""
        folder = self.fresh()
        try:
            yield folder
        except BaseException:
            self._kept.remove(folder)
            shutil.rmtree(folder, ignore_errors=True)
            raise

    def _new_root(self) -> Path:
        root = Path(tempfile.mkdtemp(prefix=_OUTPUTS))
        weakref.finalize(self, shutil.rmtree, root, ignore_errors=True)
        return root


def keep_text(predict: Callable[..., Any], *inputs: str) -> None:
    """Make Cog hand over file inputs as the text they were sent as.

    Cog reads ``Path`` twice: in the text of ``predict.py``, for the schema, and in the annotations of the running
    function, to see which URLs it downloads before ``predict`` starts. That download follows every redirect to every
    address, without a limit on size or time, and takes faulty base64 for an empty file; and its errors are not ours.
    There is no setting for it. So the text keeps saying ``Path``, the running function says ``str``, and ``fetched``
    gets the files. Nothing of Cog is replaced. A Cog that delivered files all the same would be refused by
    ``file_url``, and a test with the real server counts connections.
    """
    predict.__annotations__.update(dict.fromkeys(inputs, "str | None"))


def file_url(field: str, value: object) -> str | None:
    """A file input, checked to be a URL that ``fetched`` can follow, or None.

    Raises:
        InputError: anything else, such as a path or ``file://`` text that would read the server's own disk.
    """
    if value is None:
        return None
    if not (isinstance(value, str) and value.startswith(_DELIVERABLE)):
        raise InputError(f"{field} must be sent as a data: URI or an https: URL (http: works too).", field=field)
    return value


@contextmanager
def fetched(params: GenerationParams, *, allow_private: bool) -> Iterator[GenerationParams]:
    """``params`` with local files in place of URLs; the files are gone after the block.

    Args:
        allow_private: also follow URLs into this machine's own networks.

    Raises:
        InputError: a file cannot be had; speaks of this door's inputs.
        OutputError: this machine's disk does not take it.
    """
    urls = {name: url for name in _FILES if (url := getattr(params, name))}
    with ExitStack() as stack:
        with _disk_faults("make a folder for the received files"):
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="acestep-inputs-"))
        files, show = {}, progress_printer()
        for name, url in urls.items():
            show(0.0, f"receiving {INPUT_NAMES.get(name, name)}")
            with cog_names():
                target = Path(folder, f"{name}{_suffix(url)}")
                files[name] = str(fetch(url, target, field=name, allow_private=allow_private))
        yield replace(params, **files)


def deliver(result: GenerationResult, *, return_all: bool, score: bool) -> Path:
    """The path to return: one audio file, or a zip of all of them.

    Raises:
        AceStepError: the error of a failed result, speaking of this door's inputs.
        OutputError: a file is missing or empty, which Cog would deliver as success without output; the zip does not
            fit on the disk.
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
        raise error.renamed(INPUT_NAMES) from error
    except DeviceMemoryError as error:
        text = str(error)
        for python, cog in MEMORY_ADVICE.items():
            text = text.replace(python, cog)
        raise DeviceMemoryError(text) from error


def progress_printer() -> Callable[[float, str], None]:
    """What prints a share (0 to 1) as a bar, then the stage: one line in the shape clients parse.

    A line whose percents and whose stage, counts aside, are those of the line before is left out.
    """
    last = (-1, "")

    def show(share: float, stage: str) -> None:
        nonlocal last
        percent = round(share * 100)
        told, last = last, (percent, re.sub(r"\d+", "", stage))
        if told != last:
            bar = "#" * (percent // _BAR)
            print(f"{percent:3d}%|{bar:<{_BAR}}| {percent}/100 [{stage}]", flush=True)

    return show


def print_line(line: str) -> None:
    """A line of the log, at once."""
    print(line, flush=True)


def print_stage(stage: str, seconds: float, size: int = 0) -> None:
    """One line of ``setup``: what, how long, how many bytes."""
    bytes_ = f", {size:,} bytes" if size else ""
    print(f"setup: {stage} {seconds:.2f} s{bytes_}", flush=True)


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
    with _disk_faults(f"write {bundle.name!r}"), zipfile.ZipFile(bundle, "w", zipfile.ZIP_STORED) as archive:
        for index, path in enumerate(paths):
            archive.write(path, f"{index:02d}-{path.name}")
    return bundle


@contextmanager
def _disk_faults(work: str) -> Iterator[None]:
    """What the disk does not take is the server's trouble, told in one sentence: cannot `work`."""
    try:
        yield
    except OSError as error:
        raise OutputError(f"cannot {work}: {error.strerror}.") from error


def _suffix(url: str) -> str:
    """The file type that a URL's path claims, for messages; the rest of its name may be a secret."""
    match = None if url.startswith("data:") else _SUFFIX.search(re.split("[?#]", url, maxsplit=1)[0])
    return match[0] if match else ""
