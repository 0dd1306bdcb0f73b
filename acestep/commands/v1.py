"""What only ACE-Step v1 reads, as options of every command that plays: guidance of its own, picked steps, a LoRA.

In: a parser; parsed arguments. Out: parameters of the Python API. Refuses to judge values (``request``); with other
models they are warned of.
"""

from __future__ import annotations

import argparse
from typing import Any

from acestep.commands.options import given
from acestep.errors import InputError
from acestep.fields import LYRIC_DETECTIONS
from acestep.params import GenerationParams

_DEFAULTS = GenerationParams()
_BLURRED = ("tag", "lyric", "diffusion")
_NUMBERS = (  # option, parameter, what it is
    ("--omega", "omega_scale", "granularity of the euler and heun solvers, -100 to 100, 0 is none"),
    ("--guidance-text", "guidance_scale_text", "guidance of the words alone; acts when both of these exceed 1"),
    ("--guidance-lyric", "guidance_scale_lyric", "guidance of the lyrics alone"),
    ("--guidance-interval", "guidance_interval", "share of the steps that are guided, those in the middle, 0 to 1"),
    ("--guidance-decay", "guidance_interval_decay", "how far guidance falls within them, 0 to 1"),
    ("--guidance-min", "min_guidance_scale", "where a full decay ends, 0 to 30"),
)
OPTIONS = {
    **{parameter: option for option, parameter, _ in _NUMBERS},
    "cfg_type": "--cfg",
    "oss_steps": "--oss-steps",
    "lyric_detection": "--lyric-detection",
    "lora_name_or_path": "--lora",
    "lora_weight": "--lora-weight",
}


def add_v1(parser: argparse.ArgumentParser) -> None:
    """A group of options for models of the first generation."""
    group = parser.add_argument_group("ACE-Step v1")
    kinds = "apg, cfg or cfg_star"
    group.add_argument("--cfg", metavar="NAME", help=f"guidance: {kinds}; default: {_DEFAULTS.cfg_type}")
    for option, parameter, about in _NUMBERS:
        default = getattr(_DEFAULTS, parameter)
        group.add_argument(option, type=float, metavar="X", help=f"{about}; default: {default:g}")
    group.add_argument(
        "--no-erg",
        action="append",
        choices=_BLURRED,
        metavar="PART",
        help=f"switch entropy rectifying guidance off for one of {', '.join(_BLURRED)}; may be repeated",
    )
    group.add_argument("--oss-steps", metavar="N,N,...", help="numbers of the steps to run, rising from 1")
    group.add_argument(
        "--lyric-detection",
        metavar="HOW",
        help=f"how the language of a line is found: {' or '.join(LYRIC_DETECTIONS)}; "
        f"default: {_DEFAULTS.lyric_detection}",
    )
    group.add_argument("--lora", metavar="NAME", help="LoRA: hub id, https: URL of safetensors, file or folder")
    default = _DEFAULTS.lora_weight
    group.add_argument("--lora-weight", type=float, metavar="X", help=f"its strength, 0 to 2; default: {default:g}")


def v1_of(arguments: argparse.Namespace) -> dict[str, Any]:
    """What ``add_v1`` declares, as parameters of the Python API.

    Raises:
        InputError: steps that are no numbers.
    """
    numbers = {parameter: option[2:].replace("-", "_") for option, parameter, _ in _NUMBERS}
    return {
        **given(
            arguments,
            **numbers,
            cfg_type="cfg",
            lyric_detection="lyric_detection",
            lora_name_or_path="lora",
            lora_weight="lora_weight",
        ),
        **{f"use_erg_{part}": False for part in arguments.no_erg or ()},
        **({} if arguments.oss_steps is None else {"oss_steps": _whole_numbers(arguments.oss_steps)}),
    }


def _whole_numbers(text: str) -> list[int]:
    try:
        return [int(entry) for entry in text.split(",") if entry.strip()]
    except ValueError as error:
        raise InputError.must("oss_steps", "be whole numbers separated by commas", text) from error
