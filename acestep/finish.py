"""A take becomes a finished one: audible, below the ceiling, at the asked rate; what is kept stays as it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from acestep.audio.levels import check_audible, peak
from acestep.audio.limiter import limit_together, limit_true_peak
from acestep.audio.resample import resample
from acestep.constants import SAMPLE_RATE
from acestep.editing.splice import scaled_region, splice_into
from acestep.request import Request
from acestep.takes import Ceiling, Kept, Take

BESIDE_S = 0.002


def finish(take: Take, request: Request) -> np.ndarray:
    """The samples that go into the file.

    Returns:
        float32 ``[2, round(seconds * sample_rate)]``, at most full scale; with ``limit_true_peak`` below -1 dBTP.
        Of a take that keeps a recording, and of parts that add up to one, only the rate is changed: they were
        brought below the ceiling before.

    Raises:
        GenerationError: the take is silent or not finite.
    """
    samples = take.samples
    check_audible(samples)
    if take.kept is not None:
        return _kept_at_rate(samples, take.kept, request.sample_rate)
    if request.sample_rate != SAMPLE_RATE:
        samples = resample(samples, SAMPLE_RATE, request.sample_rate)
    if request.limit_true_peak and take.ceiling is not Ceiling.PARTS:
        everything = (0, samples.shape[1]) if take.ceiling is Ceiling.MIX else None
        return limit_true_peak(samples, region=everything, sample_rate=request.sample_rate)
    return samples / np.float32(max(1.0, peak(samples)))


def brought_below(takes: Sequence[Take], request: Request) -> tuple[Take, ...]:
    """Parts that add up to a recording: wherever one of them is too loud alone, one gain for all.

    So they still add up: to the recording where none is too loud, else to the recording times that gain.
    """
    parts = [take.samples for take in takes]
    if request.limit_true_peak:
        parts = limit_together(parts)
    else:
        gain = np.float32(1.0 / max(1.0, *map(peak, parts)))
        parts = [part * gain for part in parts]
    return tuple(replace(take, samples=part, ceiling=Ceiling.PARTS) for take, part in zip(takes, parts, strict=True))


def within_full_scale(samples: np.ndarray, region: tuple[int, int]) -> np.ndarray:
    """``[2, S]`` with a region at most at full scale; nothing else is touched.

    What goes on from a recording that is itself at full scale can exceed it for the length of a join. A limiter turns
    that down, but not in the first 2 ms beside the recording, where its gain would be a step: there peaks are cut.
    """
    if peak(samples[:, slice(*region)]) <= 1.0:
        return samples
    length = region[1] - region[0]
    nearness = np.minimum(np.arange(length), np.arange(length)[::-1]) / (BESIDE_S * SAMPLE_RATE)
    share = np.minimum(nearness, 1.0).astype(np.float32)
    inside = samples[:, slice(*region)]
    limited = limit_true_peak(samples, ceiling_db=0.0, region=region)[:, slice(*region)]
    result = samples.copy()
    result[:, slice(*region)] = np.clip(inside + share * (limited - inside), -1.0, 1.0)
    return result


def _kept_at_rate(samples: np.ndarray, kept: Kept, sample_rate: int) -> np.ndarray:
    """The take at another rate; outside of its regions it is the recording at that rate."""
    if sample_rate == SAMPLE_RATE:
        return samples
    result = resample(kept.laid_out(), SAMPLE_RATE, sample_rate)
    generated = resample(samples, SAMPLE_RATE, sample_rate)
    for region in kept.canvas.regions:
        place = scaled_region(region, samples.shape[1], result.shape[1], SAMPLE_RATE, sample_rate)
        splice_into(result, generated, place, sample_rate)
        result = within_full_scale(result, place)
    return result
