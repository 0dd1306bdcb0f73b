"""Names and shapes of every tensor, against the tables of the published checkpoints, and the diffusers key map."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
import torch

from acestep.checkpoints.diffusers_keys import PREFIXES, SILENCE_KEY, to_original
from acestep.errors import WeightsError
from acestep.models.acestep_model import AceStepModel
from acestep.models.config import FULL, WINDOWED, AceStepConfig

import published_shapes
from models_support import SMALL, SMALL_XL, diffusers_twin, random_model

TWO_B = AceStepConfig()
XL = replace(
    TWO_B,
    hidden_size=2560,
    intermediate_size=9728,
    num_hidden_layers=32,
    num_attention_heads=32,
    layer_types=(WINDOWED, FULL) * 16,
    encoder_hidden_size=2048,
    encoder_intermediate_size=6144,
    encoder_num_attention_heads=16,
    encoder_num_key_value_heads=8,
)


@pytest.mark.parametrize(
    ("config", "published", "count"),
    [
        pytest.param(TWO_B, published_shapes.TWO_B, 677, id="2B"),
        pytest.param(XL, published_shapes.XL, 829, id="XL"),
    ],
)
def test_the_state_dict_is_the_published_one(
    config: AceStepConfig, published: published_shapes.Transformer, count: int
) -> None:
    with torch.device("meta"):
        model = AceStepModel(config)
    ours = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    assert ours == published_shapes.transformer_shapes(published)
    assert len(ours) == count


def test_nothing_but_the_named_tensors_needs_data() -> None:
    """A model built on the meta device and filled by assignment computes what the original one does."""
    original = random_model(SMALL)
    with torch.device("meta"):
        filled = AceStepModel(SMALL)
    filled.load_state_dict(original.state_dict(), strict=True, assign=True)
    assert list(original.buffers()) == []
    assert not any(tensor.is_meta for tensor in filled.state_dict().values())
    codes = torch.arange(8).view(2, 4) * 7919
    assert torch.equal(filled.codes_to_latents(codes), original.codes_to_latents(codes))


@pytest.mark.parametrize("config", [SMALL, SMALL_XL], ids=["2B", "XL"])
def test_the_key_map_covers_both_formats_exactly(config: AceStepConfig) -> None:
    model = random_model(config)
    mapped = [
        to_original(sub_model, key) for sub_model in PREFIXES for key in diffusers_twin(sub_model, model).state_dict()
    ]
    assert sorted(mapped) == sorted([*model.state_dict(), SILENCE_KEY])


@pytest.mark.parametrize(
    ("sub_model", "key", "original"),
    [
        ("transformer", "proj_in_conv.weight", "decoder.proj_in.1.weight"),
        ("transformer", "layers.3.cross_attn.to_out.0.weight", "decoder.layers.3.cross_attn.o_proj.weight"),
        ("transformer", "layers.3.self_attn.norm_q.weight", "decoder.layers.3.self_attn.q_norm.weight"),
        ("transformer", "norm_out.weight", "decoder.norm_out.weight"),
        ("condition_encoder", "null_condition_emb", "null_condition_emb"),
        ("condition_encoder", "lyric_encoder.norm.weight", "encoder.lyric_encoder.norm.weight"),
        ("audio_tokenizer", "quantizer.project_in.bias", "tokenizer.quantizer.project_in.bias"),
        ("audio_token_detokenizer", "proj_out.weight", "detokenizer.proj_out.weight"),
    ],
)
def test_single_names(sub_model: str, key: str, original: str) -> None:
    assert to_original(sub_model, key) == original


def test_a_strange_sub_model_is_refused() -> None:
    with pytest.raises(WeightsError, match=re.escape("'vae' is unknown; expected one of transformer")):
        to_original("vae", "decoder.conv1.weight")
