"""The diffusion transformer of ACE-Step v1: noisy latents, a noise level and a context in, the velocity out.

Convention (rectified flow): x_s = s * noise + (1 - s) * music, velocity = noise - music, with s the noise level from
1 (noise) to 0. Refuses to know tokenizers, schedules, guidance rules and what a context says.

The way: `Transformer.encode` makes a context of tags and lyrics, once for each set of words; `cross_cache` makes of
it what every block reads; ``forward`` is called at each step and keeps no state.

Letters: B songs, R context rows, F latent frames, T tag tokens, L lyric tokens, D width.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from acestep.models.layers import padding_bias
from acestep.v1.config import TransformerConfig
from acestep.v1.conformer import LyricEncoder
from acestep.v1.layers import (
    EPS,
    WEAKENED,
    CrossAttention,
    FeedForward,
    FinalLayer,
    LinearAttention,
    PatchEmbed,
    Rotary,
    TimestepEmbedding,
)

# Patterns (fnmatch) of tensors that checkpoints hold and inference never reads: a fifth of the file.
DEAD: tuple[str, ...] = (
    "transformer_blocks.*.cross_attn.add_*",
    "transformer_blocks.*.cross_attn.to_add_out.*",
    "projectors.*",
)


@dataclass(frozen=True, slots=True)
class CrossCache:
    """Keys (positions in them) and values of a context: one [R, H, 1 + T + L, d] per layer; no step changes them."""

    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]

    def rows(self, chosen: slice) -> CrossCache:
        """The cache of some of the context rows, without a copy."""
        return CrossCache(tuple(part[chosen] for part in self.keys), tuple(part[chosen] for part in self.values))


class Modulation(NamedTuple):
    """Shift, scale (1 is in it) and gate of one branch of one block, each [B, 1, D]."""

    shift: Tensor
    scale: Tensor
    gate: Tensor

    def apply(self, x: Tensor) -> Tensor:
        """The normalised ``x`` [B, F, D], moved."""
        return torch.addcmul(self.shift, F.rms_norm(x, x.shape[-1:], None, EPS), self.scale)


class BlockStep(NamedTuple):
    """Everything but the tokens that one block reads in one step; ``strength`` is that of the cross-attention."""

    attention: Modulation
    feed_forward: Modulation
    keys: Tensor
    values: Tensor
    bias: Tensor | None
    strength: Tensor | None


class Block(nn.Module):
    """Modulated linear self-attention, cross-attention of the tokens as they are, modulated feed-forward."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        width = config.inner_dim
        self.scale_shift_table = nn.Parameter(torch.randn(6, width) / width**0.5)
        self.attn = LinearAttention(config)
        self.cross_attn = CrossAttention(config)
        self.ff = FeedForward(config)

    def forward(self, x: Tensor, step: BlockStep, rotary: Rotary) -> Tensor:
        x = torch.addcmul(x, step.attention.gate, self.attn(step.attention.apply(x), rotary))
        x = x + self.cross_attn(x, rotary, step.keys, step.values, step.bias, step.strength)
        return torch.addcmul(x, step.feed_forward.gate, self.ff(step.feed_forward.apply(x)))


class Transformer(nn.Module):
    """The network of ``ace_step_transformer``; every tensor has the checkpoint's name, the `DEAD` ones are not there.

    Its type is that of its weights, fp32 or bf16; latents, text and levels may be wider.
    """

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        width = config.inner_dim
        self.config = config
        self.speaker_embedder = nn.Linear(config.speaker_embedding_dim, width)
        self.genre_embedder = nn.Linear(config.text_embedding_dim, width)
        self.lyric_embs = nn.Embedding(config.lyric_encoder_vocab_size, config.lyric_hidden_size)
        self.lyric_encoder = LyricEncoder(config)
        self.lyric_proj = nn.Linear(config.lyric_hidden_size, width)
        self.proj_in = PatchEmbed(config)
        self.timestep_embedder = TimestepEmbedding(width)
        self.t_block = nn.Sequential(nn.SiLU(), nn.Linear(width, 6 * width))
        self.transformer_blocks = nn.ModuleList(Block(config) for _ in range(config.num_layers))
        self.final_layer = FinalLayer(config)

    def encode(
        self,
        text: Tensor,
        text_mask: Tensor,
        lyric_ids: Tensor,
        lyric_mask: Tensor,
        *,
        weaken_lyrics: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """The context: a speaker (always the zero vector: no singer encoder was released), the tags, the lyrics.

        Args:
            text: tag encoder states [R, T, 768].
            text_mask: [R, T], True at real tokens.
            lyric_ids: [R, L] of the lyric vocabulary, L at least 1.
            lyric_mask: [R, L], True at real tokens; all False where there are no lyrics.
            weaken_lyrics: blur the attention of the lyric encoder (``erg_lyric_layers``).

        Returns:
            The context [R, 1 + T + L, D] in the network's type, and its mask [R, 1 + T + L].
        """
        speaker = self.speaker_embedder.bias.expand(len(text), 1, -1)  # what the layer makes of zeros
        tags = self.genre_embedder(text.to(speaker.dtype))
        lyrics = self.lyric_proj(self.lyric_encoder(self.lyric_embs(lyric_ids), lyric_mask, weaken=weaken_lyrics))
        always = text_mask.new_ones(len(text), 1)
        return torch.cat((speaker, tags, lyrics), 1), torch.cat((always, text_mask, lyric_mask), 1)

    def cross_cache(self, context: Tensor) -> CrossCache:
        """What every block reads of a ``context`` [R, 1 + T + L, D]: once for each generation, not at each step."""
        rotary = Rotary.of(context.shape[1], self.config, context)
        attentions = [block.cross_attn for block in self.transformer_blocks]
        return CrossCache(
            tuple(attention.keys(context, rotary) for attention in attentions),
            tuple(attention.values(context) for attention in attentions),
        )

    def forward(
        self,
        latents: Tensor,
        level: Tensor,
        cache: CrossCache,
        context_mask: Tensor | None,
        weakened: Tensor | None = None,
    ) -> Tensor:
        """The velocity at ``latents``.

        B is a multiple of R: song b reads row b // (B / R) of the cache, so songs of the same words need one row.

        Args:
            latents: [B, 8, 16, F].
            level: noise level of each song, 1 (noise) to 0 (music), fp32 [B].
            cache: what `cross_cache` made of the context rows.
            context_mask: [R, 1 + T + L], True at real tokens; None when all are, which is faster.
            weakened: [B], True where the cross-attention of the ``erg_diffusion_layers`` is to be blurred. Their
                self-attention, which the guidance's authors weaken too, is invariant to it.

        Returns:
            [B, 8, 16, F] in the type of ``latents``.
        """
        x = self.proj_in(latents.to(self.speaker_embedder.weight.dtype))  # [B, F, D]
        embedded = self.timestep_embedder(level)
        rotary = Rotary.of(x.shape[1], self.config, x)
        steps = self._steps(embedded, cache, padding_bias(context_mask, x), _strength(weakened))
        for block, step in zip(self.transformer_blocks, steps, strict=True):
            x = block(x, step, rotary)
        return self.final_layer(x, embedded).to(latents.dtype)

    def _steps(
        self, embedded: Tensor, cache: CrossCache, bias: Tensor | None, strength: Tensor | None
    ) -> Iterator[BlockStep]:
        """What each block gets; the modulation of all blocks is computed together, in fp32."""
        time = self.t_block(embedded).unflatten(-1, (6, 1, -1))  # [B, 6, 1, D]
        tables = torch.stack([block.scale_shift_table for block in self.transformer_blocks])[:, None, :, None]
        vectors = tables.float() + time.float()  # [layers, B, 6, 1, D]
        vectors[:, :, 1::3] += 1.0  # the two scales
        for layer, six in enumerate(vectors.to(embedded.dtype)):
            shift_a, scale_a, gate_a, shift_m, scale_m, gate_m = six.unbind(1)
            yield BlockStep(
                Modulation(shift_a, scale_a, gate_a),
                Modulation(shift_m, scale_m, gate_m),
                cache.keys[layer],
                cache.values[layer],
                bias,
                strength if layer in self.config.erg_diffusion_layers else None,
            )


def _strength(weakened: Tensor | None) -> Tensor | None:
    """The factor on the queries of each song, fp32 [B, 1, 1, 1]."""
    return None if weakened is None else torch.where(weakened, WEAKENED, 1.0).view(-1, 1, 1, 1)
