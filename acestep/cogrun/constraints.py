"""The rules an input must keep in itself. Cog's generator checks none of them, and the model then contradicts itself.

In: a `Parameter`. Out: the broken rules, each the end of a sentence that begins with the input's name.
Refuses to know: source text.
"""

from __future__ import annotations

from collections.abc import Iterator

from acestep.cogrun.parameter import Parameter

COMPONENTS = frozenset(
    {
        "Input",
        "Output",
        "PredictionRequest",
        "PredictionResponse",
        "Status",
        "HTTPValidationError",
        "ValidationError",
    }
)
# keyword of Input -> types it can constrain
APPLIES_TO = {
    "ge": ("int", "float"),
    "le": ("int", "float"),
    "min_length": ("str",),
    "max_length": ("str",),
    "regex": ("str",),
    "accept": ("Path",),
    "choices": ("str", "int", "float"),
}


def violations(parameter: Parameter) -> Iterator[str]:
    """Every rule an input breaks; nothing when it is sound."""
    if not parameter.description.strip():
        yield "has no description"
    yield from _misapplied(parameter)
    yield from _empty_ranges(parameter)
    yield from _choice_faults(parameter)
    yield from _default_faults(parameter)


def _misapplied(parameter: Parameter) -> Iterator[str]:
    for keyword, types in APPLIES_TO.items():
        given = getattr(parameter, keyword) not in (None, ())
        if given and parameter.type not in types:
            yield f"has {keyword}=, which means nothing for type {parameter.type}"


def _empty_ranges(parameter: Parameter) -> Iterator[str]:
    ranges = (("ge", "le"), ("min_length", "max_length"))
    for low, high in ranges:
        bounds = getattr(parameter, low), getattr(parameter, high)
        if None not in bounds and bounds[0] > bounds[1]:
            yield f"has {low}={bounds[0]} above {high}={bounds[1]}"
    for length in ranges[1]:
        bound = getattr(parameter, length)
        if bound is not None and (not isinstance(bound, int) or bound < 0):
            yield f"has {length}={bound}, not a number of characters"


def _choice_faults(parameter: Parameter) -> Iterator[str]:
    choices = parameter.choices
    if choices and parameter.name in COMPONENTS:
        yield "has choices and the name of a schema component, which it would overwrite"
    if len(set(choices)) < len(choices):
        yield "has the same choice twice"
    for choice in choices:
        if not parameter.accepts_type(choice):
            yield f"has choice {choice!r}, which is no {parameter.type}"


def _default_faults(parameter: Parameter) -> Iterator[str]:
    default = parameter.default
    if parameter.required:
        return
    if default is None:
        if not parameter.optional:
            yield "has default=None without Optional[...]: Cog would make it required"
    elif parameter.type == "Path":
        yield "is a Path with a default, which Cog does not resolve"
    elif not parameter.accepts_type(default):
        yield f"has default {default!r}, which is no {parameter.type}"
    elif fault := parameter.out_of_bounds(default):
        yield f"has default {default!r}, which {fault}"
