"""Folders of Qwen3 networks: the configuration, the weights under either of their two spellings, the vocabulary.

In: a folder. Out: a transformers network with its weights, a ``tokenizers.Tokenizer``. Refuses to know what either is
used for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from huggingface_hub.errors import StrictDataclassError
from tokenizers import Tokenizer
from transformers import Qwen3Config, Qwen3Model

from acestep.checkpoints.load import load_strict, one_by_one, read_json, stored_strict
from acestep.checkpoints.tensors import weight_files
from acestep.errors import WeightsError
from acestep.models.qwen3 import Qwen3Decoder, Qwen3Sizes

_PREFIX = "model."  # of every tensor in files written by the network with a head; the published ones lack it
_TABLE = "embed_tokens.weight"
_SIZES = (
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "vocab_size",
)


def read_qwen3_config(folder: Path) -> Qwen3Config:
    """Sizes of the network in ``folder``.

    Raises:
        WeightsError: ``config.json`` is not there, or describes another architecture or no network at all.
    """
    path = folder / "config.json"
    raw = read_json(path)
    problems = list(_problems(raw))
    if problems:
        raise WeightsError(f"Model not loaded: {path} does not describe a Qwen3 network: {'; '.join(problems)}.")
    try:
        config = Qwen3Config(**raw)
    except (StrictDataclassError, TypeError, ValueError) as error:
        raise WeightsError(f"Model not loaded: {path} does not describe a Qwen3 network.") from error
    config._attn_implementation = "sdpa"
    return config


def fill_qwen3(network: Qwen3Model, folder: Path, dtype: torch.dtype) -> Qwen3Model:
    """Give a network built on the meta device its weights, spelled with or without ``model.`` in front.

    Raises:
        WeightsError: files are missing or broken, see ``load_strict``.
    """
    rotary = network.rotary_emb
    load_strict(network, weight_files(folder, "model"), dtype, rename=_without_prefix)
    network.rotary_emb = type(rotary)(config=network.config)  # its tables are not weights, so they were left on meta
    return network.eval()


def load_qwen3(folder: Path, dtype: torch.dtype) -> Qwen3Model:
    """The network without a head: token ids to hidden states.

    Raises:
        WeightsError: files are missing or broken.
    """
    config = read_qwen3_config(folder)
    with torch.device("meta"):
        network = Qwen3Model(config)
    return fill_qwen3(network, folder, dtype)


def load_decoder(folder: Path, dtype: torch.dtype, device: torch.device) -> Qwen3Decoder:
    """The planner's network as our own decoder, layer by layer: never a second copy of more than a layer.

    A tensor of that type that nothing is made of, as the embedding table, stays memory-mapped on the CPU.

    Raises:
        WeightsError: files are missing or broken, or describe a network that the decoder does not compute.
    """
    sizes = _decoder_sizes(read_qwen3_config(folder), folder / "config.json")
    files = weight_files(folder, "model")
    expected = {name: torch.empty(shape, device="meta") for name, shape in sizes.shapes()}
    stored = stored_strict(expected, files, _without_prefix)
    read = one_by_one(stored, files, dtype)
    table = stored[_TABLE].load(dtype)
    return Qwen3Decoder(sizes, lambda name: (table if name == _TABLE else read(name)).to(device)).eval()


def _decoder_sizes(config: Qwen3Config, path: Path) -> Qwen3Sizes:
    expected = {
        "tie_word_embeddings": True,
        "attention_bias": False,
        "hidden_act": "silu",
        "use_sliding_window": False,
    }
    rope = config.rope_parameters
    odd = [f"{key}={getattr(config, key)!r}" for key, value in expected.items() if getattr(config, key) != value]
    odd += [f"rope_type={rope['rope_type']!r}"] if rope["rope_type"] != "default" else []
    if odd:
        raise WeightsError(f"Model not loaded: {path} has {', '.join(odd)}, which is not supported.")
    same = {name: getattr(config, name) for name in (*_SIZES, "max_position_embeddings", "rms_norm_eps")}
    return Qwen3Sizes(**same, rope_theta=rope["rope_theta"])


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
    if kind != Qwen3Config.model_type:
        yield f"model_type is {kind!r}, not {Qwen3Config.model_type!r}"
    wrong = [f"{key}={raw.get(key)!r}" for key in _SIZES if not _is_size(raw.get(key))]
    if wrong:
        yield f"{', '.join(wrong)} should be whole numbers above 0"
    elif raw["num_attention_heads"] % raw["num_key_value_heads"]:
        yield f"{raw['num_attention_heads']} heads are not a multiple of {raw['num_key_value_heads']} key/value heads"


def _is_size(value: object) -> bool:
    return type(value) is int and value > 0


def _without_prefix(name: str) -> str:
    return name.removeprefix(_PREFIX)
