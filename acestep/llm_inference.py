"""``LLMHandler``: the facade over the 5Hz planner. Owns one loaded language model and says who it is.

In: a model name, a backend, a device. Out: plans for requests, songs in words. Refuses to know how plans are thought
up (``planner``) and how tokens are computed (``planner.backends``).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from acestep.checkpoints.choose import choose
from acestep.checkpoints.family import find_weights, naming_the_remedy
from acestep.checkpoints.files import folder_of
from acestep.checkpoints.integrity import inspect
from acestep.checkpoints.provide import Say, provide
from acestep.checkpoints.registry import language_model_named
from acestep.checkpoints.rows import HubFolder
from acestep.constants import DURATION_MAX_S
from acestep.devices import AUTO, CPU, CUDA, DeviceFacts, Placement, Residency, device_facts, free_cache, place
from acestep.errors import InputError, NotLoadedError, UnsupportedError
from acestep.memory import out_of_memory_explained
from acestep.planner.ask import Backend
from acestep.planner.engines import DEFAULT_ENGINE, ENGINES
from acestep.planner.planner import Planner

CONTEXT = 8192  # tokens of prompt and answer; the longest song takes 3,001 of them
CHOSEN_ON_CPU_MAX_S = 180.0  # seconds up to which the planner may choose a length where nothing computes fast
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Loaded:
    """One language model, ready to be asked."""

    row: HubFolder
    backend: str
    engine: Backend
    planner: Planner
    residency: Residency | None
    commit: str | None


class LLMHandler:
    """Owns one planner; uninitialised until ``initialize`` succeeds.

    Example:
        >>> planner = LLMHandler()
        >>> status, ok = planner.initialize("weights", "tiny", device="cpu")
    """

    def __init__(self) -> None:
        self._loaded: _Loaded | None = None

    @property
    def initialized(self) -> bool:
        """True when a planner is loaded."""
        return self._loaded is not None

    @property
    def row(self) -> HubFolder:
        """Registry row of the language model.

        Raises:
            NotLoadedError: none is loaded.
        """
        return self._ready().row

    @property
    def backend(self) -> str:
        """Name of the backend that answers."""
        return self._ready().backend

    @property
    def commit(self) -> str | None:
        """Of the language model on the hub; None when nobody wrote it down."""
        return self._ready().commit

    def initialize(
        self,
        checkpoint_dir: str | Path = "weights",
        lm_model_path: str = AUTO,
        backend: str = DEFAULT_ENGINE,
        device: str = AUTO,
        offload_to_cpu: bool = False,
        dtype: str | None = None,
        download: Say | None = None,
    ) -> tuple[str, bool]:
        """Load a planner, in the place of the one that was loaded.

        Args:
            checkpoint_dir: folder of weights, such as ``weights`` or upstream's ``checkpoints``; or the project that
                has one of them.
            lm_model_path: a language model's name in the registry; ``auto`` takes what suits the device.
            backend: ``native`` (fastest for a few songs), ``vllm`` (for many at once), ``pt`` (the plain reference).
            device: ``auto``, ``cuda`` or ``cpu``.
            offload_to_cpu: keep the weights on the host and bring them to the GPU for each request.
            dtype: ``float32``, ``bfloat16``, ``float16``; None decides by device.
            download: fetch a published model that is not here; called with lines about it. None never uses the
                network.

        Returns:
            One line that says what was loaded, and True.

        Raises:
            InputError: unknown model name, backend, device or dtype.
            UnsupportedError: the backend is not installed or cannot offload, or ``auto`` has no planner for a device.
            DeviceError: the device is not there, or its memory is too small.
            WeightsError: the weights are not there (then the planner before still works) or broken.
        """
        if backend not in ENGINES:
            raise InputError.unknown("backend", backend, ENGINES)
        facts = device_facts(device)
        row = _row(lm_model_path, facts)
        if offload_to_cpu and ENGINES[backend].owns_memory:
            raise UnsupportedError(f"offload_to_cpu does not go with backend {backend!r}.", field="offload_to_cpu")
        offload = offload_to_cpu and facts.kind == CUDA
        placement = place(facts, dtype)
        root = _find(row, Path(checkpoint_dir), download)
        self.unload()
        start = time.perf_counter()
        with (
            naming_the_remedy(row),
            out_of_memory_explained(
                f"loading {row.name}", lambda: ["a smaller lm_model", *([] if offload else ["offload_to_cpu=True"])]
            ),
        ):
            self._loaded = _load(row, root, backend, placement, offload=offload)
        logger.info("Loaded planner %s in %.2f s", row.name, time.perf_counter() - start)
        computes = f"{placement.device.type}, {str(placement.dtype).removeprefix('torch.')}"
        return f"planner {row.name} on {computes} by {backend}{', offloaded' if offload else ''}", True

    def unload(self) -> None:
        """Let go of the language model."""
        loaded, self._loaded = self._loaded, None
        if loaded is not None and ENGINES[loaded.backend].owns_memory:
            loaded.engine.close()
        del loaded
        free_cache()

    @contextmanager
    def planner(self) -> Iterator[Planner]:
        """The planner, with its network on the device for the length of the block.

        Raises:
            NotLoadedError: none is loaded.
        """
        loaded = self._ready()
        with torch.inference_mode():
            if loaded.residency is None:
                yield loaded.planner
            else:
                with loaded.residency.resident("lm"):
                    yield loaded.planner

    def _ready(self) -> _Loaded:
        if self._loaded is None:
            raise NotLoadedError("Model not loaded: call LLMHandler.initialize first.")
        return self._loaded


def _row(name: str, facts: DeviceFacts) -> HubFolder:
    if name != AUTO:
        return language_model_named(name)
    row = choose(AUTO, facts).language_model
    if row is None:
        raise UnsupportedError(
            f"lm_model_path 'auto' has no planner for a GPU with {facts.memory / 1e9:.1f} GB; name one.",
            field="lm_model_path",
            value=name,
        )
    return row


def _find(row: HubFolder, folder: Path, download: Say | None) -> Path:
    """The weights folder that holds ``row``: ``folder`` itself, or one of its project's."""
    found = inspect(row, folder)
    if found.state.usable and found.folder == folder / row.folder:  # an embedded one may be found beside this package
        return folder
    project = folder.parent if folder.name in ("weights", "checkpoints") else folder
    if download is not None:
        provide(row, project, download)
    return find_weights(row, project)


def _load(row: HubFolder, root: Path, backend: str, placement: Placement, *, offload: bool) -> _Loaded:
    folder = folder_of(row, root)
    host = torch.device(CPU) if offload else placement.device
    engine = ENGINES[backend].start(folder, host, placement.dtype, CONTEXT)
    residency = Residency({"lm": engine.network}, placement.device, offload=True) if offload else None
    longest_s = CHOSEN_ON_CPU_MAX_S if placement.device.type == CPU else DURATION_MAX_S
    planner = Planner(engine, engine.vocabulary, longest_s=longest_s)
    return _Loaded(row, backend, engine, planner, residency, inspect(row, root).commit)
