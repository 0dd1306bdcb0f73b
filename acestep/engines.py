"""How a generation of models is loaded and played: one row each. What needs further packages is imported when asked.

In: a registry row. Out: its ``Engine``. The rows speak the same language: families have ``networks``, ``commit`` and
``parts_for``; players have ``play``, ``reader``, ``busy``. Refuses to know what happens inside either.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from acestep.checkpoints.rows import FIRST, SECOND, ModelSpec


@dataclass(frozen=True, slots=True)
class Engine:
    """One generation of models at work.

    Attributes:
        load: (row, weights folder, placement, report, shared=parts by role) -> family of networks.
        player: (family, residency) -> what plays on it.
        perform: (player, request, plans, recording, reference, progress) -> ``Performance``.
        reader: (row, weights folder) -> what the model can be told; needs no weights.
    """

    load: Callable[..., Any]
    player: Callable[..., Any]
    perform: Callable[..., Any]
    reader: Callable[[ModelSpec, Path], Any]


def engine_of(spec: ModelSpec) -> Engine:
    """The engine of a model.

    Raises:
        UnsupportedError: the packages are not installed that models of this generation need.
    """
    return _ENGINES[spec.variant.generation]()


def _first() -> Engine:
    from acestep.v1.family import load_v1_family
    from acestep.v1.player import V1Player
    from acestep.v1.reader import V1Reader
    from acestep.v1.stage import perform

    return Engine(load_v1_family, V1Player, perform, V1Reader.load)


def _second() -> Engine:
    from acestep.checkpoints.family import load_family
    from acestep.reading import Reader
    from acestep.render import Renderer
    from acestep.studio import perform

    return Engine(load_family, Renderer, perform, Reader.load)


_ENGINES = {FIRST: _first, SECOND: _second}
