"""Errors in the command line's own words: a parameter of the Python API is called by the option that says it.

In: an error about a parameter. Out: the same error about an option. Refuses to know the commands: each says which of
its options are called otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType

from acestep.errors import InputError

OPTIONS: Mapping[str, str] = MappingProxyType(
    {
        "task_type": "command",
        "src_audio": "SONG",
        "audio_codes": "codes",
        "reference_audio": "--reference",
        "caption": "TEXT",
        "lyrics": "--lyrics",
        "vocal_language": "--language",
        "bpm": "--bpm",
        "keyscale": "--key",
        "timesignature": "--timesignature",
        "seed": "--seed",
        "batch_size": "--batch-size",
        "inference_steps": "--steps",
        "guidance_scale": "--guidance",
        "shift": "--shift",
        "scheduler_type": "--solver",
        "sample_rate": "--sample-rate",
        "audio_format": "--format",
        "output": "--output",
        "model": "--model",
        "device": "--device",
        "lm_model": "--lm",
        "lm": "--lm",
        "backend": "--backend",
        "repainting_start": "--start",
        "repainting_end": "--end",
    }
)


@contextmanager
def in_options(names: Mapping[str, str]) -> Iterator[None]:
    """Errors about a parameter leave the block speaking of the option it came from.

    Args:
        names: parameter to option.
    """
    try:
        yield
    except InputError as error:
        raise _told(error, names) from error


def _told(error: InputError, names: Mapping[str, str]) -> InputError:
    """A name that is an everyday word too is one only where the sentence is about it; what is quoted stays."""
    compound = "|".join(name for name in names if "_" in name)
    text = re.sub(rf"'[^']*'|\b(?:{compound})\b", lambda found: names.get(found[0], found[0]), str(error))
    told = type(error)(text, field=error.field, value=error.value).renamed(names)
    told.field = names.get(error.field, error.field)
    return told
