"""What the transformer of ACE-Step v1 is told: the song's tags and lyrics, and what guidance leads away from.

In: token ids of one set of words, the networks that read them, a ``V1Choice``. Out: frozen ``Contexts``, one row per
condition; songs of the same words share them. Refuses to know tokenizers, noise and steps.

Tags and contexts are read apart, so that only one of the two networks has to be on the device at a time.

Entropy-rectifying guidance (ERG) leads away from the same words, read with blurred attention, instead of from no
words. Upstream's rules are kept: blurred tags are only heard together with blurred lyrics; without those, there are
neither tags nor lyrics, but still as many tokens of them; and a flow edit masks the lyrics out as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from acestep.v1.choice import DOUBLE, UNGUIDED, V1Choice
from acestep.v1.text import TagEncoder
from acestep.v1.transformer import Transformer

NO_LYRIC = 0  # the id that stands where there are no lyrics


@dataclass(frozen=True, slots=True, eq=False)
class Tags:
    """A prompt as the tag encoder read it, ``[1, T, 768]``, and as it read it weakly (None where nobody asks)."""

    states: Tensor
    weak: Tensor | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Contexts:
    """Conditions of one set of words.

    Attributes:
        states: ``[R, N, D]``; row 0 the song, 1 what guidance leads away from, 2 the tags alone (for ``double``).
        mask: ``[R, N]`` bool, True at real tokens.
    """

    states: Tensor
    mask: Tensor

    @property
    def conditional(self) -> Contexts:
        """The song alone."""
        return Contexts(self.states[:1], self.mask[:1])


def read_tags(encoder: TagEncoder, ids: Sequence[int], choice: V1Choice, device: torch.device) -> Tags:
    """A prompt's states, and its weak ones if ``choice`` has a use for them.

    Args:
        ids: of the prompt, with the end marker.
    """
    row = torch.tensor([ids], device=device)  # [1, T]
    mask = torch.ones_like(row, dtype=torch.bool)
    weak = choice.guidance != UNGUIDED and choice.weaken_tags and choice.weaken_lyrics
    return Tags(encoder(row, mask), encoder(row, mask, weaken=True) if weak else None)


def song_contexts(transformer: Transformer, tags: Tags, lyric_ids: Sequence[int], choice: V1Choice) -> Contexts:
    """Contexts of a song that is sampled; the conditional one alone without guidance.

    Args:
        lyric_ids: of the lyric vocabulary; () or one empty id without lyrics.
    """
    reader = _Reader(transformer, tags.states, lyric_ids)
    rows = [reader.read(tags.states)]
    if choice.guidance != UNGUIDED:
        rows.append(_negative(reader, tags, choice))
    if choice.guidance == DOUBLE:
        lyrics = {"weaken_lyrics": True} if choice.weaken_lyrics else {"without_lyrics": True}
        rows.append(reader.read(tags.states, **lyrics))
    return _stacked(rows)


def edit_contexts(transformer: Transformer, tags: Tags, lyric_ids: Sequence[int], choice: V1Choice) -> Contexts:
    """Contexts of one description in a flow edit.

    Args:
        lyric_ids: of the lyric vocabulary; () or one empty id without lyrics.
        choice: as `V1Choice.comparing` gives it.
    """
    reader = _Reader(transformer, tags.states, lyric_ids)
    rows = [reader.read(tags.states)]
    if choice.guidance != UNGUIDED:
        nothing = torch.zeros_like(tags.states)
        rows.append(reader.read(nothing, without_lyrics=True, hidden_lyrics=True))
    return _stacked(rows)


def _negative(reader: _Reader, tags: Tags, choice: V1Choice) -> tuple[Tensor, Tensor]:
    """What a guided step leads away from."""
    nothing = torch.zeros_like(tags.states)
    if not choice.weaken_lyrics:
        return reader.read(nothing, without_lyrics=True)
    return reader.read(nothing if tags.weak is None else tags.weak, weaken_lyrics=True)


class _Reader:
    """Reads variants of one set of words, all of the same length."""

    def __init__(self, transformer: Transformer, states: Tensor, lyric_ids: Sequence[int]) -> None:
        self._transformer = transformer
        self._ids = torch.tensor([lyric_ids or (NO_LYRIC,)], device=states.device)  # [1, L]
        self._lyric_mask = torch.full_like(self._ids, any(lyric_ids), dtype=torch.bool)
        self._text_mask = torch.ones(states.shape[:2], dtype=torch.bool, device=states.device)

    def read(
        self,
        text: Tensor,
        *,
        weaken_lyrics: bool = False,
        without_lyrics: bool = False,
        hidden_lyrics: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """Context ``[1, N, D]`` and mask ``[1, N]`` of tags ``[1, T, 768]`` with the lyrics, or with none.

        Args:
            weaken_lyrics: the lyrics are read with blurred attention.
            without_lyrics: an empty id stands in place of each of theirs.
            hidden_lyrics: nobody looks at them.
        """
        ids = torch.full_like(self._ids, NO_LYRIC) if without_lyrics else self._ids
        mask = torch.zeros_like(self._lyric_mask) if hidden_lyrics else self._lyric_mask
        return self._transformer.encode(text, self._text_mask, ids, mask, weaken_lyrics=weaken_lyrics)


def _stacked(rows: Sequence[tuple[Tensor, Tensor]]) -> Contexts:
    states, masks = zip(*rows, strict=True)
    return Contexts(torch.cat(states), torch.cat(masks))
