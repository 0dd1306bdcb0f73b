"""The curve of a run: one row of figures every few steps, as CSV.

In: figures by step. Out: ``curve.csv`` in the run's folder, and its columns again. Whatever a crash or a full disk
left in the file, a run that goes on leaves whole rows in order. Refuses to know what is learnt.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from acestep.errors import InputError
from acestep.training.files import write_beside

CURVE = "curve.csv"
STEP, SECONDS = "step", "run_seconds"  # the first columns; seconds count from 0 in every call of a trainer
_NUMBER = re.compile(r"-?\d+(\.\d+)?(e[+-]\d+)?|-?inf|nan")


class Curve:
    """The curve in a run's folder, to be written.

    Args:
        folder: of the run.
        step: that it goes on from; later rows, and those that are torn, are dropped.
    """

    def __init__(self, folder: Path, step: int) -> None:
        self._path = folder / CURVE
        self._head: list[str] = []
        if self._path.is_file():
            self._mend(step)

    def add(self, step: int, seconds: float, figures: Mapping[str, float]) -> None:
        """Write a row; other figures than before begin another curve."""
        head = [STEP, SECONDS, *figures]
        fresh = head != self._head
        with self._path.open("w" if fresh else "a", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            if fresh:
                writer.writerow(head)
            writer.writerow([step, f"{seconds:.0f}", *(f"{value:.5g}" for value in figures.values())])
        self._head = head

    def _mend(self, step: int) -> None:
        head, *rows = _rows(self._path)
        kept = [row for row in rows if _is_whole(row, head) and float(row[0]) <= step]
        if not kept:
            self._path.unlink()
            return
        text = io.StringIO()
        csv.writer(text).writerows([head, *kept])
        with write_beside(self._path) as file:
            file.write(text.getvalue().encode())
        self._head = head


def read_curve(path: Path) -> dict[str, np.ndarray]:
    """The columns of a curve, ``[rows]`` each.

    Raises:
        InputError: the file is no curve, or has no rows.
    """
    head, *rows = _rows(path)
    if not {STEP, SECONDS} <= set(head) or not rows or not all(_is_whole(row, head) for row in rows):
        raise InputError(
            f"{path} is no training curve: it needs columns {STEP!r} and {SECONDS!r} and whole rows.", field="curve"
        )
    return dict(zip(head, np.array(rows, np.float64).T, strict=True))


def _rows(path: Path) -> list[list[str]]:
    """All lines that were ended, at least an empty head."""
    text = path.read_text(encoding="utf-8", errors="replace")
    return list(csv.reader(text[: text.rfind("\n") + 1].splitlines())) or [[]]


def _is_whole(row: list[str], head: list[str]) -> bool:
    return bool(row) and len(row) == len(head) and all(_NUMBER.fullmatch(cell) for cell in row)
