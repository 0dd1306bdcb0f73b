"""The static schema: what Cog reads is read, and what it would drop or refuse is refused here, by name and line."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import inspect
import json
import threading
import warnings
from pathlib import Path

import pytest

from acestep.cogrun.errors import SchemaError
from acestep.cogrun.schema import COG_VERSION, main, openapi_document, write_document
from acestep.cogrun.static import Signature, read_signature

from cog_constructs import ACCEPTED, FIRST_PARAMETER_LINE, FOOTER, HEADER, REFUSED, WHOLE_FILES
from cog_server import FIXTURES

ECHO = FIXTURES / "echo" / "predict.py"


def write(folder: Path, text: str) -> Path:
    path = folder / "predict.py"
    path.write_text(text, encoding="utf-8")
    return path


def with_parameter(folder: Path, parameter: str) -> Path:
    return write(folder, HEADER + "        " + parameter + FOOTER)


def properties(signature: Signature) -> dict[str, dict]:
    return openapi_document(signature)["components"]["schemas"]["Input"]["properties"]


@pytest.mark.parametrize(("parameter", "expected"), ACCEPTED, ids=[row[0][:60] for row in ACCEPTED])
def test_reads_what_cog_reads(tmp_path: Path, parameter: str, expected: dict[str, object]) -> None:
    entry = properties(read_signature(with_parameter(tmp_path, parameter)))["x"]
    assert {key: entry.get(key, "absent") for key in expected} == expected


@pytest.mark.parametrize(("parameter", "message"), REFUSED, ids=[row[0][:70] for row in REFUSED])
def test_refuses_what_cog_drops_or_refuses(tmp_path: Path, parameter: str, message: str) -> None:
    with pytest.raises(SchemaError) as caught:
        read_signature(with_parameter(tmp_path, parameter))
    matching = [finding for finding in caught.value.findings if message in finding.message]
    assert matching, caught.value
    assert FIRST_PARAMETER_LINE <= matching[0].line <= FIRST_PARAMETER_LINE + 1


@pytest.mark.parametrize("name", WHOLE_FILES)
def test_refuses_whole_files(tmp_path: Path, name: str) -> None:
    text, line, message = WHOLE_FILES[name]
    with pytest.raises(SchemaError) as caught:
        read_signature(write(tmp_path, text))
    assert [(finding.line, message in finding.message) for finding in caught.value.findings] == [(line, True)]


def test_lists_every_finding_in_the_order_of_the_file(tmp_path: Path) -> None:
    rows = ('a: int = Input(default=STEPS, ge=NUMBER, description="d"),', 'b: str = Input(default=""),')
    with pytest.raises(SchemaError) as caught:
        read_signature(with_parameter(tmp_path, "\n        ".join(rows)))
    found = [(finding.line - FIRST_PARAMETER_LINE, finding.message.split()[1]) for finding in caught.value.findings]
    assert found == [(0, "'a'"), (0, "'a'"), (1, "'b'")]
    assert f"predict.py:{FIRST_PARAMETER_LINE}: input 'a'" in str(caught.value)


def test_never_runs_the_file(tmp_path: Path) -> None:
    path = with_parameter(tmp_path, 'x: int = Input(default=1, description="d"),')
    path.write_text("import no_such_module\nraise SystemExit\n" + path.read_text(encoding="utf-8"), encoding="utf-8")
    assert [parameter.name for parameter in read_signature(path).parameters] == ["x"]


def test_golden_inputs() -> None:
    schemas = openapi_document(read_signature(ECHO))["components"]["schemas"]
    assert schemas["Input"]["required"] == ["text"]
    assert schemas["Input"]["title"] == "Input"
    assert schemas["Input"]["properties"] == {
        "text": {
            "description": "What to give back; in mode wait the file to wait for.",
            "maxLength": 200,
            "title": "Text",
            "type": "string",
            "x-order": 0,
        },
        "mode": {
            "allOf": [{"$ref": "#/components/schemas/mode"}],
            "default": "echo",
            "description": "How to behave.",
            "x-order": 1,
        },
        "steps": {
            "default": 2,
            "description": "Progress lines to print.",
            "maximum": 9,
            "minimum": 1,
            "title": "Steps",
            "type": "integer",
            "x-order": 2,
        },
        "gain": {
            "default": 1,
            "description": "A number\non two lines.",
            "maximum": 2.5,
            "minimum": 0,
            "title": "Gain",
            "type": "number",
            "x-order": 3,
        },
        "loud": {"default": False, "description": "A flag.", "title": "Loud", "type": "boolean", "x-order": 4},
        "seed": {
            "default": None,
            "description": "Not given is None.",
            "maximum": 4294967295,
            "minimum": -1,
            "nullable": True,
            "title": "Seed",
            "type": "integer",
            "x-order": 5,
        },
        "audio": {
            "default": None,
            "description": "A file to give back instead.",
            "format": "uri",
            "nullable": True,
            "title": "Audio",
            "type": "string",
            "x-cog-accept": "audio/*",
            "x-order": 6,
        },
    }


def test_golden_components_and_paths() -> None:
    document = openapi_document(read_signature(ECHO))
    schemas = document["components"]["schemas"]
    assert schemas["Output"] == {"title": "Output", "type": "string", "format": "uri"}
    assert schemas["mode"] == {
        "title": "mode",
        "description": "An enumeration.",
        "enum": ["echo", "wait", "spawn", "stubborn", "missing", "fail", "refuse", "crash"],
        "type": "string",
    }
    assert set(schemas) == {
        "Input",
        "Output",
        "mode",
        "PredictionRequest",
        "PredictionResponse",
        "Status",
        "HTTPValidationError",
        "ValidationError",
    }
    assert {path: list(methods) for path, methods in document["paths"].items()} == {
        "/": ["get"],
        "/health-check": ["get"],
        "/predictions": ["post"],
        "/predictions/{prediction_id}/cancel": ["post"],
    }


def test_title_words_keep_their_digits(tmp_path: Path) -> None:
    path = with_parameter(tmp_path, 'audio2audio_strength: float = Input(default=0.5, description="d"),')
    assert properties(read_signature(path))["audio2audio_strength"]["title"] == "Audio2audio Strength"


def test_every_reference_has_a_component() -> None:
    document = openapi_document(read_signature(ECHO))
    names = {text.split('"')[0] for text in json.dumps(document).split("#/components/schemas/")[1:]}
    assert names <= set(document["components"]["schemas"])
    assert "mode" in names


def test_agrees_with_what_python_makes_of_the_file() -> None:
    """The independent reference: import the predictor and look at the defaults Cog's own Input() holds."""
    spec = importlib.util.spec_from_file_location("echo_predict", ECHO)
    module = importlib.util.module_from_spec(spec)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # BasePredictor: the accepted name
        spec.loader.exec_module(module)
    arguments = list(inspect.signature(module.Predictor.predict).parameters.values())[1:]
    parameters = read_signature(ECHO).parameters
    assert [parameter.name for parameter in parameters] == [argument.name for argument in arguments]
    for parameter, argument in zip(parameters, arguments, strict=True):
        info = argument.default
        ours = (parameter.default, parameter.description, parameter.ge, parameter.le, parameter.max_length)
        assert ours == (info.default, info.description, info.ge, info.le, info.max_length)
        assert parameter.choices == tuple(info.choices or ())
        assert parameter.accept == info.accept


def test_names_the_installed_cog_version() -> None:
    assert importlib.metadata.version("cog") == COG_VERSION


def test_command_prints_or_writes_the_same_document(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "deep" / "schema.json"
    assert main(["--predictor", str(ECHO)]) == 0
    printed = capsys.readouterr().out
    assert main(["--predictor", str(ECHO), "-o", str(target)]) == 0
    assert target.read_text(encoding="utf-8") == printed
    assert json.loads(printed) == openapi_document(read_signature(ECHO))


def test_command_lists_findings_and_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = with_parameter(tmp_path, 'x: int = Input(default=STEPS, description="d"),')
    assert main(["--predictor", str(path)]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert f"predict.py:{FIRST_PARAMETER_LINE}: input 'x' has default= that is imported" in captured.err


def test_an_unchanged_schema_is_not_written_again(tmp_path: Path) -> None:
    target = tmp_path / ".cog" / "openapi_schema.json"
    write_document({"a": 1}, target)
    before = target.stat()
    write_document({"a": 1}, target)
    assert (target.stat().st_mtime_ns, target.stat().st_ino) == (before.st_mtime_ns, before.st_ino)
    write_document({"a": 2}, target)
    assert json.loads(target.read_text(encoding="utf-8")) == {"a": 2}
    assert [path.name for path in target.parent.iterdir()] == [target.name]


def test_two_writers_never_show_half_a_schema(tmp_path: Path) -> None:
    target = tmp_path / "schema.json"
    documents = [{"value": [number] * 20_000} for number in range(2)]
    write_document(documents[0], target)
    writers = [threading.Thread(target=lambda d=d: [write_document(d, target) for _ in range(10)]) for d in documents]
    for writer in writers:
        writer.start()
    reads = 0
    while any(writer.is_alive() for writer in writers):
        assert json.loads(target.read_text(encoding="utf-8")) in documents
        reads += 1
    for writer in writers:
        writer.join()
    assert reads
