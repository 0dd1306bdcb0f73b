"""Speaks HTTP to a Cog runtime on loopback, with the standard library alone.

In: inputs as JSON values. Out: the runtime's answers as JSON, or one typed error.
Refuses to know: processes, files on disk, the command line.
"""

from __future__ import annotations

import http.client
import json
import re
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from acestep.cogrun.errors import CogServerError
from acestep.errors import InputError

Json = dict[str, Any]

HOST = "127.0.0.1"
ANSWER_TIMEOUT_S = 10.0
BUSY_RETRY_S = 15.0
BUSY_PAUSE_S = 0.05
# Cog names a folder after the id, `../` included; what passes here is harmless as a folder name and as a URL path
IDENTIFIER = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True, slots=True)
class Reply:
    """Status and body of one HTTP answer; the body is JSON where the runtime sent JSON, else text."""

    status: int
    body: Any


@dataclass(frozen=True, slots=True)
class CogClient:
    """Requests to one runtime.

    Args:
        port: its port on the loopback address.
    """

    port: int

    def request(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = ANSWER_TIMEOUT_S,
    ) -> Reply:
        """One request. Raises `CogServerError` when the runtime does not answer in `timeout` seconds (None: ever)."""
        payload = None if body is None else json.dumps(body).encode()
        fields = {"Content-Type": "application/json", **(headers or {})}
        try:
            with closing(http.client.HTTPConnection(HOST, self.port, timeout=timeout)) as connection:
                connection.request(method, path, payload, fields)
                answer = connection.getresponse()
                return Reply(answer.status, _decoded(answer.read()))
        except (OSError, http.client.HTTPException) as error:
            raise CogServerError(f"the Cog server does not answer {method} {path}: {error or 'no answer'}") from error

    def health(self) -> Json:
        """`/health-check`: `status` and, in `setup`, what the setup said."""
        return self.request("GET", "/health-check").body

    def openapi(self) -> Json:
        """The document the runtime checks inputs with."""
        reply = self.request("GET", "/openapi.json")
        if reply.status != 200:
            raise CogServerError(f"the Cog server has no schema: {reply.body}")
        return reply.body

    def predict(self, inputs: Mapping[str, object], *, identifier: str, timeout: float | None = None) -> Json:
        """Run one prediction to its end and return the runtime's answer, also when it failed or was cancelled.

        Raises:
            InputError: the id is not a name, or the runtime refused the inputs by its schema (422), with every
                refused field.
            CogServerError: the runtime stayed busy, stopped answering or answered something else.
        """
        return self._post({"id": _checked(identifier), "input": dict(inputs)}, {}, 200, timeout)

    def predict_async(
        self, inputs: Mapping[str, object], *, identifier: str, webhook: str, events: Sequence[str] = ()
    ) -> Json:
        """Start one prediction whose progress is posted to `webhook`; same errors as `predict`."""
        body: Json = {"id": _checked(identifier), "input": dict(inputs), "webhook": webhook}
        if events:
            body["webhook_events_filter"] = list(events)
        return self._post(body, {"Prefer": "respond-async"}, 202, ANSWER_TIMEOUT_S)

    def cancel(self, identifier: str) -> bool:
        """Ask a running prediction to stop; False when there is none of that name."""
        return self.request("POST", f"/predictions/{_checked(identifier)}/cancel").status == 200

    def wait_idle(self, timeout: float) -> bool:
        """Wait until no prediction runs; False when `timeout` seconds were not enough."""
        deadline = time.monotonic() + timeout
        while self.health()["status"] == "BUSY":
            if time.monotonic() > deadline:
                return False
            time.sleep(BUSY_PAUSE_S)
        return True

    def _post(self, body: Json, headers: Mapping[str, str], expected: int, timeout: float | None) -> Json:
        """POST a prediction; a slot frees a moment after its answer, so "busy" is asked again for a while."""
        deadline = time.monotonic() + BUSY_RETRY_S
        reply = self.request("POST", "/predictions", body, headers=headers, timeout=timeout)
        while reply.status == 409 and time.monotonic() < deadline:
            time.sleep(BUSY_PAUSE_S)
            reply = self.request("POST", "/predictions", body, headers=headers, timeout=timeout)
        if reply.status == 422:
            raise InputError(_refusal(reply.body))
        if reply.status != expected:
            raise CogServerError(f"the Cog server answered {reply.status}: {reply.body}")
        return reply.body


def _checked(identifier: str) -> str:
    if not IDENTIFIER.fullmatch(identifier):
        rule = "be 1 to 64 letters, digits, hyphens and underscores"
        raise InputError.must("the id of a prediction", rule, identifier)
    return identifier


def _decoded(data: bytes) -> Any:
    text = data.decode("utf-8", errors="replace")
    try:
        return json.loads(text)
    except ValueError:
        return text


def _refusal(body: Any) -> str:
    """The runtime's 422 as one sentence: `steps: 999 is greater than the maximum of 200; ...`."""
    if not isinstance(body, dict) or not isinstance(body.get("detail"), list):
        return str(body)
    return "; ".join(f"{fault['loc'][-1]}: {fault['msg']}" for fault in body["detail"])
