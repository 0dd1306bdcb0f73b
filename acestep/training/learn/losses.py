"""What the autoencoder is judged by while it learns, and the figures it is reported with.

In: waveforms ``[B, 2, S]``. Out: scalars. Refuses to know networks.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from acestep.constants import SAMPLE_RATE
from acestep.models.envelope import MEL_BREAK_HZ

RESOLUTIONS = (4096, 1024, 256)  # samples per window; hop a quarter
MAGNITUDE_FLOOR = 1e-3
MEL_BANDS, MEL_WINDOW, MEL_FLOOR = 80, 2048, 1e-4
MEL_SCALE = 2595.0
EPS = 1e-8


def distortion(made: Tensor, wanted: Tensor) -> Tensor:
    """Log (base 10) of the error's share of the energy, mean over songs: -1 is a signal-to-distortion of 10 dB."""
    error = (made - wanted).square().mean((1, 2))
    energy = wanted.square().mean((1, 2))
    return ((error + 1e-7) / (energy + 1e-6)).log10().mean()


def spectral_distance(made: Tensor, wanted: Tensor) -> Tensor:
    """Multi-resolution STFT distance (Yamamoto et al., 2020): log-magnitude L1 plus spectral convergence."""
    total = made.new_zeros(())
    for size in RESOLUTIONS:
        ours, theirs = _magnitude(_views(made), size), _magnitude(_views(wanted), size)
        logs = (ours + MAGNITUDE_FLOOR).log() - (theirs + MAGNITUDE_FLOOR).log()
        convergence = torch.linalg.vector_norm(ours - theirs) / (torch.linalg.vector_norm(theirs) + EPS)
        total = total + logs.abs().mean() + 0.5 * convergence
    return total / len(RESOLUTIONS)


def si_sdr(made: Tensor, wanted: Tensor) -> Tensor:
    """Scale-invariant signal-to-distortion ratio in dB (Le Roux et al., 2019), per song ``[B]``."""
    made, wanted = made.flatten(1), wanted.flatten(1)
    scale = (made * wanted).sum(1, keepdim=True) / (wanted.square().sum(1, keepdim=True) + EPS)
    target = scale * wanted
    ratio = target.square().sum(1) / ((made - target).square().sum(1) + EPS)
    return 10 * (ratio + EPS).log10()


def log_mel_distance(made: Tensor, wanted: Tensor) -> Tensor:
    """Mean absolute difference of natural-log mel magnitudes (80 bands, floor 1e-4), per song ``[B]``."""
    return (_log_mel(made) - _log_mel(wanted)).abs().mean((1, 2, 3))


def _log_mel(audio: Tensor) -> Tensor:
    magnitude = _magnitude(audio, MEL_WINDOW) / MEL_WINDOW * 2  # of a sine: half its amplitude
    return (_mel_bank().to(magnitude) @ magnitude).clamp_min(MEL_FLOOR).log()


def _views(audio: Tensor) -> Tensor:
    """Left, right and their mean ``[B, 3, S]``: what is wrong in the middle is heard most."""
    return torch.cat([audio, audio.mean(1, keepdim=True)], dim=1)


def _magnitude(audio: Tensor, size: int) -> Tensor:
    """``[B, c, size / 2 + 1, frames]``; the square root is kept away from zero, where it has no slope."""
    flat = audio.flatten(0, 1)
    spectrum = torch.stft(flat, size, size // 4, window=_window(size).to(flat), return_complex=True)
    magnitude = (spectrum.real.square() + spectrum.imag.square() + 1e-10).sqrt()
    return magnitude.unflatten(0, audio.shape[:2])


@cache
def _window(size: int) -> Tensor:
    return torch.hann_window(size)


@cache
def _mel_bank() -> Tensor:
    """Triangular filters ``[bands, bins]`` of unit area over bins, HTK mel scale."""
    top = MEL_SCALE * torch.log10(torch.tensor(1 + SAMPLE_RATE / 2 / MEL_BREAK_HZ))
    edges = MEL_BREAK_HZ * (10 ** (torch.linspace(0, 1, MEL_BANDS + 2) * top / MEL_SCALE) - 1)
    bins = torch.linspace(0, SAMPLE_RATE / 2, MEL_WINDOW // 2 + 1)
    low, centre, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    filters = torch.minimum((bins - low) / (centre - low), (high - bins) / (high - centre)).clamp_min(0)
    return filters / filters.sum(1, keepdim=True).clamp_min(EPS)
