"""Where the transformer looks in the lyrics of finished songs: one more forward through the layers that tell.

In: a model, the conditions and latents of a batch, where the words lie in each song's conditions. Out: attention
probabilities of one song at a time. Refuses to know requests, files and what the numbers are good for (``alignment``,
``timestamps``).

The latents are mixed with a little noise, always the same, so that a song is judged alike wherever it is played.
Songs of different lengths share a forward without feeling each other, and each has its own slice of words, whatever
the language its prompt begins with.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
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
CELLS_MAX = 1 << 28  # probabilities that are held at once: 1 GiB in fp32


@dataclass(frozen=True, slots=True, eq=False)
class Words:
    """What a song sings: the tokens of its lyrics, and the first row of its encoder states that stands for them."""

    ids: tuple[int, ...]
    first: int

    @property
    def rows(self) -> slice:
        """Of the song's encoder states."""
        return slice(self.first, self.first + len(self.ids))


@dataclass(frozen=True, slots=True, eq=False)
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


def attention_to(
    model: AceStepModel,
    heads: Mapping[int, Sequence[int]],
    conditions: Conditions,
    latents: Sequence[Tensor],
    words: Sequence[Words | None],
    t: float,
) -> tuple[LyricAttention | None, ...]:
    """The attention of every song of a batch to its own words.

    Args:
        model: on the device.
        heads: query heads by layer.
        conditions: of the batch, on the device; only the conditional branch is asked.
        latents: ``[T, C]`` of each song.
        words: of each song; None is not looked for.
        t: share of noise, 0 to 1; upstream's is one over the number of denoising steps.

    Returns:
        One per song, None where ``words`` is.
    """
    found: list[LyricAttention | None] = [None] * len(words)
    wanted = [number for number, sought in enumerate(words) if sought is not None]
    frame_s = model.config.patch_size / LATENT_RATE
    cells = sum(map(len, heads.values())) * max(conditions.frames) * conditions.encoder_states.shape[1]
    for songs in _groups(wanted, max(1, CELLS_MAX * model.config.patch_size // cells)):
        maps = _maps(model, heads, conditions, [latents[song] for song in songs], songs, t)  # [b, heads, N, L]
        for song, looked in zip(songs, maps, strict=True):
            frames = -(-conditions.frames[song] // model.config.patch_size)
            mine = looked[:, :frames, words[song].rows].mT.contiguous().cpu()  # [heads, L, N]
            found[song] = LyricAttention(mine, words[song].ids, frame_s)
    return tuple(found)


def _groups(songs: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    for start in range(0, len(songs), size):
        yield songs[start : start + size]


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
