"""Rendered songs on disk, re-made from seeds: the audio every trainer draws from. Never committed.

In: a folder and seeds. Out: ``Corpus``, memory-mapped int16 stereo. A chunk of songs is one ``.npy`` beside a
``.json`` that says what lies where; a chunk that exists is not made again, so an interrupted run goes on.

    python -m acestep.training.corpus .cache/corpus --songs 640 --workers 2

Refuses to know networks.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from acestep.errors import WeightsError
from acestep.training.chunks import make_chunks
from acestep.training.files import write_beside
from acestep.training.learn.command import positive, run_command
from acestep.training.render import Renderer, Rendition
from acestep.training.songs import training_score

SONGS_PER_CHUNK = 16
FULL_SCALE = 32_767


@dataclass(frozen=True, slots=True)
class Take:
    """One recording in a chunk: a whole song (``mix``) or some of its stems (``partial``), samples from ``start``."""

    seed: int
    kind: str
    tracks: tuple[str, ...]
    start: int
    length: int


@dataclass(frozen=True, slots=True)
class Chunk:
    """Int16 samples ``[S, 2]`` at 48 kHz and what they are."""

    samples: np.ndarray
    takes: tuple[Take, ...]


class Corpus:
    """The chunks of a folder, memory-mapped.

    Raises:
        WeightsError: the folder has none.
    """

    def __init__(self, folder: Path) -> None:
        self.chunks = [_open(path) for path in sorted(folder.glob("chunk-*.npy"))]
        if not self.chunks:
            raise WeightsError(
                f"{folder} holds no rendered songs; make some with `python -m acestep.training.corpus {folder}`."
            )
        self.takes = [(chunk, take) for chunk in self.chunks for take in chunk.takes]

    def crop(self, rng: np.random.Generator, samples: int) -> np.ndarray:
        """A random excerpt, float32 ``[2, samples]``; takes are drawn by their length."""
        lengths = np.array([max(take.length - samples, 0) for _, take in self.takes], np.float64)
        chunk, take = self.takes[rng.choice(len(self.takes), p=lengths / lengths.sum())]
        start = take.start + int(rng.integers(take.length - samples + 1))
        return chunk.samples[start : start + samples].T.astype(np.float32) / FULL_SCALE


def make_corpus(
    folder: Path, songs: int, workers: int, chunk: int = SONGS_PER_CHUNK, minutes: float | None = None
) -> bool:
    """Render the songs of the seeds from 0 on, ``chunk`` of them per file; prints one line per chunk.

    Args:
        minutes: of this call; None is as long as it takes.

    Returns:
        Whether all songs are there.

    Raises:
        WeightsError: there is no sound bank, or no engine to play it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    starts = range(0, songs, chunk)
    wanted = [(folder, start, chunk) for start in starts if not _paths(folder, start)[1].is_file()]
    if wanted:
        Renderer()  # what is missing is missed here, once
    return make_chunks(_make_chunk, wanted, workers, minutes)


def _make_chunk(job: tuple[Path, int, int]) -> Path:
    folder, start, songs = job
    renderer, takes, pieces, position = Renderer(), [], [], 0
    for seed in range(start, start + songs):
        for kind, tracks, sound in _recordings(renderer, seed):
            takes.append(Take(seed, kind, tracks, position, sound.shape[1]))
            pieces.append((np.clip(sound.T, -1.0, 1.0) * FULL_SCALE).round().astype(np.int16))  # [S, 2]
            position += sound.shape[1]
    audio, index = _paths(folder, start)
    with write_beside(audio) as file:
        np.save(file, np.concatenate(pieces))
    with write_beside(index) as file:  # written last: its presence means the chunk is whole
        file.write(json.dumps([asdict(take) for take in takes]).encode())
    return audio


def _recordings(renderer: Renderer, seed: int) -> Iterator[tuple[str, tuple[str, ...], np.ndarray]]:
    """The song, then a random part of its stems."""
    rendition: Rendition = renderer.render(training_score(seed))
    rng, names = np.random.default_rng([seed, 2]), tuple(rendition.stems)
    yield "mix", names, rendition.mix
    if len(names) > 1:
        chosen = tuple(rng.choice(names, int(rng.integers(1, len(names))), replace=False).tolist())
        yield "partial", chosen, sum(rendition.stems[name] for name in chosen)


def _paths(folder: Path, start: int) -> tuple[Path, Path]:
    stem = folder / f"chunk-{start:07d}"
    return stem.with_suffix(".npy"), stem.with_suffix(".json")


def _open(path: Path) -> Chunk:
    index = path.with_suffix(".json")
    if not index.is_file():
        return Chunk(np.zeros((0, 2), np.int16), ())  # still being made
    entries = json.loads(index.read_text(encoding="utf-8"))
    takes = tuple(Take(**{**entry, "tracks": tuple(entry["tracks"])}) for entry in entries)
    return Chunk(np.load(path, mmap_mode="r"), takes)


def main(argv: list[str] | None = None) -> None:
    """Render songs for training."""
    parser = argparse.ArgumentParser(prog="python -m acestep.training.corpus", description=main.__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--songs", type=positive(int), default=640)
    parser.add_argument("--workers", type=positive(int), default=2)
    parser.add_argument("--minutes", type=positive(float), help="of this call")
    arguments = parser.parse_args(argv)
    make_corpus(arguments.folder, arguments.songs, arguments.workers, minutes=arguments.minutes)


if __name__ == "__main__":
    run_command("corpus", main)
