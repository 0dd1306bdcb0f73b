"""What a song shall be: the wishes of a caller, checked, and a draw for everything else.

In: a seed and wishes. Out: a ``Brief``. Every choice has its own stream of random numbers, so that asking for a tempo
does not change the key. Refuses to know notes, chords and sections.
"""

from __future__ import annotations

import random
from collections.abc import Collection
from dataclasses import dataclass

from acestep.constants import DURATION_MAX_S, DURATION_MIN_S, TRACK_NAMES
from acestep.errors import InputError, UnsupportedError
from acestep.training.compose.sheet import METERS
from acestep.training.compose.styles import STYLES, TEMPO_MAX, TEMPO_MIN, Style
from acestep.training.compose.theory import PITCH_CLASSES, Key, parse_key

CLIP_MIN_S, CLIP_MAX_S = 10, 60  # length of a song nobody gave a length
_USUAL_METER = 0.7  # chance of a style's first time signature, where it has several


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the caller asked for; None leaves it to the seed. Fields as in ``compose``."""

    style: str | None = None
    bpm: int | None = None
    keyscale: str | None = None
    timesignature: str | None = None
    duration_s: float | None = None
    vocals: bool | None = None
    tracks: Collection[str] | None = None


@dataclass(frozen=True, slots=True)
class Brief:
    """Everything decided before the first note.

    Attributes:
        seed, style, bpm, timesignature, duration_s: as in ``score.Score``.
        key: tonality; ``keyscale`` is how it is spelled.
        sung: somebody sings.
        tracks: exactly these play; None leaves the band to the style.
    """

    seed: int
    style: Style
    bpm: int
    key: Key
    keyscale: str
    timesignature: str
    duration_s: float
    sung: bool
    tracks: tuple[str, ...] | None

    def stream(self, name: str) -> random.Random:
        """Random numbers of one concern."""
        return stream(self.seed, name)


def stream(seed: int, name: str) -> random.Random:
    """Random numbers that depend on the seed and on what they are for."""
    return random.Random(f"{seed}/{name}")


def settle(seed: int, wishes: Wishes) -> Brief:
    """Check the wishes and draw the rest.

    Raises:
        InputError: a wish is outside what can be composed.
        UnsupportedError: ``vocals`` and ``tracks`` contradict each other.
    """
    _check(wishes)
    style = STYLES[wishes.style] if wishes.style else _draw_style(wishes, stream(seed, "style"))
    key = parse_key(wishes.keyscale) if wishes.keyscale else _draw_key(style, stream(seed, "key"))
    bpm, length = stream(seed, "bpm").randint(*style.bpm), stream(seed, "length").randint(CLIP_MIN_S, CLIP_MAX_S)
    return Brief(
        seed=seed,
        style=style,
        bpm=wishes.bpm if wishes.bpm is not None else bpm,
        key=key,
        keyscale=wishes.keyscale or key.name,
        timesignature=wishes.timesignature or _draw_meter(style, stream(seed, "meter")),
        duration_s=float(wishes.duration_s if wishes.duration_s is not None else length),
        sung=_settle_vocals(style, wishes, stream(seed, "vocals")),
        tracks=None if wishes.tracks is None else tuple(sorted(wishes.tracks, key=TRACK_NAMES.index)),
    )


def _check(wishes: Wishes) -> None:
    if wishes.style is not None and wishes.style not in STYLES:
        raise InputError.unknown("style", wishes.style, STYLES)
    if wishes.timesignature is not None and wishes.timesignature not in METERS:
        raise InputError.unknown("timesignature", wishes.timesignature, METERS)
    if wishes.bpm is not None and not TEMPO_MIN <= wishes.bpm <= TEMPO_MAX:
        raise InputError.must("bpm", f"be {TEMPO_MIN} to {TEMPO_MAX}", wishes.bpm)
    if wishes.duration_s is not None and not DURATION_MIN_S <= wishes.duration_s <= DURATION_MAX_S:
        raise InputError.must("duration_s", f"be {DURATION_MIN_S:g} to {DURATION_MAX_S:g}", wishes.duration_s)
    if wishes.tracks is not None:
        _check_tracks(wishes.tracks, wishes.vocals)


def _check_tracks(tracks: Collection[str], vocals: bool | None) -> None:
    for track in tracks:
        if track not in TRACK_NAMES:
            raise InputError.unknown("tracks", track, TRACK_NAMES)
    if not tracks or len(set(tracks)) != len(tracks):
        raise InputError.must("tracks", "name each track once, and one at least", tuple(tracks))
    if vocals is not None and vocals != ("vocals" in tracks):
        raise UnsupportedError(f"vocals={vocals} contradicts tracks {tuple(tracks)}.", field="vocals", value=vocals)


def _draw_style(wishes: Wishes, rng: random.Random) -> Style:
    """Any style that plays the wished meter, at the wished tempo where one does."""
    fitting = [row for row in STYLES.values() if wishes.timesignature in {None, *row.meters}]
    at_tempo = [row for row in fitting if wishes.bpm is None or row.bpm[0] <= wishes.bpm <= row.bpm[1]]
    return rng.choice(at_tempo or fitting)


def _draw_key(style: Style, rng: random.Random) -> Key:
    return Key(rng.randrange(PITCH_CLASSES), minor=rng.random() < style.minor)


def _draw_meter(style: Style, rng: random.Random) -> str:
    usual, *others = style.meters
    return rng.choice(others) if others and rng.random() >= _USUAL_METER else usual


def _settle_vocals(style: Style, wishes: Wishes, rng: random.Random) -> bool:
    if wishes.tracks is not None:
        return "vocals" in wishes.tracks
    return rng.random() < style.sung if wishes.vocals is None else wishes.vocals
