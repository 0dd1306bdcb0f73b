"""Rules about the words to sing: how long lines are, what they are written in, what sounds made by a machine.

In: a ``Song``. Out: findings. The rules are those of the published guide to the model, chapter "lyrics", in our
words.
Left out on purpose: rhyme and mixed metaphors, which no short rule tells from good writing.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise

from acestep.linting.findings import LYRICS, Finding, at, hint, listed, warning
from acestep.linting.script import Line, Section
from acestep.linting.song import Song
from acestep.linting.vocabulary import any_of

SYLLABLES = (6, 10)  # sing best
GRACE = 2  # counts are estimates, and 4 or 12 can sing well too
BREATH = 16  # syllables that one breath carries
MORAE_PER_SYLLABLE = 1.4  # Japanese is sung faster
JUMP_RATIO, JUMP = 2.3, 8  # 6 beside 14
SAME_PLACE, SAME_PLACE_FAR = 2, 6  # syllables between lines in the same place of repeated sections
SHOUTED_LINES = 4

_CALL = re.compile(
    r"(?:(?:y?eah++|ye|o++h++|a++h++|u++h++|e++h++|hey++|e[jy]|wo++|whoa++|ya|na|la|da|doo++|mm++|hm++|go|come on"
    r"|let['’]s go|啊|哦|嘿|啦|呜|ああ|ラ|예|오)[\s,.!?~…-]*+)+",
    re.IGNORECASE,
)
_STRETCHED = re.compile(r"\b\w*?([aeiouyäöüáéíóúàèìòù])\1{2,}\w*", re.IGNORECASE)
_SPACES = re.compile(r"\S(?: {2,}| *\t[ \t]*)\S|^[ \t]+\S|\S[ \t]+$")
_WORN = any_of(
    "neon electric endless shattered burning broken crimson silver golden infinite eternal cosmic velvet whispered "
    "shimmering distant fading shadowed hollow restless timeless boundless glowing radiant fractured"
)


def syllables(song: Song) -> Iterator[Finding]:
    """Six to ten syllables a line sing best, because they are laid onto beats; one hint a section."""
    low, high = _limits(song, SYLLABLES[0] - GRACE, SYLLABLES[1] + GRACE)
    for section in _sung_sections(song):
        odd = tuple(line for line in section.lines if not low <= line.syllables <= high and not _is_call(line))
        if odd:
            counts = listed(tuple(line.syllables for line in odd))
            where = (
                f"line {odd[0].number}" if len(odd) == 1 else f"lines {listed(tuple(line.number for line in odd))}"
            )
            verb = "has" if len(odd) == 1 else "have"
            best = f"{SYLLABLES[0]} to {_limits(song, *SYLLABLES)[1]} sing best"
            yield hint(
                "syllables", at(odd[0].number), f"{where.capitalize()} {verb} about {counts} {_unit(song)}; {best}."
            )


def long_lines(song: Song) -> Iterator[Finding]:
    """A line must fit in one breath, or it is rushed."""
    _, breath = _limits(song, 0, BREATH)
    long = tuple(line for section in _sung_sections(song) for line in section.lines if line.syllables > breath)
    if long:
        worst = max(long, key=lambda line: line.syllables)
        others = f", and {len(long) - 1} more are too long" if len(long) > 1 else ""
        yield warning(
            "long-lines",
            at(worst.number),
            f"About {worst.syllables} {_unit(song)} are too many for one breath{others}; break the line in two.",
        )


def uneven_lines(song: Song) -> Iterator[Finding]:
    """A line with far more syllables than its neighbour breaks the rhythm."""
    least = JUMP * (MORAE_PER_SYLLABLE if _is_japanese(song) else 1)
    for section in _sung_sections(song):
        sung = [line for line in section.lines if not _is_call(line)]
        for one, other in pairwise(sung):
            short, long = sorted((one.syllables, other.syllables))
            if long - short >= least and long >= JUMP_RATIO * short:
                yield warning(
                    "uneven-lines",
                    at(one.number),
                    f"About {one.syllables} {_unit(song)} are followed by {other.syllables}; bring the lines closer.",
                )
                break


def uneven_sections(song: Song) -> Iterator[Finding]:
    """Lines in the same place of repeated sections share a melody, so their syllables differ by two at most."""
    for kind, sections in _repeated(song).items():
        first = sections[0]
        for other in sections[1:]:
            apart = [
                (one, two)
                for one, two in zip(first.lines, other.lines, strict=False)
                if abs(one.syllables - two.syllables) > SAME_PLACE and not (_is_call(one) or _is_call(two))
            ]
            if apart:
                yield _uneven(song, kind, apart)
                break


def stretched_vowels(song: Song) -> Iterator[Finding]:
    """Repeated vowels hold a note, sometimes; now and then they are ignored or mispronounced."""
    found = tuple(match[0] for line in _sung(song) for match in _STRETCHED.finditer(line.text) if not _is_call(line))
    if found:
        first = next(line.number for line in _sung(song) if found[0] in line.text)
        yield hint(
            "stretched-vowels", at(first), f"'{found[0]}' may be ignored or mispronounced; stretch vowels sparingly."
        )


def shouting(song: Song) -> Iterator[Finding]:
    """Capitals are sung with force; where all is in capitals nothing stands out."""
    lines = [line for line in _sung(song) if any(letter.islower() or letter.isupper() for letter in line.text)]
    if len(lines) >= SHOUTED_LINES and all(line.text.isupper() for line in lines):
        yield hint(
            "shouting", LYRICS, "Every line is in capitals, which is sung with force; keep them for the peaks."
        )


def extra_spaces(song: Song) -> Iterator[Finding]:
    """Users report words skipped where spaces are doubled, lead or trail."""
    rows = tuple(number for number, row in enumerate(song.script.text.splitlines(), 1) if _SPACES.search(row))
    if rows:
        where = f"{'Line' if len(rows) == 1 else 'Lines'} {listed(rows)}"
        verb = "has" if len(rows) == 1 else "have"
        yield warning(
            "extra-spaces", at(rows[0]), f"{where} {verb} extra spaces, which can make words skipped; remove them."
        )


def worn_images(song: Song) -> Iterator[Finding]:
    """Lists of an adjective and a noun each ("neon skies, electric hearts, endless dreams") say nothing."""
    for line in _sung(song):
        pairs = [part.split() for part in re.split(r"[,;]", line.text) if part.strip()]
        if (
            len(pairs) >= 3
            and all(len(pair) == 2 for pair in pairs)
            and sum(bool(_WORN.match(pair[0])) for pair in pairs) >= 2
        ):
            yield hint(
                "worn-images", at(line.number), "Adjectives are stacked on vague images; show one image in detail."
            )


def _sung(song: Song) -> tuple[Line, ...]:
    return song.script.lines if song.is_sung else ()


def _sung_sections(song: Song) -> tuple[Section, ...]:
    return song.script.sections if song.is_sung else ()


def _repeated(song: Song) -> dict[str, list[Section]]:
    """Sections of one kind, in order, where there are several."""
    found: dict[str, list[Section]] = defaultdict(list)
    for section in _sung_sections(song):
        if section.tag and section.lines:
            found[section.tag.kind].append(section)
    return {kind: sections for kind, sections in found.items() if len(sections) > 1}


def _uneven(song: Song, kind: str, apart: list[tuple[Line, Line]]) -> Finding:
    one, other = max(apart, key=lambda pair: abs(pair[0].syllables - pair[1].syllables))
    severe = abs(one.syllables - other.syllables) > SAME_PLACE_FAR * (MORAE_PER_SYLLABLE if _is_japanese(song) else 1)
    return (warning if severe else hint)(
        "uneven-sections",
        at(other.number),
        f"About {other.syllables} {_unit(song)} stand where line {one.number}, in the same place of a {kind}, "
        f"has {one.syllables}; keep the same place within {SAME_PLACE}.",
    )


def _is_call(line: Line) -> bool:
    """True for a shout or a hummed line, which may be as short as it likes."""
    return _CALL.fullmatch(line.text.strip("()（） ")) is not None


def _is_japanese(song: Song) -> bool:
    return song.script.language == "ja" or "HIRAGANA" in song.script.scripts


def _unit(song: Song) -> str:
    return "morae" if _is_japanese(song) else "syllables"


def _limits(song: Song, low: int, high: int) -> tuple[int, int]:
    """Bounds in the unit of the language."""
    return low, round(high * (MORAE_PER_SYLLABLE if _is_japanese(song) else 1))


RULES = (
    syllables,
    long_lines,
    uneven_lines,
    uneven_sections,
    stretched_vowels,
    shouting,
    extra_spaces,
    worn_images,
)
