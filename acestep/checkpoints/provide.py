"""The weights of a model, wherever they are: found, or downloaded, with lines that say how far it is.

In: a registry row and the project's folder. Out: nothing, or an error; afterwards ``family.find_weights`` finds them.
Refuses to know how files travel (``download``) and what is done with them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from threading import Lock

from acestep.checkpoints.files import search_roots
from acestep.checkpoints.integrity import inspect
from acestep.checkpoints.registry import parts_of
from acestep.checkpoints.rows import HubFolder
from acestep.errors import WeightsError

Say = Callable[[str], None]
LINE_EVERY_S = 5.0


def provide(spec: HubFolder, project_root: Path, say: Say) -> None:
    """See to it that ``spec`` can be loaded; what is here is left alone, what is missing goes into the first root.

    Args:
        say: called with a line when a download begins, every few seconds while it runs, and when it ends.

    Raises:
        WeightsError: it is not here and cannot be fetched.
    """
    parts, roots = parts_of(spec), search_roots(project_root)
    if spec.embedded or any(all(inspect(part, root).state.usable for part in parts) for root in roots):
        return
    from acestep.checkpoints.download import ensure_all  # with the hub's client, which only a download needs

    start = time.perf_counter()
    say(f"download: {spec.name} is not in {roots[0]}, about {sum(part.scale.size for part in parts) / 1e9:.1f} GB")
    tally = Tally(say)
    try:
        ensure_all(parts, roots[0], progress=tally.count)
    except WeightsError as error:
        raise WeightsError(f"Model not loaded: {spec.name} could not be fetched. {error}") from error
    say(f"download: {spec.name} {tally.arrived:,} bytes {time.perf_counter() - start:.1f} s")


class Tally:
    """Adds up what several threads report and speaks now and then.

    Args:
        say: called with a line, at most every ``every_s`` seconds.
    """

    def __init__(self, say: Say, every_s: float = LINE_EVERY_S) -> None:
        self._say, self._every_s = say, every_s
        self._files: dict[str, tuple[int, int]] = {}
        self._spoken = time.monotonic()
        self._lock = Lock()

    @property
    def arrived(self) -> int:
        """Bytes of all files so far."""
        return sum(arrived for arrived, _ in self._files.values())

    def count(self, name: str, arrived: int, size: int) -> None:
        """``arrived`` of ``size`` bytes of a file are here."""
        with self._lock:
            self._files[name] = arrived, size
            if time.monotonic() - self._spoken < self._every_s:
                return
            self._spoken = time.monotonic()
            wanted = sum(size for _, size in self._files.values())
            self._say(f"download: {self.arrived / 1e9:.2f} of {wanted / 1e9:.2f} GB")
