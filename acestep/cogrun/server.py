"""Starts the real Cog HTTP runtime for a project on loopback, without Docker, and stops it for sure.

In: a project folder with `predict.py`. Out: a ready `CogClient`, the runtime's log lines as they are written, and
afterwards no process and no temporary file.
Facts this file lives by: the worker is started as `python` from PATH; the schema is read from `.cog/` under the
working directory; the port appears only in the log; a worker that dies before it connects is never reported.
Refuses to know: inputs, outputs, the command line.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO

from acestep.cogrun.client import HOST, CogClient
from acestep.cogrun.errors import CogServerError
from acestep.cogrun.schema import PREDICTOR_FILE, SCHEMA_FILE, openapi_document, write_document
from acestep.cogrun.static import PREDICTOR_CLASS, read_signature

POLL_S = 0.05
STOP_GRACE_S = 5.0
LOG_LINES_KEPT = 2000
LISTENING = re.compile(rf"Starting coglet server on {re.escape(HOST)}:(\d+)")
WORKER_CONNECTED = "Worker starting setup"
SETUP_PREFIXES = re.compile(
    r"^(worker setup failed( \(slot [^)]*\))?: |setup failed: |failed to load predictor: )+", re.IGNORECASE
)
# `predict` and `BasePredictor` are the names this project promises; their deprecation is accepted, not news
EXPECTED_WARNINGS = (
    f"ignore:{PREDICTOR_CLASS}.predict() is deprecated; use run() instead:DeprecationWarning",
    "ignore:BasePredictor is deprecated; use BaseRunner instead:DeprecationWarning",
)


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of the runtime's log.

    Args:
        target: the part of Cog that wrote it; "" for text outside Cog's log format (a crash, a Python error).
        text: the message.
        printed: the model printed it, rather than Cog.
    """

    target: str
    text: str
    printed: bool

    @classmethod
    def parse(cls, raw: str) -> LogLine:
        """Read one line of Cog's JSON log; anything else is taken as printed text."""
        text = raw.rstrip("\n")
        try:
            entry = json.loads(text)
            target, fields = entry["target"], entry["fields"]
        except (ValueError, KeyError, TypeError):
            return cls("", text, True)
        return cls(target, fields.get("message", ""), "source" in fields or target == "coglet::user")


class CogRuntime:
    """The Cog runtime of one project; ready inside its `with` block, gone after it.

    Args:
        project: folder with `predict.py`; the runtime's working directory, as in the image.
        env: variables on top of this process's.
        upload_url: where the runtime puts output files; without it they come back as data URIs.
        on_print: called from another thread with every line the model prints, as it is printed.
        python: the interpreter; its folder must hold it under the name `python`.
        setup_timeout: seconds until the model must be ready (weights may be downloaded in it).
        worker_timeout: seconds until the worker process must have connected.
    """

    def __init__(
        self,
        project: Path,
        *,
        env: Mapping[str, str] | None = None,
        upload_url: str | None = None,
        on_print: Callable[[str], None] | None = None,
        python: Path = Path(sys.executable),
        setup_timeout: float = 3600.0,
        worker_timeout: float = 60.0,
    ) -> None:
        self._project = project.resolve()
        self._env = dict(env or {})
        self._upload_url = upload_url
        self._on_print = on_print
        self._python = python
        self._setup_timeout = setup_timeout
        self._worker_timeout = worker_timeout
        self._log: deque[LogLine] = deque(maxlen=LOG_LINES_KEPT)
        self._port = 0
        self._worker_connected = False

    def __enter__(self) -> CogRuntime:
        """Start the runtime and wait until the model is ready.

        Raises:
            SchemaError: Cog could not read the predictor.
            CogServerError: the runtime or its worker died, or the setup failed or took too long; with the log.
        """
        document = openapi_document(read_signature(self._project / PREDICTOR_FILE))
        write_document(document, self._project / SCHEMA_FILE)
        self._start()
        try:
            self._wait_ready()
        except CogServerError as error:
            self.stop()
            error.log = self.printed  # complete only now
            raise
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def client(self) -> CogClient:
        """Requests to this runtime."""
        return CogClient(self._port)

    @property
    def pid(self) -> int:
        """Process id of the server, which is also the id of its process group."""
        return self._process.pid

    @property
    def scratch(self) -> Path:
        """The folder for temporary files of the runtime and the model; gone when the runtime is."""
        return Path(self._scratch.name)

    @property
    def printed(self) -> tuple[str, ...]:
        """The last lines the model printed, oldest first."""
        return tuple(line.text for line in self._log.copy() if line.printed)

    @property
    def log(self) -> tuple[LogLine, ...]:
        """The last lines of the runtime's log, oldest first."""
        return tuple(self._log.copy())

    def stop(self) -> None:
        """End the server, its worker and everything they started; safe to call again and while interrupted."""
        try:
            if self._process.poll() is None:
                self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_GRACE_S)
        finally:
            with contextlib.suppress(ProcessLookupError, PermissionError):  # all gone; macOS says it the second way
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._reader.join(STOP_GRACE_S)
            self._scratch.cleanup()

    def _start(self) -> None:
        if not (self._python.parent / "python").exists():
            raise CogServerError(f"Cog starts its worker as `python`, and {self._python.parent} has no such file")
        self._scratch = tempfile.TemporaryDirectory(prefix="acestep-cog-")
        command = [str(self._python), "-m", "cog.server.http", "--host", HOST]
        if self._upload_url:
            command += ["--upload-url", self._upload_url]
        self._process = subprocess.Popen(
            command,
            cwd=self._project,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read_log, args=(self._process.stdout,), daemon=True)
        self._reader.start()

    def _environment(self) -> dict[str, str]:
        env = {**os.environ, **self._env}
        env.pop("RUST_LOG", None)
        env |= {
            "PORT": "0",
            "COG_PREDICT_TYPE_STUB": f"{PREDICTOR_FILE}:{PREDICTOR_CLASS}",
            "LOG_FORMAT": "json",
            "COG_LOG_LEVEL": "info",
            "TMPDIR": self._scratch.name,
            # as in the image: Cog's threads come and go, and would each keep what they once held
            "MALLOC_ARENA_MAX": env.get("MALLOC_ARENA_MAX", "1"),
            "PATH": _joined(os.pathsep, str(self._python.parent), env.get("PATH", os.defpath)),
            "PYTHONPATH": _joined(os.pathsep, str(self._project), env.get("PYTHONPATH", "")),
            "PYTHONWARNINGS": _joined(",", *EXPECTED_WARNINGS, env.get("PYTHONWARNINGS", "")),
            "NO_PROXY": _joined(",", HOST, env.get("NO_PROXY", "")),
            "no_proxy": _joined(",", HOST, env.get("no_proxy", "")),
        }
        return env

    def _read_log(self, stream: IO[str]) -> None:
        with stream:
            for raw in stream:
                line = LogLine.parse(raw)
                self._log.append(line)
                if match := LISTENING.search(line.text):
                    self._port = int(match[1])
                self._worker_connected |= line.text == WORKER_CONNECTED
                if line.printed:
                    self._show(line.text)

    def _show(self, text: str) -> None:
        if self._on_print is None:
            return
        try:
            self._on_print(text)
        except OSError:
            self._on_print = None  # the reader of our output went away; the runtime's pipe must still be drained

    def _wait_ready(self) -> None:
        started = time.monotonic()
        while (status := self._status()) != "READY":
            waited = time.monotonic() - started
            if self._process.poll() is not None:
                self._reader.join(STOP_GRACE_S)
                raise CogServerError(
                    f"the Cog server ended with code {self._process.returncode}: {self._last_words()}"
                )
            if status == "SETUP_FAILED":
                raise CogServerError(f"the model's setup failed: {self._setup_reason()}")
            if not self._worker_connected and waited > self._worker_timeout:
                raise CogServerError(f"Cog's worker process did not start within {self._worker_timeout:g} s")
            if waited > self._setup_timeout:
                raise CogServerError(f"the model was not ready within {self._setup_timeout:g} s")
            time.sleep(POLL_S)

    def _status(self) -> str:
        """Health of the runtime; "" while its port is unknown or not open yet."""
        if not self._port:
            return ""
        with contextlib.suppress(CogServerError):
            return self.client.health()["status"]
        return ""

    def _setup_reason(self) -> str:
        logs = self.client.health()["setup"].get("logs", "")
        return " ".join(SETUP_PREFIXES.sub("", logs).split())

    def _last_words(self) -> str:
        return next((text for text in reversed(self.printed) if text.strip()), "it printed nothing")


def _joined(separator: str, *parts: str) -> str:
    return separator.join(part for part in parts if part)
