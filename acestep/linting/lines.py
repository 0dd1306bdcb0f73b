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

from acestep.linting.findings import LYRICS, Finding, at, clipped, hint, listed, numbered, warning
from acestep.linting.script import Line, Section
from acestep.linting.song import Song
from acestep.linting.vocabulary import any_of

SYLLABLES = (6, 10)  # sing best
GRACE = 2  # counts are estimates, and 4 or 12 can sing well too
BREATH, RAPPED_BREATH = 16, 24  # syllables that one breath carries
MORAE_PER_SYLLABLE = 1.4  # Japanese is sung faster
JUMP_RATIO, JUMP = 2.3, 8  # 6 beside 14
SAME_PLACE, SAME_PLACE_FAR = 2, 6  # syllables between lines in the same place of repeated sections
SHOUTED_LINES = 4
LISTED_AT_MOST = 6  # lines whose syllables are told

_CALL = re.compile(
    r"(?:(?:y?eah++|ye|o++h++|a++h++|u++h++|e++h++|hey++|e[jy]|wo++|whoa++|ya|na|la|da|doo++|mm++|hm++|go|come on"
    r"|let['’]s go|啊|哦|嘿|啦|呜|ああ|ラ|예|오)[\s,.!?~…-]*+)+",
    re.IGNORECASE,
)
_STRETCHED = re.compile(r"\b\w*?([aeiouyäöüáéíóúàèìòù])\1{2,}\w*", re.IGNORECASE)
_SPACES = re.compile(r"\S(?: {2,}| *\t[ \t]*)\S|^[ \t]+\S")
_RAPPED = any_of("rap(?:s|ped|pers?|ping)? hip_hop trap drill grime boom_bap spoken(?:_word)?")
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
            best = f"{SYLLABLES[0]} to {_limits(song, *SYLLABLES)[1]} sing best"
            found = f"{_counted(song, odd[0].syllables)}{_with_others(odd[1:])}"
            yield hint("syllables", at(odd[0].number), f"The line has about {found}; {best}.")


def long_lines(song: Song) -> Iterator[Finding]:
    """A line must fit in one breath, or it is rushed."""
    long = tuple(line for section in _sung_sections(song) for line in _beyond_breath(song, section))
    if long:
        worst = max(long, key=lambda line: line.syllables)
        more = len(long) - 1
        others = f", and {more} more {'is' if more == 1 else 'are'} too long" if more else ""
        yield warning(
            "long-lines",
            at(worst.number),
            f"About {_counted(song, worst.syllables)} are too many for one breath{others}; break the line in two.",
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
                    f"A line of about {_counted(song, one.syllables)} is followed by one of {other.syllables}; "
                    "bring them closer.",
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
            "stretched-vowels",
            at(first),
            f"'{clipped(found[0])}' may be ignored or mispronounced; stretch vowels sparingly.",
        )


def shouting(song: Song) -> Iterator[Finding]:
    """Capitals are sung with force; where all is in capitals nothing stands out."""
    lines = [line for line in _sung(song) if any(letter.islower() or letter.isupper() for letter in line.text)]
    if len(lines) >= SHOUTED_LINES and all(line.text.isupper() for line in lines):
        yield hint(
            "shouting", LYRICS, "Every line is in capitals, which is sung with force; keep them for the peaks."
        )


def extra_spaces(song: Song) -> Iterator[Finding]:
    """Users report words skipped where spaces are doubled or lead; at the end of a line they are usual."""
    rows = tuple(number for number, row in enumerate(song.script.text.splitlines(), 1) if _SPACES.search(row))
    if rows:
        others = f", here and in {numbered(rows[1:])}" if rows[1:] else ""
        yield hint("extra-spaces", at(rows[0]), f"Extra spaces can make words skipped; remove them{others}.")


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
        f"The line has about {_counted(song, other.syllables)}, and line {one.number}, in the same place of a "
        f"{kind}, has {one.syllables}; keep the same place within {SAME_PLACE}.",
    )


def _is_call(line: Line) -> bool:
    """True for a shout or a hummed line, which may be as short as it likes."""
    return _CALL.fullmatch(line.text.strip("()（） ")) is not None


def _is_japanese(song: Song) -> bool:
    return song.script.language == "ja" or "HIRAGANA" in song.script.scripts


def _beyond_breath(song: Song, section: Section) -> Iterator[Line]:
    """Lines too long for one breath; more where the caption or a tag of the section tells of rap or speech."""
    first, last = section.tag.line if section.tag else 1, section.lines[-1].number if section.lines else 0
    tags = (tag.text for tag in song.script.tags if first <= tag.line <= last)
    rapped = any(_RAPPED.search(text) for text in (song.caption, *tags))
    _, most = _limits(song, 0, RAPPED_BREATH if rapped else BREATH)
    return (line for line in section.lines if line.syllables > most)


def _counted(song: Song, number: int) -> str:
    """``9 syllables``, or in the unit of the language."""
    one, many = ("mora", "morae") if _is_japanese(song) else ("syllable", "syllables")
    return f"{number} {one if number == 1 else many}"


def _with_others(lines: tuple[Line, ...]) -> str:
    """What the lines after the first have: ``, and lines 5 and 6 have 13 and 14``."""
    if not lines:
        return ""
    shown, more = lines[:LISTED_AT_MOST], len(lines) - LISTED_AT_MOST
    verb, counts = "has" if len(lines) == 1 else "have", listed(tuple(line.syllables for line in shown))
    others = f" ({more} more are like these)" if more > 0 else ""
    return f", and {numbered(tuple(line.number for line in shown))} {verb} {counts}{others}"


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
