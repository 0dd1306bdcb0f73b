"""The networks that play together: one transformer, its VAE, its text encoder, its silence. Loaded from a folder.

In: a registry row, the weights folder, a placement. Out: a ``Family``. Refuses to know requests and the hub.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import Qwen3Config, Qwen3Model

from acestep.checkpoints.load import load_silence, load_strict, read_json, weight_files
from acestep.checkpoints.registry import ModelSpec
from acestep.conditioning.text import PromptTokenizer, TextEncoder
from acestep.devices import Placement
from acestep.errors import WeightsError
from acestep.models.acestep_model import AceStepModel
from acestep.models.config import AceStepConfig
from acestep.models.oobleck import Oobleck
from acestep.models.vae_config import OobleckConfig

logger = logging.getLogger(__name__)
Network = TypeVar("Network", bound=nn.Module)
Report = Callable[[str, float, int], None]
WEIGHTS_ENV = "ACESTEP_WEIGHTS"


@dataclass(frozen=True, slots=True)
class Family:
    """Networks in eval mode on the CPU, ready to be placed.

    Attributes:
        spec: registry row of the transformer.
        placement: device and dtype they were loaded for.
        model: diffusion transformer with its condition encoder and semantic tokenizer.
        vae: Oobleck autoencoder, weight norm folded.
        text_encoder: of the prompts.
        tokenizer: of the prompts.
        silence: ``[1, frames, C]`` latents of silence, fp32.
    """

    spec: ModelSpec
    placement: Placement
    model: AceStepModel
    vae: Oobleck
    text_encoder: TextEncoder
    tokenizer: PromptTokenizer
    silence: Tensor

    @property
    def networks(self) -> dict[str, nn.Module]:
        """The networks by role, for ``devices.Residency``."""
        return {"dit": self.model, "vae": self.vae, "text_encoder": self.text_encoder}


def find_weights(spec: ModelSpec, project_root: Path) -> Path:
    """The weights folder that holds ``spec``.

    Looked for in ``ACESTEP_WEIGHTS``, then in ``weights/`` and ``checkpoints/`` of the project, then beside this
    package, where the embedded models ship.

    Raises:
        WeightsError: none of them has it; names the folders that are needed and where they were looked for.
    """
    named = os.environ.get(WEIGHTS_ENV)
    roots = [Path(named)] if named else []
    roots += [project_root / "weights", project_root / "checkpoints", Path(__file__).resolve().parents[2] / "weights"]
    needed = (spec.folder, spec.vae, spec.text_encoder)
    for root in roots:
        if all((root / name).is_dir() for name in needed):
            return root
    raise WeightsError(
        f"Model not loaded: {spec.name} needs the folders {', '.join(needed)} in one of "
        f"{', '.join(str(root) for root in dict.fromkeys(roots))}; put them there or point {WEIGHTS_ENV} at them."
    )


def load_family(spec: ModelSpec, root: Path, placement: Placement, report: Report | None = None) -> Family:
    """Load every network of one registry row.

    Args:
        report: called after each network with its role, seconds and bytes.

    Raises:
        WeightsError: a file is missing or broken.
    """
    folder = root / spec.folder
    dtype = placement.dtype

    def timed(role: str, build: Callable[[], Network]) -> Network:
        start = time.perf_counter()
        network = build()
        if report is not None:
            size = sum(parameter.nbytes for parameter in network.parameters())
            report(role, time.perf_counter() - start, size)
        return network

    return Family(
        spec=spec,
        placement=placement,
        model=timed("transformer", lambda: _load_transformer(folder, dtype)),
        vae=timed("vae", lambda: _load_vae(root / spec.vae, dtype)),
        text_encoder=timed("text encoder", lambda: _load_text_encoder(root / spec.text_encoder, dtype)),
        tokenizer=_load_tokenizer(root / spec.text_encoder),
        silence=load_silence(folder),
    )


def _load_transformer(folder: Path, dtype: torch.dtype) -> AceStepModel:
    config = AceStepConfig.from_json(folder / "config.json")
    with torch.device("meta"):
        network = AceStepModel(config)
    return load_strict(network, weight_files(folder, "model"), dtype)


def _load_vae(folder: Path, dtype: torch.dtype) -> Oobleck:
    config = OobleckConfig.from_json(folder / "config.json")
    with torch.device("meta"):
        network = Oobleck(config)
    network = load_strict(network, weight_files(folder, "diffusion_pytorch_model"), dtype)
    network.fold()
    return network


def _load_text_encoder(folder: Path, dtype: torch.dtype) -> TextEncoder:
    config = Qwen3Config(**read_json(folder / "config.json"))
    config._attn_implementation = "sdpa"
    with torch.device("meta"):
        network = Qwen3Model(config)
    rotary = network.rotary_emb
    load_strict(network, weight_files(folder, "model"), dtype)
    network.rotary_emb = type(rotary)(config=config)  # its tables are not weights, so they were left on meta
    return TextEncoder(network)


def _load_tokenizer(folder: Path) -> PromptTokenizer:
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise WeightsError(f"Model not loaded: {folder} has no {path.name}.")
    return PromptTokenizer(Tokenizer.from_file(str(path)))
