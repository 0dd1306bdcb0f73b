"""The command line's vocabulary: parameters of the Python API by the options that say them. Pure data."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from acestep.naming import Naming

OPTIONS: Mapping[str, str] = MappingProxyType(
    {
        "task_type": "task",
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
        "offload_to_cpu": "--offload",
        "lm_model": "--lm",
        "lm": "--lm",
        "backend": "--backend",
        "repainting_start": "--start",
        "repainting_end": "--end",
    }
)
_ADVICE = MappingProxyType({"offload_to_cpu=True": "--offload"})
COMMAND_LINE = Naming(OPTIONS, _ADVICE)


def naming(names: Mapping[str, str]) -> Naming:
    """The vocabulary of a command.

    Args:
        names: parameter to option, where it is not that of ``OPTIONS``.
    """
    return Naming({**OPTIONS, **names}, _ADVICE)
