"""The queue: one thread works, a few jobs wait, everybody can be told how far theirs is, and call it off.

In: work, as a function that is given its ``Job``. Out: a ``Job`` with a state, a share done and a result. The number
of jobs that wait is bounded, and so is that of the finished ones that are remembered. Refuses to know what the work
is and what HTTP is.
"""

from __future__ import annotations

import logging
import math
import secrets
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from enum import StrEnum
from typing import Any

from acestep.errors import AceStepError, CancelledError, shown
from acestep.server.faults import BusyError, NotHereError

KEPT_JOBS, KEPT_S = 256, 24 * 3600.0
FIRST_GUESS_S = 10.0  # of a job, before one has ended
_LEARNING = 0.3  # weight of the last job in the average
_RETRY_MAX_S = 3600
Work = Callable[["Job"], Any]
logger = logging.getLogger(__name__)


class State(StrEnum):
    """Where a job is."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Job:
    """One piece of work, from when it was taken until it is forgotten.

    Attributes:
        id: its name.
        created, started, ended: Unix time; None while it has not come to that.
        progress, stage: share done, and what is being done.
        future: holds the result or the error.
    """

    def __init__(self) -> None:
        self.id = secrets.token_hex(16)
        self.created = time.time()
        self.started: float | None = None
        self.ended: float | None = None
        self.progress, self.stage = 0.0, "waiting"
        self.future: Future[Any] = Future()
        self._given_up = threading.Event()

    @property
    def state(self) -> State:
        """Where it is now."""
        if not self.future.done():
            return State.QUEUED if self.started is None else State.RUNNING
        if self.error is None:
            return State.SUCCEEDED
        return State.CANCELLED if isinstance(self.error, CancelledError) else State.FAILED

    @property
    def error(self) -> BaseException | None:
        """What ended it, if it has ended without a result."""
        if self.future.cancelled():
            return _cancelled()
        return self.future.exception() if self.future.done() else None

    @property
    def seconds(self) -> float:
        """How long it has been at work."""
        return 0.0 if self.started is None else (self.ended or time.time()) - self.started

    @property
    def waited_s(self) -> float:
        """How long it has waited."""
        return (self.started or self.ended or time.time()) - self.created

    def report(self, share: float, stage: str) -> None:
        """Tell how far it is; the work calls this often, and ends by what it raises.

        Raises:
            CancelledError: somebody gave it up.
        """
        if self._given_up.is_set():
            raise _cancelled()
        self.progress, self.stage = share, stage

    def give_up(self) -> None:
        """End it where it stands: not begun, or at its next report."""
        self._given_up.set()
        self.future.cancel()


class JobQueue:
    """Takes jobs while there is room, works them off one by one.

    Args:
        waiting: jobs that may wait beside the one at work.
        kept: finished ones that are remembered, the last of them.
        kept_s: for how many seconds.
    """

    def __init__(self, waiting: int, kept: int = KEPT_JOBS, kept_s: float = KEPT_S) -> None:
        self._waiting, self._kept, self._kept_s = waiting, kept, kept_s
        self._turn = threading.Condition()  # also rings when there is something to do
        self._jobs: dict[str, Job] = {}
        self._line: dict[str, tuple[Job, Work]] = {}  # those that wait; a cancelled one leaves it at once
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="acestep", daemon=True)
        self._thread.start()
        self._average_s = FIRST_GUESS_S

    @property
    def jobs(self) -> list[Job]:
        """Every job that is remembered, in the order they came."""
        with self._turn:
            self._forget()
            return list(self._jobs.values())

    def job(self, identifier: str) -> Job:
        """The job of a name.

        Raises:
            NotHereError: there is none, or it is forgotten.
        """
        with self._turn:
            self._forget()
            if identifier not in self._jobs:
                raise NotHereError(
                    f"job {shown(identifier)} is unknown, or forgotten.", field="job", value=identifier
                )
            return self._jobs[identifier]

    def check_open(self) -> None:
        """Jobs are taken.

        Raises:
            CancelledError: the queue is closed.
        """
        if self._closed:
            raise CancelledError("The server is stopping.")

    def check_room(self) -> None:
        """There is room for one more job now.

        Raises:
            BusyError: there is not.
            CancelledError: the queue is closed.
        """
        with self._turn:
            self.check_open()
            unfinished = sum(not job.future.done() for job in self._jobs.values())
            if unfinished > self._waiting:
                seconds = self._retry_s(unfinished)
                problem = f"The queue is full: {unfinished} jobs are not finished; come again in {seconds} s."
                raise BusyError(problem, seconds)

    def submit(self, work: Work, after: Callable[[], object]) -> Job:
        """Take a job.

        Args:
            work: called in the one thread that works, unless the job is given up before.
            after: called once when it has ended, however it did.

        Raises:
            BusyError: there is no room; ``after`` is not called.
            CancelledError: the queue is closed; nor is it then.
        """
        job = Job()
        with self._turn:
            self._forget()
            self.check_room()
            self._jobs[job.id] = job
            self._line[job.id] = (job, work)
            self._turn.notify()
        job.future.add_done_callback(lambda _: self._ended(job, after))
        return job

    def cancel(self, identifier: str) -> Job:
        """Give a job up; one that has ended stays as it is.

        Raises:
            NotHereError: there is none, or it is forgotten.
        """
        job = self.job(identifier)
        job.give_up()
        return job

    def position(self, job: Job) -> int:
        """How many jobs come before it, the one at work included; 0 for one that does not wait."""
        with self._turn:
            unfinished = [other for other in self._jobs.values() if not other.future.done()]
        return unfinished.index(job) if job.state is State.QUEUED and job in unfinished else 0

    def remaining_s(self, job: Job) -> float | None:
        """About how many seconds it will take yet; None when nobody can say."""
        if job.state is State.QUEUED:
            return round(self._average_s * (self.position(job) + 1), 1)
        if job.state is not State.RUNNING or job.progress <= 0:
            return None
        return round(job.seconds * (1 / job.progress - 1), 1)

    def close(self) -> None:
        """Give up every job, and wait until the thread has heard of it."""
        self.give_up_all()
        self._thread.join()

    def give_up_all(self) -> None:
        """Take no more jobs and give up those there are, without waiting."""
        with self._turn:
            self._closed = True
            for job in self._jobs.values():
                job.give_up()
            self._turn.notify()

    def _work(self) -> None:
        while self._next_done():
            pass

    def _next_done(self) -> bool:
        """Do the next job, or wait for one; False when there will be none. What it held is let go at its end."""
        with self._turn:
            self._turn.wait_for(lambda: self._line or self._closed)
            if not self._line:
                return False
            job, work = self._line.pop(next(iter(self._line)))
            if not job.future.set_running_or_notify_cancel():
                return True
            job.started, job.stage = time.time(), "starting"
        self._do(job, work)
        return True

    def _do(self, job: Job, work: Work) -> None:
        try:
            result = work(job)
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is this job's alone
            job.ended = time.time()
            job.future.set_exception(error)
            return
        job.ended = time.time()
        self._average_s += _LEARNING * (job.seconds - self._average_s)
        job.progress, job.stage = 1.0, "finished"
        job.future.set_result(result)

    def _ended(self, job: Job, after: Callable[[], object]) -> None:
        job.ended = job.ended or time.time()
        with self._turn:
            self._line.pop(job.id, None)
        error = job.error
        if error is not None and not isinstance(error, AceStepError):
            logger.error("Job %s failed.", job.id, exc_info=error)
        _let_go(error)
        after()

    def _forget(self) -> None:
        """Let go of finished jobs, the oldest first, where there are too many or they are too old."""
        ended = [job for job in self._jobs.values() if job.ended is not None and job.future.done()]
        limit = time.time() - self._kept_s
        for index, job in enumerate(ended):
            if index < len(ended) - self._kept or job.ended < limit:
                del self._jobs[job.id]

    def _retry_s(self, unfinished: int) -> int:
        """When about all that there is now is done."""
        return min(max(1, math.ceil(self._average_s * unfinished)), _RETRY_MAX_S)


def _cancelled() -> CancelledError:
    return CancelledError("The job was cancelled.")


def _let_go(error: BaseException | None) -> None:
    """An error that is remembered does not hold what the functions it came through were working on."""
    while error is not None:
        error.__traceback__ = None
        error = error.__cause__ or error.__context__
