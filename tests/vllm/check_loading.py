"""Loading a planner into vLLM: both spellings of its tensors, what is refused, what is left as it was."""

from __future__ import annotations

import gc
import json
import shutil
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import vllm.platforms
from vllm_support import CPU, FP32, GUIDED, asks_of_every_kind, guided_codes, write_lively_planner

from acestep.errors import DeviceError, DeviceMemoryError, NotLoadedError, UnsupportedError, WeightsError
from acestep.planner.answers import codes_grammar, planning_grammar
from acestep.planner.backends.pt import PtBackend, load_pt
from acestep.planner.backends.vllm import VllmBackend, load_vllm
from acestep.planner.backends.vllm_engine import start_engine
from acestep.planner.chain import read_chain

from planner_support import TINY_LM, question


@pytest.fixture
def tiny() -> Iterator[VllmBackend]:
    running = load_vllm(TINY_LM, CPU, FP32)
    yield running
    running.close()


def test_the_tiny_planner_answers_like_the_reference(tiny: VllmBackend) -> None:
    theirs = load_pt(TINY_LM, CPU, FP32)
    assert tiny.complete(asks_of_every_kind()) == theirs.complete(asks_of_every_kind())


def test_one_runs_at_a_time_and_the_next_after_it_is_closed(
    tiny: VllmBackend, tmp_path: Path, reference: PtBackend
) -> None:
    prefixed = write_lively_planner(tmp_path / "planner", "model.")
    with pytest.raises(UnsupportedError, match="one language model at a time in a process; close the running one"):
        load_vllm(prefixed, CPU, FP32)
    tiny.close()
    for refused in (lambda: tiny.complete(guided_codes(1)), lambda: tiny.score([(1,)], [(2,)])):
        with pytest.raises(NotLoadedError, match="closed"):
            refused()
    second = load_vllm(prefixed, "cpu", FP32, context=500)
    tiny.close()  # again, which is of no effect on the other
    assert (second.name, second.context, second.limits.rows) == ("vllm", 500, 16)
    assert second.complete(guided_codes(1)) == reference.complete(guided_codes(1))
    second.close()


def test_an_engine_goes_with_its_backend() -> None:
    backend = load_vllm(TINY_LM, CPU, FP32)
    gone = weakref.ref(backend.desk)
    del backend
    gc.collect()
    assert gone() is None
    load_vllm(TINY_LM, CPU, FP32).close()


def test_a_start_that_fails_is_no_running_engine(lively: Path) -> None:
    with pytest.raises(ValueError, match="No available memory for the cache"):
        start_engine(lively, CPU, FP32, 512, 0.4, kv_cache_memory_bytes=1)
    load_vllm(lively, CPU, FP32).close()


def test_half_precision_stays_inside_the_grammar() -> None:
    half = load_vllm(TINY_LM, CPU, torch.bfloat16)
    codes, plan = half.complete(
        [
            question(grammar=codes_grammar(2.0, 50), negative="NO", sampling=GUIDED),
            question(grammar=planning_grammar(caption_pieces=12)),
        ]
    )
    assert [half.vocabulary.code_of(token) in range(50) for token in codes.tokens] == [True] * 10 + [False]
    assert plan.finished and read_chain(half.vocabulary.spell(plan.tokens)).problems == ()
    half.close()


def test_the_process_keeps_its_threads(tiny: VllmBackend) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(before + 1)
    assert torch.get_num_threads() == before + 1
    torch.set_num_threads(before)


def test_without_vllm_the_refusal_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, lively: Path) -> None:
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(UnsupportedError, match=r"needs vLLM; install it with `pip install 'acestep-cog\[gpu\]'`"):
        load_vllm(lively, CPU, FP32)


def test_a_folder_called_vllm_is_not_taken_for_it(
    monkeypatch: pytest.MonkeyPatch, lively: Path, tmp_path: Path
) -> None:
    (tmp_path / "vllm").mkdir()
    for name in [name for name in sys.modules if name.partition(".")[0] == "vllm"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    with pytest.raises(UnsupportedError, match="needs vLLM"):
        load_vllm(lively, CPU, FP32)


def test_another_device_than_vllms_is_refused(monkeypatch: pytest.MonkeyPatch, lively: Path) -> None:
    monkeypatch.setattr(vllm.platforms, "current_platform", SimpleNamespace(device_type="cuda"))
    with pytest.raises(UnsupportedError, match="computes on 'cuda', device is 'cpu'"):
        load_vllm(lively, CPU, FP32)


def test_a_gpu_that_is_not_there_is_refused(lively: Path) -> None:
    with pytest.raises(DeviceError, match="no CUDA device is available"):
        load_vllm(lively, "cuda", FP32)


def test_too_small_a_share_is_refused_with_what_it_would_take(lively: Path) -> None:
    with pytest.raises(DeviceMemoryError, match=r"vLLM may use 0\.0 of .* two contexts of 2048 tokens take"):
        load_vllm(lively, CPU, FP32, memory_share=1e-6)


@pytest.mark.parametrize("file", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_folder_without_one_of_its_files_is_refused(tmp_path: Path, lively: Path, file: str) -> None:
    shutil.copytree(lively, tmp_path / "planner")
    (tmp_path / "planner" / file).unlink()
    with pytest.raises(WeightsError, match=file.replace(".", r"\.")):
        load_vllm(tmp_path / "planner", CPU, FP32)


def test_tensors_that_do_not_fit_are_refused(tmp_path: Path, lively: Path) -> None:
    shutil.copytree(lively, tmp_path / "planner")
    path = tmp_path / "planner" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"num_hidden_layers": 3}))
    with pytest.raises(WeightsError, match=r"missing: layers\.2"):
        load_vllm(tmp_path / "planner", CPU, FP32)
