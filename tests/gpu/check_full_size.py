"""Networks of the published 2B size with random weights: they run in the card's own format, and compute what ours
compute on the CPU."""

from __future__ import annotations

import time

import pytest
import torch
from gpu_support import DEVICE, HOST, Note, assert_near, draw
from torch import Tensor

from acestep.conditioning.conditions import Conditions, SongConditions
from acestep.constants import LATENT_CHANNELS, LATENT_RATE
from acestep.denoise import Denoiser
from acestep.devices import DTYPES, device_facts, natural_dtype, weight_bytes
from acestep.memory import PeakMeter
from acestep.models.acestep_model import AceStepModel
from acestep.models.config import AceStepConfig
from acestep.sampling.guidance import Guidance, GuidedVelocity
from acestep.sampling.sampler import SamplerSettings, sample
from acestep.sampling.schedule import make_schedule
from benchmarks.dit import ENCODER_ROWS, SHIFT, STEPS, context, random_transformer

SECONDS = 60
LAYER_FRAMES = 513  # 257 tokens, which divide by no block and are more than a window
SHARES = {"float32": 1e-4, "bfloat16": 3e-2}  # of the largest velocity, one layer deep


def song(config: AceStepConfig, frames: int, dtype: torch.dtype, device: torch.device) -> SongConditions:
    """Random conditions of ``frames`` latents."""
    states = draw(1, ENCODER_ROWS, config.encoder_width, seed=1)
    torch.manual_seed(2)
    return SongConditions(states.to(device, dtype), context(frames).to(device, dtype))


@torch.inference_mode()
def denoised(model: AceStepModel, frames: int, dtype: torch.dtype) -> Tensor:
    """Eight steps from seeded noise."""
    network = Denoiser(model, Conditions.collate([song(model.config, frames, dtype, DEVICE)]), guided=False)
    velocity = GuidedVelocity(network, Guidance(1.0, "none"), [frames])
    settings = SamplerSettings(make_schedule(STEPS, SHIFT), "euler")
    return sample(velocity, draw(1, frames, LATENT_CHANNELS, seed=3).to(DEVICE), settings, None, [frames])


def test_a_minute_in_the_cards_own_format(note: Note) -> None:
    torch.manual_seed(0)
    dtype, frames = DTYPES[natural_dtype(device_facts())], SECONDS * LATENT_RATE
    model = random_transformer(AceStepConfig(), dtype, DEVICE)
    first = denoised(model, frames, dtype)
    meter = PeakMeter(DEVICE)
    with meter.measure("denoise"):
        start = time.perf_counter()
        second = denoised(model, frames, dtype)
        torch.cuda.synchronize()
        taken = time.perf_counter() - start
    note(f"2B, {SECONDS} s, {STEPS} steps, {dtype}", f"{taken:.3f} s, peak {meter.peak}")
    assert second.shape == (1, frames, LATENT_CHANNELS)
    assert second.isfinite().all()
    assert torch.equal(first, second)
    weights = weight_bytes(model.decoder)
    assert weights <= meter.peak.highest <= 2 * weights


@pytest.fixture(scope="module")
def one_layer() -> AceStepModel:
    """Published widths, one windowed layer, fp32 on the host."""
    torch.manual_seed(0)
    return random_transformer(AceStepConfig(num_hidden_layers=1), torch.float32, HOST)


@torch.inference_mode()
def velocity(model: AceStepModel, frames: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """One step of the model at noise level 0.5."""
    model.decoder.to(device, dtype)
    stepper = Denoiser(model, Conditions.collate([song(model.config, frames, dtype, device)]), guided=False)
    return stepper(draw(1, frames, LATENT_CHANNELS, seed=4).to(device), 0.5, guided=False)[0]


@pytest.mark.parametrize("dtype", sorted({"float32", natural_dtype(device_facts())}))
def test_one_layer_equals_the_cpu(one_layer: AceStepModel, dtype: str) -> None:
    reference = velocity(one_layer, LAYER_FRAMES, torch.float32, HOST)
    weights = {name: tensor.clone() for name, tensor in one_layer.decoder.state_dict().items()}
    ours = velocity(one_layer, LAYER_FRAMES, DTYPES[dtype], DEVICE)
    one_layer.decoder.to(HOST, torch.float32).load_state_dict(weights)
    assert_near(ours, reference, SHARES[dtype])
