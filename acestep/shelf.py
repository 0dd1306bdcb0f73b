"""Loaded models, least recently used first, within a budget of bytes.

In: renderers that were loaded, sizes of those that will be. Out: room for the next one, and the networks it can take
over from those that are here. Refuses to load anything and to know which model is wanted.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from acestep.checkpoints.family import TEXT_ENCODER, VAE
from acestep.checkpoints.files import files_in, folder_of
from acestep.checkpoints.registry import parts_of
from acestep.checkpoints.rows import ModelSpec
from acestep.devices import CPU, DeviceFacts, free_cache, weight_bytes
from acestep.render import Renderer

CUDA_WORKING_SHARE = 4  # a quarter of a GPU's memory is for activations; the codec alone takes up to half of that
CUDA_WORKING_BYTES_MIN = 2_000_000_000
CPU_KEPT_SHARE = 2  # half of what the host has free is for weights; the rest is for activations and everybody else
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Held:
    renderer: Renderer
    root: Path


def weights_budget(facts: DeviceFacts) -> int:
    """Bytes of weights that may stay loaded on a device: what is free, less room to work in."""
    if facts.kind == CPU:
        return facts.free // CPU_KEPT_SHARE
    working = max(facts.memory // CUDA_WORKING_SHARE, CUDA_WORKING_BYTES_MIN)
    return max(facts.free - working, 0)


def bytes_to_load(spec: ModelSpec, root: Path, width: int, shared: Iterable[str] = ()) -> int:
    """About how many bytes the networks of ``spec`` will take: those of its files, in another width.

    Args:
        root: weights folder that has them.
        width: bytes per weight once loaded.
        shared: parts that need not be loaded.
    """
    own, vae, text_encoder, *others = parts_of(spec)
    parts = {"": own, VAE: vae, TEXT_ENCODER: text_encoder, **{part.name: part for part in others}}
    return sum(
        path.stat().st_size * width // part.scale.width
        for role, part in parts.items()
        if role not in shared
        for path in files_in(part.layout, folder_of(part, root))
        if path.suffix == ".safetensors"
    )


class Shelf:
    """Models that stay loaded.

    Args:
        budget: bytes of weights. One model may exceed it; it is then kept alone.
    """

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self._held: dict[ModelSpec, _Held] = {}

    @property
    def names(self) -> list[str]:
        """Names of the models that are loaded, least recently used first."""
        return [spec.name for spec in self._held]

    @property
    def size(self) -> int:
        """Bytes of their weights, shared networks counted once."""
        return self._size(())

    def get(self, spec: ModelSpec) -> Renderer | None:
        """The renderer of ``spec``, which is now the most recently used, or None."""
        held = self._held.pop(spec, None)
        if held is None:
            return None
        self._held[spec] = held
        return held.renderer

    def put(self, spec: ModelSpec, renderer: Renderer, root: Path) -> None:
        """Keep a model that was just loaded from the weights folder ``root``."""
        self._held[spec] = _Held(renderer, root)

    def shared_parts(self, spec: ModelSpec, root: Path) -> dict[str, object]:
        """Parts of the models that are here which ``spec`` would load from the very same folders."""
        parts: dict[str, object] = {}
        for held in self._held.values():
            if held.root == root:
                parts |= held.renderer.family.parts_for(spec)
        return parts

    def make_room(self, needed: int, shared: Mapping[str, object] | None = None) -> None:
        """Drop the least recently used models until ``needed`` bytes more fit; those at work stay.

        Args:
            needed: bytes that are about to be loaded.
            shared: parts that the newcomer takes over, which therefore stay too.
        """
        spared = [part for part in (shared or {}).values() if isinstance(part, nn.Module)]
        while self._size(spared) + needed > self.budget:
            idle = next((spec for spec, held in self._held.items() if not held.renderer.busy), None)
            if idle is None:
                return
            before = self._size(spared)
            del self._held[idle]
            free_cache()
            logger.info("Evicted %s: %s bytes freed", idle.name, f"{before - self._size(spared):,}")

    def clear(self) -> None:
        """Drop every model that is not at work."""
        self._held = {spec: held for spec, held in self._held.items() if held.renderer.busy}
        free_cache()

    def _size(self, besides: Iterable[nn.Module]) -> int:
        networks = [network for held in self._held.values() for network in held.renderer.family.networks.values()]
        return sum(map(weight_bytes, {id(network): network for network in (*networks, *besides)}.values()))
