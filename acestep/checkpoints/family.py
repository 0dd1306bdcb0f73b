"""The networks that play together: one transformer, its VAE, its text encoder, its silence. Loaded from a folder.

In: a registry row, the weights folder, a placement. Out: a ``Family``. Refuses to know requests and the hub.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from acestep.checkpoints.files import PACKAGED, WEIGHTS_ENV, read_json, search_roots
from acestep.checkpoints.integrity import Found, State, inspect
from acestep.checkpoints.load import load_silence, load_strict
from acestep.checkpoints.qwen3 import load_decoder, read_tokenizer
from acestep.checkpoints.registry import ModelSpec, parts_of
from acestep.checkpoints.rows import HubFolder
from acestep.checkpoints.tensors import weight_files
from acestep.conditioning.text import PromptTokenizer, TextEncoder
from acestep.devices import CPU, Placement, weight_bytes
from acestep.errors import WeightsError
from acestep.models.acestep_model import AceStepModel
from acestep.models.config import AceStepConfig
from acestep.models.oobleck import Oobleck
from acestep.models.vae_config import OobleckConfig

VAE, TEXT_ENCODER, TOKENIZER = "vae", "text encoder", "tokenizer"  # roles of parts that models share
logger = logging.getLogger(__name__)

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
        commit: of the transformer on the hub; None when nobody wrote it down, or when it ships with this project.
    """

    spec: ModelSpec
    placement: Placement
    model: AceStepModel
    vae: Oobleck
    text_encoder: TextEncoder
    tokenizer: PromptTokenizer
    silence: Tensor
    commit: str | None = None

    @property
    def networks(self) -> dict[str, nn.Module]:
        """The networks by role, for ``devices.Residency``."""
        return {"dit": self.model, "vae": self.vae, "text_encoder": self.text_encoder}

    def parts_for(self, spec: ModelSpec) -> dict[str, object]:
        """Parts that another model would load from the very same folders, by role."""
        parts: dict[str, object] = {}
        if self.spec.vae == spec.vae:
            parts[VAE] = self.vae
        if self.spec.text_encoder == spec.text_encoder:
            parts |= {TEXT_ENCODER: self.text_encoder, TOKENIZER: self.tokenizer}
        return parts


def find_weights(row: HubFolder, project_root: Path) -> Path:
    """The weights folder that holds ``row`` and what it shares, whole: the first such of ``files.search_roots``.

    Embedded models are also looked for beside this package, where they ship.

    Raises:
        WeightsError: none of them has it; names the folders that are needed, where they were looked for, and what is
            wrong with those that are there.
    """
    roots = tuple(dict.fromkeys([*search_roots(project_root), *([PACKAGED] if row.embedded else [])]))
    parts, half_there = parts_of(row), []
    for root in roots:
        found = [_inspect_in(root, part) for part in parts]
        if all(part.state.usable for part in found):
            return root
        if any(part.state is not State.ABSENT for part in found):
            half_there += [f"{part.folder} {part.why}" for part in found if not part.state.usable]
    raise WeightsError(
        f"Model not loaded: {row.name} needs the folders {', '.join(part.folder for part in parts)} in one of "
        f"{', '.join(map(str, roots))}{''.join(f'; {words}' for words in half_there)}. {_remedy(row)}"
    )


@contextmanager
def naming_the_remedy(row: HubFolder) -> Iterator[None]:
    """A ``WeightsError`` that leaves the block ends with the command that fetches ``row``."""
    try:
        yield
    except WeightsError as error:
        raise WeightsError(f"{error} {_remedy(row, '--force')}") from error


def load_family(
    spec: ModelSpec,
    root: Path,
    placement: Placement,
    report: Report | None = None,
    *,
    shared: Mapping[str, object] | None = None,
) -> Family:
    """Load every network of one registry row.

    Args:
        report: called after each network that was loaded with its role, seconds and bytes.
        shared: parts of another family of the same placement, by role; they are taken as they are.

    Raises:
        WeightsError: files are missing or broken; the problems of all networks in one text.
    """
    dtype = placement.dtype
    loaders: dict[str, Callable[[], object]] = {
        "transformer": lambda: _load_transformer(spec, root / spec.folder, dtype),
        VAE: lambda: _load_vae(root / spec.vae, dtype),
        TEXT_ENCODER: lambda: _load_text(root / spec.text_encoder, dtype),
        TOKENIZER: lambda: PromptTokenizer(read_tokenizer(root / spec.text_encoder)),
        "silence": lambda: load_silence(root / spec.folder),
    }
    with naming_the_remedy(spec):
        parts = dict.fromkeys(loaders) | dict(shared or {})  # in the order of the loaders
        parts |= load_all({role: load for role, load in loaders.items() if parts[role] is None}, report)
        _check_vocabulary(parts[TEXT_ENCODER], parts[TOKENIZER])
    return Family(spec, placement, *parts.values(), commit=inspect(spec, root).commit)


def load_all(loaders: Mapping[str, Callable[[], object]], report: Report | None) -> dict[str, Any]:
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
            report(role, time.perf_counter() - start, weight_bytes(parts[role]))
    if problems:
        raise WeightsError(" ".join(dict.fromkeys(problems)))
    return parts


def _check_vocabulary(encoder: TextEncoder, tokenizer: PromptTokenizer) -> None:
    rows = encoder.network.sizes.vocab_size
    if tokenizer.size > rows:
        raise WeightsError(
            f"Model not loaded: the tokenizer has {tokenizer.size} tokens, the text encoder only {rows} embeddings."
        )


def _load_transformer(spec: ModelSpec, folder: Path, dtype: torch.dtype) -> AceStepModel:
    raw = read_config(folder, "model_type", "acestep")
    with naming_file(folder / "config.json"):
        config = AceStepConfig.from_dict(raw)
    if "is_turbo" in raw:
        _compare_training(spec, folder, distilled=config.is_turbo)
    with torch.device("meta"):
        network = AceStepModel(config)
    return load_strict(network, weight_files(folder, "model"), dtype)


def _compare_training(spec: ModelSpec, folder: Path, *, distilled: bool) -> None:
    """Warn of a checkpoint that says it was trained otherwise than its row: only the row decides how it is run."""
    if distilled != (spec.variant.guidance is None):
        says, run = ("true", "with") if distilled else ("false", "without")
        logger.warning(
            "%s says is_turbo=%s, but %s is run %s guidance.", folder / "config.json", says, spec.name, run
        )


def _load_text(folder: Path, dtype: torch.dtype) -> TextEncoder:
    return TextEncoder(load_decoder(folder, dtype, torch.device(CPU), answers=False)).eval()


def _load_vae(folder: Path, dtype: torch.dtype) -> Oobleck:
    raw = read_config(folder, "_class_name", "AutoencoderOobleck")
    with naming_file(folder / "config.json"):
        config = OobleckConfig.from_dict(raw)
    with torch.device("meta"):
        network = Oobleck(config)
    network = load_strict(network, weight_files(folder, "diffusion_pytorch_model"), dtype)
    network.fold()
    return network


def read_config(folder: Path, key: str, kind: str) -> dict[str, object]:
    """``config.json`` of ``folder``; ``key`` names the architecture where it is given."""
    raw = read_json(folder / "config.json")
    if raw.get(key, kind) != kind:
        raise WeightsError(
            f"Model not loaded: {folder / 'config.json'} is of another architecture: {key} is {raw[key]!r}, "
            f"not {kind!r}."
        )
    return raw


@contextmanager
def naming_file(path: Path) -> Iterator[None]:
    """A ``WeightsError`` about what a file says begins with the file."""
    try:
        yield
    except WeightsError as error:
        raise WeightsError(f"Model not loaded: {path}: {error}") from error


def _inspect_in(root: Path, row: HubFolder) -> Found:
    """``inspect``, but an embedded row that is somewhere else than below ``root`` is absent."""
    found = inspect(row, root)
    here = root / row.folder
    return found if found.folder == here else Found(State.ABSENT, here, why="is not there")


def _remedy(row: HubFolder, *options: str) -> str:
    if row.embedded:
        return "It ships with this project: restore the folder from there."
    command = " ".join(["acestep-download", "--model", row.name, *options])
    return f"Fetch it with `{command}`, or point {WEIGHTS_ENV} at a folder that has it."
