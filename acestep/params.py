"""The Python API's vocabulary: what a caller may say. Pure data, zero logic; ``request.py`` judges it.

The first fields and defaults of both classes are the published contract, in its order; ours are appended after them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from acestep.constants import SAMPLE_RATE
from acestep.tasks import DEFAULT_TASK, TEXT2MUSIC_INSTRUCTION


@dataclass
class GenerationParams:
    """What one song should be.

    Attributes:
        task_type: name of a row of ``tasks.TASKS``.
        instruction: first line of the text prompt; the default is replaced by the task's own, any other text is used
            verbatim.
        reference_audio: path of a recording whose timbre is taken over; its 30 s are chosen from the seed.
        src_audio: path of the recording that editing tasks work on.
        audio_codes: 5 Hz semantic codes as text, ``<|audio_code_17|><|audio_code_4|>...``.
        caption: the music in words; above 512 characters warns, above 256 encoder tokens is an error.
        lyrics: words to sing, with structure tags such as ``[Verse 1]``; ``[Instrumental]`` for none.
        instrumental: True sings nothing whatever ``lyrics`` says.
        vocal_language: one of ``constants.LANGUAGES``.
        bpm: beats per minute, 30 to 300; None leaves it open.
        keyscale: such as ``C Major``, ``Am``, ``F# minor``; empty leaves it open.
        timesignature: ``2``, ``3``, ``4``, ``6`` (or ``4/4`` ...); empty leaves it open.
        duration: seconds, 10 to 600; 0, negative or None is automatic.
        inference_steps: denoising steps; None takes the model's own (turbo 8, base and sft 50).
        seed: 0 to 2**32 - 1; -1 is random. Song ``i`` of a batch uses ``seed + i``.
        guidance_scale: classifier-free guidance, 0 or 1 is off; None takes the model's own; turbo has none.
        use_adg: angle-based guidance instead of APG (base and sft).
        cfg_interval_start, cfg_interval_end: guidance acts while the noise level t (1 = noise) lies between them.
        repainting_start, repainting_end: region in seconds for the region tasks; end -1 is the end of the source.
        audio_cover_strength: nearness to the source for covers, 0 to 1.
        thinking: let the 5Hz language model plan the song; needs an initialised ``LLMHandler``. Of a recording that a
            task works on it only hears tempo, key and meter, where they are open, and only if there is one.
        lm_temperature, lm_cfg_scale, lm_top_k, lm_top_p, lm_negative_prompt: sampling of the planner.
        use_cot_metas, use_cot_caption, use_cot_lyrics, use_cot_language: what the planner may decide.
        use_constrained_decoding: keep the planner inside its grammar.
        cot_bpm, cot_keyscale, cot_timesignature, cot_duration, cot_vocal_language, cot_caption, cot_lyrics: what the
            planner decided; filled in the result's copy, never read.
        shift: timestep shift; None takes the model's own (turbo 3, base and sft 1).
        infer_method: ``ode`` or ``sde``.
        timesteps: own noise levels, falling, in (0, 1]; replaces steps and shift.
        scheduler_type: the solver, a row of ``sampling.solvers.SOLVERS``; ``pingpong`` is ``infer_method="sde"``.
        cfg_type: ``apg`` or ``cfg``.
        sample_rate: of the file, 48000 or 44100 Hz.
        limit_true_peak: keep the file below -1 dBTP.
        continuation_mode, extend_duration: where and by how many seconds a recording is continued.
        extend_start_duration: seconds before the recording where both sides are continued; None is as many as behind.
        style_prompt, style_lyrics: target words of style transfer and edit; empty means ``caption`` and ``lyrics``.
        style_strength, audio2audio_strength: farness from the source, 0 to 1.
        preserve_vocals: keep the source's voice.
        cover_noise_strength: how much of the source a cover starts from, 0 to 1.
        track_name: tracks of the stem tasks, comma-separated, or ``all``.
        mix: return the new track summed with the source instead of alone.
        remainder: return the source without the extracted tracks too.
        accompaniment_style, generate_accompaniment: an accompaniment under a given voice.
        edit_n_min, edit_n_max, edit_n_avg: window and averaging of flow editing.
        variation_seed, variation_strength: a second noise, and how much of it is mixed in.
        omega_scale, use_erg_tag, use_erg_lyric, use_erg_diffusion, guidance_scale_text, guidance_scale_lyric,
        guidance_interval, guidance_interval_decay, min_guidance_scale, oss_steps: sampling of the v1-3.5B models.
        dcw_mode, dcw_scaler, dcw_high_scaler: wavelet correction of the Euler solver.
        lm_repetition_penalty: of the planner, 1 is off.
        simple_query: one line from which the planner writes caption, lyrics and metadata.
        lora_name_or_path, lora_weight: an adapter and its strength.
        lyric_detection: how v1 models find the language of a line: ``script``, or ``upstream``, faults included.
    """

    task_type: str = DEFAULT_TASK
    instruction: str = TEXT2MUSIC_INSTRUCTION
    reference_audio: str | None = None
    src_audio: str | None = None
    audio_codes: str = ""
    caption: str = ""
    lyrics: str = ""
    instrumental: bool = False
    vocal_language: str = "unknown"
    bpm: int | None = None
    keyscale: str = ""
    timesignature: str = ""
    duration: float | None = -1.0
    inference_steps: int | None = 8
    seed: int = -1
    guidance_scale: float | None = 7.0
    use_adg: bool = False
    cfg_interval_start: float = 0.0
    cfg_interval_end: float = 1.0
    repainting_start: float = 0.0
    repainting_end: float = -1
    audio_cover_strength: float = 1.0
    thinking: bool = True
    lm_temperature: float = 0.85
    lm_cfg_scale: float = 2.0
    lm_top_k: int = 0
    lm_top_p: float = 0.9
    lm_negative_prompt: str = "NO USER INPUT"
    use_cot_metas: bool = True
    use_cot_caption: bool = True
    use_cot_lyrics: bool = False
    use_cot_language: bool = True
    use_constrained_decoding: bool = True
    cot_bpm: int | None = None
    cot_keyscale: str = ""
    cot_timesignature: str = ""
    cot_duration: float | None = None
    cot_vocal_language: str = "unknown"
    cot_caption: str = ""
    cot_lyrics: str = ""
    # --- appended by this project
    shift: float | None = None
    infer_method: str = "ode"
    timesteps: Sequence[float] | None = None
    scheduler_type: str = "euler"
    cfg_type: str = "apg"
    sample_rate: int = SAMPLE_RATE
    limit_true_peak: bool = True
    continuation_mode: str = "extend_end"
    extend_duration: float = 30.0
    style_prompt: str = ""
    style_lyrics: str = ""
    style_strength: float = 0.7
    audio2audio_strength: float = 0.5
    preserve_vocals: bool = False
    cover_noise_strength: float = 0.0
    track_name: str = ""
    mix: bool = False
    accompaniment_style: str = "matching"
    generate_accompaniment: bool = False
    edit_n_min: float = 0.0
    edit_n_max: float = 1.0
    edit_n_avg: int = 1
    variation_seed: int = -1
    variation_strength: float = 0.0
    omega_scale: float = 10.0
    use_erg_tag: bool = True
    use_erg_lyric: bool = True
    use_erg_diffusion: bool = True
    guidance_scale_text: float = 0.0
    guidance_scale_lyric: float = 0.0
    guidance_interval: float = 0.5
    guidance_interval_decay: float = 0.0
    min_guidance_scale: float = 3.0
    oss_steps: Sequence[int] | None = None
    dcw_mode: str = "off"
    dcw_scaler: float = 0.05
    dcw_high_scaler: float = 0.02
    lm_repetition_penalty: float = 1.0
    simple_query: str = ""
    lora_name_or_path: str = "none"
    lora_weight: float = 1.0
    remainder: bool = False
    extend_start_duration: float | None = None
    lyric_detection: str = "script"


@dataclass
class GenerationConfig:
    """How many songs, from which seeds, into which file format.

    Attributes:
        batch_size: songs at once, 1 to 8.
        allow_lm_batch: let the planner think about several songs at once.
        use_random_seed: True draws seeds unless one is given; a given seed always wins.
        seeds: one seed per song; missing ones are random and reported. A single int counts as ``params.seed``.
        lm_batch_chunk_size: songs per pass of the planner, 1 to 8.
        constrained_decoding_debug: log what the grammar allows at each token.
        audio_format: name of a row of ``output.formats.FORMATS``.
        score: judge every song: quality scores, the times of its lines, which song is the best.
    """

    batch_size: int = 2
    allow_lm_batch: bool = False
    use_random_seed: bool = True
    seeds: Sequence[int] | int | None = None
    lm_batch_chunk_size: int = 8
    constrained_decoding_debug: bool = False
    audio_format: str = "flac"
    score: bool = False
