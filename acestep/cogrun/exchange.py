"""Hands files to the Cog runtime and takes its files back, over a loopback HTTP server of our own.

In: local input files, and a folder for the outputs. Out: URLs that the runtime downloads from and uploads to, and the
received files under the names they should have.
Why not data URIs: Cog refuses a request above 100 MiB (some 75 MB of audio), base64 keeps the whole file in memory
several times, and an `audio/wav` data URI arrives without its extension. A URL streams, has no limit and keeps the
name. Both directions need a random token, so other users of the machine cannot read or write.
Refuses to know: what the files are and which input they belong to.
"""

from __future__ import annotations

import os
import secrets
import shutil
import threading
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import BinaryIO
from urllib.parse import quote, unquote, urlsplit

from acestep.cogrun.client import HOST
from acestep.errors import OutputError

BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Received:
    """One uploaded file: the part on disk and the name the model gave it."""

    part: Path
    name: str


class FileExchange:
    """Serves offered files and stores uploaded ones while its `with` block lasts.

    Args:
        folder: where uploads are written, as hidden parts; it should be the folder they will stay in, so that
            keeping one is a rename. Parts nobody kept are deleted at the end.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.failure = ""  # why an upload could not be written, empty while all could
        self._token = secrets.token_urlsafe(16)
        self._offered: dict[str, Path] = {}
        self._received: dict[str, Received] = {}
        self._server = _Server(self)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})

    def __enter__(self) -> FileExchange:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        for received in self._received.values():
            received.part.unlink(missing_ok=True)

    @property
    def upload_url(self) -> str:
        """Prefix the runtime puts its outputs under (`--upload-url`)."""
        return self._url(f"/{self._token}/out")

    def offer(self, file: Path) -> str:
        """URL under which the runtime can download a local file."""
        path = f"/{self._token}/in/{len(self._offered)}/{quote(file.name)}"
        self._offered[path] = file
        return self._url(path)

    def received(self, url: str) -> Received | None:
        """The uploaded file behind an output URL; None when the URL is not ours."""
        return self._received.get(urlsplit(url).path) if url.startswith(self.upload_url) else None

    def keep(self, received: Received, target: Path) -> Path:
        """Give an uploaded file its final name, in one step."""
        try:
            return received.part.replace(target)
        except OSError as error:
            raise OutputError(f"cannot write {target}: {error.strerror}") from error

    def open_offered(self, path: str) -> BinaryIO | None:
        """The offered file behind a request path."""
        file = self._offered.get(path)
        return file.open("rb") if file is not None and file.is_file() else None

    def store(self, path: str, stream: BinaryIO, size: int) -> bool:
        """Write one upload to disk; False when it is not for us or came short."""
        if not path.startswith(f"/{self._token}/out/"):
            return False
        part = self._folder / f".{secrets.token_hex(8)}.part"
        left = size
        with part.open("wb") as file:
            self._received[path] = Received(part, PurePosixPath(unquote(path)).name)
            while left and (block := stream.read(min(left, BLOCK))):
                file.write(block)
                left -= len(block)
            file.flush()
            os.fsync(file.fileno())
        return left == 0

    def _url(self, path: str) -> str:
        return f"http://{HOST}:{self._server.server_port}{path}"


class _Server(ThreadingHTTPServer):
    """A loopback server on a free port that carries its exchange to the handlers."""

    daemon_threads = True

    def __init__(self, exchange: FileExchange) -> None:
        super().__init__((HOST, 0), _Handler)
        self.exchange = exchange


class _Handler(BaseHTTPRequestHandler):
    """GET an offered file, PUT an output."""

    server: _Server

    def do_GET(self) -> None:
        file = self.server.exchange.open_offered(self.path)
        if file is None:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        with file:
            self.send_response(HTTPStatus.OK)
            self.send_header("Content-Length", str(os.fstat(file.fileno()).st_size))
            self.end_headers()
            shutil.copyfileobj(file, self.wfile, BLOCK)

    def do_PUT(self) -> None:
        exchange = self.server.exchange
        size = "" if "Transfer-Encoding" in self.headers else self.headers.get("Content-Length", "0")
        try:
            stored = size.isdigit() and exchange.store(self.path, self.rfile, int(size))
        except OSError as error:
            exchange.failure = str(error.strerror)
            self.send_error(HTTPStatus.INSUFFICIENT_STORAGE)
            return
        if not stored:
            self.send_error(HTTPStatus.BAD_REQUEST)
            return
        self.send_response(HTTPStatus.CREATED)
        self.send_header("Location", f"http://{HOST}:{self.server.server_port}{self.path}")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *arguments: object) -> None:
        """Requests of our own two processes are no news."""
