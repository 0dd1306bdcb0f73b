"""What independent analysers hear in a recording: tempo, key, drums, onsets, silence. None of our networks is asked.

In: float32 ``[2, S]`` at 48 kHz. Out: plain values and scores against what was asked for. librosa and mir_eval do the
listening. Refuses to know how the recording was made.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import librosa
import mir_eval
import numpy as np

from acestep.constants import SAMPLE_RATE

RATE = 22_050  # what librosa's defaults are made for
TEMPO_TOLERANCE = 0.04
OCTAVES = (1.0, 2.0, 0.5, 3.0, 1 / 3)  # as in Accuracy 2 of Gouyon et al. (2006)
SILENT = 1e-3
FRAME_S = 0.05
# Key profiles of Krumhansl and Kessler (1982), C major and C minor.
MAJOR = (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88)
MINOR = (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17)
NOTES = ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")


@dataclass(frozen=True, slots=True)
class Heard:
    """One recording, mono at 22,050 Hz, in the forms the analysers share."""

    samples: np.ndarray

    @classmethod
    def of(cls, audio: np.ndarray) -> Heard:
        """From float32 ``[2, S]`` at 48 kHz."""
        return cls(librosa.resample(audio.mean(0), orig_sr=SAMPLE_RATE, target_sr=RATE))

    @property
    def tempo(self) -> float:
        """Beats per minute."""
        return float(np.atleast_1d(librosa.feature.tempo(y=self.samples, sr=RATE))[0])

    @property
    def key(self) -> str:
        """Such as ``C# minor``: the best fit of key profiles to the mean chroma."""
        chroma = librosa.feature.chroma_cqt(y=self.samples, sr=RATE).mean(1)
        scores = {
            f"{note} {mode}": np.corrcoef(np.roll(profile, shift), chroma)[0, 1]
            for mode, profile in (("major", MAJOR), ("minor", MINOR))
            for shift, note in enumerate(NOTES)
        }
        return max(scores, key=scores.__getitem__)

    @property
    def onsets(self) -> np.ndarray:
        """Seconds."""
        return librosa.onset.onset_detect(y=self.samples, sr=RATE, units="time")

    @property
    def percussiveness(self) -> float:
        """Share of the energy above 5 kHz that harmonic-percussive separation calls percussive, in [0, 1]."""
        spectrum = librosa.stft(self.samples)
        harmonic, percussive = librosa.decompose.hpss(np.abs(spectrum), margin=1.0)
        high = librosa.fft_frequencies(sr=RATE) > 5_000
        total = np.square(harmonic[high]).sum() + np.square(percussive[high]).sum()
        return float(np.square(percussive[high]).sum() / total) if total > 0 else 0.0


def tempo_agrees(heard: float, asked: float) -> bool:
    """Within 4 % of it, its half, third, double or threefold."""
    return any(abs(heard * factor / asked - 1) <= TEMPO_TOLERANCE for factor in OCTAVES)


def key_score(heard: str, asked: str) -> float:
    """mir_eval's weighted score: 1 the same, 0.5 a fifth away, 0.3 relative, 0.2 parallel, else 0."""
    return float(mir_eval.key.weighted_score(_ascii(asked), _ascii(heard)))


def longest_silence_s(audio: np.ndarray) -> float:
    """Longest stretch below -60 dBFS, its beginning and end not counting as inside, seconds."""
    frame = round(FRAME_S * SAMPLE_RATE)
    whole = audio[:, : audio.shape[1] // frame * frame]
    loud = np.abs(whole).reshape(audio.shape[0], -1, frame).max((0, 2)) >= SILENT
    if not loud.any():
        return audio.shape[1] / SAMPLE_RATE
    first, last = np.flatnonzero(loud)[[0, -1]]
    gaps = np.diff(np.flatnonzero(loud[first : last + 1]))
    return float((gaps.max() - 1) * FRAME_S) if gaps.size else 0.0


@cache
def _ascii(key: str) -> str:
    """A key in the spelling of mir_eval."""
    return key.replace("♯", "#").replace("♭", "b")
