"""Context latents: what the transformer sees beside the noise. Source latents and chunk mask, side by side.

In: silence latents, optional source latents, a length in frames. Out: ``[1, T, 2 * C]``.
"""

from __future__ import annotations

import torch
from torch import Tensor


class SilenceLatents:
    """VAE latents of digital silence, from index 0; the last stored frame goes on for ever.

    Args:
        stored: ``[1, frames, C]``.
    """

    def __init__(self, stored: Tensor) -> None:
        self._stored = stored

    def first(self, frames: int) -> Tensor:
        """The first ``frames`` frames, ``[1, frames, C]``."""
        head = self._stored[:, :frames]
        missing = frames - head.shape[1]
        if missing > 0:
            head = torch.cat([head, head[:, -1:].expand(-1, missing, -1)], dim=1)
        return head

    def to(self, device: torch.device, dtype: torch.dtype) -> SilenceLatents:
        """The same latents elsewhere."""
        return SilenceLatents(self._stored.to(device, dtype))


def full_context(source: Tensor) -> Tensor:
    """Everything is to be generated: ``source`` ``[1, T, C]`` beside a mask of ones, ``[1, T, 2 * C]``."""
    return torch.cat([source, torch.ones_like(source)], dim=-1)
