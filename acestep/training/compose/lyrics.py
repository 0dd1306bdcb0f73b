"""Lines to sing: drawn from word lists, cut into syllables, rhymed in pairs where the language's lists allow it.

In: a language, how many syllables fit. Out: lines of text with their syllables.
Refuses to know notes, bars and sections.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from acestep.training.compose.words import ENGLISH_RHYMES, ENGLISH_TEMPLATES, ENGLISH_WORDS, HALVES

LANGUAGES_SUNG = ("en", *HALVES)
ENGLISH_SHARE = 0.65
SYLLABLES_MAX = 12  # every line can be this short; the shortest phrase has room for as many notes
_ATTEMPTS = 8
_UNSPACED = frozenset({"zh", "ja"})
# Small kana, long marks and the syllabic nasal belong to the mora before them.
_MORA = re.compile(r".[ゃゅょぁぃぅぇぉャュョァィゥェォーんンっッ]*")


@dataclass(frozen=True, slots=True)
class SungText:
    """A line as it is written and the syllables it is sung in; joined, they are the text without its spaces."""

    text: str
    syllables: tuple[str, ...]


def draw_language(rng: random.Random) -> str:
    """English two times out of three, else one of the others."""
    return "en" if rng.random() < ENGLISH_SHARE else rng.choice(tuple(HALVES))


def write_lines(language: str, count: int, syllables_max: int, rng: random.Random) -> list[SungText]:
    """``count`` lines of ``syllables_max`` syllables if words allow, at most of ``SYLLABLES_MAX``."""
    write = _english(rng) if language == "en" else _halves(language, rng)
    return [_fitting(write, syllables_max) for _ in range(count)]


def _fitting(write: Iterator[Callable[[], SungText]], syllables_max: int) -> SungText:
    """The shortest of a few attempts at a line, or the first one that fits; never over ``SYLLABLES_MAX``."""
    attempt = next(write)
    shortest, tries = attempt(), 1
    while len(shortest.syllables) > (syllables_max if tries < _ATTEMPTS else SYLLABLES_MAX):
        shortest, tries = min(shortest, attempt(), key=lambda line: len(line.syllables)), tries + 1
    return shortest


def _english(rng: random.Random) -> Iterator[Callable[[], SungText]]:
    """A writer for each line; two in a row end on words that rhyme."""
    while True:
        for rhyme in rng.sample(rng.choice(ENGLISH_RHYMES), 2):
            yield lambda rhyme=rhyme: _cut(" ".join(_filled(rng, rhyme)))


def _filled(rng: random.Random, rhyme: str) -> list[str]:
    words = rng.choice(ENGLISH_TEMPLATES).split()
    filled = [rng.choice(ENGLISH_WORDS[word]) if word in ENGLISH_WORDS else word for word in words]
    return [rhyme if word == "R" else word for word in filled]


def _halves(language: str, rng: random.Random) -> Iterator[Callable[[], SungText]]:
    """A writer for each line: any first half, then any second half."""
    first, second = HALVES[language]
    joiner = "" if language in _UNSPACED else " "
    cut = _cut_unspaced if language in _UNSPACED else _cut
    while True:
        yield lambda: cut(rng.choice(first) + joiner + rng.choice(second))


def _cut(hyphenated: str) -> SungText:
    """A line of spaced words; its first letter becomes a capital."""
    line = hyphenated[0].upper() + hyphenated[1:]
    return SungText(line.replace("-", ""), tuple(line.replace(" ", "-").split("-")))


def _cut_unspaced(line: str) -> SungText:
    return SungText(line, tuple(_MORA.findall(line)))
