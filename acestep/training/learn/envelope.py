"""How loud a song is, where and when: what the first latent channels say plainly.

In: waveforms ``[B, 2, S]``. Out: ``[B, E, T]``, whitened principal components of the log energies of a frame in a few
bands and quarters of the frame. A waveform's own numbers change their sign with its phase, so an onset lies in
their energy alone, which a flow loss teaches slowly; what is said here, a linear layer can read. Refuses to know
networks.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from acestep.constants import SAMPLE_RATE, SAMPLES_PER_FRAME
from acestep.training.learn.losses import MEL_BREAK_HZ, MEL_SCALE

CHANNELS = 16  # hold 98 % of the variance of 48 energies
BANDS, LOWEST_HZ, HIGHEST_HZ = 12, 40.0, 16_000.0
PARTS = 4  # of a frame, 10 ms each
WINDOW = 1024
FLOOR = 1e-3  # about -45 dB of full scale


@dataclass(frozen=True, slots=True)
class Envelope:
    """The components: ``mean`` ``[P]`` of the log energies; ``basis`` ``[P, E]``, which divides by deviations too."""

    mean: Tensor
    basis: Tensor

    @classmethod
    def fitted(cls, audio: Tensor, channels: int = CHANNELS) -> Envelope:
        """The strongest components of ``audio`` ``[B, 2, S]``."""
        rows = log_energies(audio).transpose(1, 2).flatten(0, 1).double()  # [B T, P]
        mean = rows.mean(0)
        values, vectors = torch.linalg.eigh((rows - mean).T @ (rows - mean) / len(rows))
        basis = vectors[:, -channels:] / values[-channels:].sqrt()
        return cls(mean.float(), basis.flip(1).float().contiguous())

    def __call__(self, audio: Tensor) -> Tensor:
        """``[B, 2, S]`` to ``[B, E, T]``; of the songs it was fitted to, every channel has mean 0 and deviation 1."""
        return self.basis.T.to(audio) @ (log_energies(audio) - self.mean.to(audio)[:, None])


def log_energies(audio: Tensor) -> Tensor:
    """Log energy of mid in ``BANDS`` mel-spaced bands and ``PARTS`` of every frame, ``[B, BANDS PARTS, T]``."""
    hop = SAMPLES_PER_FRAME // PARTS
    mid = F.pad(audio.mean(1), ((WINDOW - hop) // 2,) * 2)
    window = torch.hann_window(WINDOW, device=audio.device)
    spectrum = torch.stft(mid, WINDOW, hop, window=window, center=False, return_complex=True)
    power = (spectrum.real.square() + spectrum.imag.square()) / WINDOW
    energies = (_bands().to(power) @ power + FLOOR).log()  # [B, BANDS, PARTS T]
    return energies.unflatten(2, (-1, PARTS)).transpose(2, 3).flatten(1, 2)


def _bands() -> Tensor:
    """Which bins every band averages, ``[BANDS, bins]``."""
    low, high = (MEL_SCALE * torch.log10(1 + torch.tensor(hertz) / MEL_BREAK_HZ) for hertz in (LOWEST_HZ, HIGHEST_HZ))
    edges = MEL_BREAK_HZ * (10 ** (torch.linspace(low, high, BANDS + 1) / MEL_SCALE) - 1)
    bins = torch.linspace(0, SAMPLE_RATE / 2, WINDOW // 2 + 1)
    inside = ((bins >= edges[:-1, None]) & (bins < edges[1:, None])).float()
    return inside / inside.sum(1, keepdim=True)
