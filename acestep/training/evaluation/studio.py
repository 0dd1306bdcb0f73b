"""Held-out songs, and everything the weights under test can do with one: plan it, play it, encode it, describe it.

In: a weights folder and numbers of songs. Out: ``HeldOutSong``s, sounds float32 ``[2, S]`` at 48 kHz, plans and
words. Music is made by the public API, as a user would. Refuses to know what is measured in it.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import numpy as np
import soundfile
import torch
from torch import Tensor

from acestep.audio.codec import Codec
from acestep.checkpoints.family import find_weights
from acestep.checkpoints.registry import EMBEDDED_BASE_MODEL, EMBEDDED_LANGUAGE_MODEL, EMBEDDED_MODEL, ModelSpec
from acestep.conditioning.context import SilenceLatents
from acestep.constants import SAMPLE_RATE, TIMBRE_FRAMES
from acestep.errors import WeightsError
from acestep.handler import AceStepHandler
from acestep.inference import GenerationConfig, GenerationParams, generate_music, understand_music
from acestep.llm_inference import LLMHandler
from acestep.planner.plan import codes_text
from acestep.planning import PlannedBatch, plan_songs
from acestep.request import Request
from acestep.tasks import Task
from acestep.training.compose.composer import compose
from acestep.training.ears import Heard
from acestep.training.render import Renderer, Rendition
from acestep.training.score import Score
from acestep.training.songs import HELD_OUT_SEED, SHORTEST_S, SongRecord, record_of
from acestep.words import SongInWords

WEIGHTS = "weights"
LONGEST_S = 20.0
_LENGTH_STREAM = 4  # of random numbers, apart from those of training songs
CONFIG = GenerationConfig(batch_size=1, use_random_seed=False)
_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True)
class HeldOutSong:
    """A song no network has seen: its truth, its words, and the caption that asks for it.

    Attributes:
        score: composed from a seed that no trainer uses.
        record: its metadata and captions in the held-out wording.
        caption: one of those; songs take turns through all registers.
    """

    score: Score
    record: SongRecord
    caption: str

    @property
    def seed(self) -> int:
        """Of the composer; the music is made from it too."""
        return self.score.seed


def held_out_song(number: int) -> HeldOutSong:
    """Song ``number`` (from 0), 12 to 20 s long."""
    seed = HELD_OUT_SEED + number
    seconds = np.random.default_rng([seed, _LENGTH_STREAM]).uniform(SHORTEST_S, LONGEST_S)
    score = compose(seed, duration_s=round(float(seconds), 2))
    record = record_of(score, held_out=True)
    return HeldOutSong(score, record, record.captions[number % len(record.captions)])


def asked_for(song: HeldOutSong, *, thinking: bool = False) -> GenerationParams:
    """The request of a user who knows what they want; steps and guidance are the model's own."""
    record = song.record
    return GenerationParams(
        caption=song.caption,
        lyrics=record.lyrics,
        vocal_language=record.language,
        bpm=record.bpm,
        keyscale=record.keyscale,
        timesignature=record.timesignature,
        duration=record.duration,
        seed=song.seed,
        thinking=thinking,
        inference_steps=None,
        guidance_scale=None,
    )


def check_folder(folder: Path) -> Path:
    """The weights folder around ``folder``, which has to be the few-step model of a whole embedded family.

    Raises:
        WeightsError: it is not.
    """
    folder = folder.resolve()
    root = folder.parent
    if folder.name != EMBEDDED_MODEL.folder or root.name != WEIGHTS:
        raise WeightsError(f"{folder} is not a folder {WEIGHTS}/{EMBEDDED_MODEL.folder}; name one.")
    for row in (EMBEDDED_MODEL, EMBEDDED_BASE_MODEL, EMBEDDED_LANGUAGE_MODEL):
        if (found := find_weights(row, root.parent)).resolve() != root:
            raise WeightsError(f"{root} lacks a part of {row.folder}, which is whole in {found}; export it first.")
    return root


def digest_of(root: Path) -> str:
    """SHA-256 over every weight of the embedded family, so that figures can say whose they are."""
    digest = hashlib.sha256()
    for model in (EMBEDDED_MODEL, EMBEDDED_BASE_MODEL):
        for path in sorted((root / model.folder).rglob("*.safetensors")):
            digest.update(str(path.relative_to(root)).encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


class Studio:
    """The weights under test at work. What was made of the current song is kept until another one comes.

    Args:
        root: weights folder, from ``check_folder``.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._kept: dict[tuple[str, str], object] = {}
        self._song: HeldOutSong | None = None
        self._folder = tempfile.TemporaryDirectory(prefix="acestep-evaluation-")

    def close(self) -> None:
        """Delete what was written for tasks that read files."""
        self._folder.cleanup()

    def begin(self, song: HeldOutSong) -> None:
        """Forget the song before."""
        self._song, self._kept = song, {}

    @cached_property
    def player(self) -> Renderer:
        """What renders composed songs.

        Raises:
            WeightsError: there is no sound bank.
        """
        return Renderer()

    @cached_property
    def model(self) -> AceStepHandler:
        """The few-step model."""
        return self._handler(EMBEDDED_MODEL)

    @cached_property
    def base(self) -> AceStepHandler:
        """The model with guidance."""
        return self._handler(EMBEDDED_BASE_MODEL)

    @cached_property
    def planner(self) -> LLMHandler:
        """The language model."""
        handler = LLMHandler()
        handler.initialize(self.root, EMBEDDED_LANGUAGE_MODEL.name, device="cpu")
        return handler

    def rendition(self) -> Rendition:
        """The song as it was composed."""
        return self.once("render", "", lambda: self.player.render(self._song.score))

    def source(self, *tracks: str) -> np.ndarray:
        """Some of the stems of the song together."""
        return np.sum([self.rendition().stems[track] for track in tracks], axis=0)

    def generated(self, *, thinking: bool) -> np.ndarray:
        """The song as the few-step model makes it, with or without the planner."""
        params = asked_for(self._song, thinking=thinking)
        return self.once("generated", str(thinking), lambda: self._made(self.model, params))

    def guided(self, scale: float) -> np.ndarray:
        """The song as the other model makes it from words alone, led by ``scale``."""
        params = replace(asked_for(self._song), guidance_scale=scale)
        return self.once("guided", str(scale), lambda: self._made(self.base, params))

    def edited(self, task: Task, source: np.ndarray, track: str = "") -> np.ndarray:
        """What ``task`` makes of a recording; tasks about tracks are for the model with guidance."""
        path = Path(self._folder.name) / "source.wav"
        soundfile.write(path, source.T, SAMPLE_RATE, subtype="FLOAT")
        params = replace(asked_for(self._song), task_type=task.name, src_audio=str(path), track_name=track)
        return self._made(self.base if track else self.model, params)

    def heard(self, name: str, sound: Callable[[], np.ndarray]) -> Heard:
        """``sound`` as the analysers take it."""
        return self.once("heard", name, lambda: Heard.of(sound()))

    def planned(self) -> PlannedBatch:
        """What the planner makes of caption and lyrics when all else is open.

        Raises:
            GenerationError: it came to no plan.
        """
        open_fields = {"bpm": None, "keyscale": "", "timesignature": "", "duration": None}
        params = replace(asked_for(self._song, thinking=True), vocal_language="unknown", **open_fields)
        request = Request.from_params(params, CONFIG, EMBEDDED_MODEL)
        return plan_songs(request, self.planner, self.model.renderer.reader)

    def understood(self) -> SongInWords:
        """The composed song described by the planner from its semantic codes."""
        codes = self.model.renderer.codes_of(torch.from_numpy(self.rendition().mix))
        words = understand_music(self.planner, codes_text(codes), seed=self._song.seed)
        words.check()
        return words

    def decoded(self, *, semantic: bool) -> np.ndarray:
        """The composed song through the autoencoder, and through the semantic codes too if wanted."""
        family = self.model.renderer.family
        with torch.inference_mode():
            codec = Codec(family.vae)
            latents = codec.encode(torch.from_numpy(self.rendition().mix)[None])  # [1, T, C]
            if semantic:
                latents = family.model.semantic_round_trip(
                    latents, SilenceLatents(family.silence).first(TIMBRE_FRAMES)
                )
            return _samples(codec.decode(latents.float())[0])

    def once(self, kind: str, name: str, make: Callable[[], _Value]) -> _Value:
        """What ``make`` gives for the current song, made when it is first asked for."""
        key = (kind, name)
        if key not in self._kept:
            self._kept[key] = make()
        return self._kept[key]

    def _handler(self, spec: ModelSpec) -> AceStepHandler:
        handler = AceStepHandler()
        handler.initialize_service(self.root.parent, spec.name, device="cpu")
        return handler

    def _made(self, handler: AceStepHandler, params: GenerationParams) -> np.ndarray:
        result = generate_music(handler, self.planner if params.thinking else None, params, CONFIG)
        result.check()
        return _samples(result.audios[0]["tensor"])


def _samples(audio: Tensor) -> np.ndarray:
    return audio.float().cpu().numpy()
