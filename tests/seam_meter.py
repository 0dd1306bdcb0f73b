"""How audible a join is: level steps, bulges and clicks, measured against what the recording itself does.

In: a recording, generated music, what was made of them (``[channels, S]``) and the sample where they join. Out: a
``Seam``. Also kinds of generated music to try: imitations as codecs make them, and unrelated music. Refuses to know
how a join is made. Shared by the tests and ``benchmarks/seams.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import astuple, dataclass
from typing import Self

import numpy as np

from acestep.constants import SAMPLE_RATE

WINDOW = round(0.02 * SAMPLE_RATE)
HOP = WINDOW // 4
FLOOR_DB = -70.0  # quieter windows count as this: nobody hears a step between two silences
STEP_PERCENTILE, CLICK_PERCENTILE = 99.0, 99.9
STEP_BAR_DB = 1.0
NEAR_SAMPLES = round(0.001 * SAMPLE_RATE)
SURROUNDINGS = round(0.3 * SAMPLE_RATE)  # of a join that a single measurement looks at
MARGIN = round(0.5 * SAMPLE_RATE)  # of the recording around a region that is tried

Region = tuple[int, int]
Kind = Callable[[np.ndarray], np.ndarray]
Join = Callable[[np.ndarray, np.ndarray, Region], np.ndarray]


@dataclass(frozen=True, slots=True)
class Own:
    """What a recording does by itself.

    Attributes:
        step_db: 99th percentile of level steps between neighbouring 20 ms windows.
        largest_step_db: the largest of them.
        bend: 99.9th percentile of second differences.
    """

    step_db: float
    largest_step_db: float
    bend: float

    @classmethod
    def of(cls, source: np.ndarray) -> Self:
        found = steps(levels(source))
        bend = np.percentile(np.abs(np.diff(source, 2)), CLICK_PERCENTILE)
        return cls(float(np.percentile(found, STEP_PERCENTILE)), float(found.max()), float(bend))


@dataclass(frozen=True, slots=True)
class Seam:
    """One join.

    Attributes:
        step_db: largest level step between neighbouring 20 ms windows that meet within 20 ms of the join.
        beyond_db: how much a step there exceeds what is music: the recording's 99th percentile, and the steps of the
            recording and of the generated music in that place.
        level: whether the 20 ms of recording before the join and the 40 ms of generated music behind it differ by no
            more than the recording's 99th percentile of steps.
        bulge_db: how far a 20 ms window behind the join lies above, or below, everything it lies between: the
            recording before the join, and the generated music there and after the join's repair.
        click: largest second difference over the join, as a multiple of the recording's 99.9th percentile.
        own_click: the same of the recording alone within 1 ms of that place: a drum is as sharp as it is.
    """

    step_db: float
    beyond_db: float
    level: bool
    bulge_db: float
    click: float
    own_click: float


def levels(samples: np.ndarray) -> np.ndarray:
    """Level of 20 ms windows in dB, one each 5 ms."""
    energy = np.square(samples, dtype=np.float64).mean(axis=0)  # [S]
    sums = np.concatenate([[0.0], np.cumsum(energy)])
    starts = np.arange(0, len(energy) - WINDOW + 1, HOP)
    power = (sums[starts + WINDOW] - sums[starts]) / WINDOW
    return 10 * np.log10(np.maximum(power, 10 ** (FLOOR_DB / 10)))


def steps(level_db: np.ndarray) -> np.ndarray:
    """Absolute level difference between each window and the one that begins where it ends."""
    ratio = WINDOW // HOP
    return np.abs(level_db[ratio:] - level_db[:-ratio])


def measure(result: np.ndarray, source: np.ndarray, generated: np.ndarray, join: int, own: Own) -> Seam:
    """The join of ``source`` (before sample ``join``) to ``generated``. See ``measure_end`` for the other side."""
    around = slice(join - SURROUNDINGS, join + SURROUNDINGS)
    result, source, generated = (part[:, around] for part in (result, source, generated))
    near = slice(SURROUNDINGS // HOP - 8, SURROUNDINGS // HOP + 1)  # pairs that meet within 20 ms of the join
    found, *owned = (steps(levels(part))[near] for part in (result, source, generated))
    return Seam(
        step_db=float(found.max()),
        beyond_db=float(np.maximum(found - np.maximum(own.step_db, np.maximum(*owned)), 0).max()),
        level=_contrast(levels(source), levels(generated)) <= own.step_db,
        bulge_db=_bulge(levels(result), levels(source), levels(generated)),
        click=bend(result, SURROUNDINGS) / own.bend,
        own_click=bend(source, SURROUNDINGS, NEAR_SAMPLES) / own.bend,
    )


def measure_end(result: np.ndarray, source: np.ndarray, generated: np.ndarray, join: int, own: Own) -> Seam:
    """The join of ``generated`` (before sample ``join``) to ``source``: the same, backwards."""
    backwards = (part[:, ::-1] for part in (result, source, generated))
    return measure(*backwards, result.shape[1] - join, own)


def _contrast(source: np.ndarray, generated: np.ndarray) -> float:
    before, first = source[(SURROUNDINGS - WINDOW) // HOP], SURROUNDINGS // HOP
    return float(np.abs(generated[first : first + WINDOW // HOP + 1] - before).max())


def _bulge(result: np.ndarray, source: np.ndarray, generated: np.ndarray) -> float:
    """Of the windows that begin 0, 5 and 10 ms behind the join."""
    first, ratio = SURROUNDINGS // HOP, WINDOW // HOP
    worst = 0.0
    for at in range(first, first + 3):
        between = (source[first - ratio], generated[at], generated[at + 2 * ratio])
        worst = max(worst, result[at] - max(between), min(between) - result[at])
    return float(worst)


def bend(samples: np.ndarray, join: int, near: int = 0) -> float:
    """Largest of the second differences that need samples from both sides of a join, or are so ``near`` to it."""
    return float(np.abs(np.diff(samples[:, join - near - 2 : join + near + 2], 2)).max())


def imitation(si_sdr_db: float, cutoff_hz: float = 8_000) -> Kind:
    """A codec with an error of that size: no treble, and noise that follows the music's level."""

    def imitate(source: np.ndarray) -> np.ndarray:
        dull = band_limited(source, cutoff_hz)
        envelope = np.sqrt(np.convolve(np.square(source).mean(axis=0), np.ones(WINDOW) / WINDOW, "same"))
        noise = band_limited(np.random.default_rng(0).standard_normal(source.shape) * envelope, cutoff_hz)
        missing = power(source) / 10 ** (si_sdr_db / 10) - power(source - dull)
        return (dull + noise * np.sqrt(max(missing, 0.0) / power(noise))).astype(np.float32)

    return imitate


def shrunken(si_sdr_db: float) -> Kind:
    """An imitation at the gain that makes its error least, as a codec trained on that error does: it is too quiet."""
    return lambda source: imitation(si_sdr_db)(source) * np.float32(1 / (1 + 10 ** (-si_sdr_db / 10)))


def elsewhere(gain: float = 1.0) -> Kind:
    """Music that has nothing to do with the recording here, and begins as if cut: another part of it."""
    return lambda source: np.roll(source, source.shape[1] * 3 // 8, axis=1) * np.float32(gain)


def repainted(outer: np.ndarray, inner: np.ndarray, region: Region) -> np.ndarray:
    """What a repainting model hands over: one music outside, another inside, at equal power into it within 20 ms."""
    share = np.zeros(outer.shape[1])
    share[slice(*region)] = 1.0
    ramp = (np.arange(WINDOW) + 0.5) / WINDOW
    share[region[0] - WINDOW // 2 : region[0] + WINDOW // 2] = ramp
    share[region[1] - WINDOW // 2 : region[1] + WINDOW // 2] = ramp[::-1]
    angle = np.pi / 2 * share
    return (np.cos(angle) * outer + np.sin(angle) * inner).astype(np.float32)


def places(length: int, count: int, seconds: float = 1.0) -> list[Region]:
    """Regions of that length at random places (the same each time), far enough from the ends to be measured."""
    long = round(seconds * SAMPLE_RATE)
    starts = np.random.default_rng(5).integers(MARGIN, length - long - MARGIN, count)
    return [(int(start), int(start) + long) for start in starts]


def excerpts(
    source: np.ndarray, outer: np.ndarray, inner: np.ndarray, regions: list[Region]
) -> Iterator[tuple[np.ndarray, np.ndarray, Region]]:
    """Around every region: the recording, the generated music (``outer`` outside, ``inner`` inside), the region."""
    for start, end in regions:
        around, region = slice(start - MARGIN, end + MARGIN), (MARGIN, MARGIN + end - start)
        kept, imitation, new = (part[:, around] for part in (source, outer, inner))
        yield kept, imitation if inner is outer else repainted(imitation, new, region), region


def seams(source: np.ndarray, outer: np.ndarray, inner: np.ndarray, regions: list[Region], join: Join) -> list[Seam]:
    """Both joins of every region.

    Raises:
        AssertionError: a sample outside is not the recording's.
    """
    own, found = Own.of(source), []
    for kept, generated, region in excerpts(source, outer, inner, regions):
        result = join(kept, generated, region)
        assert outside_changes(result, kept, region) == 0
        found.append(measure(result, kept, generated, region[0], own))
        found.append(measure_end(result, kept, generated, region[1], own))
    return found


def outside_changes(result: np.ndarray, source: np.ndarray, region: Region) -> int:
    """How many samples outside the region are not the recording's."""
    before, after = slice(0, region[0]), slice(region[1], None)
    return sum(int((result[:, part] != source[:, part]).sum()) for part in (before, after))


def summary(found: list[Seam]) -> dict[str, float]:
    """Figures of many joins: the shares that keep both bars, and how bad the worst are."""
    step, beyond, level, bulge, click, own_click = np.array([astuple(seam) for seam in found]).T
    return {
        "joins": len(found),
        "steps_kept": float((beyond <= STEP_BAR_DB).mean()),
        "steps_kept_if_level": float(1 - ((beyond > STEP_BAR_DB) * level).sum() / max(level.sum(), 1)),
        "level": float(level.mean()),
        "clicks_kept": float((click <= np.maximum(own_click, 1.0)).mean()),
        "clicks_below_1": float((click <= 1.0).mean()),
        "step_db_p95": float(np.percentile(step, 95)),
        "beyond_db_max": float(beyond.max()),
        "bulge_db_mean": float(bulge.mean()),
        "bulge_db_p99": float(np.percentile(bulge, 99)),
        "click_median": float(np.median(click)),
        "click_max": float(click.max()),
    }


def band_limited(samples: np.ndarray, cutoff_hz: float) -> np.ndarray:
    """Without what lies above the cutoff (raised cosine, an octave wide on a linear scale)."""
    spectrum = np.fft.rfft(samples)
    frequency = np.fft.rfftfreq(samples.shape[1], 1 / SAMPLE_RATE)
    fall = np.clip((1.5 * cutoff_hz - frequency) / cutoff_hz, 0.0, 1.0)
    return np.fft.irfft(spectrum * np.sin(np.pi / 2 * fall) ** 2, samples.shape[1])


def power(samples: np.ndarray) -> float:
    """Mean square."""
    return float(np.square(samples, dtype=np.float64).mean())
