"""A decoded waveform becomes a finished one: exact length, audible, below the peak ceiling, at the asked rate."""

from __future__ import annotations

import numpy as np

from acestep.audio.levels import check_audible, peak
from acestep.audio.limiter import limit_true_peak
from acestep.audio.resample import resample
from acestep.constants import SAMPLE_RATE
from acestep.render import Song
from acestep.request import Request


def finish(song: Song, request: Request) -> np.ndarray:
    """The samples that go into the file.

    Returns:
        float32 ``[2, round(seconds * sample_rate)]``, at most full scale; with ``limit_true_peak`` below -1 dBTP.

    Raises:
        GenerationError: the song is silent or not finite.
    """
    samples = song.waveform.numpy()[:, : round(song.plan.duration_s * SAMPLE_RATE)]
    check_audible(samples)
    if request.sample_rate != SAMPLE_RATE:
        samples = resample(samples, SAMPLE_RATE, request.sample_rate)
    if request.limit_true_peak:
        return limit_true_peak(samples, sample_rate=request.sample_rate)
    return samples / np.float32(max(1.0, peak(samples)))
