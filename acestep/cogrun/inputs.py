"""Turns `-i name=value` texts into the JSON values of a prediction, typed by the schema.

In: texts and the inputs the model has. Out: values by name; a local file stays a `Path` until it has a URL.
What can be known before the model is loaded is refused here: unknown names, wrong types, values out of range, missing
files. The runtime checks all of it again. Refuses to know: HTTP, and what an input means.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from acestep.cogrun.parameter import Parameter
from acestep.errors import InputError

Value = str | int | float | bool | Path

BOOLEANS = {"true": True, "1": True, "false": False, "0": False}
URL_SCHEMES = ("http://", "https://", "data:")
SUGGESTIONS = 3


def parse_inputs(texts: Sequence[str], parameters: Sequence[Parameter]) -> dict[str, Value]:
    """Values of the given inputs, by name.

    Args:
        texts: `name=value`; the value of a file input is `@FILE` or a URL.
        parameters: every input of the model.

    Raises:
        InputError: for the first text that is wrong, or when a required input is missing.
    """
    known = {parameter.name: parameter for parameter in parameters}
    values: dict[str, Value] = {}
    for text in texts:
        name, equals, raw = text.partition("=")
        if not equals:
            raise InputError(f"-i {text!r} is not of the form name=value", field="-i", value=text)
        if name in values:
            raise InputError(f"input {name!r} is given twice", field=name, value=raw)
        values[name] = _value(_known(name, known), raw)
    for parameter in parameters:
        if parameter.required and not parameter.optional and parameter.name not in values:
            raise InputError(f"input {parameter.name!r} is required", field=parameter.name)
    return values


def _known(name: str, known: Mapping[str, Parameter]) -> Parameter:
    if name in known:
        return known[name]
    close = difflib.get_close_matches(name, known, n=SUGGESTIONS, cutoff=0.5) or list(known)
    raise InputError(f"there is no input {name!r}; closest: {', '.join(close)}", field=name)


def _value(parameter: Parameter, raw: str) -> Value:
    value = CONVERTERS[parameter.type](parameter.name, raw)
    fault = "" if parameter.type == "Path" else parameter.out_of_bounds(value)
    if fault:
        raise InputError(f"{parameter.name}={_shown(raw)} {fault}", field=parameter.name, value=value)
    return value


def _shown(raw: str) -> str:
    return raw if len(raw) <= 40 else f"{raw[:37]}..."


def _text(_: str, raw: str) -> str:
    return raw


def _whole_number(name: str, raw: str) -> int:
    try:
        return int(raw)
    except ValueError:
        raise InputError(f"{name}={_shown(raw)} is not a whole number", field=name, value=raw) from None


def _real_number(name: str, raw: str) -> float:
    try:
        value = float(raw)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InputError(f"{name}={_shown(raw)} is not a number", field=name, value=raw)
    return value


def _boolean(name: str, raw: str) -> bool:
    if raw.lower() not in BOOLEANS:
        raise InputError(f"{name}={_shown(raw)} is neither true nor false", field=name, value=raw)
    return BOOLEANS[raw.lower()]


def _file(name: str, raw: str) -> str | Path:
    if raw.startswith(URL_SCHEMES):
        return raw
    if not raw.startswith("@"):
        raise InputError(f"{name}={_shown(raw)} must be @FILE or an http, https or data URL", field=name, value=raw)
    file = Path(raw[1:]).expanduser().absolute()
    if not file.is_file():
        raise InputError(f"{name}: there is no file {raw[1:]!r}", field=name, value=raw)
    return file


CONVERTERS: dict[str, Callable[[str, str], Value]] = {
    "str": _text,
    "int": _whole_number,
    "float": _real_number,
    "bool": _boolean,
    "Path": _file,
}
