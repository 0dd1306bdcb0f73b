"""What the command lines of all trainers have in common: folders, how long, how fast, on what.

In: what is particular to a trainer. Out: a parser, and what was typed as ``Settings`` and ``Budget``. Refuses to know
what is trained.
"""

from __future__ import annotations

import math
import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

import torch

from acestep.devices import CPU, CUDA, choose_placement
from acestep.terminal import finish_command
from acestep.training.learn.trainer import Budget, Settings


def trainer_parser(name: str, description: str, folders: Sequence[str], *, batch: int, rate: float) -> ArgumentParser:
    """The command line of a trainer.

    Args:
        name: of its module in ``acestep.training``.
        description: what it does.
        folders: positional arguments, all paths; the last is the run's own.
        batch, rate: what is taken when nothing is typed.
    """
    parser = ArgumentParser(prog=f"python -m acestep.training.{name}", description=description)
    for folder in folders:
        parser.add_argument(folder, type=Path)
    parser.add_argument("--minutes", type=positive(float), help="of this call")
    parser.add_argument("--steps", type=positive(int), help="of the whole training")
    parser.add_argument("--batch", type=positive(int), default=batch, help="examples per micro step (%(default)s)")
    parser.add_argument(
        "--accumulate", type=positive(int), default=1, help="micro steps whose gradients make one step (%(default)s)"
    )
    parser.add_argument("--rate", type=positive(float), default=rate, help="learning rate (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of everything random (%(default)s)")
    parser.add_argument(
        "--device", choices=(CPU, CUDA), default=CPU, help="a GPU that has bf16 trains in it (%(default)s)"
    )
    return parser


def positive(kind: Callable[[str], float]) -> Callable[[str], float]:
    """A type of command-line arguments: finite numbers of a kind above 0."""

    def read(typed: str) -> float:
        try:
            number = kind(typed)
        except ValueError as error:
            raise ArgumentTypeError(f"{typed!r} is no number of the kind that is needed here") from error
        if not (math.isfinite(number) and number > 0):
            raise ArgumentTypeError(f"{typed} has to be above 0")
        return number

    return read


def settings_of(arguments: Namespace, weight_decay: float = 0.0) -> Settings:
    """How the typed command trains.

    Raises:
        DeviceError: there is no such device.
    """
    return Settings(
        learning_rate=arguments.rate,
        weight_decay=weight_decay,
        accumulate=arguments.accumulate,
        seed=arguments.seed,
        bf16=trains_in_bf16(arguments.device),
    )


def trains_in_bf16(device: str) -> bool:
    """Whether networks are trained in bf16 there.

    Raises:
        DeviceError: there is no such device, or it is too old for these networks.
    """
    return choose_placement(device).dtype is torch.bfloat16


def budget_of(arguments: Namespace) -> Budget:
    """When the typed command stops; never, if nothing was typed."""
    return Budget(arguments.steps, arguments.minutes)


def run_command(name: str, main: Callable[[], None]) -> NoReturn:
    """Run a command of ``acestep.training`` and end the process with its exit code."""
    sys.exit(finish_command(f"acestep.training.{name}", main, interrupted="interrupted; the same command goes on"))
