"""Gaussian noise that belongs to a song, not to a batch.

In: one seed and one length per song. Out: fp32 CPU tensors ``[B, T, C]`` in which row i is the same whatever the
other rows hold; frames past a song's length are zero. Refuses to know models, devices and schedules.

Every song has two streams. *Initial* noise comes from the generator seeded with the song's seed itself, so it equals
``torch.randn(1, T, C)`` after ``manual_seed(seed)`` on the CPU. *Step* noise (the SDE solver) comes from a second
generator whose seed is a hash of the first: turning the SDE on leaves the initial noise as it was, and the step noise
of seed s is not the initial noise of seed s + 1. The hash has 32 bits because torch's CPU generator reads no more.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

import torch
from torch import Generator, Tensor
from torch.nn.utils.rnn import pad_sequence


def item_noise(seeds: Sequence[int], frames: Sequence[int], channels: int) -> Tensor:
    """Initial noise of each song.

    Args:
        seeds: one per song, 0 to 2**32 - 1.
        frames: latent frames T of each song.
        channels: latent channels C.

    Returns:
        fp32 ``[B, max T, C]``, standard normal, zero past each song's length.
    """
    return _draw([_generator(seed) for seed in seeds], frames, channels)


class ItemNoise:
    """Fresh noise for every step of a stochastic solver, from one generator per song."""

    def __init__(self, seeds: Sequence[int], channels: int) -> None:
        self._generators = [_generator(_step_seed(seed)) for seed in seeds]
        self._channels = channels

    def draw(self, lengths: Sequence[int]) -> Tensor:
        """The next noise ``[B, max T, C]``; ``lengths`` holds the frames of each song, as in ``item_noise``."""
        return _draw(self._generators, lengths, self._channels)


def _draw(generators: Sequence[Generator], frames: Sequence[int], channels: int) -> Tensor:
    songs = [
        torch.randn(length, channels, generator=generator)
        for generator, length in zip(generators, frames, strict=True)
    ]
    return pad_sequence(songs, batch_first=True)  # [B, max T, C]


def _generator(seed: int) -> Generator:
    return Generator("cpu").manual_seed(seed)


def _step_seed(seed: int) -> int:
    digest = blake2b(str(seed).encode(), digest_size=4, person=b"step noise").digest()
    return int.from_bytes(digest, "little")
