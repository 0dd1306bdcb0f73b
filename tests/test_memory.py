"""What happens when memory runs out, and what a run says about the memory it took."""

from __future__ import annotations

import errno
import json
import logging
import os
import subprocess
import sys
import weakref
from collections.abc import Callable, Iterator
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
import torch

from acestep.checkpoints.registry import MODELS
from acestep.cogrun.schema import PROJECT
from acestep.errors import DeviceMemoryError
from acestep.handler import AceStepHandler
from acestep.inference import (
    GenerationConfig,
    GenerationParams,
    GenerationResult,
    generate_music,
    warm_up,
    what_needs_less,
)
from acestep.memory import RESIDENT, RESIDENT_EVER, Peak, PeakMeter, is_out_of_memory, out_of_memory_explained
from acestep.request import Request

ABSURD = 1 << 46  # elements; more bytes than a process can address
MB = 1 << 20
CPU = torch.device("cpu")
STAGES = ["encoder", "diffusion", "vae_decode"]


@pytest.mark.parametrize(
    ("error", "full"),
    [
        (MemoryError(), True),
        (torch.cuda.OutOfMemoryError("CUDA out of memory."), True),
        (RuntimeError("CUDA error: out of memory"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), True),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), True),
        (OSError(errno.ENOSPC, "No space left on device"), False),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), False),
        (ValueError("DefaultCPUAllocator: "), False),
    ],
)
def test_every_wording_of_no_memory_is_known(error: BaseException, full: bool) -> None:
    assert is_out_of_memory(error) is full


def fresh() -> AceStepHandler:
    handler = AceStepHandler()
    handler.initialize_service(str(PROJECT), "tiny", "cpu")
    return handler


def config(batch: int) -> GenerationConfig:
    return GenerationConfig(batch_size=batch, use_random_seed=False, seeds=list(range(batch)))


def params(seconds: float = 10, **fields: object) -> GenerationParams:
    return GenerationParams(
        **{"caption": "x", "duration": seconds, "inference_steps": 2, "thinking": False, **fields}
    )


def play(handler: AceStepHandler, seconds: float = 10, batch: int = 1) -> GenerationResult:
    return generate_music(handler, None, params(seconds), config(batch))


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize(
    "exhaust",
    [lambda: torch.empty(ABSURD), lambda: np.empty(ABSURD), lambda: bytearray(ABSURD)],
    ids=["torch", "numpy", "python"],
)
def test_every_allocator_that_finds_no_memory_is_understood(exhaust: Callable[[], object]) -> None:
    alive: list[weakref.ref] = []

    def work() -> None:
        held = torch.zeros(1000)
        alive.append(weakref.ref(held))
        exhaust()

    with (
        pytest.raises(DeviceMemoryError) as caught,
        out_of_memory_explained("testing", lambda: ["one", "two", "three"]),
    ):
        work()
    assert str(caught.value) == "Memory ran out while testing; try one, two or three."
    assert is_out_of_memory(caught.value.__cause__)
    assert alive[0]() is None  # though the error, and so its traceback, is still here


@pytest.mark.parametrize(
    ("ways", "sentence"),
    [
        (["one"], "Memory ran out while testing; try one."),
        (["one", "two"], "Memory ran out while testing; try one or two."),
        (
            [],
            "Memory ran out while testing; nothing smaller can be asked for, so other programs must give memory back "
            "or the machine be a larger one.",
        ),
    ],
)
def test_the_advice_is_one_sentence(ways: list[str], sentence: str) -> None:
    with pytest.raises(DeviceMemoryError) as caught, out_of_memory_explained("testing", lambda: ways):
        raise MemoryError
    assert str(caught.value) == sentence


@pytest.mark.parametrize("error", [RuntimeError("shapes do not match"), ValueError("no"), KeyboardInterrupt()])
def test_other_errors_are_left_alone(error: BaseException) -> None:
    with pytest.raises(type(error)) as caught, out_of_memory_explained("testing", lambda: ["nothing"]):
        raise error
    assert caught.value is error


def ways(model: str, seconds: float, batch: int, can_offload: bool, **fields: object) -> list[str]:
    request = Request.from_params(params(seconds, **fields), config(batch), MODELS[model])
    return what_needs_less(request, [request.plan(64_000)] * batch, MODELS[model], can_offload=can_offload)


CODES = "".join(f"<|audio_code_{index}|>" for index in range(100))


@pytest.mark.parametrize(
    ("asked", "advised"),
    [
        (("tiny", 10, 1, False), []),
        (("tiny", 60, 1, False), ["a duration below 60 s"]),
        (("tiny", 10, 4, False), ["a batch_size below 4"]),
        (("acestep-v15-turbo", 10, 1, True), ["offload_to_cpu=True"]),
        (("acestep-v15-turbo", 10, 1, False), []),
        (("acestep-v15-xl-sft", 10, 1, False), ["the smaller model acestep-v15-sft"]),
        (
            ("acestep-v15-xl-turbo", 600, 8, True),
            [
                "a batch_size below 8",
                "a duration below 600 s",
                "offload_to_cpu=True",
                "the smaller model acestep-v15-turbo",
            ],
        ),
    ],
    ids=str,
)
def test_only_advice_that_applies_is_given(asked: tuple[str, float, int, bool], advised: list[str]) -> None:
    assert ways(*asked) == advised


def test_a_song_of_codes_is_made_shorter_by_fewer_codes() -> None:
    assert ways("tiny", -1, 1, False, audio_codes=CODES) == ["fewer audio_codes"]


@pytest.fixture
def exhausted(request: pytest.FixtureRequest) -> Iterator[AceStepHandler]:
    """A handler one network of which asks for an absurd amount of memory the first time it computes."""
    handler = fresh()
    network = handler.renderer.family.networks[request.param]

    def exhaust(*_: object) -> None:
        for hook in hooks:
            hook.remove()
        torch.empty(ABSURD)

    hooks = [part.register_forward_pre_hook(exhaust) for part in network.modules()]
    yield handler
    for hook in hooks:
        hook.remove()


@pytest.fixture(scope="module")
def unharmed() -> torch.Tensor:
    """The song of a handler that never ran out of memory."""
    return play(fresh()).audios[0]["tensor"]


@pytest.mark.parametrize("exhausted", ["text_encoder", "dit", "vae"], indirect=True)
def test_wherever_memory_runs_out_the_next_song_plays(
    exhausted: AceStepHandler, unharmed: torch.Tensor, tmp_path: Path
) -> None:
    folder = tmp_path / "made for the call"
    result = generate_music(exhausted, None, params(20), config(3), folder)
    assert result.error == (
        "Memory ran out while making 3 songs of 20 s with tiny; try a batch_size below 3 or a duration below 20 s."
    )
    assert isinstance(result.cause, DeviceMemoryError)
    assert not folder.exists()
    assert not exhausted.renderer.busy
    assert torch.equal(play(exhausted).audios[0]["tensor"], unharmed)


@pytest.mark.parametrize("exhausted", ["vae"], indirect=True)
def test_memory_that_runs_out_while_warming_up_is_explained(exhausted: AceStepHandler) -> None:
    with pytest.raises(DeviceMemoryError, match="Memory ran out while warming up tiny; nothing smaller can be asked"):
        warm_up(exhausted)
    assert warm_up(exhausted) > 0


def test_a_host_without_memory_says_what_would_fit_and_recovers(tmp_path: Path) -> None:
    command = [sys.executable, str(Path(__file__).with_name("memory_starved.py")), PROJECT, str(400 * MB), tmp_path]
    environment = os.environ | {"PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1"}
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 0, run.stderr
    facts = json.loads(run.stdout)
    assert facts["error"] == (
        "Memory ran out while making 8 songs of 600 s with tiny; try a batch_size below 8 or a duration below 600 s."
    )
    assert facts["kind"] == "DeviceMemoryError"
    assert facts["kept"] < 30 * MB
    assert facts["left"] == []
    assert facts["same"], facts["after"]


def growth_of_switching() -> int:
    """Bytes that ten switches between two models leave behind, once four have filled what is kept for good."""
    handler = AceStepHandler()
    handler.initialize_service(str(PROJECT), "tiny", "cpu", weights_bytes=0)

    def switch(times: int) -> None:
        for name in ("tiny-base", "tiny") * (times // 2):
            handler.use(MODELS[name], "for the test")
            play(handler).check()
            assert handler.loaded == [name]

    switch(4)
    before = resident()
    switch(10)
    return resident() - before


def test_switching_models_ten_times_takes_no_memory() -> None:
    with get_context("spawn").Pool(1) as alone:  # what other tests left free in this process must not hide growth
        assert alone.apply(growth_of_switching) < 8 * MB


def test_the_meter_sees_what_a_stage_held_and_forgets_it_after() -> None:
    meter = PeakMeter(CPU)
    for stage, size in (("small", MB), ("large", 256 * MB), ("small again", MB)):
        with meter.measure(stage):
            torch.ones(size // 4)
    peak = meter.peak
    small, large, again = peak.stages.values()
    assert large - small > 240 * MB
    assert peak.highest == max(large, again)
    assert peak.measure in {RESIDENT, RESIDENT_EVER}
    assert (large - again > 240 * MB) == (peak.measure == RESIDENT)


def test_a_stage_that_runs_twice_shows_its_highest() -> None:
    meter = PeakMeter(CPU)
    for size in (256 * MB, MB):
        with meter.measure("stage"):
            torch.ones(size // 4)
    with meter.measure("other"):
        pass
    assert meter.peak.stages["stage"] - meter.peak.stages["other"] > 240 * MB or meter.peak.measure == RESIDENT_EVER


def test_a_run_says_what_it_took(tiny: AceStepHandler, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="acestep"):
        facts = play(tiny).extra_outputs["peak_memory"]
    assert json.loads(json.dumps(facts)) == facts
    assert list(facts["stages"]) == STAGES
    assert facts["bytes"] == max(facts["stages"].values()) > 50 * MB
    [line] = [message for message in caplog.messages if message.startswith("Peak memory ")]
    assert line.endswith(f"{facts['stages']['vae_decode'] / 1e9:.2f})")


def test_nothing_measured_is_nothing_held() -> None:
    assert Peak(RESIDENT, {}).highest == 0
