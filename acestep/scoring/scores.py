"""Everything that is known about how good a song is, as one value: how sound, how well sung, how well understood.

In: the parts that could be had. Out: ``Scores``, its overall figure, its JSON. Refuses to know how parts are measured
and which of several songs is the best. No torch; nothing in the JSON is NaN.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from acestep.scoring.alignment import Alignment
from acestep.scoring.likelihood import Likelihood
from acestep.scoring.sound import Sound

DIGITS = 4
WEIGHTS: Mapping[str, float] = {  # of the parts of ``overall``
    "lyrics": 0.35,  # alignment: words that are not sung are what listeners notice first
    "planner": 0.25,  # reward of the likelihood
    "quality": 0.2,
    "tempo": 0.1,
    "key": 0.1,
}


@dataclass(frozen=True, slots=True)
class Scores:
    """Scores of one song.

    Attributes:
        sound: what was measured in the waveform.
        alignment: how well it follows its lyrics; None for an instrumental, and where that is not known.
        likelihood: how well the planner finds the request in it; None without a planner.
    """

    sound: Sound
    alignment: Alignment | None = None
    likelihood: Likelihood | None = None

    @property
    def parts(self) -> dict[str, float]:
        """The parts of ``overall`` that exist, by the names of ``WEIGHTS``, each 0 to 1.

        What nobody asked for, what could not be had and what is not a finite number is not among them.
        """
        found = {
            "lyrics": None if self.alignment is None else self.alignment.score,
            "planner": None if self.likelihood is None else self.likelihood.reward,
            "quality": self.sound.quality,
            "tempo": self.sound.tempo_agreement,
            "key": self.sound.key_agreement,
        }
        return {name: value for name, value in found.items() if value is not None and math.isfinite(value)}

    @property
    def overall(self) -> float | None:
        """Mean of the parts that exist, by their weights, 0 to 1; None when there is none.

        A song with a missing part is judged by the others: an instrumental is not worse for having no lyrics.
        """
        parts = self.parts
        if not parts:
            return None
        total = math.fsum(WEIGHTS[name] * value for name, value in parts.items())
        return total / math.fsum(WEIGHTS[name] for name in parts)

    def to_dict(self) -> dict[str, Any]:
        """JSON types only, numbers to four digits; None for what is missing or not finite.

        ``parts`` are the values that ``overall`` is the mean of; the others are all that is known.
        """
        return {
            "overall": _plain(self.overall),
            "parts": _plain(self.parts),
            "alignment": None if self.alignment is None else _plain(asdict(self.alignment)),
            "likelihood": None if self.likelihood is None else _plain(_guesses(self.likelihood)),
            "sound": _plain(asdict(self.sound) | {"quality": self.sound.quality}),
        }


def _guesses(likelihood: Likelihood) -> dict[str, float | None]:
    """Its numbers; its warnings go where warnings go."""
    return {name: getattr(likelihood, name) for name in ("caption", "lyrics", "metadata", "reward")}


def _plain(value: Any) -> Any:
    """A value in JSON's types, numbers rounded; what is no finite number is None."""
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    if value is None or isinstance(value, (str, bool)):
        return value
    return round(float(value), DIGITS) if math.isfinite(value) else None
