"""What cannot be edited is one sentence, said before any network runs; afterwards the model plays as it did."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from torch import nn
from torch.nn.modules.module import register_module_forward_pre_hook

from acestep.constants import SAMPLE_RATE, TRACK_NAMES
from acestep.errors import AudioError, InputError, UnsupportedError
from acestep.handler import AceStepHandler
from acestep.inference import GenerationConfig, generate_music
from acestep.tasks import TASKS

from edit_support import params_of, run, saved, sounds, tune

TRACKS = ", ".join(TRACK_NAMES)
ABLE = "choose one of: acestep-v15-base, acestep-v15-xl-base, tiny-base."
UNREADABLE = "is not audio that can be read (its kind is unknown or its content is damaged)."
NO_REGION = "repainting_start and repainting_end give no region; say where, in seconds, music is to be made."
Refusal = tuple[dict[str, object], type[InputError], str, str]  # fields, kind of error, its field, its sentence


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recordings good and bad; the long ones are small files."""
    folder = tmp_path_factory.mktemp("recordings")
    saved(folder / "song.wav", tune(1.0))
    saved(folder / "short.wav", tune(0.099))
    (folder / "notes.txt").write_text("this is no sound")
    sf.write(folder / "silent.wav", np.zeros((SAMPLE_RATE, 2)), SAMPLE_RATE)
    for seconds in (601, 3601):
        sf.write(folder / f"{seconds}.wav", np.zeros(seconds * 8000, np.int16), 8000, subtype="PCM_U8")
    return folder


@pytest.fixture(scope="module")
def pristine(tiny_base: AceStepHandler, folder: Path) -> np.ndarray:
    """A cover by a model that has refused nothing yet."""
    return cover(tiny_base, folder)


def cover(handler: AceStepHandler, folder: Path) -> np.ndarray:
    [sound] = sounds(run(handler, str(folder / "song.wav"), task_type="cover", inference_steps=1))
    return sound


@pytest.fixture
def networks() -> Iterator[list[str]]:
    """The names of the networks that run in the test."""
    ran: list[str] = []

    def note(module: nn.Module, inputs: tuple[object, ...]) -> None:
        ran.append(type(module).__name__)

    hook = register_module_forward_pre_hook(note)
    yield ran
    hook.remove()


@pytest.fixture
def refused(
    tiny_base: AceStepHandler, folder: Path, pristine: np.ndarray, networks: list[str], tmp_path: Path
) -> Iterator[Callable[..., InputError]]:
    """Make a call that fails: its error. Nothing ran, nothing lies about; after the test a cover sounds as before."""

    def call(handler: AceStepHandler = tiny_base, **fields: object) -> InputError:
        files = ("src_audio", "reference_audio")
        given = {"src_audio": "song.wav", **fields}
        given |= {name: str(folder / given[name]) for name in files if isinstance(given.get(name), str)}
        config = GenerationConfig(batch_size=2, audio_format="wav")
        for saves in (tmp_path / "new" / "songs", tmp_path):
            result = generate_music(handler, None, params_of(**given), config, saves)
            assert (result.success, result.audios, networks) == (False, [], [])
            assert list(tmp_path.iterdir()) == []
            assert str(folder) not in result.error
            assert result.status_message == f"Error: {result.error}"
        assert str(result.cause) == result.error
        return result.cause

    yield call
    assert np.array_equal(cover(tiny_base, folder), pristine)
    assert networks, "nothing is noted when they do run"


REFUSALS: dict[str, Refusal] = {
    "no source": (
        {"task_type": "lego", "track_name": "drums", "src_audio": None}, InputError, "src_audio",
        "src_audio is needed for task_type 'lego'.",
    ),
    "neither source nor codes": (
        {"task_type": "cover", "src_audio": None}, InputError, "src_audio",
        "src_audio or audio_codes is needed for task_type 'cover'.",
    ),
    "source that is gone": (
        {"task_type": "cover", "src_audio": "absent.wav"}, AudioError, "src_audio",
        "src_audio: 'absent.wav' does not exist.",
    ),
    "source of a new song": (
        {"task_type": "text2music"}, UnsupportedError, "src_audio",
        "src_audio does not go with task_type 'text2music'.",
    ),
    "region behind the source": (
        {"task_type": "repaint", "repainting_start": 1.5, "repainting_end": 2.0}, InputError, "repainting_start",
        "repainting_start 1.5 lies behind the end of the source, which is 1.000 s long.",
    ),
    "region from the end to the end": (
        {"task_type": "repaint", "repainting_start": 1.0}, InputError, "repainting_start",
        "repainting_start 1 lies behind the end of the source, which is 1.000 s long.",
    ),
    "region before the source": (
        {"task_type": "repaint", "repainting_start": -3.0, "repainting_end": 0.0}, InputError, "repainting_end",
        "repainting_end 0 lies before the source, which begins at 0 s.",
    ),
    "region of lego behind the source": (
        {"task_type": "lego", "track_name": "bass", "repainting_start": 7.0, "repainting_end": 9.0}, InputError,
        "repainting_start", "repainting_start 7 lies behind the end of the source, which is 1.000 s long.",
    ),
    "start at the end": (
        {"task_type": "repaint", "repainting_start": 0.5, "repainting_end": 0.5}, InputError, "repainting_end",
        "repainting_end 0.5 must lie behind repainting_start 0.5.",
    ),
    "start behind the end": (
        {"task_type": "inpainting", "repainting_start": 0.8, "repainting_end": 0.2}, InputError, "repainting_end",
        "repainting_end 0.2 must lie behind repainting_start 0.8.",
    ),
    "longer than a song": (
        {"task_type": "lego", "track_name": "drums", "repainting_end": 700.0}, InputError, "repainting_end",
        "repainting_end: the result would be 700 s long; at most 600 s are allowed.",
    ),
    "all and more": (
        {"task_type": "extract", "track_name": "all, drums"}, InputError, "track_name",
        "track_name 'all' stands alone.",
    ),
    "no region": ({"task_type": "repaint", "repainting_end": 0.0}, InputError, "repainting_start", NO_REGION),
    "no region in the middle": (
        {"task_type": "extend", "continuation_mode": "inpaint_middle"}, InputError, "repainting_start", NO_REGION,
    ),
    "unknown track": (
        {"task_type": "extract", "track_name": "kazoo"}, InputError, "track_name",
        f"track_name 'kazoo' is unknown; choose one of: {TRACKS}, all.",
    ),
    "track named twice": (
        {"task_type": "complete", "track_name": "drums, bass, Drums"}, InputError, "track_name",
        "track_name names 'drums' twice.",
    ),
    "no track": (
        {"task_type": "extract"}, InputError, "track_name",
        f"track_name is empty; extract needs one of: {TRACKS}.",
    ),
    "reference that is text": (
        {"task_type": "cover", "reference_audio": "notes.txt"}, AudioError, "reference_audio",
        f"reference_audio: 'notes.txt' {UNREADABLE}",
    ),
    "source that is text": (
        {"task_type": "extract", "track_name": "vocals", "src_audio": "notes.txt"}, AudioError, "src_audio",
        f"src_audio: 'notes.txt' {UNREADABLE}",
    ),
    "silent source": (
        {"task_type": "repaint", "repainting_end": 0.5, "src_audio": "silent.wav"}, AudioError, "src_audio",
        "src_audio: 'silent.wav' is silent from start to end.",
    ),
    "silent reference": (
        {"task_type": "cover", "reference_audio": "silent.wav"}, AudioError, "reference_audio",
        "reference_audio: 'silent.wav' is silent from start to end.",
    ),
    "reference too short": (
        {"task_type": "cover", "reference_audio": "short.wav"}, AudioError, "reference_audio",
        "reference_audio: 'short.wav' holds only 0.099 s of sound; at least 0.1 s are needed.",
    ),
    "source too short": (
        {"task_type": "extend", "src_audio": "short.wav"}, AudioError, "src_audio",
        "src_audio: 'short.wav' holds only 0.099 s of sound; at least 0.1 s are needed.",
    ),
    "result beyond an hour": (
        {"task_type": "repaint", "repainting_start": -10.0, "repainting_end": 3600.0}, InputError, "repainting_end",
        "repainting_end: the result would be 3610 s long; at most 3600 s are allowed.",
    ),
    "style strength": (
        {"task_type": "style_transfer", "style_prompt": "rock", "style_strength": 1.1}, InputError, "style_strength",
        "style_strength must be a number from 0 to 1, not 1.1.",
    ),
    "growth without end": (
        {"task_type": "extend", "extend_duration": math.inf}, InputError, "extend_duration",
        "extend_duration must be a number from 1 to 600, not inf.",
    ),
    "unknown way to grow": (
        {"task_type": "extend", "continuation_mode": "onwards"}, InputError, "continuation_mode",
        "continuation_mode 'onwards' is unknown; "
        "choose one of: extend_start, extend_end, extend_both, inpaint_middle.",
    ),
    "unknown task": (
        {"task_type": "Cover"}, InputError, "task_type",
        f"task_type 'Cover' is unknown; choose one of: {', '.join(TASKS)}.",
    ),
    "edit without new words": (
        {"task_type": "edit"}, InputError, "style_prompt",
        "style_prompt and style_lyrics are both empty; edit needs the new words.",
    ),
    "edit with another solver": (
        {"task_type": "edit", "style_prompt": "rock", "scheduler_type": "heun"}, UnsupportedError, "scheduler_type",
        "task_type 'edit' runs with scheduler_type 'euler' alone, without corrections.",
    ),
    "codes and a start from sound": (
        {"task_type": "cover", "audio_codes": "<|audio_code_1|>" * 60, "cover_noise_strength": 0.5},
        UnsupportedError, "cover_noise_strength",
        "cover_noise_strength does not go with audio_codes, which hold no sound to start from.",
    ),
    "a line for the planner": (
        {"task_type": "cover", "simple_query": "a waltz"}, UnsupportedError, "simple_query",
        "simple_query does not go with task_type 'cover'.",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("fields", "kind", "field", "sentence"), REFUSALS.values(), ids=REFUSALS)
def test_what_cannot_be_is_one_sentence(
    refused: Callable[..., InputError], fields: dict[str, object], kind: type[InputError], field: str, sentence: str
) -> None:
    error = refused(**fields)
    assert (str(error), type(error), error.field) == (sentence, kind, field)


@pytest.mark.parametrize("task", [name for name, task in TASKS.items() if task.needs_source])
def test_a_recording_beyond_the_limit_of_its_task(refused: Callable[..., InputError], task: str) -> None:
    most = 3600 if task in {"repaint", "inpainting", "extend", "continuation"} else 600
    needed = {"track_name": "drums", "style_prompt": "rock", "repainting_end": 0.5}
    error = refused(task_type=task, src_audio=f"{most + 1}.wav", **needed)
    sentence = f"src_audio: '{most + 1}.wav' is {most + 1}.0 s long; at most {most} s are allowed."
    assert (str(error), type(error)) == (sentence, AudioError)


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("audio_cover_strength", 0, 1),
        ("cover_noise_strength", 0, 1),
        ("style_strength", 0, 1),
        ("audio2audio_strength", 0, 1),
        ("variation_strength", 0, 1),
        ("edit_n_min", 0, 1),
        ("edit_n_max", 0, 1),
        ("repainting_start", -600, 3600),
        ("repainting_end", -1, 3600),
        ("extend_duration", 1, 600),
    ],
)
def test_a_number_that_is_none(refused: Callable[..., InputError], name: str, low: int, high: int) -> None:
    """Wherever it is given, whether the task reads it or not."""
    for task in ("cover", "repaint"):
        error = refused(task_type=task, **{name: math.nan})
        assert (str(error), error.field) == (f"{name} must be a number from {low} to {high}, not nan.", name)


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"task_type": "lego", "track_name": "drums"}, "task_type 'lego'"),
        ({"task_type": "extract", "track_name": "drums"}, "task_type 'extract'"),
        ({"task_type": "complete"}, "task_type 'complete'"),
        ({"task_type": "vocal_accompaniment"}, "task_type 'vocal_accompaniment'"),
        ({"generate_accompaniment": True}, "task_type 'vocal_accompaniment'"),
        ({"task_type": "style_transfer", "style_prompt": "rock", "preserve_vocals": True}, "preserve_vocals"),
        ({"task_type": "audio2audio", "preserve_vocals": True}, "preserve_vocals"),
    ],
)
def test_a_model_that_cannot_names_those_that_can(
    refused: Callable[..., InputError], tiny: AceStepHandler, fields: dict[str, object], why: str
) -> None:
    error = refused(tiny, **fields)
    assert str(error) == f"{why} needs a model that was trained for it, and tiny was not; {ABLE}"
    assert type(error) is UnsupportedError


# --- What can be ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("silent", [0, 1])
def test_one_channel_may_be_silent(tiny_base: AceStepHandler, tmp_path: Path, silent: int) -> None:
    """Both channels stay themselves: neither is copied over the other nor mixed into it."""
    recording = tune(2.0)
    recording[silent] = 0
    file = saved(tmp_path / "half.wav", recording)
    [grown] = sounds(run(tiny_base, file, task_type="extend", extend_duration=1.0, inference_steps=1))
    assert np.array_equal(grown[:, : recording.shape[1]], recording)
    assert np.abs(grown[:, recording.shape[1] :]).max(axis=1).min() > 0.01


def test_both_channels_of_a_recording_are_heard(tiny_base: AceStepHandler, tmp_path: Path) -> None:
    made = []
    for heard in ([1, 0], [0, 1], [1, 1]):
        recording = tune(2.0) * np.float32(heard)[:, None]
        file = saved(tmp_path / "song.wav", recording)
        made += sounds(run(tiny_base, file, task_type="cover-nofsq", inference_steps=1))
    assert len({sound.tobytes() for sound in made}) == 3


def test_a_reference_of_the_least_length_is_heard(tiny_base: AceStepHandler, folder: Path, tmp_path: Path) -> None:
    reference = saved(tmp_path / "least.wav", tune(0.1))
    source = str(folder / "song.wav")
    [told] = sounds(run(tiny_base, source, task_type="cover", reference_audio=reference, inference_steps=1))
    assert not np.array_equal(told, cover(tiny_base, folder))
