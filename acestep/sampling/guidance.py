"""Ways to sharpen a velocity with the difference between a conditional and a null prediction.

In: the state and both velocities, fp32 ``[B, T, C]``. Out: one velocity of the same shape. A kind of guidance is a
row of ``GUIDANCE``; its class is built once per request and keeps its state per song: songs never influence each
other, and padding never influences a song. Refuses to know networks, schedules and solvers.
"""

# Every kind takes the same arguments and not every kind needs all of them.
# ruff: noqa: ARG002

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

APG_MOMENTUM = -0.75
APG_NORM_MAX = 2.5
ADG_ANGLE_MAX = 3.14 / 6  # 3.14 and not pi, as upstream
ADG_WEIGHT_FLOOR = 1e-3
ADG_COSINE_MARGIN = 1e-6
ADG_ENERGY_FLOOR = 1e-8


class Combiner(Protocol):
    """One kind of guidance, with the state it keeps while one request is sampled."""

    def combine(self, x: Tensor, v_cond: Tensor, v_null: Tensor, t: float, lengths: Sequence[int]) -> Tensor:
        """The guided velocity.

        Args:
            x: state ``[B, T, C]`` at which both velocities were predicted.
            v_cond: velocity under the conditions ``[B, T, C]``.
            v_null: velocity under the null conditions ``[B, T, C]``.
            t: noise level of ``x``, in (0, 1].
            lengths: frames of each song; what ``combine`` returns past them means nothing.
        """
        ...


class Unguided:
    """The conditional velocity as it is."""

    def __init__(self, scale: float) -> None:
        pass

    def combine(self, x: Tensor, v_cond: Tensor, v_null: Tensor, t: float, lengths: Sequence[int]) -> Tensor:
        """See ``Combiner.combine``."""
        return v_cond


class ClassifierFree:
    """Classifier-free guidance, `extrapolated`."""

    def __init__(self, scale: float) -> None:
        self.scale = scale

    def combine(self, x: Tensor, v_cond: Tensor, v_null: Tensor, t: float, lengths: Sequence[int]) -> Tensor:
        """See ``Combiner.combine``."""
        return extrapolated(v_cond, v_null, self.scale)


class AdaptiveProjected:
    """Adaptive projected guidance (Sadat et al. 2024), norms and projection over the time of each song and channel.

    The difference of the velocities gathers a negative momentum, is limited in norm, loses what is parallel to the
    conditional velocity (eta = 0), and is added ``g - 1`` times. The momentum moves once per ``combine``.
    """

    def __init__(self, scale: float) -> None:
        self.scale = scale
        self.momentum: Tensor | float = 0.0  # [B, T, C] from the first guided step on

    def combine(self, x: Tensor, v_cond: Tensor, v_null: Tensor, t: float, lengths: Sequence[int]) -> Tensor:
        """See ``Combiner.combine``."""
        return v_cond + (self.scale - 1.0) * self.update(v_cond, v_null, lengths)

    def update(self, v_cond: Tensor, v_null: Tensor, lengths: Sequence[int]) -> Tensor:
        """What a scale of 2 would add to ``v_cond``; moves the momentum."""
        self.momentum = without_padding(v_cond - v_null, lengths) + APG_MOMENTUM * self.momentum
        return _perpendicular(_limited(self.momentum), without_padding(v_cond, lengths))


class AngleBased:
    """Angle-based guidance of ACE-Step 1.5: turns the estimate of the clean frame away from the null estimate.

    Works on every frame alone, as a vector over the channels. The angle between the two estimates is multiplied by a
    weight and cut at 30 degrees. No state.
    """

    def __init__(self, scale: float) -> None:
        self.weight = max(scale - 1.0, 0.0) + ADG_WEIGHT_FLOOR

    def combine(self, x: Tensor, v_cond: Tensor, v_null: Tensor, t: float, lengths: Sequence[int]) -> Tensor:
        """See ``Combiner.combine``."""
        clean, clean_null = x - t * v_cond, x - t * v_null
        keep, turn = self._rotation(_angle(clean, clean_null))  # each [B, T, 1]
        guided = keep * clean + turn * _rejection(clean - clean_null, clean_null)
        return ((x - guided) / t).to(x.dtype)

    def _rotation(self, angle: Tensor) -> tuple[Tensor, Tensor]:
        """Factors of the clean estimate and of the direction away from null; ``_angle`` keeps the sine above 1e-3."""
        target = (self.weight * angle).clamp(max=ADG_ANGLE_MAX)
        return target.cos(), target.sin() / angle.sin()


@dataclass(frozen=True, slots=True)
class GuidanceKind:
    """One row of the table.

    Attributes:
        name: as ``SamplingChoice.guidance`` spells it.
        make: builds the combiner of one request from the scale.
        corrector: builds the combiner for the second velocity of a step (Heun), so that momentum moves once a step.
        uses_null: whether the null half has to be computed at all.
    """

    name: str
    make: Callable[[float], Combiner]
    corrector: Callable[[float], Combiner]
    uses_null: bool = True


_ROWS = (
    GuidanceKind("none", Unguided, corrector=Unguided, uses_null=False),
    GuidanceKind("cfg", ClassifierFree, corrector=ClassifierFree),
    GuidanceKind("apg", AdaptiveProjected, corrector=ClassifierFree),
    GuidanceKind("adg", AngleBased, corrector=AngleBased),
)

GUIDANCE: dict[str, GuidanceKind] = {row.name: row for row in _ROWS}


@dataclass(frozen=True, slots=True)
class Guidance:
    """How strongly, how, and at which noise levels a request is guided.

    Attributes:
        scale: g; 1 or less is off.
        kind: a key of ``GUIDANCE``.
        interval: (low, high) noise levels, both included; 1 = noise, so (0, 0.5) guides the late half.
    """

    scale: float
    kind: str
    interval: tuple[float, float] = (0.0, 1.0)

    def active(self, t: float) -> bool:
        """Whether a velocity at noise level ``t`` is guided; if not, its null half need not be computed."""
        low, high = self.interval
        return GUIDANCE[self.kind].uses_null and self.scale > 1.0 and low <= t <= high


class VelocityPair(Protocol):
    """A network under its conditions and, when asked, under the null conditions too."""

    def __call__(self, x: Tensor, t: float, *, guided: bool) -> tuple[Tensor, Tensor | None]:
        """Velocities of the state ``x`` ``[B, T, C]`` (fp32) at noise level ``t``.

        Returns:
            The conditional velocity, and the null velocity if ``guided`` (else None): ``[B, T, C]``, any float dtype.
        """
        ...


class GuidedVelocity:
    """What a solver sees of the network: one fp32 velocity, guided where guidance is active, zero in the padding."""

    def __init__(self, velocity: VelocityPair, guidance: Guidance, lengths: Sequence[int]) -> None:
        kind = GUIDANCE[guidance.kind]
        self._velocity, self._guidance, self._lengths = velocity, guidance, lengths
        self._predictor, self._corrector = kind.make(guidance.scale), kind.corrector(guidance.scale)

    def predict(self, x: Tensor, t: float) -> Tensor:
        """The velocity that opens a step."""
        return self._evaluate(x, t, self._predictor)

    def correct(self, x: Tensor, t: float) -> Tensor:
        """A further velocity within a step."""
        return self._evaluate(x, t, self._corrector)

    def _evaluate(self, x: Tensor, t: float, combiner: Combiner) -> Tensor:
        guided = self._guidance.active(t)
        v_cond, v_null = self._velocity(x, t, guided=guided)
        v = v_cond.float()
        if guided:
            if v_null is None:
                raise ValueError("velocity() returned no null half although it was asked for one")
            v = combiner.combine(x, v, v_null.float(), t, self._lengths)
        return without_padding(v, self._lengths)


def extrapolated(v_cond: Tensor, v_null: Tensor, scale: float) -> Tensor:
    """``v_null + g (v_cond - v_null)`` (Ho and Salimans 2022)."""
    return v_null + scale * (v_cond - v_null)


def without_padding(x: Tensor, lengths: Sequence[int]) -> Tensor:
    """A copy of ``x`` ``[B, T, C]`` with zeros past each song's length, whatever was there (NaN included).

    Built from slices and not from a mask, so that a GPU never waits for the lengths.

    Args:
        x: one row per song.
        lengths: frames of each song, 1 to T.
    """
    frames = x.shape[1]
    songs = [
        functional.pad(song[:length], (0, 0, 0, frames - length)) for song, length in zip(x, lengths, strict=True)
    ]
    return torch.stack(songs)


def _limited(update: Tensor) -> Tensor:
    """``update`` with its norm over time cut to the threshold, per song and channel."""
    norm = update.norm(dim=1, keepdim=True)  # [B, 1, C]
    return update * (APG_NORM_MAX / norm).clamp(max=1.0)


def _perpendicular(update: Tensor, direction: Tensor) -> Tensor:
    """What remains of ``update`` without its part along ``direction`` over time, computed in fp64."""
    exact = update.double()
    unit = functional.normalize(direction.double(), dim=1, eps=1e-12)
    return (exact - (exact * unit).sum(dim=1, keepdim=True) * unit).to(update.dtype)


def _angle(a: Tensor, b: Tensor) -> Tensor:
    """Angle between two vectors over the channels, fp64 ``[B, T, 1]``, kept away from 0 and pi."""
    a, b = (functional.normalize(vector.double(), dim=2, eps=1e-12) for vector in (a, b))
    cosine = (a * b).sum(dim=2, keepdim=True)
    return cosine.clamp(-1.0 + ADG_COSINE_MARGIN, 1.0 - ADG_COSINE_MARGIN).acos()


def _rejection(vector: Tensor, onto: Tensor) -> Tensor:
    """The part of ``vector`` perpendicular to ``onto``, over the channels."""
    energy = onto.square().sum(dim=2, keepdim=True)
    return vector - (vector * onto).sum(dim=2, keepdim=True) / (energy + ADG_ENERGY_FLOOR) * onto
