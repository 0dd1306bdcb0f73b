"""What a call should be told although it can run: values that nothing reads, values the models were not trained on.

In: ``GenerationParams``, ``GenerationConfig``, the task's row, the parsed metadata. Out: one sentence each, for the
log and the recipe. Refuses to judge: what is wrong about a call is an error of ``request``. Imports no torch.
"""

from __future__ import annotations

from collections.abc import Iterator

from acestep import linting
from acestep.constants import CAPTION_CHARS_ADVISED, DURATION_DEFAULT_S
from acestep.editing.order import MIDDLE
from acestep.fields import CORRECTION, FIRST_FAMILY, PLANNER, unread, without_effect
from acestep.metadata import UNUSUAL_METERS
from acestep.params import GenerationConfig, GenerationParams
from acestep.planner.order import idle
from acestep.planner.plan import Metadata, code_count
from acestep.tasks import DEFAULT_TASK, Region, Task

_COG_DURATION_S = DURATION_DEFAULT_S  # what a caller who says nothing about the length has said
_DEFAULTS = GenerationParams()


def remarks(
    params: GenerationParams, config: GenerationConfig, task: Task, metadata: Metadata, *, asks_planner: bool
) -> Iterator[str]:
    """Every remark about a call.

    Args:
        asks_planner: whether a planner is at work.
    """
    yield from _advice(params, metadata)
    if task.name == DEFAULT_TASK:  # of other tasks a recording says the most
        yield from _words(params, metadata)
    yield from _idle(params, config, task, asks_planner=asks_planner)


def _idle(params: GenerationParams, config: GenerationConfig, task: Task, *, asks_planner: bool) -> Iterator[str]:
    """One sentence for every value that was changed although nothing reads it in this call."""
    absent = {FIRST_FAMILY} | ({PLANNER} if not asks_planner else set())
    yield from without_effect(params, frozenset(absent if params.dcw_mode != "off" else absent | {CORRECTION}))
    yield from unread(params, task)
    if asks_planner:
        yield from idle(params, config)
    yield from _idle_length(params, task)
    if params.preserve_vocals and task.takes_voice:
        if params.style_lyrics.strip():
            yield "style_lyrics has no effect: preserve_vocals keeps the voice of the recording."
        if params.mix and task.adds:
            yield "mix has no effect: preserve_vocals mixes the voice with what is made."
    if params.audio_codes.strip() and not task.plays_codes:
        yield f"audio_codes has no effect on task_type {task.name!r}."
    if params.variation_seed != _DEFAULTS.variation_seed and not params.variation_strength:
        yield "variation_seed has no effect: variation_strength is 0."
    defaults = GenerationConfig()
    for name in ("allow_lm_batch", "lm_batch_chunk_size", "constrained_decoding_debug"):
        if not asks_planner and getattr(config, name) != getattr(defaults, name):
            yield f"{name} has no effect: it belongs to {PLANNER}."


def _idle_length(params: GenerationParams, task: Task) -> Iterator[str]:
    """Sentences about a length, or a place, that something else decides."""
    seconds, codes = params.duration or 0, params.audio_codes.count("<|audio_code_")
    if codes and task.plays_codes:
        if seconds > 0 and code_count(seconds) != codes and not (task.needs_source and seconds == _COG_DURATION_S):
            yield "duration has no effect: audio_codes decides the length."
        if task.needs_source and params.src_audio:
            yield "src_audio has no effect: audio_codes are given."
    elif task.needs_source and seconds > 0 and seconds != _COG_DURATION_S:
        yield "duration has no effect: src_audio decides the length."
    if task.region is not Region.GROWN:
        return
    middle = params.continuation_mode == MIDDLE
    for name in ("extend_duration",) if middle else ("repainting_start", "repainting_end"):
        if getattr(params, name) != getattr(_DEFAULTS, name):
            yield f"{name} has no effect: continuation_mode is {params.continuation_mode}."


def _words(params: GenerationParams, metadata: Metadata) -> tuple[str, ...]:
    """What the linter warns of in the words of a new song."""
    if params.simple_query or params.audio_codes:
        return ()
    return linting.remarks(
        params.caption,
        params.lyrics,
        bpm=metadata.bpm,
        keyscale=metadata.keyscale,
        timesignature=metadata.timesignature,
        duration=metadata.duration,
        vocal_language=metadata.language,
        instrumental=params.instrumental,
    )


def _advice(params: GenerationParams, metadata: Metadata) -> Iterator[str]:
    """Sentences about values that are allowed but not what the models were trained on."""
    if len(params.caption) > CAPTION_CHARS_ADVISED:
        yield f"caption has {len(params.caption)} characters; beyond {CAPTION_CHARS_ADVISED} details tend to be lost."
    if metadata.timesignature in UNUSUAL_METERS:
        yield f"timesignature {metadata.timesignature} is outside what the models were trained on."
