"""Layers of the v1 vocoder: ConvNeXt blocks over mel frames, residual stacks and changes of rate over samples.

In and out: activations ``[B, C, M]`` in the backbone, ``[B, C, 1, S]`` in channels-last memory in the head (on a CPU
that layout runs convolutions faster). Refuses to know the network they make. Parameter names are the checkpoint's.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from acestep.models.oobleck_layers import conv

NORM_EPS = 1e-6


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of ``[B, C, M]``."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=NORM_EPS)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.transpose(1, 2)).transpose(1, 2)


class ConvNeXtBlock(nn.Module):
    """x + gamma * MLP(norm(depthwise convolution)): 'A ConvNet for the 2020s' (Liu et al. 2022), over time."""

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv1d(channels, channels, kernel, padding=kernel // 2, groups=channels)
        self.norm = nn.LayerNorm(channels, eps=NORM_EPS)
        self.pwconv1 = nn.Linear(channels, 4 * channels)
        self.pwconv2 = nn.Linear(4 * channels, channels)
        self.gamma = nn.Parameter(torch.full((channels,), 1e-6))

    def forward(self, x: Tensor) -> Tensor:
        update = self.norm(self.dwconv(x).transpose(1, 2))  # [B, C, M] -> [B, M, C]
        update = self.gamma * self.pwconv2(F.gelu(self.pwconv1(update)))
        return x + update.transpose(1, 2)  # [B, C, M]


class ResidualStack(nn.Module):
    """For each dilation: x + conv(SiLU(dilated conv(SiLU(x)))); a residual block of HiFi-GAN (Kong et al. 2020)."""

    def __init__(self, channels: int, kernel: int, dilations: Sequence[int]) -> None:
        super().__init__()
        self.convs1 = nn.ModuleList(conv(channels, channels, kernel, dilation=dilation) for dilation in dilations)
        self.convs2 = nn.ModuleList(conv(channels, channels, kernel) for _ in dilations)

    def forward(self, x: Tensor) -> Tensor:
        for dilated, plain in zip(self.convs1, self.convs2, strict=True):
            x = x + plain(silu_of_own(dilated(F.silu(x))))
        return x


def upsampled(x: Tensor, up: nn.Module, stacks: Sequence[nn.Module]) -> Tensor:
    """``[B, C, 1, S]`` to ``[B, C / 2, 1, S x rate]``: SiLU, transposed convolution, mean of the residual stacks."""
    x = up(F.silu(x))
    total = stacks[0](x)
    for stack in stacks[1:]:
        total = total + stack(x)
    return total / len(stacks)


def silu_of_own(x: Tensor) -> Tensor:
    """SiLU of a tensor that nobody else reads: without gradients it is overwritten."""
    return F.silu(x, inplace=not torch.is_grad_enabled())
