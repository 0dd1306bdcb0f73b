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
from types import MappingProxyType
from typing import Any

from acestep.commands import options, song
from acestep.errors import InputError

CHANGE: Mapping[str, str] = MappingProxyType(  # parameters of a change by the options that say them
    {
        "caption": "--from or --to",
        "lyrics": "--from-lyrics or --to-lyrics",
        "style_prompt": "--to",
        "style_lyrics": "--to-lyrics",
    }
)
NOWHERE: Mapping[str, float] = MappingProxyType({"repainting_start": 0.0, "repainting_end": 0.0})  # no region given


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
        euler_only: no other solver goes with it.
        run: makes the songs, of arguments, parameters and whether a planner is asked (``planned``).
    """

    name: str
    about: str
    example: str
    add: Callable[[argparse.ArgumentParser], None]
    say: Callable[[argparse.Namespace], dict[str, Any]]
    names: Mapping[str, str] = field(default_factory=dict)
    euler_only: bool = False
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
        song.add_playing(parser, euler_only=self.euler_only)
        parser.set_defaults(run=partial(_run, self), names=self.names)


def _run(command: EditCommand, arguments: argparse.Namespace) -> None:
    from acestep.params import GenerationParams

    planned = options.planner_of(arguments) is not None
    said = {**options.metadata_of(arguments), **command.say(arguments)}
    params = GenerationParams(**said, seed=arguments.seed, thinking=planned)
    command.run(arguments, params, planned=planned)


def add_song(parser: argparse.ArgumentParser, about: str = "a recording") -> None:
    """What is worked on."""
    parser.add_argument("song", type=Path, metavar="SONG", help=about)


def add_words(parser: argparse.ArgumentParser, about: str = "the music in words") -> None:
    """What it becomes, in words, which may be left out: the recording says much."""
    text = parser.add_argument("text", metavar="[TEXT]", default="", help=f"{about}; default: no words")
    text.required = False  # as with nargs="?", which would not let it stand behind an option
    options.add_lyrics(parser)


def words_of(arguments: argparse.Namespace) -> dict[str, Any]:
    """What ``add_words`` declares, as parameters of the Python API."""
    return {"caption": arguments.text, "lyrics": options.text_or_file("lyrics", arguments.lyrics)}


def add_change(parser: argparse.ArgumentParser) -> None:
    """What it is and what it becomes, in words."""
    parser.add_argument("--from", dest="old", default="", metavar="TEXT", help="SONG in words")
    parser.add_argument("--to", dest="new", default="", metavar="TEXT", help="what it becomes; default: as before")
    for option, about in (("--from-lyrics", "sung in SONG"), ("--to-lyrics", "to sing; default: as before")):
        parser.add_argument(option, default="", metavar="FILE|TEXT", help=f"words {about}")


def change_of(arguments: argparse.Namespace) -> dict[str, Any]:
    """What ``add_change`` declares, as parameters of the Python API."""
    return {
        "caption": arguments.old,
        "lyrics": options.text_or_file("--from-lyrics", arguments.from_lyrics),
        "style_prompt": arguments.new,
        "style_lyrics": options.text_or_file("--to-lyrics", arguments.to_lyrics),
    }


def source_of(arguments: argparse.Namespace) -> dict[str, Any]:
    """What ``add_song`` declares, as a parameter of the Python API."""
    return {"src_audio": str(arguments.song)}


def add_region(parser: argparse.ArgumentParser, what: str, without: str) -> None:
    """Where music is made.

    Args:
        what: is made.
        without: what is so where neither end is given.
    """
    start = f"where {what} begins, in seconds of SONG, -600 to 3600; below 0 is before it; default: 0"
    end = f"where it ends, in seconds of SONG, up to 3600; may be behind it; -1 is its end; default: -1. {without}"
    parser.add_argument("--start", type=float, metavar="S", help=start)
    parser.add_argument("--end", type=float, metavar="S", help=end)


def region_of(arguments: argparse.Namespace) -> dict[str, Any]:
    """What ``add_region`` declares, as parameters of the Python API; nothing where neither end is given.

    Raises:
        InputError: an end where SONG begins, which that API would take for no region.
    """
    if arguments.end == 0 and not arguments.start:
        raise InputError("--end 0 must lie behind --start 0.", field="--end", value=arguments.end)
    return options.given(arguments, repainting_start="start", repainting_end="end")
