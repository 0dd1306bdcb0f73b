"""Commands that work on recordings: ``acestep cover``, ``repaint``, ``extend``, ``lego``, ``extract``, ``complete``,
``edit`` and ``stitch``.

In: arguments. Out: parameters of the Python API. Refuses to know how songs are made and written, and the options that
all of these commands have (``edit_command``).
"""

from __future__ import annotations

import argparse
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from acestep.commands import options, song
from acestep.commands.edit_command import (
    CHANGE,
    NOWHERE,
    EditCommand,
    add_change,
    add_region,
    add_song,
    add_words,
    change_of,
    region_of,
    source_of,
    words_of,
)
from acestep.commands.options import given
from acestep.constants import TRACK_NAMES
from acestep.editing.order import BEGIN, BOTH, END, MATCHING
from acestep.errors import InputError, UnsupportedError
from acestep.fields import ACCOMPANIMENT_STYLES, check_number
from acestep.tasks import (
    ACCOMPANIMENT,
    AUDIO2AUDIO,
    COMPLETION,
    COVER,
    EDIT,
    EXTENSION,
    EXTRACTION,
    FAITHFUL_COVER,
    LEGO,
    REPAINT,
)

if TYPE_CHECKING:
    from acestep.params import GenerationParams

WHERE = MappingProxyType({"end": END, "start": BEGIN, "both": BOTH})
_TRACKS = ", ".join(TRACK_NAMES)
_SEVERAL = f"of {_TRACKS}, separated by commas; or all"
_KEEPS_VOICE = "preserve_vocals"


# --- cover -------------------------------------------------------------------------------------------------------
def _add_cover(parser: argparse.ArgumentParser) -> None:
    add_song(parser, "a recording, or a text file with semantic codes")
    add_words(parser, "the new version in words")
    parser.add_argument("--strength", type=float, metavar="S", help="how near to SONG it stays, 0 to 1; default: 1")
    parser.add_argument("--faithful", action="store_true", help="keep the sound too, not melody and rhythm alone")
    parser.add_argument("--noise", type=float, metavar="N", help="how much of SONG to start from, 0 to 1; default: 0")
    about = "take the voice out of SONG and put it over the new version; --lyrics are then what it sings"
    parser.add_argument("--keep-voice", action="store_true", help=f"{about}; default: SONG as a whole is followed")


def _cover(arguments: argparse.Namespace) -> dict[str, Any]:
    codes = options.written_codes("SONG", arguments.song)
    for option, said in (("--faithful", arguments.faithful), ("--keep-voice", arguments.keep_voice)):
        if codes and said:
            raise UnsupportedError(f"{option} does not go with codes, which hold no sound.", field=option)
    if arguments.keep_voice:
        return {**_around_voice(arguments), **source_of(arguments), **words_of(arguments)}
    return {
        "task_type": (FAITHFUL_COVER if arguments.faithful else COVER).name,
        **({"audio_codes": codes} if codes else source_of(arguments)),
        **words_of(arguments),
        **given(arguments, audio_cover_strength="strength", cover_noise_strength="noise"),
    }


def _around_voice(arguments: argparse.Namespace) -> dict[str, Any]:
    """A cover under the voice of the recording; its task counts from the other end: how far it is from SONG."""
    for option, said in (("--faithful", arguments.faithful), ("--noise", arguments.noise is not None)):
        if said:
            raise UnsupportedError(f"{option} does not go with --keep-voice.", field=option)
    near = 1.0 if arguments.strength is None else check_number("--strength", arguments.strength, 0, 1)
    return {"task_type": AUDIO2AUDIO.name, _KEEPS_VOICE: True, AUDIO2AUDIO.follows: round(1 - near, 6)}


# --- regions -----------------------------------------------------------------------------------------------------
def _add_repaint(parser: argparse.ArgumentParser) -> None:
    add_song(parser)
    add_words(parser, "the new part in words")
    add_region(parser, "the new part", "One of the two must be given; --start 0 is the whole of SONG.")
    song.add_variation(parser)


def _repaint(arguments: argparse.Namespace) -> dict[str, Any]:
    region = region_of(arguments) or NOWHERE
    return {"task_type": REPAINT.name, **source_of(arguments), **words_of(arguments), **region}


def _add_extend(parser: argparse.ArgumentParser) -> None:
    add_song(parser)
    add_words(parser)
    parser.add_argument("--by", type=float, metavar="S", help="seconds of new music, 1 to 600; default: 30")
    parser.add_argument("--where", default="end", metavar="PLACE", help="end, start or both; default: end")
    about = "seconds of it at the start where both are extended, 1 to 600; default: as many as at the end"
    parser.add_argument("--by-start", type=float, metavar="S", help=about)


def _extend(arguments: argparse.Namespace) -> dict[str, Any]:
    if arguments.where not in WHERE:
        raise InputError.unknown("--where", arguments.where, WHERE)
    return {
        "task_type": EXTENSION.name,
        "continuation_mode": WHERE[arguments.where],
        **source_of(arguments),
        **words_of(arguments),
        **given(arguments, extend_duration="by", extend_start_duration="by_start"),
    }


# --- tracks ------------------------------------------------------------------------------------------------------
def _add_mix(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--mix", action="store_true", help="return it mixed with SONG instead of alone")


def _add_lego(parser: argparse.ArgumentParser) -> None:
    add_song(parser)
    add_words(parser, "the track in words")
    parser.add_argument("--track", default="", metavar="NAME", help=f"what plays: {_TRACKS}")
    add_region(parser, "the track", "Without the two it plays through the whole of SONG.")
    _add_mix(parser)


def _lego(arguments: argparse.Namespace) -> dict[str, Any]:
    return {
        "task_type": LEGO.name,
        "track_name": arguments.track,
        "mix": arguments.mix,
        **source_of(arguments),
        **words_of(arguments),
        **region_of(arguments),
    }


def _add_extract(parser: argparse.ArgumentParser) -> None:
    add_song(parser)
    parser.add_argument("--tracks", default="", metavar="NAMES", help=f"what is taken out, {_SEVERAL}")
    parser.add_argument("--rest", action="store_true", help="write SONG without them too")


def _extract(arguments: argparse.Namespace) -> dict[str, Any]:
    return {
        "task_type": EXTRACTION.name,
        "track_name": arguments.tracks,
        "remainder": arguments.rest,
        **source_of(arguments),
    }


def _add_complete(parser: argparse.ArgumentParser) -> None:
    add_song(parser)
    add_words(parser)
    parser.add_argument("--tracks", default="", metavar="NAMES", help=f"what joins in, {_SEVERAL}; default: any")
    styles = ", ".join(ACCOMPANIMENT_STYLES)
    parser.add_argument(
        "--accompany",
        nargs="?",
        const=MATCHING,
        metavar="STYLE",
        help=f"play under a voice, in a STYLE of {styles}; without one: {MATCHING}",
    )
    about = "with --accompany: take the voice out of SONG first, and put it over what is made"
    parser.add_argument("--keep-voice", action="store_true", help=f"{about}; default: SONG is a voice already")
    _add_mix(parser)


def _complete(arguments: argparse.Namespace) -> dict[str, Any]:
    if arguments.keep_voice and arguments.accompany is None:
        raise UnsupportedError("--keep-voice goes with --accompany alone.", field="--keep-voice")
    if arguments.keep_voice and arguments.mix:
        raise UnsupportedError("--mix does not go with --keep-voice, which is mixed anyway.", field="--mix")
    return {
        "task_type": (ACCOMPANIMENT if arguments.accompany else COMPLETION).name,
        "track_name": arguments.tracks,
        "mix": arguments.mix,
        _KEEPS_VOICE: arguments.keep_voice,
        **source_of(arguments),
        **words_of(arguments),
        **given(arguments, accompaniment_style="accompany"),
    }


# --- edit and stitch ---------------------------------------------------------------------------------------------
def _add_edit(parser: argparse.ArgumentParser) -> None:
    add_song(parser)
    add_change(parser)
    parser.add_argument(
        "--n-min", type=float, metavar="N", help="share of the steps that change nothing, 0 to 1; default: 0"
    )
    parser.add_argument(
        "--n-max", type=float, metavar="N", help="share after which the new words rule alone, 0 to 1; default: 1"
    )
    parser.add_argument("--n-avg", type=int, metavar="N", help="noises per step, 1 to 8; default: 1")


def _edit(arguments: argparse.Namespace) -> dict[str, Any]:
    return {
        "task_type": EDIT.name,
        **source_of(arguments),
        **change_of(arguments),
        **given(arguments, edit_n_min="n_min", edit_n_max="n_max", edit_n_avg="n_avg"),
    }


def _add_stitch(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("first", type=Path, metavar="A", help="the recording that begins")
    parser.add_argument("second", type=Path, metavar="B", help="the recording that follows")
    add_words(parser, "the passage between them in words")
    parser.add_argument(
        "--bridge", type=float, default=12.0, metavar="S", help="its length in seconds, 1 to 90; default: 12"
    )


def _stitch(arguments: argparse.Namespace, params: GenerationParams, *, planned: bool) -> None:
    from acestep.stitching import bridged

    with bridged(params, arguments.first, arguments.second, arguments.bridge) as laid:
        song.make(arguments, laid, planned=planned)


COMMANDS = (
    EditCommand(
        name=COVER.name,
        about="make a new version of a song",
        example='Example: acestep cover song.wav "jazz piano version" --strength 0.8 -o cover.flac',
        add=_add_cover,
        say=_cover,
        names={"audio_cover_strength": "--strength", "cover_noise_strength": "--noise"},
    ),
    EditCommand(
        name=REPAINT.name,
        about="make a part of a song anew",
        example='Example: acestep repaint song.wav "a saxophone solo" --start 4 --end 8 -o repainted.flac',
        add=_add_repaint,
        say=_repaint,
    ),
    EditCommand(
        name=EXTENSION.name,
        about="continue a song, or begin it earlier",
        example='Example: acestep extend song.wav "the band plays on" --by 30 --where end -o longer.flac',
        add=_add_extend,
        say=_extend,
        names={"extend_duration": "--by", "extend_start_duration": "--by-start", "continuation_mode": "--where"},
    ),
    EditCommand(
        name=LEGO.name,
        about="play one more track to a song",
        example='Example: acestep lego song.wav --track guitar "funky rhythm guitar" --mix -o with-guitar.flac',
        add=_add_lego,
        say=_lego,
        names={"track_name": "--track"},
    ),
    EditCommand(
        name=EXTRACTION.name,
        about="take tracks out of a song, each into a file",
        example="Example: acestep extract song.wav --tracks vocals,drums --rest -o stems.flac",
        add=_add_extract,
        say=_extract,
        names={"track_name": "--tracks"},
    ),
    EditCommand(
        name=COMPLETION.name,
        about="play the rest of the band to a track",
        example='Example: acestep complete voice.wav --tracks drums,bass "slow soul" --mix -o band.flac',
        add=_add_complete,
        say=_complete,
        names={"track_name": "--tracks", "accompaniment_style": "--accompany"},
    ),
    EditCommand(
        name=EDIT.name,
        about="change a song from one description to another",
        example='Example: acestep edit song.wav --from "calm piano" --to "wild electric guitar" -o edited.flac',
        add=_add_edit,
        say=_edit,
        names={**CHANGE, "edit_n_min": "--n-min", "edit_n_max": "--n-max", "edit_n_avg": "--n-avg"},
        euler_only=True,
    ),
    EditCommand(
        name="stitch",
        about="join two songs by a new passage",
        example='Example: acestep stitch a.wav b.wav "a drum break" --bridge 12 -o joined.flac',
        add=_add_stitch,
        say=words_of,
        names={"first": "A", "second": "B", "bridge_s": "--bridge"},
        run=_stitch,
    ),
)
