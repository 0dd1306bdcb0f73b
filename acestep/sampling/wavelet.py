"""Wavelet correction: after each step the state is pushed away from the music it pointed at, band by band.

In: a solver and the gains of two bands. Out: a solver. With ``y = x - t v`` the music the state ``x`` pointed at, and
``x'`` the state after the step, each band ``b`` of ``x'`` grows by ``gain_b (x'_b - y_b)``. The last step arrives at
``y`` itself, so there the correction finds nothing to correct. Refuses to know networks, guidance and schedules.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional

from acestep.sampling.correction import WaveletCorrection
from acestep.sampling.guidance import without_padding
from acestep.sampling.stepper import Draw, Evaluate, Stepper, along


class Corrected:
    """A solver each of whose steps is followed by the correction.

    Args:
        solver: makes the steps; Euler's method is what the correction was tuned for.
        correction: which bands and how strongly.
        lengths: latent frames of each song. A song of odd length ends with half a pair, whose other half is zero and
            stays zero.
    """

    def __init__(self, solver: Stepper, correction: WaveletCorrection, lengths: Sequence[int]) -> None:
        self._solver, self._correction, self._lengths = solver, correction, lengths

    def step(self, x: Tensor, v: Tensor, t: float, t_next: float, evaluate: Evaluate, noise: Draw) -> Tensor:
        """See ``Stepper.step``."""
        moved = self._solver.step(x, v, t, t_next, evaluate, noise)
        ahead = moved - along(x, v, t, 0.0)
        return moved + without_padding(scale_bands(ahead, *self._correction.gains(t)), self._lengths)


def scale_bands(x: Tensor, low: float, high: float) -> Tensor:
    """``x`` with the two bands of its Haar transform scaled: one level, along time.

    The filters ``[1, 1] / sqrt(2)`` and ``[1, -1] / sqrt(2)`` are orthonormal, so transform, gains and inverse in one
    split each pair of frames into its mean (low band) and what deviates from it (high band).

    Args:
        x: ``[B, T, C]``; an odd T is continued with a frame of zeros, as the transform's zero mode does.
        low: gain of the low band.
        high: gain of the high band.

    Returns:
        ``[B, T, C]``; the frame that completed an odd T is cut off.
    """
    frames = x.shape[1]
    pairs = functional.pad(x, (0, 0, 0, frames % 2)).unflatten(1, (-1, 2))  # [B, T/2, 2, C]
    mean = pairs.mean(dim=2, keepdim=True)  # [B, T/2, 1, C]
    return (low * mean + high * (pairs - mean)).flatten(1, 2)[:, :frames]  # [B, T, C]
