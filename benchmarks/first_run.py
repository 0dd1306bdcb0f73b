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
        start = time.perf_counter()
        run = subprocess.run(COMMAND, cwd=clone, capture_output=True, text=True, check=True)
        whole = time.perf_counter() - start
        size = (clone / "output.wav").stat().st_size
    install = float(re.search(r"installed in (\d+) s", run.stderr)[1])
    setup = sum(map(float, re.findall(r"setup: .*? (\d+\.\d+) s", run.stdout + run.stderr)))
    figures = {
        "benchmark": "first_run",
        "clone_to_file_s": round(whole, 1),
        "install_s": install,
        "setup_s": round(setup, 1),
        "start_and_predict_s": round(whole - install - setup, 1),
        "output_bytes": size,
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
