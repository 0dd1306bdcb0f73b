"""Whose work a folder holds: data of one network must not be mixed with that of another.

In: a folder, the name of a role, a digest. Out: a small file in the folder, or an error. Refuses to know networks.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from acestep.errors import WeightsError
from acestep.training.files import write_beside

NETWORK = "network"  # of which sizes a run is


def claim(folder: Path, role: str, digest: str) -> None:
    """Write into a folder whose work it holds, or make sure that it is the same as before.

    Raises:
        WeightsError: it holds the work of another.
    """
    path = _claim_of(folder, role)
    if path.is_file():
        if path.read_text(encoding="ascii").strip() != digest:
            raise WeightsError(f"{folder} was made with another {role}; name a new folder.")
        return
    folder.mkdir(parents=True, exist_ok=True)
    with write_beside(path) as file:
        file.write(f"{digest}\n".encode("ascii"))


def check_claim(folder: Path, role: str, digest: str) -> None:
    """Make sure whose work a folder holds.

    Raises:
        WeightsError: that of another, or it does not say.
    """
    if not _claim_of(folder, role).is_file():
        raise WeightsError(f"{folder} does not say with which {role} it was made; train it again.")
    claim(folder, role, digest)


def _claim_of(folder: Path, role: str) -> Path:
    return folder / f"{role}.sha256"


def digest_of_sizes(*sizes: Mapping[str, object]) -> str:
    """SHA-256 over the sizes of networks; weights of the right shapes may still belong to others."""
    return hashlib.sha256(json.dumps(sizes, sort_keys=True).encode()).hexdigest()


def digest_of_tensors(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over names and values."""
    total = hashlib.sha256()
    for name in sorted(tensors):
        total.update(name.encode() + tensors[name].detach().cpu().contiguous().numpy().tobytes())
    return total.hexdigest()
