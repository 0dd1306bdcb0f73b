"""The planner's facade: what it loads, what it says, what it refuses, and what stays when loading fails."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from acestep.checkpoints.registry import EMBEDDED_LANGUAGE_MODEL, LANGUAGE_MODELS, MODELS
from acestep.checkpoints.rows import SECOND
from acestep.cogrun.schema import PROJECT
from acestep.errors import AceStepError, DeviceError, InputError, NotLoadedError, UnsupportedError, WeightsError
from acestep.llm_inference import LLMHandler
from acestep.planner.engines import ENGINES
from acestep.planning import check_pair

from terse_planner import TINY_LM, planned, terse_weights

WEIGHTS = PROJECT / "weights"
PUBLISHED = "acestep-5Hz-lm-0.6B"


def loaded(**settings: object) -> LLMHandler:
    handler = LLMHandler()
    handler.initialize(**{"checkpoint_dir": WEIGHTS, "lm_model_path": "tiny", "device": "cpu", **settings})
    return handler


def copied(root: Path) -> Path:
    """The embedded planner's folder in a weights folder of its own."""
    return Path(shutil.copytree(TINY_LM, root / "tiny" / "lm"))


def test_as_in_the_issue(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(PROJECT)
    handler = LLMHandler()
    said = handler.initialize(checkpoint_dir="weights", lm_model_path="tiny", backend="native", device="cpu")
    assert said == ("planner tiny on cpu, float32 by native", True)
    assert (handler.initialized, handler.row, handler.backend) == (True, EMBEDDED_LANGUAGE_MODEL, "native")
    assert handler.commit is None


@pytest.mark.parametrize("folder", [WEIGHTS, str(WEIGHTS), PROJECT, PROJECT / "checkpoints"])
def test_the_folder_may_be_the_weights_or_their_project(folder: str | Path) -> None:
    assert loaded(checkpoint_dir=folder).initialized


def test_an_embedded_planner_of_ones_own_wins_over_the_one_that_ships(
    terse: LLMHandler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = terse_weights(tmp_path / "weights")
    expected = planned(terse).plans
    assert planned(loaded(checkpoint_dir=tmp_path)).plans == expected
    monkeypatch.setenv("ACESTEP_WEIGHTS", str(root))
    assert planned(loaded(checkpoint_dir=tmp_path / "elsewhere")).plans == expected != planned(loaded()).plans


def test_auto_without_a_gpu_is_the_embedded_planner() -> None:
    assert loaded(lm_model_path="auto").row.name == "tiny"


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_dtype_by_name(dtype: str) -> None:
    handler = LLMHandler()
    line, _ = handler.initialize(WEIGHTS, "tiny", device="cpu", dtype=dtype)
    assert line == f"planner tiny on cpu, {dtype} by native"
    assert len(planned(handler).plans[0].audio_codes) == 50


def test_both_of_our_backends_plan_the_same(planner: LLMHandler) -> None:
    reference = loaded(backend="pt")
    assert reference.backend == "pt"
    for fields in ({"lm_temperature": 0.0}, {"lm_temperature": 0.0, "lm_cfg_scale": 1.0}):
        assert planned(reference, **fields).plans == planned(planner, **fields).plans


def test_on_the_cpu_offloading_changes_nothing(planner: LLMHandler) -> None:
    assert planned(loaded(offload_to_cpu=True)).plans == planned(planner).plans


def test_before_and_after_there_is_no_planner() -> None:
    handler = LLMHandler()
    for _ in range(2):
        assert not handler.initialized
        for ask in (
            lambda: handler.row,
            lambda: handler.backend,
            lambda: handler.commit,
            handler.planner().__enter__,
        ):
            with pytest.raises(NotLoadedError, match=r"^Model not loaded: call LLMHandler.initialize first\.$"):
                ask()
        handler.initialize(WEIGHTS, "tiny", device="cpu")
        handler.unload()


@pytest.mark.parametrize(
    ("settings", "kind", "sentence"),
    [
        (
            {"lm_model_path": "acestep-5Hz-lm-9B"},
            InputError,
            "lm_model 'acestep-5Hz-lm-9B' is unknown; choose one of",
        ),
        (
            {"lm_model_path": "acestep-5Hz-lm-0.6B-v3"},
            InputError,
            "lm_model 'acestep-5Hz-lm-0.6B-v3' was never published; choose one of: acestep-5Hz-lm-",
        ),
        ({"backend": "mlx"}, InputError, "backend 'mlx' is unknown; choose one of: native, vllm, pt."),
        ({"device": "tpu"}, InputError, "device 'tpu' is unknown; choose one of: auto, cuda, cpu."),
        ({"device": "cuda"}, DeviceError, "device 'cuda' was asked for, but no CUDA device is available"),
        ({"dtype": "int8"}, InputError, "dtype 'int8' is unknown; choose one of: "),
        (
            {"backend": "vllm", "offload_to_cpu": True},
            UnsupportedError,
            "offload_to_cpu does not go with backend 'vllm'.",
        ),
        (
            {"lm_model_path": PUBLISHED},
            WeightsError,
            f"Model not loaded: {PUBLISHED} needs the folders {PUBLISHED} in",
        ),
    ],
)
def test_what_cannot_be_loaded_leaves_the_planner_before(
    settings: dict[str, object], kind: type[AceStepError], sentence: str, tmp_path: Path
) -> None:
    handler = loaded()
    before = planned(handler).plans
    with pytest.raises(kind) as caught:
        handler.initialize(**{"checkpoint_dir": tmp_path, "lm_model_path": "tiny", "device": "cpu", **settings})
    assert str(caught.value).startswith(sentence)
    assert planned(handler).plans == before


def test_absent_weights_name_the_command_that_fetches_them(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=f"Fetch it with `acestep-download --model {PUBLISHED}`, or point"):
        loaded(checkpoint_dir=tmp_path, lm_model_path=PUBLISHED)


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json"])
def test_broken_files_are_named_and_nothing_stays_half_loaded(tmp_path: Path, name: str) -> None:
    file = copied(tmp_path) / name
    file.write_bytes(file.read_bytes()[:100])
    handler = loaded()
    with pytest.raises(WeightsError, match=r"Model not loaded: .*It ships with this project: restore the folder"):
        handler.initialize(tmp_path, "tiny", device="cpu")
    assert not handler.initialized
    handler.initialize(WEIGHTS, "tiny", device="cpu")
    assert len(planned(handler).plans[0].audio_codes) == 50


def test_a_planner_with_more_tokens_than_embeddings_is_refused(tmp_path: Path) -> None:
    config = copied(tmp_path) / "config.json"
    config.write_text(config.read_text().replace('"vocab_size": 5056', '"vocab_size": 5046'))
    with pytest.raises(WeightsError, match="Model not loaded: "):
        loaded(checkpoint_dir=tmp_path)


def test_planners_and_models_are_of_one_family() -> None:
    for planner in LANGUAGE_MODELS.values():
        for model in MODELS.values():
            second = model.variant.generation is SECOND
            if second and planner.embedded == model.embedded:
                check_pair(planner, model)
                continue
            with pytest.raises(UnsupportedError) as caught:
                check_pair(planner, model)
            why = ": their semantic codes differ." if second else ", which has no planner."
            assert str(caught.value) == f"lm_model {planner.name!r} does not go with model {model.name!r}{why}"


def test_every_backend_of_the_table_can_be_imported() -> None:
    from importlib import import_module

    for row in ENGINES.values():
        assert callable(getattr(import_module(f"acestep.planner.backends.{row.module}"), row.load))
