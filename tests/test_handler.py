"""Models come and go: which are loaded, what they share, what is let go, and what plays after a failure."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from acestep.checkpoints.registry import MODELS
from acestep.cogrun.schema import PROJECT
from acestep.devices import DeviceFacts, weight_bytes
from acestep.errors import DeviceMemoryError, InputError, NotLoadedError, WeightsError
from acestep.handler import OFFLOAD_ON_CPU, AceStepHandler
from acestep.inference import GenerationConfig, GenerationParams, GenerationResult, generate_music
from acestep.shelf import Shelf, bytes_to_load, weights_budget

TINY, BASE = MODELS["tiny"], MODELS["tiny-base"]
WIDTH = 4  # bytes per weight on the CPU
PLENTY = 1 << 30


def started(root: Path = PROJECT, name: str = "tiny", budget: int = PLENTY, **settings: object) -> AceStepHandler:
    handler = AceStepHandler()
    handler.initialize_service(str(root), name, "cpu", weights_bytes=budget, **settings)
    return handler


def play(handler: AceStepHandler) -> GenerationResult:
    params = GenerationParams(caption="x", duration=10, inference_steps=2, thinking=False)
    config = GenerationConfig(batch_size=1, use_random_seed=False, seeds=[1])
    return generate_music(handler, None, params, config)


def samples(handler: AceStepHandler) -> torch.Tensor:
    result = play(handler)
    result.check()
    return result.audios[0]["tensor"]


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """A project folder with weights that a test may break."""
    for name in (TINY.folder, BASE.folder):
        shutil.copytree(PROJECT / "weights" / name, tmp_path / "weights" / name)
    return tmp_path


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    with caplog.at_level(logging.INFO, logger="acestep"):
        yield caplog


def test_models_that_fit_stay_loaded_and_come_back_unchanged() -> None:
    handler = started()
    first, before = handler.renderer, samples(handler)
    handler.use(BASE, "for the test")
    assert handler.loaded == ["tiny", "tiny-base"]
    assert (handler.model, handler.reason) == (BASE, "for the test")
    assert not torch.equal(samples(handler), before)
    handler.use(TINY, "again")
    assert handler.renderer is first
    assert handler.loaded == ["tiny-base", "tiny"]
    assert torch.equal(samples(handler), before)


def test_models_of_the_same_folders_share_their_networks() -> None:
    reported = []
    handler = started(report=lambda role, *_: reported.append(role))
    one = handler.renderer.family
    handler.use(BASE, "for the test")
    other = handler.renderer.family
    assert other.vae is one.vae
    assert other.text_encoder is one.text_encoder
    assert other.tokenizer is one.tokenizer
    assert other.model is not one.model
    assert reported == ["transformer", "vae", "text encoder", "transformer"]


def test_models_of_different_folders_share_nothing(copied: Path) -> None:
    handler = started()
    shelf = Shelf(PLENTY)
    shelf.put(TINY, handler.renderer, PROJECT / "weights")
    assert set(shelf.shared_parts(BASE, PROJECT / "weights")) == {"vae", "text encoder", "tokenizer"}
    assert shelf.shared_parts(BASE, copied / "weights") == {}


def test_the_size_to_load_is_the_size_of_what_is_loaded() -> None:
    shelf, root = Shelf(PLENTY), PROJECT / "weights"
    handler = started()
    shelf.put(TINY, handler.renderer, root)
    estimate = bytes_to_load(TINY, root, WIDTH)
    assert shelf.size == pytest.approx(estimate, rel=0.05)
    without = bytes_to_load(BASE, root, WIDTH, shelf.shared_parts(BASE, root))
    handler.use(BASE, "for the test")
    shelf.put(BASE, handler.renderer, root)
    assert shelf.size == pytest.approx(estimate + without, rel=0.05)


def test_the_least_recently_used_model_makes_room(lines: pytest.LogCaptureFixture) -> None:
    handler = started(budget=0)
    before = samples(handler)
    handler.use(BASE, "for the test")
    assert handler.loaded == ["tiny-base"]
    assert any(line.startswith("Evicted tiny: ") and line.endswith(" bytes freed") for line in lines.messages)
    handler.use(TINY, "again")
    assert handler.loaded == ["tiny"]
    assert torch.equal(samples(handler), before)


def test_what_a_newcomer_shares_outlives_the_model_it_came_with() -> None:
    handler = started(budget=0)
    vae = handler.renderer.family.vae
    handler.use(BASE, "for the test")
    assert handler.renderer.family.vae is vae


def test_a_model_that_is_playing_is_never_evicted() -> None:
    handler = started(budget=0)
    playing = handler.renderer
    loaded_meanwhile = []

    def switch(share: float, stage: str) -> None:
        handler.use(BASE, "meanwhile")
        loaded_meanwhile.append(handler.loaded)

    params = GenerationParams(caption="x", duration=10, inference_steps=2, thinking=False)
    generate_music(handler, None, params, GenerationConfig(batch_size=1), progress=switch).check()
    assert loaded_meanwhile[0] == ["tiny", "tiny-base"]
    assert not playing.busy


def test_only_as_many_are_evicted_as_must_be() -> None:
    one, root = started(), PROJECT / "weights"
    two = started(name="tiny-base")
    shelf = Shelf(0)
    shelf.put(TINY, one.renderer, root)
    size = shelf.size
    shelf.put(BASE, two.renderer, root)
    shelf.budget = shelf.size + 100
    shelf.make_room(100)
    assert shelf.names == ["tiny", "tiny-base"]
    shelf.get(TINY)
    shelf.make_room(101)
    assert shelf.names == ["tiny"]
    assert shelf.size == size
    shelf.make_room(shelf.budget + 1)
    assert shelf.names == []


def test_what_the_newcomer_takes_over_still_counts_when_its_model_is_gone() -> None:
    root, other = PROJECT / "weights", Path("elsewhere")
    shelf = Shelf(0)
    shelf.put(BASE, started(name="tiny-base").renderer, other)
    alone = shelf.size
    shelf.put(TINY, started().renderer, root)
    shelf.get(BASE)
    shared = shelf.shared_parts(BASE, root)
    taken_over = sum(weight_bytes(part) for part in shared.values() if isinstance(part, torch.nn.Module))
    shelf.budget = alone + taken_over + 100
    shelf.make_room(100, shared)
    assert shelf.names == ["tiny-base"]
    shelf.make_room(101, shared)
    assert shelf.names == []


@pytest.mark.parametrize("budget", [0, PLENTY])
def test_after_a_failed_load_the_model_before_still_plays(
    copied: Path, budget: int, lines: pytest.LogCaptureFixture
) -> None:
    handler = started(copied, budget=budget)
    before = samples(handler)
    save_file({"odd": torch.zeros(1)}, copied / "weights" / BASE.folder / "model.safetensors")
    with pytest.raises(WeightsError, match="odd"):
        handler.use(BASE, "for the test")
    assert any(line.startswith("Evicted tiny") for line in lines.messages) == (budget == 0)
    assert (handler.model, handler.reason) == (TINY, "asked for by name")
    assert torch.equal(samples(handler), before)
    with pytest.raises(WeightsError):
        handler.initialize_service(str(copied), "tiny-base", "cpu")
    assert torch.equal(samples(handler), before)


def test_memory_that_runs_out_while_loading_is_explained_and_the_model_before_still_plays() -> None:
    reported: list[str] = []

    def report(role: str, *_: object) -> None:
        reported.append(role)
        if len(reported) == 4:  # the transformer of the second model
            torch.empty(1 << 46)

    handler = started(report=report, budget=0)
    before = samples(handler)
    with pytest.raises(DeviceMemoryError, match="Memory ran out while loading tiny-base; nothing smaller"):
        handler.use(BASE, "for the test")
    assert handler.model is TINY
    assert torch.equal(samples(handler), before)
    handler.use(BASE, "again")
    assert handler.loaded == ["tiny-base"]


def test_absent_weights_let_nothing_go(tmp_path: Path, copied: Path) -> None:
    handler = started(copied, budget=0)
    first = handler.renderer
    with pytest.raises(WeightsError, match="acestep-v15-turbo needs the folders"):
        handler.use(MODELS["acestep-v15-turbo"], "for the test")
    with pytest.raises(WeightsError, match="acestep-v15-turbo needs the folders"):
        handler.initialize_service(str(tmp_path), "acestep-v15-turbo", "cpu")
    assert handler.renderer is first


def test_starting_again_replaces_what_was_loaded() -> None:
    handler = started()
    line, ok = handler.initialize_service(str(PROJECT), "tiny-base", "cpu", dtype="bfloat16")
    assert ok
    assert line.startswith("tiny-base (asked for by name, an embedded model")
    assert handler.loaded == ["tiny-base"]
    assert handler.placement.dtype == torch.bfloat16
    assert next(handler.renderer.family.vae.parameters()).dtype == torch.bfloat16


def test_auto_is_resolved_per_task_unless_the_handler_was_started_with_a_name() -> None:
    named = started()
    assert named.choose("auto", "lego")[0] is TINY
    automatic = started(name="auto")
    assert automatic.choose("auto", "lego")[0] is BASE
    assert automatic.choose("auto", "cover")[0] is TINY
    assert automatic.choose("auto", "cover", preserve_vocals=True)[0] is BASE
    assert automatic.choose("tiny", "lego")[0] is TINY
    with pytest.raises(InputError, match="model 'none' is unknown"):
        automatic.choose("none", "cover")


def test_offload_on_the_cpu_is_one_warning() -> None:
    asked = started(offload_to_cpu=True)
    assert not asked.offloads
    assert not asked.can_offload
    assert play(asked).extra_outputs["warnings"].count(OFFLOAD_ON_CPU) == 1
    assert OFFLOAD_ON_CPU not in play(started()).extra_outputs["warnings"]


@pytest.mark.parametrize("ask", ["renderer", "model", "loaded", "placement", "offloads", "can_offload", "warnings"])
def test_before_the_start_there_is_nothing(ask: str) -> None:
    with pytest.raises(NotLoadedError, match=r"Model not loaded: call AceStepHandler\.initialize_service first\."):
        getattr(AceStepHandler(), ask)


@pytest.mark.parametrize(
    ("kind", "memory", "free", "budget"),
    [
        ("cpu", 24, 20, 10),
        ("cuda", 80, 79, 59),
        ("cuda", 8, 7.5, 5.5),
        ("cuda", 4, 3.5, 1.5),
        ("cuda", 4, 1, 0),
        ("cuda", 24, 10, 4),
    ],
)
def test_the_budget_is_what_is_free_less_room_to_work(kind: str, memory: float, free: float, budget: float) -> None:
    facts = DeviceFacts(kind, "test", int(memory * 1e9), int(free * 1e9))
    assert weights_budget(facts) == int(budget * 1e9)
