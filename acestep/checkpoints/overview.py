"""Which models are here, which fit this machine, and what ``auto`` would take for each task.

In: the registry, weights folders, facts of a device. Out: rows of facts for a door to show. Refuses to load anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from acestep.checkpoints.choose import Choice, choose, usable_memory
from acestep.checkpoints.integrity import Found, State, inspect
from acestep.checkpoints.registry import LANGUAGE_MODELS, MODELS, parts_of
from acestep.checkpoints.rows import HubFolder
from acestep.devices import AUTO, CPU, DeviceFacts
from acestep.errors import DeviceMemoryError
from acestep.tasks import TASKS

_CPU_BYTES = 4  # per weight: the CPU computes in fp32
_CPU_SPARE = 1.15  # of the weights; measured peak while loading


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
    """What ``auto`` takes for some tasks.

    Attributes:
        tasks: their names.
        model: of the transformer; "" where ``auto`` refuses.
        language_model: of the planner; "" where there is room for none.
        offload: whether one network at a time will be on the device.
        here: whether the weights of both are whole on disk.
        reason: why, or why nothing.
    """

    tasks: tuple[str, ...]
    model: str
    language_model: str
    offload: bool
    here: bool
    reason: str


def model_rows(facts: DeviceFacts, roots: Sequence[Path]) -> list[ModelRow]:
    """One row per model that was published or ships with this project; ``roots`` are searched in order."""
    tables = (("transformer", MODELS), ("language model", LANGUAGE_MODELS))
    return [_model_row(row, role, facts, roots) for role, table in tables for row in table.values() if row.released]


def choice_rows(facts: DeviceFacts, roots: Sequence[Path]) -> list[ChoiceRow]:
    """What ``auto`` would take on this machine, tasks with the same answer together."""
    answers: dict[Choice | str, list[str]] = {}
    for task in TASKS:
        answers.setdefault(_choice(facts, task), []).append(task)
    return [_choice_row(answer, tuple(tasks), roots) for answer, tasks in answers.items()]


def fits(row: HubFolder, facts: DeviceFacts) -> str:
    """Whether a model can run on this machine, by the figures of the registry."""
    if row.embedded:
        return "yes"
    if facts.kind == CPU:
        weights = sum(part.scale.parameters for part in parts_of(row)) * _CPU_BYTES
        return "slow" if weights * _CPU_SPARE <= facts.memory else "no"
    usable = usable_memory(facts)
    if usable >= row.scale.memory:
        return "yes"
    return "with offload" if usable >= row.scale.memory_offloaded else "no"


def _choice(facts: DeviceFacts, task: str) -> Choice | str:
    """The choice, or why there is none."""
    try:
        return choose(AUTO, facts, task)
    except DeviceMemoryError as error:
        return str(error)


def _choice_row(answer: Choice | str, tasks: tuple[str, ...], roots: Sequence[Path]) -> ChoiceRow:
    if isinstance(answer, str):
        return ChoiceRow(tasks, "", "", offload=False, here=False, reason=answer)
    planner = answer.language_model
    rows = [answer.model, *([planner] if planner else [])]
    here = all(_find(row, roots)[1].usable for row in rows)
    return ChoiceRow(tasks, answer.model.name, planner.name if planner else "", answer.offload, here, answer.reason)


def _model_row(row: HubFolder, role: str, facts: DeviceFacts, roots: Sequence[Path]) -> ModelRow:
    own, state = _find(row, roots)
    size = own.size if own.state.usable else row.scale.size
    return ModelRow(row.name, role, size, state.value, fits(row, facts))


def _find(row: HubFolder, roots: Sequence[Path]) -> tuple[Found, State]:
    """The folder of ``row``, and the worst state of its parts, in the first root that has them all or else any."""
    views = [[inspect(part, root) for part in parts_of(row)] for root in roots]
    best = next((view for view in views if all(found.state.usable for found in view)), None)
    best = best or next((view for view in views if view[0].state is not State.ABSENT), views[0])
    order = list(State)  # from best to worst
    return best[0], max((found.state for found in best), key=order.index)
