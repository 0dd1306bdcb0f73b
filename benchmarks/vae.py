"""Speed of our autoencoder against diffusers': same full-size random weights, same process, interleaved, medians.

    python -m benchmarks.vae --seconds 10 --dtype float32

Prints one line of JSON; ``ratio`` is theirs over ours, so above 1 we are faster. Ours is what the product runs
(``Codec``: folded weights, fp32 out); theirs is the whole call a user of diffusers would write. ``--ours-only`` needs
no diffusers and compares nothing.
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
from torch import Tensor, nn

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
    device, dtype = torch.device(arguments.device), DTYPES[arguments.dtype]
    frames = round(arguments.seconds * CONFIG.frame_rate)
    shape, both = {
        "decode": ((1, frames, CONFIG.latent_channels), decoders),
        "encode": ((1, CONFIG.audio_channels, frames * CONFIG.hop), encoders),
    }[arguments.direction]
    runs = both(*networks(device, dtype, ours_only=arguments.ours_only), torch.randn(shape).to(device, dtype))
    outputs = [run().float() for run in runs.values()]  # and warm up
    seconds = interleaved(runs, arguments.repeats)
    result = {"benchmark": "vae", **vars(arguments), "torch": torch.__version__}
    result |= {f"{name}_s": round(median(taken), 3) for name, taken in seconds.items()}
    if not arguments.ours_only:
        ours, theirs = seconds["ours"], seconds["theirs"]
        result["ratio"] = round(median(theirs) / median(ours), 2)
        result["ratio_of_fastest"] = round(min(theirs) / min(ours), 2)
        result["max_abs_difference"] = (outputs[0] - outputs[1]).abs().max().item()
    print(json.dumps(result))


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.vae", description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=10.0, help="length of the song")
    parser.add_argument("--dtype", choices=DTYPES, default="float32")
    parser.add_argument("--direction", choices=("decode", "encode"), default="decode")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads, for both")
    parser.add_argument("--repeats", type=int, default=5, help="measurements of each, of which the median counts")
    parser.add_argument("--ours-only", action="store_true", help="without diffusers")
    return parser.parse_args(argv)


def networks(device: torch.device, dtype: torch.dtype, *, ours_only: bool) -> tuple[Codec, nn.Module | None]:
    """Our autoencoder, and theirs with the same weights unless it is not wanted."""
    ours, theirs = Oobleck(CONFIG), None
    if not ours_only:
        theirs = their_network()
        ours.load_state_dict({name: tensor.clone() for name, tensor in theirs.state_dict().items()}, assign=True)
        for parameter in theirs.parameters():
            parameter.data = parameter.data.to(device, dtype)
    return Codec(ours.to(device, dtype).eval().requires_grad_(False).fold()), theirs


def their_network() -> nn.Module:
    """diffusers' autoencoder of the published size, random weights."""
    from diffusers import AutoencoderOobleck  # what --ours-only does without

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # diffusers builds on torch's first weight norm
        return AutoencoderOobleck(**published_sizes()).eval().requires_grad_(False)


def published_sizes() -> dict[str, object]:
    """``CONFIG`` as diffusers takes it: lists, and without the field it does not know."""
    sizes = json.loads(json.dumps(asdict(CONFIG)))
    del sizes["outer_stride"]
    return sizes


def decoders(ours: Codec, theirs: nn.Module | None, latents: Tensor) -> dict[str, Run]:
    """Latents ``[B, T, C]`` to waveform; each network is given its own layout of the same numbers."""
    channels_first = latents.mT.contiguous()  # [B, C, T]
    runs: dict[str, Run] = {"ours": partial(ours.decode, latents)}
    return runs if theirs is None else runs | {"theirs": lambda: theirs.decode(channels_first).sample}


def encoders(ours: Codec, theirs: nn.Module | None, audio: Tensor) -> dict[str, Run]:
    """Waveform ``[B, 2, S]`` to the mean of the latents' distribution."""
    runs: dict[str, Run] = {"ours": partial(ours.encode, audio)}
    return runs if theirs is None else runs | {"theirs": lambda: theirs.encode(audio).latent_dist.mean.mT}


@torch.inference_mode()
def interleaved(runs: dict[str, Run], repeats: int) -> dict[str, list[float]]:
    """Seconds of every call; the runs take turns, so that whatever else the machine does meets all of them."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            start = time.perf_counter()
            wait_for(run())
            seconds[name].append(time.perf_counter() - start)
    return seconds


def wait_for(output: Tensor) -> None:
    """Return when a GPU has finished ``output``; a CPU has already."""
    if output.is_cuda:
        torch.cuda.synchronize(output.device)


if __name__ == "__main__":
    main()
