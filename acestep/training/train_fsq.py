"""Trains the semantic tokenizer and detokenizer: five latent frames to one code and back.

    python -m acestep.training.train_fsq .cache/latents runs/vae runs/fsq --minutes 10

In: latents of songs, the run of the autoencoder. Out: checkpoints of both halves. The quantizer is trained straight
through (Mentzer et al., 2023): forward it rounds, backward it does not. Twelve bits a fifth of a second do not hold a
waveform: a code also learns to tell what is true of its frames (``truth``), so that it says what a planner can plan.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from acestep.models.config import AceStepConfig
from acestep.models.fsq import AudioDetokenizer, AudioTokenizer, FiniteScalarQuantizer
from acestep.training.latents import MIX, LatentSongs
from acestep.training.learn.command import budget_of, run_command, settings_of, trainer_parser
from acestep.training.learn.trainer import Budget, Figures, Settings, Trainer, averaged_weights
from acestep.training.learn.weighing import channel_weights
from acestep.training.sizes import TRANSFORMER
from acestep.training.train_vae import trained_vae
from acestep.training.truth import BASS, CHORD, DRUMS, HEARD, ONSETS, VOICE, frame_facts

CODES = 16  # per excerpt
ENERGY, ENVELOPE_SHARE = 2, 0.85  # twelve bits a fifth of a second say when, hardly what
FACTS_WEIGHT = 5.0  # of cross-entropies of a quarter, beside a share of the energy
SHARES = (  # alike, drums were never heard; without onsets, no tempo
    (CHORD, 1.0),
    (BASS, 1.0),
    (DRUMS, 12.0),
    (slice(VOICE, VOICE + 1), 2.0),
    (ONSETS, 12.0),
)
SPREAD_WEIGHT = 2.0  # of bits that are one-sided or say the same; without it a quarter of them is unused


class SemanticCodec(nn.Module):
    """Tokenizer and detokenizer under the names they have in an ``AceStepModel``, and ears that only training has.

    Attributes:
        ears: ``pooled`` hears what the tokenizer gathered of a group of frames, ``code`` what the code keeps of it,
            ``said`` what the detokenizer says of it, which is what a transformer hears.
    """

    def __init__(self, config: AceStepConfig) -> None:
        super().__init__()
        self.tokenizer = AudioTokenizer(config.encoder)
        self.detokenizer = AudioDetokenizer(config.encoder)
        width, facts = config.encoder.hidden_size, self.tokenizer.pool * HEARD
        said = nn.Linear(config.encoder.audio_acoustic_hidden_dim, HEARD)
        self.ears = nn.ModuleDict({"pooled": nn.Linear(width, facts), "code": nn.Linear(width, facts), "said": said})

    def forward(self, latents: Tensor) -> Tensor:
        """``[B, K * 5, C]`` there and back, with gradients."""
        return self.detokenizer(self.quantized(self.pooled(latents)))

    def pooled(self, latents: Tensor) -> Tensor:
        """What is gathered of every group of ``[B, K * 5, C]``, ``[B, K, D]``."""
        groups = latents.unflatten(1, (-1, self.tokenizer.pool))  # [B, K, 5, C]
        return self.tokenizer.attention_pooler(self.tokenizer.audio_acoustic_proj(groups))

    def quantized(self, pooled: Tensor) -> Tensor:
        """The codes of ``[B, K, D]`` as vectors of the same shape, with gradients."""
        return self.tokenizer.quantizer.project_out(self.levels(pooled))

    def levels(self, pooled: Tensor) -> Tensor:
        """The codes of ``[B, K, D]`` as levels in [-1, 1] ``[B, K, dims]``, with gradients."""
        return straight_through(self.tokenizer.quantizer, pooled)

    def facts_error(self, ear: str, vectors: Tensor, facts: Tensor) -> Tensor:
        """Cross-entropy of the facts ``[B, K * 5, HEARD]`` that an ear hears in its vectors."""
        told = self.ears[ear](vectors).view_as(facts)  # of pooled vectors and codes [B, K, 5 * HEARD] before
        return F.binary_cross_entropy_with_logits(told, facts, hearing_shares().to(told))


def hearing_shares() -> Tensor:
    """How much every fact counts, ``[HEARD]``, mean 1."""
    shares = torch.empty(HEARD)
    for columns, share in SHARES:
        shares[columns] = share
    return shares / shares.mean()


def spread_error(levels: Tensor) -> Tensor:
    """How far levels ``[..., dims]`` are from even and independent: mean square of their means and covariances."""
    rows = levels.flatten(0, -2)
    centred = rows - rows.mean(0)
    covariance = centred.T @ centred / len(rows)  # [dims, dims]
    apart = covariance - torch.diag(torch.diagonal(covariance))
    return rows.mean(0).square().mean() + apart.square().mean()


def straight_through(quantizer: FiniteScalarQuantizer, pooled: Tensor) -> Tensor:
    """Levels in [-1, 1] ``[..., dims]`` of ``pooled`` ``[..., D]``: rounded, with the gradient of the unrounded."""
    smooth = quantizer.bounded(quantizer.project_in(pooled))
    steps = torch.tensor(quantizer.levels, device=pooled.device) - 1
    rounded = quantizer.digits(smooth) * 2 / steps - 1
    return smooth + (rounded - smooth).detach()


@dataclass(frozen=True, slots=True)
class FsqLoss:
    """Mean squared error of latents that went through codes, and cross-entropy of the facts that the codes tell.

    A code has twelve bits for 320 numbers: the error counts where it would be heard.

    Args:
        songs: seed and latents ``[T, C]`` of every training song.
        weights: of the channels ``[C]``, mean 1.
        batch: excerpts per step.
        seed: of the excerpts.
    """

    songs: list[tuple[int, Tensor]]
    weights: Tensor
    batch: int
    seed: int

    def __call__(self, codec: SemanticCodec, step: int) -> tuple[Tensor, Figures]:
        rng = np.random.default_rng([self.seed, step])
        drawn = [self._excerpt(rng, codec.tokenizer.pool * CODES) for _ in range(self.batch)]
        excerpts, facts = (torch.stack(of).to(next(codec.parameters()).device) for of in zip(*drawn, strict=True))
        weights = self.weights.to(excerpts)
        pooled = codec.pooled(excerpts)
        levels = codec.levels(pooled)
        quantized = codec.tokenizer.quantizer.project_out(levels)
        said = codec.detokenizer(quantized)
        error = ((said - excerpts).square() * weights).mean()
        spread = ((excerpts - excerpts.mean((0, 1))).square() * weights).mean()
        heard = {"pooled": pooled, "code": quantized, "said": said}
        errors = {ear: codec.facts_error(ear, vectors, facts) for ear, vectors in heard.items()}
        figures = {f"facts_{ear}": one.item() for ear, one in errors.items()}
        uneven = spread_error(levels)
        loss = error / spread + FACTS_WEIGHT * torch.stack([*errors.values()]).sum() + SPREAD_WEIGHT * uneven
        return loss, {"explained": 1 - error.item() / spread.item(), **figures, "uneven": uneven.item()}

    def _excerpt(self, rng: np.random.Generator, frames: int) -> tuple[Tensor, Tensor]:
        """Latents ``[frames, C]`` and facts ``[frames, HEARD]``."""
        seed, latents = self.songs[int(rng.integers(len(self.songs)))]
        part = slice(start := int(rng.integers(len(latents) - frames + 1)), start + frames)
        return latents[part], torch.from_numpy(frame_facts(seed, len(latents))[part, :HEARD])


def train_fsq(
    songs: LatentSongs, vae_run: Path, folder: Path, settings: Settings, budget: Budget, batch: int, device: str
) -> None:
    """Train, or go on."""
    torch.manual_seed(settings.seed)
    codec = SemanticCodec(AceStepConfig.from_dict(TRANSFORMER)).to(device)
    latents = [(song.record.seed, song.latents(MIX)) for song in songs.songs]
    weights = channel_weights(trained_vae(vae_run), ENERGY, ENVELOPE_SHARE)
    Trainer(codec, FsqLoss(latents, weights, batch, settings.seed), settings, folder).run(budget)


def semantic_weights(folder: Path) -> dict[str, Tensor]:
    """Tokenizer and detokenizer of a run, as they are called in an ``AceStepModel``.

    Raises:
        WeightsError: the folder holds no checkpoint.
    """
    return {name: weight for name, weight in averaged_weights(folder).items() if not name.startswith("ears.")}


def main(argv: list[str] | None = None) -> None:
    """Train the semantic tokenizer and detokenizer."""
    parser = trainer_parser("train_fsq", main.__doc__, ("latents", "vae", "folder"), batch=32, rate=1e-3)
    arguments = parser.parse_args(argv)
    settings, budget = settings_of(arguments), budget_of(arguments)
    songs = LatentSongs(arguments.latents)
    train_fsq(songs, arguments.vae, arguments.folder, settings, budget, arguments.batch, arguments.device)


if __name__ == "__main__":
    run_command("train_fsq", main)
