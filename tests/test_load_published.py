"""The published checkpoints load: every name, shape and type, strictly, through the meta device and memory maps."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path

import pytest
import torch
from torch import nn

from acestep.checkpoints.family import load_family
from acestep.checkpoints.files import read_json
from acestep.checkpoints.language_transformers import load_language_model
from acestep.checkpoints.load import load_strict
from acestep.checkpoints.qwen3 import load_decoder
from acestep.checkpoints.registry import COMPONENTS, MODELS
from acestep.checkpoints.registry import LANGUAGE_MODELS as LANGUAGE_ROWS
from acestep.checkpoints.rows import Scale
from acestep.checkpoints.tensors import weight_files
from acestep.devices import Placement
from acestep.errors import WeightsError
from acestep.models.acestep_model import AceStepModel
from acestep.models.config import AceStepConfig
from acestep.models.oobleck import Oobleck
from acestep.models.vae_config import OobleckConfig

from published_shapes import (
    LANGUAGE_MODELS,
    TEXT_ENCODER,
    TWO_B,
    XL,
    Shapes,
    Transformer,
    qwen_shapes,
    transformer_shapes,
    vae_shapes,
)
from published_support import (
    SILENCE_FRAMES,
    bytes_on_disk,
    folder_to_map,
    publish_family,
    publish_qwen,
    publish_text_encoder,
    publish_transformer,
    publish_vae,
)
from vocabulary_support import made_up_json, write_tokenizer

DISK_MAX = 40_000_000  # of everything one test writes
SMALL_LM = "acestep-5Hz-lm-0.6B"


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """A weights folder whose giant files must not take room, and are gone after the test."""
    yield tmp_path
    assert bytes_on_disk(tmp_path) < DISK_MAX
    shutil.rmtree(tmp_path)


@pytest.fixture
def mapped(tmp_path: Path) -> Iterator[Path]:
    """The same for weights that are of the wanted type already, of which hardly anything is read."""
    with folder_to_map(tmp_path) as folder:
        yield folder
        assert bytes_on_disk(folder) < DISK_MAX


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tokenizer(tmp_path_factory.mktemp("vocabulary"), made_up_json()) / "tokenizer.json"


def shapes_of(network: nn.Module) -> Shapes:
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}


def assert_loaded(network: nn.Module, dtype: torch.dtype) -> None:
    """In eval mode, frozen, in one type, and nothing on the meta device, not even what is no weight."""
    assert not network.training
    assert not any(parameter.requires_grad for parameter in network.parameters())
    tensors = dict(chain(network.named_parameters(), network.named_buffers()))
    in_fp32 = ("frequencies", "inv_freq")  # of rotations
    assert {tensor.dtype for name, tensor in tensors.items() if not name.endswith(in_fp32)} == {dtype}
    assert {tensor.device.type for tensor in tensors.values()} == {"cpu"}


@pytest.mark.parametrize(
    ("shapes", "scale", "count"),
    [
        pytest.param(transformer_shapes(TWO_B), MODELS["acestep-v15-turbo"].scale, 677, id="2B"),
        pytest.param(transformer_shapes(XL), MODELS["acestep-v15-xl-turbo"].scale, 829, id="XL"),
        pytest.param(vae_shapes(), COMPONENTS["vae"].scale, None, id="vae"),
        pytest.param(qwen_shapes(TEXT_ENCODER), COMPONENTS["Qwen3-Embedding-0.6B"].scale, 310, id="text encoder"),
    ],
)
def test_the_tables_have_the_published_totals(shapes: Shapes, scale: Scale, count: int | None) -> None:
    assert sum(map(math.prod, shapes.values())) == scale.parameters
    assert count in {None, len(shapes)}


@pytest.mark.parametrize("name", LANGUAGE_MODELS)
def test_language_models_have_the_published_totals(name: str) -> None:
    total = sum(map(math.prod, qwen_shapes(LANGUAGE_MODELS[name]).values()))
    assert total == pytest.approx(LANGUAGE_ROWS[name].scale.parameters, abs=100_000)


def test_a_published_family_loads(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    """All four folders together; the transformer, which has tests of its own, with two layers."""
    size = replace(TWO_B, layers=2)
    publish_family(root, size, "acestep-v15-turbo")
    placement = Placement(torch.device("cpu"), torch.bfloat16, "test")
    family = load_family(MODELS["acestep-v15-turbo"], root, placement)
    assert shapes_of(family.model) == transformer_shapes(size)
    assert family.silence.shape == (1, SILENCE_FRAMES, 64)
    for network in family.networks.values():
        assert_loaded(network, torch.bfloat16)
    assert caplog.records == []


@pytest.mark.parametrize(
    ("size", "dtype"),
    [
        pytest.param(TWO_B, torch.bfloat16, id="2B bf16"),
        pytest.param(replace(TWO_B, kind="F32"), torch.float32, id="2B fp32"),
        pytest.param(XL, torch.float32, id="XL fp32"),
    ],
)
def test_a_published_transformer_loads(mapped: Path, size: Transformer, dtype: torch.dtype) -> None:
    assert_transformer_loads(mapped, size, dtype)


def test_a_published_transformer_loads_in_another_type(root: Path) -> None:
    """XL in fp32 to bf16, with two layers."""
    assert_transformer_loads(root, replace(XL, layers=2), torch.bfloat16)


def assert_transformer_loads(root: Path, size: Transformer, dtype: torch.dtype) -> None:
    folder = publish_transformer(root, size)
    with torch.device("meta"):
        network = AceStepModel(AceStepConfig.from_dict(read_json(folder / "config.json")))
    load_strict(network, weight_files(folder, "model"), dtype)
    assert shapes_of(network) == transformer_shapes(size)
    assert_loaded(network, dtype)
    assert network.config.prepends_timbre_token == (size.width == XL.width)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_the_published_autoencoder_loads(root: Path, dtype: torch.dtype) -> None:
    folder = publish_vae(root / "vae")
    with torch.device("meta"):
        network = Oobleck(OobleckConfig())
    load_strict(network, weight_files(folder, "diffusion_pytorch_model"), dtype)
    assert shapes_of(network) == vae_shapes()
    assert_loaded(network, dtype)


def test_the_published_text_encoder_loads_in_float32(root: Path) -> None:
    network = load_decoder(publish_text_encoder(root / "text"), torch.float32, torch.device("cpu"), answers=False)
    assert dict(network.sizes.shapes()) == qwen_shapes(TEXT_ENCODER)
    assert_loaded(network, torch.float32)


@pytest.mark.parametrize(
    ("name", "dtype", "prefix", "shards"),
    [
        pytest.param(SMALL_LM, torch.bfloat16, "", 1, id="0.6B"),
        pytest.param(SMALL_LM, torch.bfloat16, "model.", 1, id="0.6B with prefix"),
        pytest.param("acestep-5Hz-lm-1.7B", torch.bfloat16, "", 1, id="1.7B"),
        pytest.param("acestep-5Hz-lm-4B", torch.bfloat16, "", 2, id="4B"),
    ],
)
def test_a_published_language_model_loads(
    mapped: Path, vocabulary: Path, name: str, dtype: torch.dtype, prefix: str, shards: int
) -> None:
    size = LANGUAGE_MODELS[name]
    folder = publish_qwen(mapped / name, size, prefix, shards)
    (folder / "tokenizer.json").symlink_to(vocabulary)
    network, loaded = load_language_model(folder, dtype)
    assert shapes_of(network) == qwen_shapes(size, "model.") | {"lm_head.weight": (size.vocabulary, size.width)}
    assert_loaded(network, dtype)
    assert network.lm_head.weight is network.model.embed_tokens.weight
    assert loaded.size == size.vocabulary == 217_204


def test_the_vocabulary_has_the_published_layout(mapped: Path, vocabulary: Path) -> None:
    folder = publish_qwen(mapped, replace(LANGUAGE_MODELS[SMALL_LM], layers=1))
    (folder / "tokenizer.json").symlink_to(vocabulary)
    _, loaded = load_language_model(folder, torch.bfloat16)
    ids = {"<|endoftext|>": 151_643, "<|im_end|>": 151_645, "<think>": 151_667, "</think>": 151_668}
    codes = {0: 151_669, 63_999: 215_668, 65_534: 217_203}
    assert {name: loaded.control(name) for name in ids} == ids
    assert {code: loaded.code(code) for code in codes} == codes


def test_the_embedded_language_model_loads() -> None:
    network, vocabulary = load_language_model(Path(__file__).parents[1] / "weights" / "tiny" / "lm", torch.float32)
    assert_loaded(network, torch.float32)
    assert network.lm_head.weight is network.model.embed_tokens.weight
    assert vocabulary.size == network.config.vocab_size == 5056
    ids = torch.tensor([vocabulary.text("calm piano")])
    states = network.model(ids).last_hidden_state
    torch.testing.assert_close(network(ids).logits, states @ network.model.embed_tokens.weight.T)


def test_a_vocabulary_larger_than_the_network_is_refused(tmp_path: Path) -> None:
    folder = embedded_lm(tmp_path)
    raw = json.loads((folder / "tokenizer.json").read_text())
    raw["added_tokens"].append(raw["added_tokens"][-1] | {"id": 5056, "content": "<|audio_code_4096|>"})
    (folder / "tokenizer.json").write_text(json.dumps(raw))
    with pytest.raises(WeightsError, match=r"lm/tokenizer.json has 5057 tokens, the network only 5056 embeddings\.$"):
        load_language_model(folder, torch.float32)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"tie_word_embeddings": False}, "has tie_word_embeddings=false; only true is supported"),
        ({"model_type": "llama"}, "model_type is 'llama', not 'qwen3'"),
        ({"num_key_value_heads": 3}, "4 heads are not a multiple of 3 key/value heads"),
        ({"hidden_size": 0, "head_dim": None}, "hidden_size=0, head_dim=None should be whole numbers above 0"),
        ({"rms_norm_eps": "small"}, "does not describe a Qwen3 network"),
        ({"vocab_size": 5057}, r"embed_tokens.weight is \[5056, 128\], not \[5057, 128\]"),
    ],
)
def test_language_models_of_another_kind_are_refused(tmp_path: Path, change: dict[str, object], words: str) -> None:
    folder = embedded_lm(tmp_path)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(WeightsError, match=words) as caught:
        load_language_model(folder, torch.float32)
    assert str(folder) in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('"<|audio_code_7|>"', '"<|audio_code_07|>"', "token 967 is '<|audio_code_07|>', not <|audio_code_7|>"),
        ('"<|audio_code_0|>"', '"<|other|>"', "it has no audio codes"),
        ('"<think>"', '"<thought>"', "it lacks <think>"),
    ],
)
def test_vocabularies_of_another_kind_are_refused(tmp_path: Path, old: str, new: str, words: str) -> None:
    folder = embedded_lm(tmp_path)
    text = (folder / "tokenizer.json").read_text()
    assert old in text
    (folder / "tokenizer.json").write_text(text.replace(old, new))
    with pytest.raises(WeightsError) as caught:
        load_language_model(folder, torch.float32)
    assert words in str(caught.value)


def test_a_vocabulary_that_is_none(tmp_path: Path) -> None:
    folder = embedded_lm(tmp_path)
    (folder / "tokenizer.json").write_text('{"model": {"vocab": {}}}')
    with pytest.raises(WeightsError, match="holds no byte-pair vocabulary"):
        load_language_model(folder, torch.float32)


def embedded_lm(folder: Path) -> Path:
    """A copy to spoil."""
    return Path(shutil.copytree(Path(__file__).parents[1] / "weights" / "tiny" / "lm", folder / "lm"))
