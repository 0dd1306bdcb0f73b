"""Where the transformer looks in the lyrics of finished songs: one more forward through the layers that tell.

In: a model, the conditions and latents of a batch, where the words lie in each song's conditions. Out: attention
probabilities of one song at a time. Refuses to know requests, files and what the numbers are good for (``alignment``,
``timestamps``).

The latents are mixed with a little noise, always the same, so that a song is judged alike wherever it is played.
Songs of different lengths share a forward without feeling each other, and each has its own slice of words, whatever
the language its prompt begins with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from acestep.checkpoints.rows import ModelSpec
from acestep.conditioning.conditions import Conditions
from acestep.conditioning.prompt import lyric_prompt
from acestep.conditioning.text import PromptTokenizer, PromptTokens
from acestep.constants import LATENT_RATE
from acestep.lyrics import is_instrumental
from acestep.models.acestep_model import AceStepModel
from acestep.models.config import AceStepConfig
from acestep.models.encoders import mask_if_padded
from acestep.planner.plan import Plan
from acestep.sampling.noise import item_noise

NOISE_SEED = 42
LEVEL_MAX = 0.5  # share of noise: with more of it the song can hardly be seen
CELLS_MAX = 1 << 27  # probabilities that are held at once: 512 MiB in fp32; a song of its own may have more


@dataclass(frozen=True, slots=True, eq=False)
class Words:
    """What a song sings: the tokens of its lyrics, and the first row of its encoder states that stands for them."""

    ids: tuple[int, ...]
    first: int

    @property
    def rows(self) -> slice:
        """Of the song's encoder states."""
        return slice(self.first, self.first + len(self.ids))


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class LyricAttention:
    """How one song looks at its lyrics.

    Attributes:
        probabilities: fp32 ``[heads, L, N]`` on the CPU, of L lyric tokens in N frames of the transformer.
        ids: the L tokens.
        frame_s: seconds of a frame.
    """

    probabilities: Tensor
    ids: tuple[int, ...]
    frame_s: float


def words_of(tokenizer: PromptTokenizer, plan: Plan, tokens: PromptTokens) -> Words | None:
    """The words of a song among the tokens of its prompts: behind the header, in front of the end markers.

    Where a newline of the header and one of the lyrics make one token, that belongs to the header.

    Returns:
        None where no line is sung.
    """
    if is_instrumental(plan.lyrics):
        return None
    markers = len(tokenizer("", "").lyric)
    header = lyric_prompt(replace(plan, lyrics=""))
    first = len(tokenizer("", header).lyric) - markers
    return Words(tokens.lyric[first : len(tokens.lyric) - markers], first)


def heads_that_follow(spec: ModelSpec, config: AceStepConfig) -> dict[int, list[int]]:
    """Query heads by layer that are known to follow the lyrics: those of the model's row that the network has.

    Where none is known (embedded models) they are all heads of the second half of the layers.
    """
    layers, heads = config.num_hidden_layers, config.num_attention_heads
    known = [(layer, head) for layer, head in spec.alignment_heads if layer < layers and head < heads]
    chosen = known or [(layer, head) for layer in range(layers // 2, layers) for head in range(heads)]
    return {layer: [head for place, head in chosen if place == layer] for layer, _ in sorted(chosen)}


def noise_level(steps: int) -> float:
    """Share of noise in the songs that are looked at, 0 to 1: one over the number of denoising steps, at most a half.

    Upstream has no such limit: after a single step it looks at noise alone, and its score says nothing of the song.
    """
    return min(1.0 / steps, LEVEL_MAX)


def song_by_song(
    at_work: Callable[[], AbstractContextManager[AceStepModel]],
    config: AceStepConfig,
    heads: Mapping[int, Sequence[int]],
    conditions: Conditions,
    latents: Mapping[int, Tensor],
    words: Mapping[int, Words | None],
    t: float,
) -> Iterator[LyricAttention | None]:
    """The attention of some songs of a batch to their own words.

    The network is only at work during a forward, and no more songs are held than are looked at in one.

    Args:
        at_work: gives the model, on the device, for the length of a block.
        config: of the model.
        heads: query heads by layer.
        conditions: of the batch, on the device; only the conditional branch is asked.
        latents: ``[T, C]`` by song.
        words: by song; None is not looked for.
        t: share of noise, from ``noise_level``.

    Yields:
        One per song of ``words``, None where its words are.
    """
    cells = sum(map(len, heads.values())) * max(conditions.frames) * conditions.encoder_states.shape[1]
    size = max(1, CELLS_MAX * config.patch_size // cells)
    ahead = [(song, sought) for song, sought in words.items() if sought is not None]
    found: dict[int, LyricAttention] = {}
    for song, sought in words.items():
        if sought is not None and not found:
            group, ahead = dict(ahead[:size]), ahead[size:]
            with at_work() as model:
                found = attention_to(model, heads, conditions, latents, group, t)
        yield found.pop(song, None)


def attention_to(
    model: AceStepModel,
    heads: Mapping[int, Sequence[int]],
    conditions: Conditions,
    latents: Mapping[int, Tensor],
    words: Mapping[int, Words],
    t: float,
) -> dict[int, LyricAttention]:
    """The attention of some songs of a batch to their own words, in one forward.

    Args:
        model: on the device.
        heads: query heads by layer.
        conditions: of the batch, on the device; only the conditional branch is asked.
        latents: ``[T, C]`` by song.
        words: by song; those are looked at, one or more.
        t: share of noise, from ``noise_level``.

    Returns:
        By song.
    """
    patch, found = model.config.patch_size, {}
    maps = _maps(model, heads, conditions, [latents[song] for song in words], list(words), t)  # [b, heads, N, L]
    for (song, sought), looked in zip(words.items(), maps, strict=True):
        frames = -(-conditions.frames[song] // patch)
        mine = looked[:, :frames, sought.rows].mT.contiguous().cpu()  # [heads, L, N]
        found[song] = LyricAttention(mine, sought.ids, patch / LATENT_RATE)
    return found


def _maps(
    model: AceStepModel,
    heads: Mapping[int, Sequence[int]],
    conditions: Conditions,
    latents: Sequence[Tensor],
    songs: Sequence[int],
    t: float,
) -> Tensor:
    """Probabilities ``[b, heads, N, L]`` of some songs of a batch."""
    rows, lengths = list(songs), [conditions.frames[song] for song in songs]
    context = conditions.context[rows, : max(lengths)]
    noise = item_noise([NOISE_SEED] * len(rows), lengths, latents[0].shape[-1])
    x = t * noise + (1.0 - t) * pad_sequence([latent.float().cpu() for latent in latents], batch_first=True)
    return model.decoder.cross_attention_maps(
        heads,
        x.to(context),
        torch.tensor(t, dtype=torch.float32, device=context.device),
        context,
        model.decoder.cross_attention_cache(conditions.encoder_states[rows]),
        mask_if_padded(conditions.encoder_mask[rows]),
        lengths,
    )
