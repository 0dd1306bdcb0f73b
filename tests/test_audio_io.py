"""Reading what people upload: limits, refusals, what is left behind, and machines without ffmpeg."""

from __future__ import annotations

import ctypes
import hashlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from acestep.audio import ffmpeg
from acestep.audio.ffmpeg import FfmpegError, encode_blocks, find_ffmpeg
from acestep.audio.io import AudioLimits, read_audio
from acestep.audio.source import Deadline
from acestep.errors import AudioError

from audio_files import RATE, SECONDS, refused, stored, tone, transcode, write
from malformed_bytes import chunk, id3, many_chunks, wav
from processes import children


@pytest.fixture(autouse=True)
def _nothing_is_left_running() -> Iterator[None]:
    """After every test: no new child, running or dead, and no thread that waits to kill one."""
    running = children()
    yield
    assert not [thread for thread in threading.enumerate() if isinstance(thread, threading.Timer)]
    assert children() == running


def test_hash_is_of_the_files_bytes(tmp_path: Path) -> None:
    path = write(tmp_path / "song.wav", tone(RATE))
    assert read_audio(path, field="src_audio").sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_path_may_be_text(tmp_path: Path) -> None:
    path = write(tmp_path / "song.wav", tone(RATE))
    assert read_audio(str(path), field="src_audio").duration_s == SECONDS


def test_samples_are_clamped(tmp_path: Path) -> None:
    audio = read_audio(write(tmp_path / "hot.wav", 4 * tone(44_100), 44_100), field="src_audio")
    assert audio.samples.max() == 1.0
    assert audio.samples.min() == -1.0


EXCHANGE = """
import os
while True:
    os.link("kept.wav", "new")
    os.replace("new", "song.wav")
    os.mkfifo("new")
    os.replace("new", "song.wav")
    os.unlink("song.wav")
"""


def test_a_file_exchanged_for_a_pipe_while_it_is_opened_cannot_hold_us(tmp_path: Path) -> None:
    (tmp_path / "kept.wav").write_bytes(stored("WAV", "PCM_16", seconds=0.2))
    possible = {"read", "does not exist.", "is not a file.", "cannot be read (No such file or directory)."}
    outcomes, enough = set(), time.monotonic() + 2.0
    exchanging = subprocess.Popen([sys.executable, "-c", EXCHANGE], cwd=tmp_path)
    signal.alarm(30)  # ends the test run: nothing gentler ends a wait for a pipe
    try:
        while not outcomes >= {"read", "does not exist.", "is not a file."} or time.monotonic() < enough:
            try:
                read_audio(tmp_path / "song.wav", field="src_audio")
                outcomes.add("read")
            except AudioError as error:
                outcomes.add(str(error).partition("' ")[2])
    finally:
        signal.alarm(0)
        exchanging.kill()
        exchanging.wait()
    assert outcomes <= possible


@pytest.mark.parametrize("rate", [4000, 384_000])
def test_other_rates_are_refused(tmp_path: Path, rate: int) -> None:
    message = refused(write(tmp_path / "song.wav", tone(rate), rate))
    assert message == f"src_audio: 'song.wav' has a sample rate of {rate} Hz; allowed are 8000 to 192000 Hz."


def test_too_many_channels_are_refused(tmp_path: Path) -> None:
    message = refused(write(tmp_path / "song.wav", tone(RATE, 9, 0.2)))
    assert message == "src_audio: 'song.wav' has 9 channels; at most 8 are allowed."


def test_too_many_bytes_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "song.wav", tone(RATE, 2, 6.0))
    assert "has 2 MiB; at most 1 MiB are allowed" in refused(path, AudioLimits(max_bytes=1 << 20))


def test_a_file_that_states_a_great_length_is_refused_unread(tmp_path: Path) -> None:
    path = write(tmp_path / "song.wav", tone(RATE, 2, 3.0))
    hopeless = AudioLimits(max_duration_s=2.5, max_decode_s=0.0)  # decoding anything would exceed max_decode_s
    assert refused(path, hopeless) == "src_audio: 'song.wav' is 3.0 s long; at most 2.5 s are allowed."
    m4a = transcode(path, tmp_path / "song.m4a", "-c:a", "aac")
    assert "is 3.0 s long; at most 2.5 s" in refused(m4a, AudioLimits(max_duration_s=2.5))


def test_a_file_that_hides_its_length_is_refused_while_decoding(tmp_path: Path) -> None:
    source = write(tmp_path / "source.wav", tone(RATE, 2, 9.0))
    command = [find_ffmpeg(), "-v", "error", "-i", source, "-c:a", "flac", "-f", "matroska", "pipe:1"]
    hidden = tmp_path / "hidden.mka"
    hidden.write_bytes(subprocess.run(command, check=True, capture_output=True).stdout)
    assert "at most 1.5 s are allowed" in refused(hidden, AudioLimits(max_duration_s=1.5))
    assert read_audio(hidden, field="src_audio").duration_s == pytest.approx(9.0, abs=0.01)


@pytest.mark.parametrize("suffix", ["wav", "m4a"])
def test_decoding_has_a_time_limit(tmp_path: Path, suffix: str) -> None:
    wav = write(tmp_path / "song.wav", tone(RATE, 2, 5.0))
    path = wav if suffix == "wav" else transcode(wav, tmp_path / "song.m4a", "-c:a", "aac")
    assert "took longer than 0 s" in refused(path, AudioLimits(max_decode_s=0.0))


def test_counting_pieces_has_a_time_limit(tmp_path: Path) -> None:
    (tmp_path / "song.wav").write_bytes(many_chunks(b"RIFF", b"WAVE", 9000))
    assert "took longer than 0 s" in refused(tmp_path / "song.wav", AudioLimits(max_decode_s=0.0))


SOUND = tone(RATE).T.tobytes()  # float32 frames


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(wav(SOUND, codec=3, bits=32, before=chunk(b"JUNK", b"abc") * 5000), id="many chunks before"),
        pytest.param(wav(SOUND, codec=3, bits=32) + chunk(b"JUNK", b"") * 9000, id="many chunks after"),
        pytest.param(wav(SOUND, codec=3, bits=32) + bytes(1 << 20), id="padded with zeros"),
        pytest.param(id3(100) * 9 + wav(SOUND, codec=3, bits=32), id="behind nine tags"),
        pytest.param(wav(SOUND, codec=3, bits=32, stated=0xFFFF_FFFF), id="streamed"),
    ],
)
def test_pieces_in_moderation_do_no_harm(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "song.wav").write_bytes(content)
    samples = read_audio(tmp_path / "song.wav", field="src_audio").samples
    np.testing.assert_array_equal(samples[:, : 2 * RATE], tone(RATE))


class Cancelled(BaseException):
    """As Cog raises it: from another thread, in the midst of anything."""


def chew_probe(path: Path) -> None:
    with path.open("rb", buffering=0) as file:
        ffmpeg.probe(file, 601.0, Deadline.after(60.0))


def chew_decode(path: Path) -> None:
    with path.open("rb", buffering=0) as file:
        list(ffmpeg.decode_blocks(file, 2, 601.0, Deadline.after(60.0)))


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A file that keeps ffmpeg busy for 10 s."""
    path = tmp_path_factory.mktemp("slow") / "song.wav"
    path.write_bytes(many_chunks(b"RIFF", b"WAVE", 9_000_000))
    yield path
    path.unlink()


@pytest.mark.parametrize("chew", [chew_probe, chew_decode])
def test_cancelling_is_heard_while_ffmpeg_is_busy(slow: Path, chew: Callable[[Path], None]) -> None:
    heard: list[float] = []

    def work() -> None:
        try:
            chew(slow)
        except Cancelled:
            heard.append(time.monotonic())

    thread = threading.Thread(target=work)
    thread.start()
    time.sleep(0.5)
    raised = time.monotonic()
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(Cancelled))
    thread.join()
    assert len(heard) == 1, "ffmpeg ended too soon for this test"
    assert heard[0] - raised < 1.0


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_samples_that_are_not_finite_are_refused(tmp_path: Path, bad: float) -> None:
    samples = tone(RATE)
    samples[1, -1] = bad
    assert refused(write(tmp_path / "song.wav", samples)).endswith("contains samples that are not finite numbers.")


def test_silence_is_refused_only_where_sound_is_required(tmp_path: Path) -> None:
    path = write(tmp_path / "song.wav", np.full((2, RATE), 9e-7, np.float32))
    assert refused(path, require_sound=True) == "src_audio: 'song.wav' is silent from start to end."
    assert read_audio(path, field="src_audio").duration_s == 1.0
    faint = write(tmp_path / "faint.wav", tone(RATE, seconds=1.0, amplitude=2e-6))
    assert read_audio(faint, field="src_audio", require_sound=True).duration_s == 1.0


@pytest.mark.parametrize("length", [0, 1, 4799])
def test_hardly_any_samples_are_refused(tmp_path: Path, length: int) -> None:
    message = refused(write(tmp_path / "song.wav", tone(RATE)[:, :length]))
    assert message.endswith(f"holds only {length / RATE:.3f} s of sound; at least 0.1 s are needed.")


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "folder.wav").mkdir()
    (tmp_path / "empty.wav").touch()
    os.mkfifo(tmp_path / "pipe.wav")
    assert refused(tmp_path / "nothing.wav") == "src_audio: 'nothing.wav' does not exist."
    assert refused(tmp_path / "folder.wav") == "src_audio: 'folder.wav' is not a file."
    assert refused(tmp_path / "pipe.wav") == "src_audio: 'pipe.wav' is not a file."
    assert refused(tmp_path / "empty.wav") == "src_audio: 'empty.wav' is empty."
    assert "cannot be read (File name too long)" in refused(tmp_path / ("x" * 300))
    assert "does not exist" in refused("a\0b.wav")


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("https://user:pass@host/song.wav?token=secret", "song.wav"),
        ("https://host/song.wav#secret/secret", "song.wav"),
        ("HTTPS://user:pass@host", "host"),
        ("https://host/a?file=/secret", "a"),
        ("data:audio/wav;base64,secret", "data:"),
    ],
)
def test_an_address_given_by_mistake_shows_no_secret(address: str, shown: str) -> None:
    assert refused(address) == f"src_audio: {shown!r} does not exist."
    with pytest.raises(AudioError, match=re.escape(f"{shown!r} does not exist")):
        read_audio(Path(address), field="src_audio")


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


@pytest.mark.parametrize("limit", ["MEMORY_BYTES", "LOG_BYTES"])
def test_ffmpeg_is_confined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    m4a = transcode(write(tmp_path / "song.wav", tone(RATE)), tmp_path / "song.m4a", "-c:a", "aac")
    assert read_audio(m4a, field="src_audio").source_channels == 2
    monkeypatch.setattr(ffmpeg, limit, 100)
    assert "is not audio that can be read (" in refused(m4a)


def test_an_encoder_that_refuses_says_why(tmp_path: Path) -> None:
    blocks = [tone(RATE)] * 50  # more than a pipe holds, so writing meets a closed pipe
    with pytest.raises(FfmpegError, match=r"could not be encoded \(Encoder not found\)"):
        encode_blocks(blocks, RATE, 2, tmp_path / "song", ["-c:a", "no_such_codec", "-f", "ipod"])
