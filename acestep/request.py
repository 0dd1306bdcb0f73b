"""``Request``: one call's parameters, judged and completed before any model moves.

In: ``GenerationParams``, ``GenerationConfig`` and the row of the model that will play. Out: a frozen value on which
nothing is left to check. Everything that can be wrong about a call is wrong here, as one sentence. Imports no torch.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from acestep.checkpoints.registry import MODELS, ModelSpec
from acestep.constants import (
    BATCH_MAX,
    CODE_RATE,
    DURATION_MAX_S,
    DURATION_MIN_S,
    INSTRUMENTAL_LYRICS,
)
from acestep.editing.order import EditOrder, order_edit, target_words
from acestep.errors import InputError, UnsupportedError
from acestep.fields import check_fields
from acestep.judge import plain
from acestep.lyrics import estimate_duration
from acestep.metadata import parse_bpm, parse_keyscale, parse_language, parse_timesignature
from acestep.output.formats import AudioFormat, check_sample_rate, format_named
from acestep.params import GenerationConfig, GenerationParams
from acestep.planner.order import PlanOrder, order_plan
from acestep.planner.plan import Metadata, Plan, Sheet, code_count, parse_codes
from acestep.remarks import remarks
from acestep.sampling.choice import SOLVER_NAMES, SamplingChoice, choose_sampling
from acestep.seeds import check_seed, resolve_seeds
from acestep.tasks import EXTRACTION, Task, effective_task, instruction_for, task_named

NOT_BUILT = {  # a value other than the default needs what this version does not have
    "lora_name_or_path": "adapters",
}
_DEFAULTS = GenerationParams()
EULER = SOLVER_NAMES[0]


@dataclass(frozen=True, slots=True)
class Variation:
    """A second noise: one seed per song, and its share from 0 to 1."""

    seeds: tuple[int, ...]
    strength: float


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
        variation: a second noise that is mixed in, or None.
        edit: what shall be done with a recording, or None.
        order: what the planner shall do, or None when it does not plan the song.
        listens: how it hears what is open in a recording, or None when it is not asked.
        audio_format: row of the format table.
        sample_rate: of the files, Hz.
        limit_true_peak: keep the files below the true-peak ceiling.
        scored: judge what was made.
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
    variation: Variation | None
    edit: EditOrder | None
    order: PlanOrder | None
    listens: PlanOrder | None
    audio_format: AudioFormat
    sample_rate: int
    limit_true_peak: bool
    scored: bool
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
        edit = order_edit(params, task)
        as_long_as_source = edit is not None and edit.source_audio is not None
        metadata = fixed_metadata(replace(params, duration=-1) if as_long_as_source else params)
        _check_edit(params, task, edit, sampling)
        asked = order_plan(params, config)
        order = None if task.needs_source else asked
        listens = asked if edit is not None and edit.source_audio and params.use_cot_metas else None
        words = target_words(params, task)
        seeds = _seeds(params, config)
        return cls(
            task=task,
            instruction=params.instruction,
            caption=words.caption,
            lyrics=_lyrics(params, words.lyrics, edit, order),
            metadata=metadata,
            audio_codes=params.audio_codes.strip() if task.plays_codes else "",
            reference_audio=params.reference_audio or None,
            sampling=sampling,
            seeds=seeds,
            variation=_variation(params, task, len(seeds)),
            edit=edit,
            order=order,
            listens=listens,
            audio_format=audio_format,
            sample_rate=params.sample_rate,
            limit_true_peak=params.limit_true_peak,
            scored=config.score,
            warnings=(
                *warnings,
                *remarks(params, config, task, metadata, asks_planner=(order or listens) is not None),
            ),
        )

    def lasting(self, seconds: float) -> Request:
        """The same request for music as long as a recording, whatever length was asked for."""
        return replace(self, metadata=replace(self.metadata, duration=seconds))

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
        """First line of the text prompt of ``plan``: the caller's, else the task's; codes are played as a cover.

        Where every track is a song of its own, that of the first.
        """
        tracks = () if self.edit is None else self.edit.tracks[: 1 if self.task.tracks_apart else None]
        return instruction_for(self.task, self.instruction, tracks, played_from_codes=bool(plan.audio_codes))


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
    task = task_named(effective_task(params.task_type, generate_accompaniment=params.generate_accompaniment))
    keeps_voice = params.preserve_vocals and task.takes_voice
    for needed, why in ((task, f"task_type {task.name!r}"), (EXTRACTION, "preserve_vocals")):
        if needed.name not in model.variant.tasks and (needed is task or keeps_voice):
            able = ", ".join(spec.name for spec in MODELS.values() if needed.name in spec.variant.tasks)
            raise UnsupportedError(
                f"{why} needs a model that was trained for it, and {model.name} was not; choose one of: {able}.",
                field="task_type" if needed is task else "preserve_vocals",
                value=task.name,
            )
    words = (params.caption, params.lyrics, params.simple_query)
    if task.needs_text and not any(text.strip() for text in words):
        raise InputError(f"caption and lyrics are both empty; {task.name} needs at least one.", field="caption")
    return task


def _check_edit(params: GenerationParams, task: Task, edit: EditOrder | None, sampling: SamplingChoice) -> None:
    """What does not go with a recording.

    Raises:
        InputError: a flow edit without new words.
        UnsupportedError: a flow edit with more than Euler's method; ``simple_query``.
    """
    if edit is None:
        return
    if params.simple_query:
        raise UnsupportedError(f"simple_query does not go with task_type {task.name!r}.", field="simple_query")
    if not task.flow_edit:
        return
    if not params.style_prompt.strip() and not params.style_lyrics.strip():
        raise InputError(
            f"style_prompt and style_lyrics are both empty; {task.name} needs the new words.", field="style_prompt"
        )
    if sampling.solver != EULER or sampling.correction is not None:
        raise UnsupportedError(
            f"task_type {task.name!r} runs with scheduler_type {EULER!r} alone, without corrections.",
            field="scheduler_type",
            value=sampling.solver,
        )


def _refuse_what_is_not_built(params: GenerationParams) -> None:
    for field, what in NOT_BUILT.items():
        value = getattr(params, field)
        if value != getattr(_DEFAULTS, field):
            raise UnsupportedError(
                f"{field} {value!r} needs {what}, which this version does not have yet.", field=field
            )


def _lyrics(params: GenerationParams, lyrics: str, edit: EditOrder | None, order: PlanOrder | None) -> str:
    """Lyrics as given; nothing to sing is spelled the way the models were trained to read it.

    Where the voice of a recording is kept, what is made under it does not sing.
    """
    if params.instrumental or (edit is not None and edit.voice is not None):
        return INSTRUMENTAL_LYRICS
    if lyrics.strip():
        return lyrics
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


def _variation(params: GenerationParams, task: Task, songs: int) -> Variation | None:
    if not params.variation_strength or "variation_strength" not in task.parameters:
        check_seed(params.variation_seed, "variation_seed")
        return None
    check_seed(params.variation_seed, "variation_seed")
    return Variation(resolve_seeds(params.variation_seed, None, songs), params.variation_strength)
