"""Weights that are not here are fetched, those that are here are left alone; against the hub on loopback."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from acestep.checkpoints.integrity import State, inspect
from acestep.checkpoints.provide import Tally
from acestep.checkpoints.registry import MODELS, parts_of

from download_support import CLOSED, environment
from fake_hub import FakeHub, serving

TURBO = MODELS["acestep-v15-turbo"]
PROGRAM = """
import sys
from pathlib import Path
from acestep.checkpoints.provide import provide
from acestep.checkpoints.registry import MODELS
from acestep.errors import WeightsError
try:
    provide(MODELS[sys.argv[1]], Path(sys.argv[2]), print)
except WeightsError as error:
    sys.exit(str(error))
"""


STARTING = """
import sys
from acestep.errors import WeightsError
from acestep.handler import AceStepHandler
try:
    AceStepHandler().initialize_service(sys.argv[2], sys.argv[1], "cpu", download=print)
except WeightsError as error:
    sys.exit(str(error))
"""


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with serving() as served:
        for part in parts_of(TURBO):
            served.add(part)
        yield served


def provided(
    endpoint: str, name: str, project: Path, program: str = PROGRAM, **differs: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program, name, str(project)],
        env=environment(endpoint, **differs),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_missing_weights_are_fetched_once(hub: FakeHub, tmp_path: Path) -> None:
    first = provided(hub.endpoint, TURBO.name, tmp_path)
    assert first.returncode == 0, first.stderr
    begun, *_, ended = first.stdout.splitlines()
    assert begun.startswith(f"download: {TURBO.name} is not in {tmp_path}/weights, about ")
    assert ended.startswith(f"download: {TURBO.name} ")
    states = [inspect(part, tmp_path / "weights").state for part in parts_of(TURBO)]
    assert states == [State.READY] * 3
    again = provided(CLOSED, TURBO.name, tmp_path)
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")


def test_weights_are_looked_for_where_the_environment_says(hub: FakeHub, tmp_path: Path) -> None:
    volume = tmp_path / "volume"
    done = provided(hub.endpoint, TURBO.name, tmp_path, ACESTEP_WEIGHTS=str(volume))
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in volume.iterdir() if not path.name.startswith(".")) == sorted(
        part.folder for part in parts_of(TURBO)
    )
    assert not (tmp_path / "weights").exists()


def test_upstreams_folder_serves_too(hub: FakeHub, tmp_path: Path) -> None:
    assert provided(hub.endpoint, TURBO.name, tmp_path).returncode == 0
    (tmp_path / "weights").rename(tmp_path / "checkpoints")
    again = provided(CLOSED, TURBO.name, tmp_path)
    assert (again.returncode, again.stdout) == (0, "")


def test_embedded_models_are_never_fetched(tmp_path: Path) -> None:
    done = provided(CLOSED, "tiny", tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_offline_says_what_is_missing(hub: FakeHub, tmp_path: Path) -> None:
    done = provided(hub.endpoint, TURBO.name, tmp_path, HF_HUB_OFFLINE="1")
    assert done.returncode == 1
    assert done.stderr.startswith(f"Model not loaded: {TURBO.name} could not be fetched. Cannot download while HF")
    assert all(part.folder in done.stderr for part in parts_of(TURBO))
    assert hub.seen == []


def test_a_handler_that_may_download_does_so_before_it_loads(hub: FakeHub, tmp_path: Path) -> None:
    started = provided(hub.endpoint, TURBO.name, tmp_path, STARTING)
    assert started.stdout.startswith(f"download: {TURBO.name} is not in ")
    assert all(inspect(part, tmp_path / "weights").state is State.READY for part in parts_of(TURBO))
    assert "Model not loaded" in started.stderr  # the hub on loopback serves no real networks
    assert "acestep-download" in started.stderr


def test_the_tally_speaks_now_and_then() -> None:
    lines: list[str] = []
    tally = Tally(lines.append, every_s=1000.0)
    for arrived in range(0, 2_000_000_001, 500_000_000):
        tally.count("a", arrived, 2_000_000_000)
    assert (tally.arrived, lines) == (2_000_000_000, [])
    talkative = Tally(lines.append, every_s=0.0)
    talkative.count("a", 500_000_000, 2_000_000_000)
    talkative.count("b", 500_000_000, 1_000_000_000)
    assert lines == ["download: 0.50 of 2.00 GB", "download: 1.00 of 3.00 GB"]
