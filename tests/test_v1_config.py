"""The configuration of the v1 transformer: the published file, smaller networks, and everything that is refused."""

from __future__ import annotations

import json
from dataclasses import asdict, fields

import pytest

from acestep.errors import WeightsError
from acestep.v1.config import TransformerConfig

PUBLISHED = json.loads(
    """{
    "_class_name": "ACEStepTransformer2DModel", "_diffusers_version": "0.32.2", "attention_head_dim": 128,
    "in_channels": 8, "inner_dim": 2560, "lyric_encoder_vocab_size": 6693, "lyric_hidden_size": 1024,
    "max_height": 16, "max_position": 32768, "max_width": 32768, "mlp_ratio": 2.5, "num_attention_heads": 20,
    "num_layers": 24, "out_channels": 8, "patch_size": [16, 1], "rope_theta": 1000000.0,
    "speaker_embedding_dim": 512, "ssl_encoder_depths": [8, 8], "ssl_latent_dims": [1024, 768],
    "ssl_names": ["mert", "m-hubert"], "text_embedding_dim": 768
    }"""
)
USED = [key for key in PUBLISHED if not key.startswith(("_", "ssl_"))]


def test_the_published_file() -> None:
    config = TransformerConfig.from_dict(PUBLISHED)
    assert config == TransformerConfig.published()
    assert config.mlp_width == 6400
    assert (config.lyric_layers, config.lyric_heads, config.lyric_intermediate) == (6, 16, 4096)
    assert (config.patch_channels, config.patch_groups) == (2048, 32)
    assert config.erg_diffusion_layers == (15, 16, 17, 18, 19)
    assert (config.erg_lyric_layers, config.erg_tag_layers) == ((4, 5), (8, 9))


def test_every_field_survives_a_round_through_json() -> None:
    small = {
        "lyric_layers": 2,
        "lyric_heads": 8,
        "erg_diffusion_layers": [0],
        "erg_lyric_layers": [],
        "num_layers": 3,
    }
    config = TransformerConfig.from_dict(PUBLISHED | small)
    assert config.erg_lyric_layers == ()
    assert TransformerConfig.from_dict(json.loads(json.dumps(asdict(config)))) == config


@pytest.mark.parametrize("key", USED)
def test_a_missing_key_is_named(key: str) -> None:
    raw = {name: value for name, value in PUBLISHED.items() if name != key}
    with pytest.raises(WeightsError, match=rf"lacks keys: {key}\.$"):
        TransformerConfig.from_dict(raw)


def test_all_unknown_and_all_missing_keys_are_named() -> None:
    with pytest.raises(WeightsError, match=r"does not know: depth, width\.$"):
        TransformerConfig.from_dict(PUBLISHED | {"width": 1, "depth": 2})
    with pytest.raises(WeightsError, match=r"lacks keys: .*inner_dim, .*text_embedding_dim\.$"):
        TransformerConfig.from_dict({})


@pytest.mark.parametrize("value", ["x", None, True, 0, -1, 2.5, [8], {}], ids=repr)
def test_sizes_are_whole_numbers(value: object) -> None:
    with pytest.raises(WeightsError, match=r"has num_layers=.*; expected a whole number above 0\.$"):
        TransformerConfig.from_dict(PUBLISHED | {"num_layers": value})


@pytest.mark.parametrize("value", ["x", None, True, 0.0, -1, float("nan"), float("inf"), [2.5]], ids=repr)
def test_ratios_are_finite_numbers(value: object) -> None:
    with pytest.raises(WeightsError, match=r"has mlp_ratio=.*; expected a number above 0\.$"):
        TransformerConfig.from_dict(PUBLISHED | {"mlp_ratio": value})


@pytest.mark.parametrize("value", [16, "16", [16, 1.0], [True, 1], [-1], None], ids=repr)
def test_lists_hold_whole_numbers(value: object) -> None:
    with pytest.raises(WeightsError, match=r"has patch_size=.*; expected a list of whole numbers from 0\.$"):
        TransformerConfig.from_dict(PUBLISHED | {"patch_size": value})


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"inner_dim": 2048}, "inner_dim=2048 is not num_attention_heads x attention_head_dim"),
        ({"attention_head_dim": 130, "inner_dim": 2600}, "attention_head_dim=130 is not a multiple of 4"),
        ({"patch_size": [8, 1]}, r"patch_size=\[8, 1\] and max_height=16 are not \[16, 1\] and 16"),
        ({"max_height": 8}, r"patch_size=\[16, 1\] and max_height=8 are not \[16, 1\] and 16"),
        ({"out_channels": 4}, "in_channels=8 is not out_channels=4"),
        ({"patch_groups": 30}, "patch_channels=2048 is not a multiple of patch_groups=30"),
        ({"lyric_heads": 3}, "lyric_hidden_size=1024 is odd or no multiple of lyric_heads"),
        ({"lyric_hidden_size": 15, "lyric_heads": 5}, "lyric_hidden_size=15 is odd or no multiple of lyric_heads"),
        ({"num_layers": 19}, r"erg_diffusion_layers=\[15, 16, 17, 18, 19\] are not all among layers 0 to 18"),
        ({"lyric_layers": 5}, r"erg_lyric_layers=\[4, 5\] are not all among layers 0 to 4"),
    ],
)
def test_sizes_that_do_not_fit_together(changed: dict[str, object], told: str) -> None:
    with pytest.raises(WeightsError, match=rf"does not fit together: {told}\.$"):
        TransformerConfig.from_dict(PUBLISHED | changed)


def test_all_that_does_not_fit_is_told_at_once() -> None:
    with pytest.raises(WeightsError, match=r"out_channels=4; .*patch_groups=30\.$"):
        TransformerConfig.from_dict(PUBLISHED | {"out_channels": 4, "patch_groups": 30})


def test_every_field_has_a_type_that_is_checked() -> None:
    assert {str(field.type) for field in fields(TransformerConfig)} == {"int", "float", "tuple[int, ...]"}
