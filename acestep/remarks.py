"""What a call should be told although it can run: values that nothing reads, values the models were not trained on.

In: ``GenerationParams``, ``GenerationConfig``, the task's row, the parsed metadata. Out: one sentence each, for the
log and the recipe. Refuses to judge: what is wrong about a call is an error of ``request``. Imports no torch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from acestep import linting
from acestep.checkpoints import rows
from acestep.constants import CAPTION_CHARS_ADVISED, DURATION_DEFAULT_S, INSTRUMENTAL_LYRICS
from acestep.editing.order import BOTH, MIDDLE, target_words
from acestep.fields import CORRECTION, FIRST_FAMILY, PLANNER, SECOND_FAMILY, unread, without_effect
from acestep.metadata import UNUSUAL_METERS
from acestep.params import GenerationConfig, GenerationParams
from acestep.planner.order import idle
from acestep.planner.plan import NOTHING_FIXED, Metadata, code_count
from acestep.tasks import DEFAULT_TASK, Region, Task, is_own
from acestep.v1.adapter_source import OFF
from acestep.v1.lyrics import SUPPORTED, advice

_COG_DURATION_S = DURATION_DEFAULT_S  # what a caller who says nothing about the length has said
_DEFAULTS = GenerationParams()
_UNREAD_BY = {rows.FIRST: SECOND_FAMILY, rows.SECOND: FIRST_FAMILY}  # whose parameters


def remarks(
    params: GenerationParams,
    config: GenerationConfig,
    task: Task,
    metadata: Metadata,
    generation: rows.Generation = rows.SECOND,
    *,
    asks_planner: bool,
) -> Iterator[str]:
    """Every remark about a call.

    Args:
        generation: of the model that will play.
        asks_planner: whether a planner is at work.
    """
    yield from _advice(params, metadata)
    yield from _WORDS[generation](params, task, metadata)
    yield from _idle(params, config, task, generation, asks_planner=asks_planner)


def _idle(
    params: GenerationParams, config: GenerationConfig, task: Task, generation: rows.Generation, *, asks_planner: bool
) -> Iterator[str]:
    """One sentence for every value that was changed although nothing reads it in this call."""
    corrects = generation.corrects and params.dcw_mode != _DEFAULTS.dcw_mode
    there = {PLANNER: asks_planner, CORRECTION: corrects, _UNREAD_BY[generation]: False}
    absent = frozenset(owner for owner, is_there in there.items() if not is_there)
    own = params if is_own(params.instruction) else replace(params, instruction=_DEFAULTS.instruction)
    yield from without_effect(own, absent)
    yield from unread(params, task)
    if asks_planner:
        yield from idle(params, config)
    yield from _idle_length(params, task)
    yield from _idle_variation(params, task)
    yield from _idle_adapter(params, generation)
    if task.wordless and params.lyrics.strip():
        yield f"lyrics has no effect on task_type {task.name!r}: nobody sings in the accompaniment."
    if params.preserve_vocals and task.takes_voice:
        if params.style_lyrics.strip():
            yield "style_lyrics has no effect: preserve_vocals keeps the voice of the recording."
        if params.mix and task.adds:
            yield "mix has no effect: preserve_vocals mixes the voice with what is made."
    if params.audio_codes.strip() and not task.plays_codes:
        yield f"audio_codes has no effect on task_type {task.name!r}."
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
    mode = params.continuation_mode
    grown, placed = ("extend_duration", "extend_start_duration"), ("repainting_start", "repainting_end")
    for name in {MIDDLE: grown, BOTH: placed}.get(mode, (*placed, "extend_start_duration")):
        if getattr(params, name) != getattr(_DEFAULTS, name):
            yield f"{name} has no effect: continuation_mode is {mode}."


def _idle_variation(params: GenerationParams, task: Task) -> Iterator[str]:
    """A sentence about the seed of a second noise that is not mixed in."""
    if params.variation_seed == _DEFAULTS.variation_seed:
        return
    if "variation_seed" not in task.parameters:
        yield f"variation_seed has no effect on task_type {task.name!r}."
    elif not params.variation_strength:
        yield "variation_seed has no effect: variation_strength is 0."


def _idle_adapter(params: GenerationParams, generation: rows.Generation) -> Iterator[str]:
    """A sentence about half of an adapter: its name without a weight, or a weight without its name."""
    name = params.lora_name_or_path.strip()
    if name.casefold() in {"", OFF}:
        if generation.takes_adapters and params.lora_weight != _DEFAULTS.lora_weight:
            yield f"lora_weight has no effect: lora_name_or_path is {OFF}."
    elif not params.lora_weight:
        yield "lora_name_or_path has no effect: lora_weight is 0."


def _words(params: GenerationParams, task: Task, metadata: Metadata) -> tuple[str, ...]:
    """What the linter warns of in the words of a new song; where a recording is given, that says the most."""
    if task.name != DEFAULT_TASK or params.simple_query or params.audio_codes:
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


def _first_words(params: GenerationParams, task: Task, metadata: Metadata) -> tuple[str, ...]:
    """What models of the first generation do not read as it is meant."""
    lyrics = target_words(params, task).lyrics
    if params.instrumental or task.wordless or lyrics.strip() == INSTRUMENTAL_LYRICS:
        return ()
    if metadata.language in {NOTHING_FIXED.language, *SUPPORTED}:
        return advice(lyrics)
    foreign = f"vocal_language {metadata.language!r} is none of v1's; the language of each line is found instead."
    return (foreign, *advice(lyrics))


_WORDS = {rows.FIRST: _first_words, rows.SECOND: _words}


def _advice(params: GenerationParams, metadata: Metadata) -> Iterator[str]:
    """Sentences about values that are allowed but not what the models were trained on."""
    if len(params.caption) > CAPTION_CHARS_ADVISED:
        yield f"caption has {len(params.caption)} characters; beyond {CAPTION_CHARS_ADVISED} details tend to be lost."
    if metadata.timesignature in UNUSUAL_METERS:
        yield f"timesignature {metadata.timesignature} is outside what the models were trained on."
