"""What the v1 transformer is made of: its rotary positions, two attentions, feed-forward, and the two ends.

Tensors in, tensors out, every item of a batch as long as the others. Parameters have the checkpoint's names. Three
quirks are the trained network's own: the rotary step is no rotation, queries of the cross-attention are not
normalised, and self-attention ends in a clamp. Refuses to know conditions, steps and guidance.

Letters: B songs, R context rows, F latent frames (= tokens), L context tokens, H heads, d width of a head, D width.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from acestep.models.dit import SINUSOID_WIDTH, sinusoid
from acestep.v1.config import LATENT_HEIGHT, TransformerConfig

EPS = 1e-6  # of every norm of the transformer
WEAKENED = 0.01  # what queries are multiplied by in a pass whose attention is blurred
_HALF_MAX = 65_504.0  # the largest fp16 number, to which the training clamped in every type
_NO_KEYS = 1e-15


# --- Positions --------------------------------------------------------------------------------------------------


class Rotary(NamedTuple):
    """Tables [S, d] of positions 0..S-1, fp32 numbers rounded to the model's type; ``sin`` carries a pair's signs."""

    cos: Tensor
    sin: Tensor

    @classmethod
    def of(cls, length: int, config: TransformerConfig, like: Tensor) -> Rotary:
        """Tables for ``length`` tokens on the device and in the precision of ``like``.

        The frequency of channel k is theta^(-2 (k mod d/2) / d).
        """
        width = config.attention_head_dim
        exponents = torch.arange(0, width, 2, device=like.device, dtype=torch.float32) / width
        positions = torch.arange(length, device=like.device, dtype=torch.float32)
        angles = torch.outer(positions, 1.0 / config.rope_theta**exponents).repeat(1, 2)  # [S, d]
        cos, sin = angles.cos(), angles.sin()
        sin[:, ::2].neg_()
        return cls(cos.to(like.dtype).float(), sin.to(like.dtype).float())

    def turn(self, x: Tensor) -> Tensor:
        """Positions into ``x`` [..., S, d], in fp32: channels 2m and 2m + 1 change by each other's value.

        The tables repeat after d/2 channels where neighbours make a pair, so the two of a pair turn at different
        frequencies.
        """
        x = x.float()
        swapped = x.unflatten(-1, (-1, 2)).flip(-1).flatten(-2)
        return torch.addcmul(x * self.cos, swapped, self.sin)


# --- Attention --------------------------------------------------------------------------------------------------


class Attention(nn.Module):
    """The four projections, with biases, that both attentions have."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        width = config.inner_dim
        self.heads = config.num_attention_heads
        self.to_q = nn.Linear(width, width)
        self.to_k = nn.Linear(width, width)
        self.to_v = nn.Linear(width, width)
        self.to_out = nn.Sequential(nn.Linear(width, width))  # checkpoints number it: its neighbour was a dropout

    def split(self, x: Tensor) -> Tensor:
        """[B, S, D] -> [B, H, S, d], a view."""
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class LinearAttention(Attention):
    """Frames look at one another through ReLU features: cost and memory grow linearly with F.

    out_i = sum_j (q_i . k_j) v_j / (sum_j q_i . k_j + 1e-15) with q and k after positions and ReLU, in fp32. That is
    invariant to a positive factor on q, so a weakened pass has nothing to change here.
    """

    def forward(self, x: Tensor, rotary: Rotary) -> Tensor:
        q = rotary.turn(_contiguous_fp32(self.split(self.to_q(x)))).relu_()  # [B, H, F, d]
        k = rotary.turn(_contiguous_fp32(self.split(self.to_k(x)))).relu_()
        v = _contiguous_fp32(self.split(self.to_v(x)))
        mixed = q @ (k.mT @ v)  # the bracket is [B, H, d, d]
        mixed = mixed / (q @ k.sum(-2).unsqueeze(-1) + _NO_KEYS)
        joined = mixed.to(x.dtype).transpose(1, 2).flatten(2)  # [B, F, D]
        return self.to_out(joined).clamp_(-_HALF_MAX, _HALF_MAX)


class CrossAttention(Attention):
    """Frames look at the context, whose keys and values [R, H, L, d] have been made before; softmax attention.

    B songs may share R context rows: song b reads row b // (B / R), and the songs of a row are so many more queries.
    """

    def keys(self, context: Tensor, rotary: Rotary) -> Tensor:
        """[R, L, D] -> [R, H, L, d]"""
        return rotary.turn(self.split(self.to_k(context))).to(context.dtype)

    def values(self, context: Tensor) -> Tensor:
        """[R, L, D] -> [R, H, L, d]"""
        return self.split(self.to_v(context))

    def forward(
        self, x: Tensor, rotary: Rotary, keys: Tensor, values: Tensor, bias: Tensor | None, strength: Tensor | None
    ) -> Tensor:
        """[B, F, D] -> [B, F, D]

        Args:
            bias: added to the scores, [R, 1, 1, L]; None where every context token is real.
            strength: factor on the queries, fp32 [B, 1, 1, 1]; None for 1.
        """
        q = rotary.turn(self.split(self.to_q(x)))  # [B, H, F, d]
        q = (q if strength is None else q * strength).to(x.dtype)
        q = self._by_context(q, keys.shape[0])
        mixed = F.scaled_dot_product_attention(q, keys, values, attn_mask=bias)  # [R, H, B/R * F, d]
        return self.to_out(mixed.transpose(1, 2).reshape(x.shape))

    def _by_context(self, q: Tensor, rows: int) -> Tensor:
        """[B, H, F, d] -> [R, H, B/R * F, d], a view of queries that lie in memory as [B, F, H, d]."""
        return q.transpose(1, 2).unflatten(0, (rows, -1)).flatten(1, 2).transpose(1, 2)


def _contiguous_fp32(x: Tensor) -> Tensor:
    """One pass for both the type and the layout that matrix products over a batch of heads want."""
    return x.to(torch.float32, memory_format=torch.contiguous_format)


# --- Feed-forward -----------------------------------------------------------------------------------------------


class FeedForward(nn.Module):
    """Gated convolution along time: widen, SiLU, three frames per channel, gate, narrow.

    Channels stay last throughout: the 1 x 1 convolutions are linear layers over tokens, and the middle one is the
    two-dimensional convolution over [B, channels, 1, F], whose kernels (unlike those of one dimension) read channels
    last. Nothing is transposed in memory; on a CPU the middle one is several times as fast.
    """

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        width, inner = config.inner_dim, config.mlp_width
        # Checkpoints keep each convolution inside a module of its own.
        self.inverted_conv = nn.ModuleDict({"conv": nn.Conv1d(width, 2 * inner, 1)})
        self.depth_conv = nn.ModuleDict({"conv": nn.Conv1d(2 * inner, 2 * inner, 3, padding=1, groups=2 * inner)})
        self.point_conv = nn.ModuleDict({"conv": nn.Conv1d(inner, width, 1, bias=False)})

    def forward(self, x: Tensor) -> Tensor:
        widen, narrow = self.inverted_conv["conv"], self.point_conv["conv"]
        wide = F.silu(F.linear(x, widen.weight[..., 0], widen.bias), inplace=True)  # [B, F, 2 * inner]
        value, gate = self._along_time(wide).chunk(2, -1)  # [B, F, inner]
        return F.linear(value * F.silu(gate), narrow.weight[..., 0])

    def _along_time(self, wide: Tensor) -> Tensor:
        """Each channel over a frame and its two neighbours, zeros beyond the ends, [B, F, 2 * inner]."""
        conv = self.depth_conv["conv"]
        image = wide.mT.unsqueeze(2)  # [B, 2 * inner, 1, F], a view
        mixed = F.conv2d(image, conv.weight.unsqueeze(2), conv.bias, padding=(0, 1), groups=conv.groups)
        return mixed.squeeze(2).mT


# --- The ends ---------------------------------------------------------------------------------------------------


class PatchEmbed(nn.Module):
    """Latent frames to tokens. The norm's statistics are over a group's channels and all frames."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        channels, patch = config.patch_channels, config.patch_size
        self.early_conv_layers = nn.Sequential(
            nn.Conv2d(config.in_channels, channels, patch, patch),
            nn.GroupNorm(config.patch_groups, channels, EPS),
            nn.Conv2d(channels, config.inner_dim, 1),
        )

    def forward(self, latents: Tensor) -> Tensor:
        """[B, 8, 16, F] -> [B, F, D]"""
        return self.early_conv_layers(latents).flatten(2).mT.contiguous()


class TimestepEmbedding(nn.Module):
    """A noise level's sinusoid (fp32, then the model's type) through two linear layers."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear_1 = nn.Linear(SINUSOID_WIDTH, width)
        self.linear_2 = nn.Linear(width, width)

    def forward(self, level: Tensor) -> Tensor:
        """``level`` [B] from 0 to 1 -> [B, D]"""
        return self.linear_2(F.silu(self.linear_1(sinusoid(level).to(self.linear_1.weight.dtype))))


class FinalLayer(nn.Module):
    """Tokens to velocity: a norm that the embedded level moves, then 16 heights x 8 channels for each frame."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        width = config.inner_dim
        self.scale_shift_table = nn.Parameter(torch.randn(2, width) / width**0.5)
        self.linear = nn.Linear(width, LATENT_HEIGHT * config.out_channels)

    def forward(self, x: Tensor, embedded_level: Tensor) -> Tensor:
        """[B, F, D] and [B, D] -> [B, 8, 16, F]"""
        shift, scale = (self.scale_shift_table + embedded_level[:, None]).chunk(2, 1)  # [B, 1, D]
        moved = torch.addcmul(shift, F.rms_norm(x, x.shape[-1:], None, EPS), 1 + scale)
        return self.linear(moved).unflatten(-1, (LATENT_HEIGHT, -1)).permute(0, 3, 2, 1)
