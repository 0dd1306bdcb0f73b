"""Loading the published v1 model: seconds, and peak memory over the size of the weights, measured in a fresh process.

``python -m benchmarks.load_v1 --dtype bfloat16`` writes sparse files of full size, loads all networks, reads every
weight once so that mapped ones count too, and prints one JSON line. ``--weights DIR`` loads a real weights folder.
``peak`` is all resident memory, libraries and pages of mapped files included; ``anonymous`` leaves those pages out,
which the system takes back whenever it needs them. ``never_read`` are bytes that stay in the transformer's file.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.load import DTYPES, PROJECT, Highest, memory

_PUBLISH = "import sys; from pathlib import Path; import v1_load_support; v1_load_support.publish(Path(sys.argv[1]))"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dtype", choices=DTYPES, default="bfloat16", help="of transformer and tag encoder")
    parser.add_argument("--codec-dtype", choices=DTYPES, default="float32")
    parser.add_argument("--weights", type=Path, metavar="DIR", help="weights folder; default: a sparse one")
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)  # the fresh process
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measure(arguments.weights, arguments.dtype, arguments.codec_dtype)))
        return
    with tempfile.TemporaryDirectory() as folder:
        if arguments.weights is None:
            paths = {**os.environ, "PYTHONPATH": str(PROJECT)}
            subprocess.run([sys.executable, "-c", _PUBLISH, folder], cwd=PROJECT / "tests", env=paths, check=True)
        run = [sys.executable, "-m", "benchmarks.load_v1", "--measure", "--dtype", arguments.dtype]
        run += ["--codec-dtype", arguments.codec_dtype, "--weights", str(arguments.weights or folder)]
        figures = json.loads(subprocess.run(run, cwd=PROJECT, check=True, stdout=subprocess.PIPE).stdout)
    print(json.dumps({"benchmark": "load_v1", "weights_folder": str(arguments.weights or "sparse"), **figures}))


def measure(root: Path, dtype: str, codec_dtype: str) -> dict[str, object]:
    """Load the family in this process, which should have done nothing before."""
    import torch
    from diffusers import AutoencoderDC  # noqa: F401 - a library, not a weight

    from acestep.checkpoints.registry import MODELS
    from acestep.checkpoints.rows import FIRST
    from acestep.devices import Placement, weight_bytes
    from acestep.v1.family import load_v1_family

    spec = next(row for row in MODELS.values() if row.variant.generation is FIRST and not row.embedded)
    placement = Placement(torch.device("cpu"), getattr(torch, dtype), "measured")
    libraries, stages = memory("VmRSS"), {}
    anonymous = Highest("RssAnon")
    with anonymous:
        start = time.perf_counter()
        family = load_v1_family(
            spec,
            root,
            placement,
            lambda role, seconds, size: stages.update({role: {"seconds": round(seconds, 2), "bytes": size}}),
            codec_dtype=getattr(torch, codec_dtype),
        )
        seconds, loaded = time.perf_counter() - start, memory("VmHWM")
        for network in family.networks.values():
            for parameter in network.parameters():
                parameter.max()
    weights = sum(map(weight_bytes, family.networks.values()))
    (file,) = (root / spec.folder).glob("*.safetensors")
    return {
        "dtype": dtype,
        "codec_dtype": codec_dtype,
        "seconds": round(seconds, 2),
        "seconds_with_first_read": round(time.perf_counter() - start, 2),
        "processor_seconds": round(time.process_time(), 2),
        "networks": stages,
        "parameters_of_transformer": sum(parameter.numel() for parameter in family.transformer.parameters()),
        "never_read": file.stat().st_size - stages["transformer"]["bytes"],
        "weights": weights,
        "libraries": libraries,
        "peak_when_loaded": loaded,
        "peak": (peak := memory("VmHWM")),
        "anonymous": anonymous.bytes,
        "ratio_without_libraries": round((peak - libraries) / weights, 3),
        "ratio_anonymous": round(anonymous.bytes / weights, 3),
    }


if __name__ == "__main__":
    main()
