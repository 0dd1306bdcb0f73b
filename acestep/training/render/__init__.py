"""Plays a score: instruments of a General MIDI bank, singers of our own, one room, and a mix its stems add up to.

In: a ``Score`` and a seed. Out: a ``Rendition``, 48 kHz stereo, the same samples for the same seed, bank and engine.
Refuses to know how scores come about. The bank is FluidR3 (MIT licence); ``bank`` says where it comes from.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from acestep.constants import SAMPLE_RATE
from acestep.errors import InputError
from acestep.training.render.bank import find_bank, load_bank
from acestep.training.render.mix import Rendition, mix_down, placed
from acestep.training.render.room import make_room
from acestep.training.render.singers import LEAD_TRACK, SUNG_TRACKS, perform
from acestep.training.render.stems import play
from acestep.training.score import Part, Score

__all__ = ["Renderer", "Rendition"]

GAIN_SPREAD_DB, PAN_SPREAD = 1.5, 0.12  # how far a rendition strays from the score


class Renderer:
    """Renders scores with one bank, which is loaded once per process.

    Args:
        bank: a ``.sf2`` or ``.sf3`` file; by default the one ``find_bank`` finds.

    Raises:
        WeightsError: there is no bank, or no engine to play it.
    """

    def __init__(self, bank: Path | None = None) -> None:
        self.path = find_bank(bank)
        self.bank = load_bank(self.path)

    def render(self, score: Score, rng_seed: int | None = None) -> Rendition:
        """The song as sound.

        Args:
            score: what to play; parts of the same track become one stem.
            rng_seed: of the room, the singers and small changes of gain and pan; by default the score's own seed.

        Raises:
            InputError: the score has lyrics and no vocals part to sing them.
        """
        if score.lines and LEAD_TRACK not in score.tracks:
            raise InputError.must("score.parts", f"hold a {LEAD_TRACK} part when there are lyrics", score.tracks)
        seed = score.seed if rng_seed is None else rng_seed
        samples = round(score.duration_s * SAMPLE_RATE)
        room = make_room(np.random.default_rng(seed))
        stems: dict[str, np.ndarray] = {}
        for index, part in enumerate(score.parts):
            dry = self._sounding(part, score, samples, np.random.default_rng([seed, index]))
            stems[part.track] = stems[part.track] + dry if part.track in stems else dry
        return mix_down({track: room.place(dry) for track, dry in stems.items()}, samples, score.fade_out_s)

    def _sounding(self, part: Part, score: Score, samples: int, rng: np.random.Generator) -> np.ndarray:
        """The part at its level and place, float32 ``[2, samples]``, without the room."""
        gain_db = part.gain_db + rng.uniform(-GAIN_SPREAD_DB, GAIN_SPREAD_DB)
        pan = part.pan + rng.uniform(-PAN_SPREAD, PAN_SPREAD)
        if part.track in SUNG_TRACKS:
            return placed(perform(part, score.lines, samples, rng), gain_db, pan)
        return placed(play(self.bank, part, samples), gain_db, pan)
