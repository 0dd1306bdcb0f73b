"""Takes become finished ones: audible, below the ceiling, at the asked rate; what is kept stays as it is.

In: takes, a ``Request``. Out: samples for files. Refuses to know files.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import numpy as np

from acestep.audio.levels import check_audible, check_finite, is_audible, peak
from acestep.audio.limiter import limit_together, limit_true_peak
from acestep.audio.resample import resample
from acestep.constants import SAMPLE_RATE
from acestep.editing.splice import resample_spliced
from acestep.request import Request
from acestep.takes import Ceiling, Take

BESIDE_S = 0.002  # of a join, in which a gain would be a step


def heard_takes(takes: Sequence[Take]) -> tuple[tuple[Take, ...], tuple[str, ...]]:
    """The takes that can be heard, and a sentence about each track that cannot.

    A recording need not have every track that is taken out of it.

    Raises:
        GenerationError: a take is not finite, a whole song is silent, or all tracks are.
    """
    for take in takes:
        check_finite(take.samples)
    silent = [take for take in takes if not is_audible(take.samples)]
    for take in silent:
        if not take.track or len(silent) == len(takes):
            check_audible(take.samples)
    told = (
        f"{track} is silent in this recording; there is no file of it."
        for track in dict.fromkeys(take.track for take in silent)
    )
    return tuple(take for take in takes if take not in silent), tuple(told)


def finish(takes: Sequence[Take], request: Request) -> list[np.ndarray]:
    """The samples that go into files.

    Returns:
        float32 ``[2, round(seconds * sample_rate)]`` each: at most full scale; below -1 dBTP if wanted.
        Of a take that keeps a recording only the rate is changed: its new music was brought below the ceiling before
        it was joined. Parts that add up to a recording still do: where one of them alone is too loud, one gain acts
        on all.
    """
    finished: list[np.ndarray] = []
    for (ceiling, _, _), several in groupby(takes, lambda take: (take.ceiling, take.parts, take.seed)):
        at_rate = [_at_rate(take, request.sample_rate) for take in several]
        finished += _parts(at_rate, request) if ceiling is Ceiling.PARTS else at_rate
    return [
        samples if take.kept is not None or take.ceiling is Ceiling.PARTS else _below(samples, take.ceiling, request)
        for take, samples in zip(takes, finished, strict=True)
    ]


def _at_rate(take: Take, sample_rate: int) -> np.ndarray:
    if take.kept is not None:
        return take.samples if sample_rate == SAMPLE_RATE else _kept_at_rate(take, sample_rate)
    samples = resample(take.samples, take.sample_rate, sample_rate)
    return samples if take.sample_rate == SAMPLE_RATE else samples[:, : round(take.plan.duration_s * sample_rate)]


def _below(samples: np.ndarray, ceiling: Ceiling, request: Request) -> np.ndarray:
    if not request.limit_true_peak:
        return samples / np.float32(max(1.0, peak(samples)))
    everything = (0, samples.shape[1]) if ceiling is Ceiling.MIX else None
    return limit_true_peak(samples, region=everything, sample_rate=request.sample_rate)


def _parts(parts: Sequence[np.ndarray], request: Request) -> list[np.ndarray]:
    if request.limit_true_peak:
        return limit_together(parts, sample_rate=request.sample_rate)
    gain = np.float32(1.0 / max(1.0, *map(peak, parts)))
    return [part * gain for part in parts]


def within_full_scale(samples: np.ndarray, region: tuple[int, int], sample_rate: int = SAMPLE_RATE) -> np.ndarray:
    """``[2, S]`` with a region at most at full scale; nothing else is touched.

    What goes on from a recording that is itself at full scale can exceed it for the length of a join. A limiter turns
    that down, but not in the first 2 ms beside the recording, where its gain would be a step: there peaks are cut.
    """
    inside = samples[:, slice(*region)]
    if peak(inside) <= 1.0:
        return samples
    place = np.arange(inside.shape[1])
    share = np.minimum(np.minimum(place, place[::-1]) / (BESIDE_S * sample_rate), 1.0).astype(np.float32)
    limited = limit_true_peak(samples, ceiling_db=0.0, region=region, sample_rate=sample_rate)[:, slice(*region)]
    result = samples.copy()
    result[:, slice(*region)] = np.clip(inside + share * (limited - inside), -1.0, 1.0)
    return result


def _kept_at_rate(take: Take, sample_rate: int) -> np.ndarray:
    """A take at another rate; outside of its regions it is the recording at that rate."""
    result, places = resample_spliced(
        take.kept.laid_out(), take.samples, take.kept.canvas.regions, SAMPLE_RATE, sample_rate
    )
    for place in places:
        result = within_full_scale(result, place, sample_rate)
    return result
