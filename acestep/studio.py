"""Every take of a request: new songs, covers, stems, repaints, extensions, mixes.

In: a renderer, a ``Request``, plans, a decoded recording. Out: a ``Performance``. Which of the ways below is taken is
written in the task's row; refuses to know tasks by name, files and how a batch is played.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from acestep.constants import INSTRUMENTAL_LYRICS, SAMPLE_RATE
from acestep.editing.canvas import Canvas, Pass, frame_count, frame_region, lay_out
from acestep.editing.mixing import matched, mixed, only_within, without
from acestep.meters import Meters
from acestep.painting import paint
from acestep.pieces import Ground, Piece
from acestep.planner.plan import Plan
from acestep.playing import Rendering, Song, new_songs
from acestep.progress import HEARD_SHARE, Progress, part
from acestep.render import Renderer
from acestep.request import Request
from acestep.takes import Ceiling, Performance, Take, laid_out
from acestep.tasks import EXTRACTION, Source, instruction_for

ROWS_MAX = 12  # of a batch: all tracks of one song
VOICE = "vocals"
REST, _NAMED_MAX = "remainder", 3  # what is left when so many tracks are taken out says which they were
VOICE_SHARE = 0.4  # of the progress, where a voice is taken out first


def perform(
    renderer: Renderer,
    request: Request,
    plans: Sequence[Plan],
    recording: np.ndarray | None = None,
    reference: np.ndarray | None = None,
    progress: Progress | None = None,
) -> Performance:
    """Make everything a request asks for.

    Args:
        plans: one per seed.
        recording: ``[2, S]`` at 48 kHz, what the task works on, if it works on one.
        reference: ``[2, S]`` at 48 kHz, the timbre to take over, or None.
        progress: called with (share done, stage); what it raises ends the run.

    Raises:
        InputError: a prompt is too long, or the region lies outside the recording.
        GenerationError: the networks produced nothing that can be used.
    """
    timbre = None if reference is None else torch.from_numpy(reference)
    if request.edit is None or recording is None:
        rendering = renderer.play(request, new_songs(request, plans), timbre, progress)
        return Performance(tuple(_whole(song) for song in rendering.songs), rendering)
    canvas = lay_out(request.edit, recording.shape[1])
    if request.task.keeps_outside:
        return paint(renderer, request, plans[0], canvas, recording, timbre, progress)
    source = laid_out(recording, canvas)
    studio = _Studio(renderer, request, plans[0], canvas, source, timbre, renderer.meters())
    return studio.with_voice(progress) if request.edit.voice is not None else studio.make(progress)


@dataclass(frozen=True, slots=True, eq=False)
class _Studio:
    """Whole songs over a recording.

    Attributes:
        plan: as long as the timeline.
        source: the recording on the timeline, ``[2, canvas.samples]``.
    """

    renderer: Renderer
    request: Request
    plan: Plan
    canvas: Canvas
    source: np.ndarray
    timbre: Tensor | None
    meters: Meters

    def make(self, progress: Progress | None) -> Performance:
        """Every song and every track, and what is left of the recording without them."""
        edit, task = self.request.edit, self.request.task
        ground = self._ground(self.source, part(progress, 0.0, HEARD_SHARE))
        tracks = [(track,) for track in edit.tracks] if task.tracks_apart and edit.tracks else [edit.tracks]
        pieces = [self._piece(seed, names, ground) for seed in self.request.seeds for names in tracks]
        songs, rendering = self._play(pieces, part(progress, HEARD_SHARE, 1.0))
        takes = [self._finished(song) for song in songs]
        if edit.remainder:
            count = len(tracks)
            groups = [takes[first : first + count] for first in range(0, len(takes), count)]
            takes = [take for group in groups for take in self._with_remainder(group)]
        return Performance(tuple(takes), rendering)

    def with_voice(self, progress: Progress | None) -> Performance:
        """The voice is taken out of the recording; what is made goes under it.

        What is made is an accompaniment to the voice, or a new version of all but the voice, as loud as that was.
        """
        plain = replace(self.request, edit=replace(self.request.edit, nearness=1.0, start_from=0.0))
        first = replace(self, request=plain, timbre=None)
        pieces = first._voice_pieces(part(progress, 0.0, HEARD_SHARE))
        voices, _ = first._play(pieces, part(progress, HEARD_SHARE, VOICE_SHARE))
        heard = [self._cut(song) for song in voices]
        if not self.request.task.accompanies:
            heard = [without(self.source, [voice]) for voice in heard]
        listening, count = part(progress, VOICE_SHARE, VOICE_SHARE + HEARD_SHARE), len(heard)
        grounds = [
            self._ground(sound, part(listening, index / count, (index + 1) / count))
            for index, sound in enumerate(heard)
        ]
        pieces = [
            self._piece(seed, self.request.edit.tracks, ground)
            for seed, ground in zip(self.request.seeds, grounds, strict=True)
        ]
        songs, rendering = self._play(pieces, part(progress, VOICE_SHARE + HEARD_SHARE, 1.0))
        takes = tuple(
            self._take(song, self._under(self._cut(voice), self._cut(song)), Ceiling.MIX)
            for voice, song in zip(voices, songs, strict=True)
        )
        return Performance(takes, rendering)

    def _under(self, voice: np.ndarray, made: np.ndarray) -> np.ndarray:
        """What was made under a voice."""
        if self.request.task.accompanies:
            return mixed(voice, [made], SAMPLE_RATE)
        rest = without(self.source, [voice])
        return voice + matched(made, rest, SAMPLE_RATE)

    def _play(self, pieces: Sequence[Piece], progress: Progress | None) -> tuple[list[Song], Rendering]:
        """Batches of as many pieces as are played at once."""
        songs: list[Song] = []
        for first in range(0, len(pieces), ROWS_MAX):
            batch = pieces[first : first + ROWS_MAX]
            share = part(progress, first / len(pieces), (first + len(batch)) / len(pieces))
            rendering = self.renderer.play(self.request, batch, self.timbre, share, self.meters)
            songs += rendering.songs
        return songs, rendering

    def _ground(self, sound: np.ndarray, progress: Progress | None) -> Ground:
        """A recording as the task hears it."""
        return self._laid(sound, self.request.task.source, progress)

    def _laid(self, sound: np.ndarray, heard: Source, progress: Progress | None) -> Ground:
        whole = [Pass(0, self.canvas.samples, *region) for region in self.canvas.regions]
        everything = Pass(0, self.canvas.samples, 0, self.canvas.samples)
        with self.meters.measure("encoder"):
            latents = self.renderer.latents_of(torch.from_numpy(sound), 0, frame_count(everything), progress)
        return Ground(latents, heard, frame_region(whole[0]) if whole else None)

    def _piece(self, seed: int, tracks: tuple[str, ...], ground: Ground) -> Piece:
        request = self.request
        instruction = instruction_for(request.task, request.instruction, tracks)
        track = tracks[0] if request.task.tracks_apart and tracks else ""
        return Piece(self.plan, instruction, seed, track, ground)

    def _voice_pieces(self, progress: Progress | None) -> list[Piece]:
        """The voice, asked for with what is known of the recording in words."""
        ground = self._laid(self.source, EXTRACTION.source, progress)
        instruction, words = instruction_for(EXTRACTION, tracks=(VOICE,)), self.request.edit.voice
        plan = replace(self.plan, caption=words.caption, lyrics=words.lyrics.strip() or INSTRUMENTAL_LYRICS)
        return [Piece(plan, instruction, seed, VOICE, ground) for seed in self.request.seeds]

    def _finished(self, song: Song) -> Take:
        """A song within its region, mixed with the recording if that is wanted."""
        sound = self._cut(song)
        for region in self.canvas.regions:
            sound = only_within(sound, region, SAMPLE_RATE)
        if self.request.edit.mix:
            return self._take(song, mixed(self.source, [sound], SAMPLE_RATE), Ceiling.MIX)
        return self._take(song, sound)

    def _with_remainder(self, takes: Sequence[Take]) -> tuple[Take, ...]:
        """Tracks, and the recording without them."""
        rest, tracks = without(self.source, [take.samples for take in takes]), tuple(take.track for take in takes)
        name = "without_" + "_".join(tracks) if len(takes) <= _NAMED_MAX else REST
        together = [*takes, replace(takes[-1], samples=rest, track=name)]
        return tuple(replace(take, parts=tracks, ceiling=Ceiling.PARTS) for take in together)

    def _take(self, song: Song, sound: np.ndarray, ceiling: Ceiling = Ceiling.SONG) -> Take:
        return Take(song, song.plan, sound, song.piece.track, ceiling=ceiling)

    def _cut(self, song: Song) -> np.ndarray:
        return song.waveform.numpy()[:, : self.canvas.samples]


def _whole(song: Song) -> Take:
    samples = song.waveform.numpy()[:, : round(song.plan.duration_s * SAMPLE_RATE)]
    return Take(song, song.plan, samples, song.piece.track)
