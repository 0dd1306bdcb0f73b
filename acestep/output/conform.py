"""Whether a JSON value has the shape that a JSON schema describes; if not, why, as one clause.

In: a value that a stranger's file may have held, and a schema. Out: the first thing that is wrong. Only the words of
JSON schema that ``schema.recipe_schema`` uses are understood; numbers that are not finite are no numbers. Refuses to
know recipes. (The library that does this for every schema is a dependency of the tests, which compare the two.)
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from typing import Any

from acestep.errors import shown

DEPTH_MAX = 24  # of objects and lists within one another


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and _is_finite(value)


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number that no float holds
        return False


_IS: Mapping[str, Callable[[object], bool]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
    "number": _is_number,
    "integer": lambda value: _is_number(value) and float(value).is_integer(),
}
_NAMES = {"object": "an object", "array": "a list", "string": "text", "boolean": "true or false", "null": "null"}
_NAMES |= {"number": "a number", "integer": "a whole number"}


def first_problem(value: object, schema: Mapping[str, Any]) -> str | None:
    """What breaks a schema first in a JSON value, as a clause such as "seeds[0] must be ...", or None."""
    if _is_too_deep(value):
        return f"it is nested more than {DEPTH_MAX} deep"
    return next(_problems(value, schema, ""), None)


def _problems(value: Any, schema: Mapping[str, Any], place: str) -> Iterator[str]:
    kinds = schema.get("type", ())
    kinds = (kinds,) if isinstance(kinds, str) else kinds
    if kinds and not any(_IS[kind](value) for kind in kinds):
        yield f"{_named(place)} must be {' or '.join(_NAMES[kind] for kind in kinds)}, not {shown(value)}"
    elif isinstance(value, dict):
        yield from _problems_of_object(value, schema, place)
    elif isinstance(value, list):
        if len(value) < schema.get("minItems", 0):
            yield f"{_named(place)} must not be empty"
        for index, item in enumerate(value):
            yield from _problems(item, schema.get("items", {}), f"{place}[{index}]")
    elif isinstance(value, str):
        if "pattern" in schema and not re.search(schema["pattern"], value):
            yield f"{_named(place)} {shown(value)} is no such text"
        yield from _problems_of_choice(value, schema, place)
    elif _is_number(value):
        yield from _problems_of_number(value, schema, place)


def _problems_of_object(value: dict[str, Any], schema: Mapping[str, Any], place: str) -> Iterator[str]:
    known, rest = schema.get("properties", {}), schema.get("additionalProperties", True)
    dependent = [needed for name, needed in schema.get("dependentRequired", {}).items() if name in value]
    for name in (*schema.get("required", ()), *chain.from_iterable(dependent)):
        if name not in value:
            yield f"{_named(place)} lacks {name}"
    for name, item in value.items():
        if name in known:
            yield from _problems(item, known[name], f"{place}.{name}".lstrip("."))
        elif rest is False:
            yield f"{_named(place)} has the field {shown(name)}, which is unknown"
        elif rest is not True:
            yield from _problems(item, rest, f"{place}.{shown(name)}")


def _problems_of_choice(value: object, schema: Mapping[str, Any], place: str) -> Iterator[str]:
    if "enum" in schema and value not in schema["enum"]:
        yield f"{_named(place)} {shown(value)} is unknown"


def _problems_of_number(value: float, schema: Mapping[str, Any], place: str) -> Iterator[str]:
    low, high = schema.get("minimum", -math.inf), schema.get("maximum", math.inf)
    if not low <= value <= high:
        rule = f"be at least {low}" if high == math.inf else f"be from {low} to {high}"
        yield f"{_named(place)} must {rule}, not {shown(value)}"
    if "const" in schema and value != schema["const"]:
        yield f"{_named(place)} must be {schema['const']}, not {shown(value)}"


def _named(place: str) -> str:
    return place or "it"


def _is_too_deep(value: object) -> bool:
    layer = [value]
    for _ in range(DEPTH_MAX + 1):
        layer = [
            item
            for outer in layer
            if isinstance(outer, (dict, list))
            for item in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not layer:
            return False
    return True
