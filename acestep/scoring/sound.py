"""What can be measured in a finished song, and how sound it is: tempo, key, loudness, peaks, silence, spectrum.

In: float32 ``[channels, S]`` and what tempo and key were asked for. Out: a ``Sound``. Refuses to know who made the
song and whether it is beautiful. No torch; the same figures for the same samples.

Two tests find what music has not. A third-octave band of the whole song far above or below the bands around it is a
whistle, hum or hole. Treble louder than everything below is hiss: music falls off towards high frequencies, noise
does not. Bands as in IEC 61260-1, levels of the long-term average spectrum.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from acestep.audio.levels import (
    FRAME_S,
    check_finite,
    from_db,
    integrated_loudness,
    silence_share,
    to_db,
    true_peak,
)
from acestep.scoring.listening import key_agreement, listen, tempo_agreement

WINDOW = 16_384  # 2.9 Hz apart at 48 kHz: four bins in the lowest band
BLOCK_WINDOWS = 32  # spectra at once, for bounded memory
BANDS = range(-13, 12)  # third octaves around 1 kHz: 50 Hz to 12.5 kHz
NEIGHBOURS = 3  # bands on either side, an octave
OUTLYING_DB = 12.0
UNHEARD_DB = -70.0  # below the loudest band: what is quieter has no shape
TREBLE_HZ = 2000.0

SILENT_DB = -60.0  # RMS of a frame
LOUDNESS_LOW, LOUDNESS_HIGH, LOUDNESS_SLACK = -30.0, -6.0, 12.0  # LUFS; LU outside that make a song worthless
SILENCE_FINE_S, SILENCE_WORST_S = 2.0, 10.0
OUTLIERS_WORST = 0.3  # white noise has 0.32
PEAK_FINE_DBTP, PEAK_WORST_DBTP = 0.0, 3.0


@dataclass(frozen=True, slots=True)
class Sound:
    """Measurements of a song.

    Attributes:
        tempo: beats per minute that are heard; None when nothing beats.
        tempo_agreement: with the tempo asked for, 0 to 1, octaves forgiven; None when none was asked for.
        key: that is heard, such as ``C# minor``; None when nothing has a pitch.
        key_agreement: with the key asked for, 0 to 1; None when none was asked for.
        loudness_lufs: integrated, BS.1770; -inf for silence.
        true_peak_dbtp: BS.1770; -inf for silence.
        silence_share: share of 100 ms frames below -60 dBFS.
        longest_silence_s: the longest stretch of such frames, beginning and end included.
        spectral_outliers: share of the third-octave bands that are a whistle, hum, a hole or hiss, 0 to 1.
        is_track: it is one track, or what lacks one, which may rest for as long as it likes.
    """

    tempo: float | None
    tempo_agreement: float | None
    key: str | None
    key_agreement: float | None
    loudness_lufs: float
    true_peak_dbtp: float
    silence_share: float
    longest_silence_s: float
    spectral_outliers: float
    is_track: bool = False

    @property
    def quality(self) -> float:
        """0 to 1: the product of four shares, of a track three, each 1 while all is well.

        Loudness: 1 from -30 to -6 LUFS, 0 where 12 LU outside. Silence: 1 up to 2 s at once, 0 from 10 s; not of
        tracks, which rest while others play. Spectrum: 1 without outlying bands, 0 from 30 % of them. Peak: 1 up to
        0 dBTP, 0 from +3 dBTP. A product, because one fault spoils a song. NaN when one of them is.
        """
        outside = max(LOUDNESS_LOW - self.loudness_lufs, self.loudness_lufs - LOUDNESS_HIGH)
        shares = (
            _falling(outside, 0.0, LOUDNESS_SLACK),
            1.0 if self.is_track else _falling(self.longest_silence_s, SILENCE_FINE_S, SILENCE_WORST_S),
            _falling(self.spectral_outliers, 0.0, OUTLIERS_WORST),
            _falling(self.true_peak_dbtp, PEAK_FINE_DBTP, PEAK_WORST_DBTP),
        )
        return math.prod(shares)


def measure(
    samples: np.ndarray,
    sample_rate: int,
    *,
    bpm: float | None = None,
    keyscale: str | None = "",
    is_track: bool = False,
) -> Sound:
    """Measure a finished song.

    Args:
        samples: float32 ``[1 or 2, S]``, any length.
        sample_rate: in Hz.
        bpm: the tempo asked for, if any.
        keyscale: the key asked for, one of ``constants.KEYSCALES``, or "" or None.
        is_track: it is not a whole song, see ``Sound``.

    Raises:
        GenerationError: a sample is NaN or infinite.
    """
    check_finite(samples)
    heard = listen(samples, sample_rate)
    return Sound(
        tempo=heard.tempo,
        tempo_agreement=tempo_agreement(heard.tempo, bpm),
        key=heard.key,
        key_agreement=key_agreement(heard.key, keyscale),
        loudness_lufs=integrated_loudness(samples, sample_rate),
        true_peak_dbtp=to_db(true_peak(samples)),
        silence_share=silence_share(samples, sample_rate, SILENT_DB),
        longest_silence_s=longest_silence_s(samples, sample_rate),
        spectral_outliers=spectral_outliers(samples, sample_rate),
        is_track=is_track,
    )


def longest_silence_s(samples: np.ndarray, sample_rate: int) -> float:
    """Longest stretch of 100 ms frames below -60 dBFS RMS, in seconds; all of it when shorter than a frame."""
    frame = round(FRAME_S * sample_rate)
    whole = samples[:, : samples.shape[1] // frame * frame].reshape(len(samples), -1, frame)  # [channels, frames, n]
    if not whole.size:
        return samples.shape[1] / sample_rate * silence_share(samples, sample_rate, SILENT_DB)
    powers = np.einsum("cfn,cfn->f", whole, whole) / (len(samples) * frame)
    loud = np.flatnonzero(powers >= from_db(SILENT_DB) ** 2)
    gaps = np.diff(np.concatenate([[-1], loud, [len(powers)]])) - 1  # silent frames between loud ones
    return float(gaps.max() * FRAME_S)


def spectral_outliers(samples: np.ndarray, sample_rate: int) -> float:
    """Share of the third-octave bands, 50 Hz to 12.5 kHz, that music does not have, 0 to 1.

    Counted are bands more than 12 dB off the median of those within an octave (whistles, hum, holes), and bands above
    2 kHz that are louder than every band below (hiss). What lies 70 dB below the loudest band is as good as nothing.
    """
    levels = third_octave_levels(samples, sample_rate)  # [bands], dB
    levels = np.maximum(levels, levels.max() + UNHEARD_DB)
    around = np.lib.stride_tricks.sliding_window_view(
        np.pad(levels, NEIGHBOURS, constant_values=np.nan), 2 * NEIGHBOURS + 1
    )  # [bands, 7]
    outlying = np.abs(levels - np.nanmedian(around, axis=1)) > OUTLYING_DB
    treble = _centres() > TREBLE_HZ
    hissing = treble & (levels > levels[~treble].max())
    return float((outlying | hissing).mean())


def third_octave_levels(samples: np.ndarray, sample_rate: int) -> np.ndarray:
    """Long-term level of every band in dB, ``[25]``: mean power of Hann windows over time and channels."""
    if samples.shape[1] < WINDOW:
        samples = np.pad(samples, ((0, 0), (0, WINDOW - samples.shape[1])))
    channels, windows = len(samples), samples.shape[1] // WINDOW
    cut = samples[:, : windows * WINDOW].reshape(channels, windows, WINDOW)
    hann, power = np.hanning(WINDOW).astype(np.float32), np.zeros(WINDOW // 2 + 1)
    for start in range(0, windows, BLOCK_WINDOWS):
        spectrum = np.fft.rfft(cut[:, start : start + BLOCK_WINDOWS] * hann, axis=2)
        power += (np.square(spectrum.real) + np.square(spectrum.imag)).sum(axis=(0, 1), dtype=np.float64)
    edges = np.searchsorted(np.fft.rfftfreq(WINDOW, 1 / sample_rate), _edges())
    bands = np.add.reduceat(power[: edges[-1]], edges[:-1])
    return 10 * np.log10(np.maximum(bands / (channels * windows), 1e-20))


def _centres() -> np.ndarray:
    return 1000.0 * 10.0 ** (np.array(BANDS) / 10)


def _edges() -> np.ndarray:
    return 1000.0 * 10.0 ** ((np.arange(BANDS.start, BANDS.stop + 1) - 0.5) / 10)


def _falling(value: float, fine: float, worst: float) -> float:
    """1 up to ``fine``, 0 from ``worst`` on, a line between; NaN of NaN."""
    return float(np.clip((worst - value) / (worst - fine), 0.0, 1.0))
