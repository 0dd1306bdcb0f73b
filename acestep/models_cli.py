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
    from acestep.checkpoints.overview import ChoiceRow, ModelRow
    from acestep.devices import DeviceFacts


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
    from acestep.checkpoints.overview import choice_rows, model_rows
    from acestep.devices import device_facts, place

    facts = device_facts(arguments.device)
    dtype = str(place(facts).dtype).removeprefix("torch.")
    roots = (arguments.dir,) if arguments.dir else search_roots(Path())
    models, choices = model_rows(facts, roots), choice_rows(facts, roots)
    if arguments.json:
        sys.stdout.write(json.dumps(_facts(facts, models, choices), indent=2) + "\n")
        return
    sys.stdout.write(f"{facts.kind} ({facts.why}), {facts.memory / 1e9:.1f} GB of memory, computes in {dtype}\n\n")
    print_table(("MODEL", "ROLE", "SIZE", "STATE", "FITS"), (_model_cells(row) for row in models))
    sys.stdout.write("\n")
    print_table(("AUTO TAKES", "PLANNER", "OFFLOAD", "HERE", "WHY", "FOR"), (_choice_cells(row) for row in choices))


def _facts(facts: DeviceFacts, models: list[ModelRow], choices: list[ChoiceRow]) -> dict[str, object]:
    return {
        "machine": {"device": facts.kind, "why": facts.why, "memory": facts.memory, "free": facts.free},
        "models": [asdict(row) for row in models],
        "auto": [asdict(row) for row in choices],
    }


def _model_cells(row: ModelRow) -> tuple[str, ...]:
    return row.name, row.role, f"{row.size / 1e9:.2f} GB", row.state, row.fits


def _choice_cells(row: ChoiceRow) -> tuple[str, ...]:
    offload, here = ("yes" if answer else "no" for answer in (row.offload, row.here))
    return row.model or "nothing", row.language_model or "none", offload, here, row.reason, ", ".join(row.tasks)
