"""Commands that make a recording over, by how far the result is from it: ``acestep audio2audio``, ``style-transfer``.

In: arguments. Out: parameters of the Python API. Models of every generation do both, each in its way; ``cover``
(``editing``) counts from the other end and is of ACE-Step 1.5 alone. Refuses to know how songs are made and written.
"""

from __future__ import annotations

import argparse
from typing import Any

from acestep.commands.edit_command import (
    CHANGE,
    EditCommand,
    add_change,
    add_song,
    add_words,
    change_of,
    source_of,
    words_of,
)
from acestep.commands.options import given
from acestep.params import GenerationParams
from acestep.tasks import AUDIO2AUDIO, STYLE_TRANSFER, Task

_DEFAULTS = GenerationParams()


def _add_far(parser: argparse.ArgumentParser, task: Task) -> None:
    about = f"how far from SONG it is, 0 to 1; default: {getattr(_DEFAULTS, task.follows):g}"
    parser.add_argument("--strength", type=float, metavar="S", help=about)
    about = "take the voice out of SONG and put it over the result (models of ACE-Step 1.5)"
    parser.add_argument("--keep-voice", action="store_true", help=f"{about}; default: SONG as a whole is followed")


def _far_of(arguments: argparse.Namespace, task: Task) -> dict[str, Any]:
    """The task, and what ``_add_far`` declares, as parameters of the Python API."""
    keeps = {"task_type": task.name, "preserve_vocals": arguments.keep_voice}
    return {**keeps, **given(arguments, **{task.follows: "strength"})}


def _add_audio2audio(parser: argparse.ArgumentParser) -> None:
    add_song(parser)
    add_words(parser, "the result in words")
    _add_far(parser, AUDIO2AUDIO)


def _audio2audio(arguments: argparse.Namespace) -> dict[str, Any]:
    return {
        **_far_of(arguments, AUDIO2AUDIO),
        **source_of(arguments),
        **words_of(arguments),
    }


def _add_style_transfer(parser: argparse.ArgumentParser) -> None:
    add_song(parser)
    add_change(parser)
    _add_far(parser, STYLE_TRANSFER)


def _style_transfer(arguments: argparse.Namespace) -> dict[str, Any]:
    return {
        **_far_of(arguments, STYLE_TRANSFER),
        **source_of(arguments),
        **change_of(arguments),
    }


COMMANDS = (
    EditCommand(
        name=AUDIO2AUDIO.name,
        about="make a song that starts from another",
        example='Example: acestep audio2audio song.wav "string quartet" --strength 0.6 -o quartet.flac',
        add=_add_audio2audio,
        say=_audio2audio,
        names={AUDIO2AUDIO.follows: "--strength"},
    ),
    EditCommand(
        name=STYLE_TRANSFER.name.replace("_", "-"),
        about="play a song in another style",
        example='Example: acestep style-transfer song.wav --to "swing, big band" --strength 0.7 -o swing.flac',
        add=_add_style_transfer,
        say=_style_transfer,
        names={**CHANGE, STYLE_TRANSFER.follows: "--strength"},
    ),
)
