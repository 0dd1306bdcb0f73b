"""``Request``: one call's parameters, judged and completed before any model moves.

In: ``GenerationParams``, ``GenerationConfig`` and the row of the model that will play. Out: a frozen value on which
nothing is left to check. Everything that can be wrong about a call is wrong here, as one sentence. Imports no torch.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

from acestep.checkpoints.registry import ModelSpec
from acestep.constants import (
    BATCH_MAX,
    CAPTION_CHARS_ADVISED,
    DURATION_MAX_S,
    DURATION_MIN_S,
    INSTRUMENTAL_LYRICS,
)
from acestep.errors import InputError, UnsupportedError
from acestep.fields import CORRECTION, EDITING, FIRST_FAMILY, PLANNER, check_fields, without_effect
from acestep.lyrics import estimate_duration
from acestep.metadata import UNUSUAL_METERS, parse_bpm, parse_keyscale, parse_language, parse_timesignature
from acestep.output.formats import AudioFormat, check_sample_rate, format_named
from acestep.params import GenerationConfig, GenerationParams
from acestep.planner.plan import Metadata, Plan, parse_codes
from acestep.sampling.choice import SamplingChoice, choose_sampling
from acestep.seeds import resolve_seeds
from acestep.tasks import Task, instruction_for, task_named

logger = logging.getLogger(__name__)
ABSENT = frozenset({FIRST_FAMILY, EDITING, PLANNER, CORRECTION})  # nobody of these is part of this version
NOT_BUILT = {  # a value other than the default needs what this version does not have
    "variation_strength": "variations of a seed",
    "dcw_mode": "wavelet correction",
    "generate_accompaniment": "accompaniments",
    "simple_query": "the planner",
    "lora_name_or_path": "adapters",
}
_DEFAULTS = GenerationParams()


@dataclass(frozen=True, slots=True)
class Request:
    """What will be made, with every value effective.

    Attributes:
        task: row of the task table.
        instruction: first line of the text prompt.
        caption, lyrics: as the song will be conditioned; ``lyrics`` is ``[Instrumental]`` when nobody sings.
        metadata: what the caller fixed; ``duration`` is None when it is left to the planner or the lyrics.
        audio_codes: semantic codes as text, or "".
        reference_audio: path of the timbre reference, or None.
        sampling: how the denoising runs.
        seeds: one per song.
        thinking: the planner is asked.
        audio_format: row of the format table.
        sample_rate: of the files, Hz.
        limit_true_peak: keep the files below the true-peak ceiling.
        warnings: one sentence each, for the log and the recipe.
    """

    task: Task
    instruction: str
    caption: str
    lyrics: str
    metadata: Metadata
    audio_codes: str
    reference_audio: str | None
    sampling: SamplingChoice
    seeds: tuple[int, ...]
    thinking: bool
    audio_format: AudioFormat
    sample_rate: int
    limit_true_peak: bool
    warnings: tuple[str, ...]

    @property
    def batch_size(self) -> int:
        """Number of songs."""
        return len(self.seeds)

    @classmethod
    def from_params(cls, params: GenerationParams, config: GenerationConfig, model: ModelSpec) -> Request:
        """Judge a call.

        Raises:
            InputError: a value that is not allowed.
            UnsupportedError: values that do not go together, or a task the model was not trained for.
        """
        _check_texts(params)
        check_fields(params)
        task = _task(params, model)
        _refuse_what_is_not_built(params)
        sampling, warnings = choose_sampling(params, model)
        audio_format = format_named(config.audio_format)
        check_sample_rate(audio_format, params.sample_rate)
        metadata = _metadata(params)
        return cls(
            task=task,
            instruction=instruction_for(task, params.instruction),
            caption=params.caption.strip(),
            lyrics=_lyrics(params),
            metadata=metadata,
            audio_codes=params.audio_codes.strip(),
            reference_audio=params.reference_audio or None,
            sampling=sampling,
            seeds=_seeds(params, config),
            thinking=_flag("thinking", params.thinking),
            audio_format=audio_format,
            sample_rate=params.sample_rate,
            limit_true_peak=_flag("limit_true_peak", params.limit_true_peak),
            warnings=(*warnings, *_advice(params, metadata), *without_effect(params, ABSENT)),
        )

    def plan(self, codebook_size: int) -> Plan:
        """The plan that takes the caller at their word: no planner, length estimated from the lyrics if open.

        Raises:
            InputError: ``audio_codes`` is malformed or beyond the model's ``codebook_size``, or spells a song
                outside the allowed length.
        """
        codes = parse_codes(self.audio_codes, codebook_size)
        seconds = self.metadata.duration or estimate_duration(self.lyrics)
        plan = Plan(self.caption, self.lyrics, replace(self.metadata, duration=seconds), codes)
        check_duration("audio_codes" if codes else "duration", plan.duration_s)
        return plan


def check_duration(field: str, seconds: float) -> float:
    """``seconds`` if a song may be that long.

    Raises:
        InputError: below 10 or above 600 seconds, or NaN.
    """
    if not DURATION_MIN_S <= seconds <= DURATION_MAX_S:
        raise InputError(
            f"Invalid audio duration: {field} must be {DURATION_MIN_S:g} to {DURATION_MAX_S:g} seconds "
            f"(0 or -1 is automatic), not {seconds:g}.",
            field=field,
            value=seconds,
        )
    return seconds


def _task(params: GenerationParams, model: ModelSpec) -> Task:
    task = task_named(params.task_type)
    if task.name not in model.variant.tasks:
        raise UnsupportedError(
            f"task_type {task.name!r} needs a base model; {model.name} was not trained for it.",
            field="task_type",
            value=task.name,
        )
    if task.needs_text and not (params.caption.strip() or params.lyrics.strip()):
        raise InputError(f"caption and lyrics are both empty; {task.name} needs at least one.", field="caption")
    if params.src_audio and not task.needs_source:
        raise UnsupportedError(f"src_audio does not go with task_type {task.name!r}.", field="src_audio")
    return task


def _refuse_what_is_not_built(params: GenerationParams) -> None:
    for field, what in NOT_BUILT.items():
        value = getattr(params, field)
        if value != getattr(_DEFAULTS, field):
            raise UnsupportedError(
                f"{field} {value!r} needs {what}, which this version does not have yet.", field=field
            )


def _check_texts(params: GenerationParams) -> None:
    for field in ("caption", "lyrics", "instruction", "audio_codes", "keyscale", "vocal_language"):
        value = getattr(params, field)
        if not isinstance(value, str):
            raise InputError.must(field, "be text", value)


def _flag(field: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise InputError.must(field, "be True or False", value)
    return value


def _lyrics(params: GenerationParams) -> str:
    if _flag("instrumental", params.instrumental) or not params.lyrics.strip():
        return INSTRUMENTAL_LYRICS
    return params.lyrics.strip()


def _metadata(params: GenerationParams) -> Metadata:
    return Metadata(
        bpm=parse_bpm(params.bpm),
        keyscale=parse_keyscale(params.keyscale),
        timesignature=parse_timesignature(params.timesignature),
        duration=_duration(params.duration),
        language=parse_language(params.vocal_language),
    )


def _duration(value: object) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise InputError.must("duration", "be a number of seconds", value)
    if value <= 0:
        return None
    return check_duration("duration", float(value))


def _seeds(params: GenerationParams, config: GenerationConfig) -> tuple[int, ...]:
    size = config.batch_size
    if isinstance(size, bool) or not isinstance(size, int) or not 1 <= size <= BATCH_MAX:
        raise InputError.must("batch_size", f"be from 1 to {BATCH_MAX}", size)
    seeds = resolve_seeds(params.seed, config.seeds, size)
    if config.use_random_seed and params.seed >= 0:
        logger.info("use_random_seed has no effect: seed %d was given.", params.seed)
    return seeds


def _advice(params: GenerationParams, metadata: Metadata) -> tuple[str, ...]:
    """Sentences about values that are allowed but not what the models were trained on."""
    advice = []
    if len(params.caption) > CAPTION_CHARS_ADVISED:
        advice.append(
            f"caption has {len(params.caption)} characters; beyond {CAPTION_CHARS_ADVISED} details tend to be lost."
        )
    if metadata.timesignature in UNUSUAL_METERS:
        advice.append(f"timesignature {metadata.timesignature} is outside what the models were trained on.")
    return tuple(advice)
