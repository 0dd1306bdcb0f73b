"""Figures out of observations, and where both are kept: one JSON file that grows song by song, and a Markdown table.

In: observations. Out: ``Figure``s with standard errors and chance levels, JSON, a table. Refuses to know how songs
are made and heard.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from acestep.errors import InputError
from acestep.training.evaluation.observe import Observation
from acestep.training.evaluation.rows import ROWS, Question, Row, Unit
from acestep.training.files import write_beside
from acestep.training.songs import HELD_OUT_SEED

NOT_ASKED = "not measured"


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table.

    Attributes:
        row, what: the experiment, and the question it answers.
        unit: of all figures here; ``%`` counts from 0 to 1.
        value, error: mean over songs and its standard error; None was not measured.
        songs: that could answer.
        chance: what the same outcomes score against every other song's request, mean over all pairs.
        ear: what the same analyser scores on the songs as they were composed and rendered.
        needed, aim: figures to reach.
        met: whether ``value`` reaches ``needed``, or else ``aim``.
        note: why there is no value.
    """

    row: str
    what: str
    unit: Unit
    value: float | None = None
    error: float | None = None
    songs: int = 0
    chance: float | None = None
    ear: float | None = None
    needed: float | None = None
    aim: float | None = None
    met: bool | None = None
    note: str = ""


class Ledger:
    """The observations of one set of weights, on disk.

    Args:
        path: of the JSON file; what it holds is taken up again.
        digest: of the weights.

    Raises:
        InputError: the file is about other weights, or none of ours.
    """

    def __init__(self, path: Path, digest: str) -> None:
        self.path, self.digest = path, digest
        self.rows: dict[str, dict[str, Any]] = _read(path, digest) if path.is_file() else {}

    def missing(self, row: Row, numbers: Sequence[int]) -> list[int]:
        """Songs of ``numbers`` that the row has not observed."""
        seen = self.rows.get(row.name, {}).get("songs", {})
        return [number for number in numbers if str(HELD_OUT_SEED + number) not in seen]

    def forget(self, row: Row) -> None:
        """Measure the row again."""
        self.rows.pop(row.name, None)

    def add(self, row: Row, number: int, observation: Observation, seconds: float) -> None:
        """Enter one song of one row, and the seconds it took."""
        entry = self.rows.setdefault(row.name, {"seconds": 0.0, "songs": {}})
        entry["seconds"] = round(entry["seconds"] + seconds, 2)
        entry["songs"][str(HELD_OUT_SEED + number)] = asdict(observation)

    def observations(self, row: Row) -> list[Observation]:
        """By seed, so that figures do not depend on the order of work."""
        entries = self.rows.get(row.name, {}).get("songs", {})
        return [Observation(**entries[seed]) for seed in sorted(entries, key=int)]

    def figures(self) -> list[Figure]:
        """Every line of the table."""
        return [figure for row in ROWS for figure in figures_of(row, self.observations(row))]

    def save(self) -> None:
        """Write everything; a full disk leaves the file as it was."""
        content = {
            "weights": self.digest,
            "first_seed": HELD_OUT_SEED,
            "figures": [asdict(figure) for figure in self.figures()],
            "rows": self.rows,
        }
        with write_beside(self.path) as file:
            file.write(json.dumps(content, ensure_ascii=False).encode())


def figures_of(row: Row, observations: Sequence[Observation]) -> Iterator[Figure]:
    """The answers to a row's questions."""
    for question in row.questions:
        if observations:
            yield _answer(row, question, observations)
        else:
            goals = {"needed": question.needed, "aim": question.aim}
            yield Figure(row.name, question.what, question.unit, **goals, note=NOT_ASKED)


def _answer(row: Row, question: Question, observations: Sequence[Observation]) -> Figure:
    scores = _scores(question, [(seen.asked, seen.heard) for seen in observations])
    if not scores:
        goals = {"needed": question.needed, "aim": question.aim}
        return Figure(row.name, question.what, question.unit, **goals, note="no song could answer")
    value = float(np.mean(scores))
    error = float(np.std(scores, ddof=1) / math.sqrt(len(scores))) if len(scores) > 1 else None
    needed = error if question.beyond_error else question.needed
    return Figure(
        row=row.name,
        what=question.what,
        unit=question.unit,
        value=value,
        error=error,
        songs=len(scores),
        chance=_chance(question, observations) if question.shuffled else None,
        ear=_mean(_scores(question, [(seen.asked, seen.truth) for seen in observations if seen.truth is not None])),
        needed=needed,
        aim=question.aim,
        met=_met(question, value, needed),
    )


def _chance(question: Question, observations: Sequence[Observation]) -> float | None:
    """The mean over all shufflings that leave no song its own request."""
    pairs = [(other.asked, one.heard) for one in observations for other in observations if one is not other]
    return _mean(_scores(question, pairs))


def _scores(question: Question, pairs: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> list[float]:
    scores = (question.score(asked, heard) for asked, heard in pairs)
    return [float(score) for score in scores if score is not None]


def _mean(scores: Sequence[float]) -> float | None:
    return float(np.mean(scores)) if scores else None


def _met(question: Question, value: float, needed: float | None) -> bool | None:
    goal = question.aim if needed is None else needed
    if goal is None:
        return None
    if question.beyond_error:
        return value > goal
    return value <= goal if question.less else value >= goal


def markdown(figures: Sequence[Figure]) -> str:
    """The table."""
    head = ("what", "measured", "chance", "the ear on composed songs", "needed", "aim", "songs")
    lines = [_line(head), _line(["---"] * len(head)), *(_line(_cells(figure)) for figure in figures)]
    return "\n".join(lines) + "\n"


def _cells(figure: Figure) -> tuple[str, ...]:
    measured = figure.note or _shown(figure.value, figure.unit, figure.error)
    rest = (_shown(value, figure.unit) for value in (figure.chance, figure.ear, figure.needed, figure.aim))
    return (figure.what, measured, *rest, str(figure.songs or ""))


def _shown(value: float | None, unit: Unit, error: float | None = None) -> str:
    if value is None:
        return ""
    factor, digits = {"%": (100.0, 0), "dB": (1.0, 1), "": (1.0, 2)}[unit]
    spread = "" if error is None else f" ± {error * factor:.{digits}f}"
    return f"{value * factor:.{digits}f}{spread} {unit}".rstrip()


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


@dataclass(frozen=True, slots=True)
class Summary:
    """An evaluation without its single songs.

    Attributes:
        weights: digest of those it is about.
        first_seed: of the held-out songs.
        figures: the table.
    """

    weights: str
    first_seed: int
    figures: list[Figure]

    def to_json(self) -> str:
        """As a file, in the words of the evaluation's own."""
        return json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n"


def read_summary(path: Path) -> Summary:
    """Of an evaluation's JSON.

    Raises:
        InputError: the file is not one.
    """
    content = _content(path)
    try:
        figures = [Figure(**entry) for entry in content["figures"]]
    except TypeError as error:
        raise InputError(f"{path} is not an evaluation of ours: {error}.", field="evaluation") from error
    return Summary(content["weights"], content["first_seed"], figures)


def _read(path: Path, digest: str) -> dict[str, dict[str, Any]]:
    content = _content(path)
    if content["weights"] != digest:
        raise InputError(
            f"{path} is about other weights ({content['weights'][:12]}, not {digest[:12]}); "
            "name another file, or measure everything again with --again."
        )
    return content["rows"]


def _content(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as an evaluation: {error}.", field="evaluation") from error
    if not isinstance(content, dict) or not {"weights", "first_seed", "figures", "rows"} <= set(content):
        raise InputError(
            f"{path} is not an evaluation: it lacks weights, first_seed, figures or rows.", field="evaluation"
        )
    return content
