"""Writes trained networks as weights folders that inference loads.

    python -m acestep.training.export runs weights

In: the runs of all trainers. Out: ``tiny``, ``tiny-base`` and what they share, 16-bit. What has not been trained yet
is left as it is.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save
from tokenizers import Tokenizer
from torch import Tensor

from acestep.checkpoints.registry import EMBEDDED_BASE_MODEL, EMBEDDED_MODEL, LANGUAGE_MODELS, ModelSpec
from acestep.errors import WeightsError
from acestep.training.claims import NETWORK, check_claim, digest_of_tensors
from acestep.training.embedded import digest_of_model, variant
from acestep.training.files import write_beside
from acestep.training.learn.command import run_command
from acestep.training.learn.trainer import CHECKPOINT, averaged_weights
from acestep.training.planner_network import digest_of_planner, planner_weights
from acestep.training.sizes import AUTOENCODER, LANGUAGE_MODEL, PLANNER, TRANSFORMER
from acestep.training.train_dit import silence_latents
from acestep.training.train_lm import planner_tokenizer
from acestep.training.train_vae import trained_vae
from acestep.training.vocabulary import text_vocabulary

STORED = torch.float16


def export_family(runs: Path, out: Path) -> list[Path]:
    """Write all networks with a run below ``runs`` (``vae``, ``dit``, ``turbo``, ``lm``); the folders written.

    Raises:
        WeightsError: the few-step model was taught by a transformer with another text encoder, or a run is of
            another network.
    """
    vae, base, turbo, planner = (runs / name for name in ("vae", "dit", "turbo", "lm"))
    specs = {spec: run for spec, run in ((EMBEDDED_BASE_MODEL, base), (EMBEDDED_MODEL, turbo)) if _is_run(run)}
    for run in specs.values():
        check_claim(run, NETWORK, digest_of_model())
    models = {spec: averaged_weights(run) for spec, run in specs.items()}
    texts = [_below(weights, "text.") for weights in models.values()]
    if len({digest_of_tensors(text) for text in texts}) > 1:
        raise WeightsError(f"{turbo} was taught by another transformer than {base} is now; distil it again.")
    written = [
        _write(out / EMBEDDED_MODEL.vae, "diffusion_pytorch_model", AUTOENCODER, trained_vae(vae).state_dict())
    ]
    silence = silence_latents(vae)
    for spec, weights in models.items():
        written.append(_write_transformer(out, spec, weights, silence))
    if texts:
        encoder = out / EMBEDDED_MODEL.text_encoder
        written.append(_write_qwen3(encoder, LANGUAGE_MODEL, texts[0], text_vocabulary()))
    if _is_run(planner):
        written.append(export_planner(planner, out / LANGUAGE_MODELS[EMBEDDED_MODEL.name].folder))
    return written


def export_planner(run: Path, folder: Path) -> Path:
    """Write the planner of a run as a weights folder.

    Raises:
        WeightsError: nothing has been trained in ``run``, or another network.
    """
    check_claim(run, NETWORK, digest_of_planner())
    return _write_qwen3(folder, PLANNER, planner_weights(run), planner_tokenizer(run))


def _write_transformer(out: Path, spec: ModelSpec, weights: Mapping[str, Tensor], silence: Tensor) -> Path:
    config = {**TRANSFORMER, **variant(spec.variant.guidance is None)}
    folder = _write(out / spec.folder, "model", config, _below(weights, "model."))
    _write_tensors(folder / "silence_latent.safetensors", {"silence_latent": silence})
    return folder


def _write_qwen3(
    folder: Path, sizes: Mapping[str, object], weights: Mapping[str, Tensor], vocabulary: Tokenizer
) -> Path:
    rows = vocabulary.get_vocab_size()
    config = {"architectures": ["Qwen3Model"], "model_type": "qwen3", **sizes, "vocab_size": rows}
    _write(folder, "model", config, weights)
    with write_beside(folder / "tokenizer.json") as file:
        file.write(vocabulary.to_str().encode())
    return folder


def _is_run(folder: Path) -> bool:
    return (folder / CHECKPOINT).is_file()


def _below(weights: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in weights.items() if name.startswith(prefix)}


def _write(folder: Path, stem: str, config: Mapping[str, object], weights: Mapping[str, Tensor]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    _write_tensors(folder / f"{stem}.safetensors", weights)
    with write_beside(folder / "config.json") as file:
        file.write((json.dumps(config, indent=2) + "\n").encode())
    return folder


def _write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    with write_beside(path) as file:
        file.write(save({name: tensor.to(STORED).contiguous() for name, tensor in tensors.items()}))


def main(argv: list[str] | None = None) -> None:
    """Write trained networks as weights folders."""
    parser = argparse.ArgumentParser(prog="python -m acestep.training.export", description=main.__doc__)
    parser.add_argument("runs", type=Path)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args(argv)
    for folder in export_family(arguments.runs, arguments.out):
        size = sum(path.stat().st_size for path in folder.iterdir() if path.is_file())
        print(f"{folder}  {size / 2**20:.1f} MiB")


if __name__ == "__main__":
    run_command("export", main)
