"""What the body of ``POST /generate`` may say: one row per field. Pure data, and the look-up in it.

The names of ACE-Step v1's own server come first. Every parameter of the Python API that is not among them is a field
under its own name. Refuses to know what the values do (``mapping``) and how they look as a schema (``schema``).
"""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import Field as Declared
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Any

from acestep.errors import InputError, shown
from acestep.params import GenerationConfig, GenerationParams


@dataclass(frozen=True, kw_only=True)
class Own:
    """What only this door has words for.

    Attributes:
        checkpoint_path: name of a model, or its folder below the checkpoint root; empty is the server's default.
        lm_model: the 5Hz language model that plans where ``thinking`` asks for it: auto, none, or a name.
        actual_seeds: one seed per song, and where batch_size is silent as many songs; missing ones are random.
        bf16: false computes in float32; true is what the device does best.
        torch_compile: accepted; networks are not compiled here.
        device_id: accepted; only 0, the device this server was started on.
        cpu_offload: one network at a time on the GPU.
        overlapped_decode: accepted; long songs are always decoded in overlapping pieces where memory asks for it.
        output_path: name of the file, or its path below the output folder; empty makes one up.
        overwrite: a file of that name that this server wrote may be replaced.
        return_all: answer with a zip of every file of the batch, with recipes and lyrics.
        audio2audio_enable: the song follows ``ref_audio_input``.
        ref_audio_strength: nearness to ``ref_audio_input``, 0 to 1.
        retake_seeds: seeds of a second noise; those of a batch count upwards.
        retake_variance: of a retake, how much of the second noise is mixed in, 0 to 1; of a repaint, how far the
            region may go from what it was, above 0 to 1.
    """

    checkpoint_path: str = ""
    lm_model: str = "auto"
    actual_seeds: Sequence[int] | None = None
    bf16: bool | None = None
    torch_compile: bool = False
    device_id: int = 0
    cpu_offload: bool = False
    overlapped_decode: bool = False
    output_path: str = ""
    overwrite: bool = False
    return_all: bool = False
    audio2audio_enable: bool = False
    ref_audio_strength: float | None = None
    retake_seeds: Sequence[int] | None = None
    retake_variance: float | None = None


@dataclass(frozen=True, slots=True)
class Field:
    """One field of the body.

    Attributes:
        name: as the body spells it.
        parameter: of ``GenerationParams`` or ``GenerationConfig`` that it becomes; "" where there is none.
        kind: its type, as annotations spell it.
        default: what not saying it means.
        about: one clause for people.
        longest: characters of a text.
        listed: it is in the published schema; synonyms are not.
    """

    name: str
    parameter: str
    kind: str
    default: Any
    about: str
    longest: int
    listed: bool = True


RENAMED = MappingProxyType(  # field -> parameter; the first of several is the one that messages use
    {
        "audio_duration": "duration",
        "prompt": "caption",
        "infer_step": "inference_steps",
        "format": "audio_format",
        "task": "task_type",
        "src_audio_path": "src_audio",
        "ref_audio_input": "src_audio",
        "repaint_start": "repainting_start",
        "repaint_end": "repainting_end",
        "edit_target_prompt": "style_prompt",
        "edit_target_lyrics": "style_lyrics",
    }
)
CONVERTED = MappingProxyType(  # field of ``Own`` -> the parameter that it becomes
    {
        "actual_seeds": "seeds",
        "ref_audio_strength": "audio2audio_strength",
        "retake_seeds": "variation_seed",
        "retake_variance": "variation_strength",
    }
)
DEFAULTS = MappingProxyType(  # where this door means something else by silence than the Python API
    {"inference_steps": None, "guidance_scale": None, "thinking": False, "batch_size": 1, "audio_format": "wav"}
)
ECHOES = frozenset({"timecosts", "audio_path"})  # what upstream's servers add to parameters they save: read over
AUDIO = ("src_audio", "reference_audio")  # parameters that are files
LONGEST = 256  # characters of a text that is no sentence
_LONGEST = MappingProxyType(
    {
        "caption": 2048,
        "lyrics": 4096,
        "style_prompt": 2048,
        "style_lyrics": 4096,
        "instruction": 512,
        "audio_codes": 100_000,
        "lm_negative_prompt": 2048,
        "simple_query": 2048,
        "lora_name_or_path": 500,
        "checkpoint_path": 4096,
        "output_path": 1024,
    }
)
_A_RECORDING = "an id of POST /files, a data: URI, an https: URL, or a path in an input folder"
_ABOUT = MappingProxyType(  # where the Python API's clause would not help
    {
        "task": "what to make; retake is a new song with a second noise mixed in",
        "format": "of the file",
        "vocal_language": "of the singing",
        "scheduler_type": "the solver; pingpong adds fresh noise every step",
        "src_audio_path": f"the recording that is worked on: {_A_RECORDING}",
        "ref_audio_input": f"the recording that audio2audio follows: {_A_RECORDING}",
        "reference_audio": f"a recording whose timbre is taken over: {_A_RECORDING}",
        "repaint_start": "start of the region in seconds; below 0 lies before the recording",
        "repaint_end": "end of the region in seconds; beyond the recording it grows, -1 is its end",
        "audio_duration": "seconds, 10 to 600, of v1 models to 240; -1 or silence is automatic, which for v1 models "
        "is 30 to 240 drawn from the seed; a recording that is worked on brings its own",
        "infer_step": "denoising steps; silence is the model's own: v1 60, turbo 8, base and sft 50",
        "guidance_scale": "how closely prompt and lyrics are followed; 0 or 1 is off, silence the model's own: v1 15",
        "cfg_type": "the kind of guidance: projected (apg), plain (cfg), or rescaled (cfg_star, v1 models alone)",
        "omega_scale": "granularity of v1 models: how much each step's deviations from its mean count",
        "guidance_interval": "share of the steps that are guided, those in the middle, of v1 models; 1 is all",
        "guidance_interval_decay": "how far guidance falls to min_guidance_scale, of v1 models; 0 is constant",
        "min_guidance_scale": "where guidance ends that decays fully, of v1 models",
        "guidance_scale_text": "guidance by the prompt alone, of v1 models; acts where guidance_scale_lyric is above "
        "1 too",
        "guidance_scale_lyric": "guidance by the lyrics beside it, of v1 models; acts with guidance_scale_text alone",
        "use_erg_tag": "blur the attention of the prompt's encoder in what guidance leads away from, of v1 models; "
        "acts with use_erg_lyric alone",
        "use_erg_lyric": "the same in the encoder of the lyrics",
        "use_erg_diffusion": "the same in the transformer",
        "oss_steps": "steps, rising, that are picked from a longer grid, of v1 models; they replace infer_step",
        "lora_name_or_path": "an adapter of a v1 model: owner/name on the hub, an https: URL of a safetensors file, "
        "a path in a folder of the server, or none",
        "lora_weight": "how strongly the adapter acts; 0 is not at all",
        "instruction": "first line of the model's prompt, used as it is; otherwise the task's own",
    }
)
_OUTPUTS = "cot_"  # parameters that only results have
_ENTRY = re.compile(r"^([a-z]\w*(?:,\s+[a-z]\w*)*): (.+(?:\n {4}.+)*)", re.MULTILINE)


def _described(kind: type) -> dict[str, str]:
    """The clause that a dataclass's docstring has for each attribute."""
    text = inspect.getdoc(kind).partition("Attributes:\n")[2]
    entries = _ENTRY.findall(inspect.cleandoc(text))
    return {name: " ".join(about.split()) for names, about in entries for name in re.findall(r"\w+", names)}


def _rows() -> Iterator[Field]:
    about = _described(GenerationParams) | _described(GenerationConfig) | _described(Own)
    parameters = {row.name: row for kind in (GenerationParams, GenerationConfig) for row in fields(kind)}
    for name, parameter in RENAMED.items():
        yield _row(name, parameter, parameters[parameter], about[parameter])
    for declared in fields(Own):
        yield _row(declared.name, CONVERTED.get(declared.name, ""), declared, about[declared.name])
    synonyms = {*RENAMED.values(), *CONVERTED.values()}
    for name, declared in parameters.items():
        if not name.startswith(_OUTPUTS):
            yield _row(name, name, declared, about[name], listed=name not in synonyms)


def _row(name: str, parameter: str, declared: Declared[Any], about: str, *, listed: bool = True) -> Field:
    default = DEFAULTS.get(parameter, declared.default)
    longest = _LONGEST.get(parameter or name, LONGEST)
    return Field(name, parameter, declared.type, default, _ABOUT.get(name, about), longest, listed)


FIELDS: Mapping[str, Field] = MappingProxyType({row.name: row for row in _rows()})


def look_up(names: Iterable[str]) -> list[Field]:
    """The rows of the fields that a body has.

    Raises:
        InputError: one is unknown, or two say the same.
    """
    rows: dict[str, Field] = {}
    for name in names:
        row = FIELDS.get(name)
        if row is None:
            raise _unknown(name)
        other = rows.setdefault(row.parameter or name, row)
        if other is not row:
            raise InputError(f"{other.name} and {name} say the same; send one of them.", field=name)
    return list(rows.values())


def _unknown(name: str) -> InputError:
    near = difflib.get_close_matches(name, FIELDS, n=1)
    hint = f"did you mean {near[0]}?" if near else "the fields are listed at /docs."
    return InputError(f"{shown(name)} is no field of this request; {hint}", field=name)
