"""Setting up a published planner: seconds until it is loaded, and until its first codes are written.

``python -m benchmarks.planner_setup --lm acestep-5Hz-lm-0.6B --dtype bfloat16`` writes a sparse checkpoint with a
made-up vocabulary, both of full size, and in a fresh process loads it by ``LLMHandler`` and plans ten seconds. It
prints one JSON line; ``peak`` is the resident memory of the process over the size of the weights.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
DTYPES = ("bfloat16", "float32")
CODEBOOK = 64_000
_PUBLISH = (
    "import sys; from pathlib import Path; import published_shapes, published_support, vocabulary_support; "
    "folder, size = Path(sys.argv[1]), published_shapes.LANGUAGE_MODELS[sys.argv[2]]; "
    "published_support.publish_qwen(folder, size); "
    "vocabulary_support.write_tokenizer(folder, vocabulary_support.made_up_json())"
)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lm", default="acestep-5Hz-lm-0.6B")
    parser.add_argument("--dtype", choices=DTYPES, default="bfloat16")
    parser.add_argument("--weights", type=Path, metavar="DIR", help=argparse.SUPPRESS)  # the fresh process
    arguments = parser.parse_args()
    if arguments.weights is not None:
        print(json.dumps(measure(arguments.weights, arguments.lm, arguments.dtype)))
        return
    with tempfile.TemporaryDirectory() as root:
        folder = str(Path(root, arguments.lm))
        subprocess.run(
            [sys.executable, "-c", _PUBLISH, folder, arguments.lm], cwd=PROJECT / "tests", env=_env(), check=True
        )
        again = [sys.executable, "-m", "benchmarks.planner_setup", "--weights", root]
        subprocess.run(
            [*again, "--lm", arguments.lm, "--dtype", arguments.dtype], cwd=PROJECT, env=_env(), check=True
        )


def measure(weights: Path, name: str, dtype: str) -> dict[str, object]:
    """Load, plan, and what it took."""
    from acestep.checkpoints.registry import DEFAULT_MODEL
    from acestep.llm_inference import LLMHandler
    from acestep.params import GenerationConfig, GenerationParams
    from acestep.request import Request

    start = time.perf_counter()
    handler = LLMHandler()
    handler.initialize(weights, name, device="cpu", dtype=dtype)
    loaded = time.perf_counter()
    params = GenerationParams(caption="x", duration=10, bpm=90, keyscale="A minor", timesignature="4", seed=1)
    params.use_cot_caption = params.use_cot_language = False
    request = Request.from_params(params, GenerationConfig(batch_size=1), DEFAULT_MODEL)
    with handler.planner() as planner:
        planner.plan(request.sheet, request.order, request.seeds, CODEBOOK)
    done = time.perf_counter()
    size = sum(path.stat().st_size for path in (weights / name).glob("*.safetensors"))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    seconds = {"load_s": round(loaded - start, 2), "first_plan_s": round(done - loaded, 2)}
    return {"benchmark": "planner_setup", "lm": name, "dtype": dtype} | seconds | {"peak": round(peak / size, 2)}


def _env() -> dict[str, str]:
    import os

    return {**os.environ, "PYTHONPATH": f"{PROJECT}:{PROJECT / 'tests'}"}


if __name__ == "__main__":
    main()
