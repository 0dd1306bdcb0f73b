"""Layers of the Oobleck autoencoder: Snake, weight-normed convolutions, residual units, blocks that change the rate.

In: activations ``[B, C, 1, S]`` in channels-last memory. Out: the same. Refuses to know the network they make.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from acestep.models.vae_config import EDGE_KERNEL, RESIDUAL_DILATIONS, RESIDUAL_KERNEL, OobleckConfig

BETA_FLOOR = 1e-9
Network = TypeVar("Network", bound=nn.Module)


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


def folded(network: Network) -> Network:
    """``network`` itself; its weight-normed convolutions and curves now store what they make of their parameters."""
    for module in network.modules():
        if isinstance(module, (Snake, WeightNormConv)):
            module.fold()
    return network


def _norm(direction: Tensor) -> Tensor:
    """``[C, 1, 1]``; on the meta device without arithmetic, which takes a second to import there."""
    if direction.is_meta:
        return direction.new_empty(len(direction), 1, 1)
    return torch.linalg.vector_norm(direction, dim=(1, 2), keepdim=True)


def conv(
    width_in: int, width_out: int, kernel: int, *, dilation: int = 1, stride: int = 1, bias: bool = True
) -> WeightNormConv:
    """Length S becomes floor(S / stride); the kernel is odd, or twice the stride."""
    padding = (dilation * (kernel - 1) + 1 - stride) // 2
    function = partial(F.conv2d, stride=(1, stride), padding=(0, padding), dilation=(1, dilation))
    return WeightNormConv((width_out, width_in, kernel), width_out if bias else 0, function)


def upsampling_conv(width_in: int, width_out: int, stride: int, *, bias: bool = True) -> WeightNormConv:
    """Length T becomes T x stride."""
    function = partial(F.conv_transpose2d, stride=(1, stride), padding=(0, stride // 2))
    return WeightNormConv((width_in, width_out, 2 * stride), width_out if bias else 0, function)


def first_conv(config: OobleckConfig) -> WeightNormConv:
    """Audio ``[B, 2, 1, S]`` to the encoder's base width; with ``outer_stride`` k to S / k positions."""
    audio, width, stride = config.audio_channels, config.encoder_widths[0], config.outer_stride
    return conv(audio, width, EDGE_KERNEL) if stride == 1 else conv(audio, width, 2 * stride, stride=stride)


def last_conv(config: OobleckConfig) -> WeightNormConv:
    """The decoder's base width to audio; with ``outer_stride`` k every position becomes k samples."""
    width, audio, stride = config.decoder_widths[-1], config.audio_channels, config.outer_stride
    if stride == 1:
        return conv(width, audio, EDGE_KERNEL, bias=False)
    return WeightNormConv((width, audio, 2 * stride), 0, overlapped)


def overlapped(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """A transposed convolution of kernel 2k, stride k, padding k / 2 as one product and a sum of overlapping halves.

    oneDNN takes seconds to make ready the convolution itself where k is large, for every length anew.

    Args:
        x: ``[B, C, 1, T]``.
        weight: ``[C, out, 1, 2k]``.
        bias: ``[out]`` or None.

    Returns:
        ``[B, out, 1, T k]``.
    """
    channels, out, _, size = weight.shape
    half = size // 2
    table = weight.permute(0, 3, 2, 1).reshape(channels, size * out)  # columns by sample, then by channel
    pieces = (x.permute(0, 2, 3, 1) @ table).view(len(x), 1, -1, 2, half * out)  # [B, 1, T, 2, k out]
    whole = x.new_zeros(len(x), 1, pieces.shape[2] + 1, half * out)
    whole[:, :, :-1] += pieces[..., 0, :]
    whole[:, :, 1:] += pieces[..., 1, :]
    samples = whole.view(len(x), 1, -1, out)[:, :, half // 2 : -(half - half // 2)]
    return (samples if bias is None else samples + bias).permute(0, 3, 1, 2)  # channels last


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
