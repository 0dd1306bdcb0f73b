"""Our diffusion transformer against diffusers' on the same random weights of real size, in one process.

``python -m benchmarks.dit --seconds 10 --dtype bfloat16`` prints one JSON line: seconds of one step and of an 8-step
denoise, theirs / ours. Runs are interleaved; each figure is the median of ``--repeats``.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from collections.abc import Callable
from itertools import pairwise

import torch
from diffusers import AceStepTransformer1DModel
from torch import Tensor, nn

from acestep.checkpoints.diffusers_keys import to_original
from acestep.conditioning.conditions import Conditions, SongConditions
from acestep.constants import LATENT_CHANNELS, LATENT_RATE
from acestep.denoise import Denoiser
from acestep.devices import DTYPES
from acestep.models.acestep_model import AceStepModel
from acestep.models.config import AceStepConfig
from acestep.sampling.guidance import Guidance
from acestep.sampling.sampler import SamplerSettings, sample
from acestep.sampling.schedule import make_schedule

ENCODER_ROWS = 400
STEPS, SHIFT = 8, 3.0


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--dtype", choices=DTYPES, default="float32")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--layers", type=int, default=24, help="fewer for a quick look")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    with torch.inference_mode():
        print(json.dumps(measure(arguments.seconds, DTYPES[arguments.dtype], arguments.repeats, arguments.layers)))


def measure(seconds: float, dtype: torch.dtype, repeats: int, layers: int) -> dict[str, object]:
    """Seconds of ours and theirs, and their ratio."""
    config = AceStepConfig(num_hidden_layers=layers)
    ours = random_transformer(config, dtype)
    theirs = same_weights(ours, config)
    frames = math.ceil(seconds * LATENT_RATE)
    song = SongConditions(torch.randn(1, ENCODER_ROWS, config.encoder_width).to(dtype), context(frames).to(dtype))
    noise = torch.randn(1, frames, LATENT_CHANNELS)
    schedule = make_schedule(STEPS, SHIFT)

    def our_denoise() -> Tensor:
        velocity = Denoiser(ours, Conditions.collate([song]), guided=False)
        return sample(velocity, noise, SamplerSettings(schedule, "euler", Guidance(1.0, "none")), None, [frames])

    def their_velocity(x: Tensor, t: float) -> Tensor:
        level = torch.tensor([t], dtype=dtype)
        return theirs(
            hidden_states=x.to(dtype),
            timestep=level,
            timestep_r=level,
            encoder_hidden_states=song.encoder_states,
            context_latents=song.context,
            return_dict=False,
        )[0]

    def their_denoise() -> Tensor:
        x = noise
        for t, t_next in pairwise(schedule):
            x = x - (t - t_next) * their_velocity(x, t).float()
        return x

    stepper = Denoiser(ours, Conditions.collate([song]), guided=False)
    step = interleaved(lambda: stepper(noise, 0.5, guided=False), lambda: their_velocity(noise, 0.5), repeats)
    denoise = interleaved(our_denoise, their_denoise, repeats)
    difference = (our_denoise() - their_denoise()).abs().max().item()
    return {
        "benchmark": "dit",
        "seconds": seconds,
        "dtype": str(dtype).removeprefix("torch."),
        "layers": layers,
        "threads": torch.get_num_threads(),
        "step_s": step,
        "denoise_8_steps_s": denoise,
        "largest_difference": round(difference, 6),
    }


def random_transformer(config: AceStepConfig, dtype: torch.dtype) -> AceStepModel:
    """A model of which only the transformer has memory, filled with random numbers of a usual size."""
    with torch.device("meta"):
        model = AceStepModel(config)
    decoder = model.decoder.to_empty(device="cpu").to(dtype)
    for name, parameter in decoder.named_parameters():
        nn.init.ones_(parameter) if name.endswith("norm.weight") else nn.init.normal_(parameter, std=0.02)
    return model.eval().requires_grad_(False)


def same_weights(ours: AceStepModel, config: AceStepConfig) -> nn.Module:
    """diffusers' transformer on the very tensors of ours, without a second copy."""
    with torch.device("meta"):
        theirs = AceStepTransformer1DModel(
            hidden_size=config.hidden_size,
            intermediate_size=config.intermediate_size,
            num_hidden_layers=config.num_hidden_layers,
            num_attention_heads=config.num_attention_heads,
            num_key_value_heads=config.num_key_value_heads,
            head_dim=config.head_dim,
        )
    weights = ours.state_dict()
    shared = {key: weights[to_original("transformer", key)] for key in theirs.state_dict()}
    theirs.load_state_dict(shared, strict=True, assign=True)
    return theirs.eval().requires_grad_(False)


def context(frames: int) -> Tensor:
    """Context latents ``[1, T, 2 C]`` of text2music: something for silence beside ones."""
    return torch.cat([torch.randn(1, frames, LATENT_CHANNELS), torch.ones(1, frames, LATENT_CHANNELS)], dim=-1)


def interleaved(ours: Callable[[], object], theirs: Callable[[], object], repeats: int) -> dict[str, float]:
    """Median seconds of both after one run each to warm up, taken in turns."""
    ours(), theirs()
    taken: tuple[list[float], list[float]] = [], []
    for _ in range(repeats):
        for run, seconds in zip((ours, theirs), taken, strict=True):
            start = time.perf_counter()
            run()
            seconds.append(time.perf_counter() - start)
    mine, other = (statistics.median(seconds) for seconds in taken)
    return {"ours": round(mine, 4), "diffusers": round(other, 4), "ratio": round(other / mine, 3)}


if __name__ == "__main__":
    main()
