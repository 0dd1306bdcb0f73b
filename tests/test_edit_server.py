"""Every task with sound in it on the real Cog runtime: what comes out, what is refused, what is left behind."""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from acestep.cogrun.schema import PROJECT
from acestep.constants import SAMPLE_RATE, TRACK_NAMES

from cog_server import CogServer, Json, WebhookSink, data_uri, decoded, heard, recipe_of
from hardening_support import tone

SOURCE_S = 4.0
WORDS = {"prompt": "calm piano", "seed": 3, "infer_steps": 2}
MOST_S = {"cover": 600, "extend": 3600}
VOICED = {"style_transfer": {"style_prompt": "rock"}, "audio2audio": {}, "vocal_accompaniment": {}}


@pytest.fixture(scope="module")
def server() -> Iterator[CogServer]:
    with CogServer(PROJECT, {"OMP_NUM_THREADS": "1"}) as running:
        yield running


@pytest.fixture(scope="module")
def source() -> np.ndarray:
    """A recording ``[S, 2]`` of 16 bits: a swelling tone, another one in the other channel."""
    t = np.arange(round(SOURCE_S * SAMPLE_RATE)) / SAMPLE_RATE
    left, right = (0.3 * np.sin(2 * np.pi * hertz * t) * (1 + np.sin(4 * np.pi * t)) / 2 for hertz in (220, 331))
    return np.round(32767 * np.stack([left, right], axis=1)).astype(np.int16)


def sent(samples: np.ndarray, rate: int = SAMPLE_RATE) -> str:
    """A recording as an input value."""
    file = io.BytesIO()
    sf.write(file, samples, rate, format="FLAC")
    return data_uri(file.getvalue(), "audio/flac")


@pytest.fixture(scope="module")
def song(source: np.ndarray) -> str:
    return sent(source)


@pytest.fixture
def unharmed(server: CogServer, source: np.ndarray) -> Iterator[None]:
    """After the test: the slot is free, nothing new lies about, and a song is made."""
    before = server.files()
    yield
    assert server.runtime.client.wait_idle(10)
    assert server.files() <= before
    made(server, task="cover", input_audio=sent(source[: SAMPLE_RATE // 2]), infer_steps=1)


def made(server: CogServer, **inputs: object) -> Json:
    answer = server.predict({**WORDS, **inputs})
    assert answer["status"] == "succeeded", answer
    return answer


def failure(server: CogServer, **inputs: object) -> str:
    """The one sentence of a prediction that fails."""
    answer = server.predict({**WORDS, **inputs})
    assert answer["status"] == "failed", answer
    assert answer.get("output") is None
    assert "Traceback" not in answer["error"]
    return re.sub(r"^(Prediction failed: )+\w+: ", "", answer["error"])


# --- what comes out ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("task", "inputs", "model"),
    [
        ("cover", {"cover_noise_strength": 0.3}, "tiny"),
        ("cover-nofsq", {"audio_cover_strength": 0.5}, "tiny"),
        ("audio2audio", {"audio2audio_strength": 0.6}, "tiny"),
        ("style_transfer", {"style_prompt": "rock", "style_lyrics": "[verse]\nla"}, "tiny"),
        ("edit", {"style_prompt": "rock", "edit_n_min": 0.5, "edit_n_avg": 2}, "tiny"),
        ("lego", {"track_name": "drums"}, "tiny-base"),
        ("extract", {"track_name": "vocals"}, "tiny-base"),
        ("complete", {"track_name": "drums, bass", "mix": True}, "tiny-base"),
        ("vocal_accompaniment", {"accompaniment_style": "jazz"}, "tiny-base"),
    ],
)
def test_a_whole_recording_becomes_another_of_its_length(
    server: CogServer, song: str, tmp_path: Path, task: str, inputs: Json, model: str
) -> None:
    answer = made(server, task=task, input_audio=song, **inputs)
    recipe = recipe_of(answer, tmp_path)
    assert heard(answer).shape == (SOURCE_S * SAMPLE_RATE, 2)
    assert (recipe["task"], recipe["models"]["dit"]["name"], recipe["models"]["lm"]) == (task, model, None)
    assert "no effect" not in " ".join(recipe["warnings"])
    assert recipe["sources"]["source"]["duration_s"] == SOURCE_S


@pytest.mark.parametrize(
    ("inputs", "region"),
    [
        ({"task": "inpainting", "inpaint_start_time": 0.5, "inpaint_end_time": 3.5}, (0.5, 3.5)),
        ({"task": "repaint", "inpaint_start_time": 1, "inpaint_end_time": -1}, (1, 4)),
        ({"task": "repaint", "inpaint_start_time": 0, "inpaint_end_time": -1}, (0, 4)),
        ({"task": "repaint", "inpaint_start_time": 3, "inpaint_end_time": 12.5}, (3, 12.5)),
        ({"task": "repaint", "inpaint_start_time": -6, "inpaint_end_time": 1}, (-6, 1)),
        (
            {
                "task": "continuation",
                "continuation_mode": "inpaint_middle",
                "inpaint_start_time": 0.5,
                "inpaint_end_time": 2,
            },
            (0.5, 2),
        ),
        ({"task": "extend", "extend_duration": 7}, (4, 11)),
        ({"task": "extend", "continuation_mode": "extend_start", "extend_duration": 8.5}, (-8.5, 0)),
    ],
)
def test_outside_of_its_region_a_recording_stays_as_it_is(
    server: CogServer, source: np.ndarray, song: str, inputs: Json, region: tuple[float, float]
) -> None:
    samples = heard(made(server, input_audio=song, **inputs))
    low, high = (round(second * SAMPLE_RATE) for second in region)
    first = max(0, -low)
    assert len(samples) == first + max(len(source), high)
    kept = np.delete(np.arange(len(source)), np.s_[max(0, low) : max(0, high)])
    np.testing.assert_array_equal(samples[first + kept], source[kept])
    inside = samples[first + low : first + high]
    assert np.abs(inside).max() > 300
    overlap = slice(max(0, low), max(0, min(high, len(source))))
    assert overlap.start >= overlap.stop or (samples[first:][overlap] != source[overlap]).any()


def test_both_sides_grow_by_the_same_length(server: CogServer, source: np.ndarray, song: str) -> None:
    inputs = {"continuation_mode": "extend_both", "extend_duration": 5.25}
    samples = heard(made(server, task="continuation", input_audio=song, **inputs))
    before = round(5.25 * SAMPLE_RATE)
    assert len(samples) == len(source) + 2 * before
    np.testing.assert_array_equal(samples[before : before + len(source)], source)


def test_a_lego_track_without_a_region_plays_all_along(server: CogServer, song: str) -> None:
    samples = heard(made(server, task="lego", track_name="drums", input_audio=song))
    quarters = np.abs(samples.reshape(4, -1)).max(axis=1)
    part = {"inpaint_start_time": 1, "inpaint_end_time": 2}
    within = heard(made(server, task="lego", track_name="drums", input_audio=song, **part))
    assert quarters.min() > 0
    assert np.abs(within[SAMPLE_RATE : 2 * SAMPLE_RATE]).max() > 0
    assert np.abs(np.delete(within, np.s_[SAMPLE_RATE : 2 * SAMPLE_RATE], axis=0)).max() == 0


def test_an_accompaniment_can_be_asked_for_by_a_flag(server: CogServer, song: str, tmp_path: Path) -> None:
    flag = made(server, task="text2music", input_audio=song, generate_accompaniment=True)
    task = made(server, task="vocal_accompaniment", input_audio=song)
    np.testing.assert_array_equal(heard(flag), heard(task))
    recipe = recipe_of(flag, tmp_path)
    assert (recipe["task"], recipe["models"]["dit"]["name"]) == ("vocal_accompaniment", "tiny-base")
    assert recipe["models"]["lm"] is None
    assert recipe["warnings"] == ["inference_steps 2 is rough for tiny-base; 32 to 64 are recommended."]


@pytest.mark.parametrize("task", list(VOICED))
def test_a_voice_is_kept_by_a_model_that_can_take_it_out(
    server: CogServer, song: str, tmp_path: Path, task: str
) -> None:
    answer = made(server, task=task, input_audio=song, preserve_vocals=True, **VOICED[task])
    assert recipe_of(answer, tmp_path)["models"]["dit"]["name"] == "tiny-base"


def test_a_voice_that_nobody_has_needs_no_other_model(server: CogServer, tmp_path: Path) -> None:
    answer = made(server, audio_duration=10, thinking=False, preserve_vocals=True)
    assert recipe_of(answer, tmp_path)["models"]["dit"]["name"] == "tiny"
    assert "preserve_vocals has no effect on task 'text2music'." in answer["logs"]


def test_a_second_noise_makes_a_variation(server: CogServer) -> None:
    plain = {"audio_duration": 10, "thinking": False}
    first, other, again = (
        heard(made(server, **plain, **variation))
        for variation in ({}, {"variation_seed": 9, "variation_strength": 0.3}, {"variation_seed": 9})
    )
    assert (first != other).any()
    np.testing.assert_array_equal(first, again)


def test_what_has_no_effect_is_told_in_this_doors_names(server: CogServer, song: str) -> None:
    idle = {"inpaint_end_time": 3, "audio_duration": 90, "extend_duration": 9}
    logs = made(server, task="cover", input_audio=song, **idle)["logs"]
    assert "inpaint_end_time has no effect on task 'cover'." in logs
    assert "audio_duration has no effect: input_audio decides the length." in logs
    assert not re.search("repainting|src_audio|task_type", logs)


# --- several tracks ---------------------------------------------------------------------------------------------


JUDGED = ("scores.json", "contact-sheet.png")


def bundled(answer: Json) -> zipfile.ZipFile:
    return zipfile.ZipFile(io.BytesIO(decoded(answer["output"])))


def test_several_tracks_are_one_zip_with_a_recipe_each(server: CogServer, song: str) -> None:
    with bundled(made(server, task="extract", track_name="vocals,drums", input_audio=song)) as archive:
        assert archive.namelist() == ["vocals.wav", "vocals.json", "drums.wav", "drums.json", *JUDGED]
        for track in ("vocals", "drums"):
            samples, _ = sf.read(io.BytesIO(archive.read(f"{track}.wav")))
            recipe = json.loads(archive.read(f"{track}.json"))
            assert len(samples) == SOURCE_S * SAMPLE_RATE
            assert (recipe["task"], recipe["parameters"]["track_name"]) == ("extract", track)


def test_every_track_of_every_song_and_what_is_left(server: CogServer, song: str) -> None:
    wanted = {
        "track_name": "vocals, drums",
        "batch_size": 2,
        "return_all": True,
        "output_format": "flac",
        "infer_steps": 1,
    }
    with bundled(made(server, task="extract", input_audio=song, **wanted)) as archive:
        names = [name for name in archive.namelist() if name.endswith(".flac")]
    tracks = ("vocals", "drums", "without_vocals_drums")
    assert names == [f"song-{number}-{track}.flac" for number in (1, 2) for track in tracks]


def test_all_tracks(server: CogServer, song: str) -> None:
    with bundled(made(server, task="extract", track_name="all", input_audio=song, infer_steps=1)) as archive:
        assert {Path(name).stem for name in archive.namelist() if name not in JUDGED} == set(TRACK_NAMES)


def test_the_songs_of_a_batch_are_numbered(server: CogServer, song: str) -> None:
    answer = made(server, task="cover", input_audio=song, batch_size=2, return_all=True)
    with bundled(answer) as archive:
        names = archive.namelist()
    assert names == ["song-1.wav", "song-1.json", "song-2.wav", "song-2.json", *JUDGED]
    assert "no effect" not in answer["logs"]


# --- what is refused --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("inputs", "sentence"),
    [
        ({"task": "lego", "track_name": "drums"}, "input_audio is needed for task 'lego'."),
        ({"task": "cover"}, "input_audio or audio_codes is needed for task 'cover'."),
        ({"generate_accompaniment": True}, "input_audio is needed for task 'vocal_accompaniment'."),
    ],
)
def test_a_missing_recording(server: CogServer, inputs: Json, sentence: str) -> None:
    assert failure(server, **inputs) == sentence


NO_REGION = ("inpaint_start_time and inpaint_end_time give no region; say where, in seconds, music is to be made.",)


@pytest.mark.usefixtures("unharmed")
@pytest.mark.parametrize(
    ("inputs", "sentence"),
    [
        ({"task": "text2music"}, "input_audio does not go with task 'text2music'."),
        ({"task": "inpainting"}, *NO_REGION),
        ({"task": "repaint"}, *NO_REGION),
        ({"task": "continuation", "continuation_mode": "inpaint_middle"}, *NO_REGION),
        (
            {"task": "repaint", "inpaint_start_time": 2, "inpaint_end_time": 2},
            "inpaint_end_time 2 must lie behind inpaint_start_time 2.",
        ),
        (
            {"task": "inpainting", "inpaint_start_time": 3, "inpaint_end_time": 1},
            "inpaint_end_time 1 must lie behind inpaint_start_time 3.",
        ),
        (
            {"task": "inpainting", "inpaint_start_time": 9, "inpaint_end_time": 12},
            "inpaint_start_time 9 lies behind the end of the source, which is 4.000 s long.",
        ),
        ({"task": "extract", "track_name": "kazoo"}, "track_name 'kazoo' is unknown; choose one of: "),
        ({"task": "extract", "track_name": "drums,drums"}, "track_name names 'drums' twice."),
        ({"task": "lego"}, "track_name is empty; lego needs one of: "),
        ({"task": "edit"}, "style_prompt and style_lyrics are both empty; edit needs the new words."),
        (
            {"task": "lego", "track_name": "drums", "model": "tiny"},
            "task 'lego' needs a model that was trained for it, and tiny was not; choose one of: ",
        ),
        (
            {"task": "cover", "preserve_vocals": True, "reference_audio": data_uri(b"a text\n" * 99, "audio/wav")},
            "reference_audio: 'reference_audio' ",
        ),
        (
            {"task": "style_transfer", "preserve_vocals": True, "model": "tiny"},
            "preserve_vocals needs a model that was trained for it, and tiny was not; choose one of: ",
        ),
    ],
)
def test_what_cannot_be_is_one_sentence(server: CogServer, song: str, inputs: Json, sentence: str) -> None:
    said = failure(server, input_audio=song, **inputs)
    assert said.startswith(sentence)
    assert said == sentence or not sentence.endswith(".")
    assert "\n" not in said


def test_a_strength_above_one_is_named(server: CogServer, song: str) -> None:
    reply = server.post({**WORDS, "task": "style_transfer", "input_audio": song, "style_strength": 1.1})
    assert reply.status == 422
    [fault] = reply.body["detail"]
    assert (fault["loc"][-1], fault["msg"]) == ("style_strength", "1.1 is greater than the maximum of 1")


@pytest.mark.usefixtures("unharmed")
@pytest.mark.parametrize("task", list(MOST_S))
def test_a_recording_beyond_the_limit(server: CogServer, task: str) -> None:
    rate, most = 8000, MOST_S[task]
    long = np.tile(np.round(9000 * np.sin(np.arange(rate) / 3)).astype(np.int16), most + 2)
    said = failure(server, task=task, input_audio=sent(long, rate))
    assert said.startswith("input_audio: 'input_audio' ")
    assert said.endswith(f"at most {most} s are allowed.")


def test_one_silent_channel_is_music_all_the_same(server: CogServer, source: np.ndarray) -> None:
    half = source.copy()
    half[:, 1] = 0
    samples = heard(made(server, task="extend", extend_duration=6, input_audio=sent(half)))
    np.testing.assert_array_equal(samples[: len(half)], half)


# --- what the file says, what the log says, what cancelling leaves -------------------------------------------------


def test_a_recipe_names_its_recordings_by_their_content_alone(
    server: CogServer, source: np.ndarray, song: str, tmp_path: Path
) -> None:
    import hashlib

    answer = made(server, task="cover", input_audio=song, reference_audio=data_uri(tone(2)))
    recipe = recipe_of(answer, tmp_path)
    digest = hashlib.sha256(decoded(song)).hexdigest()
    assert recipe["sources"]["source"] == {"sha256": digest, "duration_s": SOURCE_S}
    assert recipe["sources"]["reference"]["duration_s"] == 2.0
    assert not {"src_audio", "reference_audio"} & set(recipe["parameters"])
    for told in ("acestep-inputs", "/tmp", "data:", "input_audio.", str(server.runtime.scratch)):
        assert told not in json.dumps(recipe), told


def percents(logs: str) -> list[int]:
    return [int(found) for found in re.findall(r"^ *(\d+)%\|", logs, flags=re.MULTILINE)]


LONG = {"task": "extend", "extend_duration": 62, "infer_steps": 3}  # two passes


def test_the_progress_of_several_passes_only_rises(server: CogServer, song: str) -> None:
    logs = made(server, input_audio=song, **LONG)["logs"]
    told = percents(logs)
    assert told == sorted(told)
    assert (told[0], told[-1]) == (0, 100)
    assert logs.count("denoising step 1/3") == 2


@pytest.mark.usefixtures("unharmed")
def test_cancelling_the_second_pass_leaves_nothing(server: CogServer, song: str) -> None:
    def in_second_pass(event: Json) -> bool:
        return event.get("logs", "").count("denoising step 1/") >= 2

    slow = {**WORDS, **LONG, "model": "tiny-base", "infer_steps": 40, "extend_duration": 122}
    with WebhookSink() as sink:
        identifier = server.predict_async({**slow, "input_audio": song}, sink.url)
        sink.wait_for(in_second_pass, 120)
        assert server.cancel(identifier)
        last = sink.wait_terminal(60)
    assert (last["status"], last.get("output")) == ("canceled", None)
