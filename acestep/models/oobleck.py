"""Oobleck, the autoencoder of ACE-Step 1.5: stereo waveform to latent frames and back.

In: tensors and an ``OobleckConfig``. Out: tensors; state-dict names are those of the published
``diffusion_pytorch_model.safetensors``. Refuses to know files, seconds, batches of different lengths and chunks
(``audio/codec.py``).

Inside, activations are ``[B, C, 1, S]`` in channels-last memory. On a CPU that layout runs the convolutions about
1.7 times as fast as ``[B, C, S]``, and latents ``[B, T, C]`` enter and leave without a copy.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor, nn

from acestep.models.envelope import Envelope
from acestep.models.oobleck_layers import (
    DecoderBlock,
    EncoderBlock,
    Snake,
    conv,
    first_conv,
    folded,
    last_conv,
)
from acestep.models.vae_config import (
    EDGE_KERNEL,
    LATENT_KERNEL,
    OobleckConfig,
    decoder_block_context,
    encoder_block_context,
    windows,
)

TILE_BYTES = 8 << 20  # of one activation; a tile's few activations then stay in the CPU's shared cache


@dataclass(frozen=True, slots=True)
class Tiling:
    """How one stage of the network may be run piece by piece: in steps of one frame on its slower side.

    ``read`` and ``write`` are positions in and out per step, ``context`` the steps to each side that a step's outputs
    depend on, ``width`` the numbers its widest activation has per step, ``channels`` those of the output.
    """

    read: int
    write: int
    context: int
    width: int
    channels: int


def run_tiled(stage: Callable[[Tensor], Tensor], x: Tensor, tiling: Tiling, tile_bytes: int) -> Tensor:
    """``stage(x)``; on a CPU without gradients in overlapping tiles that fit its cache, with the same result.

    Elementwise passes over a song run at the speed of main memory, over a tile at that of the cache. Every batch item
    is run by itself, so its neighbours cannot change it.
    """
    if torch.is_grad_enabled() or x.device.type != "cpu":
        return stage(x)
    batch, _, _, length = x.shape
    read, write, steps = tiling.read, tiling.write, length // tiling.read
    size = max(tile_bytes // (tiling.width * x.element_size()), 1)
    result = torch.empty((batch, tiling.channels, 1, steps * write), dtype=x.dtype, memory_format=torch.channels_last)
    for item, tile in product(range(batch), windows(steps, size, tiling.context)):
        high = length if tile.high == steps else tile.high * read  # what does not fill a step is context
        piece = stage(x[item : item + 1, ..., tile.low * read : high])
        kept = piece[0, ..., (tile.start - tile.low) * write : (tile.stop - tile.low) * write]
        result[item, ..., tile.start * write : tile.stop * write] = kept
    return result


class Encoder(nn.Module):
    """Waveform ``[B, 2, 1, S]`` to moments ``[B, 2 C, 1, S // hop]``: the means, then the raw scales.

    Diffusers takes 2 C from ``encoder_hidden_size``; in every configuration whose halves fit together they agree.
    """

    def __init__(self, config: OobleckConfig) -> None:
        super().__init__()
        strides, widths = config.downsampling_ratios, config.encoder_widths
        self.conv1 = first_conv(config)
        self.block = nn.ModuleList(map(EncoderBlock, widths, widths[1:], strides))
        self.snake1 = Snake(widths[-1])
        self.conv2 = conv(widths[-1], 2 * config.latent_channels, LATENT_KERNEL)
        outer = (config.outer_stride, *[1] * (len(strides) - 1))
        self._tilings = [
            Tiling(stride * k, 1, encoder_block_context(stride, k), width * stride, channels)
            for stride, k, width, channels in zip(strides, outer, widths, widths[1:], strict=False)
        ]

    def _head(self, audio: Tensor) -> Tensor:
        return self.block[0](self.conv1(audio))

    def forward(self, audio: Tensor, tile_bytes: int) -> Tensor:
        x = audio.contiguous(memory_format=torch.channels_last)
        for stage, tiling in zip((self._head, *self.block[1:]), self._tilings, strict=True):
            x = run_tiled(stage, x, tiling, tile_bytes)
        return self.conv2(self.snake1(x))


class Decoder(nn.Module):
    """Latents ``[B, C, 1, T]`` to waveform ``[B, 2, 1, T x hop]``."""

    def __init__(self, config: OobleckConfig) -> None:
        super().__init__()
        strides, widths = config.downsampling_ratios[::-1], config.decoder_widths
        self.conv1 = conv(config.latent_channels, widths[0], EDGE_KERNEL)
        self.block = nn.ModuleList(map(DecoderBlock, widths, widths[1:], strides))
        self.snake1 = Snake(widths[-1])
        self.conv2 = last_conv(config)
        outputs = (*widths[1:-1], config.audio_channels)
        outer = (*[1] * (len(strides) - 1), config.outer_stride)
        self._tilings = [
            Tiling(1, stride * k, decoder_block_context(stride, k), width * stride, channels)
            for stride, k, width, channels in zip(strides, outer, widths[1:], outputs, strict=True)
        ]

    def _tail(self, x: Tensor) -> Tensor:
        return self.conv2(self.snake1(self.block[-1](x)))

    def forward(self, latents: Tensor, tile_bytes: int) -> Tensor:
        x = self.conv1(latents)
        for stage, tiling in zip((*self.block[:-1], self._tail), self._tilings, strict=True):
            x = run_tiled(stage, x, tiling, tile_bytes)
        return x


class Oobleck(nn.Module):
    """The autoencoder.

    Args:
        config: sizes.
        tile_bytes: size of one activation of a tile (CPU inference); results do not depend on it.
    """

    def __init__(self, config: OobleckConfig, *, tile_bytes: int = TILE_BYTES) -> None:
        super().__init__()
        self.config = config
        self.tile_bytes = tile_bytes
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)
        said = config.envelope_channels
        self.envelope = Envelope(said, config.hop, config.sample_rate) if said else None

    def fold(self) -> Oobleck:
        """After loading: store what weight norm and Snake make of their parameters, and free those."""
        return folded(self)

    def moments(self, audio: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and raw scale, ``[B, C, T]`` each, of the latents' distribution with deviation softplus(scale) + 1e-4.

        Args:
            audio: ``[B, 2, S]``; T = S // hop, what follows the last whole hop is context.

        Raises:
            ValueError: the audio is shorter than one hop or has another number of channels.
        """
        channels, hop = self.config.audio_channels, self.config.hop
        if audio.dim() != 3 or audio.shape[1] != channels:
            raise ValueError(f"audio has shape {list(audio.shape)}; expected [B, {channels}, S].")
        if audio.shape[2] < hop:
            raise ValueError(f"audio has S={audio.shape[2]} samples; at least one hop of {hop} is needed.")
        moments = self.encoder(audio.unsqueeze(2), self.tile_bytes).squeeze(2)  # [B, 2, 1, S] -> [B, 2 C, T]
        mean, scale = moments.chunk(2, dim=1)  # [B, C, T] each
        if self.envelope is not None:
            mean = self._with_envelope(mean, audio)
        return mean, scale

    def _with_envelope(self, mean: Tensor, audio: Tensor) -> Tensor:
        """``mean`` ``[B, C, T]`` with the envelope in its first channels, frame after frame in memory as it was."""
        loud = self.envelope(audio).to(mean)
        rest = mean[:, loud.shape[1] :]
        return torch.cat([loud.transpose(1, 2), rest.transpose(1, 2)], 2).transpose(1, 2)

    def encode(self, audio: Tensor) -> Tensor:
        """Latents ``[B, T, C]`` of ``audio`` ``[B, 2, S]``: the mean of ``moments``; no random numbers are used."""
        return self.moments(audio)[0].transpose(1, 2)  # [B, C, T] -> [B, T, C]

    def decode(self, latents: Tensor) -> Tensor:
        """Waveform ``[B, 2, T x hop]`` of ``latents`` ``[B, T, C]``.

        Raises:
            ValueError: the latents have another number of channels or no frames.
        """
        channels = self.config.latent_channels
        if latents.dim() != 3 or latents.shape[2] != channels or not latents.shape[1]:
            raise ValueError(f"latents have shape {list(latents.shape)}; expected [B, T, {channels}] with T >= 1.")
        image = latents.transpose(1, 2).unsqueeze(2)  # [B, T, C] -> [B, C, 1, T], channels-last as it is
        return self.decoder(image, self.tile_bytes).squeeze(2).contiguous()  # [B, 2, 1, S] -> [B, 2, S]
