"""The sizes of a checkpoint: what a file may say, what is refused, and what follows from it."""

from __future__ import annotations

import pytest

from acestep.errors import WeightsError
from acestep.models.config import FIXED_KEYS, UNUSED_KEYS, AceStepConfig

PUBLISHED_2B: dict[str, object] = {
    "architectures": ["AceStepConditionGenerationModel"],
    "model_type": "acestep",
    "vocab_size": 64003,
    "hidden_size": 2048,
    "intermediate_size": 6144,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "hidden_act": "silu",
    "max_position_embeddings": 32768,
    "rms_norm_eps": 1e-6,
    "rope_theta": 1000000,
    "rope_scaling": None,
    "attention_bias": False,
    "attention_dropout": 0.0,
    "use_sliding_window": True,
    "sliding_window": 128,
    "layer_types": ["sliding_attention", "full_attention"] * 12,
    "text_hidden_dim": 1024,
    "num_lyric_encoder_hidden_layers": 8,
    "num_timbre_encoder_hidden_layers": 4,
    "timbre_hidden_dim": 64,
    "timbre_fix_frame": 750,
    "audio_acoustic_hidden_dim": 64,
    "in_channels": 192,
    "patch_size": 2,
    "pool_window_size": 5,
    "fsq_dim": 2048,
    "fsq_input_levels": [8, 8, 8, 5, 5, 5],
    "fsq_input_num_quantizers": 1,
    "num_attention_pooler_hidden_layers": 2,
    "num_audio_decoder_hidden_layers": 24,
    "data_proportion": 0.5,
    "timestep_mu": -0.4,
    "timestep_sigma": 1.0,
    "is_turbo": True,
    "model_version": "turbo",
    "initializer_range": 0.02,
    "use_cache": True,
    "tie_word_embeddings": False,
}
PUBLISHED_XL = PUBLISHED_2B | {
    "hidden_size": 2560,
    "intermediate_size": 9728,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "layer_types": ["sliding_attention", "full_attention"] * 16,
    "encoder_hidden_size": 2048,
    "encoder_intermediate_size": 6144,
    "encoder_num_attention_heads": 16,
    "encoder_num_key_value_heads": 8,
}


def test_the_defaults_are_the_2b_model() -> None:
    config = AceStepConfig.from_dict(PUBLISHED_2B)
    assert config == AceStepConfig(is_turbo=True, model_version="turbo")
    assert config.encoder == config
    assert not config.prepends_timbre_token
    assert config.codebook_size == 64_000
    assert [config.is_windowed(layer) for layer in range(4)] == [True, False, True, False]


def test_xl_has_sizes_of_its_own_for_the_conditions_and_prepends_the_timbre_token() -> None:
    config = AceStepConfig.from_dict(PUBLISHED_XL)
    encoder = config.encoder
    assert (config.hidden_size, config.num_attention_heads) == (2560, 32)
    assert (encoder.hidden_size, encoder.intermediate_size) == (2048, 6144)
    assert (encoder.num_attention_heads, encoder.num_key_value_heads) == (16, 8)
    assert config.encoder_width == 2048
    assert config.prepends_timbre_token
    assert encoder.prepends_timbre_token


def test_conditions_may_turn_at_rates_of_their_own() -> None:
    config = AceStepConfig.from_dict(PUBLISHED_2B | {"rope_theta": 1000, "encoder_rope_theta": 1e6})
    assert (config.rope_theta, config.encoder.rope_theta) == (1000, 1e6)
    assert not config.prepends_timbre_token


def test_unknown_keys_are_refused_by_name() -> None:
    with pytest.raises(WeightsError, match="mystery_depth, new_trick"):
        AceStepConfig.from_dict(PUBLISHED_2B | {"new_trick": 1, "mystery_depth": 2})


def test_known_but_unused_keys_change_nothing() -> None:
    noise = dict.fromkeys(UNUSED_KEYS, "whatever")
    assert AceStepConfig.from_dict(PUBLISHED_2B | noise) == AceStepConfig.from_dict(PUBLISHED_2B)


@pytest.mark.parametrize("key", FIXED_KEYS)
def test_only_the_published_value_of_a_fixed_key_is_accepted(key: str) -> None:
    with pytest.raises(WeightsError, match=rf"{key}='other'"):
        AceStepConfig.from_dict(PUBLISHED_2B | {key: "other"})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("hidden_size", "2048"),
        ("hidden_size", True),
        ("hidden_size", None),
        ("hidden_size", [2048]),
        ("is_turbo", 1),
        ("model_version", None),
        ("layer_types", "sliding_attention"),
        ("fsq_input_levels", [8, "5"]),
        ("rope_theta", "1e6"),
        ("encoder_rope_theta", "1e6"),
    ],
)
def test_a_value_of_the_wrong_type_is_refused(key: str, value: object) -> None:
    with pytest.raises(WeightsError, match=key):
        AceStepConfig.from_dict(PUBLISHED_2B | {key: value})


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"num_key_value_heads": 3}, "16 attention heads"),
        ({"num_key_value_heads": 0}, "of 0 key/value heads"),
        ({"encoder_num_key_value_heads": 5}, "of 5 key/value heads"),
        ({"head_dim": 63}, "head_dim=63"),
        ({"rope_theta": 0.0}, "rope_theta=0.0 is not above 0"),
        ({"rope_theta": float("nan")}, "rope_theta=nan is not above 0"),
        ({"encoder_rope_theta": -1.0}, "rope_theta=-1.0 is not above 0"),
        ({"encoder_rope_theta": 0}, "rope_theta=0 is not above 0"),
        ({"num_hidden_layers": 25}, "24 entries for 25 layers"),
        ({"num_lyric_encoder_hidden_layers": 30}, "24 entries for 30 layers"),
        ({"layer_types": ("chunked_attention",) * 24}, "layer_types"),
        ({"sliding_window": 0}, "sliding_window=0"),
        ({"in_channels": 128}, "in_channels=128"),
        ({"fsq_dim": 1024}, "fsq_dim=1024"),
        ({"encoder_hidden_size": 1024}, "encoder width 1024"),
    ],
)
def test_sizes_that_do_not_fit_together_are_refused(change: dict[str, object], names: str) -> None:
    with pytest.raises(WeightsError, match=names):
        AceStepConfig.from_dict(PUBLISHED_2B | change)


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(WeightsError, match=r"head_dim=63.*in_channels=1 "):
        AceStepConfig(head_dim=63, in_channels=1)
