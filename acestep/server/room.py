"""How much of what clients send is taken at once, so that no number of them fills memory, threads or time.

In: requests. Out: their bodies, or one sentence that says when to come again. Refuses to know what is in them.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from starlette.requests import Request

from acestep.server.faults import BusyError, TooSlowError

SMALL = 1 << 16  # bytes of a body that always find room; those of a song without recordings
RETRY_S = 10  # until one who finds no room comes again


class Slots:
    """So many at once; who finds none free is sent away. Any thread may take one.

    Args:
        count: of them.
        busy: the end of "The server is busy ...".
    """

    def __init__(self, count: int, busy: str) -> None:
        self._free, self._busy = count, busy
        self._turn = threading.Lock()

    @contextmanager
    def taken(self) -> Iterator[None]:
        """One is taken in the block.

        Raises:
            BusyError: none is free.
        """
        with self._turn:
            if not self._free:
                raise _busy(self._busy)
            self._free -= 1
        try:
            yield
        finally:
            with self._turn:
                self._free += 1


class BodyRoom:
    """Memory for bodies. One event loop uses it.

    Args:
        most: bytes of all bodies together, the first ``small`` of each not counted.
        seconds: that one body may take to arrive.
        small: see above.
    """

    def __init__(self, most: int, seconds: float, small: int = SMALL) -> None:
        self._most, self._seconds, self._small = most, seconds, small
        self._held = 0

    @asynccontextmanager
    async def body(self, request: Request) -> AsyncIterator[bytes]:
        """The body of a request; it counts until the block ends.

        Raises:
            BusyError: it does not fit beside the others; where it states its length, before a byte is read.
            TooSlowError: it took too long.
        """
        stated = request.headers.get("content-length", "")
        self._check(self._counted(int(stated) if stated.isdecimal() else 0))
        pieces: list[bytes] = []
        size = 0
        try:
            async with arriving_within(self._seconds):
                async for piece in request.stream():  # ``request.body()`` would stay in memory as long as the request
                    pieces.append(piece)
                    self._held += self._counted(size + len(piece)) - self._counted(size)
                    size += len(piece)
                    self._check(0)
            yield b"".join(pieces)
        finally:
            self._held -= self._counted(size)

    def _counted(self, size: int) -> int:
        return max(0, size - self._small)

    def _check(self, further: int) -> None:
        if self._held + further > self._most:
            raise _busy("with what others send")


@asynccontextmanager
async def arriving_within(seconds: float) -> AsyncIterator[None]:
    """The block receives something, and has that long for it.

    Raises:
        TooSlowError: that was too short.
    """
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as error:
        raise TooSlowError(f"The body took longer than {seconds:g} s to arrive.", field="body") from error


def _busy(problem: str) -> BusyError:
    return BusyError(f"The server is busy {problem}; come again in {RETRY_S} s.", RETRY_S)
