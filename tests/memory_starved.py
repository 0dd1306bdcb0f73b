"""A process with little address space: a song too large for it, then one that fits. Prints one JSON line.

Run as a program by ``test_memory.py``, since a limit on address space cannot be taken back.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from pathlib import Path

import torch

from acestep.handler import AceStepHandler
from acestep.inference import GenerationConfig, GenerationParams, GenerationResult, generate_music

_PAGE = resource.getpagesize()


def pages(column: int) -> int:
    """Bytes of this process: 0 is all address space, 1 the resident set."""
    return int(Path("/proc/self/statm").read_text().split()[column]) * _PAGE


def play(handler: AceStepHandler, seconds: float, batch: int, folder: str | None = None) -> GenerationResult:
    """Songs of the embedded model from fixed seeds."""
    params = GenerationParams(caption="x", duration=seconds, inference_steps=2, thinking=False)
    config = GenerationConfig(batch_size=batch, use_random_seed=False, seeds=list(range(batch)))
    return generate_music(handler, None, params, config, folder)


def main(project: str, headroom: int, folder: str) -> None:
    """Starve, recover and report."""
    torch.set_num_threads(1)
    handler = AceStepHandler()
    handler.initialize_service(project, "tiny", "cpu")
    before = play(handler, 10, 1).audios[0]["tensor"]
    limit, resident = pages(0) + headroom, pages(1)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    failed = play(handler, 600, 8, folder)
    kept = pages(1) - resident
    after = play(handler, 10, 1)
    same = after.success and torch.equal(after.audios[0]["tensor"], before)
    facts = {"error": failed.error, "kind": type(failed.cause).__name__, "kept": kept, "same": same}
    print(json.dumps(facts | {"left": os.listdir(folder), "after": after.error}))  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
