"""``script/test-gpu`` where there is no GPU: it says so; its checks are found where few packages are."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

from acestep.audio.resample_gpu import resample_on_device
from acestep.cogrun.schema import PROJECT
from acestep.errors import DeviceError

CHECKS = PROJECT / "tests" / "gpu"
# What a machine with torch and transformers alone lacks; ``checkpoints.hub`` stands for its HTTP client, which the
# hub's own package may need too.
ABSENT = (
    "soundfile soxr mutagen diffusers pyloudnorm imageio_ffmpeg tinysoundfont cog pydub librosa torchaudio "
    "acestep.checkpoints.hub"
)
WITHOUT = f"""
import runpy, sys
from importlib.machinery import PathFinder

class Bare(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        absent = {{name, name.partition(".")[0]}} & set({ABSENT.split()!r})
        return None if absent else PathFinder.find_spec(name, path, target)

sys.meta_path[sys.meta_path.index(PathFinder)] = Bare
runpy.run_module("pytest", run_name="__main__", alter_sys=True)
"""


def run(*command: str) -> subprocess.CompletedProcess[str]:
    """With every GPU hidden."""
    hidden = os.environ | {"CUDA_VISIBLE_DEVICES": "", "PYTHON": sys.executable}
    return subprocess.run(command, check=False, cwd=PROJECT, env=hidden, capture_output=True, text=True)


def test_without_a_gpu_the_command_says_so_and_fails() -> None:
    result = run("script/test-gpu", "--collect-only")
    assert (result.returncode, result.stdout) == (1, "")
    seen = f"{sys.executable} has no PyTorch that sees a CUDA device"
    assert result.stderr == f"script/test-gpu: {seen}; these checks run on nothing else.\n"


def test_every_check_is_found_where_packages_are_few() -> None:
    result = run(sys.executable, "-c", WITHOUT, "tests/gpu", "--collect-only")
    assert result.returncode == 0, result.stdout + result.stderr
    found = {line.partition(":")[0] for line in result.stdout.splitlines() if line.startswith("check_")}
    assert found == {path.name for path in CHECKS.glob("check_*.py")}


def test_the_ordinary_tests_never_collect_the_checks() -> None:
    assert not list(CHECKS.rglob("test_*.py"))


def test_a_missing_torchaudio_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchaudio", None)
    with pytest.raises(DeviceError, match="Resampling on the GPU needs torchaudio; install it with"):
        resample_on_device(torch.zeros(2, 100), 48_000, 44_100)
