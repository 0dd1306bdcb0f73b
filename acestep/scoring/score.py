"""Finished takes are judged: where their words are sung, what the planner makes of them, what can be measured.

In: takes and their samples, what they were played from, the networks. Out: one ``Judgement`` per take. Refuses to
know files, doors and which take is wanted.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from acestep.llm_inference import LLMHandler
from acestep.pieces import latent_frames
from acestep.planner.plan import Sheet
from acestep.progress import Progress
from acestep.render import Renderer, Rendering
from acestep.request import Request
from acestep.scoring.alignment import Alignment, align
from acestep.scoring.likelihood import Likelihood
from acestep.scoring.scores import Scores
from acestep.scoring.sound import Sound, measure
from acestep.scoring.timestamps import TimedLine, timed_lines
from acestep.takes import Performance, Take

_STAGE = "judging"


@dataclass(frozen=True, slots=True)
class Judgement:
    """What is known of a take.

    Attributes:
        scores: of it.
        lines: when each of its lines is sung; () where none is, or where that is not known.
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

    Words are followed, and the planner is asked, where a take is a whole song: a track of one sings no lyrics of its
    own, and of a song that was made in passes nothing has heard the whole.

    Args:
        takes: of the performance.
        finished: samples ``[2, S]`` of each, at ``request.sample_rate``.
        performance: the last batch of it is what the takes' songs were played in.
        renderer: that played.
        llm_handler: the planner, if it planned or listened.
        progress: called with (share done, stage).
    """
    report = progress or _unwatched
    report(0.0, _STAGE)
    whole = [number for number, take in enumerate(takes) if _is_whole(take)]
    sung = _sung([takes[number] for number in whole], request, performance.rendering, renderer)
    guessed = _guessed([takes[number] for number in whole], request, renderer, llm_handler)
    judged = {number: (*song, guess) for number, song, guess in zip(whole, sung, guessed, strict=True)}
    judgements = []
    for number, sound in enumerate(_measured(takes, finished, request.sample_rate)):
        report(number / len(takes), _STAGE)
        alignment, lines, likelihood = judged.get(number, (None, (), None))
        warnings = () if likelihood is None else likelihood.warnings
        judgements.append(Judgement(Scores(sound, alignment, likelihood), lines, warnings))
    return tuple(judgements)


def _measured(takes: Sequence[Take], finished: Sequence[np.ndarray], sample_rate: int) -> Iterator[Sound]:
    """What can be measured in each take; several at once, for what takes time are functions that let threads run."""
    pool = ThreadPoolExecutor(min(len(takes), os.cpu_count() or 1), thread_name_prefix="measuring")
    try:
        yield from pool.map(lambda take, samples: _sound(take, samples, sample_rate), takes, finished)
    finally:
        pool.shutdown(cancel_futures=True)


def _sound(take: Take, samples: np.ndarray, sample_rate: int) -> Sound:
    wanted = take.plan.metadata
    known = {} if take.track else {"bpm": wanted.bpm, "keyscale": wanted.keyscale}
    return measure(samples, sample_rate, **known)


def _is_whole(take: Take) -> bool:
    piece = take.song.piece
    return not (take.track or piece.track) and latent_frames(take.plan.duration_s) == piece.frames


def _sung(
    takes: Sequence[Take], request: Request, rendering: Rendering, renderer: Renderer
) -> Iterator[tuple[Alignment | None, tuple[TimedLine, ...]]]:
    """How well each take follows its lyrics, and when each line is sung."""
    attentions = dict(zip(map(id, rendering.songs), renderer.lyric_attention(request, rendering), strict=True))
    for take in takes:
        attention = attentions.get(id(take.song))
        if attention is None:
            yield None, ()
            continue
        looked, texts = attention.probabilities.numpy(), renderer.reader.tokenizer.texts(attention.ids)
        yield align(looked, texts), timed_lines(looked, texts, take.plan.duration_s, attention.frame_s) or ()


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


def _unwatched(share: float, stage: str) -> None:
    """Progress that nobody watches."""
