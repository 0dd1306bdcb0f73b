"""The Cog door's vocabulary: what the package says about a parameter leaves it speaking of the input it came from.

In: errors and log lines that name parameters of the Python API. Out: the same with the inputs of ``predict.py``.
Refuses to judge anything.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager

from acestep.errors import DeviceMemoryError, InputError

INPUT_NAMES = {  # parameter of the Python API -> input of predict.py, where they differ
    "task_type": "task",
    "caption": "prompt",
    "duration": "audio_duration",
    "src_audio": "input_audio",
    "inference_steps": "infer_steps",
    "audio_format": "output_format",
    "repainting_start": "inpaint_start_time",
    "repainting_end": "inpaint_end_time",
    "remainder": "return_all",
}
MEMORY_ADVICE = {  # what a caller of the Python API could change -> what one of this door can
    "a duration below": "an audio_duration below",
    "offload_to_cpu=True": "a server with ACESTEP_OFFLOAD=1",
}
_WORDS = "|".join(name for name in INPUT_NAMES if "_" not in name)  # parameters that are English words too
_NAMES = "|".join(name for name in INPUT_NAMES if "_" in name)
_VALUE = r"(?<!\w)'[^']*'(?!\w)"  # what a caller said is repeated as it was said
_NAMED = re.compile(rf"{_VALUE}|^(?P<subject>{_WORDS})\b(?= (?:has|and|or) )|\b(?P<name>{_NAMES})\b")


def in_cog_names(text: str) -> str:
    """A sentence of the package with this door's names in place of the Python API's; quoted values are left alone."""
    return _NAMED.sub(lambda found: INPUT_NAMES.get(found["subject"] or found["name"], found[0]), text)


@contextmanager
def cog_names() -> Iterator[None]:
    """Errors about a parameter leave the block speaking of the Cog input it came from."""
    try:
        yield
    except InputError as error:
        told = error.renamed(INPUT_NAMES)
        raise type(error)(in_cog_names(str(told)), field=told.field, value=told.value) from error
    except DeviceMemoryError as error:
        text = str(error)
        for python, cog in MEMORY_ADVICE.items():
            text = text.replace(python, cog)
        raise DeviceMemoryError(text) from error


class CogFormatter(logging.Formatter):
    """Log lines as their bare text, warnings in this door's names."""

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record."""
        text = super().format(record)
        return in_cog_names(text) if record.levelno == logging.WARNING else text
