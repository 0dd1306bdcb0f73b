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
from functools import partial
from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from acestep.models.vae_config import (
    EDGE_KERNEL,
    LATENT_KERNEL,
    RESIDUAL_DILATIONS,
    RESIDUAL_KERNEL,
    OobleckConfig,
    decoder_block_context,
    encoder_block_context,
    windows,
)

TILE_BYTES = 8 << 20  # of one activation; a tile's few activations then stay in the CPU's shared cache
BETA_FLOOR = 1e-9


class Snake(nn.Module):
    """y = x + sin(e^alpha x)^2 / (e^beta + 1e-9), alpha and beta per channel (Snake of BigVGAN, log scale)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.zeros(1, channels, 1))
        self.beta = nn.Parameter(torch.zeros(1, channels, 1))

    def _curve(self) -> tuple[Tensor, Tensor]:
        """Frequency and inverse magnitude ``[1, C, 1, 1]``, computed in fp32."""
        if not hasattr(self, "alpha"):
            return self.frequency, self.inverse_magnitude
        frequency = self.alpha.float().exp()
        inverse_magnitude = 1.0 / (self.beta.float().exp() + BETA_FLOOR)
        return frequency[..., None].to(self.alpha.dtype), inverse_magnitude[..., None].to(self.beta.dtype)

    @torch.no_grad()
    def fold(self) -> None:
        """Replace the logarithms by what the formula needs of them."""
        if not hasattr(self, "alpha"):
            return
        frequency, inverse_magnitude = self._curve()
        del self.alpha, self.beta
        self.frequency = nn.Parameter(frequency, requires_grad=False)
        self.inverse_magnitude = nn.Parameter(inverse_magnitude, requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        frequency, inverse_magnitude = self._curve()
        wave = x * frequency
        if torch.is_grad_enabled():
            return torch.addcmul(x, wave.sin().square(), inverse_magnitude)
        return torch.addcmul(x, wave.sin_().square_(), inverse_magnitude, out=wave)


class WeightNormConv(nn.Module):
    """A convolution over time with weight norm, w = g v / |v|, the norm over all axes but the first.

    Before ``fold`` the weight is formed at every call (training); afterwards it is stored. Both form it in fp32.

    Args:
        shape: of ``weight_v``: [out, in, kernel], or [in, out, kernel] where the function is transposed.
        bias: number of bias values; 0 for none.
        function: the convolution of ``[B, C, 1, S]`` with ``[., ., 1, kernel]``.
    """

    def __init__(self, shape: tuple[int, int, int], bias: int, function: Callable[..., Tensor]) -> None:
        super().__init__()
        self.weight_v = nn.Parameter(nn.init.kaiming_uniform_(torch.empty(shape), a=5**0.5))  # as torch's own
        self.weight_g = nn.Parameter(_norm(self.weight_v.detach()))
        self.bias = nn.Parameter(torch.zeros(bias)) if bias else None
        self._function = function

    def _weight(self) -> Tensor:
        if not hasattr(self, "weight_v"):
            return self.weight
        direction = self.weight_v.float()
        weight = (direction * (self.weight_g.float() / _norm(direction))).to(self.weight_v.dtype)
        return weight[:, :, None].contiguous(memory_format=torch.channels_last)  # [., ., 1, kernel]

    @torch.no_grad()
    def fold(self) -> None:
        """Store the weight and free ``weight_g`` and ``weight_v``."""
        if not hasattr(self, "weight_v"):
            return
        weight = self._weight()
        del self.weight_g, self.weight_v
        self.weight = nn.Parameter(weight, requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        return self._function(x, self._weight(), self.bias)


def _norm(direction: Tensor) -> Tensor:
    return torch.linalg.vector_norm(direction, dim=(1, 2), keepdim=True)


def conv(
    width_in: int, width_out: int, kernel: int, *, dilation: int = 1, stride: int = 1, bias: bool = True
) -> WeightNormConv:
    """Length S becomes floor(S / stride); the kernel is odd, or twice the stride."""
    padding = (dilation * (kernel - 1) + 1 - stride) // 2
    function = partial(F.conv2d, stride=(1, stride), padding=(0, padding), dilation=(1, dilation))
    return WeightNormConv((width_out, width_in, kernel), width_out if bias else 0, function)


def upsampling_conv(width_in: int, width_out: int, stride: int) -> WeightNormConv:
    """Length T becomes T x stride."""
    function = partial(F.conv_transpose2d, stride=(1, stride), padding=(0, stride // 2))
    return WeightNormConv((width_in, width_out, 2 * stride), width_out, function)


class ResidualUnit(nn.Module):
    """x + two convolutions, each behind a Snake; the first sees ``dilation`` times as far."""

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.snake1 = Snake(width)
        self.conv1 = conv(width, width, RESIDUAL_KERNEL, dilation=dilation)
        self.snake2 = Snake(width)
        self.conv2 = conv(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        update = self.conv2(self.snake2(self.conv1(self.snake1(x))))
        return x + update if torch.is_grad_enabled() else update.add_(x)


class _Block(nn.Module):
    """Three residual units of growing dilation, a Snake, and a change of rate that the subclass places."""

    def __init__(self, width: int, snake_width: int) -> None:
        super().__init__()
        self.res_unit1, self.res_unit2, self.res_unit3 = (ResidualUnit(width, d) for d in RESIDUAL_DILATIONS)
        self.snake1 = Snake(snake_width)

    def _residuals(self, x: Tensor) -> Tensor:
        return self.res_unit3(self.res_unit2(self.res_unit1(x)))


class EncoderBlock(_Block):
    """``[B, width_in, 1, S]`` to ``[B, width_out, 1, S / stride]``."""

    def __init__(self, width_in: int, width_out: int, stride: int) -> None:
        super().__init__(width_in, width_in)
        self.conv1 = conv(width_in, width_out, 2 * stride, stride=stride)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv1(self.snake1(self._residuals(x)))


class DecoderBlock(_Block):
    """``[B, width_in, 1, T]`` to ``[B, width_out, 1, T x stride]``."""

    def __init__(self, width_in: int, width_out: int, stride: int) -> None:
        super().__init__(width_out, width_in)
        self.conv_t1 = upsampling_conv(width_in, width_out, stride)

    def forward(self, x: Tensor) -> Tensor:
        return self._residuals(self.conv_t1(self.snake1(x)))


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
        self.conv1 = conv(config.audio_channels, widths[0], EDGE_KERNEL)
        self.block = nn.ModuleList(map(EncoderBlock, widths, widths[1:], strides))
        self.snake1 = Snake(widths[-1])
        self.conv2 = conv(widths[-1], 2 * config.latent_channels, LATENT_KERNEL)
        self._tilings = [
            Tiling(stride, 1, encoder_block_context(stride), width * stride, channels)
            for stride, width, channels in zip(strides, widths, widths[1:], strict=False)
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
        self.conv2 = conv(widths[-1], config.audio_channels, EDGE_KERNEL, bias=False)
        outputs = (*widths[1:-1], config.audio_channels)
        self._tilings = [
            Tiling(1, stride, decoder_block_context(stride), width * stride, channels)
            for stride, width, channels in zip(strides, widths[1:], outputs, strict=True)
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

    def fold(self) -> Oobleck:
        """After loading: store what weight norm and Snake make of their parameters, and free those."""
        for module in self.modules():
            if isinstance(module, (Snake, WeightNormConv)):
                module.fold()
        return self

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
        return mean, scale

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
