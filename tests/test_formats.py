"""Every format written for real and read back: samples, tags, recipe; and every way in which writing can fail."""

from __future__ import annotations

import os
import signal
import stat
import struct
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any

import mutagen
import numpy as np
import pytest
import soundfile as sf

from acestep.audio.ffmpeg import find_ffmpeg
from acestep.audio.io import read_audio
from acestep.constants import LANGUAGES
from acestep.errors import GenerationError, InputError, OutputError, UnsupportedError
from acestep.output.formats import FORMATS, AudioFormat, check_sample_rate, format_named
from acestep.output.recipe import ModelUsed, OutputMade, build_recipe, to_json
from acestep.output.tags import AI_COMMENT, CONTAINERS, ISO_639_2, SongTags, read_recipe, read_tags
from acestep.output.writer import BLOCK_SAMPLES, ENCODERS, check_writable, quantised, write_audio

from hardening_support import disk_with_room_for
from processes import children

RATE = 48_000
ALL = list(FORMATS)
LOSSLESS = [name for name, row in FORMATS.items() if row.lossless]
LOSSY = [name for name, row in FORMATS.items() if not row.lossless]
FULL = SongTags("AC/DC; Über „标题“", "[Verse]\nÜber 你好 ñ\n\n[Chorus]\nла-ла 🎵", 128, "C# minor", "zh")
BARE = SongTags()
SYNCED = ((0.0, "Über 你好 ñ"), (0.5, "[x] ла-ла 🎵"), (59.99, "la\tla; --> &"), (6000.01, "end"))


def recipe(characters: int = 0) -> dict[str, Any]:
    """A recipe whose caption has this many (two-byte) characters."""
    return build_recipe(
        version="0.1.0",
        task="text2music",
        parameters={"caption": "é" * characters, "seed": 7},
        seeds=[7],
        models={"dit": ModelUsed("tiny"), "lm": None},
        output=OutputMade("wav", RATE, RATE),
        created=datetime(2026, 11, 21, tzinfo=UTC),
    )


def song(length: int = RATE, rate: int = RATE, channels: int = 2) -> np.ndarray:
    """Two chords with a fade at both ends, ``[channels, length]``."""
    time = np.arange(length) / rate
    ends = np.minimum(1.0, np.minimum(np.arange(length), np.arange(length)[::-1]) / (0.02 * rate))
    rows = [0.3 * ends * (np.sin(2 * np.pi * 330 * k * time) + np.sin(2 * np.pi * 495 * k * time)) for k in (1, 2)]
    return np.stack(rows[:channels]).astype(np.float32)


def target(folder: Path, name: str) -> Path:
    return folder / f"song{FORMATS[name].extension}"


def assert_nothing_left(folder: Path, *expected: str) -> None:
    assert sorted(os.listdir(folder)) == sorted(expected)


# --- The table ------------------------------------------------------------------------------------------------------
def test_the_table_holds_the_formats_of_the_input_list() -> None:
    assert ALL == ["wav", "wav24", "wav32", "flac", "mp3", "ogg", "opus", "m4a"]
    for name, row in FORMATS.items():
        assert row.name == name
        assert row.extension.startswith(".")
        assert row.mime.startswith("audio/")
        assert row.encoder in ENCODERS
        assert row.tag_kind in CONTAINERS
        assert bool(row.sndfile) != bool(row.ffmpeg), "options of exactly one encoder"


def test_an_unknown_format_is_refused_with_all_names() -> None:
    with pytest.raises(InputError) as caught:
        format_named("aac")
    assert str(caught.value) == "audio_format is 'aac'; allowed are wav, wav24, wav32, flac, mp3, ogg, opus, m4a"
    assert (caught.value.field, caught.value.value) == ("audio_format", "aac")


def test_opus_holds_48_khz_only() -> None:
    with pytest.raises(UnsupportedError, match="sample_rate is 44100; the format opus allows 48000"):
        check_sample_rate(FORMATS["opus"], 44_100)
    for name, row in FORMATS.items():
        check_sample_rate(row, 48_000)
        if name != "opus":
            check_sample_rate(row, 44_100)
    with pytest.raises(UnsupportedError, match="the format wav allows 44100 and 48000"):
        check_sample_rate(FORMATS["wav"], 32_000)


# --- Samples --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", LOSSLESS)
@pytest.mark.parametrize("rate", [44_100, 48_000])
def test_lossless_formats_keep_every_sample(tmp_path: Path, name: str, rate: int) -> None:
    samples = song(BLOCK_SAMPLES * 2 + 17, rate)
    path = write_audio(samples, rate, target(tmp_path, name), name, FULL, recipe())
    stored, stored_rate = sf.read(path, dtype="float32", always_2d=True)
    assert stored_rate == rate
    assert stored.T.shape == samples.shape
    bits = FORMATS[name].bits
    step = 0.0 if bits is None else 0.5 / (1 << (bits - 1))
    assert np.abs(stored.T - samples).max() <= step


def signal_to_noise_db(samples: np.ndarray, decoded: np.ndarray) -> float:
    return 10 * np.log10(np.square(samples).sum() / np.square(decoded - samples).sum())


@pytest.mark.parametrize("name", LOSSY)
def test_lossy_formats_keep_the_length_of_a_fifth_of_a_second(tmp_path: Path, name: str) -> None:
    path = write_audio(song(9601), RATE, target(tmp_path, name), name, FULL, recipe())
    assert read_audio(path, field="src_audio").samples.shape == (2, 9601)


@pytest.mark.parametrize("name", LOSSY)
@pytest.mark.parametrize("length", [48_000, BLOCK_SAMPLES * 2 + 17])
def test_lossy_formats_keep_length_and_alignment(tmp_path: Path, name: str, length: int) -> None:
    samples = song(length)
    path = write_audio(samples, RATE, target(tmp_path, name), name, FULL, recipe())
    command = [find_ffmpeg(), "-v", "error", "-i", path, "-f", "f32le", "-ac", "2", "pipe:1"]
    decoded = np.frombuffer(subprocess.run(command, check=True, capture_output=True).stdout, "<f4").reshape(-1, 2).T
    assert decoded.shape == samples.shape
    assert signal_to_noise_db(samples, decoded) > 30
    assert signal_to_noise_db(samples, read_audio(path, field="src_audio").samples) > 30
    assert signal_to_noise_db(samples, np.roll(samples, 1, axis=1)) < 25, "one sample off would be seen"


@pytest.mark.parametrize("name", ["mp3", "ogg", "m4a"])
def test_lossy_formats_hold_44100(tmp_path: Path, name: str) -> None:
    path = write_audio(song(44_100, 44_100), 44_100, target(tmp_path, name), name, FULL, recipe())
    audio = read_audio(path, field="src_audio")
    assert audio.source_rate == 44_100
    assert audio.duration_s == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize("name", ALL)
def test_mono_can_be_written(tmp_path: Path, name: str) -> None:
    path = write_audio(song(channels=1), RATE, target(tmp_path, name), name, BARE, recipe())
    audio = read_audio(path, field="src_audio")
    assert audio.source_channels == 1
    assert audio.samples.shape == (2, RATE)


@pytest.mark.parametrize(("name", "bits"), [("wav", 16), ("wav24", 24), ("flac", 24)])
def test_what_came_from_a_file_goes_back_bit_for_bit(tmp_path: Path, name: str, bits: int) -> None:
    steps = np.random.default_rng(bits).integers(-(1 << (bits - 1)), 1 << (bits - 1), (2, RATE))
    steps[:, :4] = [[0, 1, -1, (1 << (bits - 1)) - 1], [-(1 << (bits - 1)), 2, -2, 0]]
    samples = (steps / (1 << (bits - 1))).astype(np.float32)
    path = write_audio(samples, RATE, target(tmp_path, name), name, BARE, recipe())
    stored = sf.read(path, dtype="int32")[0].T >> (32 - bits)
    assert np.array_equal(stored, steps)
    again = write_audio(read_audio(path, field="src_audio").samples, RATE, tmp_path / path.name, name, BARE, recipe())
    assert np.array_equal(sf.read(again, dtype="int32")[0].T >> (32 - bits), steps)


@pytest.mark.parametrize("bits", [16, 24])
def test_quantising_rounds_to_the_nearest_step_and_clips(bits: int) -> None:
    full = 1 << (bits - 1)
    values = np.array([[0.4, 0.6, -0.4, -0.6, -1.2]]) / full
    extremes = np.array([[1.0, 1.5, -1.0, -1.5]])
    made = quantised(np.concatenate([values, extremes], axis=1).astype(np.float32), bits).astype(np.int64)
    made >>= 0 if bits == 16 else 8
    assert made.tolist() == [[0, 1, 0, -1, -1, full - 1, full - 1, -full, -full]]


@pytest.mark.parametrize("name", ALL)
def test_a_four_minute_song_does_not_crash_the_encoder(tmp_path: Path, name: str) -> None:
    """One big write of Vorbis ends the whole process inside libsndfile; blocks do not."""
    length = 240 * RATE if name == "ogg" else 4 * BLOCK_SAMPLES
    samples = np.tile(song(RATE), (1, length // RATE))
    path = write_audio(samples, RATE, target(tmp_path, name), name, BARE, recipe())
    assert path.stat().st_size > length // 40


# --- Tags and recipe ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("tags", [FULL, BARE, SongTags("T", "", 60, "B♭ major", "yue", "hello")])
def test_tags_come_back(tmp_path: Path, name: str, tags: SongTags) -> None:
    path = write_audio(song(), RATE, target(tmp_path, name), name, tags, recipe())
    spelled = tags.key.replace("♭", "b") if FORMATS[name].tag_kind in {"riff", "id3"} else tags.key
    expected = SongTags(tags.title, tags.lyrics, tags.bpm, spelled, tags.language, tags.comment)
    assert read_tags(path) == expected


@pytest.mark.parametrize("name", ALL)
def test_a_recipe_of_100_kilobytes_comes_back_beside_the_music(tmp_path: Path, name: str) -> None:
    made = recipe(50_000)
    assert len(to_json(made).encode()) > 100_000
    path = write_audio(song(), RATE, target(tmp_path, name), name, FULL, made)
    assert read_recipe(path) == made
    assert read_tags(path) == FULL
    assert read_audio(path, field="src_audio").samples.shape == (2, RATE)


@pytest.mark.parametrize("name", ALL)
def test_other_programs_read_the_tags(tmp_path: Path, name: str) -> None:
    path = write_audio(song(), RATE, target(tmp_path, name), name, FULL, recipe())
    described = subprocess.run([find_ffmpeg(), "-i", path], capture_output=True, check=False).stderr.decode()
    assert FULL.title in described
    assert AI_COMMENT in described


def test_wav_carries_riff_info_too(tmp_path: Path) -> None:
    path = write_audio(song(), RATE, tmp_path / "song.wav", "wav", SongTags("A title"), recipe())
    with sf.SoundFile(path) as sound:
        assert sound.title == "A title"
        assert sound.comment == AI_COMMENT
        assert sound.software.startswith("acestep-cog")


def test_every_language_has_an_id3_code() -> None:
    assert set(ISO_639_2) == set(LANGUAGES) - {"unknown"}
    assert len(set(ISO_639_2.values())) == len(ISO_639_2)
    assert {len(code) for code in ISO_639_2.values()} == {3}


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("language", ["zh", "unknown"])
def test_synced_lyrics_come_back(tmp_path: Path, name: str, language: str) -> None:
    tags = SongTags("T", "la", language=language, synced=SYNCED)
    path = write_audio(song(), RATE, target(tmp_path, name), name, tags, recipe())
    expected = tuple((start_s, text.replace("\t", " ")) for start_s, text in SYNCED)
    found = read_tags(path)
    assert (found.title, found.lyrics, found.comment) == ("T", "la", AI_COMMENT)
    assert found.synced == (SYNCED if FORMATS[name].tag_kind in {"riff", "id3"} else expected)
    assert read_recipe(path) == recipe()


@pytest.mark.parametrize("name", ["wav", "mp3"])
def test_id3_times_are_milliseconds_and_lines_begin_as_the_standard_says(tmp_path: Path, name: str) -> None:
    tags = SongTags(language="de", synced=((1.2345, "eins"), (2.0, "zwei")))
    frames = mutagen.File(write_audio(song(), RATE, target(tmp_path, name), name, tags, recipe())).tags.getall("SYLT")
    assert [(frame.format, frame.type, frame.lang) for frame in frames] == [(2, 1, "deu")]
    assert frames[0].text == [("eins", 1234), ("\nzwei", 2000)]


@pytest.mark.parametrize("name", ["flac", "ogg", "opus", "m4a"])
def test_other_files_hold_synced_lyrics_as_lrc(tmp_path: Path, name: str) -> None:
    path = write_audio(song(), RATE, target(tmp_path, name), name, SongTags(synced=SYNCED[:2]), recipe())
    field = "----:com.apple.iTunes:SYNCEDLYRICS" if name == "m4a" else "SYNCEDLYRICS"
    (held,) = mutagen.File(path)[field]
    text = bytes(held).decode() if name == "m4a" else held
    assert text == "[00:00.00]Über 你好 ñ\n[00:00.50] [x] ла-ла 🎵\n"


def test_synced_lyrics_that_count_otherwise_are_not_ours(tmp_path: Path) -> None:
    path = write_audio(song(), RATE, tmp_path / "song.mp3", "mp3", SongTags(synced=SYNCED), recipe())
    tagged = mutagen.File(path)
    for frame in tagged.tags.getall("SYLT"):
        frame.format = 1  # times are numbers of MPEG frames
    tagged.save(v2_version=3)
    assert read_tags(path).synced == ()


@pytest.mark.parametrize("name", ALL)
def test_an_unknown_language_is_not_written(tmp_path: Path, name: str) -> None:
    path = write_audio(song(), RATE, target(tmp_path, name), name, SongTags("T", language="unknown"), recipe())
    assert read_tags(path) == SongTags("T")


@pytest.mark.parametrize("name", ALL)
def test_characters_that_tags_cannot_hold_do_not_stop_a_song(tmp_path: Path, name: str) -> None:
    tags = SongTags("A\0B \ud800", "line\0 one")
    path = write_audio(song(), RATE, target(tmp_path, name), name, tags, recipe())
    assert read_tags(path) == SongTags("AB ?", "line one")


@pytest.mark.parametrize("name", ALL)
def test_a_file_of_someone_else_has_no_recipe(tmp_path: Path, name: str) -> None:
    path = write_audio(song(), RATE, target(tmp_path, name), name, FULL, recipe())
    tagged = mutagen.File(path)
    tagged.delete()
    with pytest.raises(InputError, match=f"'{path.name}' carries no ACE-Step recipe"):
        read_recipe(path)
    assert read_tags(path).lyrics == ""


def test_what_is_no_audio_has_no_recipe(tmp_path: Path) -> None:
    (tmp_path / "notes.flac").write_text("Dear diary")
    (tmp_path / "empty.flac").touch()
    for name in ["notes.flac", "empty.flac", "nothing.flac"]:
        with pytest.raises(InputError) as caught:
            read_recipe(tmp_path / name)
        assert repr(name) in str(caught.value)
        assert str(tmp_path) not in str(caught.value)


def test_a_broken_recipe_is_refused(tmp_path: Path) -> None:
    path = write_audio(song(), RATE, tmp_path / "song.flac", "flac", FULL, recipe())
    tagged = mutagen.File(path)
    tagged["ACESTEP_RECIPE"] = "[" * 100_000
    tagged.save()
    with pytest.raises(InputError, match="the recipe is not valid JSON"):
        read_recipe(path)


def test_the_recipe_is_found_whatever_the_file_is_called(tmp_path: Path) -> None:
    for name in ALL:
        path = write_audio(song(), RATE, target(tmp_path, name), name, FULL, recipe())
        assert read_recipe(path.rename(tmp_path / "song.txt")) == recipe()


# --- Files ----------------------------------------------------------------------------------------------------------
def test_an_existing_file_is_replaced_and_nothing_else_is_left(tmp_path: Path) -> None:
    for _ in range(2):
        write_audio(song(), RATE, tmp_path / "song.flac", "flac", FULL, recipe())
    assert_nothing_left(tmp_path, "song.flac")


def test_files_get_the_usual_permissions(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    for name in ["flac", "m4a"]:
        path = write_audio(song(), RATE, target(tmp_path, name), name, FULL, recipe())
        assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)


def test_missing_folders_are_made(tmp_path: Path) -> None:
    path = write_audio(song(), RATE, str(tmp_path / "a" / "b" / "song.wav"), "wav", FULL, recipe())
    assert path == tmp_path / "a" / "b" / "song.wav"
    assert path.is_file()


def test_a_suffix_of_another_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"cannot write 'song.mp3': the format flac is kept in \.flac"):
        write_audio(song(), RATE, tmp_path / "song.mp3", "flac", FULL, recipe())
    assert_nothing_left(tmp_path)


def test_a_folder_that_is_a_file_is_refused_before_encoding(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder in [tmp_path / "file", tmp_path / "file" / "below"]:
        with pytest.raises(OutputError, match="cannot write into the folder") as caught:
            check_writable(folder)
        assert str(tmp_path) not in str(caught.value)
        with pytest.raises(OutputError, match="cannot write into the folder"):
            write_audio(song(), RATE, folder / "song.wav", "wav", FULL, recipe())
    check_writable(tmp_path / "new")
    assert_nothing_left(tmp_path, "file", "new")
    assert_nothing_left(tmp_path / "new")


def test_a_target_that_is_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "song.wav").mkdir()
    with pytest.raises(OutputError, match="cannot write 'song.wav': Is a directory"):
        write_audio(song(), RATE, tmp_path / "song.wav", "wav", FULL, recipe())
    assert_nothing_left(tmp_path, "song.wav")


def test_samples_that_are_not_finite_are_never_written(tmp_path: Path) -> None:
    samples = song()
    samples[0, 3] = np.nan
    with pytest.raises(GenerationError, match="not finite"):
        write_audio(samples, RATE, tmp_path / "song.wav", "wav", FULL, recipe())
    assert_nothing_left(tmp_path)


def test_a_rate_the_format_cannot_hold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="opus allows 48000"):
        write_audio(song(), 44_100, tmp_path / "song.opus", "opus", FULL, recipe())


def test_a_recipe_with_a_local_path_is_never_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="must not be published"):
        write_audio(
            song(), RATE, tmp_path / "song.wav", "wav", FULL, {**recipe(), "warnings": ["see /home/me/x.wav"]}
        )
    assert_nothing_left(tmp_path)


def test_a_missing_ffmpeg_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)  # as if the package were not installed
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(OutputError, match="cannot write 'song.m4a': it needs ffmpeg, which is missing: run `pip"):
        write_audio(song(), RATE, tmp_path / "song.m4a", "m4a", FULL, recipe())
    write_audio(song(), RATE, tmp_path / "song.flac", "flac", FULL, recipe())
    assert_nothing_left(tmp_path, "song.flac")


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("share", [0.001, 0.3, 0.6, 0.9, 0.99])
def test_a_full_disk_leaves_nothing_and_keeps_the_old_file(tmp_path: Path, name: str, share: float) -> None:
    path = target(tmp_path, name)
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (2, 5 * RATE)).astype(np.float32)
    size = write_audio(noise, RATE, path, name, FULL, recipe(20_000)).stat().st_size
    path.write_bytes(b"an older song")
    with disk_with_room_for(int(size * share)), pytest.raises(OutputError, match=f"cannot write '{path.name}'"):
        write_audio(noise, RATE, path, name, FULL, recipe(20_000))
    assert path.read_bytes() == b"an older song"
    assert_nothing_left(tmp_path, path.name)


@pytest.mark.parametrize("name", ["flac", "ogg", "mp3", "m4a"])
def test_a_cancelled_run_leaves_nothing(tmp_path: Path, name: str) -> None:
    def stop(signum: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    samples, running = np.tile(song(RATE), (1, 120)), children()
    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, 0.15)
    try:
        with pytest.raises(KeyboardInterrupt):
            for _ in range(100):  # a fast machine may finish some
                write_audio(samples, RATE, target(tmp_path, name), name, FULL, recipe())
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert not list(tmp_path.glob(".*"))
    assert children() == running, "no encoder is left"


def test_riff_sizes_are_consistent(tmp_path: Path) -> None:
    """The ID3 chunk is appended behind the samples: the outer size must have grown with it."""
    content = write_audio(song(), RATE, tmp_path / "song.wav", "wav", FULL, recipe(333)).read_bytes()
    assert struct.unpack("<I", content[4:8])[0] == len(content) - 8
    chunks, at = [], 12
    while at < len(content):
        size = struct.unpack("<I", content[at + 4 : at + 8])[0]
        chunks.append(content[at : at + 4].decode())
        at += 8 + size + size % 2
    assert at == len(content)
    assert {"fmt ", "data", "LIST"} < set(chunks)
    assert chunks[-1].lower() == "id3 "


def test_the_rows_are_values() -> None:
    row = FORMATS["flac"]
    with pytest.raises(AttributeError):
        row.bits = 16  # type: ignore[misc]
    assert isinstance(row, AudioFormat)
    with pytest.raises(TypeError):
        FORMATS["flac"] = row  # type: ignore[index]
