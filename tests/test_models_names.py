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


def decoder_shapes(width: int, queries: int, mlp: int, layers: int) -> dict[str, tuple[int, ...]]:
    """The DiT's table: ``queries`` is the width of all query heads together; keys and values are always 1024."""
    shapes: dict[str, tuple[int, ...]] = {
        "proj_in.1.weight": (width, 192, 2),
        "proj_in.1.bias": (width,),
        "proj_out.1.weight": (width, 64, 2),
        "proj_out.1.bias": (64,),
        "condition_embedder.weight": (width, 2048),
        "condition_embedder.bias": (width,),
        "norm_out.weight": (width,),
        "scale_shift_table": (1, 2, width),
    }
    for name in ("time_embed", "time_embed_r"):
        for part, rows, columns in (
            ("linear_1", width, 256),
            ("linear_2", width, width),
            ("time_proj", 6 * width, width),
        ):
            shapes |= {f"{name}.{part}.weight": (rows, columns), f"{name}.{part}.bias": (rows,)}
    for layer in range(layers):
        here = f"layers.{layer}"
        shapes |= {f"{here}.{norm}.weight": (width,) for norm in ("self_attn_norm", "cross_attn_norm", "mlp_norm")}
        shapes |= attention_shapes(f"{here}.self_attn", width, queries)
        shapes |= attention_shapes(f"{here}.cross_attn", width, queries)
        shapes |= mlp_shapes(f"{here}.mlp", width, mlp) | {f"{here}.scale_shift_table": (1, 6, width)}
    return {f"decoder.{name}": shape for name, shape in shapes.items()}


def attention_shapes(name: str, width: int, queries: int) -> dict[str, tuple[int, ...]]:
    return {
        f"{name}.q_proj.weight": (queries, width),
        f"{name}.k_proj.weight": (1024, width),
        f"{name}.v_proj.weight": (1024, width),
        f"{name}.o_proj.weight": (width, queries),
        f"{name}.q_norm.weight": (128,),
        f"{name}.k_norm.weight": (128,),
    }


def mlp_shapes(name: str, width: int, mlp: int) -> dict[str, tuple[int, ...]]:
    return {
        f"{name}.gate_proj.weight": (mlp, width),
        f"{name}.up_proj.weight": (mlp, width),
        f"{name}.down_proj.weight": (width, mlp),
    }


def stack_shapes(name: str, source: int, layers: int) -> dict[str, tuple[int, ...]]:
    """A stack of the condition side, whose sizes are the same in every checkpoint."""
    shapes: dict[str, tuple[int, ...]] = {
        f"{name}.embed_tokens.weight": (2048, source),
        f"{name}.embed_tokens.bias": (2048,),
        f"{name}.norm.weight": (2048,),
    }
    for layer in range(layers):
        here = f"{name}.layers.{layer}"
        shapes |= {f"{here}.input_layernorm.weight": (2048,), f"{here}.post_attention_layernorm.weight": (2048,)}
        shapes |= attention_shapes(f"{here}.self_attn", 2048, 2048) | mlp_shapes(f"{here}.mlp", 2048, 6144)
    return shapes


CONDITION_SIDE: dict[str, tuple[int, ...]] = {
    "encoder.text_projector.weight": (2048, 1024),
    **stack_shapes("encoder.lyric_encoder", 1024, 8),
    **stack_shapes("encoder.timbre_encoder", 64, 4),
    "encoder.timbre_encoder.special_token": (1, 1, 2048),
    "null_condition_emb": (1, 1, 2048),
    "tokenizer.audio_acoustic_proj.weight": (2048, 64),
    "tokenizer.audio_acoustic_proj.bias": (2048,),
    **stack_shapes("tokenizer.attention_pooler", 2048, 2),
    "tokenizer.attention_pooler.special_token": (1, 1, 2048),
    "tokenizer.quantizer.project_in.weight": (6, 2048),
    "tokenizer.quantizer.project_in.bias": (6,),
    "tokenizer.quantizer.project_out.weight": (2048, 6),
    "tokenizer.quantizer.project_out.bias": (2048,),
    **stack_shapes("detokenizer", 2048, 2),
    "detokenizer.special_tokens": (1, 5, 2048),
    "detokenizer.proj_out.weight": (64, 2048),
    "detokenizer.proj_out.bias": (64,),
}


@pytest.mark.parametrize(
    ("config", "decoder", "count"),
    [
        pytest.param(TWO_B, decoder_shapes(2048, 2048, 6144, 24), 677, id="2B"),
        pytest.param(XL, decoder_shapes(2560, 4096, 9728, 32), 829, id="XL"),
    ],
)
def test_the_state_dict_is_the_published_one(
    config: AceStepConfig, decoder: dict[str, tuple[int, ...]], count: int
) -> None:
    with torch.device("meta"):
        model = AceStepModel(config)
    ours = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    assert ours == decoder | CONDITION_SIDE
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
