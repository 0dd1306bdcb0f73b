"""Gaussian noise that belongs to a song, not to a batch.

In: one seed and one length per song. Out: fp32 CPU tensors ``[B, T, C]`` in which row i is the same whatever the
other rows hold; frames past a song's length are zero. Refuses to know models, devices and schedules.

Every song has two streams. *Initial* noise comes from the generator seeded with the song's seed itself, so it equals
``torch.randn(1, T, C)`` after ``manual_seed(seed)`` on the CPU. *Step* noise (the SDE solver) comes from a second
generator whose seed is a hash of the first: turning the SDE on leaves the initial noise as it was, and the step noise
of seed s is not the initial noise of seed s + 1. The hash has 32 bits because torch's CPU generator reads no more.
Music made in several passes has other noise in each (``pass_seed``): with the same noise and the same words it would
repeat itself. A *variation* walks from the initial noise of one seed towards that of another.
"""

from __future__ import annotations

import math
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


def pass_seed(seed: int, number: int) -> int:
    """The seed of one pass of several that make a song: that of the song in the first, a hash of both in the others.

    Args:
        seed: of the song, 0 to 2**32 - 1.
        number: of the pass, from 0 on.
    """
    return seed if number == 0 else _hashed(f"{seed} {number}", b"pass")


def varied_noise(
    seeds: Sequence[int], variation_seeds: Sequence[int], strength: float, frames: Sequence[int], channels: int
) -> Tensor:
    """Initial noise of each song on its way to the noise of another seed.

    ``cos(a) noise(seed) + sin(a) noise(variation seed)`` with ``a = strength pi / 2`` stays standard normal all the
    way. Both ends are exact, and a song whose two seeds are the same has one noise only and keeps it.

    Args:
        seeds: one per song, 0 to 2**32 - 1.
        variation_seeds: one per song, same range.
        strength: 0 is the noise of ``seeds``, 1 that of ``variation_seeds``.
        frames: latent frames T of each song.
        channels: latent channels C.

    Returns:
        fp32 ``[B, max T, C]``, standard normal, zero past each song's length.
    """
    start, end = (item_noise(row, frames, channels) for row in (seeds, variation_seeds))
    if strength in (0.0, 1.0):
        return end if strength else start
    angle = strength * math.pi / 2
    same = torch.tensor([a == b for a, b in zip(seeds, variation_seeds, strict=True)])[:, None, None]  # [B, 1, 1]
    return torch.where(same, start, math.cos(angle) * start + math.sin(angle) * end)


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
    return _hashed(str(seed), b"step noise")


def _hashed(text: str, use: bytes) -> int:
    """32 bits."""
    return int.from_bytes(blake2b(text.encode(), digest_size=4, person=use).digest(), "little")
