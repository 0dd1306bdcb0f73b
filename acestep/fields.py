"""Parameters whose whole rule is a range or a list, and whom they belong to. One row each; ``request`` applies them.

In: ``GenerationParams`` and who is at work. Out: errors for values out of bounds, one sentence for every value that
was given but cannot act. Parameters with rules of their own (seed, duration, key, sampling) are judged elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from acestep.errors import InputError
from acestep.params import GenerationParams
from acestep.tasks import Task


@dataclass(frozen=True, slots=True)
class Field:
    """One parameter.

    Attributes:
        name: in ``GenerationParams``.
        owner: who reads it, as the end of "it belongs to ...".
        low, high: allowed numbers, both included; None where ``choices`` or a plain type rules.
        whole: True for whole numbers.
        choices: allowed texts.
    """

    name: str
    owner: str
    low: float | None = None
    high: float | None = None
    whole: bool = False
    choices: tuple[str, ...] = ()


FIRST_FAMILY = "the v1-3.5B models"
SECOND_FAMILY = "the ACE-Step 1.5 models"
PLANNER = "the planner, which is not asked"
EDITING = "tasks, each of which reads some"
CORRECTION = "wavelet correction, which is off"

CONTINUATION_MODES = ("extend_start", "extend_end", "extend_both", "inpaint_middle")
LYRIC_DETECTIONS = ("script", "upstream")
ACCOMPANIMENT_STYLES = ("matching", "jazz", "rock", "electronic", "classical", "pop", "folk")

FIELDS = (
    Field("repainting_start", EDITING, -600, 3600),
    Field("repainting_end", EDITING, -1, 3600),
    Field("continuation_mode", EDITING, choices=CONTINUATION_MODES),
    Field("extend_duration", EDITING, 1, 600),
    Field("extend_start_duration", EDITING, 1, 600),
    Field("style_prompt", EDITING),
    Field("style_lyrics", EDITING),
    Field("style_strength", EDITING, 0, 1),
    Field("audio2audio_strength", EDITING, 0, 1),
    Field("preserve_vocals", EDITING),
    Field("audio_cover_strength", EDITING, 0, 1),
    Field("cover_noise_strength", EDITING, 0, 1),
    Field("track_name", EDITING),
    Field("mix", EDITING),
    Field("remainder", EDITING),
    Field("accompaniment_style", EDITING, choices=ACCOMPANIMENT_STYLES),
    Field("edit_n_min", EDITING, 0, 1),
    Field("edit_n_max", EDITING, 0, 1),
    Field("edit_n_avg", EDITING, 1, 8, whole=True),
    Field("omega_scale", FIRST_FAMILY, -100, 100),
    Field("use_erg_tag", FIRST_FAMILY),
    Field("use_erg_lyric", FIRST_FAMILY),
    Field("use_erg_diffusion", FIRST_FAMILY),
    Field("guidance_scale_text", FIRST_FAMILY, 0, 30),
    Field("guidance_scale_lyric", FIRST_FAMILY, 0, 30),
    Field("guidance_interval", FIRST_FAMILY, 0, 1),
    Field("guidance_interval_decay", FIRST_FAMILY, 0, 1),
    Field("min_guidance_scale", FIRST_FAMILY, 0, 30),
    Field("oss_steps", FIRST_FAMILY),
    Field("lyric_detection", FIRST_FAMILY, choices=LYRIC_DETECTIONS),
    Field("lora_weight", FIRST_FAMILY, 0, 2),
    Field("generate_accompaniment", EDITING),
    Field("variation_strength", EDITING, 0, 1),
    Field("instruction", SECOND_FAMILY),
    Field("bpm", SECOND_FAMILY),
    Field("keyscale", SECOND_FAMILY),
    Field("timesignature", SECOND_FAMILY),
    Field("reference_audio", SECOND_FAMILY),
    Field("dcw_scaler", CORRECTION, 0, 1),
    Field("dcw_high_scaler", CORRECTION, 0, 1),
    Field("lm_temperature", PLANNER, 0, 2),
    Field("lm_cfg_scale", PLANNER, 1, 10),
    Field("lm_top_k", PLANNER, 0, 64_000, whole=True),
    Field("lm_top_p", PLANNER, 0.01, 1),
    Field("lm_repetition_penalty", PLANNER, 1, 2),
    Field("lm_negative_prompt", PLANNER),
    Field("use_cot_metas", PLANNER),
    Field("use_cot_caption", PLANNER),
    Field("use_cot_language", PLANNER),
    Field("use_cot_lyrics", PLANNER),
    Field("use_constrained_decoding", PLANNER),
)
_DEFAULTS = GenerationParams()


def check_fields(params: GenerationParams) -> None:
    """Judge every row's value, whether it will act or not.

    Raises:
        InputError: out of range, or not one of the choices.
    """
    for field in FIELDS:
        value = getattr(params, field.name)
        if value == getattr(_DEFAULTS, field.name):
            continue
        if field.choices and value not in field.choices:
            raise InputError.unknown(field.name, value, field.choices)
        if field.low is not None and field.high is not None:
            check_number(field.name, value, field.low, field.high, whole=field.whole)


def without_effect(params: GenerationParams, owners: frozenset[str]) -> Iterator[str]:
    """One sentence for every value that was changed although nobody reads it.

    Args:
        owners: who is absent from this run.
    """
    for field in FIELDS:
        if field.owner in owners and getattr(params, field.name) != getattr(_DEFAULTS, field.name):
            yield f"{field.name} has no effect: it belongs to {field.owner}."


def unread(params: GenerationParams, task: Task) -> Iterator[str]:
    """One sentence for every value of the ``EDITING`` rows that was changed although the task does not read it."""
    for field in FIELDS:
        unused = field.owner == EDITING and field.name not in task.parameters
        if unused and getattr(params, field.name) != getattr(_DEFAULTS, field.name):
            yield f"{field.name} has no effect on task_type {task.name!r}."


def check_number(name: str, value: float, low: float, high: float, *, whole: bool = False) -> float:
    """``value``, a number from ``low`` to ``high``.

    Raises:
        InputError: NaN or out of range.
    """
    if not low <= value <= high:
        kind = "a whole number" if whole else "a number"
        raise InputError.must(name, f"be {kind} from {low:g} to {high:g}", value)
    return value
