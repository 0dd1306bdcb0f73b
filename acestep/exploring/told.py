"""Warnings that every batch of an exploration would repeat reach the log once.

In: names of loggers. Out: their records, without the repetitions of one thread. Refuses to know what is said.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class _Once(logging.Filter):
    """Lets each warning of the thread that made it through once, and everything else always."""

    def __init__(self) -> None:
        super().__init__()
        self._thread, self._told = threading.get_ident(), set[str]()

    def filter(self, record: logging.LogRecord) -> bool:
        if record.thread != self._thread or record.levelno < logging.WARNING:
            return True
        text = record.getMessage()
        if text in self._told:
            return False
        self._told.add(text)
        return True


@contextmanager
def told_once(*names: str) -> Iterator[None]:
    """What this thread warns of inside the block, by loggers of these names, is told once."""
    once, loggers = _Once(), [logging.getLogger(name) for name in names]
    for logger in loggers:
        logger.addFilter(once)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeFilter(once)
