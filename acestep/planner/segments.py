"""The kinds of stretch that a planner's answer is made of, each a small automaton over UTF-8 bytes.

In: where one is inside a stretch, and the next byte or control token. Out: where one is then, or None for "not
allowed". Places are small hashable values. Bytes, not characters: a token of a byte-level vocabulary may hold only
part of a character, and every stretch keeps account of characters that are not complete yet.
Refuses to know which stretches follow each other (``grammar``) and how many tokens there are (``token_mask``).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import NamedTuple

NEWLINE, BLANK = ord("\n"), ord(" ")
_DOUBLE_QUOTE, _BACKTICK, _DELETE = ord('"'), ord("`"), 0x7F
_ASCII_WORDS = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
_CONTINUATION = (0x80, 0xBF)
# First byte of a character -> how many more follow, and the range of the next one (Unicode 15, table 3-7). Of C2 only
# the upper half: the lower one is control characters.
_LEADS = (
    ((0xC2, 0xC2), 1, (0xA0, 0xBF)),
    ((0xC3, 0xDF), 1, _CONTINUATION),
    ((0xE0, 0xE0), 2, (0xA0, 0xBF)),
    ((0xE1, 0xEC), 2, _CONTINUATION),
    ((0xED, 0xED), 2, (0x80, 0x9F)),
    ((0xEE, 0xEF), 2, _CONTINUATION),
    ((0xF0, 0xF0), 3, (0x90, 0xBF)),
    ((0xF1, 0xF3), 3, _CONTINUATION),
    ((0xF4, 0xF4), 3, (0x80, 0x8F)),
)


class Rest(NamedTuple):
    """What is still missing of a character: how many bytes, and the range of the next."""

    bytes: int = 0
    lowest: int = 0
    highest: int = 0


WHOLE = Rest()


def character_step(rest: Rest, byte: int) -> Rest | None:
    """Read one byte of printable text; control characters and what is not UTF-8 are None."""
    if rest.bytes:
        if not rest.lowest <= byte <= rest.highest:
            return None
        return Rest(rest.bytes - 1, *_CONTINUATION) if rest.bytes > 1 else WHOLE
    if BLANK <= byte < _DELETE:
        return WHOLE
    for (first, last), more, allowed in _LEADS:
        if first <= byte <= last:
            return Rest(more, *allowed)
    return None


def narrow(texts: Sequence[bytes], low: int, high: int, depth: int, byte: int) -> tuple[int, int]:
    """Of sorted texts[low:high], all longer than ``depth`` and equal up to there, those that go on with ``byte``."""
    low = bisect_left(texts, byte, low, high, key=lambda text: text[depth])
    return low, bisect_left(texts, byte + 1, low, high, key=lambda text: text[depth])


class ChoicePlace(NamedTuple):
    """The choices still possible, and how much of them is written."""

    low: int
    high: int
    depth: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """One of several literal texts, none the beginning of another; a single one is forced. Equal only to itself.

    Attributes:
        name: of the field, for people.
        texts: sorted.
    """

    name: str
    texts: tuple[bytes, ...]

    @property
    def start(self) -> ChoicePlace:
        """Nothing written."""
        return ChoicePlace(0, len(self.texts))

    def step(self, place: ChoicePlace, byte: int) -> ChoicePlace | None:
        """After one more byte."""
        low, high = narrow(self.texts, place.low, place.high, place.depth, byte)
        return ChoicePlace(low, high, place.depth + 1) if low < high else None

    def next_bytes(self, place: ChoicePlace) -> set[int]:
        """Every byte that may follow."""
        return {text[place.depth] for text in self.texts[place.low : place.high]}

    def only_byte(self, place: ChoicePlace) -> int | None:
        """The next byte when there is no choice."""
        first, last = self.texts[place.low][place.depth], self.texts[place.high - 1][place.depth]
        return first if first == last else None

    def is_done(self, place: ChoicePlace) -> bool:
        """Whether one text is complete."""
        return place.depth == len(self.texts[place.low])


class Line(Enum):
    """Where in a folded text one is."""

    EMPTY = auto()  # nothing of the value is written
    BEFORE_WORDS = auto()  # the first line has marks, but no letter yet
    WORDS = auto()
    STARTED = auto()  # directly after a line's end: the text is over or goes on indented
    INDENTED = auto()  # only blanks in this line so far


class TextPlace(NamedTuple):
    """Where one is in a free text; ``pieces`` counts tokens."""

    line: Line
    rest: Rest = WHOLE
    pieces: int = 0


@dataclass(frozen=True, slots=True)
class FoldedText:
    """A free value of one field: a line with words in it, and indented lines while it goes on; no empty line.

    It is over when a line has ended and no blank follows. Backticks and control characters are not part of it; nor
    does it begin with a double quote, behind which YAML could spell the latter.

    Attributes:
        name: of the field.
        pieces: tokens after which the character and line in hand are finished, then no more.
    """

    name: str
    pieces: int

    @property
    def start(self) -> TextPlace:
        """Behind the field's name."""
        return TextPlace(Line.EMPTY)

    def is_full(self, place: TextPlace) -> bool:
        """Whether the value has to come to its end."""
        return place.pieces >= self.pieces

    def step(self, place: TextPlace, byte: int) -> TextPlace | None:
        """After one more byte."""
        line, rest, pieces = place
        if rest.bytes:
            after = character_step(rest, byte)
            return None if after is None else TextPlace(line, after, pieces)
        if byte == NEWLINE:
            return TextPlace(Line.STARTED, WHOLE, pieces) if line is Line.WORDS else None
        after = character_step(WHOLE, byte)
        line_after = self._line_after(place, byte)
        if after is None or line_after is None or byte == _BACKTICK:
            return None
        return TextPlace(line_after, after, pieces)

    def _line_after(self, place: TextPlace, byte: int) -> Line | None:
        """The line after the first byte of a character."""
        wordy = byte in _ASCII_WORDS or byte > _DELETE
        full = self.is_full(place)
        match place.line:
            case Line.EMPTY | Line.BEFORE_WORDS if not wordy:
                escapes = place.line is Line.EMPTY and byte == _DOUBLE_QUOTE
                return None if full or escapes or byte == BLANK else Line.BEFORE_WORDS
            case Line.EMPTY | Line.BEFORE_WORDS:
                return Line.WORDS
            case Line.WORDS:
                return None if full else Line.WORDS
            case Line.STARTED:
                return Line.INDENTED if byte == BLANK and not full else None
            case Line.INDENTED:
                return Line.WORDS if byte != BLANK else None if full else Line.INDENTED

    def is_plain(self, place: TextPlace) -> bool:
        """Whether any run of whole printable characters may follow, and leads back here."""
        return place.line is Line.WORDS and not place.rest.bytes and not self.is_full(place)

    def may_leave(self, place: TextPlace) -> bool:
        """Whether the next stretch may begin."""
        return place.line is Line.STARTED


@dataclass(frozen=True, slots=True)
class OpenText:
    """Free lines, empty ones included: the lyrics a model writes. Over at any whole character."""

    name: str
    pieces: int

    @property
    def start(self) -> TextPlace:
        """Nothing written; what a place says of its line means nothing here."""
        return TextPlace(Line.WORDS)

    def is_full(self, place: TextPlace) -> bool:
        """Whether only the character in hand may be finished."""
        return place.pieces >= self.pieces

    def step(self, place: TextPlace, byte: int) -> TextPlace | None:
        """After one more byte."""
        line, rest, pieces = place
        if not rest.bytes and (self.is_full(place) or byte == _BACKTICK):
            return None
        after = WHOLE if byte == NEWLINE and not rest.bytes else character_step(rest, byte)
        return None if after is None else TextPlace(line, after, pieces)

    def is_plain(self, place: TextPlace) -> bool:
        """Whether any run of whole printable characters may follow."""
        return not place.rest.bytes and not self.is_full(place)

    def may_leave(self, place: TextPlace) -> bool:
        """Whether the next stretch may begin."""
        return not place.rest.bytes


@dataclass(frozen=True, slots=True)
class Control:
    """One control token, whole; ordinary tokens that spell it out do not count."""

    name: str
    token: bytes


@dataclass(frozen=True, slots=True)
class Codes:
    """Semantic codes, as many as the song is long; the place is how many there are.

    Attributes:
        fewest: before these the turn cannot end.
        most: after these only its end is allowed.
        codebook_size: codes are 0 to this - 1.
    """

    name: str
    fewest: int
    most: int
    codebook_size: int


Segment = Choice | FoldedText | OpenText | Control | Codes
