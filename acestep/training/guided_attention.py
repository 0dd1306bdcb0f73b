"""Guided attention: a few heads of the transformer are shown where to look while they train, a beat back and ahead.

In: what self-attention layers read in a forward, the length of a beat in every song. Out: how far the heads look
elsewhere. A song that is mostly noise shows its beat only to those who compare one beat with the next, and a network
is long in finding that out by itself (attention guided by what is known of it: Tachibana et al., 2018). Refuses to
know prompts and songs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from acestep.models.layers import Layout, SelfAttention

HEADS = {0: -1, 1: 1}  # query head: the beats from where it stands to where it shall look
QUERY_STEP = 4  # every so many tokens are asked where they look


@dataclass(frozen=True, slots=True)
class Look:
    """What one self-attention layer reads in one forward: tokens ``[B, S, D]`` and where they stand.

    ``window`` is how many tokens to each side it sees if it is a windowed layer.
    """

    attention: SelfAttention
    tokens: Tensor
    layout: Layout
    window: int

    def error(self, beats: Tensor, lengths: Sequence[int]) -> Tensor:
        """Cross-entropy between where ``HEADS`` look and where they shall look; 0 if no song is long enough.

        Args:
            beats: tokens in a beat of every song ``[B]``; NaN where that is not known.
            lengths: real tokens of every song.
        """
        attention, turn = self.attention, self.layout.turn
        q, k = turn(attention.queries(self.tokens)), turn(attention.keys(self.tokens))  # [B, S, H or G, d]
        shared = q.shape[2] // k.shape[2]
        errors = []
        for head, count in HEADS.items():
            scores = torch.einsum("bqd,bsd->bqs", q[:, ::QUERY_STEP, head], k[:, :, head // shared])
            errors.append(self._away(scores * attention.head_dim**-0.5, count * beats, lengths))
        return torch.stack(errors).mean()

    def _away(self, scores: Tensor, lag: Tensor, lengths: Sequence[int]) -> Tensor:
        """How far ``scores`` ``[B, Q, S]`` of queries with keys are from a look ``lag`` ``[B]`` tokens away."""
        ends = torch.tensor(lengths, device=scores.device)[:, None]  # [B, 1]
        keys = torch.arange(scores.shape[2], device=scores.device)
        queries = keys[::QUERY_STEP]
        hidden = (keys >= ends)[:, None]  # [B, 1, S]
        where = queries + lag[:, None]  # [B, Q], between two tokens
        asked = (queries < ends) & (where >= 0) & (where < ends - 1)  # never where NaN is
        if self.attention.windowed:
            hidden = hidden | ((keys - queries[:, None]).abs() > self.window)
            asked = asked & (lag.abs()[:, None] <= self.window - 1)
        if not asked.any():
            return scores.new_zeros(())
        before = where[asked].floor()  # [A]
        near = torch.stack([before, before + 1], dim=-1).long()
        seen = torch.log_softmax(scores.masked_fill(hidden, -math.inf).float(), -1)[asked].gather(-1, near)
        return -torch.lerp(seen[:, 0], seen[:, 1], where[asked] - before).mean()


@contextmanager
def looks_of(layers: Sequence[nn.Module], window: int) -> Iterator[list[Look]]:
    """The ``Look``s of DiT layers, forward after forward, inside the block; ``window`` is that of windowed ones."""
    looks: list[Look] = []

    def see(attention: SelfAttention, given: tuple[Tensor, Layout]) -> None:
        looks.append(Look(attention, *given, window))

    hooks = [layer.self_attn.register_forward_pre_hook(see) for layer in layers]
    try:
        yield looks
    finally:
        for hook in hooks:
            hook.remove()
