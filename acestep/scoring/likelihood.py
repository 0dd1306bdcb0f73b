"""How well a song says what was asked for: what a language model that hears it makes of the request, as numbers.

    log-probabilities of a text with and without the song --> sigmoid(PMI / scale)
    ranks of the tokens of tempo, key, meter ...          --> recall among the 10 likeliest

In: numbers that a planner found (``planner.likelihood``). Out: a `Likelihood`. The caption and the lyrics are judged
by pointwise mutual information: how much likelier a text becomes by hearing the song, in nats a token. What a text is
worth by itself, being short or usual, cancels out, so songs are compared by how they sound. Metadata have few values,
all of them usual; there it counts how far up the list the right one is.
Refuses to know models, tokens and prompts. Imports no torch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from acestep.errors import InputError

PMI_SCALE = 0.1  # nats a token; upstream's scale
TOP_K = 10  # ranks that count
WEIGHTS = {"caption": 0.5, "lyrics": 0.3, "metadata": 0.2}  # of the parts in the reward


@dataclass(frozen=True, slots=True)
class Likelihood:
    """How well a song says what was asked for, part by part; None where that was not asked for, or is not known.

    Attributes:
        caption: 0 to 1; 0.5 is a caption that hearing the song makes neither more nor less likely.
        lyrics: 0 to 1, as the caption. An instrumental has none.
        metadata: 0 to 1; 1 is a planner to which every token of what was fixed is the likeliest of all.
        warnings: a sentence for every part that was asked for and is not known.
    """

    caption: float | None = None
    lyrics: float | None = None
    metadata: float | None = None
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in WEIGHTS:
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise ValueError(f"{name} of a likelihood is from 0 to 1 or None, not {value}")

    @property
    def reward(self) -> float | None:
        """Mean of the parts there are, by their weights, 0 to 1; None where there is none."""
        parts = {name: value for name in WEIGHTS if (value := getattr(self, name)) is not None}
        if not parts:
            return None
        return sum(WEIGHTS[name] * value for name, value in parts.items()) / sum(WEIGHTS[name] for name in parts)


def information_score(nats: float, scale: float = PMI_SCALE) -> float:
    """``sigmoid(nats / scale)``: 0.5 where hearing the song tells nothing, towards 1 the more it tells.

    Args:
        nats: pointwise mutual information a token: mean log-probability of a text behind the song, minus the same
            without a song.
        scale: nats at which the score is 0.73.

    Raises:
        InputError: a scale that is not above 0.
    """
    if not 0 < scale < math.inf:
        raise InputError.must("scale", "be a number above 0", scale)
    return 0.5 + 0.5 * math.tanh(nats / (2 * scale))  # the sigmoid, without an overflow


def rank_score(rank: int) -> float:
    """1 for the likeliest of all tokens, a tenth less for each rank below; 0 from the eleventh on."""
    return max(0.0, 1 - (rank - 1) / TOP_K)


def recall_score(fields: Sequence[Sequence[int]]) -> float:
    """Mean over some fields, each the mean over the ranks of its value's tokens, 0 to 1.

    Args:
        fields: ranks of every field's tokens, at least one field of at least one token.
    """
    return _mean([_mean([rank_score(rank) for rank in ranks]) for ranks in fields])


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
