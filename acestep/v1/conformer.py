"""The lyric encoder of v1: token ids in, one vector for each of them out.

A stack of pre-norm transformer layers whose attention knows only how far apart two tokens are (Transformer-XL; the
arrangement of ESPnet's Conformer, here without its convolutions). Padding is told as a mask. Refuses to know
languages, the tokenizer and what reads the result.

Letters: B songs, L lyric tokens, H heads, d width of a head, D width.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from acestep.models.layers import additive
from acestep.v1.config import TransformerConfig
from acestep.v1.layers import WEAKENED

_EPS = 1e-5
_PERIOD = 10_000.0


def relative_positions(length: int, width: int, like: Tensor) -> Tensor:
    """Sinusoids of the distances L - 1 down to -(L - 1), sin on even channels: [2 L - 1, D], typed as ``like``."""
    distances = torch.arange(length - 1, -length, -1, device=like.device, dtype=torch.float32)
    steps = torch.arange(0, width, 2, device=like.device, dtype=torch.float32)
    angles = torch.outer(distances, torch.exp(-math.log(_PERIOD) / width * steps))
    return torch.stack((angles.sin(), angles.cos()), -1).flatten(1).to(like.dtype)


def by_distance(scores: Tensor) -> Tensor:
    """Scores by distance [..., L, 2 L - 1], ordered as `relative_positions`, as scores by token [..., L, L]: a view.

    Entry i, j of the result is the score of query i for distance i - j, which is entry i, L - 1 - i + j.
    """
    scores = scores.contiguous()
    *outer, length, distances = scores.shape
    strides = (*scores.stride()[:-2], distances - 1, 1)
    return scores.as_strided((*outer, length, length), strides, scores.storage_offset() + length - 1)


class RelativeAttention(nn.Module):
    """Attention over all tokens; score = ((q + u) . k + (q + v) . p) / sqrt(d) with p the projected distance."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        width, self.heads = config.lyric_hidden_size, config.lyric_heads
        self.linear_q = nn.Linear(width, width)
        self.linear_k = nn.Linear(width, width)
        self.linear_v = nn.Linear(width, width)
        self.linear_out = nn.Linear(width, width)
        self.linear_pos = nn.Linear(width, width, bias=False)
        self.pos_bias_u = nn.Parameter(torch.zeros(self.heads, width // self.heads))
        self.pos_bias_v = nn.Parameter(torch.zeros(self.heads, width // self.heads))

    def forward(self, x: Tensor, positions: Tensor, mask: Tensor, weaken: bool) -> Tensor:
        """[B, L, D] -> [B, L, D]

        Songs go one after another: the scores by distance are the largest tensor by far, H x L x (2 L - 1).

        Args:
            positions: what `relative_positions` made.
            mask: [B, L], True at tokens that may be looked at; a song without any sees nothing, and mixes to zero.
            weaken: multiply the queries by 0.01, before u and v.
        """
        q = self.linear_q(x) * WEAKENED if weaken else self.linear_q(x)
        p = self._split(self.linear_pos(positions))  # [H, 2 L - 1, d]
        q, k, v = (self._split(part) for part in (q, self.linear_k(x), self.linear_v(x)))  # [B, H, L, d]
        mixed = torch.stack([self._mix(*song, p) for song in zip(q, k, v, mask, strict=True)])
        return self.linear_out(mixed)

    def _mix(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor, p: Tensor) -> Tensor:
        """One song, [H, L, d] each -> [L, D]"""
        distance = by_distance((q + self.pos_bias_v[:, None]) @ p.mT) * q.shape[-1] ** -0.5  # [H, L, L]
        bias = distance + additive(mask, distance)
        mixed = F.scaled_dot_product_attention((q + self.pos_bias_u[:, None])[None], k[None], v[None], bias[None])[0]
        return mixed.transpose(0, 1).flatten(1).masked_fill(~mask.any(), 0.0)  # softmax over nothing may be NaN

    def _split(self, x: Tensor) -> Tensor:
        """[..., L, D] -> [..., H, L, d], a view."""
        return x.unflatten(-1, (self.heads, -1)).transpose(-3, -2)


class LyricLayer(nn.Module):
    """x + attention(norm(x)), then x + feed-forward(norm(x))."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        width, inner = config.lyric_hidden_size, config.lyric_intermediate
        self.self_attn = RelativeAttention(config)
        self.feed_forward = nn.ModuleDict({"w_1": nn.Linear(width, inner), "w_2": nn.Linear(inner, width)})
        self.norm_mha = nn.LayerNorm(width, _EPS)
        self.norm_ff = nn.LayerNorm(width, _EPS)

    def forward(self, x: Tensor, positions: Tensor, mask: Tensor, weaken: bool) -> Tensor:
        x = x + self.self_attn(self.norm_mha(x), positions, mask, weaken)
        hidden = F.silu(self.feed_forward["w_1"](self.norm_ff(x)), inplace=True)
        return x + self.feed_forward["w_2"](hidden)


class LyricEncoder(nn.Module):
    """Embedded lyric tokens in, the same tokens in context out (``lyric_encoder.`` in a checkpoint)."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        width = config.lyric_hidden_size
        self.weakened_layers = frozenset(config.erg_lyric_layers)
        # Checkpoints keep the linear layer and its norm in a sequence called ``out``.
        self.embed = nn.ModuleDict({"out": nn.Sequential(nn.Linear(width, width), nn.LayerNorm(width, _EPS))})
        self.encoders = nn.ModuleList(LyricLayer(config) for _ in range(config.lyric_layers))
        self.after_norm = nn.LayerNorm(width, _EPS)

    def forward(self, embedded: Tensor, mask: Tensor, *, weaken: bool = False) -> Tensor:
        """[B, L, D] -> [B, L, D]; what stands at masked tokens means nothing.

        Args:
            mask: [B, L], True at real tokens.
            weaken: blur the attention of the configured layers (entropy-rectifying guidance).
        """
        length, width = embedded.shape[1:]
        x = self.embed["out"](embedded) * math.sqrt(width)
        positions = relative_positions(length, width, x)
        for index, layer in enumerate(self.encoders):
            x = layer(x, positions, mask, weaken and index in self.weakened_layers)
        return self.after_norm(x)
