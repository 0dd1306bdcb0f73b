"""The shape of a recipe as a JSON schema (draft 2020-12), documented field by field.

In: nothing. Out: the schema as a plain dict. It is the only description of the shape: what is read from a file is
judged by it (``conform``), and the parameters in it are the fields, types, ranges and words of ``GenerationParams``.
Refuses to know files, tags and what a recipe is used for.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields
from functools import cache
from typing import Any

from acestep.constants import BATCH_MAX, SEED_MAX, TRACK_NAMES
from acestep.fields import FIELDS
from acestep.params import GenerationParams

SCHEMA_VERSION = 2
SOURCE_FIELDS = ("src_audio", "reference_audio")  # parameters that are files here: named by hash under "sources"
_DRAFT = "https://json-schema.org/draft/2020-12/schema"
_SHA256 = "^[0-9a-f]{64}$"
_TYPES: Mapping[str, dict[str, Any]] = {  # of parameters, as they are annotated
    "str": {"type": "string"},
    "bool": {"type": "boolean"},
    "int": {"type": "integer"},
    "float": {"type": "number"},
    "Sequence[float]": {"type": "array", "items": {"type": "number"}},
    "Sequence[int]": {"type": "array", "items": {"type": "integer"}},
}


@cache
def recipe_schema() -> dict[str, Any]:
    """The JSON schema of a recipe of ``SCHEMA_VERSION``; its properties are in the order they are written."""
    sections = _sections()
    return {
        "$schema": _DRAFT,
        "title": f"Recipe of a song, version {SCHEMA_VERSION}",
        "description": "Everything that is needed to make a song again, and how it was made. No local paths, "
        "no credentials, no tokens: recordings that went in are named by their SHA-256.",
        **_object(sections, required=tuple(sections)),
    }


def _sections() -> dict[str, Any]:
    version = {"const": SCHEMA_VERSION, "description": "version of this schema; newer ones are refused"}
    return {
        "schema": {"type": "integer", **version},
        "generator": _object(
            {"name": _text("of the program"), "version": _text("of the program")}, "who made the file"
        ),
        "created": _text("when the file was made, UTC, ISO 8601"),
        "machine": _machine(),
        "task": _text("name of the task"),
        "parameters": {
            **_object(_parameters(), "as they took effect; those left out are at their defaults", ()),
            "dependentRequired": {"first_sha256": ["second_sha256", "bridge_s"]},
        },
        "seeds": _list({"type": "integer", "minimum": 0, "maximum": SEED_MAX}, "of this song", minItems=1),
        "batch": _batch(),
        "models": _models(),
        "plan": _plan(),
        "sources": _object(
            {"source": _source("what the task worked on"), "reference": _source("what the timbre was taken from")},
            "recordings that went in",
        ),
        "output": _output(),
        "scores": {"type": ["object", "null"], "description": "how good the song was found; null: it was not judged"},
        "warnings": _list({"type": "string"}, "inputs without effect and the like, one sentence each"),
        "timing": {
            "type": ["object", "null"],
            "additionalProperties": {"type": "number", "minimum": 0},
            "description": "seconds per stage",
        },
    }


def _machine() -> dict[str, Any]:
    columns = {
        "python": _text("version"),
        "torch": _text("version"),
        "system": _text("operating system and architecture"),
        "device": _text("that computed: cpu or cuda"),
        "processor": _text("name of the GPU, or of the CPU with its vector instructions"),
        "dtype": _text("number format of the networks"),
        "threads": {"type": "integer", "minimum": 0, "description": "of PyTorch on the CPU"},
    }
    about = "what the song was made on: on the same the same bits come out; null: nobody wrote it down"
    return _object(columns, about, nullable=True)


def _batch() -> dict[str, Any]:
    columns = {
        "songs": {"type": "integer", "minimum": 1, "maximum": BATCH_MAX, "description": "made at once"},
        "number": {"type": "integer", "minimum": 1, "maximum": BATCH_MAX, "description": "which of them this is"},
        "tracks": _list(
            {"type": "string", "enum": list(TRACK_NAMES)}, "taken apart at once, where each is a file of its own"
        ),
    }
    about = "what was made together with it: sizes decide how sums are rounded; null: nobody wrote it down"
    return _object(columns, about, nullable=True)


def _models() -> dict[str, Any]:
    used = {
        "name": _text("in the registry"),
        "revision": {"type": ["string", "null"], "description": "commit on the hub"},
        "sha256": {"type": ["string", "null"], "pattern": _SHA256, "description": "of the weights file"},
        "reason": _text("why this model"),
    }
    return {
        **_object({"dit": _object(used, "the transformer that played")}),
        "additionalProperties": _object(used, nullable=True),
        "description": "by role; dit played, lm wrote the plan, lora changed how it was played; null: none was used",
    }


def _plan() -> dict[str, Any]:
    metadata = {
        "bpm": {"type": ["integer", "null"]},
        "keyscale": {"type": "string"},
        "timesignature": {"type": "string"},
        "duration": {"type": ["number", "null"], "description": "seconds"},
        "language": {"type": "string"},
    }
    columns = {
        "caption": _text("the music, as it was played"),
        "lyrics": _text("the words, as they were sung"),
        "metadata": _object(metadata, "what is fixed; null or an empty text is open", ()),
        "audio_codes": _list({"type": "integer", "minimum": 0}, "5 Hz semantic codes; none: played from the words"),
    }
    return _object(columns, "the song on paper; null: it had none", (), nullable=True)


def _source(about: str) -> dict[str, Any]:
    columns = {
        "sha256": {"type": "string", "pattern": _SHA256, "description": "of the file's bytes"},
        "duration_s": {"type": "number", "minimum": 0, "description": "seconds"},
    }
    return _object(columns, about, nullable=True)


def _output() -> dict[str, Any]:
    columns = {
        "format": _text("of the file"),
        "sample_rate": {"type": "integer", "minimum": 1, "description": "Hz"},
        "samples": {"type": "integer", "minimum": 1, "description": "per channel"},
        "track": _text("the one track it is, or what it lacks, or nothing"),
    }
    return _object(columns, "what came out", ("format", "sample_rate", "samples"))


def _parameters() -> dict[str, Any]:
    """The fields of ``GenerationParams`` but for files, the model, and what stitching adds."""
    about = _documented(GenerationParams.__doc__ or "")
    rows = {field.name: _parameter(field.type, about.get(field.name, "")) for field in fields(GenerationParams)}
    for row in FIELDS:
        limits = {"minimum": row.low, "maximum": row.high, "enum": list(row.choices) or None}
        rows[row.name] |= {name: limit for name, limit in limits.items() if limit is not None}
    return {name: row for name, row in rows.items() if name not in SOURCE_FIELDS} | {
        "model": _text("that was asked for, or chosen"),
        "bridge_s": {"type": "number", "description": "seconds between two recordings that were joined"},
        "first_sha256": {"pattern": _SHA256, **_text("of the first of two recordings that were joined")},
        "second_sha256": {"pattern": _SHA256, **_text("of the second of them")},
    }


def _parameter(annotation: str, about: str) -> dict[str, Any]:
    row = dict(_TYPES[annotation.removesuffix(" | None")])
    if annotation.endswith(" | None"):
        row["type"] = [row["type"], "null"]
    return row | {"description": about}


def _documented(docstring: str) -> dict[str, str]:
    """What the "Attributes" of a docstring say, by name; several names may share a text."""
    _, _, text = docstring.partition("Attributes:\n")
    found = re.findall(r"^ {8}(\w[\w,\s]*?): (.*(?:\n {12}.*)*)", text, re.MULTILINE)
    return {name.strip(): " ".join(about.split()) for names, about in found for name in names.split(",")}


def _object(
    columns: Mapping[str, Any], about: str = "", required: tuple[str, ...] | None = None, *, nullable: bool = False
) -> dict[str, Any]:
    """An object with these fields and no others; all of them are needed unless ``required`` says which."""
    needed = tuple(columns) if required is None else required
    return {
        "type": ["object", "null"] if nullable else "object",
        "properties": dict(columns),
        "additionalProperties": False,
        **({"required": list(needed)} if needed else {}),
        **({"description": about} if about else {}),
    }


def _list(items: Mapping[str, Any], about: str, **limits: int) -> dict[str, Any]:
    return {"type": "array", "items": dict(items), **limits, "description": about}


def _text(about: str) -> dict[str, Any]:
    return {"type": "string", "description": about}
