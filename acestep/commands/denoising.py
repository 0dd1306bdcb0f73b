"""How a song is denoised: steps, solver, guidance, corrections, as options of every command that plays.

In: a parser; parsed arguments. Out: parameters of the Python API. Refuses to judge values (``request``) and to know
what is played.
"""

from __future__ import annotations

import argparse
from typing import Any

from acestep.commands.options import given
from acestep.params import GenerationParams
from acestep.sampling.choice import INFER_METHODS, NO_CORRECTION, SOLVER_NAMES
from acestep.sampling.correction import CORRECTION_MODES

_DEFAULTS = GenerationParams()


def add_denoising(parser: argparse.ArgumentParser, *, euler_only: bool = False) -> None:
    """Steps, guidance and solver.

    Args:
        euler_only: no other solver goes with what is done, and no correction.
    """
    parser.add_argument("--steps", type=int, metavar="N", help="denoising steps; default: the model's")
    parser.add_argument(
        "--guidance", type=float, metavar="G", help="guidance scale, 0 to 30 (base, sft); default: the model's"
    )
    parser.add_argument("--shift", type=float, metavar="S", help="timestep shift, 0.1 to 10; default: the model's")
    default = _DEFAULTS.scheduler_type
    solvers = f"{default} alone, here" if euler_only else f"one of {', '.join(SOLVER_NAMES)}"
    parser.add_argument("--solver", default=default, metavar="NAME", help=f"{solvers}; default: {default}")
    if not euler_only:
        _add_method(parser)
        _add_correction(parser)


def denoising_of(arguments: argparse.Namespace) -> dict[str, Any]:
    """What ``add_denoising`` declares, as parameters of the Python API; None is the model's own."""
    return {
        "inference_steps": arguments.steps,
        "guidance_scale": arguments.guidance,
        "shift": arguments.shift,
        "scheduler_type": arguments.solver,
        **given(
            arguments,
            infer_method="method",
            dcw_mode="correction",
            dcw_scaler="correction_strength",
            dcw_high_scaler="correction_strength_high",
        ),
    }


def _add_method(parser: argparse.ArgumentParser) -> None:
    default = _DEFAULTS.infer_method
    parser.add_argument(
        "--method",
        metavar="NAME",
        help=f"{' or '.join(INFER_METHODS)}, which adds fresh noise at every step, as the solver pingpong does; "
        f"default: {default}",
    )


def _add_correction(parser: argparse.ArgumentParser) -> None:
    """The wavelet correction, and how strong it is."""
    modes = ", ".join((NO_CORRECTION, *CORRECTION_MODES))
    parser.add_argument(
        "--correction",
        metavar="MODE",
        help=f"wavelet correction of the solver {_DEFAULTS.scheduler_type}, one of {modes}; "
        f"default: {_DEFAULTS.dcw_mode}",
    )
    for option, about, default in (
        ("--correction-strength", "its strength; in double, that of the low band", _DEFAULTS.dcw_scaler),
        ("--correction-strength-high", "strength of the high band in double", _DEFAULTS.dcw_high_scaler),
    ):
        parser.add_argument(option, type=float, metavar="S", help=f"{about}, 0 to 1; default: {default:g}")
