"""Bring the weights of registry rows to disk: pinned, whole, checked, once.

In: rows and the weights folder. Out: ``Resolved`` folders. Files arrive in ``.downloads/`` below the weights folder,
are compared with what the hub says of them, and move to their place when all files of their folder are whole; a
marker with the commit and the digests ends the download. Whatever breaks it, the next call goes on where it stopped.
One process downloads a folder, others wait for it. Refuses to know networks and tasks.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event

from filelock import FileLock, Timeout
from huggingface_hub import is_offline_mode

from acestep.checkpoints.files import lock_of, missing, origin_of, select, staging_of
from acestep.checkpoints.hub import HubUnreachableError, list_files, receive
from acestep.checkpoints.integrity import (
    MARKER,
    Marker,
    RemoteFile,
    StoredFile,
    difference,
    inspect,
    stored,
    write_marker,
)
from acestep.checkpoints.rows import HubFolder
from acestep.errors import CancelledError, WeightsError

logger = logging.getLogger(__name__)
Progress = Callable[[str, int, int], None]

WORKERS = 4
LINK_TRIES, LINK_WAIT_S = 5, 1.0  # attempts in a row that bring nothing; pause, doubled after each
CONTENT_TRIES = 2
WAKE_S, LEAVE_S = 0.05, 1.0  # how soon a cancelled caller notices; how long it waits for its threads
RESERVE_BYTES = 2_000_000_000  # of disk that a download leaves to everybody else


@dataclass(frozen=True, slots=True)
class Resolved:
    """One folder of weights, ready to be loaded.

    Attributes:
        folder: where it is.
        commit: of the hub, recorded when it was downloaded; None for embedded folders and those filled by hand.
        files: its files.
    """

    folder: Path
    commit: str | None
    files: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class _Job:
    """One file to fetch into the staging folder."""

    row: HubFolder
    commit: str
    file: RemoteFile
    staged: Path

    @property
    def label(self) -> str:
        return f"{self.row.folder}/{self.file.path}"

    @property
    def arrived(self) -> int:
        return self.staged.stat().st_size if self.staged.exists() else 0


@dataclass(frozen=True, slots=True)
class _Plan:
    """What is left to do for one folder: files that are right already, files to fetch."""

    row: HubFolder
    folder: Path
    commit: str
    kept: tuple[StoredFile, ...]
    jobs: tuple[_Job, ...]


def ensure(row: HubFolder, root: Path, *, force: bool = False, progress: Progress | None = None) -> Resolved:
    """``ensure_all`` for one row."""
    return ensure_all((row,), root, force=force, progress=progress)[0]


def ensure_all(
    rows: Sequence[HubFolder], root: Path, *, force: bool = False, progress: Progress | None = None
) -> list[Resolved]:
    """See to it that the folders of ``rows`` are on disk and whole.

    What is there is left alone: no network is used for folders that are ready, filled by hand or embedded. A row
    without a pinned revision stays at the commit it was downloaded at.

    Args:
        rows: of the registry.
        root: the weights folder; made when it is missing.
        force: fetch every file again.
        progress: called with a file's name, the bytes that have arrived and its size; from several threads.

    Raises:
        WeightsError: no network, no access, nothing there, no space, wrong content, an unwritable folder, or the
            folder is not ready and ``HF_HUB_OFFLINE`` is set.
    """
    for row in rows:
        if row.embedded and not inspect(row, root).state.usable:
            raise WeightsError(f"Model not loaded: {row.name} ships with this project and {row.folder} is gone.")
    wanted = [
        row for row in dict.fromkeys(rows) if not row.embedded and (force or not inspect(row, root).state.usable)
    ]
    if wanted:
        _refuse_offline(wanted, root)
        with disk_errors(root):
            _download(wanted, root, force, progress or _unseen)
    return [Resolved(found.folder, found.commit, found.files) for found in (inspect(row, root) for row in rows)]


def _unseen(name: str, arrived: int, size: int) -> None:
    """Progress that nobody watches."""


def _refuse_offline(rows: Sequence[HubFolder], root: Path) -> None:
    if is_offline_mode():
        states = ", ".join(f"{row.folder} ({inspect(row, root).state.value})" for row in rows)
        raise WeightsError(
            f"Cannot download while HF_HUB_OFFLINE is set, and the weights folder {root} needs: {states}."
        )


def _download(rows: Sequence[HubFolder], root: Path, force: bool, progress: Progress) -> None:
    root.mkdir(parents=True, exist_ok=True)
    with locked(rows, root):
        # Another process may have fetched them while this one waited for the lock.
        rows = [row for row in rows if force or not inspect(row, root).state.usable]
        plans = [_plan(row, root, force) for row in rows]
        _check_space(plans, root)
        fetched = _fetch_all([job for plan in plans for job in plan.jobs], progress)
        for plan in plans:
            _install(plan, fetched, root)


@contextmanager
def locked(rows: Sequence[HubFolder], root: Path) -> Iterator[None]:
    """Hold the locks of all rows, always taken in the same order."""
    with ExitStack() as stack:
        for path in sorted(lock_of(row, root) for row in rows):
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = FileLock(path)
            try:
                lock.acquire(timeout=0)
            except Timeout:
                logger.warning("Another process is downloading %s; waiting for it.", path.stem)
                lock.acquire()
            stack.callback(lock.release)
        yield


def _plan(row: HubFolder, root: Path, force: bool) -> _Plan:
    listing = list_files(row)
    names, lacking = select(row.layout, listing.files)
    if lacking:
        at = f"{origin_of(row)}/{row.subfolder}".rstrip("/")
        raise WeightsError(f"Cannot download {row.name}: {at} has no {', '.join(lacking)}.")
    folder, staging = root / row.folder, staging_of(row, root) / listing.commit
    kept, jobs = [], []
    for file in (listing.files[name] for name in names):
        here = None if force else _right(folder / file.path, file)
        if here is not None:
            _hold_to_registry(row, here)
            kept.append(here)
        else:
            jobs.append(_Job(row, listing.commit, file, staging / file.path))
    return _Plan(row, folder, listing.commit, tuple(kept), tuple(jobs))


def _right(path: Path, file: RemoteFile) -> StoredFile | None:
    """The file as it lies in its folder, if it is the one the hub means."""
    if not path.is_file() or path.stat().st_size != file.size:
        return None
    here = stored(path, file.path)
    return here if difference(path, here, file) is None else None


def _check_space(plans: Sequence[_Plan], root: Path) -> None:
    needed = sum(max(0, job.file.size - job.arrived) for plan in plans for job in plan.jobs)
    free = shutil.disk_usage(root).free
    if needed and needed + RESERVE_BYTES > free:
        raise WeightsError(
            f"The weights folder {root} has {free / 1e9:.2f} GB of free disk space, the download needs "
            f"{needed / 1e9:.2f} GB and leaves {RESERVE_BYTES / 1e9:g} GB to everybody else."
        )


def _fetch_all(jobs: Sequence[_Job], progress: Progress) -> dict[_Job, StoredFile]:
    """Fetch several files at once; the first failure stops all, and all of them keep what has arrived.

    The caller waits in short steps, so that whatever cancels it is heard at once. A thread whose link is silent is
    left to notice by itself; should it still write, the digests find out.
    """
    for job in jobs:
        progress(job.label, job.arrived, job.file.size)
    stop = Event()
    pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="download")
    futures = {pool.submit(_fetch, job, progress, stop): job for job in jobs}
    try:
        return {futures[future]: future.result() for future in _as_completed(futures)}
    finally:
        stop.set()
        pool.shutdown(wait=False, cancel_futures=True)
        wait(futures, LEAVE_S)


def _as_completed(futures: Collection[Future[StoredFile]]) -> Iterator[Future[StoredFile]]:
    pending = set(futures)
    while pending:
        done, pending = wait(pending, WAKE_S, FIRST_COMPLETED)
        yield from done


def _fetch(job: _Job, progress: Progress, stop: Event) -> StoredFile:
    """One file, whole and checked; wrong content is thrown away and fetched once more."""
    job.staged.parent.mkdir(parents=True, exist_ok=True)
    wrong = ""
    for _ in range(CONTENT_TRIES):
        _receive_all(job, progress, stop)
        if not job.staged.exists():  # the server refused to go on from where we were
            wrong = f"has fewer bytes than the {job.file.size} announced"
            continue
        here = stored(job.staged, job.file.path)
        found = difference(job.staged, here, job.file)
        if found is None:
            _hold_to_registry(job.row, here)
            return here
        wrong = found
        job.staged.unlink()
    raise WeightsError(f"Cannot download {job.row.name}: {job.label} {wrong}, twice; nothing of it was kept.")


def _receive_all(job: _Job, progress: Progress, stop: Event) -> None:
    """Receive a file over a link that may drop, as long as each few attempts bring something."""

    def advance(arrived: int) -> None:
        if stop.is_set():
            raise CancelledError("the download was stopped.")
        progress(job.label, arrived, job.file.size)

    failures = 0
    while True:
        before = job.arrived
        try:
            receive(job.row, job.commit, job.file, job.staged, advance)
            return
        except HubUnreachableError:
            failures = 1 if job.arrived > before else failures + 1
            if failures == LINK_TRIES or stop.wait(LINK_WAIT_S * 2 ** (failures - 1)):
                raise


def _hold_to_registry(row: HubFolder, here: StoredFile) -> None:
    pinned = dict(row.digests).get(here.path)
    if pinned is not None and not here.sha256.startswith(pinned):
        raise WeightsError(
            f"Cannot download {row.name}: {here.path} on the hub has SHA-256 {here.sha256[: len(pinned)]}..., "
            f"this project expects {pinned}...; it is not the file that was published."
        )


def _install(plan: _Plan, fetched: dict[_Job, StoredFile], root: Path) -> None:
    """Move a folder's files into place and declare it ready."""
    plan.folder.mkdir(parents=True, exist_ok=True)
    if plan.jobs:
        (plan.folder / MARKER).unlink(missing_ok=True)
    for job in plan.jobs:
        job.staged.replace(plan.folder / job.file.path)
    lacking = missing(plan.row.layout, plan.folder)
    if lacking:
        raise WeightsError(
            f"Cannot download {plan.row.name}: {plan.row.repository} has no {', '.join(lacking)}, "
            "which its index names."
        )
    files = (*plan.kept, *(fetched[job] for job in plan.jobs))
    write_marker(plan.folder, Marker(origin_of(plan.row), plan.commit, files))
    shutil.rmtree(staging_of(plan.row, root), ignore_errors=True)
    logger.info("%s is ready (commit %s).", plan.folder, plan.commit[:8])


@contextmanager
def disk_errors(root: Path) -> Iterator[None]:
    """What the disk refuses during the block becomes a ``WeightsError`` about the weights folder."""
    try:
        yield
    except OSError as error:
        raise WeightsError(f"The weights folder {root} cannot be used: {error.strerror or error}.") from error
