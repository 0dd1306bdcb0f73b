"""How a server's models compute: wishes become a ``Machine``, and the engine loads again only when it must."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from acestep.checkpoints.registry import EMBEDDED_LANGUAGE_MODEL, MODELS
from acestep.cogrun.schema import PROJECT
from acestep.devices import CPU, CUDA, DeviceFacts
from acestep.errors import CancelledError, InputError
from acestep.server.checkpoints import Checkpoints
from acestep.server.counter import Counter, machine_of
from acestep.server.engine import Cast, Engine, Machine
from acestep.server.fields import Own
from acestep.server.outputs import OutputFolder
from acestep.server.uploads import Inbox, Uploads
from acestep.tasks import DEFAULT_TASK, TASKS

GB = 1_000_000_000
AMPERE = DeviceFacts(CUDA, "A100", 40 * GB, 39 * GB, (8, 0))
TURING = DeviceFacts(CUDA, "T4", 16 * GB, 15 * GB, (7, 5))
HOST = DeviceFacts(CPU, "no CUDA device", 16 * GB, 8 * GB)


@pytest.mark.parametrize(
    ("facts", "own", "machine", "idle"),
    [
        (AMPERE, Own(), Machine(), []),
        (AMPERE, Own(bf16=True), Machine(), []),
        (AMPERE, Own(bf16=False), Machine("float32"), []),
        (AMPERE, Own(cpu_offload=True), Machine(offload=True), []),
        (AMPERE, Own(torch_compile=True), Machine(), ["torch_compile"]),
        (TURING, Own(bf16=True), Machine(), ["bf16"]),
        (TURING, Own(bf16=False), Machine(), []),
        (HOST, Own(bf16=True, cpu_offload=True), Machine(), ["bf16", "cpu_offload"]),
        (HOST, Own(overlapped_decode=True), Machine(), ["overlapped_decode"]),
    ],
)
def test_wishes_become_what_the_device_can(facts: DeviceFacts, own: Own, machine: Machine, idle: list[str]) -> None:
    found, remarks = machine_of(own, facts)
    assert found == machine
    assert [remark.partition(" ")[0] for remark in remarks] == idle
    assert all("has no effect" in remark for remark in remarks)


@pytest.mark.parametrize("number", [-1, 1])
def test_there_is_one_device(number: int) -> None:
    with pytest.raises(InputError, match=f"device_id must be 0, not {number}"):
        machine_of(Own(device_id=number), AMPERE)


def counter(facts: DeviceFacts, folder: Path) -> Counter:
    inbox = Inbox(Uploads(folder, 1, 0), (), 1, allow_private=False)
    checkpoints = Checkpoints.of(PROJECT)
    return Counter(PROJECT, facts, checkpoints, (), OutputFolder(folder, 0), inbox, folder, download=False)


@pytest.mark.parametrize(
    ("facts", "wished", "offload"),
    [(AMPERE, True, True), (AMPERE, False, False), (HOST, True, False), (HOST, False, False)],
)
def test_offloading_is_for_gpus(tmp_path: Path, facts: DeviceFacts, wished: bool, offload: bool) -> None:
    own = Own(checkpoint_path="tiny")
    cast, _ = counter(facts, tmp_path).cast(own, TASKS[DEFAULT_TASK], Machine(offload=wished))
    assert cast.machine.offload is offload


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine(PROJECT, "cpu", "native", download=False)


def test_models_stay_until_they_shall_compute_otherwise(engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    wide, half = Machine(), Machine("bfloat16")
    orders = [("tiny", wide), ("tiny", wide), ("tiny-base", wide), ("tiny", wide), ("tiny", half)]
    loaded = []
    for name, machine in orders:
        caplog.clear()
        with caplog.at_level(logging.INFO, "acestep.handler"):
            engine.load(Cast(MODELS[name], "for a test", machine=machine))
        lines = [record for record in caplog.records if record.name == "acestep.handler"]
        loaded.append([record.args[0] for record in lines if record.msg.startswith("Loaded ")])
    assert loaded == [["tiny"], [], ["tiny-base"], [], ["tiny"]]


def test_a_planner_stays_too(engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    cast = Cast(MODELS["tiny"], "for a test", EMBEDDED_LANGUAGE_MODEL, Machine("bfloat16"))
    with caplog.at_level(logging.INFO, "acestep.llm_inference"):
        for _ in range(2):
            engine.load(cast)
    assert sum(record.msg.startswith("Loaded planner") for record in caplog.records) == 1


def test_a_song_that_is_given_up_loads_nothing(engine: Engine) -> None:
    def give_up(share: float, stage: str) -> None:
        raise CancelledError("enough")

    with pytest.raises(CancelledError):
        engine.load(Cast(MODELS["tiny-v1"], "for a test"), give_up)
