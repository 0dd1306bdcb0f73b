"""Command-line door of the overview: ``acestep models``.

In: a device, a weights folder. Out: tables on standard output, or the same facts as JSON.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from acestep.checkpoints.files import search_roots
from acestep.download_cli import print_table

if TYPE_CHECKING:
    from acestep.checkpoints.overview import ChoiceRow, Machine, ModelRow


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``acestep models``."""
    parser.add_argument("--device", default="auto", help="auto, cuda or cpu")
    parser.add_argument("--dir", type=Path, metavar="DIR", help="weights folder; default: where generate looks")
    parser.add_argument("--json", action="store_true", help="facts for programs instead of tables")


def run(arguments: argparse.Namespace) -> None:
    """Show what is here, what fits, and what auto would take.

    Raises:
        DeviceError: the device is not there.
    """
    from acestep.checkpoints.overview import choice_rows, model_rows, this_machine

    machine = this_machine(arguments.device)
    roots = (arguments.dir,) if arguments.dir else search_roots(Path())
    models, choices = model_rows(machine, roots), choice_rows(machine, roots)
    if arguments.json:
        sys.stdout.write(json.dumps(_facts(machine, models, choices), indent=2) + "\n")
        return
    sys.stdout.write(f"{machine.device.type} ({machine.why}), {machine.memory / 1e9:.1f} GB of memory\n\n")
    print_table(("MODEL", "ROLE", "SIZE", "STATE", "FITS"), (_model_cells(row) for row in models))
    sys.stdout.write("\n")
    print_table(("AUTO TAKES", "HERE", "WHY", "FOR"), (_choice_cells(row) for row in choices))


def _facts(machine: Machine, models: list[ModelRow], choices: list[ChoiceRow]) -> dict[str, object]:
    return {
        "machine": {"device": machine.device.type, "why": machine.why, "memory": machine.memory},
        "models": [asdict(row) for row in models],
        "auto": [asdict(row) for row in choices],
    }


def _model_cells(row: ModelRow) -> tuple[str, ...]:
    return row.name, row.role, f"{row.size / 1e9:.2f} GB", row.state, row.fits


def _choice_cells(row: ChoiceRow) -> tuple[str, ...]:
    return row.model or "nothing", "yes" if row.here else "no", row.reason, ", ".join(row.tasks)
