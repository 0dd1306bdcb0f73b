"""Recordings to work on, the road from parameters to takes, and a look at what the transformer is given on it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import soundfile as sf
from torch import Tensor, nn

from acestep.constants import SAMPLE_RATE
from acestep.editing.canvas import lay_out
from acestep.handler import AceStepHandler
from acestep.inference import GenerationConfig, GenerationParams, GenerationResult, generate_music
from acestep.request import Request
from acestep.studio import perform
from acestep.takes import Performance

ROUGH = {"inference_steps": 2, "guidance_scale": 1.0}  # enough to tell one song from another


def tune(seconds: float, seed: int = 0, rate: int = SAMPLE_RATE, level: float = 0.3) -> np.ndarray:
    """A chord that swells, in noise, on the grid of 16-bit samples: float32 ``[2, S]``."""
    rng, time = np.random.default_rng(seed), np.arange(round(seconds * rate)) / rate
    swell = 0.6 + 0.4 * np.sin(2 * np.pi * rng.uniform(0.5, 3) * time)
    tones = [np.sin(2 * np.pi * rng.uniform(100, 900) * time + phase) for phase in rng.uniform(0, 6, 6)]
    channels = np.stack([sum(tones[:3]), sum(tones[3:])]) / 3  # [2, S]
    sound = level * swell * channels + 0.02 * rng.standard_normal(channels.shape)
    return (np.round(sound.clip(-1, 1) * 32767) / 32768).astype(np.float32)


def saved(path: Path, samples: np.ndarray, rate: int = SAMPLE_RATE) -> str:
    """A 16-bit file that holds exactly ``samples`` ``[channels, S]``."""
    sf.write(path, samples.T, rate, subtype="PCM_16")
    return str(path)


def params_of(**fields: object) -> GenerationParams:
    return GenerationParams(**{"caption": "jazz", "thinking": False, "seed": 3, **ROUGH, **fields})


def run(
    handler: AceStepHandler,
    source: str | None,
    folder: Path | None = None,
    config: GenerationConfig | None = None,
    **fields: object,
) -> GenerationResult:
    """``generate_music`` on a file; an error is raised."""
    params, config = (
        params_of(src_audio=source, **fields),
        config or GenerationConfig(batch_size=1, audio_format="wav"),
    )
    result = generate_music(handler, None, params, config, folder)
    result.check()
    return result


def sounds(result: GenerationResult) -> list[np.ndarray]:
    """Every take, float32 ``[2, S]``."""
    return [audio["tensor"].numpy() for audio in result.audios]


def judged(handler: AceStepHandler, batch_size: int = 1, **fields: object) -> Request:
    """A request whose recording is handed over beside it."""
    given = params_of(**{"src_audio": "given as samples", **fields})
    return Request.from_params(given, GenerationConfig(batch_size=batch_size), handler.model)


def played(handler: AceStepHandler, recording: np.ndarray | None, **fields: object) -> Performance:
    """The takes of a task on a recording ``[2, S]``, as they are before they are finished for a file."""
    request = judged(handler, **fields)
    if recording is not None:
        request = request.lasting(lay_out(request.edit, recording.shape[1]).seconds)
    plans = [request.plan(handler.renderer.reader.codebook_size)] * request.batch_size
    return perform(handler.renderer, request, plans, recording)


@dataclass(slots=True)
class Steps:
    """What the transformer was given, call by call.

    Attributes:
        states: ``[B, T, C]``.
        levels: noise level of the first song.
        contexts: ``[B, T, 2 * C]``.
        encoder: encoder states ``[B, L, E]`` of every set of conditions, in the order they came into force.
    """

    states: list[Tensor] = field(default_factory=list)
    levels: list[float] = field(default_factory=list)
    contexts: list[Tensor] = field(default_factory=list)
    encoder: list[Tensor] = field(default_factory=list)

    def note_step(self, _module: nn.Module, args: tuple[Tensor, ...], _named: dict[str, object]) -> None:
        self.states.append(args[0].clone())
        self.levels.append(float(args[1][0]))
        self.contexts.append(args[2].clone())

    def note_encoder(self, _module: nn.Module, args: tuple[Tensor, ...]) -> None:
        self.encoder.append(args[0].clone())


@contextmanager
def watched_steps(handler: AceStepHandler) -> Iterator[Steps]:
    """Note what the transformer is given inside the block."""
    seen, decoder = Steps(), handler.renderer.family.model.decoder
    hooks = (
        decoder.register_forward_pre_hook(seen.note_step, with_kwargs=True),
        decoder.condition_embedder.register_forward_pre_hook(seen.note_encoder),
    )
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()
