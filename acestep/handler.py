"""``AceStepHandler``: the facade over one loaded model family. Owns which model is loaded and in what placement.

In: a model name or folder, a device. Out: a renderer that plays plans. Refuses to know requests' meaning and files.
"""

from __future__ import annotations

import logging
from pathlib import Path

from acestep.checkpoints.choose import choose_model
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
            project_root: folder with ``weights/`` (or upstream's ``checkpoints/``); without either, the weights that
                ship with this package are used. ``ACESTEP_WEIGHTS`` wins over both.
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
        spec, reason = choose_model(config_path, placement.device)
        family = load_family(spec, find_weights(spec, Path(project_root)), placement, report)
        self._renderer = Renderer(family, offload=offload_to_cpu)
        self.reason = reason
        computes = f"{placement.device.type}, {str(placement.dtype).removeprefix('torch.')}"
        line = f"{spec.name} ({reason}) on {computes} ({placement.reason})"
        logger.info("Loaded %s", line)
        return line, True

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
