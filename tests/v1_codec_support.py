"""Small codecs of v1 with the real time and band geometry, and its formulas restated slowly in float64.

Every reference reads a state dict by the published names and loops over what the networks vectorise. Refuses to know
how the networks are built.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from diffusers import AutoencoderDC
from torch import Tensor, nn

from acestep.v1.codec import MusicCodec
from acestep.v1.vocoder import Vocoder
from acestep.v1.vocoder_config import VocoderConfig

SMALL = VocoderConfig(depths=(1, 1, 2, 1), dims=(6, 8, 10, 12), num_mels=12, upsample_initial_channel=256)
# The same spectrogram, few steps to the samples: what whole codecs are tested with.
BRISK = VocoderConfig(
    depths=(1, 1),
    dims=(6, 8),
    num_mels=8,
    upsample_initial_channel=16,
    upsample_rates=(8, 8, 8),
    upsample_kernel_sizes=(16, 16, 16),
    resblock_kernel_sizes=(3, 5),
    resblock_dilation_sizes=((1, 2), (1, 2)),
)
# Hardly any bands, and a short hop: what the slow references can afford.
MINIATURE = VocoderConfig(
    n_mels=5,
    n_fft=64,
    win_length=64,
    hop_length=16,
    input_channels=5,
    depths=(1, 2),
    dims=(6, 8),
    num_mels=8,
    upsample_initial_channel=8,
    upsample_rates=(4, 2, 2),
    upsample_kernel_sizes=(8, 4, 4),
)
_RESIDUAL, _ATTENTION = "ResBlock", "EfficientViTBlock"

Weights = Mapping[str, np.ndarray]


def small_vocoder(config: VocoderConfig = SMALL, seed: int = 0) -> Vocoder:
    """Every tensor takes part: no bias is zero, norms differ from the directions', blocks change what they read."""
    torch.manual_seed(seed)
    network = Vocoder(config).eval().requires_grad_(False)
    for name, parameter in network.named_parameters():
        noise = torch.randn_like(parameter)
        if name.endswith(("weight_g", "weight_v")):
            parameter.mul_(1 + 0.1 * noise)
        elif name.endswith(("bias", "gamma")):
            parameter.copy_(0.3 * noise)
    return network


def small_autoencoder(*, attention: bool = True, seed: int = 0) -> AutoencoderDC:
    """Published levels and kernels, hardly any channels; without attention it only sees its neighbourhood."""
    torch.manual_seed(seed)
    innermost = _ATTENTION if attention else _RESIDUAL
    network = AutoencoderDC(
        in_channels=2,
        latent_channels=8,
        attention_head_dim=8,
        encoder_block_types=(_RESIDUAL, _RESIDUAL, _RESIDUAL, innermost),
        decoder_block_types=(_RESIDUAL, _RESIDUAL, _RESIDUAL, innermost),
        encoder_block_out_channels=(8, 8, 16, 32),
        decoder_block_out_channels=(8, 8, 16, 32),
        encoder_layers_per_block=(2, 2, 3, 3),
        decoder_layers_per_block=(3, 3, 3, 3),
        encoder_qkv_multiscales=((), (), (5,), (5,)),
        decoder_qkv_multiscales=((), (), (5,), (5,)),
        upsample_block_type="interpolate",
        downsample_block_type="Conv",
        scaling_factor=0.41407,
    )
    return network.eval().requires_grad_(False)


def small_codec(*, attention: bool = True, budget_bytes: int | None = None) -> MusicCodec:
    """Both networks; the vocoder is folded."""
    vocoder = small_vocoder(BRISK).fold()
    return MusicCodec(small_autoencoder(attention=attention), vocoder, budget_bytes=budget_bytes)


def weights_of(network: nn.Module) -> dict[str, np.ndarray]:
    """The state dict in float64."""
    return {name: tensor.double().numpy() for name, tensor in network.state_dict().items()}


def rms(x: Tensor) -> float:
    """Root mean square."""
    return float(x.double().square().mean().sqrt())


# --- The vocoder, restated --------------------------------------------------------------------------------------


def slow_vocoder(mel: np.ndarray, weights: Weights, config: VocoderConfig) -> np.ndarray:
    """Samples ``[M x hop]`` of one spectrogram ``[bands, M]``."""
    return slow_head(slow_backbone(mel, weights, config), weights, config)


def slow_backbone(mel: np.ndarray, weights: Weights, config: VocoderConfig) -> np.ndarray:
    """Features ``[D, M]`` of ``[bands, M]``."""
    x = mel
    for stage, depth in enumerate(config.depths):
        here = f"backbone.channel_layers.{stage}"
        if stage == 0:
            x = slow_conv(np.pad(x, ((0, 0), (3, 3)), mode="edge"), *affine(weights, f"{here}.0"), padding=0)
            x = slow_norm(x, *affine(weights, f"{here}.1"))
        else:
            x = slow_conv(slow_norm(x, *affine(weights, f"{here}.0")), *affine(weights, f"{here}.1"), padding=0)
        for block in range(depth):
            x = slow_convnext(x, weights, f"backbone.stages.{stage}.{block}")
    return slow_norm(x, *affine(weights, "backbone.norm"))


def slow_convnext(x: np.ndarray, weights: Weights, name: str) -> np.ndarray:
    """One block on ``[C, M]``."""
    kernels, offsets = affine(weights, f"{name}.dwconv")
    filtered = np.concatenate(
        [
            slow_conv(row[None], kernel[None], offset[None])
            for row, kernel, offset in zip(x, kernels, offsets, strict=True)
        ]
    )
    normed = slow_norm(filtered, *affine(weights, f"{name}.norm"))
    outer, inner = affine(weights, f"{name}.pwconv1"), affine(weights, f"{name}.pwconv2")
    hidden = outer[0] @ normed + outer[1][:, None]
    hidden = 0.5 * hidden * (1 + np.vectorize(math.erf)(hidden / math.sqrt(2)))
    return x + weights[f"{name}.gamma"][:, None] * (inner[0] @ hidden + inner[1][:, None])


def slow_head(features: np.ndarray, weights: Weights, config: VocoderConfig) -> np.ndarray:
    """Samples ``[M x hop]`` of ``[D, M]``."""
    x = slow_conv(features, *normed(weights, "head.conv_pre"))
    for stage, rate in enumerate(config.upsample_rates):
        x = slow_transposed_conv(slow_silu(x), *normed(weights, f"head.ups.{stage}"), rate)
        stacks = []
        for stack, dilations in enumerate(config.resblock_dilation_sizes):
            name = f"head.resblocks.{stage * len(config.resblock_kernel_sizes) + stack}"
            stacks.append(slow_stack(x, weights, name, dilations))
        x = np.mean(stacks, axis=0)
    return np.tanh(slow_conv(slow_silu(x), *normed(weights, "head.conv_post")))[0]


def slow_stack(x: np.ndarray, weights: Weights, name: str, dilations: tuple[int, ...]) -> np.ndarray:
    """One residual stack on ``[C, S]``."""
    for number, dilation in enumerate(dilations):
        hidden = slow_conv(slow_silu(x), *normed(weights, f"{name}.convs1.{number}"), dilation=dilation)
        x = x + slow_conv(slow_silu(hidden), *normed(weights, f"{name}.convs2.{number}"))
    return x


def affine(weights: Weights, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Weight and bias."""
    return weights[f"{name}.weight"], weights[f"{name}.bias"]


def normed(weights: Weights, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Weight and bias of a weight-normed layer: every slice of the first axis gets the length that g says."""
    lengths, directions = weights[f"{name}.weight_g"], weights[f"{name}.weight_v"]
    slices = [g.item() * v / math.sqrt(sum(v.ravel() ** 2)) for g, v in zip(lengths, directions, strict=True)]
    return np.stack(slices), weights[f"{name}.bias"]


def slow_conv(
    x: np.ndarray, kernel: np.ndarray, bias: np.ndarray, *, dilation: int = 1, padding: int | None = None
) -> np.ndarray:
    """``[Cin, S]`` with ``[Cout, Cin, k]``; zeros around unless ``padding`` says otherwise."""
    taps = kernel.shape[2]
    around = dilation * (taps // 2) if padding is None else padding
    padded = np.pad(x, ((0, 0), (around, around)))
    length = padded.shape[1] - dilation * (taps - 1)
    out = np.repeat(bias[:, None], length, axis=1)
    for tap in range(taps):
        out = out + kernel[:, :, tap] @ padded[:, dilation * tap : dilation * tap + length]
    return out


def slow_transposed_conv(x: np.ndarray, kernel: np.ndarray, bias: np.ndarray, rate: int) -> np.ndarray:
    """``[Cin, S]`` with ``[Cin, Cout, k]``: every input adds its kernel at ``rate`` times its place."""
    length, taps = x.shape[1], kernel.shape[2]
    padding = (taps - rate) // 2
    full = np.zeros((kernel.shape[1], (length - 1) * rate + taps))
    for place in range(length):
        full[:, place * rate : place * rate + taps] += np.einsum("i,iok->ok", x[:, place], kernel)
    return full[:, padding : padding + length * rate] + bias[:, None]


def slow_norm(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """Layer norm over the channels of ``[C, M]``."""
    centred = x - x.mean(axis=0)
    return weight[:, None] * centred / np.sqrt((centred**2).mean(axis=0) + 1e-6) + bias[:, None]


def slow_silu(x: np.ndarray) -> np.ndarray:
    """x times its sigmoid."""
    return x / (1 + np.exp(-x))


# --- The spectrogram, restated ----------------------------------------------------------------------------------


def slow_log_mel(waveform: np.ndarray, window: np.ndarray, filterbank: np.ndarray, hop: int) -> np.ndarray:
    """``[bands, S / hop]`` of samples ``[S]``, one frame after the other by the definition of the transform."""
    size = len(window)
    padding = (size - hop) // 2
    mirrored = np.concatenate([waveform[padding:0:-1], waveform, waveform[-2 : -padding - 2 : -1]])
    angles = 2 * np.pi * np.outer(np.arange(size // 2 + 1), np.arange(size)) / size
    cosines, sines = np.cos(angles), np.sin(angles)
    columns = []
    for start in range(0, len(mirrored) - size + 1, hop):
        windowed = mirrored[start : start + size] * window
        real, imaginary = cosines @ windowed, sines @ windowed
        magnitude = np.sqrt(real**2 + imaginary**2 + 1e-6)
        columns.append(np.log(np.maximum(magnitude @ filterbank, 1e-5)))
    return np.stack(columns, axis=1)
