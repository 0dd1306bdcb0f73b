"""Reading what people upload: real files of many kinds, and every way in which a file can be wrong."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from acestep.audio.ffmpeg import FfmpegError, encode_blocks, find_ffmpeg
from acestep.audio.io import AudioLimits, read_audio
from acestep.errors import AudioError

RATE = 48_000
SECONDS = 2.0


def tone(rate: int, channels: int = 2, seconds: float = SECONDS, amplitude: float = 0.5) -> np.ndarray:
    """Channel c holds a sine of 400 + 200 c Hz, ``[channels, S]``."""
    time = np.arange(round(seconds * rate)) / rate
    rows = [amplitude * np.sin(2 * np.pi * (400 + 200 * channel) * time) for channel in range(channels)]
    return np.stack(rows).astype(np.float32)


def write(path: Path, samples: np.ndarray, rate: int = RATE, **options: str) -> Path:
    sf.write(path, samples.T, rate, **{"format": "WAV", "subtype": "FLOAT", **options})
    return path


def transcode(source: Path, target: Path, *arguments: str) -> Path:
    subprocess.run([find_ffmpeg(), "-v", "error", "-y", "-i", source, *arguments, target], check=True)
    return target


def refused(path: Path | str, limits: AudioLimits = AudioLimits(), require_sound: bool = False) -> str:  # noqa: B008
    with pytest.raises(AudioError) as caught:
        read_audio(path, field="src_audio", limits=limits, require_sound=require_sound)
    assert caught.value.field == "src_audio"
    message = str(caught.value)
    assert message.startswith("src_audio: '")
    assert str(Path(path).parent) == "." or str(Path(path).parent) not in message, "no folder may be shown"
    assert "\n" not in message
    return message


def similarity(left: np.ndarray, right: np.ndarray) -> float:
    """Cosine of two waveforms over their common length, per channel, the worst."""
    length = min(left.shape[1], right.shape[1])
    left, right = left[:, :length], right[:, :length]
    return float(((left * right).sum(1) / np.linalg.norm(left, axis=1) / np.linalg.norm(right, axis=1)).min())


LIBSNDFILE = [("WAV", "PCM_16"), ("WAV", "PCM_U8"), ("WAV", "DOUBLE"), ("WAVEX", "PCM_24"), ("RF64", "PCM_16")]
LIBSNDFILE += [
    ("FLAC", "PCM_24"),
    ("OGG", "VORBIS"),
    ("MP3", "MPEG_LAYER_III"),
    ("AIFF", "PCM_16"),
    ("CAF", "PCM_16"),
]
FFMPEG = [
    ("m4a", "-c:a", "aac"),
    ("aac", "-c:a", "aac", "-f", "adts"),
    ("mp4", "-c:a", "libopus"),
    ("webm", "-c:a", "libopus"),
    ("mka", "-c:a", "flac"),
    ("wma", "-c:a", "wmav2"),
]


@pytest.mark.parametrize(("kind", "subtype"), LIBSNDFILE)
@pytest.mark.parametrize("rate", [44_100, 48_000])
def test_reads_what_libsndfile_knows(tmp_path: Path, kind: str, subtype: str, rate: int) -> None:
    audio = read_audio(write(tmp_path / "song", tone(rate), rate, format=kind, subtype=subtype), field="src_audio")
    assert audio.samples.dtype == np.float32
    assert audio.samples.shape == (2, round(SECONDS * RATE))
    assert (audio.sample_rate, audio.source_rate, audio.source_channels) == (RATE, rate, 2)
    assert audio.duration_s == pytest.approx(SECONDS)
    assert similarity(audio.samples, tone(RATE)) > 0.999


@pytest.mark.parametrize(("suffix", "arguments"), [(row[0], row[1:]) for row in FFMPEG])
def test_reads_what_only_ffmpeg_knows(tmp_path: Path, suffix: str, arguments: tuple[str, ...]) -> None:
    source = write(tmp_path / "source.wav", tone(44_100), 44_100)
    audio = read_audio(transcode(source, tmp_path / f"song.{suffix}", *arguments), field="src_audio")
    assert audio.source_rate in {44_100, 48_000}  # Opus always says 48000
    assert audio.source_channels == 2
    assert audio.duration_s == pytest.approx(SECONDS, abs=0.1)
    shift = 2400 if suffix in {"aac", "wma"} else 1  # bare streams do not say how much padding precedes the music
    scores = [similarity(np.roll(audio.samples, -offset, 1), tone(RATE)) for offset in range(0, shift, 4)]
    assert max(scores) > 0.95


def test_pcm_16_at_48_khz_stereo_is_read_exactly(tmp_path: Path) -> None:
    stored = np.random.default_rng(0).integers(-(2**15), 2**15, (2, RATE), dtype=np.int16)
    audio = read_audio(write(tmp_path / "song.wav", stored, subtype="PCM_16"), field="src_audio")
    assert np.array_equal(audio.samples, stored.astype(np.float32) / 2**15)


def test_hash_is_of_the_files_bytes(tmp_path: Path) -> None:
    path = write(tmp_path / "song.wav", tone(RATE))
    assert read_audio(path, field="src_audio").sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_path_may_be_text(tmp_path: Path) -> None:
    path = write(tmp_path / "song.wav", tone(RATE))
    assert read_audio(str(path), field="src_audio").duration_s == SECONDS


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


def test_of_many_channels_the_first_two_are_kept(tmp_path: Path) -> None:
    wav = write(tmp_path / "surround.wav", tone(RATE, 6), format="WAVEX")
    m4a = transcode(wav, tmp_path / "surround.m4a", "-c:a", "aac", "-b:a", "384k")
    exact = read_audio(wav, field="src_audio")
    coded = read_audio(m4a, field="src_audio")
    assert exact.source_channels == coded.source_channels == 6
    assert np.array_equal(exact.samples, tone(RATE, 6)[:2])
    assert coded.samples.shape[0] == 2


def test_samples_are_clamped(tmp_path: Path) -> None:
    audio = read_audio(write(tmp_path / "hot.wav", 4 * tone(44_100), 44_100), field="src_audio")
    assert audio.samples.max() == 1.0
    assert audio.samples.min() == -1.0


@pytest.mark.parametrize("rate", [8000, 11_025, 96_000, 192_000])
def test_every_allowed_rate_becomes_48_khz(tmp_path: Path, rate: int) -> None:
    audio = read_audio(write(tmp_path / "song.wav", tone(rate), rate), field="src_audio")
    assert audio.samples.shape == (2, round(SECONDS * RATE))
    middle = slice(2000, -2000)
    assert np.abs(audio.samples - tone(RATE))[:, middle].max() < 1e-4


@pytest.mark.parametrize("rate", [4000, 384_000])
def test_other_rates_are_refused(tmp_path: Path, rate: int) -> None:
    message = refused(write(tmp_path / "song.wav", tone(rate), rate))
    assert message == f"src_audio: 'song.wav' has a sample rate of {rate} Hz; allowed are 8000 to 192000 Hz"


def test_too_many_channels_are_refused(tmp_path: Path) -> None:
    message = refused(write(tmp_path / "song.wav", tone(RATE, 9, 0.2)))
    assert message == "src_audio: 'song.wav' has 9 channels; at most 8 are allowed"


def test_too_many_bytes_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "song.wav", tone(RATE, 2, 6.0))
    assert "has 2 MiB; at most 1 MiB are allowed" in refused(path, AudioLimits(max_bytes=1 << 20))


def test_a_file_that_states_a_great_length_is_refused_unread(tmp_path: Path) -> None:
    path = write(tmp_path / "song.wav", tone(RATE, 2, 3.0))
    hopeless = AudioLimits(max_duration_s=2.5, max_decode_s=0.0)  # decoding anything would exceed max_decode_s
    assert refused(path, hopeless) == "src_audio: 'song.wav' is 3.0 s long; at most 2.5 s are allowed"
    m4a = transcode(path, tmp_path / "song.m4a", "-c:a", "aac")
    assert "is 3.0 s long; at most 2.5 s" in refused(m4a, AudioLimits(max_duration_s=2.5))


def test_a_file_that_hides_its_length_is_refused_while_decoding(tmp_path: Path) -> None:
    source = write(tmp_path / "source.wav", tone(RATE, 2, 9.0))
    command = [find_ffmpeg(), "-v", "error", "-i", source, "-c:a", "flac", "-f", "matroska", "pipe:1"]
    hidden = tmp_path / "hidden.mka"
    hidden.write_bytes(subprocess.run(command, check=True, capture_output=True).stdout)
    assert "at most 1.5 s are allowed" in refused(hidden, AudioLimits(max_duration_s=1.5))
    assert read_audio(hidden, field="src_audio").duration_s == pytest.approx(9.0, abs=0.01)
    assert_nothing_is_running()


def assert_nothing_is_running() -> None:
    assert not [thread for thread in threading.enumerate() if isinstance(thread, threading.Timer)]
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


@pytest.mark.parametrize("suffix", ["wav", "m4a"])
def test_decoding_has_a_time_limit(tmp_path: Path, suffix: str) -> None:
    wav = write(tmp_path / "song.wav", tone(RATE, 2, 5.0))
    path = wav if suffix == "wav" else transcode(wav, tmp_path / "song.m4a", "-c:a", "aac")
    assert "took longer than 0 s" in refused(path, AudioLimits(max_decode_s=0.0))
    assert_nothing_is_running()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_samples_that_are_not_finite_are_refused(tmp_path: Path, bad: float) -> None:
    samples = tone(RATE)
    samples[1, -1] = bad
    assert refused(write(tmp_path / "song.wav", samples)).endswith("contains samples that are not finite numbers")


def test_silence_is_refused_only_where_sound_is_required(tmp_path: Path) -> None:
    path = write(tmp_path / "song.wav", np.full((2, RATE), 9e-7, np.float32))
    assert refused(path, require_sound=True) == "src_audio: 'song.wav' is silent from start to end"
    assert read_audio(path, field="src_audio").duration_s == 1.0
    faint = write(tmp_path / "faint.wav", np.full((2, RATE), -2e-6, np.float32))
    assert read_audio(faint, field="src_audio", require_sound=True).duration_s == 1.0


@pytest.mark.parametrize("length", [0, 1, 4799])
def test_hardly_any_samples_are_refused(tmp_path: Path, length: int) -> None:
    message = refused(write(tmp_path / "song.wav", tone(RATE)[:, :length]))
    assert message.endswith(f"holds only {length / RATE:.3f} s of sound; at least 0.1 s are needed")


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "folder.wav").mkdir()
    (tmp_path / "empty.wav").touch()
    os.mkfifo(tmp_path / "pipe.wav")
    assert refused(tmp_path / "nothing.wav") == "src_audio: 'nothing.wav' does not exist"
    assert refused(tmp_path / "folder.wav") == "src_audio: 'folder.wav' is not a file"
    assert refused(tmp_path / "pipe.wav") == "src_audio: 'pipe.wav' is not a file"
    assert refused(tmp_path / "empty.wav") == "src_audio: 'empty.wav' is empty"
    assert "cannot be read (File name too long)" in refused(tmp_path / ("x" * 300))
    assert "does not exist" in refused("a\0b.wav")


def test_a_url_given_by_mistake_does_not_show_its_token() -> None:
    assert refused("https://user:pass@host/song.wav?token=secret") == "src_audio: 'song.wav' does not exist"


@pytest.mark.parametrize("name", ["notes.wav", "notes.mp3", "notes.vox", "notes.gsm", "notes.raw", "notes.m4a"])
@pytest.mark.parametrize("content", [b"Dear diary,\n" * 500, bytes(range(1, 200)) * 30, b"\0" * 5000])
def test_what_is_not_audio_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    assert f"{name!r} is not audio that can be read" in refused(tmp_path / name)


def test_a_video_without_sound_is_refused(tmp_path: Path) -> None:
    command = [find_ffmpeg(), "-v", "error", "-f", "lavfi", "-i", "color=s=64x64:d=1", "-c:v", "mpeg4"]
    subprocess.run([*command, tmp_path / "film.mp4"], check=True)
    assert "is not audio that can be read" in refused(tmp_path / "film.mp4")


@pytest.mark.parametrize(
    "text",
    [
        "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2.0,\n{target}\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile '{target}'\n",
    ],
)
def test_playlists_cannot_reach_other_files(tmp_path: Path, text: str) -> None:
    secret = transcode(write(tmp_path / "secret.wav", tone(RATE)), tmp_path / "secret.ts", "-c:a", "aac")
    (tmp_path / "list.m4a").write_text(text.format(target=secret))
    assert "is not audio that can be read" in refused(tmp_path / "list.m4a")


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    flac = write(tmp_path / "song.flac", tone(RATE), format="FLAC", subtype="PCM_16")
    content = bytearray(flac.read_bytes())
    half = len(content) // 2
    content[half : half + 2000] = bytes(2000)
    flac.write_bytes(content)
    assert "'song.flac' is damaged" in refused(flac)
    m4a = transcode(write(tmp_path / "song.wav", tone(RATE)), tmp_path / "song.m4a", "-c:a", "aac")
    m4a.write_bytes(m4a.read_bytes()[: m4a.stat().st_size // 2])  # its index lay at the end
    assert "is not audio that can be read" in refused(m4a)


def without_ffmpeg(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)  # as if the package were not installed
    monkeypatch.setenv("PATH", str(folder))


def test_a_missing_ffmpeg_is_named_with_its_cure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wav = write(tmp_path / "song.wav", tone(RATE))
    m4a = transcode(wav, tmp_path / "song.m4a", "-c:a", "aac")
    without_ffmpeg(monkeypatch, tmp_path)
    assert "needs ffmpeg, which is missing: run `pip install imageio-ffmpeg`" in refused(m4a)
    assert read_audio(wav, field="src_audio").duration_s == SECONDS


def test_an_ffmpeg_on_the_path_is_used_without_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    m4a = transcode(write(tmp_path / "song.wav", tone(RATE)), tmp_path / "song.m4a", "-c:a", "aac")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "ffmpeg").symlink_to(find_ffmpeg())
    without_ffmpeg(monkeypatch, tmp_path / "bin")
    assert find_ffmpeg() == str(tmp_path / "bin" / "ffmpeg")
    assert read_audio(m4a, field="src_audio").duration_s == pytest.approx(SECONDS, abs=0.05)


def test_an_encoder_that_refuses_says_why(tmp_path: Path) -> None:
    blocks = [tone(RATE)] * 50  # more than a pipe holds, so writing meets a closed pipe
    with pytest.raises(FfmpegError, match=r"could not be encoded \(Encoder not found\)"):
        encode_blocks(blocks, RATE, 2, tmp_path / "song", ["-c:a", "no_such_codec", "-f", "ipod"])
    assert_nothing_is_running()
