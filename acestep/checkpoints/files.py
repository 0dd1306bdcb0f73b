"""Which files make a folder of weights, and where such folders are.

In: a ``Layout`` and the names that exist, on the hub or on disk. Out: the names that are needed, those that are
missing, the paths where things belong; JSON objects. Refuses to know what else is in the files and how they travel.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection
from pathlib import Path

from acestep.checkpoints.rows import HubFolder, Layout
from acestep.errors import WeightsError

WEIGHTS_ENV = "ACESTEP_WEIGHTS"
_DOWNLOADS = ".downloads"
PACKAGED = Path(__file__).resolve().parents[2] / "weights"


def weights_root() -> Path:
    """Where downloads go when the caller names no folder: ``ACESTEP_WEIGHTS``, else ``weights`` here."""
    return Path(os.environ.get(WEIGHTS_ENV) or "weights")


def search_roots(project_root: Path) -> tuple[Path, ...]:
    """Where published weights are looked for, best first.

    ``ACESTEP_WEIGHTS`` alone if it is set; otherwise ``weights/`` and upstream's ``checkpoints/`` of the project,
    then the folder beside this package.
    """
    named = os.environ.get(WEIGHTS_ENV)
    return (Path(named),) if named else (project_root / "weights", project_root / "checkpoints", PACKAGED)


def folder_of(row: HubFolder, root: Path) -> Path:
    """The folder of ``row``. Embedded rows are beside this package when ``root`` does not have them."""
    here = root / row.folder
    return PACKAGED / row.folder if row.embedded and not here.is_dir() else here


def origin_of(row: HubFolder) -> str:
    """Where the files of ``row`` were published: a repository of the hub, or the address of its one file."""
    return row.url or row.repository


def staging_of(row: HubFolder, root: Path) -> Path:
    """Where files of ``row`` wait until all are whole. While it exists, a download has begun and not ended."""
    return root / _DOWNLOADS / row.folder.replace("/", "--")


def lock_of(row: HubFolder, root: Path) -> Path:
    """The file that the one process which downloads ``row`` holds locked."""
    staging = staging_of(row, root)
    return staging.with_name(f"{staging.name}.lock")


def select(layout: Layout, names: Collection[str]) -> tuple[list[str], list[str]]:
    """The files to take from a repository.

    Returns:
        Names to take, and what is needed but not there (empty when all is well).
    """
    found, lacking = _required(layout, names)
    found += [name for name in layout.optional if name in names]
    if not layout.weights:
        return found, lacking
    single, index = _weight_names(layout)
    if single in names:
        return [*found, single], lacking
    shard = re.compile(rf"{re.escape(layout.weights)}-\d+-of-\d+\.safetensors")
    shards = sorted(name for name in names if shard.fullmatch(name))
    if index in names and shards:
        return [*found, index, *shards], lacking
    return found, [*lacking, single]


def missing(layout: Layout, folder: Path) -> list[str]:
    """Names of the files that a folder on disk still needs; empty when it has all."""
    names = {path.name for path in folder.iterdir() if path.is_file()} if folder.is_dir() else set()
    _, lacking = _required(layout, names)
    single, index = _weight_names(layout)
    if single in names or not layout.weights:
        return lacking
    if index not in names:
        return [*lacking, single]
    shards = _shards(folder / index)
    return [*lacking, *([index] if shards is None else sorted(shards - names))]


def read_json(path: Path) -> dict[str, object]:
    """A JSON object from a weights folder.

    Raises:
        WeightsError: missing or not a JSON object.
    """
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise WeightsError(f"Model not loaded: cannot read {path} ({error.strerror}).") from error
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"Model not loaded: {path} is not JSON ({error}).") from error
    if not isinstance(raw, dict):
        raise WeightsError(f"Model not loaded: {path} is not a JSON object.")
    return raw


def read_index(path: Path) -> dict[str, str]:
    """Tensor name -> shard, as a safetensors index says. Shards are names of files beside it.

    Raises:
        OSError: it cannot be read.
        ValueError: it is not such an index.
    """
    try:
        shards = json.loads(path.read_text(encoding="utf-8"))["weight_map"]
        beside = {name for name in shards.values() if Path(name).name == name}
    except (KeyError, AttributeError, TypeError, RecursionError) as error:
        raise ValueError("no weight_map of tensor names to file names") from error
    strange = sorted(set(shards.values()) - beside)
    if strange or not shards:
        raise ValueError(f"{', '.join(strange)} is not beside it" if strange else "its weight_map is empty")
    return shards


def files_in(layout: Layout, folder: Path) -> tuple[Path, ...]:
    """Paths of the files of ``layout`` that a folder on disk has."""
    names = {path.name for path in folder.iterdir() if path.is_file()}
    found, _ = select(layout, names)
    return tuple(folder / name for name in found)


def _required(layout: Layout, names: Collection[str]) -> tuple[list[str], list[str]]:
    found, lacking = [], []
    for alternatives in layout.required:
        first = next((name for name in alternatives if name in names), None)
        if first is None:
            lacking.append(alternatives[-1])
        else:
            found.append(first)
    return found, lacking


def _weight_names(layout: Layout) -> tuple[str, str]:
    single = f"{layout.weights}.safetensors"
    return single, f"{single}.index.json"


def _shards(index: Path) -> set[str] | None:
    """File names in a safetensors index, or None when it is not one."""
    try:
        return set(read_index(index).values())
    except (OSError, ValueError):
        return None
