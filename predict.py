"""Cog door: typed inputs in, one encoded audio file out. Maps Replicate's vocabulary to ``GenerationParams``.

Defaults, choices and bounds are literals because Cog reads this file as text; tests compare them with the tables of
the package. ``predict`` must stay undecorated, or Cog passes its field descriptions instead of defaults.
"""

from __future__ import annotations

import logging
import os
from typing import Optional

import torch
from cog import BasePredictor, Input, Path

from acestep.cog_door import OutputFolder, ProgressPrinter, local_file, numbers, print_stage
from acestep.handler import AceStepHandler
from acestep.inference import GenerationConfig, GenerationParams, generate_music, warm_up
from acestep.llm_inference import LLMHandler

LANGUAGES = ["ar", "az", "bg", "bn", "ca", "cs", "da", "de", "el", "en", "es", "fa", "fi", "fr", "he", "hi", "hr", "ht", "hu", "id", "is", "it", "ja", "ko", "la", "lt", "ms", "ne", "nl", "no", "pa", "pl", "pt", "ro", "ru", "sa", "sk", "sr", "sv", "sw", "ta", "te", "th", "tl", "tr", "uk", "ur", "vi", "yue", "zh", "unknown"]  # fmt: skip


class Predictor(BasePredictor):
    """ACE-Step 1.5 on Replicate."""

    def setup(self) -> None:
        """Load the model that ``ACESTEP_MODEL`` names (default: what suits this machine) and warm it up."""
        logging.basicConfig(level=logging.INFO, format="%(message)s", force=True)
        self.outputs = OutputFolder()
        self.llm = LLMHandler()
        self.dit = AceStepHandler()
        self._load(os.environ.get("ACESTEP_MODEL", "auto"))
        print_stage("warm-up", warm_up(self.dit))

    def _load(self, model: str) -> None:
        self.dit.initialize_service(
            project_root=str(Path(__file__).resolve().parent), config_path=model, report=print_stage
        )

    def predict(
        self,
        task: str = Input(
            description="What to do. This version makes music from text; the editing tasks follow.",
            default="text2music",
            choices=[
                "text2music",
                "cover",
                "cover-nofsq",
                "repaint",
                "extend",
                "lego",
                "extract",
                "complete",
                "edit",
                "audio2audio",
                "continuation",
                "inpainting",
                "style_transfer",
                "vocal_accompaniment",
            ],
        ),
        prompt: str = Input(
            description="The music in words: genre, mood, instruments, voice. Up to 512 characters work best.",
            default="",
            max_length=2048,
        ),
        lyrics: str = Input(
            description="Words to sing, with structure tags such as [Verse 1] and [Chorus]. Empty or [Instrumental]: nobody sings.",
            default="",
            max_length=4096,
        ),
        audio_duration: float = Input(
            description="Length in seconds, 10 to 600, exact to the sample. 0 or -1: estimated from the lyrics.",
            default=30.0,
            ge=-1,
            le=600,
        ),
        instrumental: bool = Input(description="Nobody sings, whatever the lyrics say.", default=False),
        model: str = Input(
            description="auto takes acestep-v15-turbo on a GPU and the embedded tiny model (for trying the road) without one. turbo: 8 steps; sft and base: 50 steps with guidance.",
            default="auto",
            choices=[
                "auto",
                "acestep-v15-turbo",
                "acestep-v15-turbo-shift1",
                "acestep-v15-turbo-shift3",
                "acestep-v15-turbo-continuous",
                "acestep-v15-sft",
                "acestep-v15-base",
                "acestep-v15-xl-turbo",
                "acestep-v15-xl-sft",
                "acestep-v15-xl-base",
                "tiny",
                "tiny-base",
            ],
        ),
        lm_model: str = Input(
            description="The language model that plans the song. auto and none run without one in this version.",
            default="auto",
            choices=["auto", "none", "acestep-5Hz-lm-0.6B", "acestep-5Hz-lm-1.7B", "acestep-5Hz-lm-4B", "tiny"],
        ),
        thinking: Optional[bool] = Input(
            description="Let the 5Hz language model plan the song first. Not given: exactly when a language model is loaded; this version has none.",
            default=None,
        ),
        bpm: Optional[int] = Input(
            description="Tempo in beats per minute. Not given: open.", default=None, ge=30, le=300
        ),
        keyscale: str = Input(description="Key, such as C Major, Am, F# minor or Bb maj. Empty: open.", default=""),
        timesignature: str = Input(
            description="Beats per bar: 2, 3, 4 or 6 (or 2/4, 3/4, 4/4, 6/8). Empty: open.", default=""
        ),
        vocal_language: str = Input(
            description="Language of the singing. unknown: open.",
            default="unknown",
            choices=LANGUAGES,
        ),
        input_audio: Optional[Path] = Input(
            description="The recording that editing tasks work on; text2music takes none.",
            default=None,
            accept="audio/*",
        ),
        reference_audio: Optional[Path] = Input(
            description="A recording whose timbre the song takes over; 30 seconds of it are heard, chosen by the seed.",
            default=None,
            accept="audio/*",
        ),
        instruction: str = Input(
            description="First line of the model's prompt, used as it is. Empty: the task's own.",
            default="",
            max_length=512,
        ),
        audio_codes: str = Input(
            description="Semantic codes to play, as <|audio_code_17|><|audio_code_4|>..., 5 per second; they decide the length.",
            default="",
            max_length=100000,
        ),
        seed: Optional[int] = Input(
            description="Same seed and settings, same song. Not given or -1: random, and reported. Song i of a batch uses seed + i.",
            default=None,
            ge=-1,
            le=4294967295,
        ),
        seeds: str = Input(
            description="One seed per song of a batch, such as 42,123,456; missing ones are random. Wins over seed.",
            default="",
        ),
        infer_steps: Optional[int] = Input(
            description="Denoising steps. Not given: 8 for turbo, 50 for sft and base.", default=None, ge=1, le=200
        ),
        guidance_scale: Optional[float] = Input(
            description="How strictly the words are followed (sft and base; turbo has none). Not given: 7. 0 or 1: off.",
            default=None,
            ge=0,
            le=30,
        ),
        scheduler_type: str = Input(
            description="The solver: euler, heun (two evaluations a step) or pingpong (fresh noise every step, same as infer_method sde).",
            default="euler",
            choices=["euler", "heun", "pingpong"],
        ),
        cfg_type: str = Input(
            description="Kind of guidance: apg (projected) or cfg (plain).", default="apg", choices=["apg", "cfg"]
        ),
        shift: Optional[float] = Input(
            description="Timestep shift; higher spends more steps on structure. Not given: 3 for turbo, 1 for sft and base.",
            default=None,
            ge=0.1,
            le=10,
        ),
        infer_method: str = Input(
            description="ode follows the flow; sde adds fresh noise every step.",
            default="ode",
            choices=["ode", "sde"],
        ),
        timesteps: str = Input(
            description="Own noise levels, falling, such as 0.97,0.76,0.5,0.28,0.085; replaces infer_steps and shift.",
            default="",
        ),
        use_adg: bool = Input(description="Angle-based guidance instead of apg (sft and base).", default=False),
        cfg_interval_start: float = Input(
            description="Guidance acts from this noise level (0 is music, 1 is noise) ...", default=0.0, ge=0, le=1
        ),
        cfg_interval_end: float = Input(
            description="... up to this noise level (0 is music, 1 is noise).", default=1.0, ge=0, le=1
        ),
        batch_size: int = Input(description="Songs made at once.", default=1, ge=1, le=8),
        score: bool = Input(
            description="Return the best song of a batch. Until scoring is part of this version, song 0 comes back.",
            default=True,
        ),
        return_all: bool = Input(description="Return a zip of every song of the batch.", default=False),
        output_format: str = Input(
            description="wav is 16-bit, wav24 24-bit, wav32 float; flac is 24-bit; mp3, ogg, opus and m4a are lossy.",
            default="wav",
            choices=["wav", "wav24", "wav32", "flac", "mp3", "ogg", "opus", "m4a"],
        ),
        sample_rate: int = Input(
            description="Of the file, in Hz; opus is 48000 only.", default=48000, choices=[44100, 48000]
        ),
        limit_true_peak: bool = Input(description="Keep the file below -1 dBTP.", default=True),
    ) -> Path:
        """Make music and return the encoded file (or a zip with return_all)."""
        if model not in ("auto", self.dit.model.name):
            self._load(model)
        if lm_model not in ("auto", "none"):
            self.llm.initialize("weights", lm_model)
        params = GenerationParams(
            task_type=task,
            instruction=instruction,
            reference_audio=local_file("reference_audio", reference_audio, Path),
            src_audio=local_file("input_audio", input_audio, Path),
            audio_codes=audio_codes,
            caption=prompt,
            lyrics=lyrics,
            instrumental=instrumental,
            vocal_language=vocal_language,
            bpm=bpm,
            keyscale=keyscale,
            timesignature=timesignature,
            duration=audio_duration,
            inference_steps=infer_steps,
            seed=-1 if seed is None else seed,
            guidance_scale=guidance_scale,
            use_adg=use_adg,
            cfg_interval_start=cfg_interval_start,
            cfg_interval_end=cfg_interval_end,
            thinking=self.llm.initialized if thinking is None else thinking,
            shift=shift,
            infer_method=infer_method,
            timesteps=numbers("timesteps", timesteps, float),
            scheduler_type=scheduler_type,
            cfg_type=cfg_type,
            sample_rate=sample_rate,
            limit_true_peak=limit_true_peak,
        )
        config = GenerationConfig(
            batch_size=batch_size,
            use_random_seed=seed in (None, -1),
            seeds=numbers("seeds", seeds, int),
            audio_format=output_format,
        )
        folder = self.outputs.fresh()
        with torch.inference_mode():
            result = generate_music(self.dit, self.llm, params, config, folder, ProgressPrinter())
        return Path(self.outputs.deliver(result, return_all=return_all, score=score, record=self.record_metric))
