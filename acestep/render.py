"""The way from plans to waveforms: prompts, conditions, denoising, decoding. One function call per stage.

In: a ``Request`` and one ``Plan`` per song. Out: a ``Rendering``. Refuses to know files, formats and doors.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from acestep.audio.codec import Codec
from acestep.checkpoints.family import Family
from acestep.conditioning.conditions import Conditions, SongConditions
from acestep.conditioning.context import SilenceLatents, full_context
from acestep.conditioning.reference import timbre_excerpt
from acestep.conditioning.text import PromptTokens
from acestep.constants import LATENT_CHANNELS, SAMPLE_RATE, SAMPLES_PER_FRAME, TIMBRE_FRAMES
from acestep.denoise import Denoiser
from acestep.devices import CUDA, Residency
from acestep.errors import GenerationError
from acestep.memory import Peak, PeakMeter
from acestep.planner.plan import Plan
from acestep.reading import Reader
from acestep.request import Request
from acestep.sampling.guidance import Guidance
from acestep.sampling.noise import ItemNoise, item_noise
from acestep.sampling.sampler import SamplerSettings, sample

Progress = Callable[[float, str], None]
STARTED, CONDITIONED, DENOISED, DECODED = 0.02, 0.05, 0.85, 0.95  # share of the whole when a stage ends


@dataclass(frozen=True, slots=True)
class Song:
    """One finished song: its plan and seed, latents ``[T, C]`` and waveform ``[2, S]`` (fp32, CPU, 48 kHz, uncut)."""

    plan: Plan
    seed: int
    latents: Tensor
    waveform: Tensor


@dataclass(frozen=True, slots=True)
class Rendering:
    """A finished batch and what it was made from; seconds per stage in ``timings``, memory in ``peak``."""

    songs: tuple[Song, ...]
    conditions: Conditions
    tokens: tuple[PromptTokens, ...]
    timings: dict[str, float]
    peak: Peak


class Meters:
    """Seconds and memory of named stages; waits for the GPU so that a stage pays for its own work."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self.memory = PeakMeter(device)
        self.seconds: dict[str, float] = {}

    @contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        """Add the time of the block to ``stage``."""
        start = time.perf_counter()
        with self.memory.measure(stage):
            yield
            if self._device.type == CUDA:
                torch.cuda.synchronize()
        self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - start


class Renderer:
    """Plays plans on one family of networks.

    Args:
        family: loaded networks.
        residency: which of them are on the device; None is all of them, all the time.

    Attributes:
        busy: True while plans are being played.
        reader: what it can be told.
    """

    def __init__(self, family: Family, residency: Residency | None = None) -> None:
        self.family = family
        self.busy = False
        self._device, self._dtype = family.placement.device, family.placement.dtype
        self._residency = residency or Residency(family.networks, self._device)
        self.reader = Reader(family.spec, family.tokenizer, family.model.config.codebook_size)
        self._silence = SilenceLatents(family.silence).to(self._device, self._dtype)

    @property
    def offloads(self) -> bool:
        """Whether one network at a time is on the device."""
        return self._residency.offload

    def render(
        self,
        request: Request,
        plans: Sequence[Plan],
        reference: Tensor | None = None,
        progress: Progress | None = None,
    ) -> Rendering:
        """Make one song per plan.

        Args:
            request: with one seed per plan.
            plans: what to play.
            reference: ``[2, S]`` at 48 kHz, the timbre to take over.
            progress: called with (share done, stage); what it raises ends the run.

        Raises:
            InputError: a prompt is too long.
            GenerationError: the latents are not finite, or all zero.
        """
        self.busy = True
        try:
            return self._render(request, plans, reference, progress or _silent)
        finally:
            self.busy = False

    @torch.inference_mode()
    def codes_of(self, waveform: Tensor) -> tuple[int, ...]:
        """Semantic codes of a recording ``[2, S]`` at 48 kHz, five a second; silence fills up the last."""
        with self._residency.resident("vae") as vae:
            latents = Codec(vae).encode(waveform[None].to(self._device))  # [1, T, C]
        with self._residency.resident("dit") as model:
            codes = model.latents_to_codes(latents, self._silence.first(TIMBRE_FRAMES))  # [1, K]
        return tuple(codes[0].tolist())

    @torch.inference_mode()
    def _render(
        self, request: Request, plans: Sequence[Plan], reference: Tensor | None, report: Progress
    ) -> Rendering:
        meters = Meters(self._device)
        tokens = self.reader.tokenize(request, plans)
        report(STARTED, "conditioning")
        with meters.measure("encoder"):
            conditions = self._conditions(request, plans, tokens, reference)
        with meters.measure("diffusion"):
            latents = self._denoise(request, conditions, report)
        with meters.measure("vae_decode"):
            waveforms = self._decode(latents, conditions.frames, report)
        songs = tuple(
            Song(plan, seed, latent[:frames].cpu(), waveform)
            for plan, seed, latent, frames, waveform in zip(
                plans, request.seeds, latents, conditions.frames, waveforms, strict=True
            )
        )
        return Rendering(songs, conditions, tokens, meters.seconds, meters.memory.peak)

    def _conditions(
        self, request: Request, plans: Sequence[Plan], tokens: Sequence[PromptTokens], reference: Tensor | None
    ) -> Conditions:
        states = self._prompt_states(tokens)
        timbres = self._timbres(request.seeds, reference)
        with self._residency.resident("dit") as model:
            songs = [
                SongConditions(
                    encoder_states=_encode(model, *states[ids], timbre),
                    context=full_context(self._source(model, plan)),
                )
                for plan, ids, timbre in zip(plans, tokens, timbres, strict=True)
            ]
        return Conditions.collate(songs)

    def _prompt_states(self, tokens: Sequence[PromptTokens]) -> dict[PromptTokens, tuple[Tensor, Tensor]]:
        """Caption and lyric states of each different pair of prompts."""
        with self._residency.resident("text_encoder") as encoder:
            return {ids: (encoder.caption_states(ids.text), encoder.lyric_states(ids.lyric)) for ids in set(tokens)}

    def _timbres(self, seeds: Sequence[int], reference: Tensor | None) -> list[Tensor]:
        """Latents ``[1, 750, C]`` of the seeded excerpt of each song, or of silence."""
        if reference is None:
            return [self._silence.first(TIMBRE_FRAMES)] * len(seeds)
        with self._residency.resident("vae") as vae:
            excerpts = [timbre_excerpt(reference, seed)[None].to(self._device) for seed in seeds]
            return [Codec(vae).encode(excerpt).to(self._dtype) for excerpt in excerpts]

    def _source(self, model: torch.nn.Module, plan: Plan) -> Tensor:
        """Source latents ``[1, T, C]``: what the plan's codes spell, else silence of the plan's length."""
        if not plan.audio_codes:
            return self._silence.first(latent_frames(plan.duration_s))
        codes = torch.tensor([plan.audio_codes], device=self._device)  # [1, K]
        return model.codes_to_latents(codes).to(self._dtype)[:, : latent_frames(plan.duration_s)]  # [1, T, C]

    def _denoise(self, request: Request, conditions: Conditions, report: Progress) -> Tensor:
        choice = request.sampling
        settings = SamplerSettings(
            choice.schedule,
            choice.solver,
            Guidance(choice.guidance_scale, choice.guidance, choice.guidance_interval),
        )
        lengths = conditions.frames
        noise = item_noise(request.seeds, lengths, LATENT_CHANNELS).to(self._device)
        fresh = ItemNoise(request.seeds, LATENT_CHANNELS)
        guided = any(settings.guidance.active(level) for level in choice.schedule)

        def on_step(done: int, total: int) -> None:
            report(_between(CONDITIONED, DENOISED, done / total), f"denoising step {done}/{total}")

        with self._residency.resident("dit") as model:
            velocity = Denoiser(model, conditions, guided=guided)
            latents = sample(
                velocity, noise, settings, lambda: fresh.draw(lengths).to(self._device), lengths, on_step
            )
        if not latents.any():
            raise GenerationError("The networks produced all-zero latents.")
        return latents

    def _decode(self, latents: Tensor, frames: Sequence[int], report: Progress) -> list[Tensor]:
        def on_chunk(done: int, total: int) -> None:
            report(_between(DENOISED, DECODED, done / total), f"decoding {done}/{total}")

        with self._residency.resident("vae") as vae:
            return [song.float().cpu() for song in Codec(vae).decode_each(latents, frames, on_chunk=on_chunk)]


def latent_frames(seconds: float) -> int:
    """Latent frames that cover ``seconds``; the waveform is cut to the exact sample afterwards."""
    return -(-round(seconds * SAMPLE_RATE) // SAMPLES_PER_FRAME)


def _encode(model: torch.nn.Module, caption: Tensor, lyric: Tensor, timbre: Tensor) -> Tensor:
    """Packed encoder states ``[1, L, E]`` of one song, every row valid."""
    everything = [torch.ones(states.shape[:2], dtype=torch.bool, device=states.device) for states in (caption, lyric)]
    order = torch.zeros(1, dtype=torch.long, device=timbre.device)
    return model.encode_conditions(caption, everything[0], lyric, everything[1], timbre, order)[0]


def _between(low: float, high: float, share: float) -> float:
    return round(low + (high - low) * share, 4)


def _silent(share: float, stage: str) -> None:
    """Progress that nobody watches."""
