"""How often tempo and key are heard right, what the faults of a spectrum look like, and what measuring costs.

``python -m benchmarks.scoring_sound FOLDER`` takes ``--songs`` of the rendered songs of a corpus
(``acestep.training.corpus``), whose composer knows the truth, and prints JSON lines:

* per analyser (ours, librosa, sonara) the share of tempi within 4 %, of those that are so up to an octave, and the
  mean weighted score of the keys (mir_eval);
* per kind of sound the mean share of spectral outliers, the quality, and in how many songs the fault is seen;
* seconds of one core for ten minutes of sound, per measurement.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import mir_eval
import numpy as np
import sonara

from acestep.audio.levels import integrated_loudness, true_peak
from acestep.audio.resample import resample
from acestep.constants import SAMPLE_RATE
from acestep.output.contact_sheet import Panel, draw
from acestep.scoring.listening import RATE, listen, tempo_agreement
from acestep.scoring.sound import measure, spectral_outliers, third_octave_levels
from acestep.training.corpus import FULL_SCALE, Corpus
from acestep.training.ears import Heard as Librosa
from acestep.training.songs import training_score

TEN_MINUTES_S = 600
WHISTLE_HZ, WHISTLE_DB = 3200.0, 30.0


@dataclass(frozen=True, slots=True)
class Song:
    """A rendered song and its truth."""

    samples: np.ndarray
    bpm: int
    key: str


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--songs", type=int, default=100)
    arguments = parser.parse_args()
    songs = list(rendered(arguments.folder, arguments.songs))
    for name, hear in ANALYSERS.items():
        report({"analyser": name, "songs": len(songs)}, accuracy(songs, hear))
    for name, spoil in FAULTS.items():
        report({"sound": name, "songs": len(songs)}, faults(songs, spoil))
    report({"cost": f"{TEN_MINUTES_S} s of sound, one core"}, costs(songs))


def rendered(folder: Path, count: int) -> Iterator[Song]:
    """Whole songs, evenly from the corpus."""
    mixes = [(chunk, take) for chunk, take in Corpus(folder).takes if take.kind == "mix"]
    for index in np.linspace(0, len(mixes) - 1, min(count, len(mixes))).astype(int):
        chunk, take = mixes[index]
        sound = chunk.samples[take.start : take.start + take.length].T.astype(np.float32) / FULL_SCALE
        truth = training_score(take.seed)
        yield Song(sound, truth.bpm, truth.keyscale)


def by_librosa(samples: np.ndarray) -> tuple[float | None, str | None]:
    heard = Librosa.of(samples)
    return heard.tempo, heard.key


def by_sonara(samples: np.ndarray) -> tuple[float | None, str | None]:
    """Tempo folded into 60 to 180, which makes it right more often."""
    mono = resample(samples.mean(axis=0, keepdims=True), SAMPLE_RATE, RATE)[0]
    heard = sonara.analyze_signal(mono, sr=RATE, features=["bpm", "key"], bpm_min=60, bpm_max=180)
    return heard["bpm"], heard["key"]


def by_us(samples: np.ndarray) -> tuple[float | None, str | None]:
    heard = listen(samples, SAMPLE_RATE)
    return heard.tempo, heard.key


ANALYSERS = {"ours": by_us, "librosa": by_librosa, "sonara": by_sonara}


def accuracy(songs: list[Song], hear: Callable[[np.ndarray], tuple[float | None, str | None]]) -> dict[str, float]:
    """Shares of right answers, and seconds a song."""
    start = time.process_time()
    heard = [hear(song.samples) for song in songs]
    seconds = (time.process_time() - start) / len(songs)
    pairs = list(zip(heard, songs, strict=True))
    return {
        "tempo_exact": np.mean([tempo is not None and abs(tempo / s.bpm - 1) <= 0.04 for (tempo, _), s in pairs]),
        "tempo_octave": np.mean([tempo_agreement(tempo, song.bpm) == 1 for (tempo, _), song in pairs]),
        "key_weighted": np.mean([weighted(song.key, key) for (_, key), song in pairs]),
        "key_exact": np.mean([weighted(song.key, key) == 1 for (_, key), song in pairs]),
        "unheard": np.mean([tempo is None or key is None for (tempo, key), _ in pairs]),
        "seconds_a_song": seconds,
    }


def weighted(asked: str, heard: str | None) -> float:
    plain = asked.replace("♯", "#").replace("♭", "b")
    return 0.0 if heard is None else mir_eval.key.weighted_score(plain, heard)


def faults(songs: list[Song], spoil: Callable[[np.ndarray], np.ndarray]) -> dict[str, float]:
    """What the spoiled songs look like, beside the songs themselves."""
    clean = np.array([spectral_outliers(song.samples, SAMPLE_RATE) for song in songs])
    spoiled = [spoil(song.samples) for song in songs]
    outliers = np.array([spectral_outliers(samples, SAMPLE_RATE) for samples in spoiled])
    qualities = [measure(samples, SAMPLE_RATE).quality for samples in spoiled[:16]]
    return {
        "outliers": outliers.mean(),
        "outliers_max": outliers.max(),
        "seen": (outliers > clean).mean(),
        "quality": np.mean(qualities),
    }


def whistling(samples: np.ndarray, frequency: float = WHISTLE_HZ) -> np.ndarray:
    """A tone 30 dB above what its third octave has."""
    wave = np.sin(2 * np.pi * frequency * np.arange(samples.shape[1]) / SAMPLE_RATE).astype(np.float32)
    band = round(10 * math.log10(frequency / 1000)) + 13
    own, tone = (third_octave_levels(part, SAMPLE_RATE)[band] for part in (samples, wave[None]))
    return samples + wave * np.float32(10 ** ((own + WHISTLE_DB - tone) / 20))


def humming(samples: np.ndarray) -> np.ndarray:
    return whistling(whistling(samples, 50.0), 100.0)


def hollow(samples: np.ndarray) -> np.ndarray:
    """An octave is 40 dB softer."""
    size = 1 << samples.shape[1].bit_length()
    spectrum, frequencies = np.fft.rfft(samples, size, axis=1), np.fft.rfftfreq(size, 1 / SAMPLE_RATE)
    spectrum[:, (frequencies > 708) & (frequencies < 1413)] *= 0.01
    return np.fft.irfft(spectrum, size, axis=1)[:, : samples.shape[1]].astype(np.float32)


def noise(samples: np.ndarray) -> np.ndarray:
    return 0.1 * np.random.default_rng(0).standard_normal(samples.shape, dtype=np.float32)


FAULTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "as it is": lambda samples: samples,
    "whistle": whistling,
    "hum": humming,
    "hole": hollow,
    "white noise": noise,
}


def costs(songs: list[Song]) -> dict[str, float]:
    """Seconds of this thread."""
    pieces = np.concatenate([song.samples for song in songs], axis=1)
    sound = np.tile(pieces, math.ceil(TEN_MINUTES_S * SAMPLE_RATE / pieces.shape[1]))[
        :, : TEN_MINUTES_S * SAMPLE_RATE
    ]
    return {
        "listening": thread_seconds(lambda: listen(sound, SAMPLE_RATE)),
        "spectral_outliers": thread_seconds(lambda: spectral_outliers(sound, SAMPLE_RATE)),
        "loudness": thread_seconds(lambda: integrated_loudness(sound)),
        "true_peak": thread_seconds(lambda: true_peak(sound)),
        "everything": thread_seconds(lambda: measure(sound, SAMPLE_RATE)),
        "contact_sheet": thread_seconds(lambda: draw([Panel(sound, SAMPLE_RATE, "ten minutes")])),
    }


def thread_seconds(work: Callable[[], object]) -> float:
    start = time.thread_time()
    work()
    return time.thread_time() - start


def report(about: dict[str, object], figures: dict[str, float]) -> None:
    """One line of JSON."""
    print(json.dumps(about | {name: round(float(value), 3) for name, value in figures.items()}), flush=True)


if __name__ == "__main__":
    main()
