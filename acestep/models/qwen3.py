"""Qwen3's decoder for answering: a cache of keys and values with room to write, steps that only look at tensors.

In: token ids, and where they stand in which row of a cache. Out: hidden states, logits of any stretch of the tied
head. A forward takes the tokens of several rows one behind the other, without padding. Original names of tensors.
Refuses to know prompts, sampling and files.

Letters: R rows of a cache, N tokens of all rows in a forward, n of one row, H query heads, G key/value heads, d width
of a head, D width, V tokens of the vocabulary, W positions a step looks at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from acestep.models.layers import additive
from acestep.models.packed import Linear, can_pack, multiply_packed, pack

Named = Callable[[str], Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Qwen3Sizes:
    """Sizes of one network; names are those of its ``config.json``."""

    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    vocab_size: int
    max_position_embeddings: int
    rms_norm_eps: float = 1e-6
    rope_theta: float = 1_000_000.0

    def shapes(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        """Name and shape of every tensor of the original network."""
        width, inner, heads = self.hidden_size, self.intermediate_size, self.head_dim
        queries, shared = self.num_attention_heads * heads, self.num_key_value_heads * heads
        yield "embed_tokens.weight", (self.vocab_size, width)
        yield "norm.weight", (width,)
        of_layer = {
            "input_layernorm": (width,),
            "self_attn.q_proj": (queries, width),
            "self_attn.k_proj": (shared, width),
            "self_attn.v_proj": (shared, width),
            "self_attn.o_proj": (width, queries),
            "self_attn.q_norm": (heads,),
            "self_attn.k_norm": (heads,),
            "post_attention_layernorm": (width,),
            "mlp.gate_proj": (inner, width),
            "mlp.up_proj": (inner, width),
            "mlp.down_proj": (width, inner),
        }
        for layer in range(self.num_hidden_layers):
            yield from ((f"layers.{layer}.{name}.weight", shape) for name, shape in of_layer.items())


class Cache:
    """Keys and values of R rows, each with room for as many tokens; a token's place is its position.

    Attributes:
        keys, values: ``[layers, R, G, room, d]``; finite everywhere, so that what is not looked at does no harm.
        room: tokens a row can have.
        lengths: tokens that each row has.
    """

    def __init__(self, sizes: Qwen3Sizes, rows: int, room: int, like: Tensor) -> None:
        self._sizes, self.room, self._like = sizes, room, like
        shape = (sizes.num_hidden_layers, rows, sizes.num_key_value_heads, room, sizes.head_dim)
        self.keys, self.values = like.new_zeros(shape), like.new_zeros(shape)
        self.lengths = [0] * rows

    def take(self, rows: Sequence[int], room: int | None = None) -> Cache:
        """Some of the rows, in any order, one as often as it is named, with another room; itself if all stays."""
        if list(rows) == list(range(len(self.lengths))) and room in (None, self.room):
            return self
        taken = Cache(self._sizes, len(rows), room or self.room, self._like)
        for to, row in enumerate(rows):
            length = taken.lengths[to] = self.lengths[row]
            taken.keys[:, to, :, :length] = self.keys[:, row, :, :length]
            taken.values[:, to, :, :length] = self.values[:, row, :, :length]
        return taken


class Layout(Protocol):
    """Where the N tokens of a forward stand, and what each of them sees."""

    positions: Tensor  # [N] int64

    def remember(self, new: Tensor, cached: Tensor) -> None:
        """Write keys or values [N, G, d] into the cache of one layer [R, G, room, d]."""
        ...

    def attend(self, q: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Queries [N, H, d] look at the cache of one layer: [N, H * d]."""
        ...


class Step:
    """One token for every row, R = N; only tensors say where, so that a step can be repeated as it is.

    Args:
        positions: of the tokens, ``[R]`` int64.
        window: W, more than the largest position.
        like: gives device and type.
    """

    def __init__(self, positions: Tensor, window: int, like: Tensor) -> None:
        self._rows, self.positions = torch.arange(len(positions), device=like.device), positions
        self._window = window
        seen = torch.arange(window, device=like.device) <= positions[:, None]
        self._bias = additive(seen, like)[:, None, None]  # [R, 1, 1, W]

    def remember(self, new: Tensor, cached: Tensor) -> None:
        cached[self._rows, :, self.positions] = new

    def attend(self, q: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        k, v = keys[:, :, : self._window], values[:, :, : self._window]  # [R, G, W, d]
        grouped = q.unflatten(1, (k.shape[1], -1))  # [R, G, H/G, d]
        return F.scaled_dot_product_attention(grouped, k, v, attn_mask=self._bias).flatten(1)


class Pieces:
    """Some tokens for each of some rows, one row after the other; each looks at just what it sees.

    Args:
        rows: which they are.
        starts: how many tokens each has already.
        counts: how many each gets, at least one; their sum is N.
        like: gives device and type.
    """

    def __init__(self, rows: Sequence[int], starts: Sequence[int], counts: Sequence[int], like: Tensor) -> None:
        self._rows, self._counts = rows, list(counts)
        self._spans = [slice(start, start + count) for start, count in zip(starts, counts, strict=True)]
        places = torch.cat([torch.arange(span.start, span.stop) for span in self._spans])
        self.positions = places.to(like.device)
        self._biases = [self._bias(span, like) for span in self._spans]

    @staticmethod
    def _bias(span: slice, like: Tensor) -> Tensor | None:
        """What hides later tokens from earlier ones, ``[n, W]``; None for a single token."""
        if span.stop - span.start == 1:
            return None
        places = torch.arange(span.stop, device=like.device)
        return additive(places <= places[span, None], like)

    def remember(self, new: Tensor, cached: Tensor) -> None:
        for piece, row, span in zip(new.split(self._counts), self._rows, self._spans, strict=True):
            cached[row, :, span] = piece.transpose(0, 1)

    def attend(self, q: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        pieces = []
        for queries, row, span, bias in zip(
            q.split(self._counts), self._rows, self._spans, self._biases, strict=True
        ):
            k, v = keys[row, :, : span.stop], values[row, :, : span.stop]  # [G, W, d]
            pieces.append(_look(queries, k, v) if bias is None else _look_back(queries, k, v, bias))
        return torch.cat(pieces)


def _look(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """One token's queries [1, H, d] on all keys and values [G, W, d] of its row: [1, H * d].

    In fp32 by plain products, keys first, which is half as fast again on the CPU. In fewer bits they would round the
    scores.
    """
    grouped = q[0].unflatten(0, (k.shape[0], -1))  # [G, H/G, d]
    if q.dtype is torch.float32:
        scores = torch.bmm(k, (grouped * q.shape[-1] ** -0.5).mT)  # [G, W, H/G]
        return torch.bmm(scores.softmax(1).mT, v).view(1, -1)
    return F.scaled_dot_product_attention(grouped[None], k[None], v[None]).view(1, -1)


def _look_back(q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
    """Queries [n, H, d] of one row on its keys and values [G, W, d], under a bias [n, W]: [n, H * d]."""
    grouped = q.unflatten(1, (k.shape[0], -1)).permute(1, 2, 0, 3)  # [G, H/G, n, d]
    bias = bias.repeat(grouped.shape[1], 1)  # [H/G * n, W]
    mixed = F.scaled_dot_product_attention(grouped.flatten(1, 2)[None], k[None], v[None], attn_mask=bias)
    return mixed.view(grouped.shape).permute(2, 0, 1, 3).flatten(1)


class Table(nn.Module):
    """The embedding table [V, D], which is the head as well; stretches of the head that are used often are packed."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.register_buffer("weight", weight, persistent=False)
        self._packed: dict[range, Tensor] = {}

    def settle(self, stretches: Sequence[range]) -> None:
        """Pack some stretches of tokens if that helps where the table is now."""
        for stretch in stretches:
            if stretch not in self._packed and can_pack(self.weight):
                self._packed[stretch] = pack(self.weight[stretch.start : stretch.stop])

    def forward(self, tokens: Tensor) -> Tensor:
        """[N] -> [N, D]"""
        return F.embedding(tokens, self.weight)

    def logits(self, hidden: Tensor, stretch: range) -> Tensor:
        """Logits ``[..., len(stretch)]`` of neighbouring tokens."""
        packed = self._packed.get(stretch)
        if packed is not None:
            return multiply_packed(hidden, packed)
        return F.linear(hidden, self.weight[stretch.start : stretch.stop])

    def logits_of(self, hidden: Tensor, tokens: Tensor) -> Tensor:
        """Logits ``[..., K]`` of a few tokens [K]."""
        return F.linear(hidden, self.weight[tokens])


class Qwen3Decoder(nn.Module):
    """The network from token ids to hidden states, and its head.

    Args:
        sizes: of the network.
        named: gives each tensor of ``sizes.shapes()`` once, in the device and type to compute in. Layers are asked
            for one after the other; q, k and v become one matrix, gate and up another.
    """

    def __init__(self, sizes: Qwen3Sizes, named: Named) -> None:
        super().__init__()
        self.sizes = sizes
        self.table = Table(named("embed_tokens.weight"))
        self.layers = nn.ModuleList(_Layer(sizes, _below(named, layer)) for layer in range(sizes.num_hidden_layers))
        self.register_buffer("norm", named("norm.weight"), persistent=False)
        self.register_buffer("frequencies", _frequencies(sizes).to(self.norm.device), persistent=False)

    def settle(self, stretches: Sequence[range]) -> None:
        """Bring the weights into the form in which the device they are on multiplies fastest; a second time is free.

        Args:
            stretches: of tokens whose logits will be asked for often.
        """
        for module in self.modules():
            if isinstance(module, Linear):
                module.settle()
        self.table.settle(stretches)

    def new_cache(self, rows: int, room: int) -> Cache:
        """An empty cache where the network is, ``room`` tokens for each row."""
        return Cache(self.sizes, rows, room, self.norm)

    def forward(self, tokens: Tensor, layout: Layout, cache: Cache) -> Tensor:
        """Let tokens [N] be seen and see: hidden states [N, D]. The cache's ``lengths`` are the caller's."""
        x = self.table(tokens)
        turn = _rotary_tables(self.frequencies, layout.positions, x)
        for layer, keys, values in zip(self.layers, cache.keys, cache.values, strict=True):
            x = layer(x, turn, layout, keys, values)
        return _normalised(x, self.norm, self.sizes.rms_norm_eps)


class _Layer(nn.Module):
    """Pre-norm attention and SwiGLU."""

    def __init__(self, sizes: Qwen3Sizes, named: Named) -> None:
        super().__init__()
        self.sizes = sizes
        heads, groups = sizes.num_attention_heads, sizes.num_key_value_heads
        self.qkv = Linear(torch.cat([named(f"self_attn.{part}_proj") for part in "qkv"]))
        self.out = Linear(named("self_attn.o_proj"))
        self.gate_up = Linear(torch.cat([named("mlp.gate_proj"), named("mlp.up_proj")]))
        self.down = Linear(named("mlp.down_proj"))
        norms = [named("self_attn.q_norm").expand(heads, -1), named("self_attn.k_norm").expand(groups, -1)]
        self.register_buffer("head_norm", torch.cat(norms), persistent=False)  # [H + G, d]
        self.register_buffer("norm_before", named("input_layernorm"), persistent=False)
        self.register_buffer("norm_after", named("post_attention_layernorm"), persistent=False)

    def forward(self, x: Tensor, turn: tuple[Tensor, Tensor], layout: Layout, keys: Tensor, values: Tensor) -> Tensor:
        """[N, D] -> [N, D]"""
        eps, heads = self.sizes.rms_norm_eps, self.sizes.num_attention_heads
        parts = self.qkv(_normalised(x, self.norm_before, eps)).unflatten(-1, (-1, self.sizes.head_dim))
        qk, v = parts.split((len(self.head_norm), self.sizes.num_key_value_heads), 1)  # [N, H + G, d], [N, G, d]
        qk = _turned(_normalised(qk, self.head_norm, eps), *turn)
        layout.remember(qk[:, heads:], keys)
        layout.remember(v, values)
        x = x + self.out(layout.attend(qk[:, :heads], keys, values))
        gate, up = self.gate_up(_normalised(x, self.norm_after, eps)).chunk(2, -1)
        return x + self.down(F.silu(gate) * up)


def _below(named: Named, layer: int) -> Named:
    return lambda name: named(f"layers.{layer}.{name}.weight")


def _normalised(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """x / rms(x) over the last axis, in fp32 and cast back, times the weight."""
    return F.rms_norm(x, x.shape[-1:], None, eps) * weight


def _turned(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate heads [N, H, d] by tables [N, 1, d], the sign of the swapped half in ``sin``."""
    return torch.addcmul(x * cos, x.roll(x.shape[-1] // 2, -1), sin)


def _frequencies(sizes: Qwen3Sizes) -> Tensor:
    """Radians per position of each pair of channels [d / 2], fp32 (Su et al., 2021)."""
    return sizes.rope_theta ** -(torch.arange(0, sizes.head_dim, 2, dtype=torch.float32) / sizes.head_dim)


def _rotary_tables(frequencies: Tensor, positions: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
    """Half-split ("NeoX") cos and signed sin of some positions [N], [N, 1, d], computed in fp32."""
    angles = torch.outer(positions.float(), frequencies)[:, None]  # [N, 1, d / 2]
    cos, sin = angles.cos().to(like.dtype), angles.sin().to(like.dtype)
    return torch.cat((cos, cos), -1), torch.cat((-sin, sin), -1)
