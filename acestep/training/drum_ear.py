"""Hears whether drums play: thirteen plain measurements of a spectrogram, weighed by a logistic regression.

In: a ``Heard``. Out: True or False. The weights were fitted on rendered songs, whose truth is known, not on anything
our networks made; ``python -m acestep.training.drum_ear`` fits them again and prints them with the accuracy on songs
left out of each fit (5 folds of 140 songs: 97 %). Refuses to know how a recording was made.
"""

from __future__ import annotations

import json

import librosa
import numpy as np

from acestep.training.ears import RATE, Heard
from acestep.training.learn.command import run_command
from acestep.training.render import Renderer
from acestep.training.songs import training_score

WINDOW, HOP = 1024, 256
BANDS_HZ = ((20, 150), (150, 500), (500, 2_000), (2_000, 5_000), (5_000, RATE // 2))
FLOOR = 1e-9
FIRST_SEED, SONGS, FOLDS = 500_000, 140, 5  # songs that no trainer renders
STEPS, RATE_OF_FIT, PENALTY = 3_000, 0.3, 0.3


def drum_features(heard: Heard) -> np.ndarray:
    """Thirteen numbers: per band the percussive share and the level; how peaky bass and treble are; flatness."""
    spectrum = np.abs(librosa.stft(heard.samples, n_fft=WINDOW, hop_length=HOP))
    _, percussive = librosa.decompose.hpss(spectrum, margin=1.0)
    hertz, energy = librosa.fft_frequencies(sr=RATE, n_fft=WINDOW), np.square(spectrum)
    features: list[float] = []
    for low, high in BANDS_HZ:
        band = (hertz >= low) & (hertz < high)
        inside = energy[band].sum()
        features += [np.square(percussive[band]).sum() / (inside + FLOOR), np.log10(inside / energy.sum() + 1e-6)]
    for band in (hertz > BANDS_HZ[-1][0], hertz < BANDS_HZ[0][1]):
        over_time = energy[band].sum(0)
        features.append(np.log10((np.percentile(over_time, 95) + FLOOR) / (np.median(over_time) + FLOOR)))
    flatness = librosa.feature.spectral_flatness(S=spectrum)[0]
    features.append(np.percentile(np.log10(flatness + FLOOR), 90))
    return np.array(features)


def hears_drums(heard: Heard) -> bool:
    """Whether drums play."""
    return bool((drum_features(heard) - MEAN) / SCALE @ WEIGHTS + BIAS > 0)


def fit(features: np.ndarray, drums: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Mean, scale, weights and bias of a ridge-penalised logistic regression, by gradient descent.

    Args:
        features: ``[songs, 13]``.
        drums: ``[songs]`` bool.
    """
    mean, scale = features.mean(0), features.std(0)
    rows = np.c_[(features - mean) / scale, np.ones(len(features))]
    weights = np.zeros(rows.shape[1])
    for _ in range(STEPS):
        chance = 1 / (1 + np.exp(-rows @ weights))
        penalty = PENALTY * np.r_[weights[:-1], 0.0]
        weights -= RATE_OF_FIT * (rows.T @ (chance - drums) + penalty) / len(rows)
    return mean, scale, weights[:-1], float(weights[-1])


def main() -> None:
    """Fit on rendered songs; print the constants below and the accuracy."""
    renderer, scores = Renderer(), [training_score(FIRST_SEED + number) for number in range(SONGS)]
    features = np.array([drum_features(Heard.of(renderer.render(score).mix)) for score in scores])
    drums = np.array(["drums" in score.tracks for score in scores])
    right = 0
    for fold in range(FOLDS):
        out = np.arange(SONGS) % FOLDS == fold
        mean, scale, weights, bias = fit(features[~out], drums[~out])
        right += int((((features[out] - mean) / scale @ weights + bias > 0) == drums[out]).sum())
    mean, scale, weights, bias = (np.round(part, 4).tolist() for part in fit(features, drums))
    print(json.dumps({"MEAN": mean, "SCALE": scale, "WEIGHTS": weights, "BIAS": bias, "accuracy": right / SONGS}))


MEAN = np.array(
    (0.2977, -0.969, 0.1022, -0.4668, 0.09122, -0.6518, 0.2188, -1.296, 0.505, -1.985, 1.499, 1.608, -1.691)
)
SCALE = np.array((0.2728, 0.973, 0.08153, 0.1839, 0.088, 0.302, 0.1967, 0.5382, 0.268, 0.9338, 0.9614, 1.156, 0.9243))
WEIGHTS = np.array((1.008, 1.992, 1.255, -0.8455, -0.6103, -0.1094, 1.15, 1.413, 1.453, 2.696, -0.49, 0.2254, 1.734))
BIAS = 0.6913

if __name__ == "__main__":
    run_command("drum_ear", main)
