"""Writes the OpenAPI document that Cog's static generator makes from a predictor, by our own rules.

In: a `Signature`. Out: the document Cog serves at `/openapi.json` and checks inputs with; `python -m
acestep.cogrun.schema [-o FILE]` (`./script/schema`) prints it for this repository.
Refuses to know: Python source (`static` read it) and HTTP.
"""

from __future__ import annotations

import argparse
import json
import secrets
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from acestep.cogrun.errors import SchemaError
from acestep.cogrun.parameter import Parameter
from acestep.cogrun.static import Signature, read_signature

Json = dict[str, Any]

PROJECT = Path(__file__).resolve().parents[2]
PREDICTOR_FILE = "predict.py"
SCHEMA_FILE = Path(".cog", "openapi_schema.json")
COG_VERSION = "0.23.1"

TYPES: dict[str, Json] = {
    "str": {"type": "string"},
    "int": {"type": "integer"},
    "float": {"type": "number"},
    "bool": {"type": "boolean"},
    "Path": {"type": "string", "format": "uri"},
}
# field of Parameter -> key of the property, for what is copied as it is
CONSTRAINTS = {
    "ge": "minimum",
    "le": "maximum",
    "min_length": "minLength",
    "max_length": "maxLength",
    "regex": "pattern",
    "accept": "x-cog-accept",
}
TIMES = ("created_at", "started_at", "completed_at")


def openapi_document(signature: Signature) -> Json:
    """The whole document: paths, request and response, inputs and their enumerations."""
    return {
        "openapi": "3.0.2",
        "info": {"title": "Cog", "version": COG_VERSION},
        "paths": _paths(),
        "components": {"schemas": _components(signature)},
    }


def write_document(document: Json, target: Path) -> None:
    """Write the document in one step; a file that already says the same is left alone.

    Two servers of one project may start at once: neither ever sees half a file, and a read-only checkout that
    carries its schema can be served.
    """
    text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    if target.is_file() and target.read_text(encoding="utf-8") == text:
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        beside.write_text(text, encoding="utf-8")
        beside.replace(target)
    finally:
        beside.unlink(missing_ok=True)


def _components(signature: Signature) -> Json:
    properties = {item.name: _property(item, order) for order, item in enumerate(signature.parameters)}
    inputs: Json = {"title": "Input", "type": "object", "properties": properties}
    required = [item.name for item in signature.parameters if item.required and not item.optional]
    if required:
        inputs["required"] = required
    return {
        "Input": inputs,
        "Output": {**TYPES[signature.output], "title": "Output"},
        **{item.name: _enumeration(item) for item in signature.parameters if item.choices},
        **_protocol_components(),
    }


def _property(parameter: Parameter, order: int) -> Json:
    """One input as Cog spells it; keys sorted, as Cog's generator leaves them."""
    entry: Json = {"x-order": order}
    if parameter.choices:
        entry["allOf"] = [_reference(parameter.name)]
    else:
        entry |= {"title": _title(parameter.name), **TYPES[parameter.type]}
    if not parameter.required:
        entry["default"] = _number(parameter.default)
    if parameter.optional:
        entry["nullable"] = True
    if parameter.deprecated:
        entry["deprecated"] = True
    entry["description"] = parameter.description
    for name, key in CONSTRAINTS.items():
        if (value := getattr(parameter, name)) is not None:
            entry[key] = _number(value)
    return dict(sorted(entry.items()))


def _enumeration(parameter: Parameter) -> Json:
    choices = [_number(choice) for choice in parameter.choices]
    kind = TYPES[parameter.type]["type"]
    return {"title": parameter.name, "description": "An enumeration.", "enum": choices, "type": kind}


def _protocol_components() -> Json:
    """The components that every Cog model shares."""
    text = {key: _field(key) for key in ("id", "version", *TIMES, "status", "error", "logs")}
    text |= {key: {**text[key], "format": "date-time"} for key in TIMES}
    request = {"id": _field("id"), "input": _reference("Input")}
    response = {"input": _reference("Input"), "output": _reference("Output"), **text}
    response["metrics"] = _field("metrics", "object")
    statuses = ["starting", "processing", "succeeded", "canceled", "failed"]
    return {
        "PredictionRequest": _record("PredictionRequest", request),
        "PredictionResponse": _record("PredictionResponse", response),
        "Status": {"title": "Status", "description": "An enumeration.", "enum": statuses, "type": "string"},
        "HTTPValidationError": _record("HTTPValidationError", {"detail": _list_of("Detail", "ValidationError")}),
        "ValidationError": _validation_error(),
    }


def _validation_error() -> Json:
    parts = {"anyOf": [{"type": "string"}, {"type": "integer"}]}
    fields = {
        "loc": {"title": "Location", "type": "array", "items": parts},
        "msg": {"title": "Message", "type": "string"},
        "type": {"title": "Error Type", "type": "string"},
    }
    return {**_record("ValidationError", fields), "required": list(fields)}


def _paths() -> Json:
    body = {"content": {"application/json": {"schema": _reference("PredictionRequest")}}}
    prediction = "prediction_id"
    identifier = {"in": "path", "name": prediction, "required": True, "schema": _field(prediction)}
    invalid = _answer("Validation Error", _reference("HTTPValidationError"))
    return {
        "/": {"get": _operation("Root", "root__get")},
        "/health-check": {"get": _operation("Healthcheck", "healthcheck_health_check_get")},
        "/predictions": {
            "post": {
                **_operation("Predict", "predict_predictions_post", _reference("PredictionResponse"), invalid),
                "description": "Run a single prediction on the model",
                "requestBody": body,
            }
        },
        "/predictions/{prediction_id}/cancel": {
            "post": {
                **_operation("Cancel", "cancel_predictions__prediction_id__cancel_post", {}, invalid),
                "parameters": [identifier],
            }
        },
    }


def _operation(summary: str, identifier: str, success: Json | None = None, invalid: Json | None = None) -> Json:
    responses = {"200": _answer("Successful Response", success or {})}
    if invalid is not None:
        responses["422"] = invalid
    return {"summary": summary, "operationId": identifier, "responses": responses}


def _answer(description: str, schema: Json) -> Json:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _record(title: str, properties: Json) -> Json:
    return {"title": title, "type": "object", "properties": properties}


def _field(name: str, kind: str = "string") -> Json:
    return {"title": _title(name), "type": kind}


def _list_of(title: str, component: str) -> Json:
    return {"title": title, "type": "array", "items": _reference(component)}


def _reference(component: str) -> Json:
    return {"$ref": f"#/components/schemas/{component}"}


def _title(name: str) -> str:
    """`audio2audio_strength` -> `Audio2audio Strength`."""
    return " ".join(part[:1].upper() + part[1:] for part in name.split("_"))


def _number(value: object) -> object:
    """Whole floats as integers, which is how Cog's generator prints them."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def main(argv: Sequence[str] | None = None) -> int:
    """Print or write the schema of this repository's predictor; 1 when Cog could not read it."""
    parser = argparse.ArgumentParser(prog="script/schema", description="Write the OpenAPI schema Cog would build.")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="where to write it (default: print it)")
    parser.add_argument("--predictor", type=Path, default=PROJECT / PREDICTOR_FILE, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    try:
        document = openapi_document(read_signature(options.predictor))
    except SchemaError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    if options.output is None:
        sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    else:
        write_document(document, options.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
