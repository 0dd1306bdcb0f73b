"""Small networks with random weights, and the same weights inside diffusers' independent implementations."""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from diffusers import AceStepTransformer1DModel
from diffusers.pipelines.ace_step.modeling_ace_step import (
    AceStepAudioTokenDetokenizer,
    AceStepAudioTokenizer,
    AceStepConditionEncoder,
)
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from acestep.checkpoints.diffusers_keys import SILENCE_KEY, to_original
from acestep.models.acestep_model import AceStepModel
from acestep.models.config import FULL, WINDOWED, AceStepConfig

SMALL = AceStepConfig(
    hidden_size=48,
    intermediate_size=80,
    num_hidden_layers=4,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=16,
    layer_types=(WINDOWED, FULL) * 2,
    text_hidden_dim=40,
    num_lyric_encoder_hidden_layers=3,
    num_timbre_encoder_hidden_layers=2,
    fsq_dim=48,
)
# As the embedded models: transformer and conditions turn at rates of their own.
SMALL_TINY = replace(SMALL, rope_theta=1_000.0, encoder_rope_theta=100_000.0)
# The proportions of XL: a wider DiT with more heads, and sizes of their own for the condition side.
SMALL_XL = replace(
    SMALL,
    hidden_size=64,
    num_attention_heads=8,
    encoder_hidden_size=48,
    encoder_intermediate_size=80,
    encoder_num_attention_heads=4,
    encoder_num_key_value_heads=2,
)


def random_model(config: AceStepConfig, seed: int = 0, dtype: torch.dtype = torch.float32) -> AceStepModel:
    """A model in which every tensor, norms, biases and tables included, is random and not small."""
    generator = torch.Generator().manual_seed(seed)
    model = AceStepModel(config)
    for parameter in model.parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        if parameter.ndim == 1:  # a bias or a norm weight, whose default says which
            centre = 1.0 if bool((parameter == 1).all()) else 0.0
            parameter.data = centre + 0.3 * noise
        else:
            fan_in = parameter[0].numel()
            parameter.data = noise * (0.5 if parameter.shape[0] == 1 else fan_in**-0.5)
    return model.to(dtype).eval().requires_grad_(False)


class AttentionSpy(TorchFunctionMode):
    """Notes the mask of every attention call torch sees."""

    def __init__(self) -> None:
        super().__init__()
        self.masks: list[Tensor | None] = []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func is F.scaled_dot_product_attention:
            self.masks.append((kwargs or {}).get("attn_mask"))
        return func(*args, **(kwargs or {}))


def draw(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def assert_close(ours: Tensor, reference: Tensor) -> None:
    """The house tolerance: fp32, 1e-5 of the largest value."""
    assert ours.shape == reference.shape
    worst = (ours - reference).abs().max().item()
    assert worst <= 1e-5 * max(1.0, reference.abs().max().item()), f"differs by {worst}"


def diffusers_twin(sub_model: str, model: AceStepModel) -> nn.Module:
    """diffusers' ``sub_model`` with the weights of ``model``, moved through the key map; nothing may be left over."""
    twin = _TWINS[sub_model](model.config)
    ours = model.state_dict()
    weights = {key: to_original(sub_model, key) for key in twin.state_dict()}
    buffers = {key for key, original in weights.items() if original == SILENCE_KEY}
    result = twin.load_state_dict({key: ours[weights[key]] for key in weights.keys() - buffers}, strict=False)
    assert set(result.missing_keys) == buffers
    assert not result.unexpected_keys
    return twin.eval().requires_grad_(False)


def _sizes(config: AceStepConfig) -> dict[str, object]:
    names = "hidden_size intermediate_size num_attention_heads num_key_value_heads head_dim rope_theta rms_norm_eps"
    sizes: dict[str, object] = {name: getattr(config, name) for name in [*names.split(), "sliding_window"]}
    return sizes | {"layer_types": list(config.layer_types)}


def _transformer(config: AceStepConfig) -> nn.Module:
    return AceStepTransformer1DModel(
        **_sizes(config),
        num_hidden_layers=config.num_hidden_layers,
        in_channels=config.in_channels,
        audio_acoustic_hidden_dim=config.audio_acoustic_hidden_dim,
        patch_size=config.patch_size,
        encoder_hidden_size=config.encoder_width,
    )


def _condition_encoder(config: AceStepConfig) -> nn.Module:
    return AceStepConditionEncoder(
        **_sizes(config.encoder),
        text_hidden_dim=config.text_hidden_dim,
        timbre_hidden_dim=config.timbre_hidden_dim,
        num_lyric_encoder_hidden_layers=config.num_lyric_encoder_hidden_layers,
        num_timbre_encoder_hidden_layers=config.num_timbre_encoder_hidden_layers,
    )


def _tokenizer(config: AceStepConfig) -> nn.Module:
    return AceStepAudioTokenizer(
        **_sizes(config.encoder),
        audio_acoustic_hidden_dim=config.audio_acoustic_hidden_dim,
        pool_window_size=config.pool_window_size,
        fsq_dim=config.fsq_dim,
        fsq_input_levels=list(config.fsq_input_levels),
        num_attention_pooler_hidden_layers=config.num_attention_pooler_hidden_layers,
    )


def _detokenizer(config: AceStepConfig) -> nn.Module:
    return AceStepAudioTokenDetokenizer(
        **_sizes(config.encoder),
        audio_acoustic_hidden_dim=config.audio_acoustic_hidden_dim,
        pool_window_size=config.pool_window_size,
        num_attention_pooler_hidden_layers=config.num_attention_pooler_hidden_layers,
    )


_TWINS = {
    "transformer": _transformer,
    "condition_encoder": _condition_encoder,
    "audio_tokenizer": _tokenizer,
    "audio_token_detokenizer": _detokenizer,
}
