"""Trains the embedded autoencoder on rendered songs.

    python -m acestep.training.train_vae .cache/corpus runs/vae --minutes 60

In: a folder of rendered songs. Out: checkpoints and a curve in the run's folder. The network begins as a linear
transform coder (``learn.lapped``), so it sounds like something from the first step. Its first latent channels say how
loud the song is (``models.envelope``), the others hold what that leaves open, as coarsely as will do: a latent number
that carries much of a waveform's phase is one that a transformer cannot foresee.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save
from torch import Tensor

from acestep.constants import SAMPLES_PER_FRAME
from acestep.errors import WeightsError
from acestep.models.oobleck import Oobleck
from acestep.models.vae_config import OobleckConfig
from acestep.training.corpus import Corpus
from acestep.training.files import write_beside
from acestep.training.learn.command import budget_of, settings_of, trainer_parser
from acestep.training.learn.lapped import rescale_latents, start_as_transform
from acestep.training.learn.losses import distortion, si_sdr, spectral_distance
from acestep.training.learn.trainer import CHECKPOINT, Budget, Figures, Settings, Trainer, averaged_weights
from acestep.training.sizes import AUTOENCODER

FINISHED = "finished.safetensors"
CROP_FRAMES = 50  # 2 s
START_CROPS = 64  # 2 minutes of audio decide where the network begins
DISTORTION_WEIGHT, SPECTRAL_WEIGHT = 1.0, 1.0
KL_WEIGHT = 0.1  # a number of a hundredth of the energy is then held to half its deviation
ENVELOPE_NOISE = 0.2  # what a transformer may be wrong by
BLURRED = 4  # every so many-th excerpt is decoded from its envelope and noise
LOWEST_DEVIATION = 1e-4


@dataclass(frozen=True, slots=True)
class VaeLoss:
    """Reconstruction from sampled latents, and their distance from a normal distribution.

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
        mean, scale = vae.moments(audio)
        loud, mean = mean.tensor_split([vae.config.envelope_channels], 1)
        deviation = F.softplus(scale[:, loud.shape[1] :]) + LOWEST_DEVIATION
        whole = torch.arange(len(audio), device=audio.device) % BLURRED != BLURRED - 1
        sampled = torch.where(whole[:, None, None], mean + deviation * torch.randn_like(mean), torch.randn_like(mean))
        latents = torch.cat([loud + ENVELOPE_NOISE * torch.randn_like(loud), sampled], 1)  # [B, C, T]
        made = vae.decode(latents.transpose(1, 2)).float()
        parts = {
            "distortion": distortion(made[whole], audio[whole]),
            "spectral": spectral_distance(made, audio),
            "kl": 0.5 * (mean.square() + deviation.square() - 1).mean() - deviation.log().mean(),
        }
        loss = DISTORTION_WEIGHT * parts["distortion"] + SPECTRAL_WEIGHT * parts["spectral"] + KL_WEIGHT * parts["kl"]
        figures = {name: part.item() for name, part in parts.items()}
        with torch.no_grad():
            figures["si_sdr"] = si_sdr(made[whole], audio[whole]).mean().item()
            figures["blurred"] = spectral_distance(made[~whole], audio[~whole]).item() if not whole.all() else 0.0
        return loss, figures


def crops(corpus: Corpus, rng: np.random.Generator, count: int) -> Tensor:
    """Random excerpts ``[count, 2, S]``, half of them with their sides swapped."""
    samples = CROP_FRAMES * SAMPLES_PER_FRAME
    pieces = [corpus.crop(rng, samples) for _ in range(count)]
    return torch.from_numpy(np.stack([piece[::-1] if rng.random() < 0.5 else piece for piece in pieces]))


def new_vae(corpus: Corpus, seed: int) -> Oobleck:
    """The untrained autoencoder, as a transform coder for this corpus beside the envelope."""
    torch.manual_seed(seed)
    vae = Oobleck(OobleckConfig.from_dict(AUTOENCODER))
    audio = crops(corpus, np.random.default_rng([seed, 0]), START_CROPS)
    vae.envelope.fit(audio)
    start_as_transform(vae, audio)
    return vae


def train_vae(corpus: Corpus, folder: Path, settings: Settings, budget: Budget, batch: int, device: str) -> None:
    """Train, or go on."""
    fresh = not (folder / CHECKPOINT).is_file()
    vae = (new_vae(corpus, settings.seed) if fresh else Oobleck(OobleckConfig.from_dict(AUTOENCODER))).to(device)
    Trainer(vae, VaeLoss(corpus, batch, settings.seed), settings, folder).run(budget)


def finish_vae(corpus: Corpus, folder: Path) -> None:
    """Freeze a run: its averaged weights, latents of unit deviation, as ``finished.safetensors``.

    Raises:
        WeightsError: the folder holds no checkpoint.
    """
    vae = Oobleck(OobleckConfig.from_dict(AUTOENCODER))
    vae.load_state_dict(averaged_weights(folder))
    with torch.inference_mode():
        latents = vae.encode(crops(corpus, np.random.default_rng(0), START_CROPS))  # [B, T, C]
        deviation = latents.std((0, 1))
        deviation[: vae.config.envelope_channels] = 1.0
    rescale_latents(vae, deviation.clone())
    with write_beside(folder / FINISHED) as file:
        file.write(save(vae.state_dict()))


def finished_vae(folder: Path) -> Oobleck:
    """The autoencoder that ``finish_vae`` wrote, in eval mode.

    Raises:
        WeightsError: it is not there.
    """
    path = folder / FINISHED
    if not path.is_file():
        raise WeightsError(f"{folder} holds no {FINISHED}; finish the training there with --finish.")
    vae = Oobleck(OobleckConfig.from_dict(AUTOENCODER))
    vae.load_state_dict(load_file(path))
    return vae.eval().requires_grad_(False)


def main(argv: list[str] | None = None) -> None:
    """Train the embedded autoencoder."""
    parser = trainer_parser("train_vae", main.__doc__, ("corpus", "folder"), batch=8, rate=5e-4)
    parser.add_argument("--finish", action="store_true", help="freeze the run instead of training")
    arguments = parser.parse_args(argv)
    if arguments.finish:
        finish_vae(Corpus(arguments.corpus), arguments.folder)
        return
    settings, budget = settings_of(arguments), budget_of(arguments)
    train_vae(Corpus(arguments.corpus), arguments.folder, settings, budget, arguments.batch, arguments.device)


if __name__ == "__main__":
    main()
