"""What every ACE-Step 1.5 network is made of: norm, rotary positions, grouped-query attention, feed-forward, layer.

Tensors in, tensors out. Padding is told as lengths (Python integers), never as a matrix over all pairs of tokens: an
item shorter than its batch attends over a slice of itself, so it cannot differ from the same item alone, and a batch
without padding takes the same path as a single item. Refuses to know what the tokens stand for.

Letters: B items, S tokens, L condition tokens, H query heads, G key/value heads, d width of a head, D width.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from acestep.models.config import AceStepConfig

QUERY_BLOCK = 64  # queries that share one stretch of keys in windowed attention


def unit_rows(*shape: int) -> nn.Parameter:
    """A parameter of random rows of about unit length.

    On the meta device, where nobody sees them, nothing is drawn: arithmetic there takes a second to import.
    """
    rows = torch.empty(shape)
    return nn.Parameter(rows if rows.is_meta else torch.randn(shape) / shape[-1] ** 0.5)


class RMSNorm(nn.Module):
    """x / rms(x) over the last axis in fp32, cast back to the type of x, and only then times the weight (Qwen3)."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def without_weight(self, x: Tensor) -> Tensor:
        """The normalised x, for callers that fold the weight into a scale of their own."""
        return F.rms_norm(x, x.shape[-1:], None, self.eps)

    def forward(self, x: Tensor) -> Tensor:
        return self.without_weight(x) * self.weight


# --- Attention over queries [B, S, H, d] and keys, values [B, L, G, d] ------------------------------------------


def attend(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None = None) -> Tensor:
    """Grouped-query attention with every key, or with an additive ``bias`` [B or 1, 1, 1, L] on the scores.

    The H/G query heads that share a key head stand one after another as more queries of that head: no copy of the
    keys, and every kernel can do it, also those that know no groups (any with a mask; those of older GPUs).

    Returns:
        [B, S, H * d]
    """
    grouped = q.unflatten(2, (k.shape[2], -1)).transpose(1, 2)  # [B, G, S, H/G, d]
    k, v = k.transpose(1, 2), v.transpose(1, 2)  # [B, G, L, d]
    mixed = F.scaled_dot_product_attention(grouped.flatten(2, 3), k, v, attn_mask=bias)
    return mixed.view(grouped.shape).transpose(1, 2).flatten(2)


def attend_within(q: Tensor, k: Tensor, v: Tensor, band: Tensor) -> Tensor:
    """Windowed attention: blocks of queries, each against the one stretch of keys that any of its queries may see.

    Cost and memory grow linearly with S.

    Args:
        band: the bias ``window_band`` made for this length, window and H/G.

    Returns:
        [B, S, H * d]
    """
    batch, length, heads, width = q.shape
    blocks, _, rows, stretch = band.shape
    groups, shared = k.shape[2], rows // QUERY_BLOCK
    tail = blocks * QUERY_BLOCK - length
    k, v = (_stretches(part, (stretch - QUERY_BLOCK) // 2, tail) for part in (k, v))
    q = F.pad(q, (0, 0, 0, 0, 0, tail)).view(batch, blocks, QUERY_BLOCK, groups, shared, width)
    q = q.permute(1, 0, 3, 2, 4, 5).reshape(blocks, batch * groups, rows, width)
    mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=band)
    mixed = mixed.view(blocks, batch, groups, QUERY_BLOCK, shared, width).permute(1, 0, 3, 2, 4, 5)
    # Contiguous: a linear layer over a strided batch copies its weight for every item.
    return mixed.reshape(batch, -1, heads * width)[:, :length].contiguous()


def _stretches(keys: Tensor, window: int, tail: int) -> Tensor:
    """What each query block may see of ``keys`` [B, S, G, d], as overlapping views: [blocks, B * G, stretch, d]."""
    padded = F.pad(keys.transpose(1, 2), (0, 0, window, window + tail))
    views = padded.unfold(2, QUERY_BLOCK + 2 * window, QUERY_BLOCK)  # [B, G, blocks, d, stretch]
    return views.permute(2, 0, 1, 4, 3).flatten(1, 2)


def window_band(length: int, window: int, shared: int, like: Tensor) -> Tensor | None:
    """Bias of ``attend_within`` for keys at most ``window`` tokens away; None where every key is that near.

    Args:
        shared: H/G, how many query heads share a key head.
        like: gives device and type.

    Returns:
        [blocks, 1, QUERY_BLOCK * shared, stretch], 0 where a query may look and -inf elsewhere, with a stretch of
        QUERY_BLOCK + 2 * window keys.
    """
    if length <= window + 1:
        return None
    query = torch.arange(QUERY_BLOCK, device=like.device)[:, None]
    key = torch.arange(QUERY_BLOCK + 2 * window, device=like.device) - window
    start = torch.arange(0, length, QUERY_BLOCK, device=like.device)[:, None, None]
    seen = ((key - query).abs() <= window) & (start + key >= 0) & (start + key < length)
    return additive(seen, like).repeat_interleave(shared, 1)[:, None]


def additive(mask: Tensor, like: Tensor) -> Tensor:
    """0 where ``mask`` is True and -inf where it is False, on the device and in the type of ``like``."""
    return torch.zeros(mask.shape, device=like.device, dtype=like.dtype).masked_fill_(~mask, -math.inf)


def padding_bias(mask: Tensor | None, like: Tensor) -> Tensor | None:
    """The bias of ``attend`` [B, 1, 1, L] that hides the keys where ``mask`` [B, L] is False."""
    return None if mask is None else additive(mask, like)[:, None, None, :]


# --- Where tokens stand and what they see -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Run:
    """Neighbouring items of one length; ``band`` is their window bias, None where the window covers everything."""

    rows: slice
    length: int
    band: Tensor | None


@dataclass(frozen=True, slots=True)
class Layout:
    """Positions and sight of a batch of tokens, worked out once per forward and shared by all layers of a stack.

    ``cos`` and ``sin`` are the half-split ("NeoX") rotary tables [1, S, 1, d] of positions 0..S-1, the sign of the
    swapped half inside ``sin``; ``runs`` cut the batch into items of equal length.
    """

    cos: Tensor
    sin: Tensor
    runs: tuple[Run, ...]

    @classmethod
    def of(cls, config: AceStepConfig, tokens: Tensor, lengths: Sequence[int] | None = None) -> Layout:
        """The layout of ``tokens`` [B, S, D], of which item b has ``lengths[b]`` real ones (None: all)."""
        items, length = tokens.shape[:2]
        shared = config.num_attention_heads // config.num_key_value_heads
        runs = tuple(
            Run(rows, real, window_band(real, config.sliding_window, shared, tokens))
            for rows, real in _neighbours(lengths if lengths is not None else (length,) * items)
        )
        return cls(*_rotary_tables(length, config, tokens), runs)

    def turn(self, x: Tensor) -> Tensor:
        """Rotate ``x`` [B, S, H, d] by its positions; swapping the halves of a head is a roll by half its width."""
        return torch.addcmul(x * self.cos, x.roll(x.shape[-1] // 2, -1), self.sin)

    def attend(self, q: Tensor, k: Tensor, v: Tensor, windowed: bool) -> Tensor:
        """Self-attention of every item over its own real tokens, [B, S, H * d]; rows of padding are zero."""
        if len(self.runs) == 1 and self.runs[0].length == q.shape[1]:
            return _attend_run(q, k, v, self.runs[0].band if windowed else None)
        pieces = [
            _attend_run(*(part[run.rows, : run.length] for part in (q, k, v)), run.band if windowed else None)
            for run in self.runs
        ]
        return torch.cat([_extended(piece, q.shape[1]) for piece in pieces])


def _attend_run(q: Tensor, k: Tensor, v: Tensor, band: Tensor | None) -> Tensor:
    return attend(q, k, v) if band is None else attend_within(q, k, v, band)


def zero_beyond(x: Tensor, lengths: Sequence[int]) -> Tensor:
    """``x`` [B, S, D] with row b zero from ``lengths[b]`` on, whatever (NaN included) stood there."""
    return torch.cat([_extended(x[rows, :length], x.shape[1]) for rows, length in _neighbours(lengths)])


def _extended(x: Tensor, length: int) -> Tensor:
    return F.pad(x, (0, 0, 0, length - x.shape[1]))


def _neighbours(lengths: Sequence[int]) -> Iterator[tuple[slice, int]]:
    """Rows and length of each stretch of neighbours of equal length."""
    start = 0
    for length, members in groupby(lengths):
        stop = start + len(list(members))
        yield slice(start, stop), length
        start = stop


def rotary_frequencies(config: AceStepConfig, device: torch.device) -> Tensor:
    """How far every rotary pair turns from one token to the next, in radians, [d / 2] in fp32."""
    steps = torch.arange(0, config.head_dim, 2, device=device, dtype=torch.float32)
    return 1.0 / config.rope_theta ** (steps / config.head_dim)


def _rotary_tables(length: int, config: AceStepConfig, like: Tensor) -> tuple[Tensor, Tensor]:
    """cos and signed sin [1, S, 1, d], computed in fp32 and cast to the type of ``like``."""
    positions = torch.arange(length, device=like.device, dtype=torch.float32)
    angles = torch.outer(positions, rotary_frequencies(config, like.device))[None, :, None]
    cos, sin = angles.cos(), angles.sin()
    return torch.cat((cos, cos), -1).to(like.dtype), torch.cat((-sin, sin), -1).to(like.dtype)


# --- Modules ----------------------------------------------------------------------------------------------------


class Attention(nn.Module):
    """The projections self- and cross-attention share: no biases, a per-head RMSNorm on queries and on keys."""

    def __init__(self, config: AceStepConfig) -> None:
        super().__init__()
        self.head_dim = config.head_dim
        inner, shared = config.num_attention_heads * config.head_dim, config.num_key_value_heads * config.head_dim
        self.q_proj = nn.Linear(config.hidden_size, inner, bias=False)
        self.k_proj = nn.Linear(config.hidden_size, shared, bias=False)
        self.v_proj = nn.Linear(config.hidden_size, shared, bias=False)
        self.o_proj = nn.Linear(inner, config.hidden_size, bias=False)
        self.q_norm = RMSNorm(config.head_dim, config.rms_norm_eps)
        self.k_norm = RMSNorm(config.head_dim, config.rms_norm_eps)

    def queries(self, x: Tensor) -> Tensor:
        """[B, S, D] -> [B, S, H, d]"""
        return self.q_norm(self._heads(self.q_proj(x)))

    def keys(self, source: Tensor) -> Tensor:
        """[B, L, D] -> [B, L, G, d]"""
        return self.k_norm(self._heads(self.k_proj(source)))

    def values(self, source: Tensor) -> Tensor:
        """[B, L, D] -> [B, L, G, d]"""
        return self._heads(self.v_proj(source))

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (-1, self.head_dim))


class SelfAttention(Attention):
    """Tokens look at one another, near ones only where ``config`` makes layer ``layer`` a windowed one."""

    def __init__(self, config: AceStepConfig, layer: int) -> None:
        super().__init__(config)
        self.windowed = config.is_windowed(layer)

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        q, k = layout.turn(self.queries(x)), layout.turn(self.keys(x))
        return self.o_proj(layout.attend(q, k, self.values(x), self.windowed))


class FeedForward(nn.Module):
    """SwiGLU: down(silu(gate(x)) * up(x)), no biases."""

    def __init__(self, config: AceStepConfig) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class EncoderLayer(nn.Module):
    """Pre-norm layer of the lyric, timbre, pooler and detokenizer stacks."""

    def __init__(self, config: AceStepConfig, layer: int) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.self_attn = SelfAttention(config, layer)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.mlp = FeedForward(config)

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x), layout)
        return x + self.mlp(self.post_attention_layernorm(x))


class EncoderStack(nn.Module):
    """Linear embedding, ``depth`` layers, final norm: the body of the four condition-side networks."""

    def __init__(self, config: AceStepConfig, source_width: int, depth: int) -> None:
        super().__init__()
        self.config = config
        self.embed_tokens = nn.Linear(source_width, config.hidden_size)
        self.layers = nn.ModuleList(EncoderLayer(config, layer) for layer in range(depth))
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)

    def transform(self, tokens: Tensor, lengths: Sequence[int] | None = None) -> Tensor:
        """The layers and the final norm over already embedded ``tokens`` [B, S, D]."""
        layout = Layout.of(self.config, tokens, lengths)
        for layer in self.layers:
            tokens = layer(tokens, layout)
        return self.norm(tokens)
