"""Musical metadata as people write it, brought into the spelling the models were trained on.

In: one field's raw value. Out: the canonical value, or ``None``/``""`` for "not given". Pure Python.
"""

from __future__ import annotations

import re

from acestep.constants import ACCIDENTALS, BPM_MAX, BPM_MIN, LANGUAGES, MODES, NOTES, TIME_SIGNATURES
from acestep.errors import InputError, shown

_NOT_GIVEN = {"", "n/a", "none", "auto"}
_KEY = re.compile(
    r"(?P<note>[A-Ga-g])\s*(?P<accidental>#|♯|b|♭|-?sharp|-?flat)?\s*(?P<mode>major|maj|minor|min|M|m)?\.?",
)
_SPELLED_ACCIDENTALS = {"sharp": "#", "-sharp": "#", "flat": "b", "-flat": "b"}
_METERS = {"2/4": "2", "3/4": "3", "4/4": "4", "6/8": "6"}
UNUSUAL_METERS = ("5/4", "7/8")


def parse_bpm(value: int | None) -> int | None:
    """Beats per minute, or None when not given.

    Raises:
        InputError: not from 30 to 300.
    """
    if value is None:
        return None
    if not BPM_MIN <= value <= BPM_MAX:
        raise InputError.must("bpm", f"be from {BPM_MIN} to {BPM_MAX}", value)
    return value


def parse_keyscale(text: str) -> str:
    """A key in one of the 70 trained spellings (``c#m`` -> ``C# minor``, ``Bb maj`` -> ``Bb major``), or ``""``.

    A note without a mode is major. ``m`` is minor and ``M`` major; longer mode words ignore case.

    Raises:
        InputError: not a key.
    """
    given = text.strip()
    if given.lower() in _NOT_GIVEN:
        return ""
    match = _KEY.fullmatch(given) or _KEY.fullmatch(given[0] + given[1:].lower())
    if match is None:
        raise InputError(
            f"keyscale {shown(text)} is not a key; write a note {NOTES[0]} to {NOTES[-1]}, an optional # or b, and "
            "major or minor, such as 'F# minor' or 'Bb major'.",
            field="keyscale",
            value=text,
        )
    accidental = match["accidental"] or ACCIDENTALS[0]
    mode = match["mode"] or "M"
    minor = mode == "m" or mode.lower().startswith("min")
    return f"{match['note'].upper()}{_SPELLED_ACCIDENTALS.get(accidental, accidental)} {MODES[minor]}"


def parse_timesignature(value: str | int) -> str:
    """Beats per bar as the models know them (``4/4`` -> ``4``), a rarer meter as it is, or ``""``.

    Raises:
        InputError: not a known meter.
    """
    given = str(value).strip()
    if given.lower() in _NOT_GIVEN:
        return ""
    meter = _METERS.get(given, given)
    if meter not in TIME_SIGNATURES and meter not in UNUSUAL_METERS:
        raise InputError.unknown("timesignature", value, (*TIME_SIGNATURES, *_METERS, *UNUSUAL_METERS))
    return meter


def parse_language(code: str) -> str:
    """A language code of the trained set, lower-case.

    Raises:
        InputError: unknown code.
    """
    given = code.strip().lower() or LANGUAGES[-1]
    if given not in LANGUAGES:
        raise InputError.unknown("vocal_language", code, LANGUAGES)
    return given
