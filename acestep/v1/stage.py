"""Every take of a request to a v1 model: new songs, songs over a recording, a bed under a voice, regions made anew.

In: a player, a ``Request``, plans, a decoded recording at 48 kHz. Out: a ``Performance``. Songs stay at the 44.1 kHz
of the networks until they are finished; what keeps a recording is at the recording's 48 kHz. Refuses to know tasks by
name, files and how a batch is played.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from acestep.audio.resample import resample
from acestep.constants import INSTRUMENTAL_LYRICS, SAMPLE_RATE
from acestep.editing.canvas import lay_out
from acestep.editing.mixing import mixed
from acestep.pieces import Ground, Piece
from acestep.planner.plan import Plan
from acestep.playing import Rendering, Song, new_songs
from acestep.progress import HEARD_SHARE, Progress, part
from acestep.request import Request
from acestep.takes import Ceiling, Performance, Take
from acestep.tasks import Source
from acestep.v1.length import NATIVE_RATE
from acestep.v1.lora import Merged
from acestep.v1.painting import at_native_rate, paint
from acestep.v1.player import V1Player

NOT_HEARD = (
    "{model} does not hear the voice it accompanies: the accompaniment is a new instrumental song of the same "
    "length, neither in its tempo nor in its key."
)


def perform(
    player: V1Player,
    request: Request,
    plans: Sequence[Plan],
    recording: np.ndarray | None = None,
    reference: np.ndarray | None = None,  # noqa: ARG001 - as ``studio.perform``; this generation hears none
    progress: Progress | None = None,
) -> Performance:
    """Make everything a request asks for.

    Args:
        plans: one per seed.
        recording: ``[2, S]`` at 48 kHz, what the task works on, if it works on one.
        progress: called with (share done, stage); what it raises ends the run.

    Raises:
        InputError: the words are too many, the region lies outside the recording, or there is no such adapter.
        GenerationError: the networks produced nothing that can be used.
    """
    adapter = player.adapt(request.adapter, progress)
    performance = _perform(player, request, plans, recording, progress)
    return performance if adapter is None else _told(performance, adapter)


def _perform(
    player: V1Player,
    request: Request,
    plans: Sequence[Plan],
    recording: np.ndarray | None,
    progress: Progress | None,
) -> Performance:
    if request.edit is None or recording is None:
        return _taken(player.play(request, new_songs(request, plans), progress))
    if request.task.accompanies:
        return _under(player, request, plans, recording, progress)
    if request.task.keeps_outside:
        return paint(player, request, plans[0], lay_out(request.edit, recording.shape[1]), recording, progress)
    return _over(player, request, plans, recording, progress)


def _over(
    player: V1Player,
    request: Request,
    plans: Sequence[Plan],
    recording: np.ndarray,
    progress: Progress | None,
) -> Performance:
    """Songs that begin as the recording under noise, or are led away from its words."""
    meters = player.meters()
    with meters.measure("encoder"):
        ground = Ground(player.latents_of(at_native_rate(recording)), Source.LATENTS)
    pieces = [
        Piece(plan, request.instruction, seed, ground=ground) for plan, seed in zip(plans, request.seeds, strict=True)
    ]
    return _taken(player.play(request, pieces, part(progress, HEARD_SHARE, 1.0), meters))


def _under(
    player: V1Player,
    request: Request,
    plans: Sequence[Plan],
    voice: np.ndarray,
    progress: Progress | None,
) -> Performance:
    """New songs without words, each mixed with the voice."""
    plans = [replace(plan, lyrics=INSTRUMENTAL_LYRICS) for plan in plans]
    rendering = player.play(request, new_songs(request, plans), progress)
    takes = tuple(
        Take(song, song.plan, mixed(voice, [_at_48k(song)[:, : voice.shape[1]]], SAMPLE_RATE), ceiling=Ceiling.MIX)
        for song in rendering.songs
    )
    return Performance(takes, rendering, (NOT_HEARD.format(model=player.family.spec.name),))


def _at_48k(song: Song) -> np.ndarray:
    return resample(song.waveform.numpy(), NATIVE_RATE, SAMPLE_RATE)


def _taken(rendering: Rendering) -> Performance:
    """Whole songs as they are; what is too much of them is cut at the rate of the file."""
    takes = (Take(song, song.plan, song.waveform.numpy(), sample_rate=NATIVE_RATE) for song in rendering.songs)
    return Performance(tuple(takes), rendering)


def _told(performance: Performance, adapter: Merged) -> Performance:
    """The performance with what is to be said of the adapter it was played with."""
    return replace(performance, notes=(*performance.notes, *adapter.warnings), adapter=adapter.file)
