"""Which of several songs is the best, and the lines that say so: the table of the log, the caption of a picture.

In: scores, as values or as ``Scores.to_dict`` wrote them. Out: an order, and text. Refuses to know where the scores
come from. No torch.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Protocol

from acestep.scoring.scores import Scores

Written = Mapping[str, Any]  # scores as ``Scores.to_dict`` writes them
NOTHING = "-"
COLUMNS = ("song", "seed", "overall", "lyrics", "planner", "tempo", "key", "LUFS", "dBTP")
_GAP = "  "


@dataclass(frozen=True, slots=True)
class Row:
    """A song in the table.

    Attributes:
        song: what it is called there: its number, or its number and its track.
        seed: it was made from.
        scores: of it; None when it was not judged.
    """

    song: str
    seed: int
    scores: Scores | Written | None


class Judged(Protocol):
    """Whatever has a seed and scores."""

    @property
    def seed(self) -> int: ...
    @property
    def scores(self) -> Written: ...


def ranked(scores: Sequence[Scores | Written | None]) -> tuple[int, ...]:
    """Indices, best first; of equals the lower index, and last what has no valid overall score.

    What lacks a part that another of the songs has ranks behind those that lack fewer: its mean is over less, and a
    song that the planner could not hear shall not win by that. Scores that do not say their parts lack none.
    """
    overall, parts = [overall_of(one) for one in scores], [_parts_of(one) for one in scores]
    known = frozenset().union(*filter(None, parts))

    def place(index: int) -> tuple[float, float]:
        value, mine = overall[index], parts[index]
        if value is None:
            return math.inf, 0.0
        return 0 if mine is None else len(known - mine), -value

    return tuple(sorted(range(len(overall)), key=place))


def together(scores: Sequence[Scores | Written | None]) -> Written:
    """Several tracks as one song, to be ranked: means of the valid overall scores, and of the parts that all have."""
    valid = [_written(one) for one in scores if overall_of(one) is not None]
    if not valid:
        return {"overall": None}
    parts = [one["parts"] for one in valid if _parts_of(one) is not None]
    common = [name for name in parts[0] if all(name in other for other in parts)] if parts else None
    means = {} if common is None else {"parts": {name: fmean(one[name] for one in parts) for name in common}}
    return {"overall": fmean(one["overall"] for one in valid), **means}


def overall_of(scores: Scores | Written | None) -> float | None:
    """The overall score, 0 to 1; None when there is none, or none that is a finite number."""
    found = scores.overall if isinstance(scores, Scores) else (scores or {}).get("overall")
    return found if found is not None and math.isfinite(found) else None


def table(rows: Sequence[Row]) -> str:
    """The songs best first, a line each below the names of ``COLUMNS``, at most 100 characters wide.

    ``lyrics`` is the alignment's score, ``planner`` the likelihood's reward; behind tempo and key stands how well
    they agree with what was asked for.
    """
    best_first = [rows[index] for index in ranked([row.scores for row in rows])]
    cells = [COLUMNS, *((row.song, str(row.seed), *_figures(_written(row.scores))) for row in best_first)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(_line(line, widths) for line in cells)


def standing_table(candidates: Iterable[Judged]) -> str:
    """The table of songs that have no numbers but their places."""
    return table([Row(str(place), one.seed, one.scores) for place, one in enumerate(candidates, start=1)])


def caption(place: int, row: Row) -> str:
    """One line about a song: its place, its name, its seed and its scores, those that it has."""
    scores = _written(row.scores)
    overall, lyrics, planner, _, _, loudness, peak = _figures(scores)
    sound = scores.get("sound") or {}
    tempo, key = _number(sound.get("tempo"), 1), sound.get("key") or NOTHING
    facts = (
        ("overall {}", overall),
        ("lyrics {}", lyrics),
        ("planner {}", planner),
        ("{} BPM" + _in_brackets(sound.get("tempo_agreement")), tempo),
        ("{}" + _in_brackets(sound.get("key_agreement")), key),
        ("{} LUFS", loudness),
        ("{} dBTP", peak),
    )
    told = (text.format(value) for text, value in facts if value != NOTHING)
    return "   ".join([f"#{place}", f"song {row.song}", f"seed {row.seed}", *told])


def _parts_of(scores: Scores | Written | None) -> frozenset[str] | None:
    """Names of the parts of the overall score; None where that is not told."""
    parts = scores.parts if isinstance(scores, Scores) else (scores or {}).get("parts")
    return frozenset(parts) if isinstance(parts, Mapping) else None


def _figures(scores: Written) -> tuple[str, ...]:
    """The cells behind the seed."""
    sound = scores.get("sound") or {}
    return (
        _number(scores.get("overall"), 3),
        _number((scores.get("alignment") or {}).get("score"), 2),
        _number((scores.get("likelihood") or {}).get("reward"), 2),
        _agreeing(_number(sound.get("tempo"), 1), sound.get("tempo_agreement")),
        _agreeing(sound.get("key") or NOTHING, sound.get("key_agreement")),
        _number(sound.get("loudness_lufs"), 1),
        _number(sound.get("true_peak_dbtp"), 1),
    )


def _written(scores: Scores | Written | None) -> Written:
    return scores.to_dict() if isinstance(scores, Scores) else scores or {}


def _number(value: float | None, digits: int) -> str:
    return NOTHING if value is None or not math.isfinite(value) else f"{value:z.{digits}f}"


def _agreeing(heard: str, agreement: float | None) -> str:
    return heard if agreement is None else f"{heard} {_number(agreement, 2)}"


def _in_brackets(agreement: float | None) -> str:
    return "" if agreement is None else f" ({_number(agreement, 2)})"


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    """The name stands at the left, for logs may lose space before a line; all else at the right, as numbers do."""
    name, *others = cells
    return _GAP.join([name.ljust(widths[0]), *map(str.rjust, others, widths[1:])])
