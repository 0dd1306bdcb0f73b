"""Training songs as latents: what the transformer, the semantic tokenizer and the planner learn from.

In: a trained autoencoder and seeds. Out: a folder of chunks, each a ``.safetensors`` of fp16 latents ``[T, C]``
beside a ``.json`` of ``SongRecord``s. Of every song there are the mix, some stems and, for each of those, the rest of
the mix.

    python -m acestep.training.latents runs/vae .cache/latents --songs 2000 --workers 2

Refuses to know how latents are learnt from.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from acestep.audio.codec import Codec
from acestep.errors import WeightsError
from acestep.models.oobleck import Oobleck
from acestep.training.chunks import make_chunks
from acestep.training.claims import claim, digest_of_tensors
from acestep.training.files import write_beside
from acestep.training.learn.command import positive, run_command
from acestep.training.render import Renderer
from acestep.training.songs import SongRecord, record_of, training_score
from acestep.training.train_vae import trained_vae

SONGS_PER_CHUNK = 16
STEMS = 1
ENCODER = "autoencoder"  # whose the latents of a folder are
MIX, STEM, REST = "mix", "stem", "rest"


@dataclass(frozen=True, slots=True)
class LatentSong:
    """One song of a ``LatentSongs``: its record, and its recordings, read when asked for."""

    record: SongRecord
    path: Path
    stems: tuple[str, ...]

    def latents(self, kind: str, track: str = "") -> Tensor:
        """``[T, C]`` fp32 of the mix, of a stem, or of the rest of the mix without that stem."""
        with safe_open(self.path, "pt") as file:
            return file.get_tensor(_name(self.record.seed, kind, track)).float()


class LatentSongs:
    """The songs of a folder.

    Raises:
        WeightsError: the folder has none.
    """

    def __init__(self, folder: Path) -> None:
        self.songs = [song for index in sorted(folder.glob("songs-*.json")) for song in _read(index)]
        if not self.songs:
            raise WeightsError(
                f"{folder} holds no latents; make some with `python -m acestep.training.latents RUN {folder}`."
            )


def make_latents(
    run: Path,
    folder: Path,
    songs: int,
    workers: int,
    chunk: int = SONGS_PER_CHUNK,
    stems: int = STEMS,
    minutes: float | None = None,
) -> bool:
    """Render and encode the songs of the seeds from 0 on, ``chunk`` of them per file; prints one line per chunk.

    Args:
        stems: of every song that is made now, to be encoded beside the mix.
        minutes: of this call; None is as long as it takes.

    Returns:
        Whether all songs are there.

    Raises:
        WeightsError: the folder holds latents of another autoencoder, or there is no sound bank.
    """
    folder.mkdir(parents=True, exist_ok=True)
    claim(folder, ENCODER, _digest_of_encoder(run))
    starts = range(0, songs, chunk)
    wanted = [(run, folder, start, chunk, stems) for start in starts if not _index(folder, start).is_file()]
    if wanted:
        Renderer()  # what is missing is missed here, once
    return make_chunks(_make_chunk, wanted, workers, minutes)


def _make_chunk(job: tuple[Path, Path, int, int, int]) -> Path:
    run, folder, start, songs, stems = job
    codec, renderer, tensors, entries = Codec(_vae(run)), Renderer(), {}, []
    for seed in range(start, start + songs):
        score = training_score(seed)
        rendition = renderer.render(score)
        tensors[_name(seed, MIX)] = _encoded(codec, rendition.mix)
        rng = np.random.default_rng([seed, 3])
        several = len(rendition.stems) > 1
        chosen = rng.permutation(sorted(rendition.stems))[:stems].tolist() if several else []
        for track in chosen:
            tensors[_name(seed, STEM, track)] = _encoded(codec, rendition.stems[track])
            tensors[_name(seed, REST, track)] = _encoded(codec, rendition.mix - rendition.stems[track])
        entries.append({**record_of(score).to_dict(), "stems": chosen})
    index = _index(folder, start)
    with write_beside(index.with_suffix(".safetensors")) as file:
        file.write(save(tensors))
    with write_beside(index) as file:
        file.write(json.dumps(entries, ensure_ascii=False).encode())
    return index


def _digest_of_encoder(run: Path) -> str:
    """Of all that latents depend on; the decoder may learn on."""
    weights = trained_vae(run).state_dict()
    return digest_of_tensors({name: one for name, one in weights.items() if not name.startswith("decoder.")})


@cache
def _vae(run: Path) -> Oobleck:
    return trained_vae(run).fold()


@torch.inference_mode()
def _encoded(codec: Codec, sound: np.ndarray) -> Tensor:
    return codec.encode(torch.from_numpy(np.ascontiguousarray(sound))[None])[0].half()  # [2, S] -> [T, C]


def _name(seed: int, kind: str, track: str = "") -> str:
    return f"{seed}.{kind}.{track}" if track else f"{seed}.{kind}"


def _index(folder: Path, start: int) -> Path:
    return folder / f"songs-{start:07d}.json"


def _read(index: Path) -> list[LatentSong]:
    tensors = index.with_suffix(".safetensors")
    entries = json.loads(index.read_text(encoding="utf-8"))
    return [LatentSong(SongRecord.from_dict(entry), tensors, tuple(entry["stems"])) for entry in entries]


def main(argv: list[str] | None = None) -> None:
    """Render songs and encode them."""
    parser = argparse.ArgumentParser(prog="python -m acestep.training.latents", description=main.__doc__)
    parser.add_argument("run", type=Path, help="folder of the autoencoder's training")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--songs", type=positive(int), default=1600)
    parser.add_argument("--stems", type=int, default=STEMS, help="beside every mix (default %(default)s)")
    parser.add_argument("--workers", type=positive(int), default=2)
    parser.add_argument("--minutes", type=positive(float), help="of this call")
    arguments = parser.parse_args(argv)
    run, folder, songs, workers = arguments.run, arguments.folder, arguments.songs, arguments.workers
    make_latents(run, folder, songs, workers, stems=arguments.stems, minutes=arguments.minutes)


if __name__ == "__main__":
    run_command("latents", main)
