"""Weight files into networks: memory-mapped, strict, no second copy, every problem in one error.

In: a folder and a network built on the meta device. Out: the network with its weights, in eval mode.
Refuses to know model names, the hub and tasks. Never unpickles code.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from acestep.constants import FRAMES_PER_CODE
from acestep.errors import WeightsError

_SILENCE = "silence_latent"
_LISTED = 12  # names spelled out per kind of problem; the rest is counted


def weight_files(folder: Path, stem: str) -> list[Path]:
    """The safetensors files of one network: ``{stem}.safetensors``, or the shards its index names.

    Raises:
        WeightsError: nothing there, a broken index, or shards that are missing (all of them named).
    """
    single, index = folder / f"{stem}.safetensors", folder / f"{stem}.safetensors.index.json"
    if single.is_file():
        return [single]
    if not index.is_file():
        raise WeightsError(f"Model not loaded: {folder} has no {single.name}.")
    try:
        shards = sorted(set(json.loads(index.read_text())["weight_map"].values()))
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise WeightsError(f"Model not loaded: {index} is not a safetensors index ({error}).") from error
    missing = [shard for shard in shards if not (folder / shard).is_file()]
    if missing:
        raise WeightsError(f"Model not loaded: {folder} lacks {', '.join(missing)}.")
    return [folder / shard for shard in shards]


def load_strict(network: nn.Module, files: Iterable[Path], dtype: torch.dtype) -> nn.Module:
    """Give a network built on the meta device its weights.

    Args:
        network: whose parameters say which names and shapes are expected.
        files: safetensors files that together hold exactly those tensors.
        dtype: floating-point weights are cast to it, one tensor at a time; without a cast they stay memory-mapped.

    Raises:
        WeightsError: unreadable files, missing or extra tensors, wrong shapes; all of them in one text.
    """
    expected, paths = network.state_dict(), list(files)
    with ExitStack() as stack:
        found = {}
        for path in paths:
            reader = stack.enter_context(_open(path))
            found.update(dict.fromkeys(reader.keys(), reader))
        _check(expected, found, paths)
        state = {name: _cast(found[name].get_tensor(name), dtype) for name in expected}
    network.load_state_dict(state, strict=True, assign=True)
    return network.eval().requires_grad_(False)


def load_silence(folder: Path) -> Tensor:
    """Latents of silence ``[1, frames, C]``: the published ``silence_latent.pt`` or our safetensors form of it.

    Raises:
        WeightsError: neither is there, or it is not one tensor.
    """
    ours, published = folder / "silence_latent.safetensors", folder / "silence_latent.pt"
    if ours.is_file():
        with _open(ours) as reader:
            if list(reader.keys()) != [_SILENCE]:
                raise WeightsError(f"Model not loaded: {ours} does not hold exactly the tensor {_SILENCE}.")
            return _checked_silence(reader.get_tensor(_SILENCE), ours)
    if not published.is_file():
        raise WeightsError(f"Model not loaded: {folder} has no {published.name}.")
    try:
        stored = torch.load(published, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise WeightsError(f"Model not loaded: {published} is not a plain tensor file.") from error
    if not isinstance(stored, Tensor) or stored.dim() != 3:
        raise WeightsError(f"Model not loaded: {published} does not hold one [1, channels, frames] tensor.")
    return _checked_silence(stored.transpose(1, 2), published)  # [1, C, frames] -> [1, frames, C]


def _checked_silence(latents: Tensor, path: Path) -> Tensor:
    if latents.dim() != 3 or latents.shape[0] != 1 or latents.shape[1] < FRAMES_PER_CODE:
        raise WeightsError(
            f"Model not loaded: {path} has the shape {list(latents.shape)}, not [1, frames, channels]."
        )
    return latents.float()


def read_json(path: Path) -> dict[str, object]:
    """A JSON object from a weights folder.

    Raises:
        WeightsError: missing or not a JSON object.
    """
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise WeightsError(f"Model not loaded: cannot read {path} ({error.strerror}).") from error
    except ValueError as error:
        raise WeightsError(f"Model not loaded: {path} is not JSON ({error}).") from error
    if not isinstance(raw, dict):
        raise WeightsError(f"Model not loaded: {path} is not a JSON object.")
    return raw


def _open(path: Path) -> safe_open:
    try:
        return safe_open(str(path), framework="pt")
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"Model not loaded: {path} is not a readable safetensors file ({error}).") from error


def _cast(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    return tensor.to(dtype) if tensor.is_floating_point() else tensor


def _check(expected: dict[str, Tensor], found: dict[str, safe_open], paths: list[Path]) -> None:
    missing = sorted(expected.keys() - found.keys())
    extra = sorted(found.keys() - expected.keys())
    problems = [*_summary("missing", missing), *_summary("unexpected", extra)]
    wrong = []
    for name in expected.keys() & found.keys():
        shape = tuple(found[name].get_slice(name).get_shape())
        if shape != tuple(expected[name].shape):
            wrong.append(f"{name} is {list(shape)}, not {list(expected[name].shape)}")
    problems += _summary("of the wrong shape", sorted(wrong))
    if problems:
        where = ", ".join(map(str, paths))
        raise WeightsError(f"Model not loaded: {where} does not match the network; {'; '.join(problems)}.")


def _summary(kind: str, names: list[str]) -> Iterator[str]:
    if names:
        more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
        yield f"{len(names)} tensors {kind}: {', '.join(names[:_LISTED])}{more}"
