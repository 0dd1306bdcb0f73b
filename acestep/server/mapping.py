"""A body of ``POST /generate`` becomes parameters of the Python API, and what only this door knows.

    JSON --look_up--> fields --by table--> Said(params, config, own), and the names that messages use

In: a decoded JSON object. Out: a frozen ``Said``. What upstream's server says by a combination of fields is in
``upstream``. Refuses to know models, files and HTTP; judges types and lengths, nothing else.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from acestep.constants import SEED_MAX
from acestep.errors import InputError, UnsupportedError
from acestep.fields import check_number
from acestep.judge import plain
from acestep.naming import Naming
from acestep.params import GenerationConfig, GenerationParams
from acestep.server.fields import AUDIO, CONVERTED, DEFAULTS, ECHOES, FIELDS, RENAMED, Field, Own, look_up

_ADVICE = MappingProxyType(
    {"a duration below": "an audio_duration below", "offload_to_cpu=True": "cpu_offload=true", "=False": "=false"}
)
_CONFIG = frozenset(GenerationConfig.__dataclass_fields__)


@dataclass(frozen=True, slots=True)
class Said:
    """What a request says.

    Attributes:
        params, config: in the Python API's vocabulary.
        own: what that has no words for.
        given: the parameters that the body names.
        naming: parameter to the field that said it.
    """

    params: GenerationParams
    config: GenerationConfig
    own: Own
    given: frozenset[str]
    naming: Naming


def decoded(body: bytes) -> dict[str, Any]:
    """The JSON object of a body.

    Raises:
        InputError: it is none.
    """
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError is one; too many digits is one
        reason = f"line {error.lineno}: {error.msg}" if isinstance(error, json.JSONDecodeError) else "unreadable"
        raise InputError(f"The body is not valid JSON ({reason}).") from error
    if not isinstance(value, dict):
        raise InputError("The body must be a JSON object with the fields of the song.")
    return value


def understood(body: Mapping[str, Any]) -> Said:
    """What a body says. A field that is null or an empty list counts as not said.

    Raises:
        InputError: an unknown field, one that is said twice, or a value of a wrong type.
    """
    given = {name: value for name, value in body.items() if value not in (None, []) and name not in ECHOES}
    rows = look_up(given)
    names = _preferred() | {row.parameter: row.name for row in rows if row.parameter}
    naming = Naming(names, _ADVICE)
    for row in rows:
        _check_length(row, given[row.name])
    with _in_json():
        own = plain(Own(**{row.name: given[row.name] for row in rows if row.name in Own.__dataclass_fields__}))
    said = {row.parameter: _meant(row, given, own) for row in rows if row.parameter}
    values = {**DEFAULTS, **said}
    with naming.errors(), _in_json():
        config = plain(GenerationConfig(**{name: value for name, value in values.items() if name in _CONFIG}))
        params = plain(GenerationParams(**{name: value for name, value in values.items() if name not in _CONFIG}))
    return Said(params, config, own, frozenset(said), naming)


@contextmanager
def _in_json() -> Iterator[None]:
    """Messages spell true and false as JSON does."""
    try:
        yield
    except InputError as error:
        text = re.sub(r"^(\w+ must be) True or False", r"\1 true or false", str(error))
        raise type(error)(text, field=error.field, value=error.value) from error


def _preferred() -> dict[str, str]:
    """Parameter to the field that messages speak of when the body names none; a synonym's first wins."""
    fields = {**RENAMED, **{name: FIELDS[name].parameter for name in CONVERTED}}
    return {parameter: name for name, parameter in reversed(fields.items())}


def _meant(row: Field, given: Mapping[str, Any], own: Own) -> object:
    convert = _CONVERSIONS.get(row.name)
    return given[row.name] if convert is None else convert(row.name, getattr(own, row.name))


def _check_length(row: Field, value: object) -> None:
    if isinstance(value, str) and row.parameter not in AUDIO and len(value) > row.longest:
        raise InputError.must(row.name, f"have at most {row.longest} characters", value)


def _farness(name: str, nearness: float) -> float:
    """How far from the recording, of how near to it."""
    return round(1.0 - check_number(name, nearness, 0, 1), 6)


def _share(name: str, value: float) -> float:
    return check_number(name, value, 0, 1)


def _first_of_run(name: str, seeds: Sequence[int]) -> int:
    """The seed from which a batch counts upwards."""
    for index, seed in enumerate(seeds):
        if seed != (seeds[0] + index) % (SEED_MAX + 1):
            raise UnsupportedError(f"{name} must count upwards from the first, as those of a batch do.", field=name)
    return seeds[0]


_CONVERSIONS: Mapping[str, Callable[[str, Any], object]] = MappingProxyType(
    {
        "actual_seeds": lambda _, seeds: seeds,
        "ref_audio_strength": _farness,
        "retake_seeds": _first_of_run,
        "retake_variance": _share,
    }
)
