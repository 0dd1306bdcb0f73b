"""The audio formats a song can be saved in, one row each: container, encoder, bit depth or bit rate, kind of tags.

In: a name. Out: an ``AudioFormat``. Refuses to know how encoding works (``writer.py``) and what tags look like.

Every encoder here is gapless: libsndfile and ffmpeg decode exactly as many samples as were written, lossy formats
included (but ffmpeg drops 128 samples of an Ogg Vorbis file that is shorter than half a second).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from acestep.constants import CD_RATE, SAMPLE_RATE
from acestep.errors import InputError, UnsupportedError, shown

ANY_RATE = (CD_RATE, SAMPLE_RATE)


@dataclass(frozen=True, slots=True)
class AudioFormat:
    """One way to write a song.

    Attributes:
        name: value of the input ``output_format`` / ``audio_format``.
        extension: suffix of the file, with its dot.
        mime: media type for HTTP.
        description: one phrase for people.
        encoder: the program that writes it, a key of ``writer.ENCODERS``.
        tag_kind: the tag system it carries, a key of ``tags.WRITERS``.
        lossless: whether every sample comes back within half a step of ``bits`` (exactly for float).
        bits: integer sample size; None for float and lossy formats.
        sample_rates: what the format can hold, in Hz, of the rates we offer.
        sndfile: keyword arguments of ``soundfile.SoundFile`` (libsndfile formats).
        ffmpeg: output arguments of ffmpeg (ffmpeg formats).
    """

    name: str
    extension: str
    mime: str
    description: str
    encoder: Literal["libsndfile", "ffmpeg"]
    tag_kind: Literal["riff", "id3", "vorbis", "opus", "flac", "mp4"]
    lossless: bool = False
    bits: int | None = None
    sample_rates: tuple[int, ...] = ANY_RATE
    sndfile: Mapping[str, str | float] = field(default_factory=dict)
    ffmpeg: tuple[str, ...] = ()


def _wav(name: str, description: str, bits: int | None, subtype: str) -> AudioFormat:
    options = {"format": "WAV", "subtype": subtype}
    return AudioFormat(name, ".wav", "audio/wav", description, "libsndfile", "riff", True, bits, sndfile=options)


_FLAC = {"format": "FLAC", "subtype": "PCM_24"}
_VORBIS = {"format": "OGG", "subtype": "VORBIS", "compression_level": 0.2}
_MP3 = ("-c:a", "libmp3lame", "-b:a", "320k", "-f", "mp3")
_OPUS = ("-c:a", "libopus", "-b:a", "192k", "-f", "ogg")
_AAC = ("-c:a", "aac", "-b:a", "256k", "-movflags", "+faststart", "-f", "ipod")
_OPUS_RATES = (SAMPLE_RATE,)  # the codec knows no other rate of ours

_ROWS = (
    _wav("wav", "WAV, 16-bit", 16, "PCM_16"),
    _wav("wav24", "WAV, 24-bit", 24, "PCM_24"),
    _wav("wav32", "WAV, 32-bit float", None, "FLOAT"),
    AudioFormat("flac", ".flac", "audio/flac", "FLAC, 24-bit", "libsndfile", "flac", True, 24, sndfile=_FLAC),
    AudioFormat("mp3", ".mp3", "audio/mpeg", "MP3, constant 320 kbit/s", "ffmpeg", "id3", ffmpeg=_MP3),
    AudioFormat("ogg", ".ogg", "audio/ogg", "Ogg Vorbis, quality 8", "libsndfile", "vorbis", sndfile=_VORBIS),
    AudioFormat(
        "opus", ".opus", "audio/ogg", "Opus, 192 kbit/s", "ffmpeg", "opus", sample_rates=_OPUS_RATES, ffmpeg=_OPUS
    ),
    AudioFormat("m4a", ".m4a", "audio/mp4", "AAC in M4A, 256 kbit/s", "ffmpeg", "mp4", ffmpeg=_AAC),
)
FORMATS: Mapping[str, AudioFormat] = MappingProxyType({row.name: row for row in _ROWS})


def format_named(name: str) -> AudioFormat:
    """The row of a format.

    Raises:
        InputError: there is no such format; the message lists all of them.
    """
    if name not in FORMATS:
        message = f"audio_format is {shown(name)}; allowed are {', '.join(FORMATS)}"
        raise InputError(message, field="audio_format", value=name)
    return FORMATS[name]


def check_sample_rate(audio_format: AudioFormat, sample_rate: int) -> None:
    """Refuse a rate that the format cannot hold.

    Raises:
        UnsupportedError: names the format, the rate and what the format can hold.
    """
    if sample_rate not in audio_format.sample_rates:
        rates = " and ".join(str(rate) for rate in audio_format.sample_rates)
        message = f"sample_rate is {sample_rate}; the format {audio_format.name} allows {rates}"
        raise UnsupportedError(message, field="sample_rate", value=sample_rate)
