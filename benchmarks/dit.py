"""Our diffusion transformer against diffusers' on the same random weights of real size, in one process.

``python -m benchmarks.dit --seconds 10 --dtype bfloat16`` prints one JSON line: seconds of one step and of an 8-step
denoise, theirs / ours. Runs are interleaved; each figure is the median of ``--repeats``. ``--ours-only`` needs no
diffusers and compares nothing.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn

from acestep.checkpoints.diffusers_keys import to_original
from acestep.conditioning.conditions import Conditions, SongConditions
from acestep.constants import LATENT_CHANNELS, LATENT_RATE
from acestep.denoise import Denoiser
from acestep.devices import CPU, CUDA, DTYPES
from acestep.models.acestep_model import AceStepModel
from acestep.models.config import AceStepConfig
from acestep.sampling.guidance import Guidance, GuidedVelocity
from acestep.sampling.sampler import SamplerSettings, sample
from acestep.sampling.schedule import make_schedule

ENCODER_ROWS = 400
STEPS, SHIFT = 8, 3.0
Run = Callable[[], Tensor]


class Runs(NamedTuple):
    """What is timed of one implementation: a step, and a whole denoise."""

    step: Run
    denoise: Run


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--dtype", choices=DTYPES, default="float32")
    parser.add_argument("--device", choices=(CPU, CUDA), default=CPU)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--layers", type=int, default=24, help="fewer for a quick look")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--ours-only", action="store_true", help="without diffusers")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    with torch.inference_mode():
        print(json.dumps({"benchmark": "dit"} | vars(arguments) | measure(arguments)))


def measure(arguments: argparse.Namespace) -> dict[str, object]:
    """Seconds of ours and theirs, and their ratio."""
    config, dtype = AceStepConfig(num_hidden_layers=arguments.layers), DTYPES[arguments.dtype]
    device, frames = torch.device(arguments.device), math.ceil(arguments.seconds * LATENT_RATE)
    model = random_transformer(config, dtype, device)
    states = torch.randn(1, ENCODER_ROWS, config.encoder_width)
    song = SongConditions(states.to(device, dtype), context(frames).to(device, dtype))
    noise = torch.randn(1, frames, LATENT_CHANNELS).to(device)
    runs = {"ours": our_runs(model, song, noise)}
    if not arguments.ours_only:
        runs["diffusers"] = their_runs(same_weights(model, config), song, noise)
    figures: dict[str, object] = {
        "step_s": interleaved({name: each.step for name, each in runs.items()}, arguments.repeats),
        "denoise_8_steps_s": interleaved({name: each.denoise for name, each in runs.items()}, arguments.repeats),
    }
    if not arguments.ours_only:
        apart = (runs["ours"].denoise() - runs["diffusers"].denoise()).abs().max().item()
        figures["largest_difference"] = round(apart, 6)
    return figures


def our_runs(model: AceStepModel, song: SongConditions, noise: Tensor) -> Runs:
    """As the renderer runs the transformer."""
    schedule, frames = make_schedule(STEPS, SHIFT), [noise.shape[1]]
    stepper = Denoiser(model, Conditions.collate([song]), guided=False)

    def denoise() -> Tensor:
        network = Denoiser(model, Conditions.collate([song]), guided=False)
        velocity = GuidedVelocity(network, Guidance(1.0, "none"), frames)
        return sample(velocity, noise, SamplerSettings(schedule, "euler"), None, frames)

    return Runs(lambda: stepper(noise, 0.5, guided=False)[0], denoise)


def their_runs(network: nn.Module, song: SongConditions, noise: Tensor) -> Runs:
    """As a user of diffusers would call the transformer."""
    dtype, schedule = song.context.dtype, make_schedule(STEPS, SHIFT)

    def velocity(x: Tensor, t: float) -> Tensor:
        level = torch.tensor([t], dtype=dtype, device=x.device)
        return network(
            hidden_states=x.to(dtype),
            timestep=level,
            timestep_r=level,
            encoder_hidden_states=song.encoder_states,
            context_latents=song.context,
            return_dict=False,
        )[0]

    def denoise() -> Tensor:
        x = noise
        for t, t_next in pairwise(schedule):
            x = x - (t - t_next) * velocity(x, t).float()
        return x

    return Runs(lambda: velocity(noise, 0.5), denoise)


def random_transformer(config: AceStepConfig, dtype: torch.dtype, device: torch.device) -> AceStepModel:
    """A model of which only the transformer has memory, filled with random numbers of a usual size."""
    with torch.device("meta"):
        model = AceStepModel(config)
    decoder = model.decoder.to(dtype).to_empty(device=device)
    for name, parameter in decoder.named_parameters():
        nn.init.ones_(parameter) if name.endswith("norm.weight") else nn.init.normal_(parameter, std=0.02)
    return model.eval().requires_grad_(False)


def same_weights(ours: AceStepModel, config: AceStepConfig) -> nn.Module:
    """diffusers' transformer on the very tensors of ours, without a second copy."""
    from diffusers import AceStepTransformer1DModel  # what --ours-only does without

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


def interleaved(runs: dict[str, Run], repeats: int) -> dict[str, float]:
    """Median seconds of every run after one each to warm up, taken in turns; of two also their ratio."""
    taken: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(1 + repeats):
        for name, run in runs.items():
            start = time.perf_counter()
            wait_for(run())
            taken[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(seconds[1:]) for name, seconds in taken.items()}
    figures = {name: round(seconds, 4) for name, seconds in medians.items()}
    return figures if len(medians) < 2 else figures | {"ratio": round(medians["diffusers"] / medians["ours"], 3)}


def wait_for(output: Tensor) -> None:
    """Return when a GPU has finished ``output``; a CPU has already."""
    if output.is_cuda:
        torch.cuda.synchronize(output.device)


if __name__ == "__main__":
    main()
