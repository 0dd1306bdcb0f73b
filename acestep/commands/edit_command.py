"""What the commands that work on recordings have in common: the shape of a row, and options of several of them.

In: arguments. Out: songs (``song.make``), or an error in the words of the options. Refuses to know which commands
there are (``editing``).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from acestep.commands import options, song
from acestep.commands.names import naming


@dataclass(frozen=True, slots=True, kw_only=True)
class EditCommand:
    """One command.

    Attributes:
        name: as users spell it.
        about: one clause for the list of commands.
        example: one command that runs.
        add: declares its own options.
        say: what they are as parameters of the Python API.
        names: parameter to option, where it is not that of ``names.OPTIONS``.
        run: makes the songs, of arguments, parameters and whether a planner is asked (``planned``).
    """

    name: str
    about: str
    example: str
    add: Callable[[argparse.ArgumentParser], None]
    say: Callable[[argparse.Namespace], dict[str, Any]]
    names: Mapping[str, str] = field(default_factory=dict)
    run: Callable[..., None] = song.make

    def declare(self, parser: argparse.ArgumentParser) -> None:
        """Its own options, then those of all."""
        self.add(parser)
        options.add_metadata(parser)
        parser.add_argument(
            "--lm",
            default="none",
            metavar="NAME",
            help="language model that hears tempo, key and meter where they are not given: "
            "none, auto or a name; default: none",
        )
        parser.add_argument(
            "--backend", default="native", metavar="NAME", help="of it: native, vllm or pt; default: native"
        )
        song.add_playing(parser)
        parser.set_defaults(run=partial(_run, self))


def _run(command: EditCommand, arguments: argparse.Namespace) -> None:
    from acestep.params import GenerationParams

    with naming(command.names).errors():
        planned = options.planner_of(arguments) is not None
        said = {**options.metadata_of(arguments), **command.say(arguments)}
        params = GenerationParams(**said, seed=arguments.seed, thinking=planned)
        command.run(arguments, params, planned=planned)


def add_song(parser: argparse.ArgumentParser, about: str = "a recording") -> None:
    """What is worked on."""
    parser.add_argument("song", type=Path, metavar="SONG", help=about)


def add_words(parser: argparse.ArgumentParser, about: str = "the music in words", **settings: Any) -> None:
    """What it becomes, in words."""
    parser.add_argument("text", metavar="TEXT", help=about, **settings)
    options.add_lyrics(parser)


def words_of(arguments: argparse.Namespace) -> dict[str, Any]:
    """What ``add_words`` declares, as parameters of the Python API."""
    return {"caption": arguments.text, "lyrics": options.text_or_file("lyrics", arguments.lyrics)}


def source_of(arguments: argparse.Namespace) -> dict[str, Any]:
    """What ``add_song`` declares, as a parameter of the Python API."""
    return {"src_audio": str(arguments.song)}


def given(arguments: argparse.Namespace, **parameters: str) -> dict[str, Any]:
    """Parameters by the option that says them, those that were not given left out."""
    values = {name: getattr(arguments, option) for name, option in parameters.items()}
    return {name: value for name, value in values.items() if value is not None}
