"""Whose work a folder holds: data of one network must not be mixed with that of another.

In: a folder, the name of a role, a digest. Out: a small file in the folder, or an error. Refuses to know networks.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from acestep.errors import WeightsError
from acestep.training.files import write_beside


def claim(folder: Path, role: str, digest: str) -> None:
    """Write into a folder whose work it holds, or make sure that it is the same as before.

    Raises:
        WeightsError: it holds the work of another.
    """
    path = folder / f"{role}.sha256"
    if path.is_file():
        if path.read_text(encoding="ascii").strip() != digest:
            raise WeightsError(f"{folder} was made with another {role}; name a new folder.")
        return
    folder.mkdir(parents=True, exist_ok=True)
    with write_beside(path) as file:
        file.write(f"{digest}\n".encode("ascii"))


def digest_of_tensors(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over names and values."""
    total = hashlib.sha256()
    for name in sorted(tensors):
        total.update(name.encode() + tensors[name].detach().cpu().contiguous().numpy().tobytes())
    return total.hexdigest()
