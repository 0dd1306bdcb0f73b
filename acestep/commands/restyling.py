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
from acestep.tasks import AUDIO2AUDIO, STYLE_TRANSFER

_DEFAULTS = GenerationParams()


def _add_far(parser: argparse.ArgumentParser, default: float) -> None:
    about = f"how far from SONG it is, 0 to 1; default: {default:g}"
    parser.add_argument("--strength", type=float, metavar="S", help=about)
    about = "take the voice out of SONG and put it over the result (models of ACE-Step 1.5)"
    parser.add_argument("--keep-voice", action="store_true", help=f"{about}; default: SONG as a whole is followed")


def _add_audio2audio(parser: argparse.ArgumentParser) -> None:
    add_song(parser)
    add_words(parser, "the result in words")
    _add_far(parser, _DEFAULTS.audio2audio_strength)


def _audio2audio(arguments: argparse.Namespace) -> dict[str, Any]:
    return {
        "task_type": AUDIO2AUDIO.name,
        "preserve_vocals": arguments.keep_voice,
        **source_of(arguments),
        **words_of(arguments),
        **given(arguments, audio2audio_strength="strength"),
    }


def _add_style_transfer(parser: argparse.ArgumentParser) -> None:
    add_song(parser)
    add_change(parser)
    _add_far(parser, _DEFAULTS.style_strength)


def _style_transfer(arguments: argparse.Namespace) -> dict[str, Any]:
    return {
        "task_type": STYLE_TRANSFER.name,
        "preserve_vocals": arguments.keep_voice,
        **source_of(arguments),
        **change_of(arguments),
        **given(arguments, style_strength="strength"),
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
