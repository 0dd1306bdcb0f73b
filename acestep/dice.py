"""Random captions and wishes to begin with, all written for this project.

In: a seed, and what kind and language is wanted. Out: an entry of ``data/dice.json``; the same seed gives the same
one. Refuses to know what is made of it.
"""

from __future__ import annotations

import json
import random
from dataclasses import asdict, dataclass
from functools import lru_cache
from importlib.resources import files

from acestep.errors import InputError
from acestep.seeds import check_seed

CAPTION, QUERY = "caption", "query"
KINDS = (CAPTION, QUERY)


@dataclass(frozen=True, slots=True)
class Entry:
    """Something to begin a song with.

    Attributes:
        kind: ``caption`` describes the music; ``query`` is a wish, from which the planner writes everything.
        language: a code of ``constants.LANGUAGES``: of the text, and of the singing.
        instrumental: nobody sings.
        text: the words.
    """

    kind: str
    language: str
    instrumental: bool
    text: str

    def to_dict(self) -> dict[str, str | bool]:
        """As JSON takes it."""
        return asdict(self)


def roll(seed: int | None = None, *, kind: str | None = None, language: str | None = None) -> Entry:
    """One entry.

    Args:
        seed: the same seed gives the same entry; None and -1 are random.
        kind: ``caption`` or ``query``; None is either.
        language: a code; None is any.

    Raises:
        InputError: seed out of range, unknown kind, or a language without entries.
    """
    return throw(1, seed, kind=kind, language=language)[0]


def throw(
    count: int, seed: int | None = None, *, kind: str | None = None, language: str | None = None
) -> tuple[Entry, ...]:
    """Different entries; the first is that of ``roll`` with the same seed.

    Raises:
        InputError: as ``roll``; fewer entries than asked for.
    """
    chosen = list(entries(kind=kind, language=language))
    if not 1 <= count <= len(chosen):
        raise InputError.must("count", f"be from 1 to {len(chosen)}, as many entries as there are", count)
    given = None if seed is None or check_seed(seed) < 0 else seed
    random.Random(given).shuffle(chosen)
    return tuple(chosen[:count])


def entries(*, kind: str | None = None, language: str | None = None) -> tuple[Entry, ...]:
    """All entries of a kind and a language, in the order of the file.

    Raises:
        InputError: unknown kind, or a language without entries.
    """
    if kind is not None and kind not in KINDS:
        raise InputError.unknown("kind", kind, KINDS)
    of_kind = [entry for entry in _all() if kind in (None, entry.kind)]
    languages = sorted({entry.language for entry in of_kind})
    if language is not None and language not in languages:
        raise InputError.unknown("language", language, languages)
    return tuple(entry for entry in of_kind if language in (None, entry.language))


@lru_cache(maxsize=1)
def _all() -> tuple[Entry, ...]:
    text = files("acestep").joinpath("data", "dice.json").read_text(encoding="utf-8")
    return tuple(Entry(**row) for row in json.loads(text))
