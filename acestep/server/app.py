"""The endpoints: HTTP in, HTTP out. What they do is the ``Station``'s.

    POST /generate               a song from JSON; waits, or answers 202 with ``wait=false``
    GET  /download/{filename}    a song that was made
    POST /files, DELETE /files/  recordings for the audio fields
    GET  /jobs, /jobs/{id}, /jobs/{id}/result, /jobs/{id}/events; DELETE /jobs/{id}
    GET  /health

In: a ``Station``. Out: a FastAPI application. Every error of the project becomes ``{"detail": sentence}`` with the
status of ``faults``.
"""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from http import HTTPStatus
from typing import Any

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, FastAPI, Request, Security
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response, StreamingResponse
from fastapi.security import APIKeyHeader
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect

from acestep import __version__
from acestep.errors import AceStepError, InputError, shown
from acestep.net.data_uri import MIB
from acestep.server.faults import NotHereError
from acestep.server.gate import UPLOAD_PATH, Gate, Rules, refusal
from acestep.server.jobs import Job, State
from acestep.server.outputs import MEDIA_TYPES
from acestep.server.replies import EXPOSED, described, finished_headers, path_header, seconds_header
from acestep.server.room import BodyRoom, Slots, arriving_within
from acestep.server.schema import request_body
from acestep.server.sending import OpenFile
from acestep.server.station import Station
from acestep.server.uploads import FETCHES_AT_ONCE

ORDERS_AT_ONCE = 8 + FETCHES_AT_ONCE  # threads: those that wait for recordings leave some to the others
BODIES, BODY_S = 2, 120.0  # of the largest size in memory together; for one to arrive
UPLOADS_AT_ONCE, UPLOAD_S = 8, 600.0
SWEEP_S = 600.0  # between two looks for what has grown old
WATCH_S = 0.2  # between two looks at a job whose events are sent
_ABOUT = 'Music with ACE-Step: songs from words, and from recordings. Errors are `{"detail": sentence}`.'
logger = logging.getLogger(__name__)
_FINAL = frozenset({State.SUCCEEDED, State.FAILED, State.CANCELLED})
_AUDIO = {HTTPStatus.OK.value: {"content": {kind: {} for kind in sorted(set(MEDIA_TYPES.values()))}}}


def create_app(station: Station) -> FastAPI:
    """The application that serves ``station``."""
    app = FastAPI(title="ACE-Step", version=__version__, description=_ABOUT, lifespan=partial(_sweeping, station))
    app.include_router(_routes(station))
    for kind in (AceStepError, Exception):
        app.add_exception_handler(kind, _refused)
    app.add_exception_handler(RequestValidationError, _misspelled)
    app.add_exception_handler(ClientDisconnect, _nobody_left)
    app.add_middleware(Gate, rules=Rules.of(station.options))
    if station.options.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=station.options.cors_origins,
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "Prefer", "X-API-Key"],
            expose_headers=list(EXPOSED),
        )
    return app


def _routes(station: Station) -> APIRouter:
    endpoints, key = Endpoints(station), Security(APIKeyHeader(name="X-API-Key", auto_error=False))
    keys = [key] if station.options.api_key else []  # for the document; the gate is who asks for them
    router = APIRouter(responses={"default": {"model": Refusal}}, dependencies=keys)
    router.get("/health")(endpoints.health)
    generate = router.post("/generate", responses=_AUDIO, openapi_extra={"requestBody": request_body()})
    generate(endpoints.generate)
    router.get("/download/{filename:path}", responses=_AUDIO)(endpoints.download)
    router.post(UPLOAD_PATH, openapi_extra={"requestBody": _UPLOAD})(endpoints.upload)
    router.delete(f"{UPLOAD_PATH}/{{file}}", status_code=HTTPStatus.NO_CONTENT)(endpoints.remove_upload)
    router.get("/jobs")(endpoints.jobs)
    router.get("/jobs/{job_id}")(endpoints.job)
    router.delete("/jobs/{job_id}")(endpoints.cancel)
    router.get("/jobs/{job_id}/result", responses=_AUDIO)(endpoints.result)
    router.get("/jobs/{job_id}/events")(endpoints.events)
    return router


_UPLOAD = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {"type": "object", "properties": {"file": {"type": "string", "format": "binary"}}}
        }
    },
}


class Refusal(BaseModel):
    """The body of every error."""

    detail: str


class Endpoints:
    """One method per endpoint; their docstrings are the published descriptions."""

    def __init__(self, station: Station) -> None:
        self._station = station
        self._counters = CapacityLimiter(ORDERS_AT_ONCE)
        self._bodies = BodyRoom(BODIES * station.options.max_body_mib * MIB, BODY_S)
        self._uploads = Slots(UPLOADS_AT_ONCE, "with the uploads of others")

    async def health(self) -> dict[str, str]:
        """The server answers."""
        return {"status": "healthy"}

    async def generate(self, request: Request, wait: bool = True) -> Response:
        """Make music. Answers with the file, or with `wait=false` (or the header `Prefer: respond-async`) with a job.

        Every field has a default, also those that the first server called required; a prompt or lyrics there must be.
        The job of a client that goes away before the answer is cancelled.
        """
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            raise InputError("The body must be JSON, with the header 'Content-Type: application/json'.")
        job = await self._ordered(request)
        if not wait or "respond-async" in request.headers.get("prefer", ""):
            headers = {"Location": f"/jobs/{job.id}", "Preference-Applied": "respond-async"}
            return JSONResponse(self._described(job), HTTPStatus.ACCEPTED, headers)
        await self._until_ended(job, request)
        return self._answer(job)

    async def download(self, filename: str) -> Response:
        """A file that was made: a song, or a zip of several."""
        start = time.perf_counter()
        path, file = await run_in_threadpool(self._station.outputs.opened_song, filename)
        headers = {
            "X-Download-Time": seconds_header(time.perf_counter() - start),
            "X-File-Path": path_header(path),
        }
        return OpenFile(path, file, headers)

    async def upload(self, request: Request) -> dict[str, str]:
        """Send a recording ahead (multipart, field `file`); the answer's `file` is its id for the audio fields."""
        await run_in_threadpool(self._station.uploads.check_room)  # before the file is read
        async with AsyncExitStack() as stack:
            stack.enter_context(self._uploads.taken())
            async with arriving_within(UPLOAD_S):
                form = await stack.enter_async_context(request.form(max_files=1, max_fields=0))
            sent = form.get("file")
            if sent is None or isinstance(sent, str):
                raise InputError("file is missing: send a multipart form with one file in the field 'file'.")
            return {"file": await run_in_threadpool(self._station.uploads.add, sent.file)}

    async def remove_upload(self, file: str) -> None:
        """Delete an upload; jobs that were given it keep it."""
        await run_in_threadpool(self._station.uploads.remove, file)

    async def jobs(self) -> list[dict[str, Any]]:
        """Every job that waits, runs, or ended lately; the newest first."""
        return [self._described(job) for job in reversed(self._station.queue.jobs)]

    async def job(self, job_id: str) -> dict[str, Any]:
        """How far a job is: state, place in the queue, share done, stage, seconds that remain."""
        return self._described(self._station.queue.job(job_id))

    async def cancel(self, job_id: str) -> dict[str, Any]:
        """Cancel a job that waits or runs; one that has ended stays as it is."""
        return self._described(self._station.queue.cancel(job_id))

    async def result(self, job_id: str) -> Response:
        """The file that a job made, as `/generate` would have answered; 202 while there is none."""
        job = self._station.queue.job(job_id)
        if job.state not in _FINAL:
            return JSONResponse(self._described(job), HTTPStatus.ACCEPTED, {"Location": f"/jobs/{job.id}"})
        return self._answer(job)

    async def events(self, job_id: str) -> StreamingResponse:
        """What happens to a job, as server-sent events; each holds the job as JSON."""
        job = self._station.queue.job(job_id)
        return StreamingResponse(
            self._told(job), media_type="text/event-stream", headers={"Cache-Control": "no-store"}
        )

    async def _told(self, job: Job) -> AsyncIterator[str]:
        told = None
        while told is None or told[0] not in _FINAL:
            seen = (job.state, job.progress, job.stage)
            if seen == told:
                await asyncio.sleep(WATCH_S)
                continue
            told = seen
            yield f"data: {json.dumps(self._described(job))}\n\n"

    async def _ordered(self, request: Request) -> Job:
        """The job of a body, which is only read where there is room for both. Hanging up ends this."""
        self._station.queue.check_room()
        left = threading.Event()
        async with self._bodies.body(request) as body, _listening(request) as gone:
            gone.add_done_callback(lambda _: left.set())
            return await to_thread.run_sync(self._station.submit, body, left.is_set, limiter=self._counters)

    async def _until_ended(self, job: Job, request: Request) -> None:
        """Wait for a job; it is given up when the client goes away, or when the server has no time to wait."""
        ended = asyncio.wrap_future(job.future)
        ended.add_done_callback(lambda future: future.cancelled() or future.exception())  # seen by way of the job
        try:
            async with _listening(request) as gone:
                await asyncio.wait({ended, gone}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not ended.done():
                job.give_up()

    def _answer(self, job: Job) -> Response:
        if job.error is not None:
            return refusal(job.error)
        if not job.future.done():  # of a client that has gone
            return Response(status_code=HTTPStatus.NO_CONTENT)
        finished = job.future.result()
        path = finished.body
        try:
            file = path.open("rb")
        except FileNotFoundError as error:
            said = f"File not found: {shown(path.name)} has been deleted."
            raise NotHereError(said, field="job", value=job.id) from error
        return OpenFile(path, file, finished_headers(job, finished))

    def _described(self, job: Job) -> dict[str, Any]:
        return described(job, self._station.queue, self._station.outputs.path)


@asynccontextmanager
async def _sweeping(station: Station, app: FastAPI) -> AsyncIterator[None]:
    """While the application runs, files that have grown old are looked for now and then."""
    del app
    async with AsyncExitStack() as stack:
        sweeping = asyncio.create_task(_sweep(station))
        stack.callback(sweeping.cancel)
        yield


async def _sweep(station: Station) -> None:
    while True:
        await asyncio.sleep(SWEEP_S)
        try:
            await run_in_threadpool(station.expire)
        except (OSError, AceStepError):
            logger.exception("What has grown old could not be deleted; the next attempt is in %g s.", SWEEP_S)


@asynccontextmanager
async def _listening(request: Request) -> AsyncIterator[asyncio.Future[None]]:
    """A future that is done when the client hangs up in the block. The body must have been read."""
    gone = asyncio.ensure_future(_gone(request))
    try:
        yield gone
    finally:
        gone.cancel()


async def _gone(request: Request) -> None:
    """Returns when the client has hung up."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _refused(request: Request, error: Exception) -> Response:
    del request
    return refusal(error)


async def _misspelled(request: Request, error: RequestValidationError) -> Response:
    """Parameters of the address; those of the body are judged elsewhere."""
    first = error.errors()[0]
    name, problem = first["loc"][-1], first["msg"]
    return await _refused(request, InputError(f"{name}: {problem[0].lower()}{problem[1:]}.", field=str(name)))


async def _nobody_left(request: Request, error: ClientDisconnect) -> Response:
    """The client hung up while it was still sending."""
    del request, error
    return Response(status_code=HTTPStatus.NO_CONTENT)
