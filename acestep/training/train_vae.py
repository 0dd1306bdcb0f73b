"""Trains the embedded autoencoder on rendered songs.

    python -m acestep.training.train_vae .cache/corpus runs/vae --minutes 60

In: a folder of rendered songs. Out: checkpoints and a curve in the run's folder. The network begins as a linear
transform coder (``learn.lapped``), so it sounds like something from the first step. Its encoder stays one: the first
latent channels say how loud the song is (``models.envelope``), the others are the whitened principal components of a
lapped transform, and what learns from latents need not wait for the decoder, which is what is trained here.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from acestep.constants import SAMPLES_PER_FRAME
from acestep.models.oobleck import Oobleck
from acestep.models.vae_config import OobleckConfig
from acestep.training.corpus import Corpus
from acestep.training.learn.command import budget_of, run_command, settings_of, trainer_parser
from acestep.training.learn.lapped import start_as_transform
from acestep.training.learn.losses import distortion, log_mel_distance, si_sdr, spectral_distance
from acestep.training.learn.trainer import CHECKPOINT, Budget, Figures, Settings, Trainer, averaged_weights
from acestep.training.sizes import AUTOENCODER

CROP_FRAMES = 50  # 2 s
START_CROPS = 256  # 8 minutes of audio decide where the network begins
WEIGHTS = {"distortion": 2.5, "spectral": 1.0, "energy": 0.7}  # by spectra alone, treble that is noise comes out weak
LATENT_NOISE = 0.15  # what a transformer may be wrong by; latents have deviation 1
BLURRED = 4  # every so many-th excerpt is decoded from its envelope and noise


@dataclass(frozen=True, slots=True)
class VaeLoss:
    """Reconstruction from latents that are slightly wrong: of samples, of spectra, and of energies in wide bands.

    Of some excerpts the decoder is given the envelope only, and noise for the rest: what it makes of them shall look
    right in spectra, so it heeds the envelope even where the rest is not what it could be.

    Args:
        corpus: where excerpts come from.
        batch: excerpts per micro step.
        seed: of the excerpts.
    """

    corpus: Corpus
    batch: int
    seed: int

    def __call__(self, vae: Oobleck, step: int) -> tuple[Tensor, Figures]:
        audio = crops(self.corpus, np.random.default_rng([self.seed, step]), self.batch)
        audio = audio.to(next(vae.parameters()).device)
        with torch.no_grad():
            latents = vae.encode(audio)  # [B, T, C]
        whole = torch.arange(len(audio), device=audio.device) % BLURRED != BLURRED - 1
        noise = torch.randn_like(latents)
        free = torch.arange(latents.shape[2], device=audio.device) >= vae.config.envelope_channels
        lost = ~whole[:, None, None] & free
        made = vae.decode(torch.where(lost, noise, latents + LATENT_NOISE * noise)).float()
        parts = {
            "distortion": distortion(made[whole], audio[whole]),
            "spectral": spectral_distance(made, audio),
            "energy": (vae.envelope.energies(made) - vae.envelope.energies(audio)).abs().mean(),
        }
        loss = sum(weight * parts[name] for name, weight in WEIGHTS.items())
        figures = {name: part.item() for name, part in parts.items()}
        with torch.no_grad():
            figures["si_sdr"] = si_sdr(made[whole], audio[whole]).mean().item()
            figures["log_mel"] = log_mel_distance(made[whole], audio[whole]).mean().item()
            if not whole.all():
                figures["blurred"] = log_mel_distance(made[~whole], audio[~whole]).mean().item()
        return loss, figures


def crops(corpus: Corpus, rng: np.random.Generator, count: int) -> Tensor:
    """Random excerpts ``[count, 2, S]``, half of them with their sides swapped."""
    samples = CROP_FRAMES * SAMPLES_PER_FRAME
    pieces = [corpus.crop(rng, samples) for _ in range(count)]
    return torch.from_numpy(np.stack([piece[::-1] if rng.random() < 0.5 else piece for piece in pieces]))


def new_vae(corpus: Corpus, seed: int) -> Oobleck:
    """The untrained autoencoder, as a transform coder for this corpus beside the envelope."""
    torch.manual_seed(seed)
    vae = empty_vae()
    audio = crops(corpus, np.random.default_rng([seed, 0]), START_CROPS)
    vae.envelope.fit(audio)
    start_as_transform(vae, audio)
    return vae


def empty_vae() -> Oobleck:
    """The autoencoder as it is trained, to be filled: its encoder stays what it is."""
    vae = Oobleck(OobleckConfig.from_dict(AUTOENCODER))
    vae.encoder.requires_grad_(False)
    return vae


def train_vae(corpus: Corpus, folder: Path, settings: Settings, budget: Budget, batch: int, device: str) -> None:
    """Train the decoder, or go on."""
    fresh = not (folder / CHECKPOINT).is_file()
    vae = new_vae(corpus, settings.seed) if fresh else empty_vae()
    Trainer(vae.to(device), VaeLoss(corpus, batch, settings.seed), settings, folder).run(budget)


def trained_vae(folder: Path) -> Oobleck:
    """The autoencoder of a run so far, in eval mode; its encoder is the same at every step.

    Raises:
        WeightsError: the folder holds no checkpoint.
    """
    vae = empty_vae()
    vae.load_state_dict(averaged_weights(folder))
    return vae.eval().requires_grad_(False)


def main(argv: list[str] | None = None) -> None:
    """Train the embedded autoencoder."""
    parser = trainer_parser("train_vae", main.__doc__, ("corpus", "folder"), batch=8, rate=5e-4)
    arguments = parser.parse_args(argv)
    settings, budget = settings_of(arguments), budget_of(arguments)
    train_vae(Corpus(arguments.corpus), arguments.folder, settings, budget, arguments.batch, arguments.device)


if __name__ == "__main__":
    run_command("train_vae", main)
