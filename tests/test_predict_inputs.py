"""The literals in ``predict.py`` equal the tables of the package; the schema lists what the product promises."""

from __future__ import annotations

import ast
import inspect
import re
from typing import Any

import pytest

from acestep.checkpoints.registry import MODELS
from acestep.cogrun.schema import PROJECT, openapi_document
from acestep.cogrun.static import read_signature
from acestep.constants import BATCH_MAX, BPM_MAX, BPM_MIN, DURATION_MAX_S, LANGUAGES, SAMPLE_RATE, SEED_MAX
from acestep.fields import FIELDS
from acestep.output.formats import ANY_RATE, FORMATS
from acestep.params import GenerationConfig, GenerationParams
from acestep.sampling import choice
from acestep.tasks import TASKS

RENAMED = {
    "caption": "prompt",
    "duration": "audio_duration",
    "inference_steps": "infer_steps",
    "task_type": "task",
    "src_audio": "input_audio",
    "audio_format": "output_format",
    "repainting_start": "inpaint_start_time",
    "repainting_end": "inpaint_end_time",
    "remainder": "return_all",
}
NO_INPUTS = {"extend_start_duration", "lyric_detection"}  # parameters that other doors alone have
INPUT_FIELDS = [field for field in FIELDS if field.name not in NO_INPUTS]


@pytest.fixture(scope="module")
def schemas() -> dict[str, Any]:
    return openapi_document(read_signature(PROJECT / "predict.py"))["components"]["schemas"]


@pytest.fixture(scope="module")
def inputs(schemas: dict[str, Any]) -> dict[str, Any]:
    return schemas["Input"]["properties"]


def test_nothing_is_required(schemas: dict[str, Any]) -> None:
    assert schemas["Input"].get("required", []) == []


def test_one_file_comes_back(schemas: dict[str, Any]) -> None:
    assert (schemas["Output"]["type"], schemas["Output"]["format"]) == ("string", "uri")


@pytest.mark.parametrize(
    ("name", "table"),
    [
        ("task", list(TASKS)),
        ("model", ["auto", *(name for name, spec in MODELS.items() if spec.released)]),
        ("vocal_language", list(LANGUAGES)),
        ("scheduler_type", list(choice.SOLVER_NAMES)),
        ("cfg_type", list(choice.CFG_TYPES)),
        ("infer_method", list(choice.INFER_METHODS)),
        ("output_format", list(FORMATS)),
        ("sample_rate", list(ANY_RATE)),
        *((field.name, list(field.choices)) for field in INPUT_FIELDS if field.choices),
    ],
)
def test_choices_are_the_tables(schemas: dict[str, Any], name: str, table: list[object]) -> None:
    assert schemas[name]["enum"] == table


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("audio_duration", -1, DURATION_MAX_S),
        ("bpm", BPM_MIN, BPM_MAX),
        ("seed", -1, SEED_MAX),
        ("infer_steps", 1, choice.STEPS_MAX),
        ("guidance_scale", 0, choice.GUIDANCE_MAX),
        ("shift", choice.SHIFT_MIN, choice.SHIFT_MAX),
        ("cfg_interval_start", 0, 1),
        ("cfg_interval_end", 0, 1),
        ("batch_size", 1, BATCH_MAX),
        ("omega_scale", 1, 20),  # of which other doors have more
        *(
            (RENAMED.get(field.name, field.name), field.low, field.high)
            for field in INPUT_FIELDS
            if field.low is not None and field.name != "omega_scale"
        ),
    ],
)
def test_bounds_are_the_constants(inputs: dict[str, Any], name: str, low: float, high: float) -> None:
    assert (inputs[name]["minimum"], inputs[name]["maximum"]) == (low, high)


REGION = {"repainting_start", "repainting_end"}
OWN_DEFAULT = {  # the Cog door's default differs from Python's on purpose
    "audio_duration": 30.0,
    "instruction": "",
    "infer_steps": None,
    "seed": None,
    "guidance_scale": None,
    "thinking": None,
    "timesteps": "",
    "batch_size": 1,
    "score": True,
    "output_format": "wav",
    "seeds": "",
    "oss_steps": "",
    "inpaint_end_time": 0.0,
    "audio_cover_strength": None,
    "variation_seed": None,
}


def test_defaults_are_those_of_the_python_api(inputs: dict[str, Any]) -> None:
    python = {**vars(GenerationParams()), **vars(GenerationConfig())}
    python = {RENAMED.get(name, name): value for name, value in python.items()}
    for name, shown in inputs.items():
        expected = OWN_DEFAULT.get(name, python.get(name, shown["default"]))
        assert shown["default"] == expected, name
    assert inputs["sample_rate"]["default"] == SAMPLE_RATE


def test_every_input_is_described(inputs: dict[str, Any]) -> None:
    assert all(len(shown["description"]) > 15 for shown in inputs.values())


def test_the_order_is_the_order_of_the_signature(inputs: dict[str, Any]) -> None:
    from predict import Predictor

    names = list(inspect.signature(Predictor.predict).parameters)[1:]
    assert sorted(inputs, key=lambda name: inputs[name]["x-order"]) == names
    assert len(names) == 84
    assert names[:6] == ["task", "prompt", "lyrics", "audio_duration", "instrumental", "model"]


def names_in(tree: ast.AST) -> list[ast.Name]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.Name)]


def calls() -> dict[str, dict[str, set[str]]]:
    """Class name -> keyword -> names in its value, of the parameter objects that ``predict`` builds.

    The two ends of the region are worked out together, in a line before.
    """
    tree = ast.parse((PROJECT / "predict.py").read_text())
    [ends] = [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and {name.id for name in names_in(node.targets[0])} == REGION
    ]
    region = {name.id for name in names_in(ends)}
    wanted = {"GenerationParams", "GenerationConfig"}
    found = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and getattr(node.func, "id", "") in wanted]
    return {
        call.func.id: {
            keyword.arg: region if keyword.arg in REGION else {name.id for name in names_in(keyword.value)}
            for keyword in call.keywords
        }
        for call in found
    }


def test_every_parameter_is_filled_from_its_own_input(inputs: dict[str, Any]) -> None:
    for values in calls().values():
        for field, names in values.items():
            expected = {"seed"} if field == "use_random_seed" else {RENAMED.get(field, field)}
            expected |= {"inpaint_start_time", "inpaint_end_time"} if field in REGION else set()
            assert names & set(inputs) == expected, field


def test_every_input_is_read(inputs: dict[str, Any]) -> None:
    source = (PROJECT / "predict.py").read_text()
    body = source[source.index('"""Make music and return') :]
    assert [name for name in inputs if not re.search(rf"\b{name}\b", body)] == []


def test_every_length_limit_is_known(inputs: dict[str, Any]) -> None:
    limits = {name: shown["maxLength"] for name, shown in inputs.items() if "maxLength" in shown}
    texts = {"prompt": 2048, "lyrics": 4096, "style_prompt": 2048, "style_lyrics": 4096, "instruction": 512}
    others = {"audio_codes": 100_000, "lm_negative_prompt": 2048, "simple_query": 2048, "lora_name_or_path": 500}
    lists = {"track_name": 256, "seeds": 256, "timesteps": 8192, "oss_steps": 2048}
    assert limits == texts | others | lists | {"keyscale": 64, "timesignature": 64}
