"""``AceStepHandler``: the facade over the loaded models. Owns which one is current, where it computes, which stay.

In: a model name or folder, a device. Out: a renderer that plays plans. Refuses to know requests' meaning and files.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from pathlib import Path

from acestep.checkpoints.choose import choose, planner_named
from acestep.checkpoints.family import Report, find_weights
from acestep.checkpoints.provide import Say, provide
from acestep.checkpoints.registry import ModelSpec, smaller_than
from acestep.checkpoints.rows import HubFolder
from acestep.devices import AUTO, CPU, CUDA, DeviceFacts, Placement, Residency, device_facts, place
from acestep.engines import engine_of
from acestep.errors import NotLoadedError
from acestep.memory import out_of_memory_explained
from acestep.render import Renderer
from acestep.shelf import Shelf, bytes_to_load, weights_budget

OFFLOAD_ON_CPU = "offload_to_cpu has no effect on the CPU, where the networks are already."
logger = logging.getLogger(__name__)


class AceStepHandler:
    """Loads models on demand. One is current; those before it stay loaded while their weights fit.

    Attributes:
        reason: why the current model was chosen, in one clause.

    Example:
        >>> handler = AceStepHandler()
        >>> status, ok = handler.initialize_service(project_root=".", config_path="tiny", device="cpu")
    """

    def __init__(self) -> None:
        self._service: _Service | None = None
        self._current: ModelSpec | None = None
        self.reason = ""

    def initialize_service(
        self,
        project_root: str | Path = ".",
        config_path: str = "auto",
        device: str = "auto",
        offload_to_cpu: bool = False,
        dtype: str | None = None,
        report: Report | None = None,
        weights_bytes: int | None = None,
        download: Say | None = None,
        download_later: bool = False,
        task: str | None = None,
        fetch_adapters: bool = True,
    ) -> tuple[str, bool]:
        """Load a model, in the place of all that were loaded.

        Args:
            project_root: folder with ``weights/`` (or upstream's ``checkpoints/``); see ``family.find_weights``.
            config_path: a name of the registry, or ``auto``, which on a small GPU also offloads.
            device: ``auto``, ``cuda`` or ``cpu``.
            offload_to_cpu: keep only the network in use on the GPU.
            dtype: ``float32``, ``bfloat16``, ``float16``; None decides by device.
            report: called after each network with its role, seconds and bytes.
            weights_bytes: of models that may stay loaded when requests change models; None decides by what is free.
            download: fetch published weights that are not here; called with lines about it. None never does.
            download_later: do so too when a request asks for another model.
            task: what it is for; ``auto`` then is a model that can do it.
            fetch_adapters: fetch the adapters that requests name, unless they are here.

        Returns:
            One line that says what was loaded and why, and True.

        Raises:
            InputError: unknown model name, device or dtype.
            DeviceError: the device is not there, or its memory is too small.
            WeightsError: the weights are not there or broken. The model before, if any, still plays.
        """
        facts = device_facts(device)
        placement = place(facts, dtype)
        choice = choose(config_path, facts, task, width=placement.dtype.itemsize)
        _find(choice.model, Path(project_root), download)  # refused here, nothing has been let go
        later = download if download_later else None
        if self._service is not None:
            self._service.shelf.clear()
        offload = facts.kind == CUDA and (offload_to_cpu or choice.offload)
        budget = weights_bytes if weights_bytes is not None else weights_budget(_weights_host(facts, offload))
        warnings = (OFFLOAD_ON_CPU,) if offload_to_cpu and facts.kind == CPU else ()
        service = _Service(
            project_root=Path(project_root),
            name=config_path,
            facts=facts,
            placement=placement,
            offload=offload,
            report=report,
            download=later,
            fetch_adapters=fetch_adapters,
            shelf=Shelf(budget),
            warnings=warnings,
        )
        service.renderer(choice.model)
        self._service, self._current, self.reason = service, choice.model, choice.reason
        return _line(choice.model, choice.reason, placement, offload), True

    def choose(
        self, name: str, task: str, *, preserve_vocals: bool = False, adapter: str = ""
    ) -> tuple[ModelSpec, str]:
        """The model that a request for ``task`` runs on, and why; nothing is loaded.

        Args:
            name: a registry name; ``auto`` is what the handler was started with, or what suits device and task.
            preserve_vocals: whether stems will be taken apart.
            adapter: hub id of a LoRA.

        Raises:
            InputError: unknown model name.
            NotLoadedError: ``initialize_service`` has not been called.
        """
        service = self._started()
        wanted = service.name if name == AUTO else name
        width = service.placement.dtype.itemsize
        choice = choose(wanted, service.facts, task, preserve_vocals=preserve_vocals, adapter=adapter, width=width)
        return choice.model, choice.reason

    def planner_for(self, spec: ModelSpec, name: str = AUTO) -> HubFolder | None:
        """The language model that plans for ``spec``, or None where there is none.

        Args:
            name: a registry name, ``none``, or ``auto``, which is what suits the device.

        Raises:
            InputError: unknown model name.
        """
        service = self._started()
        suited = choose(spec.name, service.facts, width=service.placement.dtype.itemsize).language_model
        return planner_named(name, suited)

    def use(self, spec: ModelSpec, reason: str) -> None:
        """Make ``spec`` the current model; it is loaded only if it is not here.

        Raises:
            WeightsError: its weights are not there or broken. The model before still plays.
            DeviceMemoryError: it does not fit. The model before still plays.
        """
        self._started().renderer(spec)
        self._current, self.reason = spec, reason

    def _started(self) -> _Service:
        if self._service is None:
            raise NotLoadedError("Model not loaded: call AceStepHandler.initialize_service first.")
        return self._service

    @property
    def renderer(self) -> Renderer:
        """What plays plans. A current model that had to make room for one that then failed is loaded again.

        Raises:
            NotLoadedError: ``initialize_service`` has not been called.
        """
        return self._started().renderer(self.model)

    @property
    def model(self) -> ModelSpec:
        """Registry row of the current model.

        Raises:
            NotLoadedError: ``initialize_service`` has not been called.
        """
        self._started()
        return self._current

    @property
    def loaded(self) -> list[str]:
        """Names of the models that are loaded, least recently used first."""
        return self._started().shelf.names

    @property
    def placement(self) -> Placement:
        """Device and dtype that every model is loaded for."""
        return self._started().placement

    @property
    def offloads(self) -> bool:
        """Whether one network at a time is on the device."""
        return self._started().offload

    @property
    def can_offload(self) -> bool:
        """Whether asking for ``offload_to_cpu`` would change anything."""
        return self._started().can_offload

    @property
    def warnings(self) -> tuple[str, ...]:
        """What was asked for when the handler was started and cannot be had; one sentence each."""
        return self._started().warnings


@dataclass(frozen=True, slots=True)
class _Service:
    """What ``initialize_service`` was told, and the models loaded since; a switch of models obeys it too."""

    project_root: Path
    name: str
    facts: DeviceFacts
    placement: Placement
    offload: bool
    report: Report | None
    download: Say | None
    fetch_adapters: bool
    shelf: Shelf
    warnings: tuple[str, ...]

    @property
    def can_offload(self) -> bool:
        """Whether it would change anything: on a GPU, unless it is so already."""
        return self.facts.kind == CUDA and not self.offload

    def renderer(self, spec: ModelSpec) -> Renderer:
        """The renderer of ``spec``, loaded if it is not here."""
        return self.shelf.get(spec) or self._load(spec)

    def _load(self, spec: ModelSpec) -> Renderer:
        start = time.perf_counter()
        root = _find(spec, self.project_root, self.download)
        shared = self.shelf.shared_parts(spec, root)
        self.shelf.make_room(bytes_to_load(spec, root, self.placement.dtype.itemsize, shared), shared)
        kept = self.shelf.names
        with out_of_memory_explained(f"loading {spec.name}", lambda: self._advice(spec)):
            renderer = self._assemble(spec, root, shared)
        self.shelf.put(spec, renderer, root)
        logger.info(
            "Loaded %s in %.2f s beside %s; %s of %s bytes of weights are in use",
            spec.name,
            time.perf_counter() - start,
            ", ".join(kept) or "nothing",
            f"{self.shelf.size:,}",
            f"{self.shelf.budget:,}",
        )
        return renderer

    def _assemble(self, spec: ModelSpec, root: Path, shared: dict[str, object]) -> Renderer:
        engine = engine_of(spec)
        family = engine.load(spec, root, self.placement, self.report, shared=shared)
        player = engine.player(family, Residency(family.networks, self.placement.device, offload=self.offload))
        player.fetches = self.fetch_adapters
        return player

    def _advice(self, spec: ModelSpec) -> list[str]:
        offload = ["offload_to_cpu=True"] if self.can_offload else []
        smaller = smaller_than(spec)
        return [*offload, *([f"the smaller model {smaller.name}"] if smaller else [])]


def _find(spec: ModelSpec, project_root: Path, download: Say | None) -> Path:
    """The weights folder that holds ``spec``, after it was downloaded if that is wanted."""
    if download is not None:
        provide(spec, project_root, download)
    return find_weights(spec, project_root)


def _weights_host(facts: DeviceFacts, offload: bool) -> DeviceFacts:
    """Where the weights stay: of offloaded networks that is the host."""
    return device_facts(CPU) if offload else device_facts(facts.kind)


def _line(spec: ModelSpec, reason: str, placement: Placement, offload: bool) -> str:
    kind = ", an embedded model for trying the road, not for music" if spec.embedded else ""
    computes = f"{placement.device.type}, {str(placement.dtype).removeprefix('torch.')}"
    return f"{spec.name} ({reason}{kind}) on {computes}{', offloaded' if offload else ''} ({placement.reason})"
