"""A starting point for the autoencoder: it begins as a linear transform coder and learns to be better.

In: a fresh ``Oobleck`` with an outer stride, and audio. Out: the same network, whose strided layers are lapped cosine
transforms and whose latents are the whitened principal components of what those transforms keep.

The transform is the MDCT (Princen, Johnson and Bradley, 1987): N basis functions
``sqrt(2/N) sin(pi (n + 1/2) / 2N) cos(pi/N (n + 1/2 + N/2) (k + 1/2))`` of length 2N, stepped by N; its transpose
undoes it. Every level keeps the coefficients that hold the most energy in the audio it is shown. Refuses to know
corpora.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn

from acestep.models.oobleck import Oobleck
from acestep.models.oobleck_layers import ResidualUnit, Snake, WeightNormConv

NEARLY_LINEAR = 4.0  # log of the divisor of Snake's curved part where everything passes through it
RESIDUAL_GAIN = 0.05  # of what a residual unit of the decoder adds
SCALE_BIAS = -3.0  # deviation of the latents' noise: softplus(-3) = 0.05 of their own
FLOOR = 1e-8


def lapped_basis(size: int) -> Tensor:
    """Basis functions of the MDCT, ``[size, 2 size]``, orthonormal over shifts by ``size``."""
    time = torch.arange(2 * size, dtype=torch.float64) + 0.5
    bins = torch.arange(size, dtype=torch.float64)[:, None] + 0.5
    window = torch.sin(math.pi * time / (2 * size))
    return (math.sqrt(2 / size) * window * torch.cos(math.pi / size * (time + size / 2) * bins)).float()


@torch.no_grad()
def start_as_transform(vae: Oobleck, audio: Tensor) -> None:
    """Initialise ``vae``.

    Args:
        vae: fresh, with ``outer_stride`` > 1; base widths ``audio_channels * outer_stride``; both halves as wide.
        audio: ``[B, 2, S]``, enough of it to estimate the covariance of a latent frame (a minute and more).
    """
    _quieten(vae)
    kept = _outer(vae, audio)  # [B, W, S / k]
    downs = [block.conv1 for block in vae.encoder.block]
    ups = [block.conv_t1 for block in reversed(vae.decoder.block)]
    for down, up, (width_in, width_out), stride in zip(
        downs, ups, pairwise(vae.config.encoder_widths), vae.config.downsampling_ratios, strict=True
    ):
        kept = _level(down, up, kept, width_in, width_out, stride)
    _components(vae, kept)


def _quieten(vae: Oobleck) -> None:
    """Snake nearly linear, residual units the identity in the encoder and nearly so in the decoder; within them Snake
    stays as curved as it is."""
    for module in vae.modules():
        if isinstance(module, Snake):
            module.beta.fill_(NEARLY_LINEAR)
    for half, gain in ((vae.encoder, 0.0), (vae.decoder, RESIDUAL_GAIN)):
        for module in half.modules():
            if isinstance(module, ResidualUnit):
                module.conv2.weight_g.mul_(gain)
                for inside in (module.snake1, module.snake2):
                    inside.beta.zero_()


def _outer(vae: Oobleck, audio: Tensor) -> Tensor:
    """The layers next to the audio: the MDCT of mid and of side."""
    size = vae.config.outer_stride
    basis = lapped_basis(size) / math.sqrt(2)
    mid_side = torch.tensor([[1.0, 1.0], [1.0, -1.0]])
    weight = torch.einsum("mc,kn->mkcn", mid_side, basis).flatten(0, 1)  # [2 size, 2, 2 size]
    _give(vae.encoder.conv1, weight)
    _give(vae.decoder.conv2, weight)
    return nn.functional.conv1d(audio, weight.to(audio), stride=size, padding=size // 2)


def _level(down: WeightNormConv, up: WeightNormConv, x: Tensor, width_in: int, width_out: int, stride: int) -> Tensor:
    """One strided level: every channel is transformed by itself, the strongest ``width_out`` coefficients stay."""
    basis = lapped_basis(stride)
    full = torch.zeros(width_in, stride, width_in, 2 * stride)
    full[torch.arange(width_in), :, torch.arange(width_in)] = basis
    full = full.flatten(0, 1).to(x)  # [width_in stride, width_in, 2 stride]
    coefficients = nn.functional.conv1d(x, full, stride=stride, padding=stride // 2)
    strongest = coefficients.square().mean((0, 2)).topk(width_out).indices.sort().values
    _give(down, full[strongest])
    _give(up, full[strongest])
    return coefficients[:, strongest]


def _components(vae: Oobleck, x: Tensor) -> None:
    """The layers next to the latents: whitened principal components there, and back again; behind the envelope."""
    rows = x.transpose(1, 2).flatten(0, 1)  # [frames, W]
    values, vectors = torch.linalg.eigh((rows.T @ rows / len(rows)).double())
    channels, free = vae.config.latent_channels, vae.config.envelope_channels
    strongest = slice(free - channels, None)
    deviation = values[strongest].clamp_min(FLOOR).sqrt().float()
    components = vectors[:, strongest].float()  # [W, C - free]
    there = vae.encoder.conv2
    weight = 0.01 * torch.randn_like(there.weight_v) / math.sqrt(there.weight_v[0].numel())
    weight[free:channels, :, weight.shape[2] // 2] += (components / deviation).T
    _give(there, weight)
    there.bias[channels:].fill_(SCALE_BIAS)
    back = vae.decoder.conv1
    weight = 1e-4 * torch.randn_like(back.weight_v)
    weight[:, free:, weight.shape[2] // 2] += components * deviation
    _give(back, weight)


def _give(layer: WeightNormConv, weight: Tensor, bias: Tensor | None = None) -> None:
    """Make ``weight`` the layer's, with ``bias`` or none."""
    layer.weight_v.copy_(weight)
    layer.weight_g.copy_(torch.linalg.vector_norm(weight, dim=(1, 2), keepdim=True))
    if layer.bias is not None:
        layer.bias.copy_(torch.zeros_like(layer.bias) if bias is None else bias)
