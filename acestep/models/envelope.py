"""How loud a recording is, where and when: what the first latent channels of some autoencoders say plainly.

In: waveforms ``[B, 2, S]``. Out: ``[B, E, T]``, whitened principal components of the log energies of a frame in a few
bands and quarters of the frame. A waveform's own numbers change their sign with its phase, so in them an onset is a
matter of energy alone, which a flow is slow to learn; what is said here, a linear layer can read. No published
autoencoder has it. Refuses to know the network that it is a part of.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

PARTS, BANDS = 4, 12  # of a frame; energies in each
LOWEST_HZ, HIGHEST_HZ = 40.0, 16_000.0
MEL_BREAK_HZ = 700.0
FLOOR = 1e-3  # about -45 dB of full scale


class Envelope(nn.Module):
    """Log energies, centred and whitened.

    Args:
        channels: E, at most ``PARTS * BANDS``.
        hop: samples per frame.
        rate: Hz.

    Attributes:
        mean: of the log energies ``[P]``.
        basis: ``[P, E]``, principal components divided by their deviations.
    """

    def __init__(self, channels: int, hop: int, rate: int) -> None:
        super().__init__()
        self._hop, self._rate = hop // PARTS, rate
        self._window = 2 << self._hop.bit_length()  # two to four hops
        self.register_buffer("mean", torch.zeros(PARTS * BANDS))
        self.register_buffer("basis", torch.zeros(PARTS * BANDS, channels))

    def forward(self, audio: Tensor) -> Tensor:
        """``[B, 2, S]`` to ``[B, E, T]``, T whole frames; what follows them is context."""
        return self.basis.float().T @ (self.energies(audio) - self.mean.float()[:, None])

    def energies(self, audio: Tensor) -> Tensor:
        """Log energy of the middle of the picture, ``[B, P, T]``: bands from low to high, of each the parts."""
        margin = (self._window - self._hop) // 2
        window = torch.hann_window(self._window, device=audio.device)
        mid = F.pad(audio.float().mean(1), (margin, margin))
        spectrum = torch.stft(mid, self._window, self._hop, window=window, center=False, return_complex=True)
        power = (spectrum.real.square() + spectrum.imag.square()) / self._window
        energies = (self._bands(audio.device) @ power + FLOOR).log()  # [B, BANDS, PARTS T and more]
        whole = audio.shape[2] // (PARTS * self._hop) * PARTS
        return energies[..., :whole].unflatten(2, (-1, PARTS)).transpose(2, 3).flatten(1, 2)

    @torch.no_grad()
    def fit(self, audio: Tensor) -> None:
        """Take mean and components from ``audio`` ``[B, 2, S]``; there every channel has mean 0 and deviation 1."""
        rows = self.energies(audio).transpose(1, 2).flatten(0, 1).double()  # [B T, P]
        mean = rows.mean(0)
        values, vectors = torch.linalg.eigh((rows - mean).T @ (rows - mean) / len(rows))
        strongest = slice(-self.basis.shape[1], None)
        self.mean.copy_(mean)
        self.basis.copy_((vectors[:, strongest] / values[strongest].sqrt()).flip(1))

    def _bands(self, device: torch.device) -> Tensor:
        """Which bins every band averages, ``[BANDS, bins]``, evenly spaced in mels."""
        low, high = (math.log1p(hertz / MEL_BREAK_HZ) for hertz in (LOWEST_HZ, HIGHEST_HZ))
        edges = MEL_BREAK_HZ * torch.linspace(low, high, BANDS + 1, device=device).expm1()
        bins = torch.linspace(0, self._rate / 2, self._window // 2 + 1, device=device)
        inside = ((bins >= edges[:-1, None]) & (bins < edges[1:, None])).float()
        return inside / inside.sum(1, keepdim=True)
