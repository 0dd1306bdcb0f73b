"""Every error this project raises on purpose, in one tree.

    AceStepError
    ├── InputError            a field has a value that is not allowed (field, value, allowed)
    │   ├── AudioError        an audio file that cannot be read, is silent, or is over a limit
    │   └── UnsupportedError  inputs that are each fine but do not go together (task x model, solver x method)
    ├── WeightsError          missing, truncated or mismatched weight files (names all of them)
    ├── NotLoadedError        a model is needed that no one has loaded
    ├── GenerationError       the networks ran and produced something that is not music (NaN, silence)
    ├── OutputError           a file cannot be written on this machine (folder, disk, encoder)
    ├── DeviceError           the asked-for device or dtype does not exist on this machine
    │   └── DeviceMemoryError the device ran out of memory (says what would fit)
    └── CancelledError        the caller asked to stop

The doors (``inference``, ``predict.py``, ``cli``) turn these into a failed result, a Cog exception, an exit code.
Everything else that escapes is a bug and keeps its traceback.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Self

_LONGEST_SHOWN = 80  # characters of a value in a message; of a longer one, the first of them
_CUT = 60


class AceStepError(Exception):
    """Base of all errors raised on purpose; its text is one sentence for the person who made the request."""


class InputError(AceStepError):
    """A field has a value that is not allowed.

    Args:
        message: the one sentence; names the field, the value and what is allowed.
        field: name of the offending field in ``GenerationParams``/``GenerationConfig``.
        value: what was given.
    """

    def __init__(self, message: str, *, field: str = "", value: object = None) -> None:
        super().__init__(message)
        self.field = field
        self.value = value

    @classmethod
    def must(cls, field: str, rule: str, value: object) -> Self:
        """``{field} must {rule}, not {value}.``, the value cut by `shown`."""
        return cls(f"{field} must {rule}, not {shown(value)}.", field=field, value=value)

    @classmethod
    def unknown(cls, field: str, value: object, allowed: Iterable[str]) -> Self:
        """``{field} {value} is unknown; choose one of: ...``, the value cut by `shown`."""
        choices = ", ".join(allowed)
        return cls(f"{field} {shown(value)} is unknown; choose one of: {choices}.", field=field, value=value)

    def renamed(self, names: Mapping[str, str]) -> Self:
        """This error in the vocabulary of another door: its field, also as the sentence's subject, by a new name."""
        name = names.get(self.field)
        if name is None:
            return self
        text = re.sub(rf"(^|: ){self.field}\b", rf"\g<1>{name}", str(self), count=1)
        return type(self)(text, field=name, value=self.value)


class AudioError(InputError):
    """An audio file cannot be read, is silent where sound is needed, or exceeds a limit."""


class UnsupportedError(InputError):
    """Inputs that are each valid but do not go together."""


class WeightsError(AceStepError):
    """Weight files are missing, truncated or do not match the network; the text lists every problem."""


class NotLoadedError(AceStepError):
    """A model is needed that has not been loaded."""


class GenerationError(AceStepError):
    """The networks produced NaN, infinity or silence instead of music."""


class OutputError(AceStepError):
    """A file cannot be written on this machine, for no fault of who asked; nothing is left behind."""


class DeviceError(AceStepError):
    """The requested device or dtype is not available on this machine."""


class DeviceMemoryError(DeviceError):
    """The device ran out of memory; the text says what would fit."""


class CancelledError(AceStepError):
    """The caller asked to stop before the song was finished."""


def shown(value: object) -> str:
    """A value as messages show it: its ``repr``; one of more than 80 characters is cut and says how many it has."""
    text = value if isinstance(value, str) else repr(value)
    if len(text) <= _LONGEST_SHOWN:
        return repr(value)
    start = text[:_CUT]
    return (
        f"{start!r}... ({len(text)} characters)" if isinstance(value, str) else f"{start}... ({len(text)} characters)"
    )
