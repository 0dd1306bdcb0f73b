"""What the checks of the vLLM backend are given: a reference, and one engine per file, since one runs at a time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from vllm_support import CPU, FP32, write_lively_planner

from acestep.planner.backends.pt import PtBackend, load_pt
from acestep.planner.backends.vllm import VllmBackend, load_vllm
from acestep.planner.backends.vllm_engine import start_engine


@pytest.fixture(scope="session")
def lively(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A planner whose logits are far apart."""
    return write_lively_planner(tmp_path_factory.mktemp("planners") / "lively")


@pytest.fixture(scope="session")
def reference(lively: Path) -> PtBackend:
    return load_pt(lively, CPU, FP32)


@pytest.fixture(scope="module")
def backend(lively: Path) -> Iterator[VllmBackend]:
    running = load_vllm(lively, CPU, FP32)
    yield running
    running.close()


@pytest.fixture(scope="module")
def narrow(lively: Path) -> Iterator[VllmBackend]:
    """Four requests, 514 tokens of prompts and 19 blocks of 32 tokens at once."""
    small = {"max_num_seqs": 4, "block_size": 32, "num_gpu_blocks_override": 20}
    running = VllmBackend(*start_engine(lively, CPU, FP32, 256, 0.4, **small))
    yield running
    running.close()
