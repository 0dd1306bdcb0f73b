"""Tags inside a finished audio file: what players show, and the recipe of the song; written and read back.

In: a file that has just been encoded, ``SongTags`` and the recipe as JSON text. Out: the same file, tagged in place.
Refuses to know encoders, requests and where files belong. The recipe lies under the name ``acestep_recipe``:
``TXXX:acestep_recipe`` in MP3 and WAV, ``ACESTEP_RECIPE`` in FLAC, Ogg and Opus, ``----:com.acestep:recipe`` in M4A.
Lyrics with times are a ``SYLT`` frame (milliseconds) in MP3 and WAV, .lrc text (hundredths of a second) elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import mutagen
from mutagen import FileType
from mutagen.flac import FLAC
from mutagen.id3 import COMM, SYLT, TBPM, TIT2, TKEY, TLAN, TXXX, USLT, Encoding
from mutagen.mp3 import MP3
from mutagen.mp4 import MP4, AtomDataType, MP4FreeForm
from mutagen.oggopus import OggOpus
from mutagen.oggvorbis import OggVorbis
from mutagen.wave import WAVE

from acestep.errors import InputError
from acestep.output.recipe import from_json, writable_text
from acestep.output.timed_lyrics import Synced, from_lrc, lrc_body

AI_COMMENT = "AI-generated music, made with ACE-Step"
RECIPE = "acestep_recipe"
SYLT_MS, SYLT_LYRICS = 2, 1  # ID3's numbers of a time format and of a kind of content

# ID3 wants three-letter languages (ISO 639-2); keys are the two-letter ones of constants.LANGUAGES.
ISO_639_2 = dict(
    pair.split(":")
    for pair in (
        "ar:ara az:aze bg:bul bn:ben ca:cat cs:ces da:dan de:deu el:ell en:eng es:spa fa:fas fi:fin fr:fra he:heb "
        "hi:hin hr:hrv ht:hat hu:hun id:ind is:isl it:ita ja:jpn ko:kor la:lat lt:lit ms:msa ne:nep nl:nld no:nor "
        "pa:pan pl:pol pt:por ro:ron ru:rus sa:san sk:slk sr:srp sv:swe sw:swa ta:tam te:tel th:tha tl:tgl tr:tur "
        "uk:ukr ur:urd vi:vie yue:yue zh:zho"
    ).split()
)
ISO_639_1 = {long: short for short, long in ISO_639_2.items()}


@dataclass(frozen=True, slots=True)
class SongTags:
    """What players show. Characters that no tag can hold are dropped or become "?" on construction.

    Attributes:
        title: of the song.
        lyrics: full text, lines and section marks kept.
        bpm: whole beats per minute; None when unknown.
        key: such as "C# minor"; "" when unknown. ID3 spells accidentals as # and b.
        language: two-letter code of the vocals; "" or "unknown" is not written.
        comment: says that the music is AI-generated.
        synced: sung lines as (start in seconds, text); () is not written.
    """

    title: str = ""
    lyrics: str = ""
    bpm: int | None = None
    key: str = ""
    language: str = ""
    comment: str = AI_COMMENT
    synced: Synced = ()

    def __post_init__(self) -> None:
        for name in ("title", "lyrics", "key", "language", "comment"):
            object.__setattr__(self, name, writable_text(getattr(self, name)))
        object.__setattr__(self, "synced", tuple((start_s, writable_text(text)) for start_s, text in self.synced))


def write_tags(path: Path, tag_kind: str, tags: SongTags, recipe_json: str) -> None:
    """Replace every tag of a file by ours.

    Args:
        path: encoded audio without an owner yet; its suffix is not looked at.
        tag_kind: of the file's format, a key of ``CONTAINERS``.
        tags: what players show; empty fields are left out.
        recipe_json: text from ``recipe.to_json``.

    Raises:
        mutagen.MutagenError, OSError: the file cannot be rewritten.
    """
    container = CONTAINERS[tag_kind]
    audio = container.file_type(path)
    if audio.tags is None:
        audio.add_tags()
    audio.tags.clear()
    container.system.put(audio, tags, recipe_json)
    audio.save(**container.save_options)


def read_tags(path: str | Path) -> SongTags:
    """What players show of a file; absent tags are at their defaults, an absent comment is "".

    Raises:
        InputError: there is no such file, or it is none of our formats.
    """
    return _read(Path(path))[0]


def read_recipe(path: str | Path) -> dict[str, Any]:
    """The recipe inside a file that this program wrote.

    Raises:
        InputError: there is no such file, it is none of our formats, or it carries no (valid) recipe.
    """
    path = Path(path)
    text = _read(path)[1]
    if not text:
        raise InputError(f"{path.name!r} carries no ACE-Step recipe", field="recipe", value=path.name)
    return from_json(text)


def _read(path: Path) -> tuple[SongTags, str]:
    try:
        audio = mutagen.File(path, options=[container.file_type for container in CONTAINERS.values()])
    except (mutagen.MutagenError, OSError, IndexError, ValueError) as error:  # the last two: garbled ID3 headers
        raise InputError(f"{path.name!r} cannot be read as audio", field="file", value=path.name) from error
    if audio is None:
        raise InputError(f"{path.name!r} is no audio file with tags", field="file", value=path.name)
    system = next(container.system for container in CONTAINERS.values() if type(audio) is container.file_type)
    return (SongTags(comment=""), "") if audio.tags is None else system.get(audio)


def _put_id3(audio: FileType, tags: SongTags, recipe_json: str) -> None:
    language = ISO_639_2.get(tags.language, "")
    texts = {TIT2: tags.title, TBPM: str(tags.bpm or ""), TKEY: _short_key(tags.key), TLAN: language}
    for frame, text in texts.items():
        if text:
            audio.tags.add(frame(encoding=Encoding.UTF8, text=text))
    for frame, text in {USLT: tags.lyrics, COMM: tags.comment}.items():
        if text:
            spoken = language if frame is USLT and language else "eng"
            audio.tags.add(frame(encoding=Encoding.UTF8, lang=spoken, desc="", text=text))
    if tags.synced:
        audio.tags.add(_synced_frame(tags.synced, language or "eng"))
    audio.tags.add(TXXX(encoding=Encoding.UTF8, desc=RECIPE, text=recipe_json))


def _get_id3(audio: FileType) -> tuple[SongTags, str]:
    def text(frame: str) -> str:
        found = audio.tags.getall(frame)
        return str(found[0]) if found else ""

    language = ISO_639_1.get(text("TLAN"), "")
    key = _long_key(text("TKEY"))
    synced = _synced_lines(audio.tags.getall("SYLT"))
    tags = SongTags(text("TIT2"), text("USLT"), _whole(text("TBPM")), key, language, text("COMM"), synced)
    return tags, text(f"TXXX:{RECIPE}")


def _synced_frame(synced: Synced, language: str) -> SYLT:
    """A frame of which every text but the first begins with a newline, as the standard marks a line."""
    texts = [f"\n{text}" if number else text for number, (_, text) in enumerate(synced)]
    times = [round(start_s * 1000) for start_s, _ in synced]
    entries = list(zip(texts, times, strict=True))
    return SYLT(encoding=Encoding.UTF8, lang=language, format=SYLT_MS, type=SYLT_LYRICS, desc="", text=entries)


def _synced_lines(frames: Sequence[SYLT]) -> Synced:
    """Of the first frame that counts lyrics in milliseconds."""
    for frame in frames:
        if (frame.format, frame.type) == (SYLT_MS, SYLT_LYRICS):
            return tuple((time / 1000, text.strip()) for text, time in frame.text)
    return ()


def _put_vorbis(audio: FileType, tags: SongTags, recipe_json: str) -> None:
    audio.tags.update({name: text for name, text in _named(tags).items() if text})
    audio.tags[RECIPE.upper()] = recipe_json


def _get_vorbis(audio: FileType) -> tuple[SongTags, str]:
    def text(name: str) -> str:
        return (audio.tags.get(name) or [""])[0]

    bpm = _whole(text("bpm"))
    words, synced = (text("title"), text("lyrics")), from_lrc(text("syncedlyrics"))
    tags = SongTags(*words, bpm, text("key"), text("language"), text("comment"), synced)
    return tags, text(RECIPE)


def _named(tags: SongTags) -> dict[str, str]:
    language = tags.language if tags.language in ISO_639_2 else ""
    return {
        "TITLE": tags.title,
        "LYRICS": tags.lyrics,
        "BPM": str(tags.bpm or ""),
        "KEY": tags.key,
        "LANGUAGE": language,
        "COMMENT": tags.comment,
        "SYNCEDLYRICS": lrc_body(tags.synced),
    }


MP4_ATOMS = {
    "TITLE": "\xa9nam",
    "LYRICS": "\xa9lyr",
    "COMMENT": "\xa9cmt",
    "KEY": "----:com.apple.iTunes:initialkey",
    "LANGUAGE": "----:com.apple.iTunes:LANGUAGE",
    "SYNCEDLYRICS": "----:com.apple.iTunes:SYNCEDLYRICS",
    "RECIPE": "----:com.acestep:recipe",
}


def _put_mp4(audio: FileType, tags: SongTags, recipe_json: str) -> None:
    named = {**_named(tags), "RECIPE": recipe_json}
    for name, atom in MP4_ATOMS.items():
        if text := named[name]:
            free = atom.startswith("----")
            audio.tags[atom] = [MP4FreeForm(text.encode(), AtomDataType.UTF8) if free else text]
    if tags.bpm:
        audio.tags["tmpo"] = [tags.bpm]


def _get_mp4(audio: FileType) -> tuple[SongTags, str]:
    def text(name: str) -> str:
        found = (audio.tags.get(MP4_ATOMS[name]) or [""])[0]
        return bytes(found).decode("utf-8", "replace") if isinstance(found, bytes) else found

    bpm = (audio.tags.get("tmpo") or [None])[0]
    words, synced = (text("TITLE"), text("LYRICS")), from_lrc(text("SYNCEDLYRICS"))
    tags = SongTags(*words, bpm, text("KEY"), text("LANGUAGE"), text("COMMENT"), synced)
    return tags, text("RECIPE")


def _short_key(key: str) -> str:
    """ "C♯ minor" -> "C#m", as ID3 spells it."""
    note, _, mode = key.replace("♯", "#").replace("♭", "b").partition(" ")
    return note + ("m" if mode == "minor" else "")


def _long_key(key: str) -> str:
    return f"{key[:-1]} minor" if key.endswith("m") else f"{key} major" if key else ""


def _whole(text: str) -> int | None:
    return int(text) if text.isdecimal() else None


class _TagSystem(NamedTuple):
    put: Callable[[FileType, SongTags, str], None]
    get: Callable[[FileType], tuple[SongTags, str]]


class _Container(NamedTuple):
    file_type: type[FileType]
    system: _TagSystem
    save_options: Mapping[str, int] = {}


_ID3 = _TagSystem(_put_id3, _get_id3)
_VORBIS = _TagSystem(_put_vorbis, _get_vorbis)
_ID3_2_3 = {"v2_version": 3}  # what every player and Windows' file manager read
CONTAINERS: Mapping[str, _Container] = {
    "riff": _Container(WAVE, _ID3, _ID3_2_3),
    "id3": _Container(MP3, _ID3, _ID3_2_3),
    "flac": _Container(FLAC, _VORBIS),
    "vorbis": _Container(OggVorbis, _VORBIS),
    "opus": _Container(OggOpus, _VORBIS),
    "mp4": _Container(MP4, _TagSystem(_put_mp4, _get_mp4)),
}
