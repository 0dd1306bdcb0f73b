"""How audible the joins of a repainted song are: a real song, many places, several kinds of generated music.

``python -m benchmarks.seams FILE`` reads any audio file, puts generated music into it at ``--places`` random places
(regions of a second, two joins each) and prints one JSON line per kind, with ``acestep.editing.splice`` and, for
comparison, with a plain cut; then the same songs taken to 44.1 kHz. What the figures mean: ``tests/seam_meter.py``.

``steps_kept`` is the share of joins with no level step more than 1 dB beyond those of the music, ``..._if_level`` of
those that join levels no further apart than the recording's own (``level`` is their share); ``clicks_below_1`` has no
second difference beyond the recording's 99.9th percentile, ``clicks_kept`` none beyond that or its own within 1 ms. A
sample outside the regions that is not the recording's ends the program.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np

from acestep.audio.io import read_audio
from acestep.audio.resample import resample
from acestep.constants import SAMPLE_RATE
from acestep.editing.splice import resample_spliced, splice
from acestep.output.formats import CD_RATE

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import seam_meter as meter

OUTER: dict[str, meter.Kind] = {
    "imitation at 12 dB": meter.imitation(12.0),
    "imitation at 5 dB": meter.imitation(5.0),
    "imitation at 5 dB, too quiet": meter.shrunken(5.0),
    "other music": meter.elsewhere(),
    "other music, 20 dB louder": meter.elsewhere(10.0),
    "other music, 20 dB softer": meter.elsewhere(0.1),
    "silence": np.zeros_like,
}
STATISTICS = (("median", np.median), ("max", np.max), ("above_1", lambda found: np.mean(np.array(found) > 1)))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--places", type=int, default=200)
    arguments = parser.parse_args()
    source = read_audio(arguments.file, field="file").samples
    regions = meter.places(source.shape[1], arguments.places)
    own = meter.Own.of(source)
    report({"benchmark": "seams", "places": arguments.places}, {"step_db": own.step_db, "bend": own.bend})
    for name, outer in OUTER.items():
        generated = outer(source)
        compare(name, source, generated, generated, regions)
    compare("repainted", source, OUTER["imitation at 5 dB"](source), meter.elsewhere()(source), regions)


def compare(name: str, source: np.ndarray, outer: np.ndarray, inner: np.ndarray, regions: list[meter.Region]) -> None:
    """A line for each way to join, and one for the splice at another rate."""
    for join in (splice, cut):
        found = meter.seams(source, outer, inner, regions, join)
        report({"generated": name, "join": join.__name__}, meter.summary(found))
    report({"generated": name, "join": "at 44.1 kHz"}, clicks_at_cd_rate(source, outer, inner, regions))


def cut(source: np.ndarray, generated: np.ndarray, region: meter.Region) -> np.ndarray:
    """No join at all."""
    result = source.copy()
    result[:, slice(*region)] = generated[:, slice(*region)]
    return result


def clicks_at_cd_rate(
    source: np.ndarray, outer: np.ndarray, inner: np.ndarray, regions: list[meter.Region]
) -> dict[str, float]:
    """Second differences over the joins of songs taken to 44.1 kHz: repaints, and extensions (no source inside)."""
    own = np.percentile(np.abs(np.diff(resample(source, SAMPLE_RATE, CD_RATE), 2)), meter.CLICK_PERCENTILE)
    clicks: dict[str, list[float]] = {"repaint": [], "extension": []}
    for kept, generated, region in meter.excerpts(source, outer, inner, regions):
        silenced = kept.copy()
        silenced[:, slice(*region)] = 0.0
        spliced = splice(kept, generated, region)
        for name, recording in {"repaint": kept, "extension": silenced}.items():
            result, [borders] = resample_spliced(recording, spliced, [region], SAMPLE_RATE, CD_RATE)
            assert meter.outside_changes(result, resample(recording, SAMPLE_RATE, CD_RATE), borders) == 0
            clicks[name] += [meter.bend(result, border) / own for border in borders]
    return {f"{name}_click_{what}": float(of(found)) for name, found in clicks.items() for what, of in STATISTICS}


def report(about: dict[str, object], figures: dict[str, float]) -> None:
    """One line of JSON."""
    print(json.dumps(about | {name: round(value, 3) for name, value in figures.items()}), flush=True)


if __name__ == "__main__":
    main()
