"""Put generated music into a recording so that nobody hears where, and not one sample outside changes.

In: a recording and a generated song on one timeline (float32 ``[2, S]``), and the region of the new music. Out: the
recording with its region replaced. Refuses to know tasks, models, files and peak ceilings (``audio/limiter.py``).

Outside the region, ``generated`` is a codec's imitation of the recording; inside it is new. What the recording holds
inside is never read: the old music or, in an extension, nothing. At a join all repair is inside the region:

1. From the last half second kept, per channel: the share (0 to 1) of the imitation that is in the recording, by least
   squares, and the rest, which by construction does not correlate with the imitation. (Of 50 ms the share is wrong
   before a drum: codecs let its noise begin early. Then the drum itself would be faded in, up to 12 dB too soft.)
2. The rest is continued over the join and fades out within 30 ms. Meanwhile the generated music goes from its share
   to 1, so that the *power* crosses from that of the recording to that of the new music. A good imitation plays on
   and only its error fades; an unrelated one is faded in at equal power; all between is between.
3. The rest is continued by 2 ms of linear prediction (Burg, 1975), then by its mirror image: prediction keeps slope
   and curvature over the join, where a mirror has a kink; the mirror keeps the level, where a prediction dies away.
4. Where the two happen to correlate in those 30 ms, as bass notes do, they would add up or cancel: a gain evens it.

What else was tried on a real song (figures of this one: ``benchmarks/seams.py``). Fading the whole error, share 1:
bumps up to 6 dB into unrelated music. A crossfade from the continued recording: dips of 3 dB on average at equal
gain; at equal power it plays a guess where a good imitation lies ready. Prediction alone: dips up to 8 dB. Mirror
alone: sharper clicks by a tenth to a half. Without step 4: three times the bulges into unrelated music. 50 ms instead
of 30: more than twice the dips beside good imitations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from acestep.audio.resample import resample
from acestep.constants import SAMPLE_RATE

JOIN_S = 0.03  # of new music that a join may change; less in a region that has not room for two
COMPARED_S = 0.5  # of the recording and its imitation, to find their share
LEARNT_S = 0.05  # of the rest, to predict it
PREDICTED_S = 0.002
ORDER = 32  # of the linear prediction
MOST_COMMON = 0.8  # correlation that is evened out at most: a gain of 7 dB


@dataclass(frozen=True, slots=True)
class _Spans:
    """The lengths above in samples."""

    join: int
    compared: int
    learnt: int
    predicted: int

    @classmethod
    def at(cls, sample_rate: int) -> Self:
        return cls(*(round(seconds * sample_rate) for seconds in (JOIN_S, COMPARED_S, LEARNT_S, PREDICTED_S)))


def splice(
    source: np.ndarray, generated: np.ndarray, region: tuple[int, int], sample_rate: int = SAMPLE_RATE
) -> np.ndarray:
    """The recording with new music in a region.

    Args:
        source: float32 ``[channels, S]``, finite.
        generated: float32 ``[channels, S]``, finite; the new music inside, an imitation of ``source`` outside.
        region: ``(start, end)`` in samples, 0 <= start <= end <= S. A side at an end of the timeline has no join.
        sample_rate: of both in Hz.

    Returns:
        A new float32 array ``[channels, S]``: ``source`` bit for bit outside, ``generated`` bit for bit inside from
        30 ms (or half the region) after a join. Inside may exceed full scale.

    Raises:
        ValueError: the shapes differ, or the region is not one of the timeline.
    """
    _check(source, generated, region)
    result = source.copy()
    _replace(result, generated, region, _Spans.at(sample_rate))
    return result


def resample_spliced(
    source: np.ndarray,
    spliced: np.ndarray,
    regions: Sequence[tuple[int, int]],
    from_rate: int,
    to_rate: int,
) -> tuple[np.ndarray, list[tuple[int, int]]]:
    """A spliced recording at another rate: outside the regions it is still the (resampled) recording, exactly.

    A resampler carries some of the new music over the joins, as ringing. So both are resampled and spliced once more;
    there the second is an almost perfect imitation of the first, and what fades is the ringing.

    Args:
        source: float32 ``[channels, S]``.
        spliced: what ``splice`` made of it.
        regions: those given to ``splice``, in order.
        from_rate: of both in Hz.
        to_rate: the wanted rate in Hz.

    Returns:
        float32 ``[channels, round(S * to_rate / from_rate)]``, and the regions in its samples: those whose instants
        lie in ``regions``. Outside them, bit for bit ``resample(source)``. ``spliced`` itself when the rates agree.

    Raises:
        ValueError: the shapes differ, or a region is not one of the timeline.
    """
    for region in regions:
        _check(source, spliced, region)
    if from_rate == to_rate:
        return spliced, list(regions)
    length = source.shape[1]
    result = resample(source, from_rate, to_rate)
    del source  # an hour of it is a gigabyte, and the caller may have let go of it
    places = [_scaled(region, length, result.shape[1], from_rate, to_rate) for region in regions]
    generated = resample(spliced, from_rate, to_rate)
    for place in places:
        _replace(result, generated, place, _Spans.at(to_rate))
    return result, places


def _check(source: np.ndarray, other: np.ndarray, region: tuple[int, int]) -> None:
    if source.shape != other.shape:
        raise ValueError(f"the recording has the shape {source.shape}, what goes into it {other.shape}")
    if not 0 <= region[0] <= region[1] <= source.shape[1]:
        raise ValueError(f"{region} is no region of a timeline of {source.shape[1]} samples")


def _scaled(region: tuple[int, int], length: int, new_length: int, from_rate: int, to_rate: int) -> tuple[int, int]:
    """First sample at or after each border; an end of the timeline stays one."""
    start, end = (min(-(-border * to_rate // from_rate), new_length) for border in region)
    return start, new_length if region[1] == length else end


def _replace(recording: np.ndarray, generated: np.ndarray, region: tuple[int, int], spans: _Spans) -> None:
    """Put ``generated`` into the region of ``recording``, both ``[channels, S]``, in place, and mend both joins."""
    start, end = region
    before, after = start > 0, end < recording.shape[1]
    recording[:, start:end] = generated[:, start:end]
    second = min(spans.join, (end - start) // (1 + before)) if after else 0
    first = min(spans.join, end - start - second) if before else 0
    if first:
        inside, kept = slice(start, start + first), slice(max(0, start - spans.compared), start)
        recording[:, inside] = _joined(recording[:, kept], generated[:, kept], generated[:, inside], spans)
    if second:  # the same, seen from the other end
        inside, kept = slice(end - second, end), slice(end, end + spans.compared)
        ahead = (recording[:, kept], generated[:, kept], generated[:, inside])
        recording[:, inside] = _joined(*(part[:, ::-1] for part in ahead), spans)[:, ::-1]


def _joined(kept: np.ndarray, imitation: np.ndarray, new: np.ndarray, spans: _Spans) -> np.ndarray:
    """New music after a join, with what the imitation lacks of the recording fading out over all of it.

    Args:
        kept: the recording up to the join, float32 ``[channels, n]``, n >= 1.
        imitation: the generated song up to the join ``[channels, n]``.
        new: the generated song after it ``[channels, m]``.
        spans: how much to learn and to predict.

    Returns:
        float64 ``[channels, m]``.
    """
    kept, imitation, new = (part.astype(np.float64) for part in (kept, imitation, new))
    count = new.shape[1]
    angle = np.pi / 2 * _rise(count, spans.predicted)  # [m]
    going, progress = np.cos(angle), np.sin(angle)  # [m], amplitudes
    share = _share(kept, imitation)  # [channels, 1]
    rest = kept - share * imitation  # [channels, n]
    after = _continued(rest[:, -max(spans.learnt, count) :], count, spans.predicted)  # [channels, m]
    coming = np.sqrt(share**2 * going**2 + progress**2)  # [channels, m]
    return _evening(after, new, going, coming, progress) * (going * after + coming * new)


def _evening(
    after: np.ndarray, new: np.ndarray, going: np.ndarray, coming: np.ndarray, progress: np.ndarray
) -> np.ndarray:
    """The gain that gives ``going * after + coming * new`` the power it has if the two do not correlate.

    Within 30 ms two bass notes are in step, or against it, all the time. It is 1 at the join, where by construction
    nothing correlates, and again when nothing of ``after`` is left.

    Args:
        after: what goes, float64 ``[channels, m]``.
        new: what comes, float64 ``[channels, m]``.
        going: gain of the one ``[m]``, 1 to 0.
        coming: gain of the other ``[channels, m]``, share to 1.
        progress: of the fade ``[m]``, 0 to 1.

    Returns:
        float64 ``[channels, m]``, 0.7 to 2.3.
    """
    both = np.sqrt(going * progress / (going @ progress)) * np.stack([after, new])  # [2, channels, m]
    products = np.einsum("acm,bcm->abc", both, both)[..., None]  # [2, 2, channels, 1]
    before, behind, common = products[0, 0], products[1, 1], products[0, 1]
    most = MOST_COMMON * np.sqrt(before * behind)
    wanted = before * going**2 + behind * coming**2  # [channels, m]
    found = wanted + 2 * going * progress * np.clip(common, -most, most)
    return np.sqrt(np.divide(wanted, found, out=np.ones_like(wanted), where=found > 0))


def _rise(count: int, gentle: int) -> np.ndarray:
    """A line from 0 to 1, both left out, that leaves 0 gently, lest it bend a bass: float64 ``[count]``."""
    speed = np.minimum((np.arange(count) + 0.5) / gentle, 1.0)
    return (np.cumsum(speed) - speed / 2) / speed.sum()


def _share(kept: np.ndarray, imitation: np.ndarray) -> np.ndarray:
    """How much of the imitation is in the recording, per channel ``[channels, 1]``, 0 (nothing) to 1 (all of it)."""
    common = (kept * imitation).sum(axis=1, keepdims=True)
    power = np.square(imitation).sum(axis=1, keepdims=True)
    return np.clip(np.divide(common, power, out=np.zeros_like(power), where=power > 0), 0.0, 1.0)


def _continued(past: np.ndarray, count: int, predicted: int) -> np.ndarray:
    """What comes after ``past [channels, n]``: predicted at first, then its mirror image, ``[channels, count]``."""
    after = np.pad(past, ((0, 0), (0, count)), "symmetric")[:, past.shape[1] :]
    predicted = min(predicted, count)
    weight = 0.5 + 0.5 * np.cos(np.pi * np.arange(1, predicted + 1) / (predicted + 1))
    for mirror, channel in zip(after, past, strict=True):
        mirror[:predicted] += weight * (_predicted(channel, predicted) - mirror[:predicted])
    return after


def _predicted(past: np.ndarray, count: int) -> np.ndarray:
    """``count`` samples after ``past [n]`` by linear prediction; the last one held if that is too short to learn."""
    order = min(ORDER, len(past) // 3)
    if order == 0:
        return np.full(count, past[-1])
    weights = -burg(past, order)[:0:-1]  # oldest sample first
    line = np.concatenate([past[-order:], np.zeros(count)])
    for at in range(count):
        line[order + at] = weights @ line[at : at + order]
    return line[order:]


def burg(samples: np.ndarray, order: int) -> np.ndarray:
    """Prediction-error filter ``[order + 1]``, led by 1, that is stable whatever the samples (Burg, 1975).

    Args:
        samples: ``[n]``, n > order.
        order: how many samples predict the next.
    """
    coefficients, ahead, behind = np.ones(1), samples[1:], samples[:-1]
    for _ in range(order):
        power = ahead @ ahead + behind @ behind
        reflection = -2.0 * (behind @ ahead) / power if power > 0 else 0.0
        longer = np.append(coefficients, 0.0)
        coefficients = longer + reflection * longer[::-1]
        ahead, behind = ahead[1:] + reflection * behind[1:], behind[:-1] + reflection * ahead[:-1]
    return coefficients
