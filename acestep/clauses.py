"""The clauses of a request: what a call says on one subject, judged and completed, one function each.

In: ``GenerationParams``, the row of the model. Out: values a ``Request`` is made of. What fills more than a function
has a module of its own: sampling (``sampling.choice``), recordings (``editing.order``), planning. Imports no torch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from acestep.checkpoints.registry import MODELS, ModelSpec
from acestep.checkpoints.rows import FIRST, SECOND, Generation
from acestep.constants import BATCH_MAX, DURATION_MAX_S, DURATION_MIN_S, INSTRUMENTAL_LYRICS
from acestep.editing.order import EditOrder
from acestep.errors import InputError, UnsupportedError, shown
from acestep.metadata import parse_bpm, parse_keyscale, parse_language, parse_timesignature
from acestep.params import GenerationConfig, GenerationParams
from acestep.planner.order import PlanOrder, order_plan
from acestep.planner.plan import Metadata
from acestep.sampling.choice import SOLVER_NAMES, SamplingChoice, choose_sampling
from acestep.seeds import check_seed, resolve_seeds
from acestep.tasks import EXTRACTION, FIRST_TASKS, TASKS, Task, effective_task, row_for, task_named
from acestep.v1.adapter_source import AdapterOrder, judge_adapter
from acestep.v1.choice import COMPARED_WITHOUT, V1Choice, choose_v1
from acestep.v1.length import drawn_duration

EULER = SOLVER_NAMES[0]
_TASKS = {FIRST: FIRST_TASKS, SECOND: TASKS}
_CHOOSERS = {FIRST: choose_v1, SECOND: choose_sampling}
_UNREAD_BY_FLOW_EDITS: dict[Generation, tuple[str, ...]] = {FIRST: COMPARED_WITHOUT, SECOND: ()}
_DEFAULTS = GenerationParams()


@dataclass(frozen=True, slots=True)
class Variation:
    """A second noise: one seed per song, and its share from 0 to 1."""

    seeds: tuple[int, ...]
    strength: float


def check_duration(field: str, seconds: float, longest_s: float = DURATION_MAX_S) -> float:
    """``seconds`` if a song may be that long.

    Raises:
        InputError: below 10 or above ``longest_s`` seconds, or NaN.
    """
    if not DURATION_MIN_S <= seconds <= longest_s:
        raise InputError(
            f"Invalid audio duration: {field} must be {DURATION_MIN_S:g} to {longest_s:g} seconds, not {seconds:g}.",
            field=field,
            value=seconds,
        )
    return seconds


def judged_task(params: GenerationParams, model: ModelSpec) -> Task:
    """The row of the task that is meant, as far as the model can fulfil it.

    Raises:
        InputError: no such task, or it lacks words.
        UnsupportedError: the model was not trained for it.
    """
    task = task_named(effective_task(params.task_type, generate_accompaniment=params.generate_accompaniment))
    separates = model.variant.generation.separates  # others keep no voice, and say so
    keeps_voice = params.preserve_vocals and task.takes_voice and separates
    for needed, why in ((task, f"task_type {task.name!r}"), (EXTRACTION, "preserve_vocals")):
        if needed.name not in model.variant.tasks and (needed is task or keeps_voice):
            raise UnsupportedError(
                f"{why} needs a model that was trained for it, and {model.name} was not; choose one of: "
                f"{', '.join(_trained_for(needed))}.",
                field="task_type" if needed is task else "preserve_vocals",
                value=task.name,
            )
    words = (params.caption, params.lyrics, params.simple_query)
    if task.needs_text and not any(text.strip() for text in words):
        raise InputError(f"caption and lyrics are both empty; {task.name} needs at least one.", field="caption")
    return row_for(task, _TASKS[model.variant.generation])


def _trained_for(task: Task) -> Iterator[str]:
    """Names of the models that can be had for a task; those that only manage it some other way are left out."""
    for spec in MODELS.values():
        can = spec.released and task.name in spec.variant.tasks
        if can and row_for(task, _TASKS[spec.variant.generation]).trained:
            yield spec.name


def judged_adapter(params: GenerationParams, model: ModelSpec) -> AdapterOrder | None:
    """The LoRA of a call.

    Raises:
        InputError: a name that cannot be one.
        UnsupportedError: the model takes none.
    """
    order = judge_adapter(params.lora_name_or_path, params.lora_weight, allow_local=True)
    if order is not None and not model.variant.generation.takes_adapters:
        able = ", ".join(spec.name for spec in MODELS.values() if spec.variant.generation.takes_adapters)
        raise UnsupportedError(
            f"lora_name_or_path {shown(params.lora_name_or_path)} does not go with model {model.name!r}, which takes "
            f"no adapters yet; choose one of: {able}.",
            field="lora_name_or_path",
            value=params.lora_name_or_path,
        )
    return order


def judged_sampling(
    params: GenerationParams, task: Task, model: ModelSpec
) -> tuple[SamplingChoice | V1Choice, tuple[str, ...]]:
    """How the denoising runs, and one sentence for every field of it that has no effect.

    Raises:
        InputError: a value out of range.
        UnsupportedError: fields that contradict one another.
    """
    choose = _CHOOSERS[model.variant.generation]
    choice, told = choose(params, model)
    usual = _usual_of_flow_edits(model) if task.flow_edit else {}
    if usual:
        _, told = choose(replace(params, **usual), model)
    unread = (name for name, value in usual.items() if getattr(params, name) != value)
    return choice, (*told, *(f"{name} has no effect on task_type {task.name!r}." for name in unread))


def _usual_of_flow_edits(model: ModelSpec) -> dict[str, object]:
    """Sampling fields that flow edits of a model do not read, each with its usual value."""
    return {name: getattr(_DEFAULTS, name) for name in _UNREAD_BY_FLOW_EDITS[model.variant.generation]}


def asked_of_planner(params: GenerationParams, config: GenerationConfig, model: ModelSpec) -> PlanOrder | None:
    """What a planner is asked; None where no planner shall be, or the model has none.

    Raises:
        UnsupportedError: a song from one line needs a planner.
    """
    if model.variant.generation.planned:
        return order_plan(params, config)
    if params.simple_query:
        raise UnsupportedError(
            f"simple_query needs a planner, and {model.name} has none; give caption and lyrics.", field="simple_query"
        )
    return None


def judged_metadata(
    params: GenerationParams, edit: EditOrder | None, model: ModelSpec, seeds: tuple[int, ...]
) -> Metadata:
    """What is fixed about the music, as far as the model hears it."""
    if edit is not None and edit.source_audio is not None:
        params = replace(params, duration=-1)
    fixed = fixed_metadata(params, model.variant.longest_s)
    if model.variant.generation.hears_metadata:
        return fixed
    seconds = fixed.duration or (drawn_duration(seeds[0]) if edit is None else None)
    return Metadata(duration=seconds, language=fixed.language)


def check_edit(
    params: GenerationParams, task: Task, edit: EditOrder | None, sampling: SamplingChoice | V1Choice
) -> None:
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


def effective_lyrics(params: GenerationParams, lyrics: str, edit: EditOrder | None, order: PlanOrder | None) -> str:
    """Lyrics as given; nothing to sing is spelled the way the models were trained to read it.

    Where the voice of a recording is kept, what is made under it does not sing.
    """
    if params.instrumental or (edit is not None and edit.voice is not None):
        return INSTRUMENTAL_LYRICS
    if lyrics.strip():
        return lyrics
    return "" if order is not None and order.writes_lyrics else INSTRUMENTAL_LYRICS


def fixed_metadata(params: GenerationParams, longest_s: float = DURATION_MAX_S) -> Metadata:
    """What a caller fixed about the music.

    Args:
        longest_s: seconds that a song may have.

    Raises:
        InputError: a value that is not allowed.
    """
    return Metadata(
        bpm=parse_bpm(params.bpm),
        keyscale=parse_keyscale(params.keyscale),
        timesignature=parse_timesignature(params.timesignature),
        duration=_duration(params.duration, longest_s),
        language=parse_language(params.vocal_language),
    )


def _duration(seconds: float | None, longest_s: float) -> float | None:
    return None if seconds is None or seconds <= 0 else check_duration("duration", seconds, longest_s)


def judged_seeds(params: GenerationParams, config: GenerationConfig) -> tuple[int, ...]:
    """One seed per song.

    Raises:
        InputError: too many songs or seeds, or a seed out of range.
    """
    size = config.batch_size
    if not 1 <= size <= BATCH_MAX:
        raise InputError.must("batch_size", f"be from 1 to {BATCH_MAX}", size)
    return resolve_seeds(params.seed, config.seeds, size)


def judged_variation(params: GenerationParams, task: Task, songs: int) -> Variation | None:
    """A second noise, or None where the task has none.

    Raises:
        InputError: its seed is out of range.
    """
    if not params.variation_strength or "variation_strength" not in task.parameters:
        check_seed(params.variation_seed, "variation_seed")
        return None
    check_seed(params.variation_seed, "variation_seed")
    return Variation(resolve_seeds(params.variation_seed, None, songs), params.variation_strength)
