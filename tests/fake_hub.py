"""A model hub on loopback, as far as downloads need one, with faults on request.

In: repositories as ``{path: bytes}``. Out: an endpoint for ``HF_ENDPOINT``, a list of the requests it saw, a count of
the bytes it sent. Large files live on a second origin and are reached by a redirect, as on the real hub. What it
answers is checked against ``huggingface_hub`` itself in ``test_download``.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import socket
import struct
import time
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Lock, Thread
from typing import Any
from urllib.parse import unquote, urlsplit

from acestep.checkpoints.rows import HubFolder

UNPINNED_COMMIT = "c" * 40
SIGNATURE = "SECRETMARK"  # in the query of the addresses of large files
BIG = 3_000_000  # bytes of a weights file: several pieces of the downloader
_LARGE = (".safetensors", ".pt")


@dataclass(frozen=True)
class Fault:
    """What goes wrong with one answer.

    Attributes:
        status: answer this instead of the file.
        body: serve these bytes instead, as if they were the file.
        drop_after: close the connection after that many bytes of body, without ending the body.
        reset: with ``drop_after``: reset the connection instead of closing it.
        hold: with ``drop_after``: fall silent until ``FakeHub.gate`` opens, then send the rest.
        no_range: ignore a Range header.
    """

    status: int | None = None
    body: bytes | None = None
    drop_after: int | None = None
    reset: bool = False
    hold: bool = False
    no_range: bool = False


@dataclass(frozen=True)
class Seen:
    """A request that arrived."""

    origin: str
    method: str
    path: str
    range: str | None
    authorization: str | None
    query: str


@dataclass
class Repository:
    """Files at one commit; ``token`` is needed to see it, ``gated`` means the token is not enough."""

    files: dict[str, bytes]
    commit: str = UNPINNED_COMMIT
    token: str | None = None
    gated: bool = False


@dataclass
class FakeHub:
    """The state that tests set and read."""

    repositories: dict[str, Repository] = field(default_factory=dict)
    once: dict[str, deque[Fault]] = field(default_factory=lambda: defaultdict(deque))
    always: dict[str, Fault] = field(default_factory=dict)
    api_answer: bytes | None = None
    seen: list[Seen] = field(default_factory=list)
    bytes_sent: int = 0
    counting: Any = field(default_factory=Lock)
    gate: Event = field(default_factory=Event)
    reached: Event = field(default_factory=Event)
    endpoint: str = ""
    cdn: str = ""

    def add(self, *rows: HubFolder, seed: int = 0) -> None:
        """Publish random content for rows of the registry."""
        for row in rows:
            repository = self.repositories.setdefault(row.repository, Repository({}, row.revision or UNPINNED_COMMIT))
            prefix = f"{row.subfolder}/" if row.subfolder else ""
            repository.files |= {f"{prefix}{name}": data for name, data in content(row, seed).items()}

    def bodies(self, path: str) -> list[Seen]:
        """The requests for the content of one file: those that no redirect answered."""
        at = "cdn" if path.endswith(_LARGE) else "hub"
        return [seen for seen in self.seen if (seen.origin, seen.method) == (at, "GET") and seen.path.endswith(path)]

    def fault(self, path: str) -> Fault:
        """The fault of the next body of ``path``."""
        queue = self.once.get(path)
        return queue.popleft() if queue else self.always.get(path, Fault())


def content(row: HubFolder, seed: int = 0) -> dict[str, bytes]:
    """Files of one row under their published names: random, the same for the same seed; code beside them."""
    source = random.Random(f"{row.name} {seed}")
    names = [alternatives[-1] for alternatives in row.layout.required] + list(row.layout.optional)
    files = {name: source.randbytes(1500) for name in names}
    return files | {f"{row.layout.weights}.safetensors": source.randbytes(BIG), "modeling.py": b"raise SystemExit\n"}


@contextmanager
def serving() -> Iterator[FakeHub]:
    """A hub that answers until the block ends."""
    hub = FakeHub()
    servers = [_server(hub, origin) for origin in ("hub", "cdn")]
    hub.endpoint, hub.cdn = (f"http://127.0.0.1:{server.server_port}" for server in servers)
    threads = [Thread(target=server.serve_forever, args=(0.02,), daemon=True) for server in servers]
    for thread in threads:
        thread.start()
    try:
        yield hub
    finally:
        hub.gate.set()
        for server, thread in zip(servers, threads, strict=True):
            server.shutdown()
            server.server_close()
            thread.join()


def _server(hub: FakeHub, origin: str) -> ThreadingHTTPServer:
    handler = type("Handler", (_Handler,), {"hub": hub, "origin": origin})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    return server


class _Handler(BaseHTTPRequestHandler):
    hub: FakeHub
    origin: str
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments: object) -> None:
        """Tests read ``FakeHub.seen`` instead."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        path = unquote(url.path)
        headers = self.headers
        self.hub.seen.append(
            Seen(self.origin, self.command, path, headers["Range"], headers["Authorization"], url.query)
        )
        try:
            self._route(path)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True  # the client went away

    def _route(self, path: str) -> None:
        if api := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/([^/]+))?", path):
            self._api(api[1], api[2] or "main")
        elif tree := re.fullmatch(r"/api/models/([^/]+/[^/]+)/tree/([^/]+)", path):
            self._tree(*tree.groups())
        elif resolve := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            self._resolve(*resolve.groups())
        elif self.origin == "cdn" and (held := re.fullmatch(r"/cdn/([^/]+/[^/]+)/(.+)", path)):
            self._body(held[2], self.hub.repositories[held[1]].files[held[2]], {})
        else:
            self._refuse(404, "RepoNotFound")

    def _allowed(self, name: str, revision: str) -> Repository | None:
        """The repository, or None after an answer that says why not."""
        repository = self.hub.repositories.get(name)
        if repository is None:
            self._refuse(404, "RepoNotFound")
        elif repository.gated:
            self._refuse(403, "GatedRepo")
        elif repository.token is not None and self.headers["Authorization"] != f"Bearer {repository.token}":
            self._refuse(401, "RepoNotFound")
        elif revision not in {"main", repository.commit}:
            self._refuse(404, "RevisionNotFound")
        else:
            return repository
        return None

    def _api(self, name: str, revision: str) -> None:
        if self.hub.api_answer is not None:
            self._answer(200, {"Content-Type": "text/html"}, self.hub.api_answer)
        elif repository := self._allowed(name, revision):
            siblings = [_sibling(path, data) for path, data in repository.files.items()]
            described = {"id": name, "modelId": name, "sha": repository.commit, "siblings": siblings}
            self._answer(200, {"Content-Type": "application/json"}, json.dumps(described).encode())

    def _tree(self, name: str, revision: str) -> None:
        if repository := self._allowed(name, revision):
            entries = [_tree_entry(path, data) for path, data in repository.files.items()]
            self._answer(200, {"Content-Type": "application/json"}, json.dumps(entries).encode())

    def _resolve(self, name: str, revision: str, path: str) -> None:
        repository = self._allowed(name, revision)
        if repository is None:
            return
        if path not in repository.files:
            self._refuse(404, "EntryNotFound")
            return
        data = repository.files[path]
        headers = {"X-Repo-Commit": repository.commit, "ETag": f'"{_git_sha1(data)}"'}
        if not path.endswith(_LARGE):
            self._body(path, data, headers)
            return
        sha256 = hashlib.sha256(data).hexdigest()
        headers |= {"X-Linked-Size": str(len(data)), "X-Linked-Etag": f'"{sha256}"'}
        self._answer(302, headers | {"Location": f"{self.hub.cdn}/cdn/{name}/{path}?Signature={SIGNATURE}"}, b"")

    def _body(self, path: str, data: bytes, headers: dict[str, str]) -> None:
        fault = self.hub.fault(path) if self.command == "GET" else Fault()
        if fault.status is not None:
            self._refuse(fault.status, "")
            return
        data = data if fault.body is None else fault.body
        start = int(re.fullmatch(r"bytes=(\d+)-", self.headers["Range"] or "bytes=0-")[1])
        status = 206 if self.headers["Range"] and not fault.no_range else 200
        if status == 206 and start >= len(data):
            self._refuse(416, "")
            return
        if status == 206:
            headers = headers | {"Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"}
            data = data[start:]
        self._head(status, headers, len(data))
        if self.command == "GET":
            self._send(data, fault)

    def _send(self, data: bytes, fault: Fault) -> None:
        first = len(data) if fault.drop_after is None else fault.drop_after
        self._write(data[:first])
        if fault.drop_after is None:
            return
        self.hub.reached.set()
        if fault.hold:
            self.hub.gate.wait(30)
            self._write(data[first:])
            return
        if fault.reset:
            time.sleep(0.2)  # a reset throws away what the client has not read yet
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            os.close(self.connection.detach())
        self.close_connection = True

    def _write(self, data: bytes) -> None:
        for start in range(0, len(data), 1 << 16):
            piece = data[start : start + (1 << 16)]
            self.wfile.write(piece)
            with self.hub.counting:
                self.hub.bytes_sent += len(piece)

    def _refuse(self, status: int, code: str) -> None:
        """An error that repeats the request's own secrets, as a careless server may."""
        echo = f"refused {self.headers['Authorization']}"
        self._answer(status, {"X-Error-Code": code, "X-Error-Message": echo}, json.dumps({"error": echo}).encode())

    def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self._head(status, headers, len(body))
        if self.command == "GET":
            self.wfile.write(body)

    def _head(self, status: int, headers: dict[str, str], length: int) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(length))
        self.end_headers()


def _sibling(path: str, data: bytes) -> dict[str, object]:
    entry: dict[str, object] = {"rfilename": path, "size": len(data), "blobId": _git_sha1(data)}
    if path.endswith(_LARGE):
        entry["lfs"] = {"size": len(data), "sha256": hashlib.sha256(data).hexdigest(), "pointerSize": 134}
    return entry


def _tree_entry(path: str, data: bytes) -> dict[str, object]:
    entry: dict[str, object] = {"type": "file", "path": path, "size": len(data), "oid": _git_sha1(data)}
    if path.endswith(_LARGE):
        entry["lfs"] = {"size": len(data), "oid": hashlib.sha256(data).hexdigest(), "pointerSize": 134}
    return entry


def _git_sha1(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def sharded(files: dict[str, bytes], stem: str, shards: Sequence[bytes]) -> dict[str, bytes]:
    """The same files with the weights in several pieces and an index."""
    names = [f"{stem}-{number:05}-of-{len(shards):05}.safetensors" for number in range(1, len(shards) + 1)]
    index = json.dumps({"weight_map": {f"layer{number}": name for number, name in enumerate(names)}}).encode()
    rest = {name: data for name, data in files.items() if name != f"{stem}.safetensors"}
    return rest | {f"{stem}.safetensors.index.json": index} | dict(zip(names, shards, strict=True))
