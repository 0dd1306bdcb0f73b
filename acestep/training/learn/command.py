"""What the command lines of all trainers have in common: folders, how long, how fast, on what.

In: what is particular to a trainer. Out: a parser, and what was typed as ``Settings`` and ``Budget``. Refuses to know
what is trained.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path

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
    parser.add_argument("--minutes", type=float, help="of this call")
    parser.add_argument("--steps", type=int, help="of the whole training")
    parser.add_argument("--batch", type=int, default=batch, help="examples per step (default %(default)s)")
    parser.add_argument("--rate", type=float, default=rate, help="learning rate (default %(default)s)")
    parser.add_argument("--device", default="cpu", help="cpu, or cuda, which trains in bf16 (default %(default)s)")
    return parser


def settings_of(arguments: Namespace, weight_decay: float = 0.0) -> Settings:
    """How the typed command trains."""
    return Settings(learning_rate=arguments.rate, weight_decay=weight_decay, bf16=arguments.device == "cuda")


def budget_of(arguments: Namespace) -> Budget:
    """When the typed command stops; never, if nothing was typed."""
    return Budget(arguments.steps, arguments.minutes)
