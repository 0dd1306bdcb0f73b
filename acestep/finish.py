"""A take becomes a finished one: audible, below the ceiling, at the asked rate; what is kept stays as it is."""

from __future__ import annotations

import numpy as np

from acestep.audio.levels import check_audible, peak
from acestep.audio.limiter import limit_true_peak
from acestep.audio.resample import resample
from acestep.constants import SAMPLE_RATE
from acestep.editing.splice import resample_spliced
from acestep.request import Request
from acestep.takes import Kept, Take


def finish(take: Take, request: Request) -> np.ndarray:
    """The samples that go into the file.

    Returns:
        float32 ``[2, round(seconds * sample_rate)]``, at most full scale; with ``limit_true_peak`` below -1 dBTP.
        Of a take that keeps a recording only the rate is changed: its new music was brought below the ceiling before
        it was joined.

    Raises:
        GenerationError: the take is silent or not finite.
    """
    samples = take.samples
    check_audible(samples)
    if take.kept is not None:
        return _kept_at_rate(samples, take.kept, request.sample_rate)
    if request.sample_rate != SAMPLE_RATE:
        samples = resample(samples, SAMPLE_RATE, request.sample_rate)
    if request.limit_true_peak:
        return limit_true_peak(samples, sample_rate=request.sample_rate)
    return samples / np.float32(max(1.0, peak(samples)))


def _kept_at_rate(samples: np.ndarray, kept: Kept, sample_rate: int) -> np.ndarray:
    """The take at another rate; outside of its regions it is the recording at that rate."""
    if sample_rate == SAMPLE_RATE:
        return samples
    source, (first, *others) = kept.laid_out(), kept.canvas.regions
    result, _ = resample_spliced(source, samples, first, SAMPLE_RATE, sample_rate)
    for region in others:
        other, place = resample_spliced(source, samples, region, SAMPLE_RATE, sample_rate)
        result[:, slice(*place)] = other[:, slice(*place)]
    return result
