"""Finished takes are judged: where their words are sung, what the planner makes of them, what can be measured.

In: takes and their samples, what they were played from, the networks. Out: one ``Judgement`` per take. Refuses to
know files, doors and which take is wanted.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np

from acestep.llm_inference import LLMHandler
from acestep.output.scrub import scrubbed
from acestep.pieces import latent_frames
from acestep.planner.plan import Sheet
from acestep.playing import Rendering
from acestep.progress import Progress, unwatched
from acestep.render import Renderer
from acestep.request import Request
from acestep.scoring.alignment import Alignment, align
from acestep.scoring.attention import LyricAttention
from acestep.scoring.likelihood import Likelihood
from acestep.scoring.scores import Scores
from acestep.scoring.sound import Sound, measure
from acestep.scoring.timestamps import TimedLine, timed_lines
from acestep.takes import Performance, Take

_STAGE = "judging"
_SUNG_AT_ONCE = 2  # attention of the longest song takes 0.5 GB
_Item, _Result = TypeVar("_Item"), TypeVar("_Result")
_Sung = tuple[Alignment | None, tuple[TimedLine, ...]]


@dataclass(frozen=True, slots=True)
class Judgement:
    """What is known of a take.

    Attributes:
        scores: of it.
        lines: when each of its lines is sung; () where none is, or where that is not known. They may be published.
        warnings: a sentence for every score that could not be had.
    """

    scores: Scores
    lines: tuple[TimedLine, ...] = ()
    warnings: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """For the recipe: the scores, and start, end, confidence and text of every line."""
        lines = [
            {"start_s": line.start_s, "end_s": line.end_s, "confidence": line.confidence, "lyrics": line.text}
            for line in self.lines
        ]
        return {**self.scores.to_dict(), "lines": lines}


def judge(
    takes: Sequence[Take],
    finished: Sequence[np.ndarray],
    request: Request,
    performance: Performance,
    renderer: Renderer,
    llm_handler: LLMHandler | None,
    progress: Progress | None = None,
) -> tuple[Judgement, ...]:
    """Judge every take.

    Words are followed, and the planner is asked, where what was played is a whole song: a track sings no lyrics of
    its own, even where it is mixed with the recording, and of a song made in passes nothing has heard the whole.

    Args:
        takes: of the performance.
        finished: samples ``[2, S]`` of each, at ``request.sample_rate``.
        performance: the last batch of it is what the takes' songs were played in.
        renderer: that played.
        llm_handler: the planner, if it planned or listened.
        progress: called with (share done, stage).
    """
    report = progress or unwatched
    report(0.0, _STAGE)
    whole = [number for number, take in enumerate(takes) if _is_whole(take, request)]
    sung = list(_sung([takes[number] for number in whole], request, performance.rendering, renderer))
    guessed = _guessed([takes[number] for number in whole], request, renderer, llm_handler)
    judged = {number: (*song, guess) for number, song, guess in zip(whole, sung, guessed, strict=True)}
    judgements = []
    for number, sound in enumerate(_measured(takes, finished, request)):
        report(number / len(takes), _STAGE)
        alignment, lines, likelihood = judged.get(number, (None, (), None))
        warnings = () if likelihood is None else likelihood.warnings
        judgements.append(Judgement(Scores(sound, alignment, likelihood), lines, warnings))
    return tuple(judgements)


def _measured(takes: Sequence[Take], finished: Sequence[np.ndarray], request: Request) -> Iterator[Sound]:
    """What can be measured in each take; several at once, for what takes time are functions that let threads run."""
    pairs = zip(takes, finished, strict=True)
    yield from _at_once(lambda pair: _sound(*pair, request), pairs, os.cpu_count() or 1)


def _sound(take: Take, samples: np.ndarray, request: Request) -> Sound:
    wanted, is_track = take.plan.metadata, _is_track(request)
    known = {} if is_track else {"bpm": wanted.bpm, "keyscale": wanted.keyscale}
    return measure(samples, request.sample_rate, is_track=is_track, **known)


def _is_track(request: Request) -> bool:
    """Whether its takes are tracks: neither songs nor mixed with the recording or its voice."""
    edit = request.edit
    return _plays_tracks(request) and not (edit is not None and (edit.mix or edit.voice is not None))


def _is_whole(take: Take, request: Request) -> bool:
    """Whether the song of a take is all that is heard in it, from its beginning to its end."""
    under_a_voice = request.edit is not None and request.edit.voice is not None
    pieced = _plays_tracks(request) or under_a_voice
    return not pieced and latent_frames(take.plan.duration_s) == take.song.piece.frames


def _plays_tracks(request: Request) -> bool:
    """Whether the task makes one or some tracks of a song, named or not."""
    return request.task.tracks_max > 0


def _sung(takes: Sequence[Take], request: Request, rendering: Rendering, renderer: Renderer) -> Iterator[_Sung]:
    """How well each take follows its lyrics, and when each line is sung; nothing for those of an earlier batch."""
    places = {id(song): place for place, song in enumerate(rendering.songs)}
    known = [places[id(take.song)] for take in takes if id(take.song) in places]
    attentions = renderer.lyric_attention(request, rendering, known)
    asked = ((take, next(attentions) if id(take.song) in places else None) for take in takes)
    yield from _at_once(lambda pair: _followed(*pair, renderer), asked, _SUNG_AT_ONCE)


def _followed(take: Take, attention: LyricAttention | None, renderer: Renderer) -> _Sung:
    if attention is None:
        return None, ()
    looked, texts = attention.probabilities.numpy(), renderer.reader.tokenizer.texts(attention.ids)
    lines = timed_lines(looked, texts, take.plan.duration_s, attention.frame_s) or ()
    return align(looked, texts), tuple(map(_publishable, lines))


def _publishable(line: TimedLine) -> TimedLine:
    """A line without credentials; one that held some has no tokens, which would spell them."""
    text = scrubbed(line.text, "lyrics")
    return line if text == line.text else replace(line, text=text, tokens=())


def _at_once(work: Callable[[_Item], _Result], items: Iterable[_Item], most: int) -> Iterator[_Result]:
    """The results of ``work``, in order; only so many items are taken, and worked on, at once."""
    pool, running = ThreadPoolExecutor(most, thread_name_prefix="judging"), deque()
    try:
        for item in items:
            running.append(pool.submit(work, item))
            del item
            if len(running) == most:
                yield running.popleft().result()
        while running:
            yield running.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _guessed(
    takes: Sequence[Take], request: Request, renderer: Renderer, llm_handler: LLMHandler | None
) -> Sequence[Likelihood | None]:
    """What the planner makes of each take, where it was asked anything about it."""
    asked = (request.order or request.listens) is not None
    if not takes or not asked or llm_handler is None or not llm_handler.initialized:
        return [None] * len(takes)
    codes = [take.plan.audio_codes or renderer.codes_in(take.song.latents) for take in takes]
    sheets = [Sheet(request.caption or take.plan.caption, take.plan.lyrics, take.plan.metadata) for take in takes]
    with llm_handler.planner() as planner:
        return planner.likelihoods(codes, sheets)
