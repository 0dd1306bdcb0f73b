"""A file host on loopback that counts who comes, and a play of the public internet for the guarded download."""

from __future__ import annotations

import io
import resource
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from acestep.net.url import ALLOW_PRIVATE_URLS

from terse_planner import terse_weights

HOST = "127.0.0.1"
CERTIFICATE = Path(__file__).parent / "fixtures" / "tls" / "loopback.pem"  # for 127.0.0.1, signed by nobody
PUBLIC = "93.184.216.34"
Answer = Callable[["_Handler"], None]
Found = tuple[int, int, int, str, tuple[str, int]]


class FileHost(ThreadingHTTPServer):
    """Answers each path by its function; `connections` counts every connection, answered or not."""

    daemon_threads = True

    def __init__(self, answers: Mapping[str, Answer]) -> None:
        super().__init__((HOST, 0), _Handler)
        self.answers = dict(answers)
        self.connections = 0
        self.paths: list[str] = []

    def get_request(self) -> tuple[socket.socket, object]:
        self.connections += 1
        return super().get_request()

    def handle_error(self, request: object, client_address: object) -> None:
        """A visitor that leaves in mid-answer is what many of the tests are about."""

    def speak_tls(self) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(CERTIFICATE)
        self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)

    def url(self, path: str) -> str:
        return f"http://{HOST}:{self.server_port}{path}"


class _Handler(BaseHTTPRequestHandler):
    server: FileHost

    def do_GET(self) -> None:
        self.server.paths.append(self.path)
        self.server.answers[self.path.partition("?")[0]](self)

    def log_message(self, format: str, *arguments: object) -> None:
        """The tests look at `paths`."""


@contextmanager
def hosting(answers: Mapping[str, Answer]) -> Iterator[FileHost]:
    """A running host for the block."""
    host = FileHost(answers)
    thread = threading.Thread(target=host.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield host
    finally:
        host.shutdown()
        host.server_close()
        thread.join()


def answering(status: int = 200, body: bytes = b"", **headers: str) -> Answer:
    """An answer of one piece; `Content_Length="9"` and the like add or replace headers."""
    fields = {"Content-Length": str(len(body))} | {name.replace("_", "-"): text for name, text in headers.items()}

    def answer(handler: _Handler) -> None:
        handler.send_response(status)
        for name, text in fields.items():
            handler.send_header(name, text)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def redirecting(location: str) -> Answer:
    return answering(302, Location=location)


def dripping(head: bytes, piece: bytes, pause_s: float = 0.05) -> Answer:
    """`head`, then `piece` again and again, until the visitor goes; 10 s at most."""

    def answer(handler: _Handler) -> None:
        handler.wfile.write(head)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            handler.wfile.write(piece)
            time.sleep(pause_s)

    return answer


class PlayedInternet:
    """Names and addresses of the test's choosing: public addresses lead to loopback, as far as anybody can tell."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.names: dict[str, list[str]] = {}
        self.asked: list[str] = []
        self.reached: list[str] = []
        self._connect = socket.socket.connect
        played = self

        def connect(self: socket.socket, address: tuple[str, int]) -> None:
            played.reached.append(address[0])
            played._connect(self, (HOST, address[1]) if address[0] == PUBLIC else address)

        patch.setattr(socket, "getaddrinfo", self._resolve)
        patch.setattr(socket.socket, "connect", connect)

    def _resolve(self, host: str, port: int, **_: object) -> list[Found]:
        self.asked.append(host)
        if host not in self.names:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in self.names[host]]


def terse_tiny(root: Path) -> dict[str, str]:
    """Settings of a server that plays the embedded model with the terse planner, and reads from loopback."""
    return {"ACESTEP_MODEL": "tiny", "ACESTEP_WEIGHTS": str(terse_weights(root)), ALLOW_PRIVATE_URLS: "1"}


def tone(seconds: float = 2.0, rate: int = 48_000, kind: str = "WAV") -> bytes:
    """A quiet sine as a file."""
    file = io.BytesIO()
    sf.write(file, 0.2 * np.sin(np.arange(round(seconds * rate)) / 20), rate, format=kind)
    return file.getvalue()


@contextmanager
def limited(process: int, kind: int, limit: int) -> Iterator[None]:
    """A process (0: this one) with less of something in the block; `kind` is one of `resource.RLIMIT_*`."""
    before = resource.prlimit(process, kind)
    resource.prlimit(process, kind, (limit, before[1]))
    try:
        yield
    finally:
        resource.prlimit(process, kind, before)


def disk_with_room_for(size: int) -> AbstractContextManager[None]:
    """In the block no file may grow beyond ``size`` bytes: writing further fails as on a full disk."""
    return limited(0, resource.RLIMIT_FSIZE, size)


def wait_until(happened: Callable[[], bool], timeout: float = 60.0) -> None:
    """Returns as soon as it happened; fails the test after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not happened():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)
