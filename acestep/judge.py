"""Values of the caller's types become plain Python values, or one sentence says what is wrong with their type.

In: ``GenerationParams`` or ``GenerationConfig`` with whatever a caller put in (paths, numpy numbers, nonsense).
Out: a copy with ``str``, ``int``, ``float``, ``bool``, ``list`` and ``None`` only. Ranges are judged elsewhere.
"""

from __future__ import annotations

import operator
import os
from collections.abc import Callable, Iterable
from dataclasses import fields, replace
from numbers import Real
from typing import TypeVar

from acestep.errors import InputError
from acestep.params import GenerationConfig, GenerationParams

Values = TypeVar("Values", GenerationParams, GenerationConfig)
_PATHS = ("reference_audio", "src_audio")
_OUTPUTS = "cot_"  # filled in results; what a caller leaves there is not read


def plain(values: Values) -> Values:
    """A copy in plain types; the caller's object stays as it is.

    Raises:
        InputError: a value is of a type its field cannot have.
    """
    changed = {}
    for field in fields(values):
        value = getattr(values, field.name)
        if field.name.startswith(_OUTPUTS):
            changed[field.name] = field.default
        elif value is None and "None" in field.type:
            changed[field.name] = None
        elif field.name in _PATHS:
            changed[field.name] = _path(field.name, value)
        else:
            changed[field.name] = _KINDS[field.type.removesuffix(" | None")](field.name, value)
    return replace(values, **changed)


def _text(name: str, value: object) -> str:
    """Text as it will be read: line ends are newlines, NUL characters are gone."""
    if not isinstance(value, str):
        raise InputError.must(name, "be text", value)
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise InputError(f"{name} holds half a character (a lone surrogate); send valid Unicode text.", field=name)
    return value.replace("\0", "").replace("\r\n", "\n")


def _path(name: str, value: object) -> str:
    if not isinstance(value, (str, os.PathLike)):
        raise InputError.must(name, "be the path of a file", value)
    return os.fspath(value)


def _flag(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise InputError.must(name, "be True or False", value)
    return value


def _number(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise InputError.must(name, "be a number", value)
    try:
        return float(value)
    except OverflowError:
        raise InputError(f"{name} is too large a number.", field=name) from None


def _whole(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, Real) or not _is_whole(value):
        raise InputError.must(name, "be a whole number", value)
    return int(value)


def _is_whole(value: Real) -> bool:
    try:
        return operator.index(value) == value  # type: ignore[arg-type]
    except TypeError:
        return float(value).is_integer()


def _list_of(kind: Callable[[str, object], object]) -> Callable[[str, object], list[object]]:
    def convert(name: str, value: object) -> list[object]:
        if isinstance(value, (str, bytes)) or not isinstance(value, Iterable):
            raise InputError.must(name, "be a list of numbers", value)
        return [kind(name, item) for item in value]

    return convert


def _seeds(name: str, value: object) -> int | list[object]:
    return _list_of(_whole)(name, value) if isinstance(value, Iterable) else _whole(name, value)


_KINDS: dict[str, Callable[[str, object], object]] = {
    "str": _text,
    "bool": _flag,
    "int": _whole,
    "float": _number,
    "Sequence[float]": _list_of(_number),
    "Sequence[int]": _list_of(_whole),
    "Sequence[int] | int": _seeds,
}
