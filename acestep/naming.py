"""What the package says about a parameter, in the words of the door it leaves through.

In: errors and log lines that name parameters of the Python API. Out: the same with that door's names. Refuses to know
the doors, and to judge anything.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property

from acestep.errors import DeviceMemoryError, InputError

_QUOTED = r"""(?<!\w)'[^']*'(?!\w)|"[^"]*\""""  # what a caller said is repeated as it was said


@dataclass(frozen=True)
class Naming:
    """The vocabulary of a door.

    Attributes:
        names: parameter of the Python API to what it is called here, where that differs.
        advice: clause of an error about memory to what a user of this door can do.
    """

    names: Mapping[str, str]
    advice: Mapping[str, str] = field(default_factory=dict)

    def text(self, sentence: str) -> str:
        """A sentence in this door's names. Those that are English words too are only changed as its subject."""
        return self._named.sub(self._name_of, sentence)

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Errors about parameters leave the block in this door's names."""
        try:
            yield
        except InputError as error:
            told = error.renamed(self.names)
            raise type(error)(self.text(str(told)), field=told.field, value=told.value) from error
        except DeviceMemoryError as error:
            text = str(error)
            for clause, other in self.advice.items():
                text = text.replace(clause, other)
            raise DeviceMemoryError(self.text(text)) from error

    @cached_property
    def _named(self) -> re.Pattern[str]:
        words = "|".join(name for name in self.names if "_" not in name) or r"(?!)"
        compounds = "|".join(name for name in self.names if "_" in name) or r"(?!)"
        subject = rf"^(?P<subject>{words})\b(?= (?:has|and|or) )"
        return re.compile(rf"{_QUOTED}|{subject}|(?<![\w-])(?P<name>{compounds})\b")

    def _name_of(self, found: re.Match[str]) -> str:
        return self.names.get(found["subject"] or found["name"], found[0])


class NamingFormatter(logging.Formatter):
    """Log lines whose warnings are in a door's names.

    Args:
        naming: the names.
        form: of a line, as ``logging.Formatter`` takes it.
    """

    def __init__(self, naming: Naming, form: str = "%(message)s") -> None:
        super().__init__(form)
        self._naming = naming

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record."""
        text = super().format(record)
        return self._naming.text(text) if record.levelno == logging.WARNING else text
