"""``AceStepHandler``: the facade over one loaded model family. Owns which model is loaded and in what placement.

In: a model name or folder, a device. Out: a renderer that plays plans. Refuses to know requests' meaning and files.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from acestep.checkpoints.choose import AUTO, choose_model
from acestep.checkpoints.family import Report, find_weights, load_family
from acestep.checkpoints.registry import ModelSpec
from acestep.devices import Placement, choose_placement
from acestep.errors import NotLoadedError
from acestep.render import Renderer

logger = logging.getLogger(__name__)


class AceStepHandler:
    """Loads one model family and keeps it.

    Attributes:
        reason: why the loaded model was chosen, in one clause.

    Example:
        >>> handler = AceStepHandler()
        >>> status, ok = handler.initialize_service(project_root=".", config_path="tiny", device="cpu")
    """

    def __init__(self) -> None:
        self._renderer: Renderer | None = None
        self._start: _Start | None = None
        self.reason = ""

    def initialize_service(
        self,
        project_root: str | Path = ".",
        config_path: str = "auto",
        device: str = "auto",
        offload_to_cpu: bool = False,
        dtype: str | None = None,
        report: Report | None = None,
    ) -> tuple[str, bool]:
        """Load a model; one that is loaded already is replaced.

        Args:
            project_root: folder with ``weights/`` (or upstream's ``checkpoints/``); see ``family.find_weights``.
            config_path: a name of the registry, or ``auto``.
            device: ``auto``, ``cuda`` or ``cpu``.
            offload_to_cpu: keep only the network in use on the GPU.
            dtype: ``float32``, ``bfloat16``, ``float16``; None decides by device.
            report: called after each network with its role, seconds and bytes.

        Returns:
            One line that says what was loaded and why, and True.

        Raises:
            InputError: unknown model name.
            DeviceError: the device is not there.
            WeightsError: the weights are not there or broken.
        """
        placement = choose_placement(device, dtype)
        self._start = _Start(Path(project_root), config_path, placement, offload_to_cpu, report)
        return self._load(*choose_model(config_path, placement.device)), True

    def choose(self, name: str, task: str) -> tuple[ModelSpec, str]:
        """The model that a request for ``task`` runs on, and why; nothing is loaded.

        Args:
            name: a registry name; ``auto`` is what the handler was started with, or what suits device and task.

        Raises:
            InputError: unknown model name.
            NotLoadedError: ``initialize_service`` has not been called.
        """
        start = self._started()
        wanted = start.name if name == AUTO else name
        return choose_model(wanted, start.placement.device, task)

    def use(self, spec: ModelSpec, reason: str) -> None:
        """Make ``spec`` the loaded model; nothing happens if it is already.

        Raises:
            WeightsError: its weights are not there or broken; the model before stays if they are not there.
        """
        if self._renderer is None or self._renderer.family.spec != spec:
            self._load(spec, reason)

    def _load(self, spec: ModelSpec, reason: str) -> str:
        start = self._started()
        folder = find_weights(spec, start.project_root)
        self._renderer = None  # the memory of the model before is needed for the next
        family = load_family(spec, folder, start.placement, start.report)
        self._renderer, self.reason = Renderer(family, offload=start.offload), reason
        line = _line(spec, reason, start.placement)
        logger.info("Loaded %s", line)
        return line

    def _started(self) -> _Start:
        if self._start is None:
            raise NotLoadedError("Model not loaded: call AceStepHandler.initialize_service first.")
        return self._start

    @property
    def renderer(self) -> Renderer:
        """What plays plans.

        Raises:
            NotLoadedError: ``initialize_service`` has not been called.
        """
        if self._renderer is None:
            raise NotLoadedError("Model not loaded: call AceStepHandler.initialize_service first.")
        return self._renderer

    @property
    def model(self) -> ModelSpec:
        """Registry row of the loaded model."""
        return self.renderer.family.spec

    @property
    def placement(self) -> Placement:
        """Device and dtype of the loaded model."""
        return self.renderer.family.placement


@dataclass(frozen=True, slots=True)
class _Start:
    """What ``initialize_service`` was told; a later switch of models obeys it too."""

    project_root: Path
    name: str
    placement: Placement
    offload: bool
    report: Report | None


def _line(spec: ModelSpec, reason: str, placement: Placement) -> str:
    kind = ", an embedded model for trying the road, not for music" if spec.embedded else ""
    computes = f"{placement.device.type}, {str(placement.dtype).removeprefix('torch.')}"
    return f"{spec.name} ({reason}{kind}) on {computes} ({placement.reason})"
