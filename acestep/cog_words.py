"""The Cog door's vocabulary: parameters of the Python API by the names of the inputs of ``predict.py``. Pure data."""

from __future__ import annotations

from types import MappingProxyType

from acestep.naming import Naming

INPUT_NAMES = MappingProxyType(  # parameter of the Python API -> input of predict.py, where they differ
    {
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
)
COG = Naming(
    INPUT_NAMES,
    advice={
        "a duration below": "an audio_duration below",
        "offload_to_cpu=True": "a server with ACESTEP_OFFLOAD=1",
    },
)
