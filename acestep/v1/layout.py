"""The two layouts of v1 latents: channels x heights x frames for networks, time rows x channels for the sampler.

The sampler of ACE-Step 1.5 works on ``[B, T, C]``: rows along time, channels last. A v1 frame has 16 heights, so it
is 16 such rows, and a norm over the rows of a channel is v1's norm over heights and frames. No value changes.

Letters: B songs, C = 8 channels, H = 16 heights, F latent frames.
"""

from __future__ import annotations

from torch import Tensor

from acestep.v1.config import LATENT_HEIGHT


def rows_of(latents: Tensor) -> Tensor:
    """Latents [B, C, H, F] as rows [B, F * H, C]: row f * H + h, channel c is latent c, h, f."""
    return latents.permute(0, 3, 2, 1).flatten(1, 2)  # [B, F, H, C] -> [B, F * H, C]


def latents_of(rows: Tensor) -> Tensor:
    """Rows [B, F * H, C] as latents [B, C, H, F], a view: the inverse of `rows_of`.

    Raises:
        RuntimeError: the rows are not whole frames.
    """
    return rows.unflatten(1, (-1, LATENT_HEIGHT)).permute(0, 3, 2, 1)
