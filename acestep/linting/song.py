"""What a rule looks at: the caption, the lyrics read as a script, the metadata in canonical spelling.

In: what a caller says. Out: a frozen ``Song``. Refuses to judge more than ``metadata`` does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

from acestep.constants import INSTRUMENTAL_LYRICS
from acestep.linting.script import Script, read_script
from acestep.metadata import parse_bpm, parse_keyscale, parse_language, parse_timesignature


@dataclass(frozen=True, slots=True)
class Song:
    """A song in words.

    Attributes:
        caption: one line, spaces collapsed.
        script: the lyrics.
        bpm, keyscale, timesignature: canonical; None and empty are open.
        duration: seconds, or None when open.
        language: as the caller says, ``unknown`` is open.
        instrumental: the caller asks for no singing, whatever the lyrics are.
    """

    caption: str
    script: Script
    bpm: int | None
    keyscale: str
    timesignature: str
    duration: float | None
    language: str
    instrumental: bool

    @property
    def is_sung(self) -> bool:
        """True when there are words and nothing forbids to sing them."""
        return bool(self.script.lines) and not self.instrumental

    @property
    def forbids_singing(self) -> bool:
        """True when the caller asks for no singing; empty lyrics only leave it open."""
        return self.instrumental or (bool(self.script.text.strip()) and not self.script.lines)


class Said(TypedDict, total=False):
    """What a caller says beside the words; what is left out is open.

    Attributes:
        bpm, keyscale, timesignature, vocal_language: as ``GenerationParams`` takes them.
        duration: seconds; None, 0 or negative is open.
        instrumental: nobody sings, whatever the lyrics are.
    """

    bpm: int | None
    keyscale: str
    timesignature: str
    duration: float | None
    vocal_language: str
    instrumental: bool


def read_song(
    caption: str,
    lyrics: str,
    *,
    bpm: int | None = None,
    keyscale: str = "",
    timesignature: str = "",
    duration: float | None = None,
    vocal_language: str = "unknown",
    instrumental: bool = False,
) -> Song:
    """A song of what a caller says; the arguments are those of ``Said``.

    Raises:
        InputError: metadata that is not allowed.
    """
    language = parse_language(vocal_language)
    return Song(
        caption=" ".join(caption.split()),
        script=read_script(lyrics, language),
        bpm=parse_bpm(bpm),
        keyscale=parse_keyscale(keyscale),
        timesignature=parse_timesignature(timesignature),
        duration=duration if duration is not None and duration > 0 else None,
        language=language,
        instrumental=instrumental or lyrics.strip().lower() == INSTRUMENTAL_LYRICS.lower(),
    )
