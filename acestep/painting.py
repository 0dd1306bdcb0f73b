"""Music made in regions of a recording, pass after pass; everything outside them stays as it is, sample for sample.

In: a renderer, a request, a recording on its timeline. Out: one ``Take`` per song. A pass hears the recording as
latents, and what earlier passes made as the latents they made: new music is never encoded, and no silence that waits
to be filled is heard. Refuses to know how a pass is sampled and how a join is made.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from acestep.audio.levels import check_audible
from acestep.audio.limiter import limit_true_peak
from acestep.constants import LATENT_CHANNELS, SAMPLE_RATE, SAMPLES_PER_FRAME
from acestep.editing.canvas import Canvas, Pass, frame_count, frame_region, passes
from acestep.editing.splice import splice
from acestep.finish import within_full_scale
from acestep.pieces import Ground, Piece
from acestep.planner.plan import Plan
from acestep.playing import Rendering, Song
from acestep.progress import HEARD_SHARE, Progress, part
from acestep.render import Renderer
from acestep.request import Request
from acestep.takes import Kept, Performance, Take, laid_out

MARGIN_FRAMES = 13  # decoded around a region: the half second that a join compares


@dataclass(slots=True, eq=False)
class Painting:
    """One song while it is being filled.

    Attributes:
        seed: of its noise.
        samples: ``[2, canvas.samples]``, the recording and what was made so far.
        made: (first frame on the timeline, latents ``[t, C]``) of every pass.
        song: of the last pass.
    """

    seed: int
    samples: np.ndarray
    made: list[tuple[int, Tensor]] = field(default_factory=list)
    song: Song | None = None


def blank(request: Request, recording: np.ndarray, canvas: Canvas) -> list[Painting]:
    """One painting per seed of the request, with the recording ``[2, S]`` where it lies and silence elsewhere."""
    return [Painting(seed, laid_out(recording, canvas)) for seed in request.seeds]


def performed(
    paintings: Sequence[Painting], plan: Plan, canvas: Canvas, recording: np.ndarray, rendering: Rendering
) -> Performance:
    """Finished paintings as takes; ``rendering`` is that of the last pass."""
    kept = Kept(recording, canvas)
    takes = tuple(Take(painting.song, plan, painting.samples, kept=kept) for painting in paintings)
    return Performance(takes, rendering)


def paint(
    renderer: Renderer,
    request: Request,
    plan: Plan,
    canvas: Canvas,
    recording: np.ndarray,
    reference: Tensor | None,
    progress: Progress | None,
) -> Performance:
    """Fill the regions of a timeline, once per seed of the request.

    Args:
        plan: the song on paper, as long as the timeline.
        canvas: with at least one region.
        recording: ``[2, S]`` at 48 kHz.
        reference: ``[2, S]`` at 48 kHz, the timbre to take over, or None.
        progress: called with (share done, stage).

    Raises:
        InputError: a prompt is too long.
        GenerationError: the networks produced nothing audible.
    """
    meters = renderer.meters()
    paintings = blank(request, recording, canvas)
    todo = [_as_it_lies(one, canvas, recording) for region in canvas.regions for one in passes(canvas, region)]
    for number, one in enumerate(todo):
        share = part(progress, number / len(todo), (number + 1) / len(todo))
        with meters.measure("encoder"):
            known = _heard(renderer, canvas, recording, one, paintings[0], part(share, 0.0, HEARD_SHARE))
        pieces = _pieces(request, plan, known, paintings, one, number)
        rendering = renderer.play(request, pieces, reference, part(share, HEARD_SHARE, 1.0), meters)
        for painting, song in zip(paintings, rendering.songs, strict=True):
            _put(painting, song, one, request)
    return performed(paintings, plan, canvas, recording, rendering)


def _as_it_lies(one: Pass, canvas: Canvas, recording: np.ndarray) -> Pass:
    """A pass that knows whether the recording begins where it ends: before the second of two that are joined, say,
    there is silence.
    """
    frame = one.low + (one.stop - one.low) // SAMPLES_PER_FRAME * SAMPLES_PER_FRAME  # in which ``stop`` lies
    before = laid_out(recording, canvas, max(frame, one.start), one.stop)
    return replace(one, begins=one.begins or (one.stop < one.high and before.size > 0 and not before.any()))


def _pieces(
    request: Request, plan: Plan, known: Tensor, paintings: Sequence[Painting], one: Pass, number: int
) -> list[Piece]:
    """The rows of a pass over a recording's latents; a prompt says how long what is heard is."""
    plan = replace(plan, metadata=replace(plan.metadata, duration=(one.high - one.low) / SAMPLE_RATE))
    start, stop = region = frame_region(one)
    decoded = max(0, start - MARGIN_FRAMES), min(frame_count(one), stop + MARGIN_FRAMES)
    return [
        Piece(
            plan,
            request.instruction_for(plan),
            painting.seed,
            ground=Ground(_with_made(known, painting, one), request.task.source, region, erased=True),
            decoded=decoded,
            number=number,
        )
        for painting in paintings
    ]


def _heard(
    renderer: Renderer,
    canvas: Canvas,
    recording: np.ndarray,
    one: Pass,
    painting: Painting,
    progress: Progress | None,
) -> Tensor:
    """Latents ``[1, T, C]`` of the recording under a pass; zero where this pass or an earlier one makes music."""
    latents, origin = torch.zeros(1, frame_count(one), LATENT_CHANNELS), one.low // SAMPLES_PER_FRAME
    margin, runs = renderer.hearing_frames, [*_unmade(painting, one)]
    for number, (start, stop) in enumerate(runs):
        low, high = max(0, origin + start - margin), origin + stop + margin
        samples = low * SAMPLES_PER_FRAME, min(canvas.samples, high * SAMPLES_PER_FRAME)
        stretch = torch.from_numpy(laid_out(recording, canvas, *samples))
        share = part(progress, number / len(runs), (number + 1) / len(runs))
        latents[:, start:stop] = renderer.latents_of(stretch, origin + start - low, stop - start, share)
    return latents


def _unmade(painting: Painting, one: Pass) -> Iterator[tuple[int, int]]:
    """Runs (start, stop) of the frames of a pass in which there is nothing but the recording."""
    unmade = np.ones(frame_count(one), dtype=bool)
    unmade[slice(*frame_region(one))] = False
    for _, place in _made_under(painting, one):
        unmade[place] = False
    borders = np.flatnonzero(np.diff(np.pad(unmade, 1))).tolist()
    return zip(borders[::2], borders[1::2], strict=True)


def _with_made(known: Tensor, painting: Painting, one: Pass) -> Tensor:
    """The latents of a pass with those in them that earlier passes made."""
    latents = known.clone()
    for made, place in _made_under(painting, one):
        latents[0, place] = made.to(latents)
    return latents


def _made_under(painting: Painting, one: Pass) -> Iterator[tuple[Tensor, slice]]:
    """What earlier passes made within a pass, latents ``[t, C]``, and where in its frames that is."""
    origin, frames = one.low // SAMPLES_PER_FRAME, frame_count(one)
    for first, made in painting.made:
        low, high = max(0, first - origin), min(frames, first + made.shape[0] - origin)
        if low < high:
            yield made[low + origin - first : high + origin - first], slice(low, high)


def _put(painting: Painting, song: Song, one: Pass, request: Request) -> None:
    """What a pass made becomes part of the song."""
    start, stop = frame_region(one)
    painting.song = song
    painting.made.append((one.low // SAMPLES_PER_FRAME + start, song.latents[start:stop]))
    low = one.low + song.piece.decoded[0] * SAMPLES_PER_FRAME
    made = song.waveform.numpy()[:, : one.high - low]
    around = painting.samples[:, low : low + made.shape[1]]
    region = one.start - low, one.stop - low
    painting.samples[:, one.start : one.stop] = join(around, made, region, limited=request.limit_true_peak)


def join(around: np.ndarray, made: np.ndarray, region: tuple[int, int], *, limited: bool) -> np.ndarray:
    """New music for a region of a recording, joined to what is around it.

    Args:
        around: ``[2, S]`` at 48 kHz, the recording.
        made: ``[2, S]``, the region and what was made around it.
        region: (start, stop) in samples.
        limited: keep it below the true-peak ceiling.

    Returns:
        ``[2, stop - start]``.

    Raises:
        GenerationError: there is nothing to hear in the region.
    """
    check_audible(made[:, slice(*region)])
    if limited:
        made = limit_true_peak(made, region=region)
    return within_full_scale(splice(around, made, region), region)[:, slice(*region)]
