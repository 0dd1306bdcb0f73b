"""Context latents: what the transformer sees beside the noise. Source latents and chunk mask, side by side.

In: silence latents, source latents, a region in frames. Out: ``[1, T, 2 * C]``. The values are those of the published
models: silence where there is no source, a mask of 1 where music is made and 0 where it is not.
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


def erased(source: Tensor, region: tuple[int, int], silence: SilenceLatents) -> Tensor:
    """``source`` ``[1, T, C]`` with silence, that of the same places, in the frames of the region."""
    start, stop = region
    return torch.cat([source[:, :start], silence.first(stop)[:, start:], source[:, stop:]], dim=1)


def context(source: Tensor, region: tuple[int, int]) -> Tensor:
    """``source`` ``[1, T, C]`` beside a mask that is 1 in the frames of the region: ``[1, T, 2 * C]``."""
    mask = torch.zeros_like(source)
    mask[:, slice(*region)] = 1.0
    return torch.cat([source, mask], dim=-1)
