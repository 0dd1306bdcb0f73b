"""The command line's vocabulary: parameters of the Python API by the options that say them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from acestep.commands import v1
from acestep.naming import Naming

OPTIONS: Mapping[str, str] = MappingProxyType(
    {
        "task_type": "task",
        "src_audio": "SONG",
        "audio_codes": "codes",
        "preserve_vocals": "--keep-voice",
        "reference_audio": "--reference",
        "caption": "TEXT",
        "lyrics": "--lyrics",
        "simple_query": "--simple TEXT",
        "duration": "--duration",
        "vocal_language": "--language",
        "bpm": "--bpm",
        "keyscale": "--key",
        "timesignature": "--timesignature",
        "seed": "--seed",
        "variation_seed": "--variation-seed",
        "variation_strength": "--variation-strength",
        "batch_size": "--batch-size",
        "inference_steps": "--steps",
        "guidance_scale": "--guidance",
        "shift": "--shift",
        "scheduler_type": "--solver",
        "infer_method": "--method",
        "dcw_mode": "--correction",
        "dcw_scaler": "--correction-strength",
        "dcw_high_scaler": "--correction-strength-high",
        "sample_rate": "--sample-rate",
        "audio_format": "--format",
        "sign_cert": "--sign-cert",
        "sign_key": "--sign-key",
        "output": "--output",
        "model": "--model",
        "device": "--device",
        "offload_to_cpu": "--offload",
        "lm_model": "--lm",
        "lm": "--lm",
        "temperature": "--temperature",
        "lm_temperature": "--temperature",
        "top_k": "--top-k",
        "lm_top_k": "--top-k",
        "top_p": "--top-p",
        "lm_top_p": "--top-p",
        "lm_cfg_scale": "--lm-guidance",
        "use_cot_caption": "--keep-caption",
        "use_cot_lyrics": "--write-lyrics",
        "backend": "--backend",
        "repainting_start": "--start",
        "repainting_end": "--end",
        **v1.OPTIONS,
    }
)
_ADVICE = MappingProxyType(
    {"offload_to_cpu=True": "--offload", "thinking=False": "--lm none", "a duration below": "a --duration below"}
)


def naming(names: Mapping[str, str]) -> Naming:
    """The vocabulary of a command.

    Args:
        names: parameter to option, where it is not that of ``OPTIONS``.
    """
    return Naming({**OPTIONS, **names}, _ADVICE)
