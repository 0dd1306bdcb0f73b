"""Makes the embedded family from nothing but seeds and a soundfont. Every stage goes on where it stopped.

    python -m acestep.training.make_tiny --minutes 60
    python -m acestep.training.make_tiny --minutes 9 --device cuda --workers 16

    seeds -> rendered songs -> autoencoder -> latents -> semantic codec -> transformer (tiny-base) -> few steps (tiny)
                                                                            -> planner

In: ``--runs`` and ``--cache``, folders that git ignores. Out: checkpoints there and, once all stages are done, the
weights below ``--out``. The command may be killed at any moment; the same command goes on.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from acestep.training.corpus import SONGS_PER_CHUNK, Corpus, make_corpus
from acestep.training.curves import can_draw, draw_curves
from acestep.training.distill import GUIDANCE, distill
from acestep.training.export import export_family
from acestep.training.latents import LatentSongs, make_latents
from acestep.training.learn.trainer import CHECKPOINT, Budget, Settings
from acestep.training.train_dit import make_lessons, train_dit
from acestep.training.train_fsq import train_fsq
from acestep.training.train_lm import train_lm
from acestep.training.train_vae import train_vae


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is made: songs (``chunk`` of them per file), and steps, batch and learning rate of every stage."""

    corpus_songs: int
    latent_songs: int
    vae: tuple[int, int, float]
    fsq: tuple[int, int, float]
    dit: tuple[int, int, float]
    turbo: tuple[int, int, float]
    planner: tuple[int, int, float]
    chunk: int = SONGS_PER_CHUNK


SCALES = {
    "cpu": Scale(
        corpus_songs=640,
        latent_songs=1600,
        vae=(6_000, 6, 3e-4),
        fsq=(3_000, 32, 1e-3),
        dit=(20_000, 8, 1e-3),
        turbo=(3_000, 8, 3e-4),
        planner=(6_000, 8, 2e-3),
    ),
    "cuda": Scale(
        corpus_songs=4_000,
        latent_songs=16_000,
        vae=(20_000, 32, 5e-4),
        fsq=(10_000, 64, 1e-3),
        dit=(60_000, 64, 1e-3),
        turbo=(10_000, 64, 3e-4),
        planner=(20_000, 64, 2e-3),
    ),
}


@dataclass(frozen=True, slots=True)
class Place:
    """Where everything is, on what it is made, and when this call has to end."""

    cache: Path
    runs: Path
    device: str
    workers: int
    deadline: float

    def run(self, name: str) -> Path:
        """Folder of one trainer."""
        return self.runs / name

    def steps_of(self, name: str) -> int:
        """Steps that a trainer has taken so far."""
        path = self.run(name) / CHECKPOINT
        return torch.load(path, map_location="cpu", weights_only=True, mmap=True)["step"] if path.is_file() else 0

    def budget(self, steps: int) -> Budget:
        """Up to ``steps``, or until this call has to end."""
        return Budget(steps, max(self.deadline - time.monotonic(), 0.0) / 60)

    def settings(self, rate: float, decay: float = 0.0) -> Settings:
        """Of a trainer."""
        return Settings(learning_rate=rate, weight_decay=decay, bf16=self.device == "cuda")


def stages(place: Place, scale: Scale) -> Iterator[tuple[str, Callable[[], bool]]]:
    """Name and work of every stage, in order; the work returns whether the stage is done."""
    corpus, latents = place.cache / "corpus", place.cache / "latents"

    def songs() -> bool:
        make_corpus(corpus, scale.corpus_songs, place.workers, scale.chunk)
        return True

    def vae() -> bool:
        steps, batch, rate = scale.vae
        settings, budget = place.settings(rate), place.budget(steps)
        train_vae(Corpus(corpus), place.run("vae"), settings, budget, batch, place.device)
        return place.steps_of("vae") >= steps

    def encoded() -> bool:
        make_latents(place.run("vae"), latents, scale.latent_songs, place.workers, scale.chunk)
        return True

    def fsq() -> bool:
        steps, batch, rate = scale.fsq
        settings, budget = place.settings(rate), place.budget(steps)
        train_fsq(LatentSongs(latents), place.run("vae"), place.run("fsq"), settings, budget, batch, place.device)
        return place.steps_of("fsq") >= steps

    def dit() -> bool:
        steps, batch, rate = scale.dit
        lessons = make_lessons(LatentSongs(latents), place.run("vae"), batch, 0)
        settings, budget = place.settings(rate, 0.01), place.budget(steps)
        train_dit(lessons, place.run("fsq"), place.run("dit"), settings, budget, place.device)
        return place.steps_of("dit") >= steps

    def turbo() -> bool:
        steps, batch, rate = scale.turbo
        lessons = make_lessons(LatentSongs(latents), place.run("vae"), batch, 0)
        settings, budget = place.settings(rate), place.budget(steps)
        distill(lessons, place.run("dit"), place.run("turbo"), settings, budget, place.device, GUIDANCE)
        return place.steps_of("turbo") >= steps

    def planner() -> bool:
        steps, batch, rate = scale.planner
        settings, budget = place.settings(rate, 0.01), place.budget(steps)
        train_lm(LatentSongs(latents), place.run("fsq"), place.run("lm"), settings, budget, batch, place.device)
        return place.steps_of("lm") >= steps

    yield from (
        ("songs", songs),
        ("autoencoder", vae),
        ("latents", encoded),
        ("semantic codec", fsq),
        ("transformer", dit),
        ("few steps", turbo),
        ("planner", planner),
    )


def make_tiny(place: Place, scale: Scale, out: Path | None) -> bool:
    """Go on with the first stage that is not done, and the next ones, until the time is up.

    Args:
        out: weights folder to write to when all is done; None writes nothing.

    Returns:
        Whether everything is done.
    """
    for name, work in stages(place, scale):
        print(f"stage: {name}", flush=True)
        done = work()
        _draw(place.runs)
        if not done:
            print(f"time is up in the stage {name}; the same command goes on", flush=True)
            return False
    if out is not None:
        for folder in export_family(place.runs, out):
            print(f"wrote {folder}", flush=True)
    return True


def _draw(runs: Path) -> None:
    """Curves of all runs as pictures, or a line that says what they would need."""
    if can_draw():
        draw_curves(sorted(runs.glob("*")))
    else:
        print("no pictures of the curves: they need the package pillow", flush=True)


def main(argv: list[str] | None = None) -> None:
    """Make the embedded family."""
    parser = argparse.ArgumentParser(prog="python -m acestep.training.make_tiny", description=main.__doc__)
    parser.add_argument("--cache", type=Path, default=Path(".cache"))
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--out", type=Path, default=Path("weights"))
    parser.add_argument("--device", choices=SCALES, default="cpu")
    parser.add_argument("--minutes", type=float, required=True, help="of this call; rendering ends in any case")
    parser.add_argument("--workers", type=int, default=2, help="processes that render and encode")
    arguments = parser.parse_args(argv)
    deadline = time.monotonic() + 60 * arguments.minutes
    place = Place(arguments.cache, arguments.runs, arguments.device, arguments.workers, deadline)
    make_tiny(place, SCALES[arguments.device], arguments.out)


if __name__ == "__main__":
    main()
