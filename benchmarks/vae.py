"""Speed of our autoencoder against diffusers': same full-size random weights, same process, interleaved, medians.

    python -m benchmarks.vae --seconds 10 --dtype float32

Prints one line of JSON; ``ratio`` is theirs over ours, so above 1 we are faster. Ours is what the product runs
(``Codec``: folded weights, fp32 out); theirs is the whole call a user of diffusers would write.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from statistics import median

import torch
from diffusers import AutoencoderOobleck
from torch import Tensor

from acestep.audio.codec import Codec
from acestep.devices import DTYPES
from acestep.models.oobleck import Oobleck
from acestep.models.vae_config import OobleckConfig

CONFIG = OobleckConfig()
Run = Callable[[], Tensor]


def main(argv: list[str] | None = None) -> None:
    """Measure and print."""
    arguments = parse_arguments(argv)
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    ours, theirs = networks(torch.device(arguments.device), DTYPES[arguments.dtype])
    frames = round(arguments.seconds * CONFIG.frame_rate)
    runs = {"decode": decoders, "encode": encoders}[arguments.direction](ours, theirs, frames)
    difference = (runs[0]().float() - runs[1]().float()).abs().max().item()  # and warm both up
    seconds_ours, seconds_theirs = interleaved(runs, arguments.repeats)
    result = {
        "benchmark": "vae",
        **vars(arguments),
        "torch": torch.__version__,
        "ours_s": round(median(seconds_ours), 3),
        "theirs_s": round(median(seconds_theirs), 3),
        "ratio": round(median(seconds_theirs) / median(seconds_ours), 2),
        "ratio_of_fastest": round(min(seconds_theirs) / min(seconds_ours), 2),
        "max_abs_difference": difference,
    }
    print(json.dumps(result))


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.vae", description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=10.0, help="length of the song")
    parser.add_argument("--dtype", choices=DTYPES, default="float32")
    parser.add_argument("--direction", choices=("decode", "encode"), default="decode")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads, for both")
    parser.add_argument("--repeats", type=int, default=5, help="measurements of each, of which the median counts")
    return parser.parse_args(argv)


def networks(device: torch.device, dtype: torch.dtype) -> tuple[Codec, AutoencoderOobleck]:
    """Both autoencoders with one set of weights."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # diffusers builds on torch's first weight norm
        theirs = AutoencoderOobleck(**published_sizes()).eval().requires_grad_(False)
    with torch.device("meta"):
        ours = Oobleck(CONFIG)
    ours.load_state_dict({name: tensor.clone() for name, tensor in theirs.state_dict().items()}, assign=True)
    for parameter in theirs.parameters():
        parameter.data = parameter.data.to(device, dtype)
    return Codec(ours.to(device, dtype).eval().fold()), theirs


def published_sizes() -> dict[str, object]:
    """``CONFIG`` as diffusers takes it: lists, and without the field it does not know."""
    sizes = json.loads(json.dumps(asdict(CONFIG)))
    del sizes["outer_stride"]
    return sizes


def decoders(ours: Codec, theirs: AutoencoderOobleck, frames: int) -> tuple[Run, Run]:
    """Latents to waveform; each network is given its own layout of the same numbers."""
    weight = next(theirs.parameters())
    latents = torch.randn(1, frames, CONFIG.latent_channels).to(weight.device, weight.dtype)  # [B, T, C]
    channels_first = latents.mT.contiguous()  # [B, C, T]
    return partial(ours.decode, latents), lambda: theirs.decode(channels_first).sample


def encoders(ours: Codec, theirs: AutoencoderOobleck, frames: int) -> tuple[Run, Run]:
    """Waveform to the mean of the latents' distribution."""
    weight = next(theirs.parameters())
    audio = torch.randn(1, CONFIG.audio_channels, frames * CONFIG.hop).to(weight.device, weight.dtype)
    return partial(ours.encode, audio), lambda: theirs.encode(audio).latent_dist.mean.mT


@torch.inference_mode()
def interleaved(runs: tuple[Run, Run], repeats: int) -> tuple[list[float], list[float]]:
    """Seconds of every call; the two take turns, so that whatever else the machine does meets both."""
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(repeats):
        for run, measured in zip(runs, seconds, strict=True):
            start = time.perf_counter()
            run().cpu()  # waits for a GPU
            measured.append(time.perf_counter() - start)
    return seconds


if __name__ == "__main__":
    main()
