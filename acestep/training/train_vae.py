"""Trains the embedded autoencoder on rendered songs.

    python -m acestep.training.train_vae .cache/corpus runs/vae --minutes 60

In: a folder of rendered songs. Out: checkpoints and a curve in the run's folder. The network begins as a linear
transform coder (``learn.lapped``), so it sounds like something from the first step. Its first latent channels learn
to say how loud the song is (``learn.envelope``), the others hold what that leaves open, as coarsely as will do: a
latent number that carries much of a waveform's phase is one that a transformer cannot foresee.
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
from acestep.training.learn.envelope import Envelope
from acestep.training.learn.lapped import rescale_latents, start_as_transform
from acestep.training.learn.losses import distortion, si_sdr, spectral_distance
from acestep.training.learn.trainer import CHECKPOINT, Budget, Figures, Settings, Trainer, averaged_weights
from acestep.training.sizes import AUTOENCODER

FINISHED, ENVELOPE = "finished.safetensors", "envelope.safetensors"
CROP_FRAMES = 50  # 2 s
START_CROPS = 64  # 2 minutes of audio decide where the network begins
DISTORTION_WEIGHT, SPECTRAL_WEIGHT, ENVELOPE_WEIGHT = 1.0, 1.0, 1.0
KL_WEIGHT = 0.1  # a number of a hundredth of the energy is then held to half its deviation
BLURRED = 4  # every so many-th excerpt is decoded from its envelope and noise
LOWEST_DEVIATION = 1e-4


@dataclass(frozen=True, slots=True)
class VaeLoss:
    """Reconstruction from sampled latents, their distance from a normal distribution, and what the first ones say.

    Of some excerpts the decoder is given the envelope only, and noise for the rest: what it makes of them shall look
    right in spectra, so it heeds the envelope even where the rest is not what it could be.

    Args:
        corpus: where excerpts come from.
        envelope: what the first channels say.
        batch: excerpts per micro step.
        seed: of the excerpts.
    """

    corpus: Corpus
    envelope: Envelope
    batch: int
    seed: int

    def __call__(self, vae: Oobleck, step: int) -> tuple[Tensor, Figures]:
        audio = crops(self.corpus, np.random.default_rng([self.seed, step]), self.batch)
        audio = audio.to(next(vae.parameters()).device)
        mean, scale = vae.moments(audio)
        deviation = F.softplus(scale) + LOWEST_DEVIATION
        loud = self.envelope(audio)
        sampled = mean + deviation * torch.randn_like(mean)
        latents, whole = self._blurred(sampled, loud.shape[1])
        made = vae.decode(latents.transpose(1, 2)).float()
        parts = {
            "distortion": distortion(made[whole], audio[whole]),
            "spectral": spectral_distance(made, audio),
            "envelope": (mean[:, : loud.shape[1]] - loud).square().mean(),
            "kl": 0.5 * (mean.square() + deviation.square() - 1).mean() - deviation.log().mean(),
        }
        weights = (DISTORTION_WEIGHT, SPECTRAL_WEIGHT, ENVELOPE_WEIGHT, KL_WEIGHT)
        loss = torch.stack([weight * part for weight, part in zip(weights, parts.values(), strict=True)]).sum()
        figures = {name: part.item() for name, part in parts.items()}
        with torch.no_grad():
            figures["si_sdr"] = si_sdr(made[whole], audio[whole]).mean().item()
        return loss, figures

    @staticmethod
    def _blurred(latents: Tensor, said: int) -> tuple[Tensor, Tensor]:
        """``latents`` ``[B, C, T]`` with noise behind ``said`` channels of some; which are whole ``[B]``."""
        whole = torch.arange(len(latents), device=latents.device) % BLURRED != BLURRED - 1
        rest = torch.where(whole[:, None, None], latents[:, said:], torch.randn_like(latents[:, said:]))
        return torch.cat([latents[:, :said], rest], 1), whole


def crops(corpus: Corpus, rng: np.random.Generator, count: int) -> Tensor:
    """Random excerpts ``[count, 2, S]``, half of them with their sides swapped."""
    samples = CROP_FRAMES * SAMPLES_PER_FRAME
    pieces = [corpus.crop(rng, samples) for _ in range(count)]
    return torch.from_numpy(np.stack([piece[::-1] if rng.random() < 0.5 else piece for piece in pieces]))


def new_vae(corpus: Corpus, seed: int, said: int) -> Oobleck:
    """The untrained autoencoder, as a transform coder for this corpus whose first ``said`` channels are free."""
    torch.manual_seed(seed)
    vae = Oobleck(OobleckConfig.from_dict(AUTOENCODER))
    start_as_transform(vae, crops(corpus, np.random.default_rng([seed, 0]), START_CROPS), said)
    return vae


def envelope_of(corpus: Corpus, folder: Path, seed: int) -> Envelope:
    """What the first channels of a run say: fitted to the corpus once, then as its folder has it."""
    path = folder / ENVELOPE
    if not path.is_file():
        fitted = Envelope.fitted(crops(corpus, np.random.default_rng([seed, 0]), START_CROPS))
        with write_beside(path) as file:
            file.write(save({"mean": fitted.mean, "basis": fitted.basis}))
    return Envelope(**load_file(path))


def train_vae(corpus: Corpus, folder: Path, settings: Settings, budget: Budget, batch: int, device: str) -> None:
    """Train, or go on."""
    folder.mkdir(parents=True, exist_ok=True)
    envelope = envelope_of(corpus, folder, settings.seed)
    fresh, config = not (folder / CHECKPOINT).is_file(), OobleckConfig.from_dict(AUTOENCODER)
    vae = new_vae(corpus, settings.seed, envelope.basis.shape[1]) if fresh else Oobleck(config)
    Trainer(vae.to(device), VaeLoss(corpus, envelope, batch, settings.seed), settings, folder).run(budget)


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
