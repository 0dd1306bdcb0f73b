"""``Conditions``: all that the denoising of a batch depends on, apart from noise.

In: one song's encoder states and context at a time. Out: a padded batch that remembers true lengths.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class SongConditions:
    """One song: encoder states ``[1, L, E]`` (every row valid) and context ``[1, T, 2 * C]``."""

    encoder_states: Tensor
    context: Tensor


@dataclass(frozen=True, slots=True)
class Conditions:
    """A batch of songs.

    Attributes:
        encoder_states: ``[B, L, E]``, shorter songs padded with zeros.
        encoder_mask: ``[B, L]`` bool, True where a row is real.
        context: ``[B, T, 2 * C]``, shorter songs padded with zeros.
        frames: true latent frames of each song.
    """

    encoder_states: Tensor
    encoder_mask: Tensor
    context: Tensor
    frames: tuple[int, ...]

    @classmethod
    def collate(cls, songs: Sequence[SongConditions]) -> Conditions:
        """Pad songs of different lengths into one batch."""
        rows = [song.encoder_states.shape[1] for song in songs]
        device = songs[0].encoder_states.device
        mask = torch.arange(max(rows), device=device)[None] < torch.tensor(rows, device=device)[:, None]  # [B, L]
        return cls(
            encoder_states=_stack([song.encoder_states for song in songs]),
            encoder_mask=mask,
            context=_stack([song.context for song in songs]),
            frames=tuple(song.context.shape[1] for song in songs),
        )


def _stack(items: Sequence[Tensor]) -> Tensor:
    """``[1, N_i, D]`` tensors as ``[B, max N_i, D]``, zeros behind the shorter ones."""
    return torch.nn.utils.rnn.pad_sequence([item[0] for item in items], batch_first=True)
