"""Adapters made in a test: random pairs, the ways trainers name and store them, and a slow second opinion."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor, nn

from acestep.v1.adapter_source import AdapterFile

RANK = 4
Pairs = dict[str, tuple[Tensor, Tensor]]
STYLES = {
    "bare": ("{module}.lora_A.weight", "{module}.lora_B.weight"),
    "diffusers": ("transformer.{module}.lora_A.weight", "transformer.{module}.lora_B.weight"),
    "peft": ("base_model.model.{module}.lora_A.weight", "base_model.model.{module}.lora_B.weight"),
    "peft with a name": ("base_model.model.{module}.lora_A.default.weight", "{module}.lora_B.default.weight"),
    "nested": ("base_model.model.transformer.{module}.lora_A.weight", "transformer.{module}.lora_B.weight"),
    "comfy": ("diffusion_model.{module}.lora_down.weight", "diffusion_model.{module}.lora_up.weight"),
    "old diffusers": ("{module}.lora.down.weight", "{module}.lora.up.weight"),
}


class Small(nn.Module):
    """Every kind of layer that adapters of this family change, under names of the family."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.transformer_blocks = nn.ModuleList(_block() for _ in range(2))
        self.speaker_embedder = nn.Linear(6, 8)
        self.proj_in = nn.Conv2d(3, 8, (4, 1))
        generator = torch.Generator().manual_seed(seed)
        for parameter in self.parameters():
            parameter.data = torch.randn(parameter.shape, generator=generator)
        self.eval().requires_grad_(False)


def _block() -> nn.Module:
    attn = nn.ModuleDict({"to_q": nn.Linear(8, 8), "to_out": nn.ModuleList([nn.Linear(8, 8)])})
    return nn.ModuleDict({"attn": attn, "point_conv": nn.Conv1d(8, 6, 3)})


def random_pairs(network: nn.Module, *modules: str, seed: int = 1, rank: int = RANK) -> Pairs:
    """A lower and an upper half for each named module, or for every one that has a weight of its own."""
    generator = torch.Generator().manual_seed(seed)
    weights = {
        name.removesuffix(".weight"): weight for name, weight in network.named_parameters() if weight.dim() > 1
    }
    pairs = {}
    for module in modules or weights:
        out, *rest = weights[module].shape
        down = torch.randn((rank, *rest), generator=generator)
        up = torch.randn((out, rank, *[1] * (len(rest) - 1)), generator=generator)
        pairs[module] = (down, up)
    return pairs


def saved(
    path: Path,
    pairs: Mapping[str, tuple[Tensor, Tensor]],
    style: str = "bare",
    *,
    extra: Mapping[str, Tensor] | None = None,
    stated: object = None,
) -> AdapterFile:
    """A file of these pairs.

    Args:
        extra: further tensors.
        stated: what the header's settings say; text is written as it is.
    """
    down, up = STYLES[style]
    tensors = {down.format(module=module): halves[0] for module, halves in pairs.items()}
    tensors |= {up.format(module=module): halves[1] for module, halves in pairs.items()}
    text = stated if isinstance(stated, str) else json.dumps(stated)
    metadata = None if stated is None else {"format": "pt", "lora_adapter_metadata": text}
    save_file({name: tensor.clone() for name, tensor in (tensors | dict(extra or {})).items()}, path, metadata)
    return on_disk(path)


def on_disk(path: Path) -> AdapterFile:
    return AdapterFile(path.stem, path, hashlib.sha256(path.read_bytes()).hexdigest())


def expected(before: Tensor, halves: tuple[Tensor, Tensor], scale: float) -> NDArray[np.float64]:
    """``W + scale * up @ down`` in fp64, one element of the rank after the other."""
    down, up = (half.double().numpy() for half in halves)
    result = before.double().numpy().copy()
    for index in range(len(down)):
        result += scale * np.multiply.outer(up[:, index].reshape(-1), down[index])
    return result


def bits(network: nn.Module) -> dict[str, bytes]:
    """Every tensor of a network, bit for bit."""
    return {name: tensor.view(torch.uint8).numpy().tobytes() for name, tensor in network.state_dict().items()}
