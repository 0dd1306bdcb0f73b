"""A planner's vocabulary from its file to the first mask: seconds of a processor, peak memory.

``python -m benchmarks.tokenizer`` makes up a ``tokenizer.json`` of published size (151,643 text tokens, 26 control
tokens, 65,535 codes; 24 MB), loads it in this process, sorts it for the grammar, tokenises a prompt and prints one
JSON line. ``--weights DIR`` loads the vocabulary in the folder of a planner. ``stock_s`` is what the ``tokenizers``
library takes to read the same file, all names learnt, before anything of it is turned into bytes.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

PROJECT = Path(__file__).resolve().parents[1]
_PUBLISH = (
    "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[2]); import vocabulary_support as v; "
    "v.write_tokenizer(Path(sys.argv[1]), v.made_up_json())"
)
_LYRICS = "[Verse 1]\nLights are low and the river is slow\n" * 50
Result = TypeVar("Result")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path, metavar="DIR", help="folder of a planner; default: a made-up one")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if arguments.weights is None:
            subprocess.run([sys.executable, "-c", _PUBLISH, folder, str(PROJECT)], cwd=PROJECT / "tests", check=True)
        figures = measure(arguments.weights or Path(folder))
    print(json.dumps({"benchmark": "tokenizer", **figures}))


def measure(folder: Path) -> dict[str, object]:
    """Load, sort, tokenise; then the same file with the library alone."""
    from tokenizers import Tokenizer

    from acestep.planner.prompts import planning_prompt
    from acestep.planner.token_mask import TokenMask
    from acestep.planner.vocabulary import Vocabulary

    before = peak()
    load_s, vocabulary = timed(lambda: Vocabulary.load(folder))
    mask_s, _ = timed(lambda: TokenMask(vocabulary.pieces))
    prompt_s, prompt = timed(lambda: planning_prompt(vocabulary, "a slow song", _LYRICS))
    memory = peak() - before
    stock_s, _ = timed(lambda: Tokenizer.from_file(str(folder / "tokenizer.json")))
    return {
        "tokens": vocabulary.size,
        "load_s": round(load_s, 3),
        "mask_s": round(mask_s, 3),
        "prompt_tokens": len(prompt),
        "prompt_ms": round(prompt_s * 1e3, 2),
        "stock_s": round(stock_s, 3),
        "peak_mb": round(memory / 1e6),
    }


def timed(work: Callable[[], Result]) -> tuple[float, Result]:
    """Seconds of all threads of this process, and the result."""
    start = time.process_time()
    result = work()
    return time.process_time() - start, result


def peak() -> int:
    """The most memory this process ever had, in bytes; Linux counts it in KiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main()
