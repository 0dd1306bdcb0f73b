"""The gate before every endpoint: who may ask, from where, and how many bytes of it are read.

    name of the host --> origin of a web page --> key --> length of the body --> the application

In: an ASGI request. Out: the same, or an answer in one sentence. A server on a loopback address answers only to names
of that address: otherwise a web page could reach it under a name of its own that it points at this machine. Refuses
to know what is asked.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from acestep.errors import AceStepError
from acestep.net.data_uri import MIB
from acestep.server.faults import DeniedError, TooLargeError, detail_of, headers_of, status_of
from acestep.server.options import Options, is_loopback

OPEN_PATHS = frozenset({"/health", "/docs", "/docs/oauth2-redirect", "/redoc", "/openapi.json"})
UPLOAD_PATH = "/files"
_READING = frozenset({"GET", "HEAD", "OPTIONS"})
_FORM_BYTES = 1 << 16  # what a multipart body has around its file
_ANY = "*"


@dataclass(frozen=True, slots=True)
class Rules:
    """Who may ask.

    Attributes:
        api_key: that must be sent; "" is none.
        hosts: names under which this server answers beside loopback ones; None is any.
        origins: of web pages that may ask, beside its own.
        max_body, max_upload: bytes of a body, and of one that is an upload.
    """

    api_key: str
    hosts: frozenset[str] | None
    origins: frozenset[str]
    max_body: int
    max_upload: int

    @classmethod
    def of(cls, options: Options) -> Rules:
        """The rules of a server."""
        named = frozenset(options.allowed_hosts)
        return cls(
            api_key=options.api_key,
            hosts=named if options.on_loopback or named else None,
            origins=frozenset(options.cors_origins),
            max_body=options.max_body_mib * MIB,
            max_upload=options.max_upload_mib * MIB + _FORM_BYTES,
        )

    def check(self, method: str, path: str, headers: Mapping[str, str]) -> None:
        """Let a request pass.

        Raises:
            DeniedError: it may not.
            TooLargeError: it says that it is too long.
        """
        self._check_host(headers.get("host", ""))
        if method not in _READING:
            self._check_origin(headers.get("origin"), headers.get("host", ""))
        if path not in OPEN_PATHS:
            self._check_key(headers)
        length = headers.get("content-length", "")
        if length.isdecimal():
            self.check_length(path, int(length))

    def check_length(self, path: str, length: int) -> None:
        """A body may be as long as that.

        Raises:
            TooLargeError: it may not.
        """
        longest = self.max_upload if path == UPLOAD_PATH else self.max_body
        if length > longest:
            raise TooLargeError(f"The request has more than {longest / MIB:.0f} MiB.", field="body")

    def _check_host(self, host: str) -> None:
        name = _name_in(host)
        if self.hosts is not None and not (is_loopback(name) or name in self.hosts or _ANY in self.hosts):
            raise DeniedError(f"This server does not answer to the name {name!r}; start it with --allowed-host.")

    def _check_origin(self, origin: str | None, host: str) -> None:
        if origin is None or _ANY in self.origins or origin in self.origins:
            return
        if origin.partition("://")[2] != host:
            raise DeniedError(f"Web pages of {origin!r} may not ask this server; start it with --cors-origin.")

    def _check_key(self, headers: Mapping[str, str]) -> None:
        if not self.api_key:
            return
        scheme, _, token = headers.get("authorization", "").partition(" ")
        sent = token.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", "")
        if not hmac.compare_digest(sent.encode(), self.api_key.encode()):
            problem = "An API key is needed, as 'Authorization: Bearer KEY' or 'X-API-Key: KEY'."
            raise DeniedError(problem, HTTPStatus.UNAUTHORIZED)


def _name_in(host: str) -> str:
    """The name in a Host header, without the port; "" where there is none."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:  # a bracket that is not closed
        return ""


class Gate:
    """ASGI middleware that applies ``Rules``."""

    def __init__(self, app: ASGIApp, rules: Rules) -> None:
        self._app, self._rules = app, rules

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or pass on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path, length = scope["path"], 0

        async def counted() -> Message:
            nonlocal length
            message = await receive()
            length += len(message.get("body", b""))
            self._rules.check_length(path, length)
            return message

        try:
            self._rules.check(scope["method"], path, Headers(scope=scope))
        except AceStepError as error:
            await refusal(error)(scope, receive, send)
            return
        await self._app(scope, counted, send)


def refusal(error: BaseException) -> JSONResponse:
    """The answer about an error."""
    return JSONResponse({"detail": detail_of(error)}, status_of(error), headers_of(error))
