"""Write a finished song to disk: encoded, tagged, whole. Or not at all.

In: float32 ``[channels, S]``, a format name, tags and the recipe. Out: the path of a complete file.
The song is built in a hidden file beside its target and renamed once it is on the disk, so a cancelled run, a full
disk or a killed process never leaves half a song under the real name.
Refuses to know requests, resampling and levels: the samples arrive at the rate and level they shall have.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf
from mutagen import MutagenError

from acestep.audio.ffmpeg import FfmpegError, encode_blocks
from acestep.audio.resample import pieces
from acestep.errors import GenerationError, OutputError
from acestep.output.content_credentials import Credentials, SigningError, check_signable
from acestep.output.formats import AudioFormat, check_sample_rate, format_named
from acestep.output.recipe import GENERATOR, assert_shareable, to_json
from acestep.output.tags import SongTags, write_tags

BLOCK_SAMPLES = 65_536  # libsndfile's Vorbis encoder crashes on a whole song at once

Encoder = Callable[[np.ndarray, int, Path, AudioFormat, SongTags], None]


def write_audio(
    samples: np.ndarray,
    sample_rate: int,
    path: str | Path,
    format_name: str,
    tags: SongTags,
    recipe: Mapping[str, Any],
    credentials: Credentials | None = None,
) -> Path:
    """Write one song. An existing file of that name is replaced, at once and only by a complete one.

    Args:
        samples: finite float32 ``[1 or 2, S]``; integer formats clip what exceeds [-1, 1] and round without dither.
        sample_rate: of ``samples`` in Hz.
        path: target; its suffix must be that of the format.
        format_name: a key of ``formats.FORMATS``.
        tags: what players show.
        recipe: from ``recipe.build_recipe``.
        credentials: who signs the file, the last thing that happens to it; None leaves it unsigned.

    Returns:
        ``path`` as a ``Path``.

    Raises:
        InputError: no such format.
        UnsupportedError: the format cannot hold the rate, or cannot be signed.
        GenerationError: a sample is not finite.
        OutputError: wrong suffix, folder not writable, disk full, encoder missing or failing, signature refused.
            Nothing is left behind.
    """
    path, audio_format = Path(path), format_named(format_name)
    check_sample_rate(audio_format, sample_rate)
    if credentials is not None:
        check_signable(format_name)
    if path.suffix.lower() != audio_format.extension:
        raise OutputError(f"cannot write {path.name!r}: the format {format_name} is kept in {audio_format.extension}")
    if not np.isfinite(samples).all():
        raise GenerationError(f"cannot write {path.name!r}: it contains samples that are not finite numbers")
    assert_shareable(recipe)
    check_writable(path.parent)
    with replacing(path) as part:
        ENCODERS[audio_format.encoder](samples, sample_rate, part, audio_format, tags)
        write_tags(part, audio_format.tag_kind, tags, to_json(recipe))
        if credentials is not None:
            with _replacement(part) as signed:
                credentials.sign(part, signed, format_name, tags.title, recipe)
    return path


def write_text(path: Path, text: str) -> None:
    """Write a text file, in UTF-8; one of that name is replaced, at once and only by a complete one.

    Raises:
        OutputError: folder not writable, or the disk is full. Nothing is left behind.
    """
    check_writable(path.parent)
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")


def move_file(file: Path, target: Path) -> None:
    """Give a complete file of the same disk its place; one of that name is replaced.

    Raises:
        OutputError: it cannot be.
    """
    try:
        file.replace(target)
    except OSError as error:
        raise OutputError(f"cannot write {target.name!r}: {error.strerror}.") from error


def check_writable(folder: str | Path) -> None:
    """Create a folder if needed and make sure that files can be made in it.

    Raises:
        OutputError: they cannot.
    """
    folder = Path(folder)
    probe = folder / _part_name()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch(exist_ok=False)
        probe.unlink()
    except OSError as error:
        raise OutputError(f"cannot write into the folder {folder.name!r}: {error.strerror}") from error


@contextmanager
def writable_folder(folder: Path) -> Iterator[None]:
    """``folder`` exists and takes files inside the block; what had to be created for it goes away if the block fails.

    Raises:
        OutputError: it cannot be created or written.
    """
    created = [path for path in (folder, *folder.parents) if not path.exists()]
    check_writable(folder)
    try:
        yield
    except BaseException:
        for path in created:
            with suppress(OSError):  # somebody else's file came to lie in it
                path.rmdir()
        raise


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A file beside ``path`` that is on the disk when it takes its place; errors of the block name ``path``."""
    try:
        with _replacement(path) as part:
            yield part
            _sync(part)
        _sync(path.parent)
    except (FfmpegError, SigningError) as error:
        raise OutputError(f"cannot write {path.name!r}: it {error}") from error
    except (OSError, sf.SoundFileError, MutagenError) as error:
        raise OutputError(f"cannot write {path.name!r}: {_reason(error)}") from error


@contextmanager
def _replacement(path: Path) -> Iterator[Path]:
    """A file beside ``path`` that takes its place when the block succeeds and vanishes whatever else happens."""
    part = path.parent / _part_name()
    try:
        yield part
        part.replace(path)
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def _part_name() -> str:
    return f".{secrets.token_hex(8)}.part"


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _reason(error: Exception) -> str:
    cause = error.args[0] if error.args and isinstance(error.args[0], OSError) else error  # mutagen wraps OSError
    return getattr(cause, "strerror", None) or getattr(cause, "error_string", None) or type(cause).__name__


def _encode_libsndfile(
    samples: np.ndarray, sample_rate: int, path: Path, audio_format: AudioFormat, tags: SongTags
) -> None:
    channels, length = samples.shape
    with sf.SoundFile(path, "w", sample_rate, channels, **audio_format.sndfile) as sound:
        if audio_format.tag_kind == "riff":
            _set_info(sound, tags)
        for block in pieces(samples, BLOCK_SAMPLES):
            sound.write(quantised(block, audio_format.bits).T)  # [n, channels]
    written = sf.info(path).frames
    if written != length:
        raise OSError(None, f"only {written} of {length} samples reached the disk")


def _set_info(sound: sf.SoundFile, tags: SongTags) -> None:
    """RIFF INFO, for programs that do not look for ID3 inside WAV."""
    sound.software = GENERATOR
    for name, text in {"title": tags.title, "comment": tags.comment}.items():
        if text:  # libsndfile refuses an empty one
            setattr(sound, name, text)


def _encode_ffmpeg(
    samples: np.ndarray, sample_rate: int, path: Path, audio_format: AudioFormat, tags: SongTags
) -> None:
    del tags  # written afterwards, like every format's
    encode_blocks(pieces(samples, BLOCK_SAMPLES), sample_rate, samples.shape[0], path, audio_format.ffmpeg)


ENCODERS: Mapping[str, Encoder] = {"libsndfile": _encode_libsndfile, "ffmpeg": _encode_ffmpeg}


def quantised(samples: np.ndarray, bits: int | None) -> np.ndarray:
    """Float samples as the integers libsndfile stores: nearest step, clipped, no dither.

    A sample that came from a file of the same depth gets its old integer back. (libsndfile's own conversion rounds
    towards minus infinity, which adds half a step of DC to everything else.)

    Args:
        samples: float32 within [-1, 1].
        bits: 16 or 24, or None to leave the floats alone.

    Returns:
        int16 for 16 bits; int32 with the value in its upper 24 bits for 24; else ``samples``.
    """
    if bits is None:
        return samples
    full = 1 << (bits - 1)
    steps = np.clip(np.rint(samples * np.float32(full)), -full, full - 1)
    return steps.astype(np.int16) if bits == 16 else steps.astype(np.int32) << (32 - bits)
