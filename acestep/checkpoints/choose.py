"""Which models ``auto`` means on a machine, and why. A named model is never swapped for another.

In: a name, the facts of a device, a task. Out: a ``Choice``. Refuses to load anything.

    GPU memory   transformer            offload   language model
    below 4 GB   none: an error
    4 to 6 GB    turbo or base          yes       none
    6 to 8 GB    turbo or base          yes       0.6B
    from 8 GB    turbo or base          no        1.7B (4B by name alone)
    no GPU       tiny or tiny-base      no        tiny

Base models are for the tasks that turbo models were not trained for; a LoRA of the registry brings the model it was
made for, where there is a GPU. The table is for 16-bit weights: a GPU that
computes in fp32 counts for half its memory.
"""

from __future__ import annotations

from dataclasses import dataclass

from acestep.checkpoints.registry import (
    DEFAULT_BASE_MODEL,
    DEFAULT_LANGUAGE_MODEL,
    DEFAULT_MODEL,
    EMBEDDED_BASE_MODEL,
    EMBEDDED_LANGUAGE_MODEL,
    EMBEDDED_MODEL,
    MODELS,
    SMALL_LANGUAGE_MODEL,
    language_model_named,
    model_named,
)
from acestep.checkpoints.registry_v1 import ADAPTERS
from acestep.checkpoints.rows import HubFolder, ModelSpec
from acestep.devices import AUTO, CUDA, DTYPES, DeviceFacts, natural_dtype
from acestep.errors import DeviceMemoryError

MEMORY_MIN_BYTES = 4_000_000_000
PLANNER_MIN_BYTES = 6_000_000_000
RESIDENT_MIN_BYTES = 8_000_000_000
NO_PLANNER = "none"
_USUAL_WIDTH = 2  # bytes per weight the figures above are for


@dataclass(frozen=True, slots=True)
class Choice:
    """What to load.

    Attributes:
        model: row of the transformer.
        language_model: row of the planner that goes with it, or None where none fits.
        offload: True where only one network at a time fits on the device.
        reason: why, in one clause.
    """

    model: ModelSpec
    language_model: HubFolder | None
    offload: bool
    reason: str


def choose(
    name: str,
    facts: DeviceFacts,
    task: str | None = None,
    *,
    preserve_vocals: bool = False,
    adapter: str = "",
    width: int | None = None,
) -> Choice:
    """The models to load.

    Args:
        name: a registry name, or ``auto``.
        facts: of the device that will compute.
        task: name of the task, when known.
        preserve_vocals: stems will be taken apart, which only base models can do.
        adapter: name of a LoRA; one of the registry decides which model it goes with.
        width: bytes per weight in the compute dtype; None is the device's natural one.

    Raises:
        InputError: unknown name.
        DeviceMemoryError: ``auto`` on a GPU with less than 4 GB.
    """
    usable = usable_memory(facts, width)
    if name != AUTO:
        spec = model_named(name)
        return Choice(spec, _planner_for(spec, facts, usable), offload=False, reason="asked for by name")
    if facts.kind != CUDA:
        turbo, base, offload = EMBEDDED_MODEL, EMBEDDED_BASE_MODEL, False
    elif usable < MEMORY_MIN_BYTES:
        raise _too_small(facts, usable)
    else:
        turbo, base, offload = DEFAULT_MODEL, DEFAULT_BASE_MODEL, usable < RESIDENT_MIN_BYTES
    if facts.kind == CUDA and (made_for := _made_for(adapter)):
        spec = MODELS[made_for]
        return Choice(spec, None, usable < spec.scale.memory, f"auto: the model of {adapter}")
    needs_base = preserve_vocals or not (task is None or task in turbo.variant.tasks)
    spec = base if needs_base else turbo
    return Choice(spec, _planner_for(spec, facts, usable), offload, _reason(facts, usable, offload))


def planner_named(name: str, suited: HubFolder | None) -> HubFolder | None:
    """The language model that ``name`` means, or None.

    Args:
        name: a registry name, ``none``, or ``auto``.
        suited: what ``auto`` is.

    Raises:
        InputError: unknown model name.
    """
    return {AUTO: suited, NO_PLANNER: None}[name] if name in (AUTO, NO_PLANNER) else language_model_named(name)


def usable_memory(facts: DeviceFacts, width: int | None = None) -> int:
    """Memory of a device in terms of 16-bit weights, in which every table is written.

    Args:
        width: bytes per weight in the compute dtype; None is the device's natural one. The CPU's figure is as it is.
    """
    if facts.kind != CUDA:
        return facts.memory
    return facts.memory * _USUAL_WIDTH // (width or DTYPES[natural_dtype(facts)].itemsize)


def _made_for(adapter: str) -> str:
    """Name of the model that a LoRA of the registry, whichever file and commit of it, was made for; else ""."""
    repository = "/".join(adapter.strip().partition("@")[0].split("/")[:2])
    return ADAPTERS.get(repository, "")


def _planner_for(spec: ModelSpec, facts: DeviceFacts, usable: int) -> HubFolder | None:
    if not spec.variant.generation.planned:
        return None
    if spec.embedded:
        return EMBEDDED_LANGUAGE_MODEL
    if facts.kind != CUDA or usable < PLANNER_MIN_BYTES:
        return None
    return SMALL_LANGUAGE_MODEL if usable < RESIDENT_MIN_BYTES else DEFAULT_LANGUAGE_MODEL


def _reason(facts: DeviceFacts, usable: int, offload: bool) -> str:
    if facts.kind != CUDA:
        return f"auto: {facts.why}"
    wide = " that computes in fp32" if usable < facts.memory else ""
    room = ", one network at a time" if offload else ""
    return f"auto: CUDA device with {facts.memory / 1e9:.1f} GB{wide}{room}"


def _too_small(facts: DeviceFacts, usable: int) -> DeviceMemoryError:
    wide = usable < facts.memory
    needed = MEMORY_MIN_BYTES * (2 if wide else 1)
    return DeviceMemoryError(
        f"model 'auto' needs a GPU with at least {needed / 1e9:.0f} GB{' when it computes in fp32' if wide else ''}, "
        f"this one has {facts.memory / 1e9:.1f} GB; name {EMBEDDED_MODEL.name!r} to try the road without music "
        "worth keeping."
    )
