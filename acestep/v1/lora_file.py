"""The file of a low-rank adapter: which pairs it holds, how strong they say they are, what is wrong with it.

In: an ``AdapterFile``. Out: an ``Adapter``, its tensors the file's own pages. Refuses to know networks and where
files come from. Never unpickles.

Names of tensors: ``<module>.lora_A.weight`` and ``lora_B`` (PEFT, diffusers; also with an adapter's name between),
``lora_down``/``lora_up`` or ``lora.down``/``lora.up`` (older trainers), behind any of the prefixes that programs put
before a module's name.

The scale is that of Hu et al., "LoRA" (2021), alpha / r, or of Kalajdzievski, "rsLoRA" (2023), alpha / sqrt(r), where
the file states an alpha: as a tensor ``<module>.alpha``, in the header (``lora_adapter_metadata``) or in PEFT's
``adapter_config.json`` beside ``adapter_model.safetensors``. Where nothing does, as in the files that this family's
trainer writes, it is 1: so upstream plays them.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

from acestep.checkpoints.tensors import FLOATS, open_safetensors, summary
from acestep.errors import InputError, UnsupportedError, WeightsError, shown
from acestep.v1.adapter_source import FIELD, PEFT_CONFIG, PEFT_FILE, AdapterFile
from acestep.v1.lora import Adapter, Pair

_PREFIXES = re.compile(r"(?:base_model\.model\.|transformer\.|diffusion_model\.)*")
_HALF = re.compile(r"(?P<module>.+)\.(?:lora_(?P<new>A|B|down|up)(?:\.\w+)?|lora\.(?P<old>down|up))\.weight")
_ALPHA = ".alpha"
_DOWN = frozenset({"A", "down"})
_OTHERS = {  # how names of tensors betray a method whose effect pairs cannot have, or only half of it
    r"\.lokr_": "LoKr",
    r"\.hada_": "LoHa",
    r"\.b?oft_": "OFT",
    r"\.(?:dora_scale|lora_magnitude_vector)": "DoRA",
    r"\.lora_embedding_": "LoRA of an embedding",
    r"\.lora_[AB](?:\.\w+)?\.bias$": "LoRA with biases",
    r"\.diff(?:_b)?$": "whole differences",
}
_METADATA = "lora_adapter_metadata"


@dataclass(frozen=True, slots=True)
class _Stated:
    """What a file states of its scale: an alpha for all modules, or for some by the end of their name."""

    alpha: float | None = None
    patterns: Mapping[str, float] = field(default_factory=dict)
    rank_stabilised: bool = False

    def scale(self, module: str, alpha: float | None, rank: int) -> float:
        """Of one module; ``alpha`` is that of its own tensor, which goes first."""
        ends = (value for name, value in self.patterns.items() if f".{module}".endswith(f".{name}"))
        stated = alpha if alpha is not None else next(ends, self.alpha)
        if stated is None:
            return 1.0
        return stated / (math.sqrt(rank) if self.rank_stabilised else rank)


def read_adapter(file: AdapterFile) -> Adapter:
    """Read an adapter: names, shapes and whether its numbers are finite; nothing is copied.

    Raises:
        InputError: not safetensors, incomplete pairs, shapes that do not go together, NaN or infinity, or settings
            that cannot be read.
        UnsupportedError: another method than LoRA, or no pair at all.
    """
    reader = _open(file)
    names: list[str] = list(reader.keys())
    _refuse_others(file, names)
    halves, alphas, strays = _sorted(file, reader, names)
    if not halves:
        raise UnsupportedError(_about(file, f"holds no LoRA pair, but {_some(names)}"), field=FIELD)
    lone = {module for module, sides in halves.items() if len(sides) == 1}
    _refuse(file, summary("without its other half", lone))
    stated = _stated(file, reader)
    pairs = {module: _pair(file, module, sides, alphas.get(module), stated) for module, sides in halves.items()}
    _refuse(file, summary("with NaN or infinity", [module for module, pair in pairs.items() if not _finite(pair)]))
    return Adapter(file, pairs, (*strays, *(f"{module}{_ALPHA}" for module in alphas.keys() - halves.keys())))


def _open(file: AdapterFile) -> safe_open:
    try:
        return open_safetensors(file.path)
    except WeightsError as error:
        raise InputError(_about(file, str(error).removeprefix(f"{file.path.name} ")), field=FIELD) from error


def _refuse_others(file: AdapterFile, names: Collection[str]) -> None:
    for sign, method in _OTHERS.items():
        found = [name for name in names if re.search(sign, name)]
        if found:
            text = _about(file, f"is made by {method}, not by plain LoRA: it holds {_some(found)}")
            raise UnsupportedError(text, field=FIELD)


def _sorted(
    file: AdapterFile, reader: safe_open, names: Collection[str]
) -> tuple[dict[str, dict[bool, Tensor]], dict[str, float], list[str]]:
    """The two halves of each module (True is the lower one), alphas by module, and what is neither."""
    halves: dict[str, dict[bool, Tensor]] = {}
    alphas: dict[str, float] = {}
    strays, twice = [], []
    for name in names:
        if name.endswith(_ALPHA):
            alphas[_bare(name.removesuffix(_ALPHA))] = _number(file, name, reader.get_tensor(name))
        elif match := _HALF.fullmatch(name):
            sides = halves.setdefault(_bare(match["module"]), {})
            side = (match["new"] or match["old"]) in _DOWN
            twice += [name] if side in sides else []
            sides[side] = _half(file, reader, name)
        else:
            strays.append(name)
    _refuse(file, summary("in more than one spelling", twice))
    return halves, alphas, strays


def _bare(module: str) -> str:
    """A module's name without what programs put before it."""
    return _PREFIXES.sub("", module, count=1)


def _half(file: AdapterFile, reader: safe_open, name: str) -> Tensor:
    kind = str(reader.get_slice(name).get_dtype())
    if kind not in FLOATS:
        _refuse(file, [f"{name} is of the type {kind}, which is none of {', '.join(FLOATS)}"])
    return reader.get_tensor(name)


def _pair(file: AdapterFile, module: str, sides: Mapping[bool, Tensor], alpha: float | None, stated: _Stated) -> Pair:
    down, up = sides[True], sides[False]
    fits = down.dim() == up.dim() > 1 and down.shape[0] == up.shape[1] and set(up.shape[2:]) <= {1}
    if not fits or 0 in {*down.shape, *up.shape}:
        _refuse(file, [f"the halves of {module} do not go together: {list(down.shape)} and {list(up.shape)}"])
    return Pair(down, up, stated.scale(module, alpha, down.shape[0]))


def _stated(file: AdapterFile, reader: safe_open) -> _Stated:
    """What the header or PEFT's file beside states of the scale."""
    text = (reader.metadata() or {}).get(_METADATA)
    beside = file.path.with_name(PEFT_CONFIG)
    if text is None and file.path.name == PEFT_FILE and beside.is_file():
        text = _text(file, beside)
    if text is None:
        return _Stated()
    try:
        raw = {_bare(key): value for key, value in json.loads(text).items()}
        patterns = {_bare(name): _finite_number(value) for name, value in (raw.get("alpha_pattern") or {}).items()}
        alpha = raw.get("lora_alpha")
        return _Stated(None if alpha is None else _finite_number(alpha), patterns, raw.get("use_rslora") is True)
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise InputError(_about(file, "states its scale in a way that cannot be read"), field=FIELD) from error


def _text(file: AdapterFile, path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise InputError(_about(file, f"has a {path.name} beside it that cannot be read"), field=FIELD) from error


def _number(file: AdapterFile, name: str, tensor: Tensor) -> float:
    if tensor.numel() != 1 or not torch.isfinite(tensor.float()).all():
        _refuse(file, [f"{name} is not one finite number"])
    return float(tensor)


def _finite_number(value: object) -> float:
    if isinstance(value, (int, float)) and math.isfinite(value):
        return float(value)
    raise ValueError("not a finite number")


def _finite(pair: Pair) -> bool:
    return all(math.isfinite(extreme) for half in (pair.down, pair.up) for extreme in torch.aminmax(half))


def _refuse(file: AdapterFile, problems: Iterator[str] | list[str]) -> None:
    clauses = "; ".join(problems)
    if clauses:
        raise InputError(_about(file, f"cannot be used: {clauses}"), field=FIELD)


def _some(names: Collection[str]) -> str:
    return f"{len(names)} tensors such as {shown(min(names))}" if names else "nothing"


def _about(file: AdapterFile, words: str) -> str:
    return f"{FIELD}: {shown(file.source)} {words}."
