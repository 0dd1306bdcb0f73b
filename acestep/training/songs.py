"""What is known of a training song besides its sound: metadata, lyrics, tracks and several captions. Pure data.

In: a seed. Out: a ``Score`` of a length suited to training, and its ``SongRecord``. Refuses to know audio.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields

import numpy as np

from acestep.constants import INSTRUMENTAL_LYRICS
from acestep.training.compose.captions import REGISTERS, caption
from acestep.training.compose.composer import compose
from acestep.training.score import Score

HELD_OUT_SEED = 1_000_000  # songs from here on are for evaluation and never rendered for training
SHORTEST_S, LONGEST_S = 12.0, 30.0
CAPTIONS_PER_REGISTER = 3


@dataclass(frozen=True, slots=True)
class SongRecord:
    """One song in words and numbers; the metadata fields are spelled as in ``planner.plan.Metadata``."""

    seed: int
    bpm: int
    keyscale: str
    timesignature: str
    language: str
    duration: float
    lyrics: str
    tracks: tuple[str, ...]
    captions: tuple[str, ...]

    def to_dict(self) -> dict[str, object]:
        """Plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, raw: Mapping[str, object]) -> SongRecord:
        """The inverse of ``to_dict``."""
        values = {field.name: raw[field.name] for field in fields(cls)}
        return cls(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})


def training_score(seed: int) -> Score:
    """The song of a seed, 12 to 30 s long."""
    seconds = np.random.default_rng([seed, 1]).uniform(SHORTEST_S, LONGEST_S)
    return compose(seed, duration_s=float(seconds))


def record_of(score: Score, *, held_out: bool = False) -> SongRecord:
    """A score in words; the same captions for the same score.

    Args:
        held_out: use the wording that training captions never use.
    """
    rng = random.Random(score.seed)
    captions = [
        caption(score, register, rng, held_out=held_out)
        for register in REGISTERS
        for _ in range(CAPTIONS_PER_REGISTER)
    ]
    return SongRecord(
        seed=score.seed,
        bpm=score.bpm,
        keyscale=score.keyscale,
        timesignature=score.timesignature,
        language=score.language,
        duration=score.duration_s,
        lyrics=score.lyrics if score.lines else INSTRUMENTAL_LYRICS,
        tracks=score.tracks,
        captions=tuple(captions),
    )
