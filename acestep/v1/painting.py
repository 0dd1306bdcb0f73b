"""Music of a v1 model in regions of a recording, pass after pass; everything outside stays as it is, to the sample.

In: a player, a request, a recording at 48 kHz on its timeline. Out: one ``Take`` per song. The networks work at
44.1 kHz in frames of 93 ms: a pass is brought to their rate, a frame that a region touches is made anew as a whole,
and the join to the recording is made back at 48 kHz, inside the region. Refuses to know how a pass is sampled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from acestep.audio.resample import resample
from acestep.constants import SAMPLE_RATE
from acestep.editing.canvas import Canvas, Pass, passes
from acestep.painting import Painting, blank, join, performed
from acestep.pieces import Ground, Piece
from acestep.planner.plan import Plan
from acestep.playing import Song
from acestep.progress import HEARD_SHARE, Progress, part
from acestep.request import Request
from acestep.takes import Performance
from acestep.v1.length import NATIVE_RATE, SAMPLES_PER_FRAME
from acestep.v1.player import FRAME_WIDTH, V1Player


def paint(
    player: V1Player,
    request: Request,
    plan: Plan,
    canvas: Canvas,
    recording: np.ndarray,
    progress: Progress | None,
) -> Performance:
    """Fill the regions of a timeline, once per seed of the request.

    Args:
        plan: the song on paper, as long as the timeline.
        canvas: with at least one region.
        recording: ``[2, S]`` at 48 kHz.
        progress: called with (share done, stage).

    Raises:
        InputError: the words are too many.
        GenerationError: the networks produced nothing audible.
    """
    meters = player.meters()
    paintings = blank(request, recording, canvas)
    todo = [one for region in canvas.regions for one in passes(canvas, region, request.edit.song_max_s)]
    for number, one in enumerate(todo):
        share = part(progress, number / len(todo), (number + 1) / len(todo))
        with meters.measure("encoder"):
            pieces = _pieces(player, request, plan, canvas, paintings, one, number)
        rendering = player.play(request, pieces, part(share, HEARD_SHARE, 1.0), meters)
        for painting, song in zip(paintings, rendering.songs, strict=True):
            _put(painting, song, one, request)
    return performed(paintings, plan, canvas, recording, rendering)


def frame_count(samples: int) -> int:
    """Latent frames that cover so many samples of the timeline."""
    return -(-samples * NATIVE_RATE // (SAMPLES_PER_FRAME * SAMPLE_RATE))


def at_native_rate(sound: np.ndarray) -> Tensor:
    """A stretch of the timeline ``[2, S]`` for the networks: ``[2, F * 4096]`` at 44.1 kHz, silence at its end."""
    native = torch.from_numpy(resample(sound, SAMPLE_RATE, NATIVE_RATE))
    return functional.pad(native, (0, frame_count(sound.shape[1]) * SAMPLES_PER_FRAME - native.shape[1]))


def frame_region(one: Pass) -> tuple[int, int]:
    """The frames (start, stop) of a pass that its region touches, counted from ``low``."""
    return (one.start - one.low) * NATIVE_RATE // (SAMPLES_PER_FRAME * SAMPLE_RATE), frame_count(one.stop - one.low)


def _pieces(
    player: V1Player,
    request: Request,
    plan: Plan,
    canvas: Canvas,
    paintings: Sequence[Painting],
    one: Pass,
    number: int,
) -> list[Piece]:
    """The rows of a pass; their plan is as long as what is heard. What is the same in all songs is heard once."""
    plan = replace(plan, metadata=replace(plan.metadata, duration=(one.high - one.low) / SAMPLE_RATE))
    pieces, before = [], None
    for painting in paintings:
        sound = painting.samples[:, one.low : one.high]
        if before is None or not np.array_equal(sound, before):
            ground = _heard(player, request, canvas, sound, frame_region(one))
        pieces.append(Piece(plan, request.instruction, painting.seed, ground=ground, number=number))
        before = sound
    return pieces


def _heard(player: V1Player, request: Request, canvas: Canvas, sound: np.ndarray, region: tuple[int, int]) -> Ground:
    """What is heard of a stretch ``[2, S]`` of the timeline: all of it.

    Where the song grows, only what there is before and behind the region: not the silence that is to be filled.
    """
    frames, native = frame_count(sound.shape[1]), at_native_rate(sound)
    runs = ((0, region[0]), (region[1], frames)) if canvas.grows else ((0, frames),)
    latents = torch.zeros(1, frames, FRAME_WIDTH)
    for first, last in runs:
        if first < last:
            run = native[:, first * SAMPLES_PER_FRAME : last * SAMPLES_PER_FRAME]
            latents[:, first:last] = player.latents_of(run).cpu()
    return Ground(latents, request.task.source, region, erased=canvas.grows)


def _put(painting: Painting, song: Song, one: Pass, request: Request) -> None:
    """What a pass made becomes part of the song."""
    painting.song = song
    made = resample(song.waveform.numpy(), NATIVE_RATE, SAMPLE_RATE)[:, : one.high - one.low]
    around = painting.samples[:, one.low : one.high]
    region = one.start - one.low, one.stop - one.low
    painting.samples[:, one.start : one.stop] = join(around, made, region, limited=request.limit_true_peak)
