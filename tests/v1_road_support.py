"""The embedded v1 model, loaded once for all tests that play on it; short songs and recordings for it."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from acestep.cogrun.schema import PROJECT
from acestep.handler import AceStepHandler
from acestep.inference import GenerationConfig, GenerationParams, GenerationResult, generate_music
from acestep.progress import Progress

NAME = "tiny-v1"
WORDS = {"caption": "pop, upbeat, 120 bpm", "lyrics": "[verse]\nhello world\n[chorus]\nmusic is here"}
QUICK = {
    **WORDS,
    "duration": 10,
    "inference_steps": 2,
    "guidance_scale": 15.0,
    "guidance_interval": 1.0,
    "thinking": False,
    "seed": 1,
}
ROUGH = "is rough for tiny-v1; 20 to 100 are recommended."


@lru_cache(maxsize=1)
def tiny_v1() -> AceStepHandler:
    """The handler of the embedded model. Whoever makes another model its current one puts this one back."""
    return new_handler()


def new_handler(**settings: Any) -> AceStepHandler:
    """A handler of the embedded model that a test may do anything with."""
    handler = AceStepHandler()
    handler.initialize_service(str(PROJECT), NAME, "cpu", **settings)
    return handler


def make(
    handler: AceStepHandler,
    folder: Path | None = None,
    progress: Progress | None = None,
    *,
    batch_size: int = 1,
    audio_format: str = "wav",
    score: bool = False,
    seeds: list[int] | None = None,
    **said: Any,
) -> GenerationResult:
    """``generate_music``, quickly; an error is raised."""
    if said.get("src_audio"):
        said = {"duration": -1, **said}
    params = GenerationParams(**{**QUICK, **said})
    config = GenerationConfig(batch_size=batch_size, seeds=seeds, audio_format=audio_format, score=score)
    result = generate_music(handler, None, params, config, folder, progress)
    result.check()
    return result


def sound(result: GenerationResult, song: int = 0) -> np.ndarray:
    """Samples ``[2, S]`` of one song."""
    return result.audios[song]["tensor"].numpy()


def warnings_of(result: GenerationResult) -> list[str]:
    """What a call was told, but for the few steps that tests take."""
    return [warning for warning in result.extra_outputs["warnings"] if ROUGH not in warning]
