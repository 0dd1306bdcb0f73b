"""Command-line door of the downloads: ``acestep-download``, also ``acestep download``.

In: names of models. Out: their folders below the weights folder, one line each; ``--list`` shows every model instead.
Exit codes are those of ``terminal``.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from acestep.checkpoints.files import weights_root
from acestep.checkpoints.integrity import Found, inspect
from acestep.checkpoints.registry import (
    COMPONENTS,
    DEFAULT_LANGUAGE_MODEL,
    DEFAULT_MODEL,
    LANGUAGE_MODELS,
    MODELS,
    parts_of,
    published,
    row_named,
)
from acestep.checkpoints.rows import HubFolder
from acestep.terminal import finish_command, print_json

_DEFAULTS = (DEFAULT_MODEL, DEFAULT_LANGUAGE_MODEL)


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``acestep-download``.

    Returns:
        The exit code.
    """
    parser = argparse.ArgumentParser(prog="acestep-download", description="Download the weights of ACE-Step 1.5.")
    add_arguments(parser)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    arguments = parser.parse_args(argv)
    return finish_command(
        "acestep-download",
        lambda: run(arguments),
        interrupted="interrupted; the same command goes on from here",
        as_json=arguments.json,
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the download command."""
    names = " and ".join(row.name for row in _DEFAULTS)
    parser.epilog = f"Without --model and --all: {names}, with what they need."
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--list", action="store_true", help="show every model, its size and whether it is here")
    what.add_argument("--all", action="store_true", help="download every published model")
    what.add_argument(
        "--model",
        action="append",
        metavar="NAME",
        help="model to download, with the networks it shares with others; may be given several times",
    )
    parser.add_argument("--json", action="store_true", help="answer as JSON: status, output, error")
    parser.add_argument("--force", action="store_true", help="fetch again what is here already")
    parser.add_argument(
        "--dir", type=Path, metavar="DIR", help="weights folder; default: $ACESTEP_WEIGHTS or weights"
    )


def run(arguments: argparse.Namespace) -> None:
    """Do what the arguments say.

    Raises:
        InputError: an unknown model.
        WeightsError: a download failed.
    """
    root = arguments.dir or weights_root()
    if arguments.list:
        print_table(("NAME", "REPOSITORY", "REVISION", "SIZE", "STATE"), _listed(root))
        return
    from acestep.checkpoints.download import ensure_all

    rows = _asked_for(arguments)
    with _bars() as progress:
        ensure_all(rows, root, force=arguments.force, progress=progress)
    if arguments.json:
        print_json(
            {"status": "succeeded", "output": [_facts(row, inspect(row, root)) for row in rows], "error": None}
        )
        return
    for row in rows:
        found = inspect(row, root)
        sys.stdout.write(f"{found.folder}  {found.state.value}  {_gigabytes(found.size)}  {_revision(row, found)}\n")


def _facts(row: HubFolder, found: Found) -> dict[str, object]:
    return {
        "name": row.name,
        "folder": str(found.folder),
        "state": found.state.value,
        "bytes": found.size,
        "commit": found.commit,
    }


def print_table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Write columns of text to standard output, never wrapped, so that a pipe can read them."""
    lines = [tuple(headers), *(tuple(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(headers))]
    for line in lines:
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        sys.stdout.write("  ".join(cells).rstrip() + "\n")


def size_here(row: HubFolder, found: Found) -> str:
    """Gigabytes on disk, or about how many it will be."""
    return _gigabytes(found.size) if found.state.usable else f"~{_gigabytes(row.scale.size)}"


def _asked_for(arguments: argparse.Namespace) -> list[HubFolder]:
    """Folders to see to, each once, transformers before what they share."""
    if arguments.all:
        rows = published()
    else:
        rows = tuple(row_named(name) for name in arguments.model) if arguments.model else _DEFAULTS
    return list(dict.fromkeys(part for row in rows for part in parts_of(row)))


def _listed(root: Path) -> Iterator[Sequence[str]]:
    for row in (*MODELS.values(), *LANGUAGE_MODELS.values(), *COMPONENTS.values()):
        if not row.released:
            yield row.name, "-", "-", "-", "never published"
            continue
        found = inspect(row, root)
        where = row.url or "/".join(filter(None, (row.repository, row.subfolder))) or "ships with this project"
        yield row.name, where, _revision(row, found), size_here(row, found), found.state.value


def _revision(row: HubFolder, found: Found) -> str:
    """The pinned commit; for a row without one, the commit that is here."""
    if row.embedded:
        return "-"
    if row.revision is not None:
        return row.revision[:8]
    return f"unpinned ({found.commit[:8]} here)" if found.commit else "unpinned"


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.2f} GB"


@contextmanager
def _bars() -> Iterator[Callable[[str, int, int], None]]:
    """One bar per file on a terminal, nothing in a pipe."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        tasks = {}

        def progress(name: str, arrived: int, size: int) -> None:
            if name not in tasks:  # the first call of each name comes before the workers start
                tasks[name] = bars.add_task(name, total=size)
            bars.update(tasks[name], completed=arrived)

        yield progress


if __name__ == "__main__":
    sys.exit(main())
