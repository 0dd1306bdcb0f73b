"""A song on its way to a client. In: a file that is open. Out: an answer that sends it, or the part asked for."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from starlette.responses import FileResponse
from starlette.types import Receive, Scope, Send

from acestep.server.outputs import MEDIA_TYPES


class OpenFile(FileResponse):
    """A song as it was when it was opened, whatever becomes of its name while it is sent.

    Args:
        path: its name.
        file: open for reading; closed when it is sent.
        headers: beside those of every file.
    """

    def __init__(self, path: Path, file: BinaryIO, headers: Mapping[str, str]) -> None:
        self._file = file
        super().__init__(
            f"/dev/fd/{file.fileno()}",
            headers=headers,
            media_type=MEDIA_TYPES[path.suffix.lower()],
            filename=path.name,
            stat_result=os.fstat(file.fileno()),
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it, or the part that is asked for."""
        with self._file:
            await super().__call__(scope, receive, send)
