"""What every test shares: no network but loopback, one seed, a clean environment."""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from diffusers import AceStepPipeline

    from acestep.handler import AceStepHandler
    from acestep.llm_inference import LLMHandler


LIBRARY = os.environ.get("ACESTEP_TEST_LIBRARY")  # set by `script/test --library DIR`
collect_ignore = [] if LIBRARY else ["library"]

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"


def _is_loopback(host: str) -> bool:
    if host in {"localhost", ""}:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@pytest.fixture(autouse=True, scope="session")
def _only_loopback() -> Iterator[None]:
    """Any attempt to reach another host fails the test that made it."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: object) -> None:
        if self.family in {socket.AF_INET, socket.AF_INET6} and not _is_loopback(address[0]):  # type: ignore[index]
            raise AssertionError(f"a test tried to reach {address!r}; only loopback is allowed")
        connect(self, address)

    patch = pytest.MonkeyPatch()
    patch.setattr(socket.socket, "connect", guarded)
    yield
    patch.undo()


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings of the person running the tests must not reach the code under test."""
    for name in [key for key in os.environ if key.startswith("ACESTEP_")]:
        monkeypatch.delenv(name)


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Results that are compared to the last digits come from one thread."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def tiny() -> AceStepHandler:
    """The embedded few-step model, loaded once."""
    return _embedded("tiny", _project())


@pytest.fixture(scope="session")
def tiny_base() -> AceStepHandler:
    """The embedded model with guidance, loaded once."""
    return _embedded("tiny-base", _project())


@pytest.fixture(scope="session")
def published_form(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose embedded models have an autoencoder that diffusers can be."""
    import parity_support

    return parity_support.published_form(tmp_path_factory.mktemp("published-form"))


@pytest.fixture(scope="session")
def twin(published_form: Path) -> AceStepHandler:
    """``tiny`` as diffusers can be."""
    return _embedded("tiny", published_form)


@pytest.fixture(scope="session")
def twin_base(published_form: Path) -> AceStepHandler:
    """``tiny_base`` as diffusers can be."""
    return _embedded("tiny-base", published_form)


@pytest.fixture(scope="session")
def turbo_pipe(twin: AceStepHandler, published_form: Path) -> AceStepPipeline:
    """diffusers' pipeline on the weights of ``twin``."""
    from parity_support import diffusers_pipeline

    return diffusers_pipeline(twin.renderer.family, published_form)


@pytest.fixture(scope="session")
def base_pipe(twin_base: AceStepHandler, published_form: Path) -> AceStepPipeline:
    """diffusers' pipeline on the weights of ``twin_base``."""
    from parity_support import diffusers_pipeline

    return diffusers_pipeline(twin_base.renderer.family, published_form)


@pytest.fixture(scope="session")
def planner() -> LLMHandler:
    """The embedded planner, loaded once. Its captions are long; see ``terse``."""
    from acestep.cogrun.schema import PROJECT
    from acestep.llm_inference import LLMHandler

    handler = LLMHandler()
    handler.initialize(PROJECT / "weights", "tiny", device="cpu")
    return handler


@pytest.fixture(scope="session")
def terse(tmp_path_factory: pytest.TempPathFactory) -> LLMHandler:
    """The embedded planner with short captions and lyrics, loaded once."""
    from terse_planner import terse_planner

    return terse_planner(tmp_path_factory.mktemp("terse"))


def _project() -> Path:
    from acestep.cogrun.schema import PROJECT

    return PROJECT


def _embedded(name: str, root: Path) -> AceStepHandler:
    from acestep.handler import AceStepHandler

    handler = AceStepHandler()
    handler.initialize_service(project_root=str(root), config_path=name, device="cpu")
    return handler
