"""Trains the embedded transformer and text encoder on every task.

    python -m acestep.training.train_dit .cache/latents runs/vae runs/fsq runs/dit --minutes 60

In: latents of songs, the runs of the autoencoder and the semantic codec. Out: checkpoints of an ``EmbeddedModel``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from acestep.conditioning.text import PromptTokenizer
from acestep.constants import AUDIO_CHANNELS, SAMPLE_RATE, TIMBRE_SECONDS
from acestep.errors import WeightsError
from acestep.training.claims import NETWORK, claim
from acestep.training.embedded import EmbeddedModel, digest_of_model
from acestep.training.examples import Example, draw_example
from acestep.training.latents import LatentSong, LatentSongs
from acestep.training.learn.command import budget_of, run_command, settings_of, trainer_parser
from acestep.training.learn.flow import (
    FlowBatch,
    Levels,
    begin_as_identity,
    draw_forgotten,
    flow_loss,
    recompute_layers,
)
from acestep.training.learn.trainer import CHECKPOINT, Budget, Figures, Settings, Trainer
from acestep.training.learn.weighing import channel_weights
from acestep.training.train_fsq import semantic_weights
from acestep.training.train_vae import trained_vae
from acestep.training.vocabulary import text_vocabulary

NEIGHBOURS = 4  # songs of a batch are drawn from this many times as many of about the same length
AMPLITUDE, ENVELOPE_SHARE = 1, 0.45  # when something sounds matters about as much as what it is
LEVELS = Levels(0.3, 1.2)  # what a song is like is decided where there is much noise
FACTS_WEIGHT, WORDS_WEIGHT, BEATS_WEIGHT, LOOKS_WEIGHT = 0.9, 0.5, 1.0, 0.03  # beside a velocity error of about 1


@dataclass(frozen=True, slots=True)
class Lessons:
    """Batches by number: songs of about the same length, a task for each.

    Args:
        songs: in order of length.
        tokenizer: of the prompts.
        silence: latents of silence ``[1, 750, C]``.
        weights: of the latent channels ``[C]``, mean 1.
        size: songs per batch.
        seed: of everything drawn.
    """

    songs: list[LatentSong]
    tokenizer: PromptTokenizer
    silence: Tensor
    weights: Tensor
    size: int
    seed: int

    def batch(self, network: EmbeddedModel, step: int) -> FlowBatch:
        """The batch of one micro step."""
        return network.batch(self.examples(step), self.silence)

    def examples(self, step: int) -> list[Example]:
        """The songs and tasks of one micro step."""
        rng = np.random.default_rng([self.seed, step])
        span = min(NEIGHBOURS * self.size, len(self.songs))
        start = int(rng.integers(len(self.songs) - span + 1))
        chosen = rng.choice(span, self.size, replace=self.size > span)
        return [draw_example(self.songs[start + int(index)], rng, self.tokenizer) for index in chosen]


def make_lessons(songs: LatentSongs, vae_run: Path, size: int, seed: int) -> Lessons:
    """Everything the transformer learns from."""
    ordered = sorted(songs.songs, key=lambda song: song.record.duration)
    tokenizer = PromptTokenizer(text_vocabulary())
    weights = channel_weights(trained_vae(vae_run), AMPLITUDE, ENVELOPE_SHARE)
    return Lessons(ordered, tokenizer, silence_latents(vae_run), weights, size, seed)


@torch.inference_mode()
def silence_latents(vae_run: Path) -> Tensor:
    """Latents of 30 s of digital silence, ``[1, 750, C]``."""
    return trained_vae(vae_run).encode(torch.zeros(1, AUDIO_CHANNELS, SAMPLE_RATE * TIMBRE_SECONDS)).clone()


@dataclass(frozen=True, slots=True)
class DitLoss:
    """The flow-matching loss of a micro step, and how far the network knows what is true of the songs."""

    lessons: Lessons

    def __call__(self, network: EmbeddedModel, step: int) -> tuple[Tensor, Figures]:
        lessons = self.lessons
        examples = lessons.examples(step)
        captions = network.captions(examples)
        batch = network.batch(examples, lessons.silence, captions)
        device = batch.target.device
        forgotten = draw_forgotten(len(examples), device)
        with network.overheard() as heard:
            flow = flow_loss(network.model, batch, forgotten, lessons.weights.to(device), LEVELS)
        first, middle = heard.tokens
        told = [
            replace(one, bpm=None) if gone else one for one, gone in zip(examples, forgotten.tolist(), strict=True)
        ]
        errors = {
            "facts": (FACTS_WEIGHT, network.facts_error(middle, examples)),
            "words": (WORDS_WEIGHT, network.words_error(captions, examples)),
            "beats": (BEATS_WEIGHT, network.beats_error(first, told)),
            "looks": (LOOKS_WEIGHT, network.looks_error(heard.looks, told)),
        }
        figures = {"flow": flow.item(), **{name: error.item() for name, (_, error) in errors.items()}}
        return flow + sum(weight * error for weight, error in errors.values()), figures


def new_model(tokens: int, fsq_run: Path, seed: int) -> EmbeddedModel:
    """The untrained model with the trained semantic codec in it; its layers begin as the identity.

    Raises:
        WeightsError: the run is of another codec.
    """
    torch.manual_seed(seed)
    network = EmbeddedModel(tokens)
    begin_as_identity(network.model)
    semantic = semantic_weights(fsq_run)
    missing, unexpected = network.model.load_state_dict(semantic, strict=False)
    if unexpected or {name.split(".")[0] for name in missing} & {"tokenizer", "detokenizer"}:
        raise WeightsError(f"{fsq_run} holds another semantic codec than that of this model.")
    return network


def train_dit(
    lessons: Lessons,
    fsq_run: Path,
    folder: Path,
    settings: Settings,
    budget: Budget,
    device: str,
    *,
    recompute: bool = False,
) -> None:
    """Train, or go on; with ``recompute`` in less memory (see ``recompute_layers``).

    Raises:
        WeightsError: the run is of another network.
    """
    claim(folder, NETWORK, digest_of_model())
    size = lessons.tokenizer.size
    fresh = not (folder / CHECKPOINT).is_file()
    network = new_model(size, fsq_run, settings.seed) if fresh else EmbeddedModel(size)
    if recompute:
        recompute_layers(network.model)
    Trainer(network.to(device), DitLoss(lessons), settings, folder).run(budget)


def main(argv: list[str] | None = None) -> None:
    """Train the embedded transformer."""
    parser = trainer_parser("train_dit", main.__doc__, ("latents", "vae", "fsq", "folder"), batch=16, rate=1e-3)
    parser.add_argument("--recompute", action="store_true", help="gradient checkpointing: slower, in less memory")
    arguments = parser.parse_args(argv)
    settings, budget = settings_of(arguments, weight_decay=0.01), budget_of(arguments)
    lessons = make_lessons(LatentSongs(arguments.latents), arguments.vae, arguments.batch, settings.seed)
    folder, device = arguments.folder, arguments.device
    train_dit(lessons, arguments.fsq, folder, settings, budget, device, recompute=arguments.recompute)


if __name__ == "__main__":
    run_command("train_dit", main)
