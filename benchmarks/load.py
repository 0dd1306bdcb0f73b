"""Loading published weights: seconds, and peak memory over the size of the weights, each measure in a fresh process.

``python -m benchmarks.load --size 2B --dtype bfloat16`` writes a sparse checkpoint of full size, loads it, reads
every weight once so that mapped ones count too, and prints one JSON line. ``--weights DIR`` loads a real folder.
``peak`` is all resident memory of the process, libraries and pages of mapped files included; ``anonymous`` leaves
those pages out, which the system takes back whenever it needs them.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
DTYPES = ("bfloat16", "float32")
_SAMPLE_S = 0.005
_PUBLISH = (
    "import sys; from pathlib import Path; import published_shapes, published_support; "
    "published_support.publish_transformer(Path(sys.argv[1]), getattr(published_shapes, sys.argv[2]))"
)
_SIZES = {"2B": "TWO_B", "XL": "XL"}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=_SIZES, default="2B")
    parser.add_argument("--dtype", choices=DTYPES, default="bfloat16")
    parser.add_argument("--weights", type=Path, metavar="DIR", help="folder of a transformer; default: a sparse one")
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)  # the fresh process
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measure(arguments.weights, arguments.dtype)))
        return
    with tempfile.TemporaryDirectory() as folder:
        if arguments.weights is None:
            command = [sys.executable, "-c", _PUBLISH, folder, _SIZES[arguments.size]]
            subprocess.run(command, cwd=PROJECT / "tests", check=True)
        run = [sys.executable, "-m", "benchmarks.load", "--measure", "--dtype", arguments.dtype]
        run += ["--weights", str(arguments.weights or folder)]
        figures = json.loads(subprocess.run(run, cwd=PROJECT, check=True, capture_output=True).stdout)
    print(json.dumps({"benchmark": "load", "model": str(arguments.weights or arguments.size), **figures}))


def measure(folder: Path, dtype: str) -> dict[str, object]:
    """Load one transformer in this process, which should have done nothing before."""
    import torch

    from acestep.checkpoints.load import load_strict, read_json
    from acestep.checkpoints.tensors import weight_files
    from acestep.models.acestep_model import AceStepModel
    from acestep.models.config import AceStepConfig

    libraries = memory("VmRSS")
    anonymous = Highest("RssAnon")
    with anonymous:
        start = time.perf_counter()
        with torch.device("meta"):
            network = AceStepModel(AceStepConfig.from_dict(read_json(folder / "config.json")))
        load_strict(network, weight_files(folder, "model"), getattr(torch, dtype))
        seconds = time.perf_counter() - start
        for parameter in network.parameters():
            parameter.view(torch.uint8).max()
    peak = memory("VmHWM")
    weights = sum(parameter.nbytes for parameter in network.parameters())
    return {
        "dtype": dtype,
        "seconds": round(seconds, 2),
        "seconds_with_first_read": round(time.perf_counter() - start, 2),
        "weights": weights,
        "peak": peak,
        "libraries": libraries,
        "anonymous": anonymous.bytes,
        "ratio": round(peak / weights, 3),
        "ratio_without_libraries": round((peak - libraries) / weights, 3),
        "ratio_anonymous": round(anonymous.bytes / weights, 3),
    }


class Highest:
    """The most that ``field`` of this process reaches during a block; sampled, as the kernel keeps no such mark."""

    def __init__(self, field: str) -> None:
        self.bytes = 0
        self._field = field
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(_SAMPLE_S):
            self.bytes = max(self.bytes, memory(self._field))


def memory(field: str) -> int:
    """Bytes that Linux counts for this process under ``field``."""
    return int(re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024


if __name__ == "__main__":
    main()
