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

from acestep.devices import CPU, CUDA, device_facts
from acestep.training.corpus import SONGS_PER_CHUNK, Corpus, make_corpus
from acestep.training.curves import can_draw, draw_curves
from acestep.training.distill import GUIDANCE, distill
from acestep.training.export import export_family
from acestep.training.latents import LatentSongs, make_latents
from acestep.training.learn.command import positive, run_command, trains_in_bf16
from acestep.training.learn.trainer import CHECKPOINT, Budget, Settings
from acestep.training.train_dit import make_lessons, train_dit
from acestep.training.train_fsq import train_fsq
from acestep.training.train_lm import train_lm
from acestep.training.train_vae import train_vae


@dataclass(frozen=True, slots=True)
class Effort:
    """How long a stage is trained: steps of the whole training, examples per step, learning rate."""

    steps: int
    batch: int
    rate: float


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is made: songs (``chunk`` of them per file), and the effort of every trainer."""

    corpus_songs: int
    latent_songs: int
    vae: Effort
    fsq: Effort
    dit: Effort
    turbo: Effort
    planner: Effort
    chunk: int = SONGS_PER_CHUNK


SCALES = {
    "small": Scale(
        corpus_songs=640,
        latent_songs=3008,
        vae=Effort(2_000, 8, 5e-4),
        fsq=Effort(1_800, 32, 1e-3),
        dit=Effort(12_000, 8, 1e-3),
        turbo=Effort(1_000, 8, 3e-4),
        planner=Effort(14_000, 8, 2e-3),
    ),
    "large": Scale(
        corpus_songs=4_000,
        latent_songs=16_000,
        vae=Effort(20_000, 32, 5e-4),
        fsq=Effort(10_000, 64, 1e-3),
        dit=Effort(60_000, 64, 1e-3),
        turbo=Effort(10_000, 64, 3e-4),
        planner=Effort(20_000, 64, 2e-3),
    ),
}
SCALE_OF = {CPU: "small", CUDA: "large"}


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

    def has_done(self, name: str, effort: Effort) -> bool:
        """Whether a trainer has taken all its steps."""
        path = self.run(name) / CHECKPOINT
        taken = torch.load(path, map_location="cpu", weights_only=True, mmap=True)["step"] if path.is_file() else 0
        return taken >= effort.steps

    def minutes(self) -> float:
        """Until this call has to end."""
        return max(self.deadline - time.monotonic(), 0.0) / 60

    def budget(self, effort: Effort) -> Budget:
        """Up to all steps, or until this call has to end."""
        return Budget(effort.steps, self.minutes())

    def settings(self, effort: Effort, decay: float = 0.0) -> Settings:
        """Of a trainer."""
        return Settings(learning_rate=effort.rate, weight_decay=decay, bf16=trains_in_bf16(self.device))


def stages(place: Place, scale: Scale) -> Iterator[tuple[str, Callable[[], bool]]]:
    """Name and work of every stage, in order; the work returns whether the stage is done."""
    corpus, latents = place.cache / "corpus", place.cache / "latents"

    def songs() -> bool:
        return make_corpus(corpus, scale.corpus_songs, place.workers, scale.chunk, place.minutes())

    def vae() -> bool:
        effort, run = scale.vae, place.run("vae")
        train_vae(Corpus(corpus), run, place.settings(effort), place.budget(effort), effort.batch, place.device)
        return place.has_done("vae", effort)

    def encoded() -> bool:
        run, minutes = place.run("vae"), place.minutes()
        return make_latents(run, latents, scale.latent_songs, place.workers, scale.chunk, minutes=minutes)

    def fsq() -> bool:
        effort, songs, budget = scale.fsq, LatentSongs(latents), place.budget(scale.fsq)
        runs = place.run("vae"), place.run("fsq")
        train_fsq(songs, *runs, place.settings(effort), budget, effort.batch, place.device)
        return place.has_done("fsq", effort)

    def dit() -> bool:
        effort, budget = scale.dit, place.budget(scale.dit)
        lessons = make_lessons(LatentSongs(latents), place.run("vae"), effort.batch, 0)
        train_dit(lessons, place.run("fsq"), place.run("dit"), place.settings(effort, 0.01), budget, place.device)
        return place.has_done("dit", effort)

    def turbo() -> bool:
        effort, budget = scale.turbo, place.budget(scale.turbo)
        lessons = make_lessons(LatentSongs(latents), place.run("vae"), effort.batch, 0)
        runs = place.run("dit"), place.run("turbo")
        distill(lessons, *runs, place.settings(effort), budget, place.device, GUIDANCE)
        return place.has_done("turbo", effort)

    def planner() -> bool:
        effort, songs, budget = scale.planner, LatentSongs(latents), place.budget(scale.planner)
        runs = place.run("fsq"), place.run("lm")
        train_lm(songs, *runs, place.settings(effort, 0.01), budget, effort.batch, place.device)
        return place.has_done("lm", effort)

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
    parser.add_argument("--device", choices=SCALE_OF, default=CPU)
    parser.add_argument("--scale", choices=SCALES, help="how much is made (small on a CPU, large on a GPU)")
    parser.add_argument("--minutes", type=positive(float), required=True, help="of this call")
    parser.add_argument("--workers", type=positive(int), default=2, help="processes that render and encode")
    arguments = parser.parse_args(argv)
    device = device_facts(arguments.device).kind
    place = Place(
        arguments.cache, arguments.runs, device, arguments.workers, time.monotonic() + 60 * arguments.minutes
    )
    make_tiny(place, SCALES[arguments.scale or SCALE_OF[device]], arguments.out)


if __name__ == "__main__":
    run_command("make_tiny", main)
