"""The diffusion transformer of ACE-Step 1.5: noisy latents, a time and conditions in, the flow's velocity out.

Convention (rectified flow): x_t = t * noise + (1 - t) * data, velocity = noise - data, so the sampler walks t from 1
down to 0. Refuses to know schedules, guidance, prompts and what the conditions mean.

What one song needs only once is an explicit value, ``CrossCache``: the cross-attention keys and values of every layer
and the embedding of a zero time difference. ``DiT.forward`` keeps no state.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from acestep.models.config import AceStepConfig
from acestep.models.layers import (
    Attention,
    FeedForward,
    Layout,
    RMSNorm,
    SelfAttention,
    attend,
    padding_bias,
    unit_rows,
    zero_beyond,
)

SINUSOID_WIDTH = 256
SINUSOID_PERIOD = 10_000.0
TIME_SCALE = 1_000.0  # the sinusoid counts t in thousandths


class TimeVectors(NamedTuple):
    """An embedded time: ``raw`` [B, D] moves the output head, ``layers`` [B, 6, D] moves every layer."""

    raw: Tensor
    layers: Tensor


class Modulation(NamedTuple):
    """Shift, scale and gate of one branch of one layer, each [B, 1, D]; ``scale`` has 1 and the norm weight in it."""

    shift: Tensor
    scale: Tensor
    gate: Tensor

    def apply(self, normalised: Tensor) -> Tensor:
        return torch.addcmul(self.shift, normalised, self.scale)


class LayerStep(NamedTuple):
    """Everything but the tokens that one layer reads in one step."""

    attention: Modulation
    feed_forward: Modulation
    keys: Tensor
    values: Tensor
    bias: Tensor | None


@dataclass(frozen=True, slots=True)
class CrossCache:
    """What the DiT keeps of one song's conditions; the step count and the latents do not matter to it.

    ``keys`` (already normed) and ``values`` hold one [B, L, G, d] per layer; ``no_difference`` is the embedding of
    t - r = 0, which every step of ordinary sampling adds.
    """

    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]
    no_difference: TimeVectors


class TimestepEmbedding(nn.Module):
    """Sinusoid of a time in fp32, then two linear layers, then six vectors for the layers."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear_1 = nn.Linear(SINUSOID_WIDTH, width)
        self.linear_2 = nn.Linear(width, width)
        self.time_proj = nn.Linear(width, 6 * width)

    def forward(self, t: Tensor) -> TimeVectors:
        """Embed ``t`` [B]."""
        raw = self.linear_2(F.silu(self.linear_1(sinusoid(t).to(self.linear_1.weight.dtype))))
        return TimeVectors(raw, self.time_proj(F.silu(raw)).unflatten(-1, (6, -1)))


def sinusoid(t: Tensor) -> Tensor:
    """cos then sin of 1000 t at 128 frequencies from 1 down to almost 1/10000, fp32: [B] -> [B, 256]."""
    half = SINUSOID_WIDTH // 2
    steps = torch.arange(half, device=t.device, dtype=torch.float32)
    angles = (t.float() * TIME_SCALE)[:, None] * torch.exp(-math.log(SINUSOID_PERIOD) / half * steps)
    return torch.cat((angles.cos(), angles.sin()), -1)


class CrossAttention(Attention):
    """Tokens look at the condition sequence, whose keys and values come from a ``CrossCache``; no positions."""

    def forward(self, x: Tensor, keys: Tensor, values: Tensor, bias: Tensor | None) -> Tensor:
        return self.o_proj(attend(self.queries(x), keys, values, bias))

    def probabilities(self, x: Tensor, keys: Tensor, bias: Tensor | None, heads: Sequence[int]) -> Tensor:
        """Attention weights of the chosen query heads in fp32, [B, len(heads), S, L]."""
        q = self.queries(x)  # [B, S, H, d]
        shared = q.shape[2] // keys.shape[2]
        chosen, read = q[:, :, list(heads)].float(), keys[:, :, [head // shared for head in heads]].float()
        scores = torch.einsum("bshd,blhd->bhsl", chosen, read) * self.head_dim**-0.5
        return torch.softmax(scores if bias is None else scores + bias, -1)


class DiTLayer(nn.Module):
    """Modulated self-attention, plain cross-attention, modulated feed-forward; the gates are raw numbers."""

    def __init__(self, config: AceStepConfig, layer: int) -> None:
        super().__init__()
        width, eps = config.hidden_size, config.rms_norm_eps
        self.self_attn_norm = RMSNorm(width, eps)
        self.self_attn = SelfAttention(config, layer)
        self.cross_attn_norm = RMSNorm(width, eps)
        self.cross_attn = CrossAttention(config)
        self.mlp_norm = RMSNorm(width, eps)
        self.mlp = FeedForward(config)
        self.scale_shift_table = unit_rows(1, 6, width)

    def forward(self, x: Tensor, step: LayerStep, layout: Layout) -> Tensor:
        x = self.mix_tokens(x, step, layout)
        x = self.read_conditions(x, step)
        return self.transform(x, step)

    def mix_tokens(self, x: Tensor, step: LayerStep, layout: Layout) -> Tensor:
        mixed = self.self_attn(step.attention.apply(self.self_attn_norm.without_weight(x)), layout)
        return torch.addcmul(x, step.attention.gate, mixed)

    def read_conditions(self, x: Tensor, step: LayerStep) -> Tensor:
        return x + self.cross_attn(self.cross_attn_norm(x), step.keys, step.values, step.bias)

    def transform(self, x: Tensor, step: LayerStep) -> Tensor:
        changed = self.mlp(step.feed_forward.apply(self.mlp_norm.without_weight(x)))
        return torch.addcmul(x, step.feed_forward.gate, changed)


class DiT(nn.Module):
    """The velocity network (``decoder.`` in a checkpoint).

    Latents become tokens in patches of ``config.patch_size`` frames; an odd length is padded with one frame of zeros.
    """

    def __init__(self, config: AceStepConfig) -> None:
        super().__init__()
        width, patch = config.hidden_size, config.patch_size
        self.config = config
        # Checkpoints number the convolutions 1 inside a sequence whose other members have no weights. They are
        # applied as matrix products, see _patches and _head.
        self.proj_in = nn.Sequential(nn.Identity(), nn.Conv1d(config.in_channels, width, patch, patch))
        self.proj_out = nn.Sequential(
            nn.Identity(), nn.ConvTranspose1d(width, config.audio_acoustic_hidden_dim, patch, patch)
        )
        self.time_embed = TimestepEmbedding(width)
        self.time_embed_r = TimestepEmbedding(width)
        self.condition_embedder = nn.Linear(config.encoder_width, width)
        self.layers = nn.ModuleList(DiTLayer(config, layer) for layer in range(config.num_hidden_layers))
        self.norm_out = RMSNorm(width, config.rms_norm_eps)
        self.scale_shift_table = unit_rows(1, 2, width)

    def cross_attention_cache(self, encoder_states: Tensor) -> CrossCache:
        """Keys and values of ``encoder_states`` [B, L, E] for every layer: once per song, not once per step."""
        source = self.condition_embedder(encoder_states.to(self.scale_shift_table.dtype))  # [B, L, D]
        keys = tuple(layer.cross_attn.keys(source) for layer in self.layers)
        values = tuple(layer.cross_attn.values(source) for layer in self.layers)
        return CrossCache(keys, values, self.time_embed_r(source.new_zeros(1)))

    def forward(
        self,
        x: Tensor,
        t: Tensor,
        context: Tensor,
        cross: CrossCache,
        encoder_mask: Tensor | None = None,
        lengths: Sequence[int] | None = None,
        r: Tensor | None = None,
    ) -> Tensor:
        """The velocity at ``x``.

        The networks' own type is that of the weights; ``x``, ``context`` and ``t`` may be wider. ``t`` enters the
        sinusoid in fp32: upstream and diffusers round it (and 1000 t) to the model type first, we do not, so that a
        schedule means the same in every type.

        Args:
            x: noisy latents [B, T, C].
            t: noise level, 1 (noise) to 0 (data); one number or [B].
            context: source latents and chunk mask [B, T, 2C].
            cross: what ``cross_attention_cache`` made of this song's conditions.
            encoder_mask: [B, L], True at real condition tokens; None when all are (see ``mask_if_padded``).
            lengths: real frames of each item, 1 to T; None when all have T. Frames beyond influence nothing, and the
                velocity there means nothing.
            r: where the step ends, like ``t``; None is t, the only value the released models are sampled with.

        Returns:
            [B, T, C] in the type of ``x``.

        Raises:
            ValueError: ``lengths`` does not fit ``x``.
        """
        tokens, layout, time = self._prepare(x, t, context, cross, lengths, r)
        for layer, step in zip(self.layers, self._steps(time, cross, encoder_mask), strict=True):
            tokens = layer(tokens, step, layout)
        return self._head(tokens, time.raw)[:, : x.shape[1]].to(x.dtype)

    def cross_attention_maps(
        self,
        heads: Mapping[int, Sequence[int]],
        x: Tensor,
        t: Tensor,
        context: Tensor,
        cross: CrossCache,
        encoder_mask: Tensor | None = None,
        lengths: Sequence[int] | None = None,
    ) -> Tensor:
        """Where chosen heads look: layers up to the last one in ``heads`` (layer -> heads) run, the rest do not.

        Args:
            heads: query heads by layer, both from 0.
            x, t, context, cross, encoder_mask, lengths: as in ``forward``.

        Returns:
            Probabilities over the conditions, fp32 [B, sum of heads, S tokens, L], in ascending order of layers; what
            tokens beyond an item's length see means nothing.

        Raises:
            IndexError: the model lacks one of the layers or heads.
            ValueError: ``lengths`` does not fit ``x``.
        """
        tokens, layout, time = self._prepare(x, t, context, cross, lengths, None)
        steps = list(self._steps(time, cross, encoder_mask))
        maps = []
        for index in range(max(heads) + 1):
            layer, step = self.layers[index], steps[index]
            tokens = layer.mix_tokens(tokens, step, layout)
            if index in heads:
                seen = layer.cross_attn_norm(tokens)
                maps.append(layer.cross_attn.probabilities(seen, step.keys, step.bias, heads[index]))
            tokens = layer.transform(layer.read_conditions(tokens, step), step)
        return torch.cat(maps, 1)

    def _prepare(
        self,
        x: Tensor,
        t: Tensor,
        context: Tensor,
        cross: CrossCache,
        lengths: Sequence[int] | None,
        r: Tensor | None,
    ) -> tuple[Tensor, Layout, TimeVectors]:
        """Tokens [B, S, D], their layout and the embedded time of one forward."""
        patch = self.config.patch_size
        lengths = _checked_lengths(lengths, x)
        tokens = self._patches(torch.cat((context.to(x.dtype), x), -1), lengths)
        token_lengths = None if lengths is None else [-(-length // patch) for length in lengths]
        return tokens, Layout.of(self.config, tokens, token_lengths), self._time(t, r, cross)

    def _patches(self, channels: Tensor, lengths: Sequence[int] | None) -> Tensor:
        """Embed patches of ``channels`` [B, T, 3C]: the strided convolution as one product, [B, S, D]."""
        conv, patch = self.proj_in[1], self.config.patch_size
        if lengths is not None:
            channels = zero_beyond(channels, lengths)  # what an item alone has beyond its end
        channels = F.pad(channels.to(conv.weight.dtype), (0, 0, 0, -channels.shape[1] % patch))
        patches = channels.unflatten(1, (-1, patch)).transpose(2, 3).flatten(2)  # [B, S, 3C * patch]
        return F.linear(patches, conv.weight.flatten(1), conv.bias)

    def _time(self, t: Tensor, r: Tensor | None, cross: CrossCache) -> TimeVectors:
        start = self.time_embed(t.reshape(-1))
        span = cross.no_difference if r is None else self.time_embed_r((t.float() - r.float()).reshape(-1))
        return TimeVectors(start.raw + span.raw, start.layers + span.layers)

    def _steps(self, time: TimeVectors, cross: CrossCache, encoder_mask: Tensor | None) -> Iterator[LayerStep]:
        """What each layer gets; the modulation of all layers is computed together, in fp32."""
        tables = torch.cat([layer.scale_shift_table for layer in self.layers])[:, None].float()  # [layers, 1, 6, D]
        weights = torch.stack(
            [torch.stack((layer.self_attn_norm.weight, layer.mlp_norm.weight)) for layer in self.layers]
        )
        vectors = (tables + time.layers.float()).unflatten(2, (2, 3)).unsqueeze(-2)  # [layers, B, 2, 3, 1, D]
        shift, scale, gate = vectors.unbind(3)
        scale = (1 + scale) * weights[:, None, :, None].float()
        vectors = torch.stack((shift, scale, gate), 3).to(time.raw.dtype)
        bias = padding_bias(encoder_mask, time.raw)
        for layer, keys, values in zip(vectors, cross.keys, cross.values, strict=True):
            attention, feed_forward = (Modulation(*branch.unbind(1)) for branch in layer.unbind(1))
            yield LayerStep(attention, feed_forward, keys, values, bias)

    def _head(self, tokens: Tensor, raw_time: Tensor) -> Tensor:
        """Modulated norm, then the transposed convolution as one product: [B, S, D] -> [B, S * patch, C]."""
        conv = self.proj_out[1]
        shift, scale = (self.scale_shift_table + raw_time[:, None]).chunk(2, dim=1)  # [B, 1, D]
        tokens = torch.addcmul(shift, self.norm_out(tokens), 1 + scale)
        frames = tokens @ conv.weight.flatten(1)  # [B, S, C * patch]
        return frames.unflatten(-1, (-1, self.config.patch_size)).transpose(2, 3).flatten(1, 2) + conv.bias


def _checked_lengths(lengths: Sequence[int] | None, x: Tensor) -> Sequence[int] | None:
    """``lengths``, or None when every item fills all frames of ``x`` [B, T, C]."""
    items, frames = x.shape[:2]
    if lengths is None:
        return None
    if len(lengths) != items or not all(1 <= length <= frames for length in lengths):
        raise ValueError(f"lengths={list(lengths)} must hold {items} numbers from 1 to {frames}.")
    return None if all(length == frames for length in lengths) else lengths
