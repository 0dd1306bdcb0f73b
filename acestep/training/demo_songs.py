"""Two songs to hear and see what the weights make: Ogg Vorbis of at most 300 kB each, and a picture of each.

    python -m acestep.training.demo_songs weights/tiny out/

In: the few-step model's folder. Out: files; those of the repository are in ``weights/tiny/examples``. The requests
are held-out songs. Refuses to judge them (``evaluation``).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import soundfile

from acestep.audio.resample import pieces
from acestep.constants import SAMPLE_RATE
from acestep.errors import InputError, OutputError
from acestep.output.formats import format_named
from acestep.output.tags import SongTags, write_tags
from acestep.output.writer import BLOCK_SAMPLES
from acestep.training.evaluation.studio import Studio, check_folder, held_out_song
from acestep.training.learn.command import run_command
from acestep.training.pictures import draw_sound

NUMBERS = (1, 3)  # of held-out songs
BYTES_MAX = 300_000
FORMAT = format_named("ogg")
COMPRESSION = 0.6  # libsndfile's scale: about 130 kbit/s, where our songs take twice that


def write_small(sound: np.ndarray, path: Path, tags: SongTags) -> Path:
    """Write a song ``[2, S]`` as a small Ogg file with our tags.

    Raises:
        OutputError: it is over 300 kB.
    """
    options = {**FORMAT.sndfile, "compression_level": COMPRESSION}
    with soundfile.SoundFile(path, "w", SAMPLE_RATE, len(sound), **options) as file:
        for block in pieces(sound, BLOCK_SAMPLES):
            file.write(block.T)
    write_tags(path, FORMAT.tag_kind, tags, "{}")
    if (size := path.stat().st_size) > BYTES_MAX:
        path.unlink()
        raise OutputError(f"{path} has {size:,} bytes; an example may have {BYTES_MAX:,}.")
    return path


def make_examples(folder: Path, out: Path, numbers: tuple[int, ...] = NUMBERS) -> list[Path]:
    """Make, write and draw the songs of these numbers; the files written.

    Raises:
        WeightsError: the weights are not whole, or there is no sound bank.
        OutputError: a song is over 300 kB.
    """
    if not numbers or min(numbers) < 0:
        raise InputError.must("songs", "be numbers from 0 on", numbers)
    studio = Studio(check_folder(folder))
    out.mkdir(parents=True, exist_ok=True)
    written = []
    for number in numbers:
        song = held_out_song(number)
        studio.begin(song)
        sound = studio.generated(thinking=True)
        record, path = song.record, out / f"example-{number}{FORMAT.extension}"
        tags = SongTags(song.caption, record.lyrics, record.bpm, record.keyscale, record.language)
        written += [write_small(sound, path, tags), draw_sound(sound, path.with_suffix(".png"))]
    studio.close()
    return written


def main(argv: list[str] | None = None) -> None:
    """Make two example songs."""
    parser = argparse.ArgumentParser(prog="python -m acestep.training.demo_songs", description=main.__doc__)
    parser.add_argument("folder", type=Path, help="of the few-step model, such as weights/tiny")
    parser.add_argument("out", type=Path)
    parser.add_argument("--songs", type=int, nargs="+", default=NUMBERS, help="numbers of held-out songs")
    arguments = parser.parse_args(argv)
    for path in make_examples(arguments.folder, arguments.out, tuple(arguments.songs)):
        print(f"{path}  {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    run_command("demo_songs", main)
