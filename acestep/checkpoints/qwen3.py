"""Folders of Qwen3 networks: the configuration, the weights under either of their two spellings, the vocabulary.

In: a folder. Out: our decoder with its weights, a ``tokenizers.Tokenizer``. Refuses to know what either is used for,
and transformers, whose import takes longer than all others together.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from tokenizers import Tokenizer

from acestep.checkpoints.files import read_json
from acestep.checkpoints.load import one_by_one, stored_strict
from acestep.checkpoints.tensors import weight_files
from acestep.errors import WeightsError
from acestep.models.qwen3 import Qwen3Decoder, Qwen3Sizes

MODEL_TYPE = "qwen3"
_PREFIX = "model."  # of every tensor in files written by the network with a head; the published ones lack it
_TABLE = "embed_tokens.weight"
CONFIG = "config.json"
_FIXED = {"attention_bias": False, "hidden_act": "silu", "use_sliding_window": False}
_SIZES = (
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "vocab_size",
    "max_position_embeddings",
)
_EPS, _USUAL_EPS = "rms_norm_eps", 1e-6


def load_decoder(folder: Path, dtype: torch.dtype, device: torch.device, *, answers: bool = True) -> Qwen3Decoder:
    """A network as our own decoder, layer by layer: never a second copy of more than a layer.

    A tensor of that type that nothing is made of, as the embedding table, stays memory-mapped on the CPU.

    Args:
        answers: its head is asked for, too; it must be the embedding table.

    Raises:
        WeightsError: files are missing or broken, or describe a network that the decoder does not compute.
    """
    sizes = _sizes(checked_config(folder), folder / CONFIG, answers=answers)
    files = weight_files(folder, "model")
    expected = {name: torch.empty(shape, device="meta") for name, shape in sizes.shapes()}
    stored = stored_strict(expected, files, without_prefix)
    read = one_by_one(stored, files, dtype)
    table = stored[_TABLE].load(dtype)
    return Qwen3Decoder(sizes, lambda name: (table if name == _TABLE else read(name)).to(device)).eval()


def checked_config(folder: Path) -> dict[str, object]:
    """The ``config.json`` of the network in ``folder``.

    Raises:
        WeightsError: it is not there, or describes another architecture or no network at all.
    """
    path = folder / CONFIG
    raw = read_json(path)
    problems = list(_problems(raw))
    if problems:
        raise WeightsError(f"Model not loaded: {path} does not describe a Qwen3 network: {'; '.join(problems)}.")
    return raw


def without_prefix(name: str) -> str:
    """The name of a tensor as published files spell it."""
    return name.removeprefix(_PREFIX)


def _sizes(raw: Mapping[str, object], path: Path, *, answers: bool) -> Qwen3Sizes:
    fixed = {**_FIXED, "tie_word_embeddings": True} if answers else _FIXED
    odd = [f"{key}={raw[key]!r}" for key, value in fixed.items() if raw.get(key, value) != value]
    rope = _rope(raw)
    odd += [f"rope_type={rope['rope_type']!r}"] if rope.get("rope_type", "default") != "default" else []
    if odd:
        raise WeightsError(f"Model not loaded: {path} has {', '.join(odd)}, which is not supported.")
    sizes = {name: raw[name] for name in _SIZES}
    return Qwen3Sizes(**sizes, rms_norm_eps=raw.get(_EPS, _USUAL_EPS), rope_theta=rope["rope_theta"])


def _rope(raw: Mapping[str, object]) -> dict[str, object]:
    """What a file says of the rotation, in the spelling of transformers 4 or 5."""
    either = raw.get("rope_parameters") or raw.get("rope_scaling")
    return {"rope_theta": raw.get("rope_theta"), **(either if isinstance(either, dict) else {})}


def read_tokenizer(folder: Path) -> Tokenizer:
    """The vocabulary in ``folder``, as its ``tokenizer.json`` has it.

    Raises:
        WeightsError: it is not there, or not a byte-pair vocabulary.
    """
    path = folder / "tokenizer.json"
    model = read_json(path).get("model")
    parts = model if isinstance(model, dict) else {}
    if not isinstance(parts.get("vocab"), dict) or not isinstance(parts.get("merges"), list):
        raise WeightsError(f"Model not loaded: {path} holds no byte-pair vocabulary.")
    return Tokenizer.from_file(str(path))


def _problems(raw: Mapping[str, object]) -> Iterator[str]:
    kind = raw.get("model_type")
    if kind != MODEL_TYPE:
        yield f"model_type is {kind!r}, not {MODEL_TYPE!r}"
    wrong = [f"{key}={raw.get(key)!r}" for key in _SIZES if not _is_size(raw.get(key))]
    if wrong:
        yield f"{', '.join(wrong)} should be whole numbers above 0"
    elif raw["num_attention_heads"] % raw["num_key_value_heads"]:
        yield f"{raw['num_attention_heads']} heads are not a multiple of {raw['num_key_value_heads']} key/value heads"
    numbers = {"rope_theta": _rope(raw)["rope_theta"], _EPS: raw.get(_EPS, _USUAL_EPS)}
    wrong = [f"{key}={value!r}" for key, value in numbers.items() if not _is_number(value)]
    if wrong:
        yield f"{', '.join(wrong)} should be numbers above 0"


def _is_size(value: object) -> bool:
    return type(value) is int and value > 0


def _is_number(value: object) -> bool:
    return type(value) in {int, float} and value > 0
