"""The bridge between the transformer and the sampler: conditions become a velocity function.

In: a model and a batch's ``Conditions``. Out: ``velocity(x, t, guided=...)`` as ``sampling.guidance`` calls it.
Cross-attention keys and values are computed once per song; the guided pair runs as one forward of ``2 B`` rows.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from acestep.conditioning.conditions import Conditions
from acestep.models.acestep_model import AceStepModel
from acestep.models.encoders import mask_if_padded


class Denoiser:
    """Velocity of one batch.

    Args:
        model: on the device and in the dtype it computes with.
        conditions: of the batch, same device and dtype.
        guided: True when some step will want the unconditional half.
    """

    def __init__(self, model: AceStepModel, conditions: Conditions, *, guided: bool) -> None:
        self._decoder = model.decoder
        self._context = conditions.context
        self._frames = conditions.frames if len(set(conditions.frames)) > 1 else None
        self._mask = mask_if_padded(conditions.encoder_mask)
        states = conditions.encoder_states
        self._cross = self._decoder.cross_attention_cache(states)
        self._pair_cross = None
        if guided:
            both = torch.cat([states, model.null_conditions(states)])  # [2B, L, E]
            self._pair_cross = self._decoder.cross_attention_cache(both)

    def __call__(self, x: Tensor, t: float, *, guided: bool) -> tuple[Tensor, Tensor | None]:
        """Velocity at noise level ``t``, ``[B, T, C]``, and the unconditional one when ``guided``."""
        if not guided:
            return self._run(x, t, self._cross, 1), None
        conditional, null = self._run(x, t, self._pair_cross, 2).chunk(2)
        return conditional, null

    def _run(self, x: Tensor, t: float, cross: object, copies: int) -> Tensor:
        level = torch.full((x.shape[0] * copies,), t, dtype=torch.float32, device=x.device)
        return self._decoder(
            _repeat(x.to(self._context.dtype), copies),
            level,
            _repeat(self._context, copies),
            cross,
            encoder_mask=None if self._mask is None else _repeat(self._mask, copies),
            lengths=None if self._frames is None else self._frames * copies,
        ).float()


class Switch:
    """Velocity of a batch whose conditions change at one noise level.

    Args:
        velocity: makes the velocity of conditions.
        first: conditions above ``level``.
        then: conditions from ``level`` on.
        level: noise level; a state at exactly this level meets ``then``.
    """

    def __init__(
        self, velocity: Callable[[Conditions], Denoiser], first: Conditions, then: Conditions, level: float
    ) -> None:
        self._make, self._first, self._then, self._level = velocity, first, then, level
        self._current: tuple[Conditions, Denoiser] | None = None

    def __call__(self, x: Tensor, t: float, *, guided: bool) -> tuple[Tensor, Tensor | None]:
        """See ``Denoiser.__call__``."""
        conditions = self._first if t > self._level else self._then
        if self._current is None or self._current[0] is not conditions:
            self._current = None  # the caches of the other go first
            self._current = conditions, self._make(conditions)
        return self._current[1](x, t, guided=guided)


def _repeat(batch: Tensor, copies: int) -> Tensor:
    return batch if copies == 1 else torch.cat([batch] * copies)
