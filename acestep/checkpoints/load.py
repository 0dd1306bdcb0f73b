"""Weight files into networks: memory-mapped, strict, no second copy, every problem in one error.

In: weight files and a network built on the meta device. Out: the network with its weights, in eval mode.
Refuses to know model names, the hub and tasks. Never unpickles code.
"""

from __future__ import annotations

import fnmatch
import math
import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from acestep.checkpoints.tensors import (
    FLOATS,
    Contents,
    StoredTensor,
    WeightFiles,
    open_safetensors,
    read_contents,
    summary,
)
from acestep.constants import FRAMES_PER_CODE
from acestep.errors import WeightsError

_SILENCE = "silence_latent"


def load_strict(
    network: nn.Module,
    files: WeightFiles,
    dtype: torch.dtype,
    rename: Callable[[str], str] = str,
    ignore: Sequence[str] = (),
) -> nn.Module:
    """Give a network built on the meta device its weights.

    Args:
        network: whose parameters say which names and shapes are expected; all of them are floating-point.
        files: that together hold exactly those tensors, in any floating-point type.
        dtype: of the network. Tensors of that type stay memory-mapped; others are copied one at a time, so that no
            more than one tensor is in memory twice.
        rename: from the names in the files to those of the network.
        ignore: patterns (fnmatch) of the network's names; tensors of that name are no surplus, and are never read.

    Raises:
        WeightsError: unreadable files, missing or extra tensors, wrong shapes and types: all of them in one text.
            Then NaN and infinity, looked for where weights are read anyway, which is every copy; of what stays
            mapped only vectors (norms, biases) are read for it.
    """
    expected = network.state_dict()
    stored = stored_strict(expected, files, rename, ignore)
    state = {name: stored[name].load(dtype) for name in expected}
    broken = [name for name, tensor in state.items() if not _is_sound(tensor, stored[name])]
    _refuse(files, summary(f"that {_says(dtype)} cannot hold (NaN or infinity)", broken))
    network.load_state_dict(state, strict=True, assign=True)
    return network.eval().requires_grad_(False)


def stored_strict(
    expected: Mapping[str, Tensor],
    files: WeightFiles,
    rename: Callable[[str], str] = str,
    ignore: Sequence[str] = (),
) -> dict[str, StoredTensor]:
    """The tensors of ``files``, none of them read yet, if they are those that are expected and those to be ignored.

    Args:
        expected: tensors, which may be on the meta device, by the network's names.
        files, rename, ignore: as in `load_strict`.

    Raises:
        WeightsError: unreadable files, missing or extra tensors, wrong shapes and types: all of them in one text.
    """
    contents = read_contents(files, rename)
    _refuse(files, [*contents.problems, *_differences(expected, contents, ignore)])
    return contents.tensors


def one_by_one(stored: Mapping[str, StoredTensor], files: WeightFiles, dtype: torch.dtype) -> Callable[[str], Tensor]:
    """For networks that make their own weights of the stored ones: reads a tensor by its name, whole.

    Its memory, mapped or not, is gone with it. Raises WeightsError for NaN and infinity.
    """

    def read(name: str) -> Tensor:
        tensor = stored[name].load_alone(dtype)
        if not _is_finite(tensor):
            _refuse(files, summary(f"that {_says(dtype)} cannot hold (NaN or infinity)", [name]))
        return tensor

    return read


def load_silence(folder: Path) -> Tensor:
    """Latents of silence ``[1, frames, C]``: the published ``silence_latent.pt`` or our safetensors form of it.

    Raises:
        WeightsError: neither is there, or it is not one tensor.
    """
    ours, published = folder / "silence_latent.safetensors", folder / "silence_latent.pt"
    if ours.is_file():
        return _checked_silence(_only_tensor(ours), ours)
    if not published.is_file():
        raise WeightsError(f"Model not loaded: {folder} has no {published.name}.")
    try:
        stored = torch.load(published, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError) as error:
        raise WeightsError(f"Model not loaded: {published} is not a plain tensor file.") from error
    if not isinstance(stored, Tensor) or stored.dim() != 3:
        raise WeightsError(f"Model not loaded: {published} does not hold one [1, channels, frames] tensor.")
    return _checked_silence(stored.transpose(1, 2), published)  # [1, C, frames] -> [1, frames, C]


def _only_tensor(path: Path) -> Tensor:
    try:
        with open_safetensors(path) as reader:
            if list(reader.keys()) == [_SILENCE]:
                return reader.get_tensor(_SILENCE)
    except WeightsError as error:
        raise WeightsError(f"Model not loaded: {path.parent}: {error}.") from error
    raise WeightsError(f"Model not loaded: {path} does not hold exactly the tensor {_SILENCE}.")


def _checked_silence(latents: Tensor, path: Path) -> Tensor:
    if latents.dim() != 3 or latents.shape[0] != 1 or latents.shape[1] < FRAMES_PER_CODE:
        raise WeightsError(
            f"Model not loaded: {path} has the shape {list(latents.shape)}, not [1, frames, channels]."
        )
    if not _is_finite(latents):
        raise WeightsError(f"Model not loaded: {path} holds NaN or infinity.")
    return latents.float()


def _refuse(files: WeightFiles, problems: Iterator[str] | list[str]) -> None:
    clauses = "; ".join(problems)
    if clauses:
        raise WeightsError(f"Model not loaded: {files.place} cannot be used: {clauses}.")


def _differences(expected: Mapping[str, Tensor], contents: Contents, ignore: Sequence[str]) -> Iterator[str]:
    """Clauses on how the files differ from what the network wants."""
    found = contents.tensors
    if not contents.blind:
        yield from summary("missing", expected.keys() - found.keys() - contents.excused)
    surplus = found.keys() - expected.keys()
    ignored = {name for pattern in ignore for name in fnmatch.filter(surplus, pattern)}
    yield from summary("unexpected", surplus - ignored)
    common = [(found[name], name, expected[name].shape) for name in expected.keys() & found.keys()]
    shapes = [
        f"{name} is {list(here.shape)}, not {list(shape)}" for here, name, shape in common if here.shape != shape
    ]
    yield from summary("of the wrong shape", shapes)
    kinds = [f"{name} is {here.kind}" for here, name, _ in common if here.kind not in FLOATS]
    yield from summary(f"of a type that is none of {', '.join(FLOATS)}", kinds)


def _is_sound(tensor: Tensor, stored: StoredTensor) -> bool:
    """False if what has to be read of ``tensor`` has NaN or infinity; mapped matrices are not read for it."""
    mapped = FLOATS[stored.kind] is tensor.dtype
    return (mapped and tensor.dim() > 1) or _is_finite(tensor)


def _is_finite(tensor: Tensor) -> bool:
    return all(math.isfinite(extreme) for extreme in torch.aminmax(tensor))


def _says(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
