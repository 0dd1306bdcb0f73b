"""How long a v1 song is: in latent frames, in samples at its own rate, or drawn from its seed when nobody said.

In: seconds, seeds. Out: counts. Imports no torch.
"""

from __future__ import annotations

import math
from random import Random

from acestep.constants import CD_RATE

NATIVE_RATE = CD_RATE
SAMPLES_PER_FRAME = 4096
DRAWN_S = (30.0, 240.0)


def frames_covering(seconds: float) -> int:
    """Latent frames of a song of ``seconds``: enough that it can be cut to the sample at any rate.

    The published pipeline takes those that fit in, and is up to 93 ms short.
    """
    return -(-(math.ceil(seconds * NATIVE_RATE) + 1) // SAMPLES_PER_FRAME)


def drawn_duration(seed: int) -> float:
    """Seconds from 30 to 240 that belong to a seed, in tenths; the published pipeline draws them from no seed."""
    return round(Random(seed).uniform(*DRAWN_S), 1)
