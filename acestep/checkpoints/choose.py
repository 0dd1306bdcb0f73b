"""Which model ``auto`` means on this machine, and why. A named model is never swapped for another."""

from __future__ import annotations

import torch

from acestep.checkpoints.registry import (
    DEFAULT_BASE_MODEL,
    DEFAULT_MODEL,
    EMBEDDED_BASE_MODEL,
    EMBEDDED_MODEL,
    ModelSpec,
    model_named,
)
from acestep.errors import DeviceMemoryError

AUTO = "auto"
MEMORY_MIN_BYTES = 4_000_000_000


def choose_model(name: str, device: torch.device, task: str | None = None) -> tuple[ModelSpec, str]:
    """The registry row to load.

    Args:
        name: a registry name, or ``auto``.
        device: that will compute.
        task: name of the task, when known; stem tasks need a base model.

    Returns:
        The row, and the reason in one clause.

    Raises:
        InputError: unknown name.
        DeviceMemoryError: ``auto`` on a GPU with less than 4 GB.
    """
    if name != AUTO:
        return model_named(name), "asked for by name"
    if device.type != "cuda":
        choices, why = (
            (EMBEDDED_MODEL, EMBEDDED_BASE_MODEL),
            "auto: no CUDA device",
        )
    else:
        memory = torch.cuda.get_device_properties(device).total_memory
        if memory < MEMORY_MIN_BYTES:
            raise DeviceMemoryError(
                f"model 'auto' needs a GPU with at least 4 GB, this one has {memory / 1e9:.1f} GB; "
                f"name {EMBEDDED_MODEL.name!r} to try the road without music worth keeping."
            )
        choices, why = (DEFAULT_MODEL, DEFAULT_BASE_MODEL), f"auto: CUDA device with {memory / 1e9:.0f} GB"
    for spec in choices:
        if task is None or task in spec.variant.tasks:
            return spec, why
    return choices[-1], why
