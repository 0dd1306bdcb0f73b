"""From a fresh clone to the first song file: seconds to install, to set up, to predict.

``python -m benchmarks.first_run`` clones the last commit of this repository into a temporary folder, runs the first
command of the README there and prints one JSON line.
"""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
import time
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
COMMAND = ["./script/predict", "-i", "prompt=warm lo-fi piano with soft drums", "-i", "audio_duration=20"]


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder, "clone")
        subprocess.run(["git", "clone", "--quiet", str(PROJECT), str(clone)], check=True)
        first, installed = timed(clone)
        second, _ = timed(clone)
        size = (clone / "output.wav").stat().st_size
    figures = {
        "benchmark": "first_run",
        "clone_to_file_s": round(first, 1),
        "install_s": installed,
        "start_setup_predict_s": round(second, 1),
        "output_bytes": size,
    }
    print(json.dumps(figures))


def timed(clone: Path) -> tuple[float, int]:
    """Seconds of one run of the command, and the seconds of it that went into installing."""
    start = time.perf_counter()
    run = subprocess.run(COMMAND, cwd=clone, capture_output=True, text=True, check=True)
    seconds = time.perf_counter() - start
    told = re.search(r"installed in (\d+) s", run.stderr)
    return seconds, int(told[1]) if told else 0


if __name__ == "__main__":
    main()
