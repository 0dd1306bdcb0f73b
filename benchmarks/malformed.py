"""How long the slowest of the malformed audio files keeps us, and whether each gets its sentence.

``python -m benchmarks.malformed`` prints one JSON line; ``--all`` prints a line per file before it.
The files are those of ``tests/malformed_audio.py``; the aim is under 2 s each.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1] / "tests"))  # no package: they are scripts beside one another

from acestep.audio.io import read_audio
from acestep.errors import AudioError

from malformed_audio import CASES, Malformed

AIM_S = 2.0


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--all", action="store_true", help="a line per file")
    arguments = parser.parse_args()
    rows = []
    for row in measured():
        rows.append(row)
        if arguments.all:
            print(json.dumps(row))
    slowest = max(rows, key=lambda row: row["wall_s"])
    figures = {
        "benchmark": "malformed",
        "files": len(rows),
        "refused_as_expected": sum(row["as_expected"] for row in rows),
        f"within_{AIM_S:g}_s": sum(row["wall_s"] < AIM_S for row in rows),
        "slowest": slowest["name"],
        "slowest_wall_s": slowest["wall_s"],
        "most_cpu_s": max(row["cpu_s"] for row in rows),
        "total_wall_s": round(sum(row["wall_s"] for row in rows), 2),
    }
    print(json.dumps(figures))


def measured() -> Iterator[dict[str, Any]]:
    """One row per file; making it is not counted."""
    for case in CASES:
        with tempfile.TemporaryDirectory() as folder:
            yield _attempt(case, case.make(Path(folder)))


def _attempt(case: Malformed, path: Path | str) -> dict[str, Any]:
    said, wall, cpu = "it was read", time.perf_counter(), _cpu_s()
    try:
        read_audio(path, field="src_audio", require_sound=True)
    except AudioError as error:
        said = str(error)
    return {
        "name": case.name,
        "as_expected": case.reason in said,
        "wall_s": round(time.perf_counter() - wall, 3),
        "cpu_s": round(_cpu_s() - cpu, 3),
        "said": said,
    }


def _cpu_s() -> float:
    """Of this process and its children that have ended."""
    return sum(os.times()[:4])


if __name__ == "__main__":
    main()
