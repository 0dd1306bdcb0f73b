"""The models of one server. Everything here is called by one thread, the one that works.

In: what shall be made, by which models, how they shall compute. Out: a finished ``GenerationResult`` and what took
how long. Models stay loaded, as many as fit; only another number format or offloading lets them go. Refuses to know
requests' words, file names and HTTP.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from acestep.checkpoints.rows import HubFolder, ModelSpec
from acestep.handler import AceStepHandler
from acestep.inference import generate_music
from acestep.llm_inference import LLMHandler
from acestep.params import GenerationConfig, GenerationParams
from acestep.progress import Progress, unwatched
from acestep.result import GenerationResult

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Machine:
    """How networks compute.

    Attributes:
        dtype: a name of ``devices.DTYPES``; None is what suits the device.
        offload: one network at a time on the GPU.
    """

    dtype: str | None = None
    offload: bool = False


@dataclass(frozen=True, slots=True)
class Cast:
    """Who plays: the transformer, why it, the planner or None, and how they compute."""

    model: ModelSpec
    reason: str
    planner: HubFolder | None = None
    machine: Machine = Machine()


@dataclass(frozen=True, slots=True)
class Made:
    """A finished result; seconds of loading models and of making music."""

    result: GenerationResult
    init_s: float
    music_s: float


class Engine:
    """Owns the handlers of the Python API.

    Args:
        project: folder with the weights; see ``checkpoints.files.search_roots``.
        device: ``auto``, ``cuda`` or ``cpu``.
        backend: of the planner.
        download: fetch published weights that are not here when a request names them.
    """

    def __init__(self, project: Path, device: str, backend: str, *, download: bool) -> None:
        self._project, self._device, self._backend, self._download = project, device, backend, download
        self._dit, self._planner = AceStepHandler(), LLMHandler()
        self._dit_machine: Machine | None = None
        self._planner_machine: Machine | None = None
        self._report: Progress = unwatched

    def load(self, cast: Cast, report: Progress = unwatched) -> float:
        """Have the models of a cast ready; seconds that it took.

        Args:
            report: called with lines about downloads; what it raises ends them.

        Raises:
            WeightsError: weights are not here, cannot be fetched, or are broken.
            DeviceError: the device is not there, or its memory is too small.
        """
        start = time.perf_counter()
        self._report = report
        report(0.0, f"loading {cast.model.name}")
        if cast.planner is not None:  # before the others, which share what memory it leaves
            self._load_planner(cast.planner, cast.machine)
        self._load_model(cast)
        return time.perf_counter() - start

    def make(
        self, cast: Cast, params: GenerationParams, config: GenerationConfig, folder: Path, report: Progress
    ) -> Made:
        """Make a batch of songs into ``folder``.

        Raises:
            AceStepError: whatever made it fail, or what ``report`` raised.
        """
        init_s = self.load(cast, report)
        start = time.perf_counter()
        planner = self._planner if cast.planner is not None else None
        result = generate_music(self._dit, planner, params, config, folder, report)
        result.check()
        return Made(result, init_s, time.perf_counter() - start)

    def _load_model(self, cast: Cast) -> None:
        if self._dit_machine != cast.machine:
            line, _ = self._dit.initialize_service(
                self._project,
                cast.model.name,
                self._device,
                cast.machine.offload,
                cast.machine.dtype,
                download=self._say,
                download_later=True,
                fetch_adapters=self._say is not None,
            )
            self._dit_machine = cast.machine
            logger.info("Loaded %s", line)
        self._dit.use(cast.model, cast.reason)

    def _load_planner(self, row: HubFolder, machine: Machine) -> None:
        if self._planner.initialized and (self._planner.row, self._planner_machine) == (row, machine):
            return
        line, _ = self._planner.initialize(
            self._project, row.name, self._backend, self._device, machine.offload, machine.dtype, self._say
        )
        self._planner_machine = machine
        logger.info("Loaded %s", line)

    @property
    def _say(self) -> Callable[[str], None] | None:
        """What hears of downloads; None where there shall be none."""
        return self._tell if self._download else None

    def _tell(self, line: str) -> None:
        logger.info("%s", line)
        self._report(0.0, line)
