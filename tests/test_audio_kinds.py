"""Every kind of file that people have: containers, sample formats, rates, channels, names. Two tones come back."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soxr

from acestep.audio.ffmpeg import find_ffmpeg
from acestep.audio.io import read_audio

from audio_files import (
    RATE,
    SECONDS,
    assert_is_two_tones,
    coded,
    refused,
    run_ffmpeg,
    similarity,
    stored,
    tone,
    transcode,
    two_tones,
    write,
)

LIBSNDFILE = [  # kind, subtype, the most noise in dB that its samples may have (8 bits, cut off: -38.9)
    ("WAV", "PCM_U8", -38),
    ("WAV", "PCM_16", -80),
    ("WAV", "PCM_24", -120),
    ("WAV", "PCM_32", -120),
    ("WAV", "FLOAT", -120),
    ("WAV", "DOUBLE", -120),
    ("WAV", "ULAW", -30),
    ("WAV", "ALAW", -30),
    ("WAV", "MS_ADPCM", -20),
    ("WAV", "IMA_ADPCM", -20),
    ("WAVEX", "PCM_24", -120),
    ("RF64", "PCM_16", -80),
    ("W64", "PCM_24", -120),
    ("AIFF", "PCM_S8", -38),
    ("AIFF", "PCM_16", -80),
    ("AIFF", "FLOAT", -120),
    ("AU", "PCM_16", -80),
    ("AU", "ULAW", -30),
    ("CAF", "PCM_24", -120),
    ("CAF", "ALAC_16", -80),
    ("FLAC", "PCM_S8", -38),
    ("FLAC", "PCM_16", -80),
    ("FLAC", "PCM_24", -120),
    ("OGG", "VORBIS", -25),
    ("OGG", "OPUS", -25),
    ("MP3", "MPEG_LAYER_III", -25),
    ("NIST", "PCM_16", -80),
    ("VOC", "PCM_16", -80),
]


FFMPEG = [  # suffix, arguments, the most noise in dB, the most seconds of padding
    ("m4a", ("-c:a", "aac", "-b:a", "256k"), -25, 0.03),
    ("m4a", ("-c:a", "aac", "-b:a", "256k", "-movflags", "+faststart"), -25, 0.03),
    ("m4a", ("-c:a", "alac"), -80, 0.0),
    ("mp4", ("-c:a", "libopus", "-b:a", "192k"), -25, 0.02),
    ("mov", ("-c:a", "pcm_s24be"), -120, 0.0),
    ("aac", ("-c:a", "aac", "-b:a", "256k", "-f", "adts"), -25, 0.1),
    ("mp3", ("-c:a", "libmp3lame", "-q:a", "2"), -25, 0.0),
    ("mp3", ("-c:a", "libmp3lame", "-b:a", "128k", "-write_xing", "0"), -25, 0.1),
    ("ogg", ("-c:a", "libvorbis", "-q:a", "6"), -25, 0.03),
    ("oga", ("-c:a", "flac"), -80, 0.0),
    ("opus", ("-c:a", "libopus", "-b:a", "192k"), -25, 0.02),
    ("webm", ("-c:a", "libopus", "-b:a", "192k"), -25, 0.02),
    ("mka", ("-c:a", "flac"), -80, 0.0),
    ("mka", ("-c:a", "libvorbis", "-q:a", "6"), -25, 0.03),
    ("caf", ("-c:a", "alac"), -80, 0.1),
    ("w64", ("-c:a", "pcm_s16le"), -80, 0.0),
    ("aiff", ("-c:a", "pcm_s24be"), -120, 0.0),
    ("au", ("-c:a", "pcm_s16be"), -80, 0.0),
    ("wav", ("-c:a", "pcm_alaw"), -30, 0.0),
    ("wma", ("-c:a", "wmav2", "-b:a", "192k"), -25, 0.1),
    ("ac3", ("-c:a", "ac3", "-b:a", "384k"), -25, 0.1),
    ("ts", ("-c:a", "aac", "-b:a", "256k"), -25, 0.1),
    ("tta", ("-c:a", "tta"), -80, 0.0),
    ("wv", ("-c:a", "wavpack"), -80, 0.0),
]


@pytest.mark.parametrize(("kind", "subtype", "noise"), LIBSNDFILE)
@pytest.mark.parametrize("rate", [44_100, 48_000])
def test_reads_what_libsndfile_writes(tmp_path: Path, kind: str, subtype: str, noise: float, rate: int) -> None:
    if subtype == "OPUS":
        rate = 48_000  # it knows no other of the two
    (tmp_path / "song").write_bytes(stored(kind, subtype, rate))
    audio = read_audio(tmp_path / "song", field="src_audio")
    assert (audio.source_rate, audio.source_channels) == (rate, 2)
    block_s = 2048 / rate if "ADPCM" in subtype else 0.0  # it fills up its last block
    assert_is_two_tones(audio, noise, block_s)


@pytest.mark.parametrize(("suffix", "arguments", "noise", "padding_s"), FFMPEG)
def test_reads_what_ffmpeg_writes(
    tmp_path: Path, suffix: str, arguments: tuple[str, ...], noise: float, padding_s: float
) -> None:
    (tmp_path / f"song.{suffix}").write_bytes(coded(suffix, *arguments, rate=44_100))
    audio = read_audio(tmp_path / f"song.{suffix}", field="src_audio")
    assert audio.source_rate in {44_100, 48_000}  # Opus always says 48000
    assert audio.source_channels == 2
    assert_is_two_tones(audio, noise, padding_s)


def test_pcm_16_at_48_khz_stereo_is_read_exactly(tmp_path: Path) -> None:
    stored = np.random.default_rng(0).integers(-(2**15), 2**15, (2, RATE), dtype=np.int16)
    audio = read_audio(write(tmp_path / "song.wav", stored, subtype="PCM_16"), field="src_audio")
    assert np.array_equal(audio.samples, stored.astype(np.float32) / 2**15)


@pytest.mark.parametrize("name", ["song.mp3", "song.raw", "song.vox", "song.txt", "song", "-i.flac", "http:song"])
def test_content_decides_not_the_name(tmp_path: Path, name: str) -> None:
    flac = write(tmp_path / name, tone(RATE), format="FLAC", subtype="PCM_16")
    assert similarity(read_audio(flac, field="src_audio").samples, tone(RATE)) > 0.999
    m4a = transcode(flac, tmp_path / "song.m4a", "-c:a", "aac").rename(flac)
    assert similarity(read_audio(m4a, field="src_audio").samples, tone(RATE)) > 0.99


def test_mono_is_put_into_both_channels(tmp_path: Path) -> None:
    audio = read_audio(write(tmp_path / "mono.wav", tone(44_100, 1), 44_100), field="src_audio")
    assert audio.source_channels == 1
    assert audio.samples.shape == (2, round(SECONDS * RATE))
    assert np.array_equal(audio.samples[0], audio.samples[1])


SURROUND = [  # each stores the front pair, the centre and the rest in its own order
    ("wav", ("-c:a", "pcm_s16le"), -80),
    ("flac", ("-c:a", "flac"), -80),
    ("m4a", ("-c:a", "aac", "-b:a", "384k"), -25),
    ("ogg", ("-c:a", "libvorbis", "-q:a", "6"), -25),
    ("opus", ("-c:a", "libopus", "-b:a", "384k", "-mapping_family", "1"), -25),
    ("mka", ("-c:a", "ac3", "-b:a", "448k"), -25),
]


@pytest.mark.parametrize(("suffix", "arguments", "noise"), SURROUND)
def test_of_six_channels_front_left_and_right_are_kept(
    tmp_path: Path, suffix: str, arguments: tuple[str, ...], noise: float
) -> None:
    source = write(tmp_path / "source.wav", two_tones(RATE, 6))  # the tones are in front left and front right
    song = transcode(source, tmp_path / f"song.{suffix}", "-af", "channelmap=0|1|2|3|4|5:5.1", *arguments)
    audio = read_audio(song, field="src_audio")
    assert audio.source_channels == 6
    assert_is_two_tones(audio, noise, padding_s=0.05)


@pytest.mark.parametrize("rate", [8000, 11_025, 16_000, 22_050, 32_000, 88_200, 96_000, 192_000])
def test_every_allowed_rate_becomes_48_khz(tmp_path: Path, rate: int) -> None:
    audio = read_audio(write(tmp_path / "song.wav", two_tones(rate), rate), field="src_audio")
    assert audio.source_rate == rate
    assert_is_two_tones(audio, noise=-120)


@pytest.mark.parametrize("length", [4801, 65_535, 65_536, 65_537, 131_073])
def test_no_sample_is_lost_where_blocks_meet(tmp_path: Path, length: int) -> None:
    samples = two_tones(RATE, seconds=length / RATE)
    for name, options in {"song.wav": {}, "song.flac": {"format": "FLAC", "subtype": "PCM_24"}}.items():
        audio = read_audio(write(tmp_path / name, samples, **options), field="src_audio")
        assert audio.samples.shape == (2, length)
        assert np.abs(audio.samples - samples).max() < 2**-22
    m4a = transcode(tmp_path / "song.wav", tmp_path / "song.m4a", "-c:a", "alac", "-sample_fmt", "s32p")
    assert np.abs(read_audio(m4a, field="src_audio").samples - samples).max() < 2**-22


def test_a_song_that_is_resampled_in_blocks_equals_one_in_one_piece(tmp_path: Path) -> None:
    samples = np.random.default_rng(1).uniform(-0.5, 0.5, (2, 200_001)).astype(np.float32)
    audio = read_audio(write(tmp_path / "song.wav", samples, 44_100), field="src_audio")
    whole = soxr.resample(samples.T, 44_100, RATE, quality="VHQ").T
    assert audio.samples.shape == whole.shape
    assert np.abs(audio.samples - whole).max() < 1e-6


def chunk(mark: bytes, content: bytes) -> bytes:
    return mark + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)


def test_chunks_before_and_after_the_sound_are_skipped(tmp_path: Path) -> None:
    wav = stored("WAV", "PCM_16")
    before = chunk(b"JUNK", bytes(70_001)) + chunk(b"bext", bytes(602)) + chunk(b"iXML", b"<xml/>" * 999)
    after = chunk(b"LIST", b"INFOISFT" + struct.pack("<I", 4) + b"abc\0") + chunk(b"id3 ", bytes(300_000))
    body = b"WAVE" + before + wav[12:] + after
    (tmp_path / "song.wav").write_bytes(chunk(b"RIFF", body))
    assert_is_two_tones(read_audio(tmp_path / "song.wav", field="src_audio"), noise=-80)


@pytest.mark.parametrize(
    ("suffix", "arguments", "noise"),
    [
        ("mp3", ("-c:a", "libmp3lame", "-q:a", "2"), -25),
        ("flac", ("-c:a", "flac"), -80),
        ("m4a", ("-c:a", "aac", "-b:a", "256k"), -25),
    ],
)
def test_a_large_cover_picture_is_skipped(
    tmp_path: Path, suffix: str, arguments: tuple[str, ...], noise: float
) -> None:
    picture, png = str(tmp_path / "cover.png"), ("-c:v", "png", "-compression_level", "0")
    run_ffmpeg("-f", "lavfi", "-i", "testsrc2=s=1500x1500,format=rgb24", "-frames:v", "1", *png, picture)
    source = write(tmp_path / "source.wav", two_tones(RATE))
    cover = ("-i", picture, "-map", "0:a", "-map", "1:v", "-c:v", "copy", "-disposition:v", "attached_pic")
    song = transcode(source, tmp_path / f"song.{suffix}", *cover, *arguments)
    assert song.stat().st_size > 6_000_000
    assert_is_two_tones(read_audio(song, field="src_audio"), noise, padding_s=0.03)


@pytest.mark.parametrize("codec", ["libvorbis", "libopus"])
def test_all_songs_of_a_chained_ogg_are_read(tmp_path: Path, codec: str) -> None:
    links = [coded("ogg", "-c:a", codec, "-serial_offset", offset) for offset in ("1", "2", "3")]
    (tmp_path / "song.ogg").write_bytes(b"".join(links))
    assert read_audio(tmp_path / "song.ogg", field="src_audio").duration_s == pytest.approx(3 * SECONDS, abs=0.05)


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [("wav", ("-c:a", "pcm_s16le")), ("flac", ("-c:a", "flac")), ("matroska", ("-c:a", "flac")), ("au", ())],
)
def test_files_written_to_a_pipe_state_no_length_and_are_read(
    tmp_path: Path, kind: str, arguments: tuple[str, ...]
) -> None:
    source = write(tmp_path / "source.wav", two_tones(RATE))
    command = [find_ffmpeg(), "-v", "error", "-i", source, *arguments, "-f", kind, "pipe:1"]
    (tmp_path / "song").write_bytes(subprocess.run(command, check=True, capture_output=True).stdout)
    assert_is_two_tones(read_audio(tmp_path / "song", field="src_audio"), noise=-80)


NAMES = ["a'b\"c.wav", "line\nbreak.wav", "-rf.wav", "concat:a|b.wav", "pipe:0", "fd:0", "%d.wav", "$(id).wav"]


NAMES += ["Пе́сня 🎵.wav", "\udcff.wav", " .wav", "file,crypto:x.wav", "x.ffconcat", "song.m3u8"]


@pytest.mark.parametrize("name", NAMES)
def test_no_name_is_special(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for content in (stored("WAV", "PCM_16"), coded("m4a", "-c:a", "alac")):
        Path(name).write_bytes(content)
        assert_is_two_tones(read_audio(name, field="src_audio"), noise=-80)
    Path(name).write_bytes(b"no audio")
    assert refused(name).startswith(f"src_audio: {name!r} is not audio that can be read")
