"""What the GPU checks are given: loaded models, exact fp32, a place for figures that a person should read."""

from __future__ import annotations

from collections.abc import Iterator

import gpu_support
import pytest
import torch

from acestep.devices import device_facts, free_cache
from acestep.handler import AceStepHandler

_FIGURES = pytest.StashKey[dict[str, str]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_FIGURES] = {}


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """The figures, and what they were measured on."""
    if not config.stash[_FIGURES]:
        return
    facts = device_facts()
    terminalreporter.section("figures")
    terminalreporter.line(f"{facts.why}, {facts.memory / 1e9:.0f} GB, torch {torch.__version__}")
    for name, figure in config.stash[_FIGURES].items():
        terminalreporter.line(f"{name}: {figure}")


@pytest.fixture
def note(pytestconfig: pytest.Config) -> gpu_support.Note:
    """Keeps a measured figure for the end of the report."""
    return pytestconfig.stash[_FIGURES].__setitem__


@pytest.fixture(autouse=True)
def _exact_fp32() -> Iterator[None]:
    """fp32 means fp32: PyTorch lets convolutions round to TF32 unless told otherwise."""
    with gpu_support.convolutions_in("ieee"):
        yield


@pytest.fixture(autouse=True)
def _empty_cache() -> Iterator[None]:
    """No check inherits memory that an earlier one kept for later."""
    yield
    free_cache()


@pytest.fixture(scope="session")
def tiny() -> AceStepHandler:
    """The embedded few-step model on the GPU, fp32."""
    return gpu_support.load("tiny")


@pytest.fixture(scope="session")
def tiny_on_host() -> AceStepHandler:
    """The same on the CPU."""
    return gpu_support.load("tiny", gpu_support.HOST)


@pytest.fixture(scope="session")
def tiny_base() -> AceStepHandler:
    """The embedded model with guidance on the GPU, fp32."""
    return gpu_support.load("tiny-base")


@pytest.fixture(scope="session")
def tiny_base_on_host() -> AceStepHandler:
    """The same on the CPU."""
    return gpu_support.load("tiny-base", gpu_support.HOST)
