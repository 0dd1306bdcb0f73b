"""One input of a predictor, as a value.

Refuses to know: where it was read from and which document it ends in.
"""

from __future__ import annotations

from dataclasses import dataclass

from acestep.cogrun.literals import Literal, Scalar

SCALAR_TYPES: dict[str, type] = {"str": str, "int": int, "float": float, "bool": bool, "Path": str}


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """An input with everything its `Input(...)` says.

    Args:
        name: the parameter's name, which is the key in a prediction's `input`.
        type: key of `SCALAR_TYPES`.
        optional: annotated `Optional[...]`; leaving the key out means None.
        required: has no default.
        ge, le: inclusive bounds of a number.
        min_length, max_length: bounds of a text, in characters.
        accept: media types of a file, a hint for forms.
        choices: the allowed values, empty when free.
    """

    name: str
    type: str
    optional: bool = False
    required: bool = False
    default: Literal = None
    description: str = ""
    ge: int | float | None = None
    le: int | float | None = None
    min_length: int | None = None
    max_length: int | None = None
    regex: str | None = None
    accept: str | None = None
    choices: tuple[Scalar, ...] = ()
    deprecated: bool = False

    def accepts_type(self, value: object) -> bool:
        """Whether a JSON value has this input's type: an integer is a number, a boolean is neither."""
        if isinstance(value, bool):
            return self.type == "bool"
        if self.type == "float":
            return isinstance(value, int | float)
        return isinstance(value, SCALAR_TYPES[self.type])

    def out_of_bounds(self, value: object) -> str:
        """What a value of the right type breaks, as the end of a sentence; empty when nothing."""
        if self.choices and value not in self.choices:
            return f"is not one of {', '.join(map(str, self.choices))}"
        if isinstance(value, str):
            return _outside(len(value), self.min_length, self.max_length, " characters")
        if isinstance(value, int | float) and not isinstance(value, bool):
            return _outside(value, self.ge, self.le, "")
        return ""


def _outside(amount: int | float, low: int | float | None, high: int | float | None, unit: str) -> str:
    if low is not None and amount < low:
        return f"is below the minimum of {low}{unit}"
    if high is not None and not amount <= high:
        return f"is above the maximum of {high}{unit}"
    return ""
