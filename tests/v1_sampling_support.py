"""A toy network for v1's sampler, and a slow second opinion on the whole run from noise to latents.

The reference is plain numpy in fp64 on one song ``[8, 16, F]``, step by step as the sampler of v1 is described:
increments of sigma, not velocities, are rescaled; norms are over heights and frames. Refuses to know our modules.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from acestep.v1.choice import V1Choice

Array = NDArray[np.float64]
Field = Callable[[Array, float, str], Array]  # velocity of a state at a sigma under "song", "negative" or "tags"

WORDS = {"song": 0.8, "negative": -0.4, "tags": 0.3}
CHANNELS, HEIGHTS = 8, 16


def toy_velocity(x: Array, sigma: float, words: str) -> Array:
    """A velocity that mixes channels, heights and frames, and depends on level and words."""
    word = WORDS[words]
    around = np.roll(x, 1, axis=2) - np.roll(x, 1, axis=1) + np.roll(x, 1, axis=0)
    return 0.5 * x - sigma * np.tanh(around + x.mean() + word) - 0.3 * word


class ToyNetwork:
    """``toy_velocity`` of every song of a batch of rows, as `GuidedSteps` asks for it; notes (level, guided)."""

    def __init__(self, *, double: bool = False) -> None:
        self.words = ("song", "negative", "tags") if double else ("song", "negative")
        self.calls: list[tuple[float, bool]] = []

    def velocities(self, x: Tensor, t: float, *, guided: bool) -> tuple[Tensor, ...]:
        """Rows ``[B, 16 F, 8]`` fp32 under each of the words, of the song alone when not guided."""
        self.calls.append((t, guided))
        words = self.words if guided else self.words[:1]
        return tuple(torch.stack([self._song(song, t, word) for song in x]) for word in words)

    def _song(self, song: Tensor, t: float, words: str) -> Tensor:
        return as_rows(toy_velocity(as_latents(song), t, words))


def as_latents(rows: Tensor) -> Array:
    """``[16 F, 8]`` -> ``[8, 16, F]``, element by element."""
    frames = len(rows) // HEIGHTS
    latents = np.zeros((CHANNELS, HEIGHTS, frames))
    for f in range(frames):
        for h in range(HEIGHTS):
            latents[:, h, f] = rows[f * HEIGHTS + h].double().numpy()
    return latents


def as_rows(latents: Array) -> Tensor:
    """The inverse of `as_latents`, fp32."""
    _, heights, frames = latents.shape
    rows = [latents[:, h, f] for f in range(frames) for h in range(heights)]
    return torch.from_numpy(np.array(rows)).float()


@dataclass
class SlowGuidance:
    """How the slow run is guided; ``kind`` is none, cfg, apg, cfg_star or double."""

    kind: str = "none"
    scale: float = 1.0
    interval: float = 0.5
    decay: float = 0.0
    least: float = 3.0
    text: float = 0.0
    lyric: float = 0.0
    momentum: Array | float = field(default=0.0, init=False)

    @classmethod
    def of(cls, choice: V1Choice) -> SlowGuidance:
        return cls(
            choice.guidance,
            choice.guidance_scale,
            choice.interval,
            choice.decay,
            choice.min_guidance_scale,
            choice.scale_text,
            choice.scale_lyric,
        )

    def guides(self, step: int, steps: int) -> bool:
        start, end = self._window(steps)
        return self.kind != "none" and start <= step < end

    def combine(self, velocity: Callable[[str], Array], step: int, steps: int) -> Array:
        """The guided velocity, from those under single words."""
        c, u = velocity("song"), velocity("negative")
        g = self._scale(step, steps)
        if self.kind == "double":
            p = velocity("tags")
            return (1 - self.text) * u + (self.text - self.lyric) * p + self.lyric * c
        if self.kind == "cfg":
            return u + g * (c - u)
        if self.kind == "cfg_star":
            alpha = (c * u).sum() / ((u**2).sum() + 1e-8)
            return np.zeros_like(c) if step <= 1 else alpha * u + g * (c - alpha * u)
        return self._projected(c, u, g)

    def _window(self, steps: int) -> tuple[int, int]:
        return int(steps * (1 - self.interval) / 2), int(steps * (self.interval / 2 + 0.5))

    def _scale(self, step: int, steps: int) -> float:
        start, end = self._window(steps)
        if self.decay == 0 or end - start == 1:
            return self.scale
        return self.scale - (self.scale - self.least) * self.decay * (step - start) / (end - start - 1)

    def _projected(self, c: Array, u: Array, g: float) -> Array:
        self.momentum = c - u - 0.75 * self.momentum
        out = c.copy()
        for channel in range(len(c)):
            d = self.momentum[channel]
            d = d * min(1.0, 2.5 / math.sqrt((d**2).sum()))
            unit = c[channel] / max(math.sqrt((c[channel] ** 2).sum()), 1e-12)
            out[channel] += (g - 1) * (d - (d * unit).sum() * unit)
        return out


@dataclass
class SlowSampler:
    """The loops of v1 on one song.

    Attributes:
        velocity: of the network.
        sigmas: falling to 0.
        guidance: with the momentum of this run.
        omega: granularity.
        solver: euler, heun or sde.
        noises: what the sde draws.
    """

    velocity: Field
    sigmas: Sequence[float]
    guidance: SlowGuidance
    omega: float = 0.0
    solver: str = "euler"
    noises: Iterator[Array] = field(default_factory=lambda: iter(()))

    def run(self, x: Array, hold: Callable[[Array, float], Array] | None = None) -> Array:
        for step in range(len(self.sigmas) - 1):
            x = self._step(x, step)
            if hold is not None:
                x = hold(x, self.sigmas[step + 1])
        return x

    def _step(self, x: Array, step: int) -> Array:
        sigma, following = self.sigmas[step], self.sigmas[step + 1]
        v = self._guided(x, sigma, step)
        if self.solver == "sde":
            music = x - sigma * v
            return music if following == 0 else (1 - following) * music + following * next(self.noises)
        moved = x + self._rescaled((following - sigma) * v)
        if self.solver == "euler" or following == 0:
            return moved
        second = self._guided(moved, following, step)
        return x + self._rescaled((following - sigma) * (v + second) / 2)

    def _guided(self, x: Array, sigma: float, step: int) -> Array:
        steps = len(self.sigmas) - 1
        if not self.guidance.guides(step, steps):
            return self.velocity(x, sigma, "song")
        return self.guidance.combine(lambda words: self.velocity(x, sigma, words), step, steps)

    def _rescaled(self, dx: Array) -> Array:
        factor = 0.9 + 0.2 / (1 + math.exp(-0.1 * self.omega))
        return (dx - dx.mean()) * factor + dx.mean()


def slow_grid(steps: int, sigma_max_in: float = 1.0) -> list[float]:
    """Sigmas as upstream's scheduler makes them: built on a thousand shifted levels, spaced anew, shifted again."""

    def shift(sigma: Array) -> Array:
        return 3 * sigma / (1 + 2 * sigma)

    built = shift(np.linspace(1, sigma_max_in * 1000, 1000)[::-1] / 1000)
    return [*shift(np.linspace(1000 * built[0], 1000 * built[-1], steps) / 1000).tolist(), 0.0]
