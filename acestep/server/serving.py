"""uvicorn, as this project starts it. In: a ``Station``. Out: a server that gives up its jobs before it stops."""

from __future__ import annotations

import socket

import uvicorn

from acestep.server.app import create_app
from acestep.server.station import Station

CONNECTIONS = 512  # at once; further ones are answered 503


class StationServer(uvicorn.Server):
    """Serves one station at the address of its options."""

    def __init__(self, station: Station) -> None:
        options = station.options
        app = create_app(station)
        config = uvicorn.Config(app, host=options.host, port=options.port, ws="none", limit_concurrency=CONNECTIONS)
        super().__init__(config)
        self._station = station

    @property
    def port(self) -> int:
        """Where it listens, once it has ``started``."""
        return self.servers[0].sockets[0].getsockname()[1]

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop. Requests that wait for a song are answered that it was cancelled, and not waited for."""
        self._station.queue.give_up_all()
        await super().shutdown(sockets)
