"""What the Cog door needs beside the mapping: the planner of a request, its files, its region, lines of progress.

In: the inputs of a request, URLs among them; a finished ``GenerationResult``. Out: parameters of the Python API,
local files that are gone after the prediction, the one path that Cog delivers.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from acestep.checkpoints.provide import Say
from acestep.checkpoints.rows import HubFolder, ModelSpec
from acestep.cog_output import bundle, disk_faults, tracks_of
from acestep.cog_words import COG, INPUT_NAMES
from acestep.devices import trim_host
from acestep.editing.order import WHOLE
from acestep.errors import InputError, OutputError, UnsupportedError
from acestep.llm_inference import LLMHandler
from acestep.net.fetch import fetch
from acestep.output.content_credentials import Credentials
from acestep.params import GenerationParams
from acestep.planning import check_pair
from acestep.result import GenerationResult
from acestep.tasks import Region, Task, effective_task, task_named

Number = TypeVar("Number", int, float)
_BAR = 10
_FILES = ("src_audio", "reference_audio")  # parameters that are files
_DELIVERABLE = ("data:", "https://", "http://")
_SUFFIX = re.compile(r"\.\w{1,8}$", re.ASCII)


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


def signer(settings: Mapping[str, str]) -> Credentials | None:
    """What this server signs its files with; None when it signs nothing.

    Args:
        settings: the environment: ``ACESTEP_SIGN_CERT`` and ``ACESTEP_SIGN_KEY`` are PEM files, the key may have an
            ``ACESTEP_SIGN_PASSWORD``; ``ACESTEP_SIGN_TIMESTAMP`` is the URL of a timestamp authority.

    Raises:
        InputError: a file cannot be read, or they do not go together.
        UnsupportedError: only one of the two is set, or the package that signs is not installed.
    """
    files = {name: settings.get(name, "") for name in ("ACESTEP_SIGN_CERT", "ACESTEP_SIGN_KEY")}
    missing = [name for name, file in files.items() if not file]
    if len(missing) == len(files):
        return None
    if missing:
        raise UnsupportedError(f"{missing[0]} is not set: signing needs a certificate and its key.")
    return Credentials.load(
        *map(Path, files.values()),
        password=settings.get("ACESTEP_SIGN_PASSWORD"),
        timestamp_url=settings.get("ACESTEP_SIGN_TIMESTAMP"),
    )


def meant(task: str, *, generate_accompaniment: bool) -> Task:
    """The row of the task that a request means.

    Raises:
        InputError: no such task.
    """
    return task_named(effective_task(task, generate_accompaniment=generate_accompaniment))


def region(row: Task, start: float, end: float) -> tuple[float, float]:
    """``repainting_start`` and ``repainting_end`` of this door's region.

    Here a start and an end of 0 mean that none is given, which only a task that needs a region has to hear of.
    """
    if start == end == 0 and row.region is not Region.GIVEN:
        return 0.0, WHOLE
    return start, end


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
        with disk_faults("make a folder for the received files"):
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="acestep-inputs-"))
        files, show = {}, progress_printer()
        for name, url in urls.items():
            show(0.0, f"receiving {INPUT_NAMES.get(name, name)}")
            with COG.errors():
                target = Path(folder, f"{INPUT_NAMES.get(name, name)}{_suffix(url)}")
                files[name] = str(fetch(url, target, field=name, allow_private=allow_private))
        yield replace(params, **files)


def deliver(result: GenerationResult, *, return_all: bool) -> Path:
    """The path to return: the best song, or a zip of all if that is asked for or there are several tracks.

    Raises:
        AceStepError: the error of a failed result, speaking of this door's inputs.
        OutputError: a file is missing or empty, which Cog would deliver as success without output; the zip does not
            fit on the disk.
    """
    with COG.errors():
        result.check()
    print(result.status_message, flush=True)
    paths = [Path(audio["path"]) for audio in result.audios]
    for path in paths:
        if not path.is_file() or path.stat().st_size == 0:
            raise OutputError(f"The finished file {path.name} is missing or empty.")
    if return_all or len(tracks_of(result.audios)) > 1:
        return bundle(result)
    best = result.song_numbers.index(result.ranking[0])
    if len(paths) > 1:
        print(f"Song {best + 1} is returned, of seed {result.audios[best]['params']['seed']}.", flush=True)
    return paths[best]


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


def _suffix(url: str) -> str:
    """The file type that a URL's path claims, for messages; the rest of its name may be a secret."""
    match = None if url.startswith("data:") else _SUFFIX.search(re.split("[?#]", url, maxsplit=1)[0])
    return match[0] if match else ""
