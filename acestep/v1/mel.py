"""Log-mel spectrograms as the v1 codec reads them: a waveform ``[B, S]`` in, ``[B, mels, M]`` out.

The window and the filterbank are buffers, because the published checkpoint stores its own (rounded to bf16); the
functions here compute the exact ones. Refuses to know normalisation, channels of a song and where audio came from.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from acestep.v1.vocoder_config import VocoderConfig

POWER_FLOOR = 1e-6  # added to re^2 + im^2
MEL_FLOOR = 1e-5  # the quietest band; its logarithm is -11.5

# The scale of Slaney's Auditory Toolbox (1998): linear up to 1 kHz, then logarithmic.
_HZ_PER_LINEAR_MEL = 200 / 3
_KNEE_HZ = 1000.0
_KNEE_MEL = _KNEE_HZ / _HZ_PER_LINEAR_MEL
_MELS_PER_LOG = 27 / math.log(6.4)  # 27 steps from 1 kHz to 6.4 kHz


def periodic_hann(size: int) -> Tensor:
    """The Hann window ``[size]`` whose period, not length, is ``size``: sin^2(pi n / size)."""
    return (torch.arange(size, dtype=torch.float64) * (torch.pi / size)).sin().square().float()


def slaney_filterbank(config: VocoderConfig) -> Tensor:
    """Triangles ``[n_fft / 2 + 1, n_mels]``, each of unit area, from ``f_min`` to ``f_max`` (librosa's default)."""
    corners = torch.tensor([config.f_min, config.f_max], dtype=torch.float64)
    low, high = _mel_of_hz(corners).unbind()
    steps = torch.arange(config.n_mels + 2, dtype=torch.float64) / (config.n_mels + 1)
    edges = _hz_of_mel(low + (high - low) * steps)  # [n_mels + 2], Hz
    bins = torch.arange(config.n_fft // 2 + 1, dtype=torch.float64) * (config.sampling_rate / config.n_fft)
    offsets = bins[:, None] - edges  # [bins, n_mels + 2]
    widths = edges.diff()
    rising, falling = offsets[:, :-2] / widths[:-1], -offsets[:, 2:] / widths[1:]
    area = (edges[2:] - edges[:-2]) / 2
    return (torch.minimum(rising, falling).clamp_min(0) / area).float()


class _Spectrogram(nn.Module):
    """Holds the window under its published name."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("window", periodic_hann(size))


class _MelScale(nn.Module):
    """Holds the filterbank under its published name."""

    def __init__(self, config: VocoderConfig) -> None:
        super().__init__()
        self.register_buffer("fb", slaney_filterbank(config))


class LogMel(nn.Module):
    """ln of the mel spectrogram: magnitudes, not powers, without centring, the ends mirrored.

    Args:
        config: whose spectrogram fields count.
    """

    def __init__(self, config: VocoderConfig) -> None:
        super().__init__()
        self.spectrogram = _Spectrogram(config.win_length)
        self.mel_scale = _MelScale(config)
        self._hop = config.hop_length

    def forward(self, waveform: Tensor) -> Tensor:
        """``[B, S]``, S a whole number of hops and longer than (n_fft - hop) / 2, to ``[B, mels, S / hop]``.

        The Fourier transform is fp32 whatever the buffers are; the result has the buffers' number format.
        """
        window, filterbank = self.spectrogram.window.float(), self.mel_scale.fb
        size = window.numel()
        ends = ((size - self._hop) // 2, size - self._hop - (size - self._hop) // 2)
        mirrored = F.pad(waveform.float()[:, None], ends, mode="reflect")[:, 0]  # [B, S + n_fft - hop]
        spectrum = torch.stft(mirrored, size, self._hop, window=window, center=False, return_complex=True)
        power = torch.view_as_real(spectrum).square().sum(-1)  # [B, bins, M]
        magnitude = (power + POWER_FLOOR).sqrt().to(filterbank.dtype)
        return (filterbank.T @ magnitude).clamp_min(MEL_FLOOR).log()  # [B, mels, M]


def _mel_of_hz(frequencies: Tensor) -> Tensor:
    linear = frequencies / _HZ_PER_LINEAR_MEL
    logarithmic = _KNEE_MEL + (frequencies.clamp_min(_KNEE_HZ) / _KNEE_HZ).log() * _MELS_PER_LOG
    return torch.where(frequencies < _KNEE_HZ, linear, logarithmic)


def _hz_of_mel(mels: Tensor) -> Tensor:
    linear = mels * _HZ_PER_LINEAR_MEL
    logarithmic = _KNEE_HZ * ((mels - _KNEE_MEL).clamp_min(0) / _MELS_PER_LOG).exp()
    return torch.where(mels < _KNEE_MEL, linear, logarithmic)
