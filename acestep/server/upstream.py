"""What the server of ACE-Step v1 says by several fields at once, in this project's words.

    actual_seeds                as many songs, where batch_size is silent
    task "retake"               a new song with a second noise mixed in
    audio2audio_enable          the task that follows a recording
    repaint_start, repaint_end  of a task that grows a recording: seconds before 0, and beyond its end, are new

In: what a request says. Out: the same with a task and parameters that this project knows, and remarks about what has
no effect. The length of the recording is asked for where the last rule needs it. Refuses to know files and models.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from acestep.constants import BATCH_MAX
from acestep.editing.order import BEGIN, BOTH, END, WHOLE
from acestep.errors import InputError, UnsupportedError
from acestep.params import GenerationParams
from acestep.server.mapping import Said
from acestep.tasks import AUDIO2AUDIO, DEFAULT_TASK, TASKS, Region

RETAKE = "retake"
RETAKE_VARIANCE = 0.5  # of a retake that does not say
_LEAST_S, _MOST_S = 1.0, 600.0  # what one side can grow by
_VARIATION = "variation_strength"


def translated(said: Said) -> tuple[Said, tuple[str, ...]]:
    """All rules but the last.

    Returns:
        The request in this project's words, and a sentence for each thing that has no effect.

    Raises:
        InputError: ``audio2audio_enable`` without a recording; a region that shall not change.
        UnsupportedError: it is said of another task.
    """
    said, surplus = _counted(said)
    said, idle = _of_task(said)
    return said, (*surplus, *idle)


def _counted(said: Said) -> tuple[Said, tuple[str, ...]]:
    seeds, size = said.own.actual_seeds or (), said.config.batch_size
    if "batch_size" not in said.given and seeds:
        size = min(len(seeds), BATCH_MAX)
    surplus = len(seeds) - size
    kept = said.config.seeds if surplus <= 0 or size < 1 else list(seeds[:size])
    remark = f"actual_seeds has {len(seeds)} entries; those beyond the {size} songs of the batch have no effect."
    idle = (remark,) if surplus > 0 and size > 0 else ()
    return replace(said, config=replace(said.config, batch_size=size, seeds=kept)), idle


def _of_task(said: Said) -> tuple[Said, tuple[str, ...]]:
    params = said.params
    if said.own.audio2audio_enable:
        return replace(said, params=_following(said)), ()
    task = TASKS.get(params.task_type)
    if said.own.retake_variance == 0 and task is not None and task.region is Region.GIVEN:
        raise InputError(
            f"retake_variance must be above 0 for task {params.task_type!r}: at 0 the region would stay as it is.",
            field="retake_variance",
            value=0,
        )
    if params.task_type == RETAKE:
        strength = params.variation_strength if _VARIATION in said.given else RETAKE_VARIANCE
        return replace(said, params=replace(params, task_type=DEFAULT_TASK, variation_strength=strength)), ()
    if params.task_type == DEFAULT_TASK and said.own.retake_variance is not None:
        quiet = replace(said, params=replace(params, variation_strength=0.0))
        return quiet, (f"retake_variance has no effect: the task is not {RETAKE}.",)
    return said, ()


def _following(said: Said) -> GenerationParams:
    params = said.params
    if params.task_type not in (DEFAULT_TASK, AUDIO2AUDIO.name):
        raise UnsupportedError(
            f"audio2audio_enable does not go with task {params.task_type!r}.", field="audio2audio_enable"
        )
    if not params.src_audio:
        raise InputError("audio2audio_enable needs ref_audio_input.", field="ref_audio_input")
    return replace(params, task_type=AUDIO2AUDIO.name)


def grows_by_region(said: Said) -> bool:
    """Whether the last rule applies: a task that grows a recording, and a region instead of lengths."""
    task = TASKS.get(said.params.task_type)
    lengths = {"continuation_mode", "extend_duration", "extend_start_duration"}
    region = {"repainting_start", "repainting_end"}
    return task is not None and task.region is Region.GROWN and bool(said.given & region) and not said.given & lengths


def grown(said: Said, seconds_of: Callable[[str], float]) -> Said:
    """The last rule.

    Args:
        seconds_of: length of a recording, by its path; only called where a region ends behind 0.

    Raises:
        InputError: nothing is added, or more than can be.
    """
    params, names = said.params, said.naming.names
    start, end = names["repainting_start"], names["repainting_end"]
    before = _added(start, -params.repainting_start)
    behind = 0.0
    if params.repainting_end > 0:
        behind = _added(end, params.repainting_end - seconds_of(params.src_audio or ""))
    if not before and not behind:
        raise InputError(
            f"{start} and {end} add nothing to the recording: one must lie before 0, or the other behind its end.",
            field=start,
        )
    mode = BOTH if before and behind else (BEGIN if before else END)
    lengths = {"extend_duration": behind or before, "extend_start_duration": before if mode == BOTH else None}
    changed = replace(params, repainting_start=0.0, repainting_end=WHOLE, continuation_mode=mode, **lengths)
    return replace(said, params=changed)


def _added(field: str, seconds: float) -> float:
    if seconds <= 0:
        return 0.0
    if not _LEAST_S <= seconds <= _MOST_S:
        raise InputError(
            f"{field} adds {seconds:g} seconds; {_LEAST_S:g} to {_MOST_S:g} can be added.", field=field, value=seconds
        )
    return seconds
