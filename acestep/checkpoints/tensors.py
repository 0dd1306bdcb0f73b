"""Safetensors files: which ones a network has, what they hold, and what is wrong with those that cannot be read.

In: a folder and the stem of its weight files. Out: tensors by name, memory-mapped or copied into another type.
Refuses to know which tensors a network wants. Never unpickles.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from acestep.checkpoints.files import read_index
from acestep.errors import WeightsError

FLOATS = {"BF16": torch.bfloat16, "F16": torch.float16, "F32": torch.float32, "F64": torch.float64}
_PICKLES = ("*.bin", "*.pth", "*.ckpt")
_LENGTH_BYTES = 8  # of the header, at the start of every safetensors file
_HEADER_MAX = 100_000_000  # the format's own limit
_STRANGERS: dict[tuple[bytes, ...], str] = {
    (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"): "is a pickle, which is never loaded",
    (b"<",): "is a web page",
    (b"version https://git-lfs",): "is a Git LFS pointer instead of the file it points to",
}


@dataclass(frozen=True, slots=True)
class WeightFiles:
    """The files of one network.

    Attributes:
        paths: safetensors files; they need not exist.
        promised: tensor name -> file name, as an index says; empty where there is no index.
    """

    paths: tuple[Path, ...]
    promised: Mapping[str, str] = field(default_factory=dict)

    @property
    def place(self) -> Path:
        """The file, or the folder of several."""
        return self.paths[0].parent if self.promised else self.paths[0]


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """A tensor in a file; nothing of it has been read.

    Attributes:
        reader: of the file.
        path: of the file.
        name: as the file spells it.
        kind: type as the file spells it, such as ``BF16``.
        shape: of the tensor.
    """

    reader: safe_open
    path: Path
    name: str
    kind: str
    shape: tuple[int, ...]

    def load(self, dtype: torch.dtype) -> Tensor:
        """The tensor in ``dtype``: the file's own pages if that is its type, else a copy.

        A copy maps the file for itself, so that the pages it read go back to the system with it.
        """
        return self.reader.get_tensor(self.name) if FLOATS[self.kind] is dtype else self.load_alone(dtype)

    def load_alone(self, dtype: torch.dtype) -> Tensor:
        """The tensor in ``dtype``; if that is its type, from a mapping that goes when the tensor does."""
        with open_safetensors(self.path) as alone:
            return alone.get_tensor(self.name).to(dtype)


@dataclass(frozen=True, slots=True)
class Contents:
    """What the files of one network hold.

    Attributes:
        tensors: by the network's name.
        problems: clauses, one per kind of fault.
        excused: the network's names of tensors that need no complaint of their own: their file is named in a problem.
        blind: a file without index could not be read, so nobody knows what it should hold.
    """

    tensors: dict[str, StoredTensor]
    problems: list[str]
    excused: frozenset[str] = frozenset()
    blind: bool = False


def weight_files(folder: Path, stem: str) -> WeightFiles:
    """The safetensors files of one network: ``{stem}.safetensors``, or the shards its index names.

    Raises:
        WeightsError: nothing there, or a broken index.
    """
    single, index = folder / f"{stem}.safetensors", folder / f"{stem}.safetensors.index.json"
    if single.is_file():
        return WeightFiles((single,))
    if not index.is_file():
        raise WeightsError(f"Model not loaded: {folder} has no {single.name}{_pickled_instead(folder)}.")
    try:
        promised = read_index(index)
    except (OSError, ValueError) as error:
        raise WeightsError(f"Model not loaded: {index} is not a safetensors index ({error}).") from error
    return WeightFiles(tuple(folder / shard for shard in sorted(set(promised.values()))), promised)


def read_contents(files: WeightFiles, rename: Callable[[str], str]) -> Contents:
    """Look into every file, without reading weights.

    Args:
        rename: from names in the files to the network's.
    """
    tensors: dict[str, StoredTensor] = {}
    problems, twice, unread = [], [], set()
    for path in files.paths:
        try:
            stored = list(_stored_in(path))
        except WeightsError as error:
            problems.append(str(error))
            unread.add(path.name)
            continue
        for tensor in stored:
            if tensors.setdefault(rename(tensor.name), tensor) is not tensor:
                twice.append(tensor.name)
    lost = {
        rename(name) for name, shard in files.promised.items() if shard not in unread and rename(name) not in tensors
    }
    problems += [*summary("in more than one place", twice), *summary("that the index names but no file holds", lost)]
    excused = {rename(name) for name, shard in files.promised.items() if shard in unread} | lost
    return Contents(tensors, problems, frozenset(excused), bool(unread and not files.promised))


def open_safetensors(path: Path) -> safe_open:
    """A reader of one file.

    Raises:
        WeightsError: it is not there or not safetensors; the text is a clause that begins with the file's name.
    """
    try:
        return safe_open(str(path), framework="pt")
    except FileNotFoundError as error:
        raise WeightsError(f"{path.name} is missing") from error
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path.name} {_what_is_wrong(path, error)}") from error


def summary(kind: str, names: set[str] | list[str], listed: int = 12) -> Iterator[str]:
    """One clause about tensors with the same fault, if there are any; ``listed`` names are spelled out."""
    if names:
        more = f" and {len(names) - listed} more" if len(names) > listed else ""
        tensors = "tensor" if len(names) == 1 else "tensors"
        yield f"{len(names)} {tensors} {kind}: {', '.join(sorted(names)[:listed])}{more}"


def _stored_in(path: Path) -> Iterator[StoredTensor]:
    reader = open_safetensors(path)
    for name in reader.keys():  # noqa: SIM118 - a reader is no mapping
        piece = reader.get_slice(name)
        yield StoredTensor(reader, path, name, str(piece.get_dtype()), tuple(piece.get_shape()))


def _pickled_instead(folder: Path) -> str:
    pickles = sorted(path.name for pattern in _PICKLES for path in folder.glob(pattern))
    return f" (there is {', '.join(pickles)}, but pickles are never loaded)" if pickles else ""


def _what_is_wrong(path: Path, error: Exception) -> str:
    """Words that follow the name of a file that the reader refused."""
    if not path.is_file():
        return "is not a file"
    try:
        with path.open("rb") as file:
            start = file.read(64)
            cut = _cut_short(path, start)
    except OSError as unreadable:
        return f"cannot be read ({unreadable.strerror})"
    if not start:
        return "is empty"
    known = (words for signs, words in _STRANGERS.items() if start.lstrip().startswith(signs))
    return next(known, cut or f"is not a readable safetensors file ({error})")


def _cut_short(path: Path, start: bytes) -> str:
    """What to say of a file that ends before the tensors of its header do; "" when that is not what is wrong."""
    header = int.from_bytes(start[:_LENGTH_BYTES], "little")
    size = path.stat().st_size
    if len(start) <= _LENGTH_BYTES or header > min(_HEADER_MAX, size - _LENGTH_BYTES):
        return ""
    try:
        with path.open("rb") as file:
            file.seek(_LENGTH_BYTES)
            tensors = json.loads(file.read(header))
        end = max(entry["data_offsets"][1] for name, entry in tensors.items() if name != "__metadata__")
    except (ValueError, KeyError, IndexError, AttributeError, TypeError, RecursionError):
        return ""
    whole = _LENGTH_BYTES + header + end
    return f"is cut short: it has {size} of {whole} bytes" if size < whole else ""
