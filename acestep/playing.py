"""What players of every generation have in common: what they are, what they give back, how far they say they are.

In: networks and who of them is on the device. Out: ``Player``, which the ``Renderer`` of ACE-Step 1.5 and the
``V1Player`` are kinds of, and the ``Song``s and ``Rendering``s that both make. Refuses to know networks, files and
formats.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from acestep.conditioning.conditions import Conditions
from acestep.conditioning.text import PromptTokens
from acestep.devices import Residency
from acestep.memory import Peak
from acestep.meters import Meters
from acestep.pieces import Piece
from acestep.planner.plan import Plan
from acestep.request import Request

STARTED, CONDITIONED, DENOISED, DECODED = 0.02, 0.05, 0.85, 0.95  # share of the whole when a stage ends


@dataclass(frozen=True, slots=True)
class Song:
    """One played piece: latents ``[T, C]`` and waveform ``[2, S]`` (fp32, CPU) of what was decoded."""

    piece: Piece
    latents: Tensor
    waveform: Tensor

    @property
    def plan(self) -> Plan:
        """The song on paper."""
        return self.piece.plan

    @property
    def seed(self) -> int:
        """Of its noise."""
        return self.piece.seed


@dataclass(frozen=True, slots=True)
class Rendering:
    """A finished batch and what it was made from; seconds per stage in ``timings``, memory in ``peak``.

    Players of another generation of models have no ``conditions`` and ``tokens`` of this kind to show.
    """

    songs: tuple[Song, ...]
    conditions: Conditions | None
    tokens: tuple[PromptTokens, ...]
    timings: dict[str, float]
    peak: Peak


class Player:
    """Plays pieces on the networks that a residency holds; what it plays and how, its kinds know.

    Args:
        device: the networks play on.
        residency: which of them are on it.

    Attributes:
        busy: True while it plays or listens.
        fetches: whether adapters may be fetched that are not here.
    """

    def __init__(self, device: torch.device, residency: Residency) -> None:
        self.busy, self.fetches = False, True
        self._device, self._residency = device, residency

    @property
    def offloads(self) -> bool:
        """Whether one network at a time is on the device."""
        return self._residency.offload

    def meters(self) -> Meters:
        """New meters for a run of one or more batches."""
        return Meters(self._device)

    @contextmanager
    def _at_work(self) -> Iterator[None]:
        """Busy within the block, and after it whatever it was before."""
        before, self.busy = self.busy, True
        try:
            yield
        finally:
            self.busy = before


def new_songs(request: Request, plans: Sequence[Plan]) -> tuple[Piece, ...]:
    """The pieces of songs that are made without a recording, one per plan."""
    other = (None,) * len(plans) if request.variation is None else request.variation.seeds
    return tuple(
        Piece(plan, request.instruction_for(plan), seed, variation_seed=second)
        for plan, seed, second in zip(plans, request.seeds, other, strict=True)
    )


def between(low: float, high: float, share: float) -> float:
    """The share of the whole at a share of the stretch from ``low`` to ``high``."""
    return round(low + (high - low) * share, 4)
