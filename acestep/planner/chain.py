"""The planner's chain of thought: what it decides about a song before it writes codes, as text between think tags.

In: values, or the text a model wrote. Out: the text, to the letter as in training, or the values. One ``name: value``
a line in alphabetical order; long captions go on in indented lines. Refuses to know which continuations are legal
(``grammar``), how prompts surround the chain, and tokens.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from acestep.constants import DURATION_MAX_S, DURATION_MIN_S, LANGUAGES, TIME_SIGNATURES
from acestep.errors import InputError
from acestep.metadata import UNUSUAL_METERS, parse_bpm, parse_keyscale, parse_language, parse_timesignature
from acestep.planner.plan import Metadata
from acestep.planner.yaml_text import read_scalar, write_scalar

THINK, END_THINK = "<think>", "</think>"
END_OF_TURN = "<|im_end|>"
FIELDS = ("bpm", "caption", "duration", "genres", "keyscale", "language", "timesignature")
FREE_FIELDS = ("caption", "genres")
_BLANKS = " \t\r\n"

# A field begins at the start of a line; what follows indented, or empty, still belongs to it.
_FIELD = re.compile(rf"^({'|'.join(FIELDS)})[ \t]*:(.*(?:\n(?:[ \t].*|(?=\n|\Z)))*)", re.MULTILINE | re.IGNORECASE)
_CLOSED_FIELDS = tuple(name for name in FIELDS if name not in FREE_FIELDS)
# The chain ends at a tag, or else a code, that begins a line or ends a short field; captions hold neither there.
_BEFORE_END = rf"^(?:(?:{'|'.join(_CLOSED_FIELDS)})[ \t]*:[^\n]*?|{THINK})?"
_CLOSING = re.compile(f"{_BEFORE_END}({END_THINK})", re.MULTILINE | re.IGNORECASE)
_FIRST_CODE = re.compile(rf"{_BEFORE_END}(<\|audio_code_\d)", re.MULTILINE | re.IGNORECASE)
_HEADING = re.compile(r"#+[ \t]*lyrics?[ \t]*:?[ \t]*(?:\n|\Z)", re.IGNORECASE)
_NUMBER = re.compile(r"\d{1,6}(?:\.\d{1,6})?")
_OPEN_VALUES = {"n/a", "none"}
_METERS = {meter.removesuffix("/4"): meter for meter in (*TIME_SIGNATURES, *UNUSUAL_METERS)}


@dataclass(frozen=True, slots=True)
class ChainOfThought:
    """What a planner decided, or was given; None or ``""`` is open and not written.

    Attributes:
        bpm: 30 to 300.
        caption: the planner's description of the song.
        duration: whole seconds, 10 to 600.
        genres: only where a song is written or described, not where one is planned.
        keyscale: one of ``constants.KEYSCALES``.
        language: one of ``constants.LANGUAGES``; ``unknown`` is a decision, ``""`` is none.
        timesignature: beats per bar.
    """

    bpm: int | None = None
    caption: str = ""
    duration: int | None = None
    genres: str = ""
    keyscale: str = ""
    language: str = ""
    timesignature: str = ""

    @classmethod
    def of(cls, metadata: Metadata, caption: str = "", genres: str = "") -> ChainOfThought:
        """What a user fixed; an unknown language is none, and a duration counts its whole seconds."""
        return cls(
            bpm=metadata.bpm,
            caption=caption,
            duration=None if metadata.duration is None else int(metadata.duration),
            genres=genres,
            keyscale=metadata.keyscale,
            language="" if metadata.language == LANGUAGES[-1] else metadata.language,
            timesignature=metadata.timesignature,
        )

    def metadata(self) -> Metadata:
        """The musical half of the chain."""
        duration = None if self.duration is None else float(self.duration)
        return Metadata(self.bpm, self.keyscale, self.timesignature, duration, self.language or LANGUAGES[-1])

    def decided(self) -> dict[str, int | str]:
        """The fields that are not open, in the order they are written."""
        return {name: value for name in FIELDS if (value := getattr(self, name)) not in (None, "")}


@dataclass(frozen=True, slots=True)
class ReadChain:
    """A chain as it was read, and what was wrong with the text, a sentence for each field that is open for it."""

    chain: ChainOfThought
    problems: tuple[str, ...] = ()


def write_chain(chain: ChainOfThought) -> str:
    """The whole block with its tags; without a decided field, one empty line between them.

    The tags are control tokens, the text between them never is: a caption may spell ``</think>``. Who makes tokens
    of a chain therefore encodes `write_fields` apart.
    """
    return f"{THINK}\n{write_fields(chain).removesuffix(chr(10))}\n{END_THINK}"


def write_fields(chain: ChainOfThought) -> str:
    """The lines between the tags, each with its newline; ``""`` when all is open."""
    return "".join(write_field(name, value) for name, value in chain.decided().items())


def write_field(name: str, value: int | str) -> str:
    """One field: ``name: value`` and a newline. Numbers and plain meters are bare, other text is YAML."""
    start = f"{name}: "
    if name == "timesignature":
        value = str(value).removesuffix("/4")
    bare = isinstance(value, int) or (name == "timesignature" and value.isdecimal())
    return f"{start}{value if bare else write_scalar(str(value), len(start))}\n"


def read_chain(text: str) -> ReadChain:
    """The chain in a model's answer, however freely it was written; this never fails.

    A field is read at its first mention. A value that is not allowed is left open and named among the problems.

    Args:
        text: an answer with or without tags, cut anywhere.
    """
    values: dict[str, int | str] = {}
    problems = []
    for name, raw in raw_fields(text).items():
        value = read_scalar(raw)
        if not value or (name not in FREE_FIELDS and value.lower() in _OPEN_VALUES):
            continue
        try:
            values[name] = _READERS[name](value)
        except InputError as error:
            problems.append(str(error))
    return ReadChain(ChainOfThought(**values), tuple(problems))  # type: ignore[arg-type]


def raw_fields(text: str) -> dict[str, str]:
    """Every known field's text as it stands after the colon, first mention first."""
    found: dict[str, str] = {}
    for match in _FIELD.finditer(_thinking(text)):
        found.setdefault(match[1].lower(), match[2].strip(_BLANKS))
    return found


def read_lyrics(text: str) -> str:
    """What a model wrote after its chain, without a ``# Lyric`` heading; ``""`` when the chain never ended."""
    end = _closing(text)
    if end is None:
        return ""
    answer = text[end + len(END_THINK) :].strip(_BLANKS).removesuffix(END_OF_TURN).strip(_BLANKS)
    return answer[heading.end() :].strip(_BLANKS) if (heading := _HEADING.match(answer)) else answer


def is_heading(line: str) -> bool:
    """Whether a line stands above lyrics and is none of them."""
    return _HEADING.fullmatch(line.strip(_BLANKS)) is not None


def _thinking(text: str) -> str:
    """The part of an answer that can hold fields: up to the closing tag, or the first code, or all."""
    end = _closing(text)
    if end is None:
        code = _FIRST_CODE.search(text)
        end = code.start(1) if code else len(text)
    return text[:end].lstrip(_BLANKS).removeprefix(THINK).replace("\r\n", "\n")


def _closing(text: str) -> int | None:
    """Where the chain ends, if it does."""
    match = _CLOSING.search(text)
    return match.start(1) if match else None


def _read_bpm(text: str) -> int | None:
    return parse_bpm(_whole("bpm", text))


def _read_duration(text: str) -> int:
    seconds = _whole("duration", text)
    if not DURATION_MIN_S <= seconds <= DURATION_MAX_S:
        raise InputError.must("duration", f"be from {DURATION_MIN_S:g} to {DURATION_MAX_S:g} seconds", seconds)
    return seconds


def _read_meter(text: str) -> str:
    return _METERS.get(text) or parse_timesignature(text)


def _whole(field: str, text: str) -> int:
    """A number, rounded to whole."""
    if not _NUMBER.fullmatch(text):
        raise InputError.must(field, "be a number", text)
    return round(float(text))


_READERS: Mapping[str, Callable[[str], int | str | None]] = MappingProxyType(
    {
        "bpm": _read_bpm,
        "caption": str,
        "duration": _read_duration,
        "genres": str,
        "keyscale": parse_keyscale,
        "language": parse_language,
        "timesignature": _read_meter,
    }
)
