"""Low-rank adapters: what their pairs of small matrices add to the weights of a network, and how it is taken back.

In: an ``Adapter``, a network, a weight. Out: the network with ``W + weight * scale * up @ down`` in the place of each
W that the adapter names; what brings back the W of before, bit for bit. Refuses to know files, requests, and which
network it is.

Nothing is written into the W of before: most are pages of a checkpoint, which cost nothing to keep.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

import torch
from torch import Tensor, nn

from acestep.devices import trim_host
from acestep.errors import UnsupportedError, shown
from acestep.v1.adapter_source import FIELD, AdapterFile

_WEIGHT = ".weight"


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """What one module's weight is changed by: ``scale * up @ down``.

    Attributes:
        down: [r, in], or [r, in, *kernel] of a convolution.
        up: [out, r], or [out, r, 1, ...].
        scale: alpha / r or alpha / sqrt(r); 1 where the file states no alpha.
    """

    down: Tensor
    up: Tensor
    scale: float

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the weight it fits."""
        return self.up.shape[0], *self.down.shape[1:]

    def added_to(self, weight: Tensor, strength: float) -> Tensor:
        """``weight + strength * scale * up @ down``, computed in fp32, in the type of ``weight``."""
        down, up = (half.to(weight.device, torch.float32).flatten(1) for half in (self.down, self.up))
        sum_ = torch.addmm(weight.float().flatten(1), up * (strength * self.scale), down)  # [out, in * kernel]
        return sum_.view_as(weight).to(weight.dtype)


@dataclass(frozen=True, slots=True, eq=False)
class Adapter:
    """The pairs of one file; their tensors are the file's own pages.

    Attributes:
        file: where they come from.
        pairs: by the name of the module whose ``weight`` they change.
        strays: names of tensors that are part of no pair; nothing reads them.
    """

    file: AdapterFile
    pairs: Mapping[str, Pair]
    strays: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Merged:
    """An adapter that a network plays with.

    Attributes:
        file: where it came from.
        weight: how strong it was asked to be.
        matched: number of modules that it changes.
        dead: number of modules that the checkpoint has but the network has no use for.
        unmatched: names of modules that this family does not have.
        warnings: sentences on what of the file is not played.
        originals: what brings back each changed tensor, by its name; see `kept`.
    """

    file: AdapterFile
    weight: float
    matched: int
    dead: int
    unmatched: tuple[str, ...]
    warnings: tuple[str, ...]
    originals: Mapping[str, Tensor]


def merge(network: nn.Module, adapter: Adapter, weight: float, *, dead: Collection[str] = ()) -> Merged:
    """Add an adapter to a network that plays with none.

    Each changed parameter is a new one, computed in fp32 and rounded once to the type of the old; the old is in
    ``originals``. Either all are changed or, when something fails on the way, none.

    Args:
        network: in eval mode, with all its parameters on one device.
        weight: of the adapter, on top of the scale that its file states.
        dead: patterns (fnmatch) of tensors that checkpoints hold and the network leaves out.

    Raises:
        UnsupportedError: the adapter is of another model (no module in common, or shapes that differ), or so strong
            that a weight becomes infinite.
    """
    shapes = {name: tuple(parameter.shape) for name, parameter in network.named_parameters()}
    pairs = {_tensor(module): pair for module, pair in adapter.pairs.items()}
    matched = {name: pair for name, pair in pairs.items() if name in shapes}
    _check_shapes(adapter, matched, shapes)
    absent = [name.removesuffix(_WEIGHT) for name in pairs if name not in shapes]
    unmatched = tuple(module for module in absent if not any(fnmatchcase(_tensor(module), each) for each in dead))
    if not matched:
        raise UnsupportedError(_of_another_model(adapter, shapes), field=FIELD, value=adapter.file.source)
    originals = _replace_all(network, adapter, matched, weight)
    count = len(absent) - len(unmatched)
    return Merged(adapter.file, weight, len(matched), count, unmatched, _warnings(adapter, unmatched), originals)


def restore(network: nn.Module, originals: Mapping[str, Tensor]) -> None:
    """Give a network back the parameters it had before `merge`, on the device it is on now."""
    for name, original in originals.items():
        _put(network, name, original)


def kept(weight: Tensor) -> Tensor:
    """``weight`` in a form that costs the host little and still holds every bit of it.

    A tensor of the host is kept as it is, for it may be pages of a file; unless it is bf16 that was widened to fp32,
    of which the narrow form says all. One of a GPU is copied to the host, so that the GPU has no weight twice.
    """
    if weight.dtype is torch.float32:
        narrow = weight.bfloat16()
        if torch.equal(narrow.float(), weight):
            return narrow.cpu()
    return weight.detach().cpu()


def _tensor(module: str) -> str:
    """The parameter of a module that pairs change."""
    return f"{module}{_WEIGHT}"


def _replace_all(
    network: nn.Module, adapter: Adapter, matched: Mapping[str, Pair], weight: float
) -> dict[str, Tensor]:
    originals: dict[str, Tensor] = {}
    try:
        for name, pair in matched.items():
            before = network.get_parameter(name)
            with torch.no_grad(), torch.inference_mode(False):
                after = pair.added_to(before, weight)
            if not all(math.isfinite(extreme) for extreme in torch.aminmax(after)):
                problem = f"makes a weight of {name.removesuffix(_WEIGHT)} infinite at a weight of {weight:g}"
                raise UnsupportedError(f"{FIELD}: {shown(adapter.file.source)} {problem}.", field=FIELD)
            originals[name] = kept(before)
            _put(network, name, after)
            trim_host()  # before the next: what the steps leave behind would add up to a second network
    except BaseException:  # also one that cancels: half an adapter is never played
        restore(network, originals)
        raise
    return originals


def _put(network: nn.Module, name: str, tensor: Tensor) -> None:
    """Make ``tensor`` the parameter of that name, in the type and on the device of the one it replaces."""
    module, _, leaf = name.rpartition(".")
    owner = network.get_submodule(module)
    now = getattr(owner, leaf)
    with torch.inference_mode(False):
        setattr(owner, leaf, nn.Parameter(tensor.to(now.device, now.dtype), requires_grad=False))


def _check_shapes(adapter: Adapter, matched: Mapping[str, Pair], shapes: Mapping[str, tuple[int, ...]]) -> None:
    wrong = [name for name, pair in matched.items() if pair.shape != shapes[name]]
    if wrong:
        name = wrong[0]
        raise UnsupportedError(
            f"{FIELD}: {shown(adapter.file.source)} is a LoRA of another model: {len(wrong)} of its modules have "
            f"another shape here, such as {name.removesuffix(_WEIGHT)}, which is {list(shapes[name])} and "
            f"not {list(matched[name].shape)}.",
            field=FIELD,
            value=adapter.file.source,
        )


def _of_another_model(adapter: Adapter, parameters: Collection[str]) -> str:
    modules = sorted(adapter.pairs)
    here = next(name for name in parameters if name.endswith(_WEIGHT)).removesuffix(_WEIGHT)
    return (
        f"{FIELD}: {shown(adapter.file.source)} is a LoRA of another model: none of its {len(modules)} modules, "
        f"such as {shown(modules[0])}, is one of those that play here, such as {here!r}."
    )


def _warnings(adapter: Adapter, unmatched: Collection[str]) -> tuple[str, ...]:
    left_out = (
        (len(unmatched), len(adapter.pairs), "modules", unmatched),
        (len(adapter.strays), 2 * len(adapter.pairs) + len(adapter.strays), "tensors", adapter.strays),
    )
    return tuple(
        f"{FIELD}: {count} of the {total} {kind} of {shown(adapter.file.source)} are not played, such as "
        f"{shown(min(names))}."
        for count, total, kind, names in left_out
        if count
    )
