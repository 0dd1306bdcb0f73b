"""Audio codes: parity with diffusers, and a quantizer written with loops over integers."""

from __future__ import annotations

import math

import pytest
import torch

from acestep.models.config import AceStepConfig
from acestep.models.fsq import FiniteScalarQuantizer

from models_support import SMALL, SMALL_XL, assert_close, diffusers_twin, draw, random_model

LEVELS = (8, 8, 8, 5, 5, 5)
CONFIGS = pytest.mark.parametrize("config", [SMALL, SMALL_XL], ids=["2B", "XL"])
SILENCE = draw(1, 20, 64, seed=99)


def nearest_level(z: float, levels: int) -> int:
    """The level of one number, from the published formula in double precision."""
    reach = 1 + 1 / (levels - 1)
    squashed = max(-1.0, min(1.0, math.tanh(z / reach) * reach))
    return math.floor((levels - 1) * (squashed + 1) / 2 + 0.5)


def identity_quantizer() -> FiniteScalarQuantizer:
    """A quantizer whose projections change nothing: what goes in is what the levels see."""
    quantizer = FiniteScalarQuantizer(6, LEVELS).requires_grad_(False)
    for layer in (quantizer.project_in, quantizer.project_out):
        layer.weight.copy_(torch.eye(6))
        layer.bias.zero_()
    return quantizer


def test_every_digit_is_the_nearest_level() -> None:
    z = draw(3, 400, 6, seed=1) * 1.5
    codes = identity_quantizer().encode(z)
    assert codes.shape == (3, 400)
    for vector, code in zip(z.view(-1, 6).tolist(), codes.flatten().tolist(), strict=True):
        digits = [nearest_level(value, levels) for value, levels in zip(vector, LEVELS, strict=True)]
        assert code == sum(digit * place for digit, place in zip(digits, (1, 8, 64, 512, 2560, 12_800), strict=True))


def test_every_code_decodes_to_its_digits() -> None:
    codes = torch.arange(64_000)
    values = identity_quantizer().decode(codes)
    remainder = codes.clone()
    for dimension, levels in enumerate(LEVELS):
        digit = remainder % levels
        remainder //= levels
        assert_close(values[:, dimension], digit * 2 / (levels - 1) - 1)
    assert values.unique(dim=0).shape[0] == 64_000


def test_every_code_can_be_reached_and_survives_the_way_there() -> None:
    quantizer = identity_quantizer()
    codes = torch.arange(64_000)
    reach = 1 + 1 / (torch.tensor(LEVELS) - 1)
    before_the_clamp = torch.atanh(quantizer.decode(codes) / reach) * reach
    assert torch.equal(quantizer.encode(before_the_clamp), codes)


def test_the_clamp_is_the_soft_one() -> None:
    """A known disagreement: of five levels, the soft clamp puts 0.94 on the last one; a plain tanh, which another
    port uses, stops short of it."""
    code = identity_quantizer().encode(torch.tensor([0, 0, 0, 0.94, 0, 0]))
    assert code.item() // 512 % 5 == 4
    assert math.floor(4 * (math.tanh(0.94) + 1) / 2 + 0.5) == 3


@CONFIGS
@pytest.mark.parametrize("frames", [5, 40, 600])
def test_parity_with_diffusers(config: AceStepConfig, frames: int) -> None:
    model = random_model(config)
    latents = draw(2, frames, 64, seed=frames)
    quantized, codes = diffusers_twin("audio_tokenizer", model).tokenize(latents)
    ours = model.latents_to_codes(latents, SILENCE)
    assert torch.equal(ours, codes[..., 0].long())
    assert_close(model.tokenizer.quantizer.decode(ours), quantized)
    assert_close(model.codes_to_latents(ours), diffusers_twin("audio_token_detokenizer", model)(quantized))


@CONFIGS
@pytest.mark.parametrize("codes", [1, 2, 7])
def test_detokenizer_parity_on_any_codes(config: AceStepConfig, codes: int) -> None:
    model = random_model(config)
    chosen = (draw(2, codes, seed=codes).abs() * 1e4).long() % config.codebook_size
    quantized = model.tokenizer.quantizer.decode(chosen)
    theirs = diffusers_twin("audio_token_detokenizer", model)(quantized)
    assert_close(model.codes_to_latents(chosen), theirs)
    assert theirs.shape == (2, 5 * codes, 64)


@pytest.mark.parametrize("frames", [1, 2, 129, 257])
def test_the_last_code_is_completed_with_silence(frames: int) -> None:
    model = random_model(SMALL)
    latents = draw(2, frames, 64, seed=frames)
    missing = -frames % 5
    whole = torch.cat((latents, SILENCE[:, :missing].expand(2, -1, -1)), 1)
    codes = model.latents_to_codes(latents, SILENCE)
    assert codes.shape == (2, math.ceil(frames / 5))
    assert codes.dtype == torch.long
    assert torch.equal(codes, model.latents_to_codes(whole, SILENCE))


def test_groups_are_independent_of_one_another() -> None:
    """A batch of sources of several lengths needs no mask: a code hears its own five frames only."""
    model = random_model(SMALL)
    latents = draw(1, 60, 64, seed=1)
    codes = model.latents_to_codes(latents, SILENCE)
    assert torch.equal(model.latents_to_codes(latents[:, 20:35], SILENCE), codes[:, 4:7])


@pytest.mark.parametrize("frames", [1, 5, 63])
def test_the_round_trip_keeps_the_length(frames: int) -> None:
    model = random_model(SMALL)
    latents = draw(2, frames, 64, seed=frames)
    trip = model.semantic_round_trip(latents, SILENCE)
    assert trip.shape == latents.shape
    codes = model.latents_to_codes(latents, SILENCE)
    assert torch.equal(trip, model.codes_to_latents(codes)[:, :frames])


def test_bf16_weights_quantize_in_fp32() -> None:
    """Rounding the input of the quantizer to bf16 changes digits; its own arithmetic must not add to that."""
    coarse = FiniteScalarQuantizer(48, LEVELS).to(torch.bfloat16).requires_grad_(False)
    exact = FiniteScalarQuantizer(48, LEVELS).requires_grad_(False)
    exact.load_state_dict(coarse.state_dict())
    x = draw(500, 48, seed=3).bfloat16() * 4
    assert torch.equal(coarse.encode(x), exact.encode(x.float()))
    assert coarse.decode(torch.tensor([5, 63_999])).dtype == torch.bfloat16
    model = random_model(SMALL, dtype=torch.bfloat16)
    assert model.semantic_round_trip(draw(1, 7, 64, seed=4), SILENCE).dtype == torch.bfloat16
