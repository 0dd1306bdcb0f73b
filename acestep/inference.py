"""The Python door: ``generate_music`` and the values it takes and gives.

In: handlers, parameters, a folder. Out: a ``GenerationResult``; errors of the project become its ``error``, all else
is a bug and is raised.

    GenerationParams -> Request -> [Plan] -> Conditions -> latents -> waveform -> files
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from acestep.audio.io import Audio, read_audio
from acestep.checkpoints.registry import ModelSpec, smaller_than
from acestep.constants import AUDIO_CHANNELS, DURATION_MIN_S
from acestep.errors import AceStepError, NotLoadedError
from acestep.finish import finish
from acestep.handler import AceStepHandler
from acestep.judge import plain
from acestep.llm_inference import LLMHandler
from acestep.memory import out_of_memory_explained
from acestep.output.writer import writable_folder
from acestep.params import GenerationConfig, GenerationParams
from acestep.planner.plan import Plan
from acestep.render import Progress, Rendering
from acestep.request import Request
from acestep.result import SUCCESS, GenerationResult, effective_params, extra_outputs, params_key
from acestep.save import Provenance, save_song

__all__ = ["GenerationConfig", "GenerationParams", "GenerationResult", "generate_music", "warm_up"]
logger = logging.getLogger(__name__)


def generate_music(
    dit_handler: AceStepHandler,
    llm_handler: LLMHandler | None,
    params: GenerationParams,
    config: GenerationConfig,
    save_dir: str | Path | None = None,
    progress: Progress | None = None,
) -> GenerationResult:
    """Make a batch of songs.

    Args:
        dit_handler: with a loaded model.
        llm_handler: the planner; may be uninitialised or None when ``params.thinking`` is False.
        params: what the songs should be; not changed.
        config: how many, from which seeds, into which format; not changed.
        save_dir: folder for the files, made if absent; None saves nothing.
        progress: called with (share done from 0 to 1, stage); what it raises ends the run.

    Returns:
        The songs, or ``success=False`` with one sentence in ``error``. Nothing half-written stays in ``save_dir``.
    """
    try:
        return _generate(dit_handler, llm_handler, plain(params), plain(config), save_dir, progress)
    except AceStepError as error:
        return GenerationResult.failed(error)


def warm_up(dit_handler: AceStepHandler) -> float:
    """Run every network once on the shortest song, so that the first request does not pay for it; seconds taken."""
    start = time.perf_counter()
    params = GenerationParams(caption="warm-up", duration=10, inference_steps=1, thinking=False, seed=0)
    request = Request.from_params(params, GenerationConfig(batch_size=1, use_random_seed=False), dit_handler.model)
    renderer = dit_handler.renderer
    plans = [request.plan(renderer.codebook_size)]
    with _memory_explained("warming up", request, plans, dit_handler):
        renderer.render(request, plans)
    return time.perf_counter() - start


def _generate(
    dit_handler: AceStepHandler,
    llm_handler: LLMHandler | None,
    params: GenerationParams,
    config: GenerationConfig,
    save_dir: str | Path | None,
    progress: Progress | None,
) -> GenerationResult:
    request = Request.from_params(params, config, dit_handler.model)
    if request.thinking and not (llm_handler and llm_handler.initialized):
        raise NotLoadedError(
            "thinking=True needs a language model: initialise the LLMHandler, or pass thinking=False."
        )
    renderer = dit_handler.renderer
    plans = [request.plan(renderer.codebook_size)] * request.batch_size
    renderer.tokenize(request, plans)
    folder = None if save_dir is None else Path(os.fsdecode(save_dir))
    with _memory_explained(f"making {_amount(plans)} with", request, plans, dit_handler):
        result = _play(dit_handler, params, request, plans, folder, progress)
    if progress is not None:
        progress(1.0, "finished")
    return result


def _play(
    dit_handler: AceStepHandler,
    params: GenerationParams,
    request: Request,
    plans: Sequence[Plan],
    folder: Path | None,
    progress: Progress | None,
) -> GenerationResult:
    """Everything large is held by this frame and those it calls: letting go of them frees it."""
    reference = _reference(request)
    request = _with_warnings(request, reference, dit_handler)
    for warning in request.warnings:
        logger.warning("%s", warning)
    with nullcontext() if folder is None else writable_folder(folder):
        timbre = None if reference is None else torch.from_numpy(reference.samples)
        rendering = dit_handler.renderer.render(request, plans, timbre, progress)
        logger.info("Peak memory %s", rendering.peak)
        finished = [finish(song, request) for song in rendering.songs]
        return _result(dit_handler, params, request, rendering, finished, reference, folder)


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
    smaller = smaller_than(model)
    shorter = "fewer audio_codes" if request.audio_codes else f"a duration below {_longest_s(plans):g} s"
    ways = (
        (request.batch_size > 1, f"a batch_size below {request.batch_size}"),
        (_longest_s(plans) > DURATION_MIN_S, shorter),
        (can_offload, "offload_to_cpu=True"),
        (smaller is not None, f"the smaller model {smaller and smaller.name}"),
    )
    return [way for is_open, way in ways if is_open]


def _longest_s(plans: Sequence[Plan]) -> float:
    return max(plan.duration_s for plan in plans)


def _reference(request: Request) -> Audio | None:
    if request.reference_audio is None:
        return None
    return read_audio(request.reference_audio, field="reference_audio", require_sound=True)


def _with_warnings(request: Request, reference: Audio | None, dit_handler: AceStepHandler) -> Request:
    """The request, with what the handler and the reference have to say about it."""
    sentences = list(dit_handler.warnings)
    if reference is not None and reference.source_channels > AUDIO_CHANNELS:
        channels = reference.source_channels
        sentences.append(f"reference_audio has {channels} channels; the first {AUDIO_CHANNELS} are heard.")
    return replace(request, warnings=(*request.warnings, *sentences))


def _result(
    dit_handler: AceStepHandler,
    params: GenerationParams,
    request: Request,
    rendering: Rendering,
    finished: Sequence[np.ndarray],
    reference: Audio | None,
    folder: Path | None,
) -> GenerationResult:
    commit = dit_handler.renderer.family.commit
    provenance = Provenance(dit_handler.model, dit_handler.reason, rendering.timings, reference, commit)
    audios = []
    for index, samples in enumerate(finished):
        effective = effective_params(params, request, index, rendering, dit_handler.model.name)
        key = params_key({**effective, "audio_format": request.audio_format.name})
        path = ""
        if folder is not None:
            target = folder / f"{key}{request.audio_format.extension}"
            path = str(save_song(samples, target, rendering.songs[index], request, effective, provenance))
        audios.append(
            {
                "path": path,
                "tensor": torch.from_numpy(samples),
                "key": key,
                "sample_rate": request.sample_rate,
                "params": effective,
                "silent": False,
            }
        )
    lines = [SUCCESS, f"Seeds: {', '.join(map(str, request.seeds))}"]
    return GenerationResult(
        audios, "\n".join(lines), extra_outputs(request, rendering) | {"peak_memory": rendering.peak.to_dict()}
    )
