"""Training examples of every task: what the transformer is told, what it sees, what it shall make.

In: songs as latents and words. Out: ``Example``s. The prompts are those of inference (``conditioning.prompt``), the
instructions those of ``tasks``; which words are left out, which part is masked, which track is asked for is drawn.
Refuses to know networks and noise.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from acestep.conditioning.prompt import lyric_prompt, text_prompt
from acestep.conditioning.text import PromptTokenizer, PromptTokens
from acestep.constants import TIMBRE_FRAMES
from acestep.planner.plan import Metadata, Plan
from acestep.tasks import (
    COMPLETE_INSTRUCTION,
    COVER_INSTRUCTION,
    EXTRACT_INSTRUCTION,
    LEGO_INSTRUCTION,
    REPAINT_INSTRUCTION,
    TEXT2MUSIC_INSTRUCTION,
    with_tracks,
)
from acestep.training.latents import MIX, REST, STEM, LatentSong
from acestep.training.truth import frame_facts, song_facts

NO_METADATA, NO_FIELD = 0.2, 0.12  # chance that all, or one of the metadata is left open
REFERENCE_CHANCE = 0.15
REGION_FRAMES_MIN = 50  # 2 s

Region = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Example:
    """One thing to learn.

    Attributes:
        target: latents to make, ``[T, C]``.
        source: latents beside the noise, ``[T, C]``; None is silence.
        region: first frame to make anew and the one after the last; all others are given. None is everything.
        semantic: the source goes through the semantic codes first.
        tokens: of both prompts.
        reference: latents ``[750, C]`` of a recording whose timbre to take; None is silence.
        facts: what is true of the target, ``[T, FRAME_FACTS]``; None where it is not a whole song.
        words: what is true of the song that the prompts speak of, ``[SONG_FACTS]``.
        bpm: among the metadata of the prompts; None where they leave it open.
    """

    target: Tensor
    source: Tensor | None
    region: Region | None
    semantic: bool
    tokens: PromptTokens
    reference: Tensor | None
    facts: Tensor | None
    words: Tensor
    bpm: int | None


@dataclass(frozen=True, slots=True)
class _Sight:
    """What one task shows and wants: target, source, frames to make, instruction; whether that is a whole song."""

    target: Tensor
    source: Tensor | None
    instruction: str
    region: Region | None = None
    semantic: bool = False
    whole: bool = True


def draw_example(song: LatentSong, rng: np.random.Generator, tokenizer: PromptTokenizer) -> Example:
    """A task for this song, and the prompts that ask for it."""
    able = [row for row in _TASKS if song.stems or not row[2]]
    shares = np.array([share for _, share, _ in able])
    show = able[rng.choice(len(able), p=shares / shares.sum())][0]
    sight = show(song, rng)
    plan = _plan(song, rng)
    tokens = tokenizer(text_prompt(plan, sight.instruction), lyric_prompt(plan))
    reference = _reference(song) if rng.random() < REFERENCE_CHANCE else None
    facts = torch.from_numpy(frame_facts(song.record.seed, len(sight.target))) if sight.whole else None
    words = torch.from_numpy(song_facts(song.record))
    return Example(
        target=sight.target,
        source=sight.source,
        region=sight.region,
        semantic=sight.semantic,
        tokens=tokens,
        reference=reference,
        facts=facts,
        words=words,
        bpm=plan.metadata.bpm,
    )


def _text2music(song: LatentSong, rng: np.random.Generator) -> _Sight:  # noqa: ARG001 - as every task
    return _Sight(song.latents(MIX), None, TEXT2MUSIC_INSTRUCTION)


def _cover(song: LatentSong, rng: np.random.Generator) -> _Sight:  # noqa: ARG001 - as every task
    mix = song.latents(MIX)
    return _Sight(mix, mix, COVER_INSTRUCTION, semantic=True)


def _repaint(song: LatentSong, rng: np.random.Generator) -> _Sight:
    """A region somewhere, or everything before or after a point, as for an extension."""
    mix = song.latents(MIX)
    frames = len(mix)
    length = int(rng.integers(REGION_FRAMES_MIN, frames - REGION_FRAMES_MIN))
    start = int(rng.choice([0, frames - length, rng.integers(frames - length + 1)], p=[0.15, 0.35, 0.5]))
    return _Sight(mix, mix, REPAINT_INSTRUCTION, (start, start + length))


def _lego(song: LatentSong, rng: np.random.Generator) -> _Sight:
    track = str(rng.choice(song.stems))
    instruction = with_tracks(LEGO_INSTRUCTION, (track,))
    return _Sight(song.latents(STEM, track), song.latents(REST, track), instruction, whole=False)


def _extract(song: LatentSong, rng: np.random.Generator) -> _Sight:
    track = str(rng.choice(song.stems))
    instruction = with_tracks(EXTRACT_INSTRUCTION, (track,))
    return _Sight(song.latents(STEM, track), song.latents(MIX), instruction, whole=False)


def _complete(song: LatentSong, rng: np.random.Generator) -> _Sight:
    track = str(rng.choice(song.stems))
    others = tuple(other for other in song.record.tracks if other != track)
    return _Sight(song.latents(MIX), song.latents(STEM, track), with_tracks(COMPLETE_INSTRUCTION, others))


_TASKS: tuple[tuple[Callable[[LatentSong, np.random.Generator], _Sight], float, bool], ...] = (
    (_text2music, 0.32, False),  # share, needs stems
    (_cover, 0.32, False),  # and songs that a planner planned, which is how most are made
    (_repaint, 0.14, False),
    (_lego, 0.08, True),
    (_extract, 0.08, True),
    (_complete, 0.06, True),
)


def _plan(song: LatentSong, rng: np.random.Generator) -> Plan:
    record = song.record
    full = Metadata(record.bpm, record.keyscale, record.timesignature, record.duration, record.language)
    return Plan(str(rng.choice(record.captions)), record.lyrics, _thinned(full, rng))


def _thinned(metadata: Metadata, rng: np.random.Generator) -> Metadata:
    """Some of the metadata; length and language are always told, as they are at inference."""
    if rng.random() < NO_METADATA:
        return Metadata(duration=metadata.duration, language=metadata.language)
    empty = Metadata()
    dropped = {name: getattr(empty, name) for name in ("bpm", "keyscale", "timesignature") if rng.random() < NO_FIELD}
    return replace(metadata, **dropped)


def _reference(song: LatentSong) -> Tensor:
    mix = song.latents(MIX)
    return mix.repeat(-(-TIMBRE_FRAMES // len(mix)), 1)[:TIMBRE_FRAMES]


def region_mask(frames: int, region: Region | None) -> Tensor:
    """1 where something is made, 0 where the source stays, ``[T]``."""
    if region is None:
        return torch.ones(frames)
    mask = torch.zeros(frames)
    mask[slice(*region)] = 1.0
    return mask
