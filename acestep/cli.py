"""Command-line door: gathers the commands, runs one, turns its outcome into an exit code.

In: arguments. Out: what the command makes, an exit code (``terminal``). Heavy imports happen inside the commands, so
that ``--help`` and bad arguments answer at once.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from functools import partial
from typing import Any

from acestep import __version__
from acestep.commands import editing, exploring, files, help_with_words, restyling, song, words
from acestep.commands.names import naming
from acestep.naming import Naming, NamingFormatter
from acestep.terminal import finish_command


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        The exit code.
    """
    arguments = _parser().parse_args(argv)
    vocabulary = naming(arguments.names)
    lines = logging.StreamHandler()
    lines.setFormatter(NamingFormatter(vocabulary, "acestep: %(message)s"))
    logging.basicConfig(handlers=[lines])
    logging.getLogger("acestep").setLevel(logging.INFO if arguments.verbose else logging.WARNING)
    as_json = getattr(arguments, "json", False)
    return finish_command("acestep", partial(_run, arguments, vocabulary), as_json=as_json)


def _run(arguments: argparse.Namespace, vocabulary: Naming) -> None:
    """Run a command; what it complains of leaves in the words of its options."""
    with vocabulary.errors():
        arguments.run(arguments)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="acestep", description="Make music with ACE-Step 1.5.")
    parser.add_argument("--version", action="version", version=f"acestep {__version__}")
    parser.add_argument("-v", "--verbose", action="store_true", help="say what is loaded and decided")
    parser.set_defaults(names={})  # parameter to option, where a command has words of its own
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, declare, about, example in (
        ("generate", song.add_generate, "make a song from words", song.GENERATE_EXAMPLE),
        ("plan", words.add_plan, "plan a song without playing it", words.PLAN_EXAMPLE),
        ("render", song.add_render, "play a plan", song.RENDER_EXAMPLE),
        ("write", words.add_write, "write a song in words from one line", words.WRITE_EXAMPLE),
        ("understand", words.add_understand, "describe a recording", words.UNDERSTAND_EXAMPLE),
        ("codes", words.add_codes, "show the semantic codes of a recording", words.CODES_EXAMPLE),
        *((row.name, row.declare, row.about, row.example) for row in (*editing.COMMANDS, *restyling.COMMANDS)),
        ("explore", exploring.add_explore, "make batch after batch, keep the best", exploring.EXPLORE_EXAMPLE),
        ("lint", help_with_words.add_lint, "judge caption and lyrics", help_with_words.LINT_EXAMPLE),
        ("dice", help_with_words.add_dice, "roll an idea for a song", help_with_words.DICE_EXAMPLE),
        ("info", files.add_info, "show how a file was made", files.INFO_EXAMPLE),
        ("regenerate", files.add_regenerate, "make a file again", files.REGENERATE_EXAMPLE),
    ):
        declare(
            commands.add_parser(
                name,
                help=about,
                description=f"{about[0].upper()}{about[1:]}.",
                epilog=example,
                formatter_class=argparse.RawDescriptionHelpFormatter,  # the example stays one line
            )
        )
    _add_weights(commands)
    return parser


def _add_weights(commands: Any) -> None:
    """The commands about weights, each declared by its own module."""
    from acestep import download_cli, models_cli

    for name, door, about in (
        ("download", download_cli, "fetch published weights"),
        ("models", models_cli, "what is here, what fits this machine, what auto would choose"),
    ):
        parser = commands.add_parser(name, help=about)
        door.add_arguments(parser)
        parser.set_defaults(run=door.run)
