"""libsndfile as three functions: whether a file is for it, what the file says about itself, its samples in blocks.

In: an open file. Out: a ``Probe``, float32 ``[channels, n]`` blocks at the file's own rate. libsndfile is told a file
descriptor, which has no name, so a wrong suffix cannot mislead it.
Refuses to know limits, resampling and ffmpeg. What libsndfile opens but misreads is declined, so that ffmpeg gets it:
streams without a stated length, Ogg with more than two channels (the second one is the centre, not the right) and Ogg
of several songs in a row (only the first would be heard).

No clock and no cancellation reaches into a call of libsndfile. So it sees only the kinds of file in ``LAYOUTS``,
``PLAIN_MARKS`` and MP3 (in some 8SVX files it looks for the sound for ever), whose pieces are counted first.
"""

from __future__ import annotations

import os
import re
from collections.abc import Generator, Mapping
from typing import BinaryIO

import numpy as np
import soundfile as sf

from acestep.audio import ogg
from acestep.audio.pieces import LAYOUTS, TAG_MARKS, count_pieces, is_mp3
from acestep.audio.source import Deadline, Probe, Unreadable, check_complete
from acestep.constants import AUDIO_CHANNELS

BLOCK_SAMPLES = 65_536
NO_LENGTH = (1 << 63) - 1  # what libsndfile reports for FLAC without a count of samples
STREAMED_BYTES = 0x7FFF_0000  # writers to a pipe state about 2 or 4 GiB because they cannot know better
SIZE_LINES: Mapping[str, str] = {  # the line of libsndfile's log that compares the stated size with the true one
    "WAV": "data",
    "WAVEX": "data",
    "RF64": "Riff size",
    "W64": "riff",
    "AIFF": "SSND",
    "AU": "Data Size",
}
STREAM_FORMATS = ("FLAC", "MP3")  # nothing but tags can follow their last sample
TAIL_BYTES = 1 << 14  # what may lie behind the last sample: small tags, padding, what a decoder has not yet used
PLAIN_MARKS = (b".snd", b"dns.", b"OggS", b"NIST", b"Crea")  # kinds whose headers libsndfile reads without a search
FORM_KINDS = (b"AIFF", b"AIFC")


def opened(file: BinaryIO, deadline: Deadline) -> sf.SoundFile | None:
    """The file as libsndfile sees it; None when it is for ffmpeg. Closing it leaves ``file`` open.

    Raises:
        Unreadable: too many pieces (for ffmpeg as well), or counting them took too long.
    """
    mark = count_pieces(file, deadline)
    if mark[:4] not in (*LAYOUTS, *PLAIN_MARKS) and not is_mp3(mark):
        return None
    if mark.startswith(b"FORM") and mark[8:] not in FORM_KINDS:
        return None
    return _sound(file)


def _sound(file: BinaryIO) -> sf.SoundFile | None:
    file.seek(0)
    try:
        sound = sf.SoundFile(file.fileno(), closefd=False)
    except sf.LibsndfileError:
        return None
    if sound.frames == NO_LENGTH or (sound.format == "OGG" and _is_misread(sound, file)):
        sound.close()
        return None
    return sound


def _is_misread(sound: sf.SoundFile, file: BinaryIO) -> bool:
    return sound.channels > AUDIO_CHANNELS or ogg.is_chained(file)


def probe(sound: sf.SoundFile) -> Probe:
    """Rate, channels and the length that can be read.

    Raises:
        Unreadable: an uncompressed file is shorter than its header says.
    """
    duration_s = sound.frames / sound.samplerate
    name = SIZE_LINES.get(sound.format, "")
    sizes = re.search(rf"^\s*{name}\s*: (\d+) \(should be (\d+)\)", sound.extra_info, re.MULTILINE)
    if name and sizes is not None:
        stated, true = int(sizes[1]), int(sizes[2])
        if 0 < true < stated < STREAMED_BYTES:
            check_complete(duration_s, duration_s * stated / true)
    return Probe(sound.samplerate, sound.channels, duration_s)


def decode_blocks(sound: sf.SoundFile, file: BinaryIO, deadline: Deadline) -> Generator[np.ndarray, None, None]:
    """Float32 blocks ``[channels, n]`` of the whole file.

    Raises:
        Unreadable: damaged, cut short, longer than stated, or too slow.
    """
    count = 0
    try:
        while len(block := sound.read(BLOCK_SAMPLES, dtype="float32", always_2d=True)):
            deadline.check()
            count += len(block)
            yield block.T  # [channels, n]
    except sf.LibsndfileError as error:
        stated_s = sound.frames / sound.samplerate
        raise Unreadable(f"is damaged or cut short: not all of its {stated_s:.1f} s can be read") from error
    check_complete(count / sound.samplerate, sound.frames / sound.samplerate)
    if sound.format in STREAM_FORMATS and _more_follows(file.fileno()):
        raise Unreadable(f"holds more sound than the {count / sound.samplerate:.1f} s that its header states")


def _more_follows(descriptor: int) -> bool:
    """Whether libsndfile stopped well before the end of the file, at something that is no tag."""
    tail = os.pread(descriptor, TAIL_BYTES, os.lseek(descriptor, 0, os.SEEK_CUR))
    return len(tail) == TAIL_BYTES and any(tail) and not any(mark in tail for mark in TAG_MARKS)
