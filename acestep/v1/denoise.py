"""The bridge between the v1 transformer and the sampler: contexts become the velocities of a batch.

In: a transformer and the ``Contexts`` that all songs of a batch share. Out: ``velocities(x, t, guided=...)`` as
``v1.guidance`` calls it. Keys and values of the cross-attention are computed once per condition; all conditions of a
guided step run as one forward of ``R B`` rows, steps without guidance as one of ``B``.
"""

from __future__ import annotations

import torch
from torch import Tensor

from acestep.v1.conditions import Contexts
from acestep.v1.guidance import Velocities
from acestep.v1.layout import latents_of, rows_of
from acestep.v1.transformer import Transformer

_NEGATIVE = 1  # row of the contexts


class Denoiser:
    """Velocities of one batch.

    Args:
        transformer: on the device and in the type it computes with.
        contexts: of the words of the batch, on the same device.
        weaken: blur the cross-attention of what guidance leads away from (``use_erg_diffusion``).
    """

    def __init__(self, transformer: Transformer, contexts: Contexts, *, weaken: bool) -> None:
        self._transformer, self._weaken = transformer, weaken
        self._cache = transformer.cross_cache(contexts.states)
        self._mask = None if bool(contexts.mask.all()) else contexts.mask  # once per run, so a GPU may be waited for
        self._rows = len(contexts.states)

    def __call__(self, x: Tensor, t: float, *, guided: bool) -> Velocities:
        """Velocities of rows ``[B, 16 F, 8]`` at noise level ``t``; of a step that is not guided the first alone."""
        copies = self._rows if guided else 1
        here = slice(copies)
        latents = latents_of(x).repeat(copies, 1, 1, 1)  # [R B, 8, 16, F]
        velocity = self._transformer(
            latents,
            torch.full((len(latents),), t, dtype=torch.float32, device=x.device),
            self._cache.rows(here),
            None if self._mask is None else self._mask[here],
            self._weakened(copies, len(x)) if guided and self._weaken else None,
        )
        return Velocities(*rows_of(velocity.float()).chunk(copies))

    def _weakened(self, copies: int, songs: int) -> Tensor:
        """True for the songs of the negative row ``[R B]``."""
        rows = torch.arange(copies, device=self._cache.keys[0].device)
        return (rows == _NEGATIVE).repeat_interleave(songs)
