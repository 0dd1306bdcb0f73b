"""Trains the semantic tokenizer and detokenizer: five latent frames to one code and back.

    python -m acestep.training.train_fsq .cache/latents runs/vae runs/fsq --minutes 10

In: latents of songs, the run of the autoencoder. Out: checkpoints of both halves. The quantizer is trained straight
through (Mentzer et al., 2023): forward it rounds, backward it does not.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from acestep.models.config import AceStepConfig
from acestep.models.fsq import AudioDetokenizer, AudioTokenizer, FiniteScalarQuantizer
from acestep.models.oobleck import Oobleck
from acestep.training.latents import MIX, LatentSongs
from acestep.training.learn.command import budget_of, settings_of, trainer_parser
from acestep.training.learn.trainer import Budget, Figures, Settings, Trainer
from acestep.training.sizes import TRANSFORMER
from acestep.training.train_vae import finished_vae

CODES = 16  # per excerpt


class SemanticCodec(nn.Module):
    """Tokenizer and detokenizer under the names they have in an ``AceStepModel``."""

    def __init__(self, config: AceStepConfig) -> None:
        super().__init__()
        self.tokenizer = AudioTokenizer(config.encoder)
        self.detokenizer = AudioDetokenizer(config.encoder)

    def forward(self, latents: Tensor) -> Tensor:
        """``[B, K * 5, C]`` there and back, with gradients."""
        tokenizer = self.tokenizer
        groups = latents.unflatten(1, (-1, tokenizer.pool))  # [B, K, 5, C]
        pooled = tokenizer.attention_pooler(tokenizer.audio_acoustic_proj(groups))  # [B, K, D]
        return self.detokenizer(tokenizer.quantizer.project_out(straight_through(tokenizer.quantizer, pooled)))


def straight_through(quantizer: FiniteScalarQuantizer, pooled: Tensor) -> Tensor:
    """Levels in [-1, 1] ``[..., dims]`` of ``pooled`` ``[..., D]``: rounded, with the gradient of the unrounded."""
    smooth = quantizer.bounded(quantizer.project_in(pooled))
    steps = torch.tensor(quantizer.levels, device=pooled.device) - 1
    rounded = quantizer.digits(smooth) * 2 / steps - 1
    return smooth + (rounded - smooth).detach()


@dataclass(frozen=True, slots=True)
class FsqLoss:
    """Mean squared error of latents that went through codes.

    A code has ten bits for 320 numbers: the error counts where it would be heard.

    Args:
        latents: of every training song, ``[T, C]`` each.
        weights: of the channels ``[C]``, mean 1.
        batch: excerpts per step.
        seed: of the excerpts.
    """

    latents: list[Tensor]
    weights: Tensor
    batch: int
    seed: int

    def __call__(self, codec: SemanticCodec, step: int) -> tuple[Tensor, Figures]:
        rng = np.random.default_rng([self.seed, step])
        excerpts = torch.stack([self._excerpt(rng, codec.tokenizer.pool * CODES) for _ in range(self.batch)])
        excerpts = excerpts.to(next(codec.parameters()).device)
        weights = self.weights.to(excerpts)
        error = ((codec(excerpts) - excerpts).square() * weights).mean()
        spread = ((excerpts - excerpts.mean((0, 1))).square() * weights).mean()
        return error, {"explained": 1 - error.item() / spread.item()}

    def _excerpt(self, rng: np.random.Generator, frames: int) -> Tensor:
        song = self.latents[int(rng.integers(len(self.latents)))]
        start = int(rng.integers(len(song) - frames + 1))
        return song[start : start + frames]


def audible_weights(vae: Oobleck) -> Tensor:
    """How much energy each latent channel puts into the first layer of the decoder, ``[C]``, mean 1."""
    first = vae.decoder.conv1
    norms = torch.linalg.vector_norm(first.weight_v, dim=(1, 2), keepdim=True)
    energy = (first.weight_v * first.weight_g / norms).square().sum((0, 2))  # [C]
    return energy / energy.mean()


def train_fsq(
    songs: LatentSongs, vae_run: Path, folder: Path, settings: Settings, budget: Budget, batch: int, device: str
) -> None:
    """Train, or go on."""
    torch.manual_seed(settings.seed)
    codec = SemanticCodec(AceStepConfig.from_dict(TRANSFORMER)).to(device)
    latents = [song.latents(MIX) for song in songs.songs]
    weights = audible_weights(finished_vae(vae_run))
    Trainer(codec, FsqLoss(latents, weights, batch, settings.seed), settings, folder).run(budget)


def main(argv: list[str] | None = None) -> None:
    """Train the semantic tokenizer and detokenizer."""
    parser = trainer_parser("train_fsq", main.__doc__, ("latents", "vae", "folder"), batch=32, rate=1e-3)
    arguments = parser.parse_args(argv)
    settings, budget = settings_of(arguments), budget_of(arguments)
    songs = LatentSongs(arguments.latents)
    train_fsq(songs, arguments.vae, arguments.folder, settings, budget, arguments.batch, arguments.device)


if __name__ == "__main__":
    main()
