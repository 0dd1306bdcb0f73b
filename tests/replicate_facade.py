"""Replicate's API in front of a Cog server, on loopback: enough of it for the official client, `replicate` 1.x.

with CogServer(project) as server, ReplicateFacade(server) as facade:
    os.environ["REPLICATE_BASE_URL"] = facade.url
    replicate.run("me/music", input={"prompt": "lo-fi piano"}).read()

Replicate queues, stores and is polled; Cog has one slot and reports to a webhook. So a prediction is started with its
webhook here, every report updates what a poll returns, and a busy slot is asked again (`CogClient`).
"""

from __future__ import annotations

import email
import hashlib
import json
import re
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import quote

import pytest
import replicate

from acestep.errors import InputError

from cog_server import TERMINAL, CogServer, Json

WAIT_S = 20.0  # `Prefer: wait`; the client gives up reading after 30 s
CREATE = re.compile(r"/v1/(?:models/(?P<model>[^/]+/[^/]+)/)?predictions")
PREDICTION = re.compile(r"/v1/predictions/(?P<id>[\w-]+)")
CANCEL = re.compile(r"/v1/predictions/(?P<id>[\w-]+)/cancel")
VERSION = re.compile(r"/v1/models/[^/]+/[^/]+/versions/(?P<id>\w+)")
FILES = re.compile(r"/v1/files")
FILE = re.compile(r"/v1/files/(?P<id>\w+)/[^/]+")
WEBHOOK = re.compile(r"/webhook/(?P<id>[\w-]+)")


@dataclass(frozen=True, slots=True)
class Reply:
    """What goes back: JSON, or a file's bytes."""

    status: HTTPStatus
    body: Json | bytes


class ReplicateFacade:
    """The API of one model, for the length of its `with` block.

    Args:
        server: where predictions run. It must be allowed to download from loopback for uploaded files to arrive.
    """

    def __init__(self, server: CogServer) -> None:
        self._cog = server
        self._predictions: dict[str, Json] = {}
        self._files: dict[str, bytes] = {}
        self._changed = threading.Condition()
        self._http = _Server(self)
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02})

    def __enter__(self) -> ReplicateFacade:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def tell_client(self, patch: pytest.MonkeyPatch) -> None:
        """From now on the official client talks to this; the one behind ``replicate.run`` forgets whom it knew."""
        patch.setenv("REPLICATE_BASE_URL", self.url)
        patch.setenv("REPLICATE_API_TOKEN", "r8_nobody")
        patch.setenv("REPLICATE_POLL_INTERVAL", "0.05")
        patch.setattr(replicate.default_client, "_Client__client", None)

    @property
    def url(self) -> str:
        """For `REPLICATE_BASE_URL`."""
        return f"http://127.0.0.1:{self._http.server_port}"

    def create(self, request: Json, *, model: str | None, wait: bool) -> Reply:
        """Start a prediction; with `wait`, answer when it has ended or `WAIT_S` are over."""
        identifier = secrets.token_hex(13)
        prediction = self._starting(identifier, request, model)
        with self._changed:
            self._predictions[identifier] = prediction
        try:
            self._cog.predict_async(request["input"], f"{self.url}/webhook/{identifier}", identifier=identifier)
        except InputError as error:
            problem = {"title": "Input validation failed", "detail": str(error), "status": 422}
            return Reply(HTTPStatus.UNPROCESSABLE_ENTITY, problem)
        with self._changed:
            self._changed.wait_for(lambda: not wait or prediction["status"] in TERMINAL, WAIT_S)
            seen = dict(prediction)
        if wait and seen["status"] not in TERMINAL:
            seen["status"] = "starting"  # how the client is told to go on polling
        return Reply(HTTPStatus.CREATED, seen)

    def prediction(self, identifier: str) -> Reply:
        with self._changed:
            found = self._predictions.get(identifier)
            return _missing() if found is None else Reply(HTTPStatus.OK, dict(found))

    def cancel(self, identifier: str) -> Reply:
        self._cog.cancel(identifier)
        return self.prediction(identifier)

    def report(self, identifier: str, event: Json) -> Reply:
        """One webhook of Cog; what comes after the terminal one is old news."""
        now = datetime.now(UTC).isoformat()
        with self._changed:
            prediction = self._predictions[identifier]
            if prediction["status"] not in TERMINAL:
                prediction |= {name: event[name] for name in ("status", "logs", "metrics", "error") if name in event}
                prediction["started_at"] = prediction["started_at"] or now
            if event["status"] in TERMINAL and prediction["completed_at"] is None:
                prediction |= {"output": event.get("output"), "completed_at": now}
            self._changed.notify_all()
        return Reply(HTTPStatus.OK, {})

    def version(self, identifier: str) -> Reply:
        schema = self._cog.openapi()
        made = {
            "id": identifier,
            "created_at": datetime.now(UTC).isoformat(),
            "cog_version": "0",
            "openapi_schema": schema,
        }
        return Reply(HTTPStatus.OK, made)

    def keep(self, content_type: str, body: bytes) -> Reply:
        """Store the `content` part of a multipart upload."""
        message = email.message_from_bytes(f"Content-Type: {content_type}\r\n\r\n".encode() + body)
        part = next(
            part for part in message.walk() if part.get_param("name", header="content-disposition") == "content"
        )
        data, name, identifier = part.get_payload(decode=True), part.get_filename(), secrets.token_hex(8)
        self._files[identifier] = data
        made = {
            "id": identifier,
            "name": name,
            "content_type": part.get_content_type(),
            "size": len(data),
            "etag": identifier,
            "checksums": {"sha256": hashlib.sha256(data).hexdigest()},
            "metadata": {},
            "created_at": datetime.now(UTC).isoformat(),
            "expires_at": None,
            "urls": {"get": f"{self.url}/v1/files/{identifier}/{quote(name)}"},
        }
        return Reply(HTTPStatus.CREATED, made)

    def file(self, identifier: str) -> Reply:
        data = self._files.get(identifier)
        return _missing() if data is None else Reply(HTTPStatus.OK, data)

    def _starting(self, identifier: str, request: Json, model: str | None) -> Json:
        empty = dict.fromkeys(("output", "error", "started_at", "completed_at"))
        return empty | {
            "id": identifier,
            "model": model or "",
            "version": request.get("version", "local"),
            "status": "starting",
            "input": request["input"],
            "logs": "",
            "metrics": {},
            "created_at": datetime.now(UTC).isoformat(),
            "urls": {
                "get": f"{self.url}/v1/predictions/{identifier}",
                "cancel": f"{self.url}/v1/predictions/{identifier}/cancel",
            },
        }


def _missing() -> Reply:
    return Reply(HTTPStatus.NOT_FOUND, {"title": "Not found", "status": 404})


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, facade: ReplicateFacade) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.facade = facade


class _Handler(BaseHTTPRequestHandler):
    """Which request is which call of the facade."""

    server: _Server

    def do_GET(self) -> None:
        facade = self.server.facade
        self._route(
            (PREDICTION, lambda found: facade.prediction(found["id"])),
            (VERSION, lambda found: facade.version(found["id"])),
            (FILE, lambda found: facade.file(found["id"])),
        )

    def do_POST(self) -> None:
        facade, body = self.server.facade, self.rfile.read(int(self.headers.get("Content-Length", 0)))
        wait = self.headers.get("Prefer", "").startswith("wait")
        self._route(
            (CREATE, lambda found: facade.create(json.loads(body), model=found["model"], wait=wait)),
            (CANCEL, lambda found: facade.cancel(found["id"])),
            (WEBHOOK, lambda found: facade.report(found["id"], json.loads(body))),
            (FILES, lambda found: facade.keep(self.headers["Content-Type"], body)),
        )

    def _route(self, *routes: tuple[re.Pattern[str], Callable[[re.Match[str]], Reply]]) -> None:
        for pattern, call in routes:
            if found := pattern.fullmatch(self.path):
                self._send(call(found))
                return
        self._send(_missing())

    def _send(self, reply: Reply) -> None:
        data = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
        self.send_response(reply.status)
        kind = "application/octet-stream" if isinstance(reply.body, bytes) else "application/json"
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *arguments: Any) -> None:
        """The tests look at what the client got."""
