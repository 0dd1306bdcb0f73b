"""What clients are answered: headers of a finished file, a job as JSON.

In: jobs and what became of them. Out: plain values of HTTP. Header values are printable ASCII whatever the names of
files and the words of warnings hold: in paths other characters are percent-encoded, the rest is JSON. Refuses to know
requests and endpoints.
"""

from __future__ import annotations

import json
import string
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from acestep.server.faults import detail_of, status_of
from acestep.server.jobs import Job, JobQueue, State
from acestep.server.work import Finished

_PLAIN = "".join(set(string.printable) - set(string.whitespace)) + " "
_WARNINGS_MAX = 4096  # bytes of a header; all of them are in the job
EXPOSED = (
    "Content-Disposition", "Location", "Retry-After", "X-Download-Time", "X-File-Path", "X-Generation-Time",
    "X-Generation-Time-Detailed", "X-Init-Time", "X-Job-Id", "X-Model", "X-Output-Path", "X-Output-Paths",
    "X-Prep-Time", "X-Queue-Time", "X-Seeds", "X-Warnings",
)  # fmt: skip


def path_header(path: Path) -> str:
    """A path that a header can hold."""
    return quote(str(path), safe=_PLAIN)


def seconds_header(seconds: float) -> str:
    """Seconds as the contract writes them."""
    return f"{seconds:.2f}"


def finished_headers(job: Job, finished: Finished) -> dict[str, str]:
    """Headers of the file that answers a request."""
    total = finished.prep_s + finished.init_s + finished.music_s
    headers = {
        "X-Output-Path": path_header(finished.body),
        "X-Generation-Time": seconds_header(total),
        "X-Init-Time": seconds_header(finished.init_s),
        "X-Prep-Time": seconds_header(finished.prep_s),
        "X-Generation-Time-Detailed": seconds_header(finished.music_s),
        "X-Queue-Time": seconds_header(job.waited_s),
        "X-Job-Id": job.id,
        "X-Model": finished.model,
        "X-Seeds": json.dumps(finished.seeds),
        "X-Output-Paths": json.dumps([path_header(path) for path in finished.files]),
    }
    return headers | ({"X-Warnings": _short_list(finished.warnings)} if finished.warnings else {})


def described(job: Job, queue: JobQueue, folder: Path) -> dict[str, Any]:
    """A job as JSON.

    Args:
        folder: of the outputs; files are told relative to it, as ``/download`` takes them.
    """
    error, state = job.error, job.state
    return {
        "id": job.id,
        "state": state,
        "position": queue.position(job),
        "progress": job.progress,
        "stage": job.stage,
        "remaining_s": queue.remaining_s(job),
        "created": _moment(job.created),
        "started": _moment(job.started),
        "ended": _moment(job.ended),
        "error": None if error is None else {"status": int(status_of(error)), "detail": detail_of(error)},
        "result": _outcome(job.future.result(), folder) if state is State.SUCCEEDED else None,
    }


def _outcome(finished: Finished, folder: Path) -> dict[str, Any]:
    return {
        "file": finished.body.relative_to(folder).as_posix(),
        "files": [path.relative_to(folder).as_posix() for path in finished.files],
        "seeds": finished.seeds,
        "model": finished.model,
        "warnings": finished.warnings,
        "scores": finished.scores,
        "seconds": {"prep": finished.prep_s, "init": finished.init_s, "generation": finished.music_s},
    }


def _moment(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


def _short_list(sentences: Sequence[str]) -> str:
    """A JSON list of as many sentences as a header takes."""
    shown = list(sentences)
    while shown and len(text := json.dumps(shown)) > _WARNINGS_MAX:
        shown.pop()
    return text if shown else "[]"
