"""The guarded download: a URL from a stranger becomes a file, within limits, from the public internet only.

In: a URL, a path that does not exist yet. Out: the file at that path, or one sentence and no file.
Every hop of a redirect is judged like the first URL (`url.py`), before it is connected to. The transfer runs in its
own thread while the caller waits in short steps: so one clock bounds all of it, however slowly the other side sends
its headers, and a caller that is cancelled leaves at once and takes the connection down.
Proxy variables are not heeded: behind a proxy nobody here could judge the address.
Refuses to know: what the file is.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urljoin

from acestep.errors import InputError, OutputError
from acestep.net import data_uri
from acestep.net.data_uri import MIB
from acestep.net.url import Destination, Found, Refused

BLOCK = 1 << 16
WAKE_S = 0.05  # how soon a cancelled caller notices
LEAVE_S = 1.0  # for the thread to see that its connection is gone
REDIRECTS = frozenset({301, 302, 303, 307, 308})
HEADERS = {"User-Agent": "acestep-cog", "Accept": "*/*", "Accept-Encoding": "identity"}

Judge = Callable[[Destination], None]  # raises `Refused`
Watch = Callable[[], object]


@dataclass(frozen=True, slots=True)
class FetchLimits:
    """What one file may cost.

    Attributes:
        max_bytes: of the file, checked before and while it arrives.
        total_s: for everything: name, connection, redirects, transfer.
        silence_s: without a byte from the other side.
        redirects: hops that are followed.
    """

    max_bytes: int = 512 * MIB
    total_s: float = 300.0
    silence_s: float = 10.0
    redirects: int = 5


DEFAULT_LIMITS = FetchLimits()


def fetch(
    text: str,
    target: Path,
    *,
    field: str,
    allow_private: bool = False,
    limits: FetchLimits = DEFAULT_LIMITS,
    judge: Judge | None = None,
    watch: Watch | None = None,
) -> Path:
    """Make a file of a `data:` URI or download an http(s) URL.

    Args:
        text: the URI or URL.
        target: where the file shall be; must not exist.
        field: the input it was given in, for messages.
        allow_private: also follow URLs into this machine's own networks.
        limits: size and time.
        judge: has a say on every hop of a URL before its host is looked up, besides `url.py`.
        watch: called several times a second while a URL is downloaded; what it raises ends the transfer.

    Returns:
        `target`.

    Raises:
        InputError: not such a URL, a place it must not lead, no answer, a limit; names the host, never the whole
            URL, whose path and query may be secrets.
        OutputError: this machine's disk does not take the file.
    """
    try:
        with _whole_or_none(target):
            if text.startswith(data_uri.SCHEME):
                _store(data_uri.decode(text, limits.max_bytes), target)
            else:
                _Download(text, target, allow_private, limits, judge).finish(watch)
    except Refused as error:
        raise InputError(f"{field}: the URL {error}.", field=field) from error
    return target


class _Download:
    """One transfer in its own thread, which `finish` can end at any moment by cutting the connection."""

    def __init__(self, url: str, target: Path, allow_private: bool, limits: FetchLimits, judge: Judge | None) -> None:
        self._url = url
        self._target = target
        self._allow_private = allow_private
        self._limits = limits
        self._judge = judge
        self._socket: socket.socket | None = None
        self._left = False  # nobody waits for the file any more

    def finish(self, watch: Watch | None = None) -> None:
        """Wait for the file. Raises `Refused`; whatever else interrupts the wait ends the transfer too."""
        executor = ThreadPoolExecutor(1, thread_name_prefix="fetch")
        transfer = executor.submit(self._run)
        executor.shutdown(wait=False)
        try:
            self._wait(transfer, watch)
        except BaseException:
            self._cut()
            wait([transfer], LEAVE_S)
            raise

    def _wait(self, transfer: Future[None], watch: Watch | None) -> None:
        deadline = time.monotonic() + self._limits.total_s
        while not transfer.done():
            wait([transfer], WAKE_S)
            if watch is not None:
                watch()
            if time.monotonic() > deadline:
                raise Refused(f"took longer than {self._limits.total_s:g} s to download")
        transfer.result()

    def _cut(self) -> None:
        self._left = True
        if self._socket is not None:
            with suppress(OSError):  # it is closed already
                # the plain method: the one of a TLS socket would take the session away from the thread that reads
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def _run(self) -> None:
        url = self._url
        with _network_faults():
            for _ in range(self._limits.redirects + 1):
                destination = Destination.parse(url)
                if self._judge is not None:
                    self._judge(destination)
                with closing(self._connection(destination)) as connection:
                    connection.request("GET", destination.target, headers=HEADERS)
                    with connection.getresponse() as answer:
                        if answer.status not in REDIRECTS:
                            self._save(answer)
                            return
                        url = _redirected(url, answer.getheader("Location", ""))
        raise Refused(f"is redirected more than {self._limits.redirects} times")

    def _connection(self, destination: Destination) -> http.client.HTTPConnection:
        """An HTTP connection over a socket that was connected to a judged address; its first write shakes hands."""
        plain = self._connected(destination.resolve(allow_private=self._allow_private))
        if destination.scheme == "http":
            connection = http.client.HTTPConnection(destination.host, destination.port)
            connection.sock = plain
            return connection
        context = ssl.create_default_context()
        connection = http.client.HTTPSConnection(destination.host, destination.port, context=context)
        connection.sock = context.wrap_socket(plain, server_hostname=destination.host, do_handshake_on_connect=False)
        self._hold(connection.sock)
        return connection

    def _connected(self, found: list[Found]) -> socket.socket:
        failure: OSError | None = None
        for family, kind, protocol, _, address in found:
            candidate = socket.socket(family, kind, protocol)
            candidate.settimeout(self._limits.silence_s)
            self._hold(candidate)
            try:
                candidate.connect(address)
            except OSError as error:
                candidate.close()
                failure = error
            else:
                return candidate
        raise failure or OSError("no address")

    def _hold(self, connection: socket.socket) -> None:
        """Keep the socket where `_cut` finds it; too late when that has been already."""
        self._socket = connection
        if self._left:
            connection.close()
            raise Refused("was not needed any more")

    def _save(self, answer: http.client.HTTPResponse) -> None:
        if answer.status != http.client.OK:
            raise Refused(f"was answered with {answer.status} instead of a file")
        if answer.getheader("Content-Encoding", "identity").lower() != "identity":
            raise Refused("was answered with compressed data that was not asked for")
        self._check_size(answer.length or 0)
        _store(self._body(answer), self._target)

    def _body(self, answer: http.client.HTTPResponse) -> Iterator[bytes]:
        size = 0
        with _network_faults():
            while block := answer.read1(BLOCK):
                size += len(block)
                self._check_size(size)
                yield block
        if answer.length:  # what is left of a promised length
            raise Refused("ended before the whole file had arrived")
        if size == 0:
            raise Refused("was answered with an empty file")

    def _check_size(self, size: int) -> None:
        if size > self._limits.max_bytes:
            raise Refused(f"leads to more than {self._limits.max_bytes / MIB:g} MiB")


@contextmanager
def _whole_or_none(target: Path) -> Iterator[None]:
    """However the block ends, there is no half file."""
    try:
        yield
    except BaseException:
        target.unlink(missing_ok=True)
        raise


def _store(pieces: Iterable[bytes], target: Path) -> None:
    """Write a new file. What the pieces raise passes; a fault of the disk is ours, not that of who asked."""
    try:
        with target.open("xb") as file:
            file.writelines(pieces)
    except OSError as error:
        raise OutputError(f"cannot write a received file: {error.strerror}.") from error


def _redirected(url: str, location: str) -> str:
    try:
        return urljoin(url, location)
    except ValueError as error:
        raise Refused("is redirected to something that is not a URL") from error


@contextmanager
def _network_faults() -> Iterator[None]:
    """What goes wrong with the other side becomes the end of a sentence."""
    try:
        yield
    except (OSError, http.client.HTTPException) as error:
        raise Refused(f"cannot be downloaded ({_reason(error)})") from error


def _reason(error: OSError | http.client.HTTPException) -> str:
    """A few words, without addresses: what the system says, or what kind of fault it is."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    if isinstance(error, TimeoutError):  # its own words are about a socket
        return "no byte came for too long"
    return getattr(error, "strerror", None) or type(error).__name__
