"""The Python door: ``generate_music`` and the values it takes and gives.

In: handlers, parameters, a folder. Out: a ``GenerationResult``; errors of the project become its ``error``, all else
is a bug and is raised.

    GenerationParams -> Request -> [Plan] -> [Piece] -> Conditions -> latents -> waveform -> [Take] -> files
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path

import torch

from acestep.checkpoints.registry import ModelSpec, smaller_than
from acestep.constants import DURATION_MAX_S, DURATION_MIN_S
from acestep.engines import engine_of
from acestep.errors import AceStepError
from acestep.exploring.explore import Exploration
from acestep.handler import AceStepHandler
from acestep.judge import plain
from acestep.llm_inference import LLMHandler
from acestep.memory import out_of_memory_explained
from acestep.outcome import Run, Target, finished_result
from acestep.output.content_credentials import Credentials, check_signable
from acestep.output.writer import writable_folder
from acestep.params import GenerationConfig, GenerationParams
from acestep.planner.plan import Plan
from acestep.planning import plan_songs
from acestep.playing import DECODED
from acestep.progress import HEARD_SHARE, Progress, part
from acestep.recordings import Recordings, listen
from acestep.request import Request
from acestep.result import (
    GenerationResult,
)
from acestep.stitching import stitch
from acestep.words import SongInWords, audio_codes_of, create_sample, format_sample, understand_music

__all__ = [
    "GenerationConfig",
    "GenerationParams",
    "GenerationResult",
    "SongInWords",
    "audio_codes_of",
    "create_sample",
    "explore",
    "format_sample",
    "generate_music",
    "stitch",
    "understand_music",
    "warm_up",
]
PLANNED = 0.4  # share of the progress that planning takes, where a planner works
logger = logging.getLogger(__name__)


def generate_music(
    dit_handler: AceStepHandler,
    llm_handler: LLMHandler | None,
    params: GenerationParams,
    config: GenerationConfig,
    save_dir: str | Path | None = None,
    progress: Progress | None = None,
    *,
    credentials: Credentials | None = None,
) -> GenerationResult:
    """Make a batch of songs.

    Args:
        dit_handler: with a loaded model.
        llm_handler: the planner; may be uninitialised or None when ``params.thinking`` is False.
        params: what the songs should be; not changed.
        config: how many, from which seeds, into which format; not changed.
        save_dir: folder for the files, made if absent; None saves nothing.
        progress: called with (share done from 0 to 1, stage); what it raises ends the run.
        credentials: files are signed with these (wav, mp3, m4a); None signs nothing.

    Returns:
        The songs, or ``success=False`` with one sentence in ``error``. Nothing half-written stays in ``save_dir``.
    """
    try:
        target = None if save_dir is None else Target(Path(os.fsdecode(save_dir)), credentials)
        return _generate(dit_handler, llm_handler, plain(params), plain(config), target, progress)
    except AceStepError as error:
        return GenerationResult.failed(error)


def explore(
    dit_handler: AceStepHandler,
    llm_handler: LLMHandler | None,
    params: GenerationParams,
    config: GenerationConfig,
    save_dir: str | Path,
    *,
    keep: int = 5,
    batches: int | None = None,
    progress: Progress | None = None,
    credentials: Credentials | None = None,
) -> Exploration:
    """Make batch after batch from new seeds in the background, and keep the best songs of all.

    Args:
        dit_handler, llm_handler, params: as in ``generate_music``; a seed of 0 or more is that of the first song.
        config: as there; songs are always judged.
        save_dir: folder of this exploration; where the same was explored before by the same models, it goes on.
        keep: songs that stay, 1 to 100.
        batches: after how many it ends; None never does.
        progress: called from another thread with (share of the batch, stage).
        credentials: as in ``generate_music``.

    Returns:
        A context manager to iterate over: one ``Standing`` per batch.

    Raises:
        InputError: a value that is not allowed, or the folder holds another exploration, or a file in the way.
        UnsupportedError: values that do not go together, or a format that cannot be signed.
        OutputError: the folder cannot be written, or another process explores in it.
    """
    params, config = plain(params), plain(config)
    Request.from_params(params, config, dit_handler.model)
    if credentials is not None:
        check_signable(config.audio_format)
    planner = llm_handler.row.name if llm_handler is not None and llm_handler.initialized else None
    models = (dit_handler.model.name, planner)

    def make(
        params: GenerationParams, config: GenerationConfig, folder: Path, progress: Progress
    ) -> GenerationResult:
        return generate_music(dit_handler, llm_handler, params, config, folder, progress, credentials=credentials)

    return Exploration(make, params, config, save_dir, models=models, keep=keep, batches=batches, progress=progress)


def warm_up(dit_handler: AceStepHandler, llm_handler: LLMHandler | None = None) -> float:
    """Run every network once on the shortest song, so that the first request does not pay for it; seconds taken.

    Raises:
        UnsupportedError: the planner's codes are not those of the model.
    """
    start = time.perf_counter()
    planned = llm_handler is not None and llm_handler.initialized
    params = GenerationParams(
        caption="warm-up", duration=10, inference_steps=1, thinking=planned, use_cot_caption=False, seed=0
    )
    request = Request.from_params(params, GenerationConfig(batch_size=1, use_random_seed=False), dit_handler.model)
    with out_of_memory_explained("warming up the planner", lambda: _less_planning(request)):
        plans = plan_songs(request, llm_handler, dit_handler.renderer.reader).plans
    with _memory_explained("warming up", request, plans, dit_handler):
        dit_handler.renderer.render(request, plans)
    return time.perf_counter() - start


def _less_planning(request: Request) -> list[str]:
    """Ways for the planner to need less memory."""
    if request.order is None:
        return []
    at_once = (
        [f"an lm_batch_chunk_size below {request.order.songs_at_once}"] if request.order.songs_at_once > 1 else []
    )
    return [*at_once, "a smaller lm_model", "thinking=False"]


def _generate(
    dit_handler: AceStepHandler,
    llm_handler: LLMHandler | None,
    params: GenerationParams,
    config: GenerationConfig,
    target: Target | None,
    progress: Progress | None,
) -> GenerationResult:
    request = Request.from_params(params, config, dit_handler.model)
    if target is not None and target.credentials is not None:
        check_signable(request.audio_format.name)
    recordings = listen(request)
    request = recordings.judged(request)
    with out_of_memory_explained("planning", lambda: _less_planning(request)):
        reader, share = dit_handler.renderer.reader, part(progress, 0.0, _planned(request))
        hears = _listener(recordings, dit_handler, part(share, 0.0, 0.5))
        batch = plan_songs(request, llm_handler, reader, part(share, 0.5, 1.0) if hears else share, listen=hears)
    request = replace(request, warnings=(*request.warnings, *dit_handler.warnings, *batch.warnings))
    for warning in request.warnings:
        logger.warning("%s", warning)
    run = Run(dit_handler, llm_handler, params, request, batch, recordings, target)
    with _memory_explained(f"making {_amount(batch.plans)} with", request, batch.plans, dit_handler):
        result = _play(run, part(progress, _planned(request), 1.0))
    if progress is not None:
        progress(1.0, "finished")
    return result


def _listener(
    recordings: Recordings, dit_handler: AceStepHandler, progress: Progress | None
) -> Callable[[], tuple[int, ...]] | None:
    """What gives the codes of the recording, if it is of a length that planners know; else None."""
    source = recordings.source
    if source is None or not DURATION_MIN_S <= source.duration_s <= DURATION_MAX_S:
        return None
    return lambda: dit_handler.renderer.codes_of(torch.from_numpy(source.samples), progress)


def _planned(request: Request) -> float:
    """Share of the work that is done when the songs are planned."""
    if request.order is not None:
        return PLANNED
    return HEARD_SHARE if request.listens is not None else 0.0


def _play(run: Run, progress: Progress | None) -> GenerationResult:
    """Everything large is held by this frame and those it calls: letting go of them frees it."""
    with nullcontext() if run.target is None else writable_folder(run.target.folder):
        source, timbre = run.recordings.samples
        share = part(progress, 0.0, DECODED) if run.request.scored else progress
        perform = engine_of(run.dit_handler.model).perform
        performance = perform(run.dit_handler.renderer, run.request, run.batch.plans, source, timbre, share)
        logger.info("Peak memory %s", performance.rendering.peak)
        return finished_result(run, performance, part(progress, DECODED, 1.0))


def _memory_explained(
    doing: str, request: Request, plans: Sequence[Plan], dit_handler: AceStepHandler
) -> AbstractContextManager[None]:
    """Running out of memory in the block becomes an error that says what ``request`` could do without."""
    model, can_offload = dit_handler.model, dit_handler.can_offload
    return out_of_memory_explained(
        f"{doing} {model.name}", lambda: what_needs_less(request, plans, model, can_offload=can_offload)
    )


def _amount(plans: Sequence[Plan]) -> str:
    songs = "one song" if len(plans) == 1 else f"{len(plans)} songs"
    return f"{songs} of {_longest_s(plans):g} s"


def what_needs_less(request: Request, plans: Sequence[Plan], model: ModelSpec, *, can_offload: bool) -> list[str]:
    """Ways to need less memory than ``request`` does, most harmless first; only those that are open to it."""
    smaller, edit = smaller_than(model), request.edit
    shorter = f"a duration below {_longest_s(plans):g} s" if edit is None else "a shorter src_audio"
    shorter = "fewer audio_codes" if request.audio_codes else shorter
    apart = request.task.tracks_apart and edit is not None and len(edit.tracks) > 1
    ways = (
        (request.batch_size > 1, f"a batch_size below {request.batch_size}"),
        (request.scored, "score=False"),
        (apart, "fewer tracks at once"),
        (_longest_s(plans) > DURATION_MIN_S and (edit is None or not edit.in_passes), shorter),
        (can_offload, "offload_to_cpu=True"),
        (smaller is not None, f"the smaller model {smaller and smaller.name}"),
    )
    return [way for is_open, way in ways if is_open]


def _longest_s(plans: Sequence[Plan]) -> float:
    return max(plan.duration_s for plan in plans)
