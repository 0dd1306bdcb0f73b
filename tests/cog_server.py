"""The real Cog runtime for tests, with a place for its webhooks.

with CogServer(project_dir, env) as server, WebhookSink() as sink:
    server.predict({"prompt": "lo-fi piano"})["output"]        # a data URI, see `decoded`
    server.predict_async({"prompt": "lo-fi piano"}, sink.url)
    sink.wait_terminal()["status"]
"""

from __future__ import annotations

import base64
import io
import json
import secrets
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import numpy as np
import soundfile as sf

from acestep.cogrun.client import Reply
from acestep.cogrun.main import COGLET_FOLDERS
from acestep.cogrun.server import CogRuntime
from acestep.constants import SAMPLE_RATE
from acestep.output.tags import read_recipe

Json = dict[str, Any]
Item = TypeVar("Item")
FIXTURES = Path(__file__).parent / "fixtures" / "cog"
TERMINAL = frozenset({"succeeded", "failed", "canceled"})
PAUSE_S = 0.02


class CogServer:
    """The Cog runtime of one project, ready inside its `with` block.

    Args:
        project_dir: folder with `predict.py`; its `.cog/` gets the schema.
        env: variables for the model on top of the test's own.
        setup_timeout: seconds until the model must be ready.
        on_print: called from another thread with every line the model prints.
    """

    def __init__(
        self,
        project_dir: Path,
        env: Mapping[str, str] | None = None,
        *,
        setup_timeout: float = 120.0,
        on_print: Callable[[str], None] | None = None,
    ) -> None:
        self._runtime = CogRuntime(project_dir, env=env, setup_timeout=setup_timeout, on_print=on_print)
        self._identifiers: list[str] = []

    def __enter__(self) -> CogServer:
        self._runtime.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._runtime.stop()
        for identifier in self._identifiers:
            shutil.rmtree(COGLET_FOLDERS / identifier, ignore_errors=True)

    @property
    def printed(self) -> tuple[str, ...]:
        """What the model has printed so far, setup included."""
        return self._runtime.printed

    def wait_printed(self, text: str, timeout: float = 30.0) -> str:
        """The first printed line that holds `text`. Webhooks hold back what is printed within 0.5 s of each other."""
        return _first(lambda: self.printed, lambda line: text in line, timeout)

    @property
    def runtime(self) -> CogRuntime:
        return self._runtime

    @property
    def worker(self) -> int:
        """Process id of the one process that runs the model."""
        threads = Path(f"/proc/{self._runtime.pid}/task").glob("*/children")
        children = [child for thread in threads for child in thread.read_text().split()]
        assert len(children) == 1, children
        return int(children[0])

    def files(self) -> set[Path]:
        """Everything that the runtime and the model keep in their folder for temporary files."""
        return set(self._runtime.scratch.rglob("*"))

    def predict(self, inputs: Mapping[str, object], *, identifier: str | None = None, timeout: float = 120.0) -> Json:
        """Run to the end; a busy slot is asked again. Raises `InputError` on 422."""
        return self._runtime.client.predict(inputs, identifier=self._noted(identifier), timeout=timeout)

    def predict_async(
        self,
        inputs: Mapping[str, object],
        webhook: str,
        *,
        identifier: str | None = None,
        events: Sequence[str] = (),
    ) -> str:
        """Start a prediction that reports to `webhook`; returns its id."""
        identifier = self._noted(identifier)
        self._runtime.client.predict_async(inputs, identifier=identifier, webhook=webhook, events=events)
        return identifier

    def post(self, inputs: object) -> Reply:
        """One POST /predictions as it is, for tests of refusals; waits until the slot is free first."""
        assert self._runtime.client.wait_idle(30.0), "the server is still busy"
        return self._runtime.client.request(
            "POST", "/predictions", {"id": self._noted(None), "input": inputs}, timeout=60.0
        )

    def cancel(self, identifier: str) -> bool:
        return self._runtime.client.cancel(identifier)

    def health(self) -> Json:
        return self._runtime.client.health()

    def openapi(self) -> Json:
        return self._runtime.client.openapi()

    def _noted(self, identifier: str | None) -> str:
        """The id of a prediction, new if none is given; what the runtime keeps under it is deleted at the end."""
        self._identifiers.append(identifier or f"test-{secrets.token_hex(8)}")
        return self._identifiers[-1]


class WebhookSink:
    """Collects what a runtime posts; posts after the terminal one are set aside, as a client must."""

    def __init__(self) -> None:
        self.events: list[Json] = []
        self.late: list[Json] = []
        self._server = _SinkServer(self)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": PAUSE_S})

    def __enter__(self) -> WebhookSink:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/webhook"

    def receive(self, event: Json) -> None:
        ended = self.events and self.events[-1]["status"] in TERMINAL
        (self.late if ended else self.events).append(event)

    def wait_for(self, accept: Callable[[Json], bool], timeout: float = 30.0) -> Json:
        """The first event that `accept` likes; fails the test after `timeout` seconds."""
        return _first(lambda: tuple(self.events), accept, timeout)

    def wait_terminal(self, timeout: float = 30.0) -> Json:
        return self.wait_for(lambda event: event["status"] in TERMINAL, timeout)


def _first(items: Callable[[], Sequence[Item]], accept: Callable[[Item], bool], timeout: float) -> Item:
    """The first of the growing `items` that `accept` likes; fails the test after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        found = [item for item in items() if accept(item)]
        if found:
            return found[0]
        time.sleep(PAUSE_S)
    raise AssertionError(f"not within {timeout:g} s; so far {items()}")


class _SinkServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, sink: WebhookSink) -> None:
        super().__init__(("127.0.0.1", 0), _SinkHandler)
        self.sink = sink


class _SinkHandler(BaseHTTPRequestHandler):
    server: _SinkServer

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.sink.receive(json.loads(body))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *arguments: object) -> None:
        """Webhooks are kept in `events`, not printed."""


def data_uri(data: bytes, media_type: str = "audio/wav") -> str:
    """A file as an input value."""
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


def decoded(uri: str) -> bytes:
    """The bytes of a data URI output."""
    header, _, payload = uri.partition(",")
    assert header.startswith("data:"), f"not a data URI: {uri[:60]}"
    assert header.endswith(";base64"), f"not base64: {header}"
    return base64.b64decode(payload, validate=True)


def heard(answer: Json, rate: int = SAMPLE_RATE) -> np.ndarray:
    """Samples ``[S, 2]`` of 16 bits of the one file of an answer."""
    samples, found = sf.read(io.BytesIO(decoded(answer["output"])), dtype="int16")
    assert found == rate
    return samples


def recipe_of(answer: Json, folder: Path) -> dict[str, Any]:
    """What the one file of an answer, which ``folder`` gets a copy of, says about itself."""
    assert answer["status"] == "succeeded", answer
    path = folder / "song.wav"
    path.write_bytes(decoded(answer["output"]))
    return read_recipe(path)


def project(folder: Path, name: str) -> Path:
    """A copy of a fixture project, so that its `.cog/` is not written into the tests."""
    return Path(shutil.copytree(FIXTURES / name, folder / name))


def alive(pid: int) -> bool:
    """Whether a process runs; one that ended and waits to be collected does not."""
    command = ["ps", "-o", "stat=", "-p", str(pid)]
    status = subprocess.run(command, check=False, capture_output=True, text=True).stdout.strip()
    return bool(status) and not status.startswith("Z")
