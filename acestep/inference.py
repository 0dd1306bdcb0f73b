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
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from acestep.audio.io import Audio, read_audio
from acestep.constants import AUDIO_CHANNELS
from acestep.errors import AceStepError, DeviceMemoryError, NotLoadedError
from acestep.finish import finish
from acestep.handler import AceStepHandler
from acestep.judge import plain
from acestep.llm_inference import LLMHandler
from acestep.output.writer import writable_folder
from acestep.params import GenerationConfig, GenerationParams
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
    except (torch.cuda.OutOfMemoryError, MemoryError) as error:
        torch.cuda.empty_cache()
        return GenerationResult.failed(_out_of_memory(config, error))
    except AceStepError as error:
        return GenerationResult.failed(error)


def _out_of_memory(config: GenerationConfig, error: BaseException) -> DeviceMemoryError:
    advice = f"a batch_size below {config.batch_size}, " if config.batch_size > 1 else ""
    full = DeviceMemoryError(f"Memory ran out; try {advice}a shorter duration or offload_to_cpu=True.")
    full.__cause__ = error
    return full


def warm_up(dit_handler: AceStepHandler) -> float:
    """Run every network once on the shortest song, so that the first request does not pay for it; seconds taken."""
    start = time.perf_counter()
    params = GenerationParams(caption="warm-up", duration=10, inference_steps=1, thinking=False, seed=0)
    request = Request.from_params(params, GenerationConfig(batch_size=1, use_random_seed=False), dit_handler.model)
    renderer = dit_handler.renderer
    renderer.render(request, [request.plan(renderer.codebook_size)])
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
    reference = _reference(request)
    request = _with_reference_warning(request, reference)
    for warning in request.warnings:
        logger.warning("%s", warning)
    folder = None if save_dir is None else Path(os.fsdecode(save_dir))
    with nullcontext() if folder is None else writable_folder(folder):
        timbre = None if reference is None else torch.from_numpy(reference.samples)
        rendering = renderer.render(request, plans, timbre, progress)
        finished = [finish(song, request) for song in rendering.songs]
        result = _result(dit_handler, params, request, rendering, finished, reference, folder)
    if progress is not None:
        progress(1.0, "finished")
    return result


def _reference(request: Request) -> Audio | None:
    if request.reference_audio is None:
        return None
    return read_audio(request.reference_audio, field="reference_audio", require_sound=True)


def _with_reference_warning(request: Request, reference: Audio | None) -> Request:
    if reference is None or reference.source_channels <= AUDIO_CHANNELS:
        return request
    sentence = f"reference_audio has {reference.source_channels} channels; the first {AUDIO_CHANNELS} are heard."
    return replace(request, warnings=(*request.warnings, sentence))


def _result(
    dit_handler: AceStepHandler,
    params: GenerationParams,
    request: Request,
    rendering: Rendering,
    finished: Sequence[np.ndarray],
    reference: Audio | None,
    folder: Path | None,
) -> GenerationResult:
    provenance = Provenance(dit_handler.model, dit_handler.reason, rendering.timings, reference)
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
    return GenerationResult(audios, "\n".join(lines), extra_outputs(request, rendering))
