"""How much memory a song of the 2B family takes, all networks resident or one at a time.

``python -m benchmarks.memory`` prints one JSON line. The networks have their published sizes and random weights. The
CPU plays the device: when offloading, the weights of the network in use are copied as they would be to a GPU, and
only the copies and the activations count, not the originals that stay on the host. What a GPU adds (its libraries,
larger tiles of the autoencoder) is not in the figures.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from acestep.checkpoints.family import Family
from acestep.checkpoints.registry import DEFAULT_MODEL, EMBEDDED_MODEL
from acestep.conditioning.text import TextEncoder
from acestep.devices import DTYPES, Residency, device_facts, free_cache, host_memory, place, weight_bytes
from acestep.handler import AceStepHandler
from acestep.models.acestep_model import AceStepModel
from acestep.models.config import AceStepConfig
from acestep.models.oobleck import Oobleck
from acestep.models.qwen3 import Qwen3Decoder, Qwen3Sizes
from acestep.models.vae_config import OobleckConfig
from acestep.params import GenerationConfig, GenerationParams
from acestep.render import Renderer
from acestep.request import Request

_NEEDED_BYTES = 13_000_000_000  # the weights twice over, in part, and activations
_BLOCK = 1 << 16
_TEXT_ENCODER = Qwen3Sizes(  # Qwen3-Embedding-0.6B
    vocab_size=151_669,
    max_position_embeddings=32_768,
    hidden_size=1024,
    intermediate_size=3072,
    num_hidden_layers=28,
    num_attention_heads=16,
    num_key_value_heads=8,
    head_dim=128,
)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--dtype", choices=DTYPES, default="bfloat16")
    parser.add_argument("--steps", type=int, default=1, help="denoising steps; memory does not depend on them")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if host_memory()[1] < _NEEDED_BYTES:
        parser.error(
            f"{_NEEDED_BYTES / 1e9:.0f} GB of free memory are needed, {host_memory()[1] / 1e9:.1f} GB are there"
        )
    print(json.dumps(measure(arguments.seconds, arguments.dtype, arguments.steps)))


def measure(seconds: float, dtype: str, steps: int) -> dict[str, object]:
    """Bytes held while playing in both ways, and how many of them are weights."""
    family = random_family(dtype)
    weights = {role: weight_bytes(network) for role, network in family.networks.items()}
    stages, taken = {}, {}
    for name, offload in (("offloaded", True), ("resident", False)):
        start = time.perf_counter()
        held = held_per_stage(family, seconds, steps, offload=offload)
        taken[name] = round(time.perf_counter() - start, 1)
        stages[name] = {stage: size + (0 if offload else sum(weights.values())) for stage, size in held.items()}
    peaks = {name: max(sizes.values()) for name, sizes in stages.items()}
    return {
        "benchmark": "memory",
        "model": DEFAULT_MODEL.name,
        "audio_s": seconds,
        "dtype": dtype,
        "weights": weights,
        "stages": stages,
        "peak": peaks,
        "offloaded_to_resident": round(peaks["offloaded"] / peaks["resident"], 3),
        "taken_s": taken,
    }


def random_family(dtype: str) -> Family:
    """The networks of the default model at their published sizes; tokenizer and silence are the embedded ones."""
    handler = AceStepHandler()
    handler.initialize_service(config_path=EMBEDDED_MODEL.name, device="cpu")
    with torch.device("meta"):
        model, vae = AceStepModel(AceStepConfig()), Oobleck(OobleckConfig())
    for network in (model, vae):
        fill(network, DTYPES[dtype])
    shapes = dict(_TEXT_ENCODER.shapes())
    text = Qwen3Decoder(_TEXT_ENCODER, lambda name: filled(torch.empty(shapes[name], dtype=DTYPES[dtype])))
    vae.fold()
    return replace(
        handler.renderer.family,
        spec=DEFAULT_MODEL,
        placement=place(device_facts("cpu"), dtype),
        model=model.eval(),
        vae=vae.eval(),
        text_encoder=TextEncoder(text).eval(),
    )


def fill(network: nn.Module, dtype: torch.dtype) -> None:
    """Memory for a network on the meta device, with one block of small numbers over and over: as good as random."""
    network.to(dtype).to_empty(device="cpu").requires_grad_(False)
    for name, tensor in network.named_parameters():
        if name.endswith("norm.weight"):
            tensor.fill_(1.0)
        else:
            filled(tensor)


def filled(tensor: torch.Tensor) -> torch.Tensor:
    """``tensor`` itself, full of the block."""
    block = torch.randn(_BLOCK, generator=torch.Generator().manual_seed(0)).mul_(0.02).to(tensor.dtype)
    flat = tensor.view(-1)
    whole = flat.numel() // _BLOCK * _BLOCK
    flat[:whole].view(-1, _BLOCK).copy_(block.expand(whole // _BLOCK, _BLOCK))
    flat[whole:] = block[: flat.numel() - whole]
    return tensor


def held_per_stage(family: Family, seconds: float, steps: int, *, offload: bool) -> dict[str, int]:
    """Most bytes of each stage above what the process held before the song."""
    residency = Residency(
        family.networks, family.placement.device, offload=offload, carry=torch.clone if offload else None
    )
    params = GenerationParams(caption="calm piano", duration=seconds, inference_steps=steps, thinking=False)
    request = Request.from_params(params, GenerationConfig(batch_size=1, seeds=[1]), family.spec)
    free_cache()  # what was freed while building must not be taken for memory given back by the song
    before = resident_bytes()
    renderer = Renderer(family, residency)
    rendering = renderer.render(request, [request.plan(renderer.reader.codebook_size)])
    return {stage: size - before for stage, size in rendering.peak.stages.items()}


def resident_bytes() -> int:
    """Resident set of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    main()
