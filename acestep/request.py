"""``Request``: one call's parameters, judged and completed before any model moves.

In: ``GenerationParams``, ``GenerationConfig`` and the row of the model that will play. Out: a frozen value on which
nothing is left to check. Everything that can be wrong about a call is wrong here, as one sentence. Imports no torch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from acestep.checkpoints.registry import ModelSpec
from acestep.constants import (
    BATCH_MAX,
    CAPTION_CHARS_ADVISED,
    CODE_RATE,
    DURATION_MAX_S,
    DURATION_MIN_S,
    INSTRUMENTAL_LYRICS,
)
from acestep.errors import InputError, UnsupportedError
from acestep.fields import CORRECTION, EDITING, FIRST_FAMILY, PLANNER, check_fields, without_effect
from acestep.judge import plain
from acestep.lyrics import estimate_duration
from acestep.metadata import UNUSUAL_METERS, parse_bpm, parse_keyscale, parse_language, parse_timesignature
from acestep.output.formats import AudioFormat, check_sample_rate, format_named
from acestep.params import GenerationConfig, GenerationParams
from acestep.planner.order import PlanOrder, idle, order_plan
from acestep.planner.plan import Metadata, Plan, Sheet, code_count, parse_codes
from acestep.sampling.choice import SamplingChoice, choose_sampling
from acestep.seeds import resolve_seeds
from acestep.tasks import Task, instruction_for, task_named

ABSENT = frozenset({FIRST_FAMILY, EDITING, CORRECTION})  # nobody of these is part of this version
NOT_BUILT = {  # a value other than the default needs what this version does not have
    "variation_strength": "variations of a seed",
    "dcw_mode": "wavelet correction",
    "generate_accompaniment": "accompaniments",
    "lora_name_or_path": "adapters",
}
_DEFAULTS = GenerationParams()


@dataclass(frozen=True, slots=True)
class Request:
    """What will be made, with every value effective.

    Attributes:
        task: row of the task table.
        instruction: the caller's first line of the text prompt, or the default.
        caption, lyrics: the caller's; ``lyrics`` is ``[Instrumental]`` when nobody sings, "" when the planner shall
            write them.
        metadata: what the caller fixed; ``duration`` is None when it is left to the planner or the lyrics.
        audio_codes: semantic codes as text, or "".
        reference_audio: path of the timbre reference, or None.
        sampling: how the denoising runs.
        seeds: one per song.
        order: what the planner shall do, or None when it is not asked.
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
    order: PlanOrder | None
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
        params, config = plain(params), plain(config)
        check_fields(params)
        task = _task(params, model)
        _refuse_what_is_not_built(params)
        sampling, warnings = choose_sampling(params, model)
        audio_format = format_named(config.audio_format)
        check_sample_rate(audio_format, params.sample_rate)
        metadata = fixed_metadata(params)
        order = order_plan(params, config)
        return cls(
            task=task,
            instruction=params.instruction,
            caption=params.caption,
            lyrics=_lyrics(params, order),
            metadata=metadata,
            audio_codes=params.audio_codes.strip(),
            reference_audio=params.reference_audio or None,
            sampling=sampling,
            seeds=_seeds(params, config),
            order=order,
            audio_format=audio_format,
            sample_rate=params.sample_rate,
            limit_true_peak=params.limit_true_peak,
            warnings=(*warnings, *_advice(params, metadata), *_idle(params, config, order)),
        )

    @property
    def sheet(self) -> Sheet:
        """What the planner starts from."""
        return Sheet(self.caption, self.lyrics, self.metadata)

    def plan(self, codebook_size: int) -> Plan:
        """The plan that takes the caller at their word: no planner, length estimated from the lyrics if open.

        Raises:
            InputError: ``audio_codes`` is malformed or beyond the model's ``codebook_size``, or spells a song
                outside the allowed length.
        """
        codes = parse_codes(self.audio_codes, codebook_size)
        seconds = self._seconds_of(len(codes)) or estimate_duration(self.lyrics)
        return Plan(self.caption, self.lyrics, replace(self.metadata, duration=seconds), codes)

    def _seconds_of(self, codes: int) -> float | None:
        """How long the song is: what was asked for, unless there are codes that do not take as long as that."""
        asked = self.metadata.duration
        if not codes or (asked is not None and code_count(asked) == codes):
            return asked
        return check_duration("audio_codes", codes / CODE_RATE)

    def instruction_for(self, plan: Plan) -> str:
        """First line of the text prompt of ``plan``: the caller's, else the task's; codes are played as a cover."""
        return instruction_for(self.task, self.instruction, played_from_codes=bool(plan.audio_codes))


def check_duration(field: str, seconds: float) -> float:
    """``seconds`` if a song may be that long.

    Raises:
        InputError: below 10 or above 600 seconds, or NaN.
    """
    if not DURATION_MIN_S <= seconds <= DURATION_MAX_S:
        raise InputError(
            f"Invalid audio duration: {field} must be {DURATION_MIN_S:g} to {DURATION_MAX_S:g} seconds, "
            f"not {seconds:g}.",
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
    words = (params.caption, params.lyrics, params.simple_query)
    if task.needs_text and not any(text.strip() for text in words):
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


def _lyrics(params: GenerationParams, order: PlanOrder | None) -> str:
    """Lyrics as given; nothing to sing is spelled the way the models were trained to read it."""
    if params.instrumental:
        return INSTRUMENTAL_LYRICS
    if params.lyrics.strip():
        return params.lyrics
    return "" if order is not None and order.writes_lyrics else INSTRUMENTAL_LYRICS


def fixed_metadata(params: GenerationParams) -> Metadata:
    """What a caller fixed about the music.

    Raises:
        InputError: a value that is not allowed.
    """
    return Metadata(
        bpm=parse_bpm(params.bpm),
        keyscale=parse_keyscale(params.keyscale),
        timesignature=parse_timesignature(params.timesignature),
        duration=_duration(params.duration),
        language=parse_language(params.vocal_language),
    )


def _duration(seconds: float | None) -> float | None:
    return None if seconds is None or seconds <= 0 else check_duration("duration", seconds)


def _seeds(params: GenerationParams, config: GenerationConfig) -> tuple[int, ...]:
    size = config.batch_size
    if not 1 <= size <= BATCH_MAX:
        raise InputError.must("batch_size", f"be from 1 to {BATCH_MAX}", size)
    return resolve_seeds(params.seed, config.seeds, size)


def _idle(params: GenerationParams, config: GenerationConfig, order: PlanOrder | None) -> Iterator[str]:
    """One sentence for every value that was changed although nothing reads it in this call."""
    yield from without_effect(params, ABSENT if order else ABSENT | {PLANNER})
    if order is not None:
        yield from idle(params, config)
    seconds = params.duration or 0
    if params.audio_codes and seconds > 0 and code_count(seconds) != params.audio_codes.count("<|audio_code_"):
        yield "duration has no effect: audio_codes decides the length."
    if params.variation_seed != _DEFAULTS.variation_seed:
        yield "variation_seed has no effect: variation_strength is 0."
    defaults = GenerationConfig()
    for name in ("allow_lm_batch", "lm_batch_chunk_size", "constrained_decoding_debug"):
        if order is None and getattr(config, name) != getattr(defaults, name):
            yield f"{name} has no effect: it belongs to {PLANNER}."


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
