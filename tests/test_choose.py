"""The hardware table, row by row: what ``auto`` takes for every size of memory and every task."""

from __future__ import annotations

import pytest

from acestep.checkpoints.choose import choose
from acestep.checkpoints.registry import LANGUAGE_MODELS, MODELS, smaller_than
from acestep.devices import DeviceFacts
from acestep.errors import DeviceMemoryError, InputError
from acestep.tasks import MIX_TASKS, STEM_TASKS, TASKS

LM = "acestep-5Hz-lm-"
NO_GPU = DeviceFacts("cpu", "no CUDA device", 64_000_000_000, 60_000_000_000)
TABLE = [  # gigabytes: planner, offload
    (4.0, None, True),
    (5.99, None, True),
    (6.0, f"{LM}0.6B", True),
    (7.99, f"{LM}0.6B", True),
    (8.0, f"{LM}1.7B", False),
    (8.59, f"{LM}1.7B", False),
    (16.0, f"{LM}1.7B", False),
    (24.0, f"{LM}1.7B", False),
    (141.0, f"{LM}1.7B", False),
]


def gpu(gigabytes: float, capability: tuple[int, int] = (8, 0)) -> DeviceFacts:
    size = round(gigabytes * 1e9)
    return DeviceFacts("cuda", "a GPU", size, size, capability)


def expected_model(task: str | None) -> str:
    return "acestep-v15-base" if task in STEM_TASKS else "acestep-v15-turbo"


def planner(facts: DeviceFacts, name: str = "auto") -> str | None:
    row = choose(name, facts).language_model
    return row and row.name


@pytest.mark.parametrize("task", [None, *TASKS])
@pytest.mark.parametrize(("gigabytes", "language_model", "offload"), TABLE)
def test_every_gpu_and_every_task(gigabytes: float, language_model: str | None, offload: bool, task: str) -> None:
    choice = choose("auto", gpu(gigabytes), task)
    assert choice.model.name == expected_model(task)
    assert (choice.language_model and choice.language_model.name, choice.offload) == (language_model, offload)
    assert choice.reason == f"auto: CUDA device with {gigabytes:.1f} GB" + ", one network at a time" * offload
    on_turing = choose("auto", gpu(gigabytes * 2, (7, 5)), task)
    assert (on_turing.model, on_turing.language_model, on_turing.offload) == (
        choice.model,
        choice.language_model,
        choice.offload,
    )
    assert "computes in fp32" in on_turing.reason


@pytest.mark.parametrize("gigabytes", [8.0, 24.0])
@pytest.mark.parametrize("pinned", ["", "@0123456789012345678901234567890123456789", "/some.safetensors"])
def test_a_known_adapter_brings_its_model_where_there_is_a_gpu(gigabytes: float, pinned: str) -> None:
    name = f" ACE-Step/ACE-Step-v1-chinese-rap-LoRA{pinned}"
    choice = choose("auto", gpu(gigabytes), adapter=name)
    assert (choice.model.name, choice.language_model, choice.offload) == ("v1-3.5B", None, gigabytes < 16)
    assert choose("auto", gpu(gigabytes), adapter="owner/name").model.name == "acestep-v15-turbo"
    assert choose("acestep-v15-sft", gpu(gigabytes), adapter=name).model.name == "acestep-v15-sft"
    assert choose("auto", NO_GPU, adapter=name).model.name == "tiny"


@pytest.mark.parametrize("task", [None, *TASKS])
def test_without_a_gpu_auto_is_the_embedded_family(task: str | None) -> None:
    choice = choose("auto", NO_GPU, task)
    assert choice.model.name == ("tiny-base" if task in STEM_TASKS else "tiny")
    assert choice.language_model is LANGUAGE_MODELS["tiny"]
    assert not choice.offload
    assert choice.reason == "auto: no CUDA device"


@pytest.mark.parametrize("facts", [NO_GPU, gpu(24)], ids=["cpu", "cuda"])
@pytest.mark.parametrize("task", MIX_TASKS)
def test_keeping_the_vocals_needs_a_base_model(facts: DeviceFacts, task: str) -> None:
    assert not set(STEM_TASKS) <= set(choose("auto", facts, task).model.variant.tasks)
    assert set(STEM_TASKS) <= set(choose("auto", facts, task, preserve_vocals=True).model.variant.tasks)


@pytest.mark.parametrize(
    ("facts", "sentence"),
    [
        (gpu(3.99), "model 'auto' needs a GPU with at least 4 GB, this one has 4.0 GB; name 'tiny'"),
        (gpu(2), "model 'auto' needs a GPU with at least 4 GB, this one has 2.0 GB; name 'tiny'"),
        (gpu(6, (7, 5)), "needs a GPU with at least 8 GB when it computes in fp32, this one has 6.0 GB; name 'tiny'"),
    ],
    ids=["just below", "far below", "Turing"],
)
def test_too_small_a_gpu_is_an_error_and_never_tiny(facts: DeviceFacts, sentence: str) -> None:
    with pytest.raises(DeviceMemoryError) as caught:
        choose("auto", facts)
    assert sentence in str(caught.value)


@pytest.mark.parametrize("facts", [NO_GPU, gpu(2), gpu(5), gpu(80)], ids=["cpu", "2 GB", "5 GB", "80 GB"])
@pytest.mark.parametrize("name", [name for name, row in MODELS.items() if row.released])
def test_a_named_model_is_never_swapped_nor_offloaded_unasked(facts: DeviceFacts, name: str) -> None:
    choice = choose(name, facts, "lego", preserve_vocals=True)
    assert (choice.model.name, choice.offload, choice.reason) == (name, False, "asked for by name")


def test_the_planner_of_a_named_model() -> None:
    assert planner(NO_GPU, "acestep-v15-turbo") is None
    assert planner(NO_GPU, "tiny-base") == planner(gpu(80), "tiny") == "tiny"
    assert [planner(gpu(size), "acestep-v15-sft") for size in (3, 6, 8)] == [None, f"{LM}0.6B", f"{LM}1.7B"]


def test_the_largest_planner_is_never_chosen() -> None:
    assert all(planner(gpu(size)) != f"{LM}4B" for size in range(4, 200))


def test_an_asked_for_width_counts() -> None:
    assert choose("auto", gpu(8), width=4).offload
    assert not choose("auto", gpu(16), width=4).offload
    assert not choose("auto", gpu(8, (7, 5)), width=2).offload


@pytest.mark.parametrize("name", ["acestep-v15-turbo-rl", "nonsense", ""])
def test_unknown_names_are_errors(name: str) -> None:
    with pytest.raises(InputError, match=f"model '{name}'"):
        choose(name, NO_GPU)


@pytest.mark.parametrize(
    ("name", "smaller"),
    [
        ("acestep-v15-xl-turbo", "acestep-v15-turbo"),
        ("acestep-v15-xl-sft", "acestep-v15-sft"),
        ("acestep-v15-xl-base", "acestep-v15-base"),
        ("acestep-v15-turbo", None),
        ("tiny", None),
    ],
)
def test_the_smaller_model_to_advise(name: str, smaller: str | None) -> None:
    row = smaller_than(MODELS[name])
    assert (row and row.name) == smaller
