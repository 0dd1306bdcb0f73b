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

from acestep.checkpoints.choose import choose, planner_named
from acestep.checkpoints.rows import HubFolder, ModelSpec
from acestep.cog_door import (
    PlannerChoice,
    deliver,
    fetched,
    file_url,
    keep_text,
    meant,
    memory_returned,
    numbers,
    print_line,
    print_stage,
    progress_printer,
    region,
    signer,
)
from acestep.cog_output import OutputFolder, record_result
from acestep.cog_words import COG
from acestep.devices import device_facts
from acestep.handler import AceStepHandler
from acestep.inference import GenerationConfig, GenerationParams, generate_music, warm_up
from acestep.naming import NamingFormatter
from acestep.net.url import ALLOW_PRIVATE_URLS
from acestep.output.content_credentials import check_signable
from acestep.request import Request
from acestep.strangers import check_adapter

LANGUAGES = ["ar", "az", "bg", "bn", "ca", "cs", "da", "de", "el", "en", "es", "fa", "fi", "fr", "he", "hi", "hr", "ht", "hu", "id", "is", "it", "ja", "ko", "la", "lt", "ms", "ne", "nl", "no", "pa", "pl", "pt", "ro", "ru", "sa", "sk", "sr", "sv", "sw", "ta", "te", "th", "tl", "tr", "uk", "ur", "vi", "yue", "zh", "unknown"]  # fmt: skip


class Predictor(BasePredictor):
    """ACE-Step 1.5 on Replicate."""

    def setup(self) -> None:
        """Load the model that ``ACESTEP_MODEL`` names (default: what suits this machine) and warm it up.

        Weights that are not here are downloaded first.
        """
        lines = logging.StreamHandler()
        lines.setFormatter(NamingFormatter(COG))
        logging.basicConfig(handlers=[lines], force=True)
        logging.getLogger("acestep").setLevel(logging.INFO)  # other libraries log addresses that are secrets
        self.outputs = OutputFolder()
        self.credentials = signer(os.environ)
        self.allow_private = os.environ.get(ALLOW_PRIVATE_URLS) == "1"
        project, model = Path(__file__).resolve().parent, os.environ.get("ACESTEP_MODEL", "auto")
        choice = choose(model, device_facts())
        offload = os.environ.get("ACESTEP_OFFLOAD") == "1"
        later = print_line if os.environ.get("ACESTEP_DOWNLOAD") == "on-request" else None
        backend = os.environ.get("ACESTEP_LM_BACKEND", "native")
        self.planners = PlannerChoice(project, backend, offload=offload or choice.offload, download=later)
        self.lm_model = os.environ.get("ACESTEP_LM_MODEL", "auto")
        if row := planner_named(self.lm_model, choice.language_model):
            self.planners.use(row, print_line)  # before the others, which share what memory it leaves
        self.dit = AceStepHandler()
        status, _ = self.dit.initialize_service(
            project_root=str(project),
            config_path=model,
            report=print_stage,
            offload_to_cpu=offload,
            download=print_line,
            download_later=later is not None,
        )
        print_line(f"Loaded {status}")
        print_stage("warm-up", warm_up(self.dit, self.planners.handler))

    def predict(
        self,
        task: str = Input(
            description="text2music makes a new song; every other task works on input_audio. cover and cover-nofsq: the same music anew (cover-nofsq stays nearer). repaint, inpainting: one region anew, the rest untouched. extend, continuation: longer. lego: one new track. extract: tracks apart. complete, vocal_accompaniment: the missing tracks. edit: other words for the same music. style_transfer, audio2audio: another style or timbre.",
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
            description="The music in words: genre, mood, instruments, voice. Up to 512 characters work best. edit: the recording as it is.",
            default="",
            max_length=2048,
        ),
        lyrics: str = Input(
            description="Words to sing, with structure tags such as [Verse 1] and [Chorus]. Empty or [Instrumental]: nobody sings. edit: what is sung in the recording.",
            default="",
            max_length=4096,
        ),
        audio_duration: float = Input(
            description="text2music: length in seconds, 10 to 600 (v1-3.5B: to 240), exact to the sample; 0 or -1 is estimated from the lyrics (v1-3.5B: drawn from the seed). Other tasks last as long as input_audio.",
            default=30.0,
            ge=-1,
            le=600,
        ),
        instrumental: bool = Input(description="Nobody sings, whatever the lyrics say.", default=False),
        model: str = Input(
            description="auto takes acestep-v15-turbo on a GPU, acestep-v15-base for lego, extract, complete, vocal_accompaniment and preserve_vocals, and without a GPU the embedded tiny and tiny-base (for trying the road). turbo: 8 steps; sft and base: 50 steps with guidance. v1-3.5B is the first generation: 60 steps, tags as prompt, no planner; not for cover, lego, extract and complete. auto takes it for a lora_name_or_path that was made for it.",
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
                "v1-3.5B",
                "tiny-v1",
            ],
        ),
        lm_model: str = Input(
            description="The language model that plans the song. auto takes what suits the machine; none makes the song from your words alone.",
            default="auto",
            choices=["auto", "none", "acestep-5Hz-lm-0.6B", "acestep-5Hz-lm-1.7B", "acestep-5Hz-lm-4B", "tiny"],
        ),
        thinking: Optional[bool] = Input(
            description="Let the 5Hz language model plan the song first. Not given: for text2music exactly when there is one (see lm_model). true with another task: it only hears tempo, key and meter in input_audio.",
            default=None,
        ),
        bpm: Optional[int] = Input(
            description="Tempo in beats per minute. Not given: open.", default=None, ge=30, le=300
        ),
        keyscale: str = Input(
            description="Key, such as C Major, Am, F# minor or Bb maj. Empty: open.", default="", max_length=64
        ),
        timesignature: str = Input(
            description="Beats per bar: 2, 3, 4 or 6 (or 2/4, 3/4, 4/4, 6/8). Empty: open.", default="", max_length=64
        ),
        vocal_language: str = Input(
            description="Language of the singing. unknown: open (v1-3.5B: found line by line).",
            default="unknown",
            choices=LANGUAGES,
        ),
        input_audio: Optional[Path] = Input(
            description="The recording that every task but text2music works on: up to 10 minutes, up to an hour for repaint, inpainting, extend and continuation.",
            default=None,
            accept="audio/*",
        ),
        reference_audio: Optional[Path] = Input(
            description="ACE-Step 1.5 only: a recording whose timbre the music takes over, with any task; 30 seconds of it are heard, chosen by the seed.",
            default=None,
            accept="audio/*",
        ),
        continuation_mode: str = Input(
            description="continuation and extend: new music before, behind or on both sides of the recording; inpaint_middle makes the region of inpaint_start_time and inpaint_end_time anew.",
            default="extend_end",
            choices=["extend_start", "extend_end", "extend_both", "inpaint_middle"],
        ),
        extend_duration: float = Input(
            description="continuation and extend: seconds to add, on each side for extend_both.",
            default=30.0,
            ge=1,
            le=600,
        ),
        inpaint_start_time: float = Input(
            description="inpainting, repaint, lego and inpaint_middle: start of the region in seconds; below 0 it begins before the recording. 3 to 90 seconds is what the models were trained on.",
            default=0.0,
            ge=-600,
            le=3600,
        ),
        inpaint_end_time: float = Input(
            description="End of that region in seconds; -1 is the end of the recording, beyond it the recording grows. 0 with start 0 is no region: an error, but for lego everywhere.",
            default=0.0,
            ge=-1,
            le=3600,
        ),
        style_prompt: str = Input(
            description="style_transfer and edit: the new music in words. Empty: prompt.",
            default="",
            max_length=2048,
        ),
        style_lyrics: str = Input(
            description="style_transfer and edit: the new lyrics. Empty: lyrics.", default="", max_length=4096
        ),
        style_strength: float = Input(
            description="style_transfer: 0 stays near the recording, 1 goes far.", default=0.7, ge=0, le=1
        ),
        audio2audio_strength: float = Input(
            description="audio2audio: 0 stays near the recording, 1 goes far.", default=0.5, ge=0, le=1
        ),
        preserve_vocals: bool = Input(
            description="audio2audio, style_transfer and vocal_accompaniment: the voice is extracted by a base model of ACE-Step 1.5 and mixed with the new music.",
            default=False,
        ),
        audio_cover_strength: Optional[float] = Input(
            description="cover and cover-nofsq: 1 stays near the recording, 0 goes far. Not given: 1.",
            default=None,
            ge=0,
            le=1,
        ),
        cover_noise_strength: float = Input(
            description="cover and cover-nofsq: how much of the recording the noise starts from; 0 is none, 1 nearly all.",
            default=0.0,
            ge=0,
            le=1,
        ),
        track_name: str = Input(
            description="lego (one), extract and complete: vocals, backing_vocals, drums, bass, guitar, keyboard, percussion, strings, synth, fx, brass, woodwinds; several with commas, or all. extract of several returns a zip.",
            default="",
            max_length=256,
        ),
        mix: bool = Input(
            description="lego, complete and vocal_accompaniment: return the new music mixed with the recording instead of alone.",
            default=False,
        ),
        accompaniment_style: str = Input(
            description="vocal_accompaniment: its style; matching leaves it to the prompt and the voice. v1-3.5B does not hear the voice: it lays a new instrumental song under it.",
            default="matching",
            choices=["matching", "jazz", "rock", "electronic", "classical", "pop", "folk"],
        ),
        generate_accompaniment: bool = Input(
            description="text2music with input_audio: the same as vocal_accompaniment, for that voice.", default=False
        ),
        instruction: str = Input(
            description="First line of the model's prompt, used as it is. Empty: the task's own.",
            default="",
            max_length=512,
        ),
        audio_codes: str = Input(
            description="text2music and cover: semantic codes to play, as <|audio_code_17|><|audio_code_4|>..., 5 per second; they decide the length and stand in the place of input_audio.",
            default="",
            max_length=100000,
        ),
        edit_n_min: float = Input(
            description="edit: share of the steps after which the music starts to change; higher keeps more of the recording.",
            default=0.0,
            ge=0,
            le=1,
        ),
        edit_n_max: float = Input(
            description="edit: share of the steps up to which it changes; the rest follows the new words alone.",
            default=1.0,
            ge=0,
            le=1,
        ),
        edit_n_avg: int = Input(
            description="edit: noises averaged per step; more is steadier and slower.", default=1, ge=1, le=8
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
            max_length=256,
        ),
        variation_seed: Optional[int] = Input(
            description="text2music: seed of a second noise that is mixed into the first. Not given or -1: random.",
            default=None,
            ge=-1,
            le=4294967295,
        ),
        variation_strength: float = Input(
            description="text2music: share of the second noise, 0 to 1; 0 is none. repaint and inpainting with v1-3.5B: how far the region may go from what it was; 0 is all the way.",
            default=0.0,
            ge=0,
            le=1,
        ),
        infer_steps: Optional[int] = Input(
            description="Denoising steps. Not given: 8 for turbo, 50 for sft and base, 60 for v1-3.5B.",
            default=None,
            ge=1,
            le=200,
        ),
        guidance_scale: Optional[float] = Input(
            description="How strictly the words are followed (turbo has none). Not given: 7 for sft and base, 15 for v1-3.5B. 0 or 1: off.",
            default=None,
            ge=0,
            le=30,
        ),
        scheduler_type: str = Input(
            description="The solver: euler, heun (two evaluations a step), pingpong (fresh noise every step, same as infer_method sde), ab3 or stork4 (they look back at earlier steps; ACE-Step 1.5 only).",
            default="euler",
            choices=["euler", "heun", "pingpong", "ab3", "stork4"],
        ),
        cfg_type: str = Input(
            description="Kind of guidance: apg (projected), cfg (plain) or cfg_star (v1-3.5B only).",
            default="apg",
            choices=["apg", "cfg", "cfg_star"],
        ),
        omega_scale: float = Input(
            description="v1-3.5B only: granularity of the sampler.", default=10.0, ge=1, le=20
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
            max_length=8192,
        ),
        use_adg: bool = Input(description="Angle-based guidance instead of apg (sft and base).", default=False),
        cfg_interval_start: float = Input(
            description="Guidance acts from this noise level (0 is music, 1 is noise) ...", default=0.0, ge=0, le=1
        ),
        cfg_interval_end: float = Input(
            description="... up to this noise level (0 is music, 1 is noise).", default=1.0, ge=0, le=1
        ),
        use_erg_tag: bool = Input(description="v1-3.5B only: entropy rectifying guidance of the tags.", default=True),
        use_erg_lyric: bool = Input(
            description="v1-3.5B only: entropy rectifying guidance of the lyrics.", default=True
        ),
        use_erg_diffusion: bool = Input(
            description="v1-3.5B only: entropy rectifying guidance of the diffusion.", default=True
        ),
        guidance_scale_text: float = Input(
            description="v1-3.5B only: own guidance of the words; acts when this and guidance_scale_lyric exceed 1.",
            default=0.0,
            ge=0,
            le=30,
        ),
        guidance_scale_lyric: float = Input(
            description="v1-3.5B only: own guidance of the lyrics.", default=0.0, ge=0, le=30
        ),
        guidance_interval: float = Input(
            description="v1-3.5B only: centred share of the steps that are guided; not cfg_interval.",
            default=0.5,
            ge=0,
            le=1,
        ),
        guidance_interval_decay: float = Input(
            description="v1-3.5B only: how far guidance falls within the interval.", default=0.0, ge=0, le=1
        ),
        min_guidance_scale: float = Input(
            description="v1-3.5B only: guidance never falls below this.", default=3.0, ge=0, le=30
        ),
        oss_steps: str = Input(
            description="v1-3.5B only: own step numbers, rising from 1, such as 1,10,20.", default="", max_length=2048
        ),
        dcw_mode: str = Input(
            description="Wavelet correction of the euler solver: off, of the low band, the high band, both (double) or the whole (pix).",
            default="off",
            choices=["off", "low", "high", "double", "pix"],
        ),
        dcw_scaler: float = Input(description="Strength of the wavelet correction.", default=0.05, ge=0, le=1),
        dcw_high_scaler: float = Input(
            description="Strength of the wavelet correction in the upper band (double).", default=0.02, ge=0, le=1
        ),
        lm_temperature: float = Input(
            description="Planner: 0 is greedy, higher is more varied.", default=0.85, ge=0, le=2
        ),
        lm_cfg_scale: float = Input(
            description="Planner: how strictly it follows the words; 1 is off.", default=2.0, ge=1, le=10
        ),
        lm_top_k: int = Input(
            description="Planner: sample among this many tokens; 0 is all.", default=0, ge=0, le=64000
        ),
        lm_top_p: float = Input(
            description="Planner: sample among the tokens that hold this share of the probability; 1 is all.",
            default=0.9,
            ge=0.01,
            le=1,
        ),
        lm_repetition_penalty: float = Input(description="Planner: above 1 repeats less.", default=1.0, ge=1, le=2),
        lm_negative_prompt: str = Input(
            description="Planner: what to keep away from.", default="NO USER INPUT", max_length=2048
        ),
        use_cot_metas: bool = Input(
            description="Planner: decide tempo, key, meter and length where they are open.", default=True
        ),
        use_cot_caption: bool = Input(
            description="Planner: rewrite the prompt in more detail; yours stays in the recipe.", default=True
        ),
        use_cot_language: bool = Input(description="Planner: decide the language where it is open.", default=True),
        use_cot_lyrics: bool = Input(description="Planner: lay out or write the lyrics first.", default=False),
        use_constrained_decoding: bool = Input(
            description="Planner: keep its answer inside the grammar.", default=True
        ),
        constrained_decoding_debug: bool = Input(description="Planner: log what the grammar allows.", default=False),
        simple_query: str = Input(
            description="One line from which the planner writes prompt, lyrics and metadata; leave those empty.",
            default="",
            max_length=2048,
        ),
        allow_lm_batch: bool = Input(description="Planner: think about several songs at once.", default=False),
        lm_batch_chunk_size: int = Input(description="Planner: songs per pass.", default=8, ge=1, le=8),
        batch_size: int = Input(description="Songs made at once.", default=1, ge=1, le=8),
        score: bool = Input(
            description="Judge every song; of a batch, return the best. Scores are in the log, the metrics and the recipe.",
            default=True,
        ),
        return_all: bool = Input(
            description="Return a zip of every song of the batch, each with its recipe. extract: also what is left without the tracks.",
            default=False,
        ),
        lora_name_or_path: str = Input(
            description="LoRA for v1-3.5B: a hub id such as ACE-Step/ACE-Step-v1-chinese-rap-LoRA, or an https: URL of safetensors.",
            default="none",
            max_length=500,
        ),
        lora_weight: float = Input(description="Strength of the adapter.", default=1.0, ge=0, le=2),
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
        """Make music and return the encoded file, or a zip of several."""
        with COG.errors():
            row = meant(task, generate_accompaniment=generate_accompaniment)
            check_adapter(lora_name_or_path, lora_weight)
            spec, reason = self.dit.choose(
                model, row.name, preserve_vocals=preserve_vocals and row.takes_voice, adapter=lora_name_or_path
            )
            usual = self.lm_model if spec.variant.generation.planned else "none"
            planner = self.dit.planner_for(spec, usual if lm_model == "auto" else lm_model)
        repainting_start, repainting_end = region(row, inpaint_start_time, inpaint_end_time)
        params = GenerationParams(
            task_type=task,
            instruction=instruction,
            reference_audio=file_url("reference_audio", reference_audio),
            src_audio=file_url("input_audio", input_audio),
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
            thinking=(planner is not None and not row.needs_source) if thinking is None else thinking,
            shift=shift,
            infer_method=infer_method,
            timesteps=numbers("timesteps", timesteps, float),
            scheduler_type=scheduler_type,
            cfg_type=cfg_type,
            sample_rate=sample_rate,
            limit_true_peak=limit_true_peak,
            continuation_mode=continuation_mode,
            extend_duration=extend_duration,
            repainting_start=repainting_start,
            repainting_end=repainting_end,
            style_prompt=style_prompt,
            style_lyrics=style_lyrics,
            style_strength=style_strength,
            audio2audio_strength=audio2audio_strength,
            preserve_vocals=preserve_vocals,
            audio_cover_strength=1.0 if audio_cover_strength is None else audio_cover_strength,
            cover_noise_strength=cover_noise_strength,
            track_name=track_name,
            mix=mix,
            remainder=return_all and "remainder" in row.parameters,
            accompaniment_style=accompaniment_style,
            generate_accompaniment=generate_accompaniment,
            edit_n_min=edit_n_min,
            edit_n_max=edit_n_max,
            edit_n_avg=edit_n_avg,
            variation_seed=-1 if variation_seed is None else variation_seed,
            variation_strength=variation_strength,
            omega_scale=omega_scale,
            use_erg_tag=use_erg_tag,
            use_erg_lyric=use_erg_lyric,
            use_erg_diffusion=use_erg_diffusion,
            guidance_scale_text=guidance_scale_text,
            guidance_scale_lyric=guidance_scale_lyric,
            guidance_interval=guidance_interval,
            guidance_interval_decay=guidance_interval_decay,
            min_guidance_scale=min_guidance_scale,
            oss_steps=numbers("oss_steps", oss_steps, int),
            dcw_mode=dcw_mode,
            dcw_scaler=dcw_scaler,
            dcw_high_scaler=dcw_high_scaler,
            lm_temperature=lm_temperature,
            lm_cfg_scale=lm_cfg_scale,
            lm_top_k=lm_top_k,
            lm_top_p=lm_top_p,
            lm_repetition_penalty=lm_repetition_penalty,
            lm_negative_prompt=lm_negative_prompt,
            use_cot_metas=use_cot_metas,
            use_cot_caption=use_cot_caption,
            use_cot_language=use_cot_language,
            use_cot_lyrics=use_cot_lyrics,
            use_constrained_decoding=use_constrained_decoding,
            simple_query=simple_query,
            lora_name_or_path=lora_name_or_path,
            lora_weight=lora_weight,
        )
        config = GenerationConfig(
            batch_size=batch_size,
            use_random_seed=seed in (None, -1),
            seeds=numbers("seeds", seeds, int),
            audio_format=output_format,
            allow_lm_batch=allow_lm_batch,
            lm_batch_chunk_size=lm_batch_chunk_size,
            constrained_decoding_debug=constrained_decoding_debug,
            score=score,
        )
        with COG.errors():
            Request.from_params(params, config, spec)
            if self.credentials is not None:
                check_signable(output_format)
            planner = self.planners.judged(planner, spec, params)
        with memory_returned():
            return self._deliver(params, config, spec, reason, planner, return_all=return_all)

    def _deliver(self, params: GenerationParams, config: GenerationConfig, spec: ModelSpec, reason: str, planner: HubFolder | None, *, return_all: bool) -> Path:  # fmt: skip
        """Get the files, make the music, hand over the one output; when this returns, the songs' memory is free."""
        with fetched(params, allow_private=self.allow_private) as local, self.outputs.filling() as folder:
            with COG.errors():
                llm = None if planner is None else self.planners.use(planner)
                self.dit.use(spec, reason)
            with torch.inference_mode():
                result = generate_music(
                    self.dit, llm, local, config, folder, progress_printer(), credentials=self.credentials
                )
            record_result(result, self.record_metric)
            return Path(deliver(result, return_all=return_all))


keep_text(Predictor.predict, "input_audio", "reference_audio")
