"""The published shape of ``POST /generate``, made from the table of fields and the ranges of the Python API.

In: ``fields.FIELDS``. Out: JSON schema for the OpenAPI document. Bodies are not judged by it (``mapping`` and
``request`` do that, in sentences); it is what people and generators of clients read.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from acestep.constants import BATCH_MAX, LANGUAGES
from acestep.fields import FIELDS as RANGES
from acestep.output.formats import FORMATS
from acestep.sampling.choice import CFG_TYPES, GUIDANCE_MAX, SOLVER_NAMES
from acestep.sampling.schedule import STEPS_MAX
from acestep.server.fields import FIELDS, Field
from acestep.server.upstream import RETAKE
from acestep.tasks import TASKS

_TYPES: Mapping[str, dict[str, Any]] = MappingProxyType(
    {
        "str": {"type": "string"},
        "bool": {"type": "boolean"},
        "int": {"type": "integer"},
        "float": {"type": "number"},
        "Sequence[int]": {"type": "array", "items": {"type": "integer"}},
        "Sequence[float]": {"type": "array", "items": {"type": "number"}},
    }
)
_CHOICES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "task_type": (*TASKS, RETAKE),
        "audio_format": tuple(FORMATS),
        "vocal_language": tuple(LANGUAGES),
        "scheduler_type": SOLVER_NAMES,
        "cfg_type": CFG_TYPES,
    }
)
_LIMITS: Mapping[str, tuple[float, float]] = MappingProxyType(  # beside those of ``_RANGES``
    {"batch_size": (1, BATCH_MAX), "inference_steps": (1, STEPS_MAX), "guidance_scale": (0, GUIDANCE_MAX)}
)
_RANGES = MappingProxyType({row.name: row for row in RANGES})
EXAMPLE = MappingProxyType(
    {
        "checkpoint_path": "auto",
        "audio_duration": 30.0,
        "prompt": "pop, upbeat, energetic",
        "lyrics": "[verse]\nHello world\nThis is a test\n\n[chorus]\nMusic generation\nIs amazing",
        "actual_seeds": [12345],
    }
)


def body_schema() -> dict[str, Any]:
    """JSON schema of the body."""
    return {
        "type": "object",
        "title": "Song",
        "properties": {row.name: _property(row) for row in FIELDS.values() if row.listed},
        "example": dict(EXAMPLE),
    }


def request_body() -> dict[str, Any]:
    """The body in the words of OpenAPI."""
    return {"required": True, "content": {"application/json": {"schema": body_schema()}}}


def _property(row: Field) -> dict[str, Any]:
    schema = dict(_TYPES[row.kind.removesuffix(" | None")])
    if row.kind.endswith(" | None") or row.default is None:
        schema["type"] = [schema["type"], "null"]
    default = {} if row.default is None else {"default": row.default}
    return {**schema, "description": row.about.replace("``", "`"), **default, **_bounds(row)}


def _bounds(row: Field) -> dict[str, Any]:
    if row.parameter in _CHOICES:
        return {"enum": list(_CHOICES[row.parameter])}
    found = _RANGES.get(row.parameter)
    if found is not None and found.choices:
        return {"enum": list(found.choices)}
    low, high = _LIMITS.get(row.parameter, (None, None) if found is None else (found.low, found.high))
    return {} if low is None else {"minimum": low, "maximum": high}
