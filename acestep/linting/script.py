"""Lyrics read as a script: sections under structure tags, lines to sing, marks of language.

In: lyrics as typed. Out: a frozen ``Script``. Refuses to judge; whatever is typed can be read.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

from acestep.constants import LANGUAGES
from acestep.linting.syllables import count_syllables, script_of

SECTION_NAMES = (
    "intro|verse|pre-?chorus|post-?chorus|chorus|bridge|outro|hook|drop|breakdown|build(?:-?up)?|break|interlude|solo"
    "|instrumental|refrain|coda|main theme|theme|climax|finale"
)
_SECTION = re.compile(rf"\b(?:{SECTION_NAMES})s?\b", re.IGNORECASE)
_FADES = re.compile(r"\b(?:fad\w+|ends?|stops?)\b", re.IGNORECASE)
TAG = re.compile(r"\[([^\[\]]*)\]")
_TAG_LINE = re.compile(r"\s*\[([^\[\]]*)\]\s*")
_LANGUAGE_MARK = re.compile(rf"^\s*\[(?:{'|'.join(LANGUAGES)})\](?:\s+|$)")
_MODIFIER = re.compile(r"\s+[-–—]\s+|\s*[:,;|]\s*")
_ENGLISH = frozenset("the and you your of with that this for are from when i'm it's don't".split())
_ENGLISH_SHARE = 0.08  # of the words of an English text, at least


@dataclass(frozen=True, slots=True)
class Tag:
    """One structure tag.

    Attributes:
        line: its line, from 1.
        text: what stands between the brackets.
    """

    line: int
    text: str

    @property
    def parts(self) -> tuple[str, ...]:
        """Its name and the modifiers after dashes, commas or colons."""
        return tuple(part for part in _MODIFIER.split(" ".join(self.text.split())) if part)

    @property
    def is_section(self) -> bool:
        """True when it begins a part of the song, not only says how to play on."""
        name = self.parts[0] if self.parts else ""
        return _SECTION.search(name) is not None and _FADES.search(name) is None

    @property
    def kind(self) -> str:
        """``verse`` of ``[Verse 2 - soft]``: what repeated sections have in common."""
        found = _SECTION.search(self.text)
        return found[0].lower().replace("-", "") if found else ""


@dataclass(frozen=True, slots=True)
class Line:
    """One line to sing: its number from 1, its words, and about how many syllables they have."""

    number: int
    text: str
    syllables: int


@dataclass(frozen=True, slots=True)
class Section:
    """A tag that begins a section, or None before the first, and the lines sung under it."""

    tag: Tag | None
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class Script:
    """Lyrics.

    Attributes:
        text: as typed.
        language: a code, ``unknown`` where neither the caller nor the words tell.
    """

    text: str
    language: str

    @cached_property
    def rows(self) -> tuple[str, ...]:
        """Every line without a mark of language such as ``[zh]`` before it."""
        return tuple(_LANGUAGE_MARK.sub("", row) for row in self.text.splitlines())

    @cached_property
    def tags(self) -> tuple[Tag, ...]:
        """Every structure tag, wherever it stands."""
        return tuple(
            Tag(number, found.strip()) for number, row in enumerate(self.rows, 1) for found in TAG.findall(row)
        )

    @cached_property
    def lines(self) -> tuple[Line, ...]:
        """Every line with something to sing."""
        return tuple(line for section in self.sections for line in section.lines)

    @cached_property
    def sections(self) -> tuple[Section, ...]:
        """The song in order; a tag that only says how to play on does not begin a section."""
        found: list[tuple[Tag | None, list[Line]]] = [(None, [])]
        for number, row in enumerate(self.rows, 1):
            tag = tag_of(row)
            if tag is None:
                words = TAG.sub(" ", row).strip()
                found[-1][1].extend([Line(number, words, count_syllables(words, self.language))] if words else [])
            elif Tag(number, tag).is_section:
                found.append((Tag(number, tag), []))
        return tuple(Section(tag, tuple(lines)) for tag, lines in found if tag or lines)

    @cached_property
    def scripts(self) -> dict[str, float]:
        """Share of the letters to sing by script, the largest first."""
        letters = [script_of(letter) for line in self.lines for letter in line.text]
        known = [letter for letter in letters if letter]
        return {name: known.count(name) / len(known) for name in sorted(set(known), key=known.count, reverse=True)}


def read_script(lyrics: str, language: str) -> Script:
    """Lyrics as a script; where the language is unknown, English is recognised by its small words."""
    if language == "unknown" and is_english(TAG.sub(" ", lyrics)):
        language = "en"
    return Script(lyrics, language)


def tag_of(row: str) -> str | None:
    """What stands in the brackets of a line that is one tag, or None."""
    found = _TAG_LINE.fullmatch(row)
    return found[1].strip() if found else None


def is_english(text: str) -> bool:
    """True for a text with as many of the smallest words as English has."""
    words = re.findall(r"[^\W\d_]+(?:'[^\W\d_]+)*", text.lower().replace("’", "'"))
    return bool(words) and sum(word in _ENGLISH for word in words) >= _ENGLISH_SHARE * len(words)
