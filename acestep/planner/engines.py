"""Which backends there are, by name, and what each of them can do. They are imported when they are asked for.

In: a name, a folder of weights, where to compute. Out: a backend that is ready to answer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch

from acestep.planner.ask import Backend

Loader = Callable[[Path, torch.device, torch.dtype, int], Any]


@dataclass(frozen=True, slots=True)
class Engine:
    """One row of the table.

    Attributes:
        name: as callers spell it.
        module: below ``planner.backends``; has the function ``load``.
        owns_memory: True where it decides itself what is on the device, so that nothing can be offloaded.
        load: function of the module.
    """

    name: str
    module: str
    load: str
    owns_memory: bool = False

    def start(self, folder: Path, device: torch.device, dtype: torch.dtype, context: int) -> Backend:
        """Load the language model of ``folder``.

        Args:
            context: most tokens of prompt and answer together.

        Raises:
            WeightsError: its files are missing or broken.
            UnsupportedError: the backend is not installed.
        """
        loader: Loader = getattr(import_module(f"acestep.planner.backends.{self.module}"), self.load)
        return loader(folder, device, dtype, context)


ENGINES = MappingProxyType(
    {
        row.name: row
        for row in (
            Engine("native", "native", "load_native"),
            Engine("vllm", "vllm", "load_vllm", owns_memory=True),
            Engine("pt", "pt", "load_pt"),
        )
    }
)
DEFAULT_ENGINE = next(iter(ENGINES))
