"""What the GPU checks share: where they run, short songs, nearness, networks full of random numbers.

In: handlers, requests' fields, tensors. Out: renderings, or a failed assertion that says by how much. Refuses to know
pytest, audio files and whatever a machine with little more than torch and transformers lacks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from acestep.devices import CPU, CUDA, device_facts, natural_dtype
from acestep.handler import AceStepHandler
from acestep.params import GenerationConfig, GenerationParams
from acestep.planner.plan import Plan
from acestep.playing import Rendering
from acestep.request import Request

PROJECT = Path(__file__).resolve().parents[2]
DEVICE, HOST = torch.device(CUDA), torch.device(CPU)
Note = Callable[[str, str], None]
SONG = {"caption": "calm piano", "duration": 10, "thinking": False, "inference_steps": 4}


def allocated() -> int:
    """Bytes of the device that tensors hold."""
    torch.cuda.synchronize(DEVICE)
    return torch.cuda.memory_allocated(DEVICE)


def reserved() -> int:
    """Bytes of the device that this process keeps from others."""
    return torch.cuda.memory_reserved(DEVICE)


def load(model: str, device: torch.device | None = None, dtype: str = "float32", **options: object) -> AceStepHandler:
    """A handler that plays ``model``; ``options`` are those of ``initialize_service``."""
    handler = AceStepHandler()
    handler.initialize_service(str(PROJECT), model, (device or DEVICE).type, dtype=dtype, **options)
    return handler


def request(handler: AceStepHandler, seeds: Sequence[int] = (1,), **fields: object) -> Request:
    """A short song per seed."""
    config = GenerationConfig(batch_size=len(seeds), use_random_seed=False, seeds=list(seeds))
    return Request.from_params(GenerationParams(**{**SONG, **fields}), config, handler.model)


def play(
    handler: AceStepHandler,
    seeds: Sequence[int] = (1,),
    plans: Sequence[Plan] | None = None,
    reference: Tensor | None = None,
    **fields: object,
) -> Rendering:
    """The songs of ``request``, by ``plans`` or as the request itself would have them."""
    wish, renderer = request(handler, seeds, **fields), handler.renderer
    return renderer.render(wish, plans or [wish.plan(renderer.reader.codebook_size)] * len(seeds), reference)


def lasting(plan: Plan, seconds: float) -> Plan:
    """``plan`` with another length."""
    return replace(plan, metadata=replace(plan.metadata, duration=seconds))


def difference(ours: Tensor, reference: Tensor) -> float:
    """The largest deviation, as a share of the largest value of ``reference``."""
    assert ours.shape == reference.shape
    ours, reference = ours.detach().cpu().double(), reference.detach().cpu().double()
    assert ours.isfinite().all()
    return ((ours - reference).abs().max() / reference.abs().max()).item()


def assert_near(ours: Tensor, reference: Tensor, share: float) -> None:
    """``ours`` deviates nowhere by more than ``share`` of the largest value of ``reference``."""
    found = difference(ours, reference)
    assert found <= share, f"differs by {found:.2e} of the largest value, {share:g} is allowed"


def half_formats() -> list[str]:
    """The 16-bit formats this card computes in."""
    return ["float16", *({natural_dtype(device_facts())} - {"float32"})]


def draw(*shape: int, seed: int = 0) -> Tensor:
    """Normal random numbers on the host, the same on every machine."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def randomise(network: nn.Module, seed: int = 0) -> nn.Module:
    """Random numbers of a lively size into every parameter, in place; norms and gains stay around their defaults."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in network.parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        if parameter.ndim > 1 and parameter.shape[0] > 1:
            parameter.data = noise * parameter[0].numel() ** -0.5
        else:
            parameter.data = parameter.data + 0.3 * noise
    return network.eval().requires_grad_(False)


@contextmanager
def convolutions_in(precision: str) -> Iterator[None]:
    """How fp32 convolutions of the GPU round in the block: ``ieee``, or ``tf32``, which is PyTorch's default."""
    before = torch.backends.cudnn.conv.fp32_precision
    torch.backends.cudnn.conv.fp32_precision = precision
    try:
        yield
    finally:
        torch.backends.cudnn.conv.fp32_precision = before
