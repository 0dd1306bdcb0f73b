"""Begins the runs of all trainers with exported weights, so that training can go on from what a repository holds.

    python -m acestep.training.begin weights runs

In: a folder that ``export`` wrote. Out: checkpoints of step 0 for every trainer. What is not exported begins anew,
optimisers and ears; latents and codes have to be made again, of the autoencoder that is taken up. Refuses to train.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TypeVar

import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor, nn

from acestep.checkpoints.files import read_json
from acestep.checkpoints.registry import EMBEDDED_BASE_MODEL, EMBEDDED_MODEL, LANGUAGE_MODELS
from acestep.errors import InputError, WeightsError
from acestep.training.claims import NETWORK, claim
from acestep.training.distill import new_student
from acestep.training.embedded import EmbeddedModel, digest_of_model
from acestep.training.learn.command import run_command
from acestep.training.learn.trainer import CHECKPOINT, Figures, Settings, Trainer
from acestep.training.lm_examples import learn_planner_vocabulary
from acestep.training.planner_network import PlannerNetwork, digest_of_planner
from acestep.training.sizes import AUTOENCODER, LANGUAGE_MODEL, PLANNER, TRANSFORMER
from acestep.training.train_fsq import SemanticCodec
from acestep.training.train_vae import empty_vae
from acestep.training.vocabulary import text_vocabulary

Network = TypeVar("Network", bound=nn.Module)

SETTINGS = Settings(learning_rate=0.0)  # how a run is trained is said when it goes on


def begin_runs(weights: Path, runs: Path) -> list[Path]:
    """Write a checkpoint for every trainer; the folders written.

    Args:
        weights: holds ``tiny`` and ``tiny-base``.
        runs: must hold no run yet.

    Raises:
        InputError: a run has begun already.
        WeightsError: a file is missing, or its network is another one than training has here.
    """
    networks = {runs / name: network for name, network in _networks(weights)}
    if begun := [folder for folder in networks if (folder / CHECKPOINT).is_file()]:
        raise InputError(f"{begun[0]} has begun already; take another folder.", field="runs")
    for folder, network in networks.items():
        Trainer(network, _untaught, SETTINGS, folder).save()
    for name, digest in (("dit", digest_of_model()), ("turbo", digest_of_model()), ("lm", digest_of_planner())):
        claim(runs / name, NETWORK, digest)
    return list(networks)


def _networks(weights: Path) -> Iterator[tuple[str, nn.Module]]:
    """Every run's name and network."""
    torch.manual_seed(SETTINGS.seed)
    vae = weights / EMBEDDED_MODEL.vae / "diffusion_pytorch_model.safetensors"
    yield "vae", _taken_up(vae, empty_vae(), AUTOENCODER)
    text = weights / EMBEDDED_MODEL.text_encoder
    tokens = _same_vocabulary(text_vocabulary(), text)
    base, turbo = EmbeddedModel(tokens), new_student(tokens)
    for network, spec in ((base, EMBEDDED_BASE_MODEL), (turbo, EMBEDDED_MODEL)):
        _taken_up(weights / spec.folder / "model.safetensors", network.model, TRANSFORMER)
        _taken_up(text / "model.safetensors", network.text, LANGUAGE_MODEL)
    codec = SemanticCodec(base.model.config)
    codec.tokenizer.load_state_dict(base.model.tokenizer.state_dict())
    codec.detokenizer.load_state_dict(base.model.detokenizer.state_dict())
    yield from (("fsq", codec), ("dit", base), ("turbo", turbo))
    folder = weights / LANGUAGE_MODELS[EMBEDDED_MODEL.name].folder
    planner = PlannerNetwork(_same_vocabulary(learn_planner_vocabulary(base.model.config.codebook_size), folder))
    _taken_up(folder / "model.safetensors", planner.model, PLANNER)
    planner.read_spelling()
    yield "lm", planner


def _taken_up(path: Path, network: Network, sizes: Mapping[str, object]) -> Network:
    """The network with the weights of a file, beside which there is a configuration with the same sizes."""
    held, known = load_file(_existing(path)), network.state_dict()
    written = read_json(path.with_name("config.json"))
    fits = held.keys() == known.keys() and all(held[name].shape == one.shape for name, one in known.items())
    if not fits or any(written.get(name) != size for name, size in sizes.items()):
        raise WeightsError(f"{path} is of another network than training has here (training/sizes.py).")
    network.load_state_dict(held)
    return network


def _same_vocabulary(learnt: Tokenizer, folder: Path) -> int:
    """How many tokens the vocabulary has that belongs to the weights of a folder."""
    path = _existing(folder / "tokenizer.json")
    if Tokenizer.from_file(str(path)).get_vocab() != learnt.get_vocab():
        raise WeightsError(f"{path} is another vocabulary than training learns here.")
    return learnt.get_vocab_size()


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise WeightsError(f"{path} is missing; nothing can begin with it.")
    return path


def _untaught(_network: nn.Module, _step: int) -> tuple[Tensor, Figures]:
    raise AssertionError("a run that begins is not trained")


def main(argv: list[str] | None = None) -> None:
    """Begin runs with exported weights."""
    parser = argparse.ArgumentParser(prog="python -m acestep.training.begin", description=main.__doc__)
    parser.add_argument("weights", type=Path, help="folder that holds tiny and tiny-base")
    parser.add_argument("runs", type=Path, help="new folder of the runs")
    arguments = parser.parse_args(argv)
    for folder in begin_runs(arguments.weights, arguments.runs):
        print(folder)


if __name__ == "__main__":
    run_command("begin", main)
