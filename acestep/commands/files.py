"""Commands about song files that are there: ``acestep info``, and ``acestep regenerate``, which makes one again.

In: arguments. Out: what a file says of itself; or a new file and one line about how it differs. Heavy imports happen
inside the functions, so that ``--help`` and bad arguments answer at once.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from acestep.commands import options
from acestep.commands.names import OPTIONS
from acestep.errors import InputError, UnsupportedError
from acestep.terminal import print_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from acestep.devices import DeviceFacts
    from acestep.handler import AceStepHandler
    from acestep.remaking import Job, Remade

INFO_EXAMPLE = "Example: acestep info song.flac"
REGENERATE_EXAMPLE = "Example: acestep regenerate song.flac -o again.flac"
_OF_A_RECIPE = {name: name for name in OPTIONS}  # which has the names of the Python API
_INPUTS = {"source": "--source", "src_audio": "--source", "first": "--source", "second": "--source"}
_INPUTS |= {"reference": "--reference", "reference_audio": "--reference"}
_REGENERATE_NAMES = (
    _OF_A_RECIPE | _INPUTS | {"output": "--output", "device": "--device", "offload_to_cpu": "--offload"}
)


def add_info(parser: argparse.ArgumentParser) -> None:
    """Declare ``acestep info``."""
    parser.set_defaults(run=_info, names={"file": "FILE"})
    parser.add_argument("file", type=Path, nargs="?", metavar="FILE", help="a file this project wrote")
    parser.add_argument("--json", action="store_true", help="the whole recipe as JSON")
    parser.add_argument("--lines", choices=["lrc", "srt", "vtt"], help="when each line is sung, if it was judged")
    about = "who signed the file, when, and whether that holds, as JSON; null if nobody did"
    parser.add_argument("--signature", action="store_true", help=about)
    about = "certificates (PEM) that vouch for signers; without them nobody is trusted to be who he says"
    parser.add_argument("--anchors", type=Path, metavar="FILE", help=about)
    parser.add_argument(
        "--schema", action="store_true", help="what a recipe may say, as a JSON schema; needs no FILE"
    )


def add_regenerate(parser: argparse.ArgumentParser) -> None:
    """Declare ``acestep regenerate``."""
    parser.set_defaults(run=_regenerate, names=_REGENERATE_NAMES)
    parser.add_argument("file", type=Path, metavar="FILE", help="a file this project wrote")
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="FILE", help="the new file, in the format of the old one"
    )
    parser.add_argument(
        "--source",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="the recording that the song was made from; twice for a stitched one, in their order",
    )
    parser.add_argument("--reference", type=Path, metavar="FILE", help="the recording whose timbre it has")
    options.add_device(parser, model=False)
    parser.add_argument("--json", action="store_true", help="answer as JSON: status, output, identical, and more")


def _info(arguments: argparse.Namespace) -> None:
    from acestep.output.content_credentials import read_credentials
    from acestep.output.schema import recipe_schema
    from acestep.output.summary import summary
    from acestep.output.tags import read_recipe, read_tags

    if arguments.schema:
        print_json(recipe_schema())
        return
    if arguments.file is None:
        raise InputError("file is missing; name a song.", field="file")
    if arguments.signature:
        print_json(read_credentials(arguments.file, anchors=arguments.anchors))
        return
    recipe = read_recipe(arguments.file)
    if arguments.json:
        print_json(recipe)
    elif arguments.lines:
        sys.stdout.write(_lines(recipe, arguments.lines))
    else:
        signature = _signature(arguments.file, arguments.anchors)
        sys.stdout.write(summary(recipe, read_tags(arguments.file), signature))


def _lines(recipe: Mapping[str, Any], kind: str) -> str:
    """When each line of a song is sung, in one of the formats of ``timed_lyrics``; "" where that is not known."""
    from acestep.output import timed_lyrics
    from acestep.scoring.timestamps import TimedLine

    found = (recipe["scores"] or {}).get("lines", [])
    lines = [TimedLine(line["lyrics"], line["start_s"], line["end_s"], line["confidence"], ()) for line in found]
    return getattr(timed_lyrics, f"to_{kind}")(lines)


def _signature(file: Path, anchors: Path | None) -> str:
    """In a line, who signed a file and whether that holds; "" if nobody did."""
    from acestep.output.content_credentials import read_credentials

    try:
        found = read_credentials(file, anchors=anchors)
    except UnsupportedError as error:
        return f"there is a signature: {error}"
    if found is None:
        return ""
    vouched = "vouched for" if found["trusted"] else "nobody vouches for that name"
    return f"{found['state']}, by {found['signer'] or 'somebody without a name'} ({vouched})"


def _regenerate(arguments: argparse.Namespace) -> None:
    from acestep.checkpoints.registry import model_named
    from acestep.commands.song import check
    from acestep.regenerate import blaming_the_recipe

    options.check_target(arguments.output)
    job, facts = _job(arguments)
    job.check()
    with job.prepared() as params:
        with blaming_the_recipe():
            check(params, job.remake.config, model_named(job.remake.model))
        handler = _start(arguments, job, facts)
        with options.progress_bar() as report:
            made = job.run(handler, params, report)
    if arguments.json:
        print_json(_answer(made))
    else:
        sys.stdout.write(f"{made.path}  {made.verdict}\n")


def _job(arguments: argparse.Namespace) -> tuple[Job, DeviceFacts]:
    """What is to be done, on the device that the song was made on, if it is here and no other is asked for."""
    from acestep.devices import place
    from acestep.machine import this_machine
    from acestep.output.tags import read_recipe
    from acestep.remaking import Job

    recipe = read_recipe(arguments.file)
    facts = _device(arguments.device, recipe["machine"])
    machine = this_machine(place(facts, _dtype(facts, recipe["machine"])))
    sources = tuple(arguments.source)
    return Job(recipe, arguments.file, arguments.output, sources, arguments.reference, machine), facts


def _device(asked: str, then: Mapping[str, Any] | None) -> DeviceFacts:
    from acestep.devices import AUTO, CPU, device_facts

    return device_facts(CPU if asked == AUTO and then is not None and then["device"] == CPU else asked)


def _dtype(facts: DeviceFacts, then: Mapping[str, Any] | None) -> str | None:
    """The number format that the song was made in, where the device has it; else None, the device's own."""
    from acestep.devices import CPU, DTYPES, natural_dtype

    wanted = None if then is None or then["device"] != facts.kind else then["dtype"]
    new = wanted == "bfloat16" and facts.kind != CPU  # older GPUs do without
    return wanted if wanted in DTYPES and (not new or natural_dtype(facts) == wanted) else None


def _start(arguments: argparse.Namespace, job: Job, facts: DeviceFacts) -> AceStepHandler:
    """The model of the recipe, loaded; a line about it on standard error."""
    from acestep.handler import AceStepHandler

    handler = AceStepHandler()
    line, _ = handler.initialize_service(
        ".", job.remake.model, facts.kind, arguments.offload, dtype=job.machine.dtype
    )
    sys.stderr.write(f"{line}\n")
    return handler


def _answer(made: Remade) -> dict[str, Any]:
    """The outcome as a Cog prediction has it, and the verdict."""
    verdict = asdict(made.verdict)
    return {
        "status": "succeeded",
        "output": [str(made.path)],
        "error": None,
        "identical": verdict["identical"],
        "differences": list(verdict["differences"]),
        "peak_difference_db": verdict["peak_db"],
        "seeds": made.recipe["seeds"],
        "model": made.recipe["models"]["dit"]["name"],
        "warnings": made.recipe["warnings"],
    }
