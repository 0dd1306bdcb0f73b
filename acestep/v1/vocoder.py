"""The vocoder of ACE-Step v1: log-mel frames of one channel to samples (a ConvNeXt backbone, a HiFi-GAN head).

In: tensors and a ``VocoderConfig``. Out: tensors; state-dict names are those of the published
``music_vocoder/diffusion_pytorch_model.safetensors``, the spectrogram's two buffers included.
Refuses to know files, seconds, stereo, latents and windows of a long song (``codec.py``).
"""

from __future__ import annotations

from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn

from acestep.models.oobleck import TILE_BYTES, Tiling, run_tiled
from acestep.models.oobleck_layers import conv, folded, upsampling_conv
from acestep.v1.mel import LogMel
from acestep.v1.vocoder_config import VocoderConfig
from acestep.v1.vocoder_layers import ChannelNorm, ConvNeXtBlock, ResidualStack, silu_of_own, upsampled


class Backbone(nn.Module):
    """Log-mel frames ``[B, mels, M]`` to features ``[B, D, M]``: ConvNeXt stages that never change the rate."""

    def __init__(self, config: VocoderConfig) -> None:
        super().__init__()
        dims, (kernel,) = config.dims, config.kernel_sizes
        stem = nn.Conv1d(config.input_channels, dims[0], kernel, padding=kernel // 2, padding_mode="replicate")
        widenings = [nn.Sequential(ChannelNorm(a), nn.Conv1d(a, b, 1)) for a, b in pairwise(dims)]
        self.channel_layers = nn.ModuleList([nn.Sequential(stem, ChannelNorm(dims[0])), *widenings])
        self.stages = nn.ModuleList(
            nn.Sequential(*(ConvNeXtBlock(width, kernel) for _ in range(depth)))
            for width, depth in zip(dims, config.depths, strict=True)
        )
        self.norm = ChannelNorm(dims[-1])

    def forward(self, mel: Tensor) -> Tensor:
        x = mel
        for layer, stage in zip(self.channel_layers, self.stages, strict=True):
            x = stage(layer(x))
        return self.norm(x)


class Head(nn.Module):
    """Features ``[B, D, M]`` to samples ``[B, 1, M x hop]`` between -1 and 1."""

    def __init__(self, config: VocoderConfig) -> None:
        super().__init__()
        widths, rates = config.head_widths, config.upsample_rates
        self.conv_pre = conv(config.num_mels, widths[0], config.pre_conv_kernel_size)
        self.ups = nn.ModuleList(map(upsampling_conv, widths, widths[1:], rates))
        stacks = list(zip(config.resblock_kernel_sizes, config.resblock_dilation_sizes, strict=True))
        self.resblocks = nn.ModuleList(ResidualStack(width, *stack) for width in widths[1:] for stack in stacks)
        self.conv_post = conv(widths[-1], 1, config.post_conv_kernel_size)
        self._stacks = len(stacks)
        self._tilings = self._planned_tilings(config)

    def forward(self, features: Tensor, tile_bytes: int) -> Tensor:
        x = self.conv_pre(features.unsqueeze(2).contiguous(memory_format=torch.channels_last))  # [B, C, 1, M]
        for level, tiling in enumerate(self._tilings):
            x = run_tiled(partial(self._stage, level), x, tiling, tile_bytes)
        return x.squeeze(2)  # [B, 1, S]

    def _stage(self, level: int, x: Tensor) -> Tensor:
        first = level * self._stacks
        x = upsampled(x, self.ups[level], self.resblocks[first : first + self._stacks])
        if level < len(self.ups) - 1:
            return x
        return self.conv_post(silu_of_own(x)).tanh()

    def _planned_tilings(self, config: VocoderConfig) -> list[Tiling]:
        """One per stage; the last stage has the last convolution behind it."""
        widths, rates = config.head_widths[1:], config.upsample_rates
        inner = len(rates) - 1
        reaches = (*[0] * inner, config.post_conv_kernel_size // 2)
        return [
            Tiling(1, rate, config.stage_context(rate, reach), width * rate, channels)
            for rate, reach, width, channels in zip(rates, reaches, widths, (*widths[:inner], 1), strict=True)
        ]


class Vocoder(nn.Module):
    """The vocoder.

    Args:
        config: sizes.
        tile_bytes: size of one activation of a tile (CPU inference); results do not depend on it.
    """

    def __init__(self, config: VocoderConfig, *, tile_bytes: int = TILE_BYTES) -> None:
        super().__init__()
        self.config = config
        self.tile_bytes = tile_bytes
        self.mel_transform = LogMel(config)
        self.backbone = Backbone(config)
        self.head = Head(config)

    def fold(self) -> Vocoder:
        """After loading: store what weight norm makes of its two parameters, and free those."""
        return folded(self)

    def log_mel(self, waveform: Tensor) -> Tensor:
        """What the vocoder inverts: ``[B, S]``, S a whole number of hops, to natural logarithms ``[B, mels, M]``."""
        return self.mel_transform(waveform)

    def features(self, mel: Tensor) -> Tensor:
        """``[B, D, M]``, what the head reads, of log-mel frames ``[B, mels, M]``.

        Raises:
            ValueError: there are no frames, or another number of bands.
        """
        bands = self.config.n_mels
        if mel.dim() != 3 or mel.shape[1] != bands or not mel.shape[2]:
            raise ValueError(f"mel has shape {list(mel.shape)}; expected [B, {bands}, M] with M >= 1.")
        return self.backbone(mel)

    def samples(self, features: Tensor) -> Tensor:
        """``[B, 1, M x hop]`` of ``features``; frame m hears ``config.head_context_frames`` to each side."""
        return self.head(features, self.tile_bytes)

    def forward(self, mel: Tensor) -> Tensor:
        """Samples ``[B, 1, M x hop]``, from -1 to 1, of log-mel frames ``[B, mels, M]``.

        Raises:
            ValueError: there are no frames, or another number of bands.
        """
        return self.samples(self.features(mel))
