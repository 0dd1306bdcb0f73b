"""The networks that play together: one transformer, its VAE, its text encoder, its silence. Loaded from a folder.

In: a registry row, the weights folder, a placement. Out: a ``Family``. Refuses to know requests and the hub.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import Qwen3Config, Qwen3Model

from acestep.checkpoints.files import PACKAGED, WEIGHTS_ENV, search_roots
from acestep.checkpoints.load import load_silence, load_strict, read_json, weight_files
from acestep.checkpoints.registry import ModelSpec
from acestep.conditioning.text import PromptTokenizer, TextEncoder
from acestep.devices import Placement
from acestep.errors import WeightsError
from acestep.models.acestep_model import AceStepModel
from acestep.models.config import AceStepConfig
from acestep.models.oobleck import Oobleck
from acestep.models.vae_config import OobleckConfig

Report = Callable[[str, float, int], None]


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
    """The weights folder that holds ``spec``: the first of ``files.search_roots`` that has all its folders.

    Embedded models are also looked for beside this package, where they ship.

    Raises:
        WeightsError: none of them has it; names the folders that are needed and where they were looked for.
    """
    roots = [*search_roots(project_root), *([PACKAGED] if spec.embedded else [])]
    needed = (spec.folder, spec.vae, spec.text_encoder)
    for root in roots:
        if all((root / name).is_dir() for name in needed):
            return root
    raise WeightsError(
        f"Model not loaded: {spec.name} needs the folders {', '.join(needed)} in one of "
        f"{', '.join(map(str, dict.fromkeys(roots)))}; fetch them with `acestep-download --model {spec.name}`, "
        f"or point {WEIGHTS_ENV} at a folder that has them."
    )


def load_family(spec: ModelSpec, root: Path, placement: Placement, report: Report | None = None) -> Family:
    """Load every network of one registry row.

    Args:
        report: called after each network with its role, seconds and bytes.

    Raises:
        WeightsError: files are missing or broken; the problems of all networks in one text.
    """
    dtype = placement.dtype
    loaders: dict[str, Callable[[], object]] = {
        "transformer": lambda: _load_transformer(root / spec.folder, dtype),
        "vae": lambda: _load_vae(root / spec.vae, dtype),
        "text encoder": lambda: _load_text_encoder(root / spec.text_encoder, dtype),
        "tokenizer": lambda: _load_tokenizer(root / spec.text_encoder),
        "silence": lambda: load_silence(root / spec.folder),
    }
    parts = _load_all(loaders, report)
    _check_vocabulary(parts["text encoder"], parts["tokenizer"])
    return Family(spec, placement, *parts.values())


def _load_all(loaders: Mapping[str, Callable[[], object]], report: Report | None) -> dict[str, Any]:
    """Every part, or one error with the problems of all of them."""
    parts, problems = {}, []
    for role, load in loaders.items():
        start = time.perf_counter()
        try:
            parts[role] = load()
        except WeightsError as error:
            problems.append(str(error))
            continue
        if report is not None and isinstance(parts[role], nn.Module):
            size = sum(parameter.nbytes for parameter in parts[role].parameters())
            report(role, time.perf_counter() - start, size)
    if problems:
        raise WeightsError(" ".join(dict.fromkeys(problems)))
    return parts


def _check_vocabulary(encoder: TextEncoder, tokenizer: PromptTokenizer) -> None:
    rows = encoder.network.get_input_embeddings().weight.shape[0]
    if tokenizer.size > rows:
        raise WeightsError(
            f"Model not loaded: the tokenizer has {tokenizer.size} tokens, the text encoder only {rows} embeddings."
        )


def _load_transformer(folder: Path, dtype: torch.dtype) -> AceStepModel:
    config = AceStepConfig.from_dict(read_json(folder / "config.json"))
    with torch.device("meta"):
        network = AceStepModel(config)
    return load_strict(network, weight_files(folder, "model"), dtype)


def _load_vae(folder: Path, dtype: torch.dtype) -> Oobleck:
    config = OobleckConfig.from_dict(read_json(folder / "config.json"))
    with torch.device("meta"):
        network = Oobleck(config)
    network = load_strict(network, weight_files(folder, "diffusion_pytorch_model"), dtype)
    network.fold()
    return network


def _load_text_encoder(folder: Path, dtype: torch.dtype) -> TextEncoder:
    raw = read_json(folder / "config.json")
    try:
        config = Qwen3Config(**raw)
    except (StrictDataclassError, TypeError, ValueError) as error:
        raise WeightsError(
            f"Model not loaded: {folder / 'config.json'} does not describe a Qwen3 network."
        ) from error
    config._attn_implementation = "sdpa"
    with torch.device("meta"):
        network = Qwen3Model(config)
    rotary = network.rotary_emb
    load_strict(network, weight_files(folder, "model"), dtype)
    network.rotary_emb = type(rotary)(config=config)  # its tables are not weights, so they were left on meta
    return TextEncoder(network)


def _load_tokenizer(folder: Path) -> PromptTokenizer:
    path = folder / "tokenizer.json"
    model = read_json(path).get("model")
    if not isinstance(model, dict) or not isinstance(model.get("vocab"), dict):
        raise WeightsError(f"Model not loaded: {path} holds no vocabulary.")
    return PromptTokenizer(Tokenizer.from_file(str(path)))
