"""Which models are here, which fit this machine, and what ``auto`` would take for each task.

In: the registry, weights folders, a device. Out: rows of facts for a door to show. Refuses to load anything.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from acestep.checkpoints.choose import AUTO, choose_model
from acestep.checkpoints.integrity import Found, State, inspect
from acestep.checkpoints.registry import LANGUAGE_MODELS, MODELS, parts_of
from acestep.checkpoints.rows import HubFolder, ModelSpec
from acestep.devices import choose_placement
from acestep.errors import DeviceMemoryError
from acestep.tasks import TASKS

_CPU_BYTES = 4  # per weight: the CPU computes in fp32
_CPU_SPARE = 1.15  # of the weights; measured peak while loading


@dataclass(frozen=True, slots=True)
class Machine:
    """What would compute.

    Attributes:
        device: ``cuda`` or ``cpu``.
        memory: bytes of the GPU, or of the host when the CPU computes.
        why: why this device.
    """

    device: torch.device
    memory: int
    why: str


@dataclass(frozen=True, slots=True)
class ModelRow:
    """One model.

    Attributes:
        name, role: as in the registry; ``transformer`` or ``language model``.
        size: bytes of its own folder: on disk, or about how many it will be.
        state: of its folder and those it shares, the worst of them.
        fits: ``yes``, ``with offload``, ``slow`` (on the CPU) or ``no``.
    """

    name: str
    role: str
    size: int
    state: str
    fits: str


@dataclass(frozen=True, slots=True)
class ChoiceRow:
    """What ``auto`` takes for some tasks; ``model`` is "" where it refuses, and ``reason`` says why."""

    tasks: tuple[str, ...]
    model: str
    here: bool
    reason: str


def this_machine(device: str = "auto") -> Machine:
    """The machine this runs on.

    Raises:
        DeviceError: the device is not there or too old.
    """
    placement = choose_placement(device)
    if placement.device.type == "cuda":
        memory = torch.cuda.get_device_properties(placement.device).total_memory
    else:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Machine(placement.device, memory, placement.reason)


def model_rows(machine: Machine, roots: Sequence[Path]) -> list[ModelRow]:
    """One row per model that was published or ships with this project; ``roots`` are searched in order."""
    tables = (("transformer", MODELS), ("language model", LANGUAGE_MODELS))
    return [_model_row(row, role, machine, roots) for role, table in tables for row in table.values() if row.released]


def choice_rows(machine: Machine, roots: Sequence[Path]) -> list[ChoiceRow]:
    """What ``auto`` would take on this machine, tasks with the same answer together."""
    answers: dict[tuple[str, str], list[str]] = {}
    for task in TASKS:
        answers.setdefault(_choice(machine, task), []).append(task)
    return [
        ChoiceRow(tuple(tasks), model, bool(model) and _is_here(MODELS[model], roots), reason)
        for (model, reason), tasks in answers.items()
    ]


def fits(row: HubFolder, machine: Machine) -> str:
    """Whether a model can run on this machine, by the figures of the registry."""
    if row.embedded:
        return "yes"
    if machine.device.type == "cpu":
        weights = sum(part.scale.parameters for part in parts_of(row)) * _CPU_BYTES
        return "slow" if weights * _CPU_SPARE <= machine.memory else "no"
    if machine.memory >= row.scale.memory:
        return "yes"
    return "with offload" if machine.memory >= row.scale.memory_offloaded else "no"


def _choice(machine: Machine, task: str) -> tuple[str, str]:
    try:
        spec, reason = choose_model(AUTO, machine.device, task)
    except DeviceMemoryError as error:
        return "", str(error)
    return spec.name, reason


def _model_row(row: HubFolder, role: str, machine: Machine, roots: Sequence[Path]) -> ModelRow:
    own, state = _find(row, roots)
    size = own.size if own.state.usable else row.scale.size
    return ModelRow(row.name, role, size, state.value, fits(row, machine))


def _find(row: HubFolder, roots: Sequence[Path]) -> tuple[Found, State]:
    """The folder of ``row``, and the worst state of its parts, in the first root that has them all or else any."""
    views = [[inspect(part, root) for part in parts_of(row)] for root in roots]
    best = next((view for view in views if all(found.state.usable for found in view)), None)
    best = best or next((view for view in views if view[0].state is not State.ABSENT), views[0])
    order = list(State)  # from best to worst
    return best[0], max((found.state for found in best), key=order.index)


def _is_here(spec: ModelSpec, roots: Sequence[Path]) -> bool:
    return _find(spec, roots)[1].usable
