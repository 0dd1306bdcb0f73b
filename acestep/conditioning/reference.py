"""Thirty seconds of a reference recording, from which the timbre encoder hears what the song should sound like.

In: 48 kHz stereo samples and a song's seed. Out: exactly 30 s: one 10 s window from each third of the recording.
"""

from __future__ import annotations

import torch
from torch import Tensor

from acestep.constants import SAMPLE_RATE, TIMBRE_SECONDS

WINDOWS = 3
WINDOW_SAMPLES = SAMPLE_RATE * TIMBRE_SECONDS // WINDOWS


def timbre_excerpt(samples: Tensor, seed: int) -> Tensor:
    """Three seeded windows, one per third, joined.

    Args:
        samples: ``[2, S]`` at 48 kHz, any length; shorter than 30 s is repeated until it is not.
        seed: of the song; the same seed hears the same windows whatever else is in the batch.

    Returns:
        ``[2, 30 s]``.
    """
    wanted = WINDOWS * WINDOW_SAMPLES
    if samples.shape[-1] < wanted:
        samples = samples.repeat(1, -(-wanted // samples.shape[-1]))
    third = samples.shape[-1] // WINDOWS
    generator = torch.Generator().manual_seed(seed)
    starts = []
    for index in range(WINDOWS):
        end = third * (index + 1) if index < WINDOWS - 1 else samples.shape[-1]
        slack = max(0, end - third * index - WINDOW_SAMPLES)
        starts.append(third * index + int(torch.randint(slack + 1, (1,), generator=generator)))
    return torch.cat([samples[:, start : start + WINDOW_SAMPLES] for start in starts], dim=-1)
