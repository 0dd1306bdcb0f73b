"""What the decoders share: what a file says about itself, how long reading may take, and why a file is refused.

In: figures. Out: small values. Refuses to know any library, any program and the limits a file is held to.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Self


class Unreadable(Exception):  # noqa: N818 - a reason, never the final word: ``io`` makes the ``AudioError``
    """Why a file is refused, as the end of the sentence "<field>: '<name>' ..."."""


@dataclass(frozen=True, slots=True)
class Probe:
    """What is known of a file before it is decoded.

    ``duration_s`` is None when nothing tells it, infinite when it is beyond where looking for it was stopped.
    """

    sample_rate: int
    channels: int
    duration_s: float | None


@dataclass(frozen=True, slots=True)
class Deadline:
    """A wall-clock limit that several steps use up together.

    Attributes:
        limit_s: what was allowed, for messages.
        ends: moment on the clock of ``time.monotonic``.
    """

    limit_s: float
    ends: float

    @classmethod
    def after(cls, limit_s: float) -> Self:
        """A limit that starts to run now."""
        return cls(limit_s, time.monotonic() + limit_s)

    @property
    def left_s(self) -> float:
        """Seconds that remain, at least 0."""
        return max(0.0, self.ends - time.monotonic())

    @property
    def complaint(self) -> str:
        """The end of the sentence about a file that used it up."""
        return f"took longer than {self.limit_s:g} s"

    def check(self) -> None:
        """Raise when the time is up.

        Raises:
            Unreadable: it is.
        """
        if not self.left_s:
            raise Unreadable(self.complaint)


def check_complete(present_s: float, stated_s: float) -> None:
    """Refuse a file whose header promises clearly more sound than the file holds.

    Raises:
        Unreadable: more than a tenth of a second is missing (headers of lossy formats may be off by a codec frame).
    """
    if stated_s - present_s > 0.1:
        raise Unreadable(f"is cut short: {present_s:.1f} s of {stated_s:.1f} s can be read")
