"""A ``Plan`` is a song on paper: what the diffusion transformer is told, as one JSON value a person can edit.

In: a request (or JSON). Out: caption, lyrics, metadata and, when a planner wrote them, 5 Hz semantic codes. A
``Sheet`` is a song of which less is decided: what a planner starts from.
Refuses to know how plans are thought up (the planner) or played (conditioning).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields

from acestep.constants import CODE_RATE
from acestep.errors import InputError, shown

_CODE = re.compile(r"<\|audio_code_(\d{1,6})\|>")


@dataclass(frozen=True, slots=True)
class Metadata:
    """What is fixed about the music; None or ``""`` is open.

    Attributes:
        bpm: 30 to 300.
        keyscale: one of ``constants.KEYSCALES``.
        timesignature: ``2``, ``3``, ``4``, ``6`` or a rarer meter.
        duration: seconds.
        language: one of ``constants.LANGUAGES``.
    """

    bpm: int | None = None
    keyscale: str = ""
    timesignature: str = ""
    duration: float | None = None
    language: str = "unknown"


NOTHING_FIXED = Metadata()


@dataclass(frozen=True, slots=True)
class Sheet:
    """A song in words.

    Attributes:
        caption: the music.
        lyrics: words to sing; "" where they are still to be written.
        metadata: what is fixed.
        genres: only what a model wrote has them.
    """

    caption: str
    lyrics: str
    metadata: Metadata = NOTHING_FIXED
    genres: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """One song on paper."""

    caption: str
    lyrics: str
    metadata: Metadata
    audio_codes: tuple[int, ...] = ()

    @property
    def duration_s(self) -> float:
        """Length of the song in seconds: the metadata's, else what the codes spell.

        Raises:
            InputError: neither says how long the song is, or the two disagree.
        """
        seconds, codes = self.metadata.duration, len(self.audio_codes)
        if seconds is None and not codes:
            raise InputError("duration is not decided in this plan; give seconds.", field="duration", value=None)
        if seconds is None:
            return codes / CODE_RATE
        if codes and code_count(seconds) != codes:
            raise InputError(
                f"audio_codes of the plan are {codes}, which last {codes / CODE_RATE:g} s, but its duration is "
                f"{seconds:g}; change one of them, or leave the duration out.",
                field="audio_codes",
                value=codes,
            )
        return float(seconds)

    def to_json(self) -> str:
        """The plan as indented JSON, codes on one line's worth of integers."""
        return json.dumps(self.to_dict(), ensure_ascii=False, indent=2)

    def to_dict(self) -> dict[str, object]:
        """The plan as plain values."""
        return {**asdict(self), "audio_codes": list(self.audio_codes)}

    @classmethod
    def from_dict(cls, raw: Mapping[str, object]) -> Plan:
        """A plan from JSON values.

        Raises:
            InputError: an unknown key, a missing one, or a value of the wrong type.
        """
        _refuse_unknown(raw, cls)
        metadata = raw.get("metadata", {})
        if not isinstance(metadata, Mapping):
            raise InputError(f"metadata of a plan must be an object, not {shown(metadata)}.", field="metadata")
        _refuse_unknown(metadata, Metadata)
        codes = raw.get("audio_codes", ())
        if not isinstance(codes, (list, tuple)) or not all(type(code) is int and code >= 0 for code in codes):
            raise InputError("audio_codes of a plan must be a list of whole numbers.", field="audio_codes")
        texts = {name: raw.get(name, "") for name in ("caption", "lyrics")}
        for name, text in texts.items():
            if not isinstance(text, str):
                raise InputError(f"{name} of a plan must be text, not {shown(text)}.", field=name, value=text)
        return cls(**texts, metadata=Metadata(**metadata), audio_codes=tuple(codes))


def code_count(duration_s: float) -> int:
    """How many codes a song takes; the last may be longer than the song. Binary dust of a decimal is not a code."""
    return math.ceil(round(duration_s * CODE_RATE, 6))


def _refuse_unknown(raw: Mapping[str, object], kind: type) -> None:
    known = [field.name for field in fields(kind)]
    unknown = sorted(set(raw) - set(known))
    if unknown:
        raise InputError(f"a plan has no field {shown(unknown[0])}; it has: {', '.join(known)}.", field=unknown[0])


def parse_codes(text: str, codebook_size: int) -> tuple[int, ...]:
    """Semantic codes from their text form ``<|audio_code_N|>...``.

    Raises:
        InputError: anything else in the text, or a code the model's codebook does not have.
    """
    leftover = _CODE.sub("", text).strip()
    if leftover:
        raise InputError(
            f"audio_codes holds {leftover[:40]!r}; write only <|audio_code_N|> tokens.",
            field="audio_codes",
            value=leftover,
        )
    codes = tuple(int(number) for number in _CODE.findall(text))
    worst = max(codes, default=-1)
    if worst >= codebook_size:
        raise InputError(
            f"audio_codes holds code {worst}, but this model's codes are 0 to {codebook_size - 1}.",
            field="audio_codes",
            value=worst,
        )
    return codes


def codes_text(codes: Iterable[int]) -> str:
    """Semantic codes in their text form."""
    return "".join(f"<|audio_code_{code}|>" for code in codes)
