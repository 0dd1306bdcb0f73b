"""A real song through whole edits, from file to file: what changed that should not have, and what the joins are like.

``python -m benchmarks.editing FILE`` reads any audio file and saves it as 16-bit WAV and as 24-bit FLAC. Both are
repainted in ``--places`` regions of ``--seconds`` and extended by ``--extend`` seconds on both sides, at both sample
rates. One JSON line per format, rate and task; anything changed outside ends the program with an error:

- ``changed_outside``: how many samples of the written file, as integers, are not those of the source outside of the
  new music (at another rate: of the source brought to that rate).
- ``step_db``: the largest level step between neighbouring 20 ms windows that meet within 20 ms of a join, and
  ``beyond_source_db`` how much that exceeds the 99th percentile of the song's own.
- ``click``: the largest second difference over a join, as a multiple of the song's own 99.9th percentile.

The last line is the codec alone: the song encoded, decoded and spliced into itself, without a transformer. What its
figures mean: ``benchmarks/seams.py``; ``snr_db`` says how good an imitation that is. Networks with random weights
make no imitation but noise at a level of its own: then levels say nothing, while exactness and clicks do.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile as sf
import torch

from acestep.audio.codec import Codec
from acestep.audio.io import read_audio
from acestep.audio.resample import resample
from acestep.constants import SAMPLE_RATE
from acestep.editing.splice import splice
from acestep.handler import AceStepHandler
from acestep.inference import GenerationConfig, GenerationParams, generate_music
from acestep.output.formats import CD_RATE, FORMATS, AudioFormat
from acestep.output.writer import quantised

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import seam_meter as meter

KINDS = ("wav", "flac")


@dataclass(frozen=True, slots=True)
class Edit:
    """One call.

    Attributes:
        wish: its parameters.
        around: samples of new timeline on either side of the source.
        regions: where music is made on the timeline, in samples at 48 kHz.
    """

    wish: dict[str, object]
    around: int
    regions: tuple[meter.Region, ...]

    def expected(self, source: np.ndarray, rate: int) -> np.ndarray:
        """The source ``[2, S]`` on the timeline, at another rate."""
        return resample(np.pad(source, ((0, 0), (self.around, self.around))), SAMPLE_RATE, rate)

    def regions_at(self, rate: int) -> list[meter.Region]:
        """The regions at another rate: samples whose instants lie in them."""
        return [(-(-start * rate // SAMPLE_RATE), -(-end * rate // SAMPLE_RATE)) for start, end in self.regions]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--model", default="tiny-base")
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--places", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--extend", type=float, default=3.0)
    arguments = parser.parse_args()
    handler = AceStepHandler()
    handler.initialize_service(".", arguments.model, "cpu")
    song = read_audio(arguments.file, field="file").samples
    places = meter.places(song.shape[1], arguments.places, arguments.seconds)
    edits = {"repaint": [repaint(place) for place in places], "extend": [extension(song.shape[1], arguments.extend)]}
    for kind in map(FORMATS.get, KINDS):
        for rate in (SAMPLE_RATE, CD_RATE):
            for task, calls in edits.items():
                about = {"benchmark": "editing", "task": task, "format": kind.name, "sample_rate": rate}
                report(about, measure(handler, song, calls, kind, rate, arguments.steps))
    report({"benchmark": "editing", "codec": arguments.model}, codec_alone(handler, song, places))


def repaint(place: meter.Region) -> Edit:
    """New music in a region of the song."""
    start, end = (border / SAMPLE_RATE for border in place)
    return Edit({"task_type": "repaint", "repainting_start": start, "repainting_end": end}, 0, (place,))


def extension(length: int, seconds: float) -> Edit:
    """New music before and behind a song of so many samples."""
    wish = {"task_type": "extend", "continuation_mode": "extend_both", "extend_duration": seconds}
    new = round(seconds * SAMPLE_RATE)
    return Edit(wish, new, ((0, new), (new + length, new + length + new)))


def measure(
    handler: AceStepHandler, song: np.ndarray, edits: list[Edit], kind: AudioFormat, rate: int, steps: int
) -> dict[str, float]:
    """The calls of one task in one format at one rate."""
    changed, found = 0, []
    for edit in edits:
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / f"source{kind.extension}"
            sf.write(source, quantised(song, kind.bits).T, SAMPLE_RATE, **kind.sndfile)
            wish = edit.wish | {"src_audio": str(source), "sample_rate": rate, "inference_steps": steps}
            made = integers(edited(handler, wish, kind.name, folder), kind)
            kept = sf.read(source, dtype="float32", always_2d=True)[0].T
        expected = quantised(edit.expected(kept, rate), kind.bits)
        changed += changes(made, expected, edit.regions_at(rate))
        found += joins(made, expected, edit.regions_at(rate))
    if changed:
        sys.exit(f"{changed} samples outside of the new music are not those of the source.")
    names = ("step_db", "beyond_source_db", "click")
    return {"joins": len(found), "changed_outside": changed, **dict(zip(names, np.max(found, axis=0), strict=True))}


def edited(handler: AceStepHandler, wish: dict[str, object], kind: str, folder: str) -> Path:
    """The file of one call."""
    config = GenerationConfig(batch_size=1, use_random_seed=False, seeds=[1], audio_format=kind)
    params = GenerationParams(caption="calm piano", thinking=False, **wish)
    result = generate_music(handler, None, params, config, Path(folder) / "made")
    result.check()
    return Path(result.audios[0]["path"])


def integers(path: Path, kind: AudioFormat) -> np.ndarray:
    """The samples of a file as they are stored, ``[2, S]``; 24 bits are the upper ones of 32."""
    return sf.read(path, dtype="int16" if kind.bits == 16 else "int32", always_2d=True)[0].T


def changes(made: np.ndarray, expected: np.ndarray, regions: list[meter.Region]) -> int:
    """How many samples outside of the regions differ.

    Raises:
        ValueError: the two are not equally long.
    """
    if made.shape != expected.shape:
        raise ValueError(f"the file has the shape {made.shape}, expected {expected.shape}")
    outside = np.ones(made.shape[1], dtype=bool)
    for region in regions:
        outside[slice(*region)] = False
    return int((made[:, outside] != expected[:, outside]).sum())


def joins(
    made: np.ndarray, expected: np.ndarray, regions: list[meter.Region]
) -> Iterator[tuple[float, float, float]]:
    """(step_db, beyond_source_db, click) of every join."""
    full = np.float32(-np.iinfo(made.dtype).min)
    made, expected = made / full, expected / full
    own = meter.Own.of(expected)
    for start, end in regions:
        both = ((meter.measure, start), (meter.measure_end, end))
        for look, border in both:
            if 0 < border < made.shape[1]:
                seam = look(made, expected, made, border, own)
                yield seam.step_db, max(0.0, seam.step_db - own.step_db), seam.click


@torch.inference_mode()
def codec_alone(handler: AceStepHandler, song: np.ndarray, places: list[meter.Region]) -> dict[str, float]:
    """Joins of the song to what the autoencoder makes of it."""
    renderer = handler.renderer
    latents = renderer.latents_of(torch.from_numpy(song))
    imitation = Codec(renderer.family.vae).decode(latents)[0].numpy()
    heard = song[:, : imitation.shape[1]]
    snr = 10 * np.log10(meter.power(heard) / meter.power(heard - imitation))
    loudness = 10 * np.log10(meter.power(imitation) / meter.power(heard))
    found = meter.summary(meter.seams(heard, imitation, imitation, places, splice))
    return {"snr_db": snr, "level_to_song_db": loudness, **found}


def report(about: dict[str, object], figures: dict[str, float]) -> None:
    """One line of JSON."""
    print(json.dumps(about | {name: round(float(value), 3) for name, value in figures.items()}), flush=True)


if __name__ == "__main__":
    main()
