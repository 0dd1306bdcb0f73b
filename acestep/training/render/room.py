"""The room a song is played in: one synthetic stereo impulse response, the same for every stem.

In: a random generator and a dry stem. Out: the stem in the room. Refuses to know notes and levels. A room is linear:
the room of a sum is the sum of the rooms, so stems still add up to the mix.

The late field is Gaussian noise that decays exponentially, faster at high frequencies (Moorer, "About this
reverberation business", 1979); left and right are independent noise, which is what makes it wide.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from acestep.audio.levels import from_db
from acestep.constants import AUDIO_CHANNELS, SAMPLE_RATE

DECAY_S = (0.25, 0.7)  # to -60 dB, in the middle of the spectrum
PRE_DELAY_S = (0.005, 0.025)
WET_DB = (-24.0, -15.0)  # energy of the impulse response, relative to the dry sound
KEPT_SHARE = 0.75  # of the decay: what is left is 45 dB down
BANDS_HZ = ((200.0, 1200.0, 1.15), (1200.0, 4000.0, 1.0), (4000.0, 14000.0, 0.55))  # from, to, decay times this
FFT_SAMPLES = 1 << 16
SIXTY_DB = float(np.log(1000.0))


@dataclass(frozen=True, slots=True)
class Room:
    """An impulse response without the direct sound: float32 ``[2, taps]``, taps < 65536."""

    response: np.ndarray

    def place(self, dry: np.ndarray) -> np.ndarray:
        """The stem, float32 ``[2, S]``, with its reverberation; what rings past the end is cut.

        The room is fed with the mean of both channels, by overlap-add in blocks that fit the processor's cache.
        """
        length, taps = dry.shape[1], self.response.shape[1]
        step = FFT_SAMPLES - taps + 1
        spectrum = np.fft.rfft(self.response, FFT_SAMPLES)  # [2, bins]
        wet = np.zeros((AUDIO_CHANNELS, length + FFT_SAMPLES), np.float32)
        send = dry.mean(axis=0)  # [S]
        for start in range(0, length, step):
            block = send[start : start + step]
            if block.any():
                wet[:, start : start + FFT_SAMPLES] += np.fft.irfft(np.fft.rfft(block, FFT_SAMPLES) * spectrum)
        return dry + wet[:, :length]


def make_room(rng: np.random.Generator) -> Room:
    """A small to middle-sized room: decay 0.25 to 0.7 s, reverberation 15 to 24 dB below the direct sound."""
    decay_s, delay_s, wet_db = (rng.uniform(*span) for span in (DECAY_S, PRE_DELAY_S, WET_DB))
    taps = round(decay_s * KEPT_SHARE * SAMPLE_RATE)
    seconds = np.arange(taps) / SAMPLE_RATE
    spectrum = np.fft.rfft(rng.standard_normal((AUDIO_CHANNELS, taps)))  # [2, bins]
    frequencies = np.fft.rfftfreq(taps, 1 / SAMPLE_RATE)
    tail = sum(
        np.fft.irfft(spectrum * ((frequencies >= low) & (frequencies < high)), taps)
        * np.exp(-SIXTY_DB * seconds / (decay_s * stretch))
        for low, high, stretch in BANDS_HZ
    )
    tail *= from_db(wet_db) / np.sqrt(np.square(tail).sum(axis=1, keepdims=True))
    delay = round(delay_s * SAMPLE_RATE)
    return Room(np.pad(tail, ((0, 0), (delay, 0))).astype(np.float32))
