"""What the recipe of an edited song says makes the same song again."""

from __future__ import annotations

from dataclasses import fields as dataclass_fields
from pathlib import Path

import numpy as np
import pytest

from acestep.constants import SAMPLE_RATE
from acestep.handler import AceStepHandler
from acestep.inference import GenerationConfig
from acestep.output.tags import read_recipe
from acestep.params import GenerationParams
from acestep.tasks import TASKS

from edit_support import run, saved, sounds, tune

LYRICS = "[verse]\nla la la"
ASKED = {
    "cover": {"audio_cover_strength": 0.5, "cover_noise_strength": 0.3},
    "cover-nofsq": {"lyrics": LYRICS},
    "repaint": {"repainting_start": 0.5, "repainting_end": 2.0},
    "extend": {"extend_duration": 3.0},
    "lego": {"track_name": "drums", "mix": True},
    "extract": {"track_name": "drums,bass", "remainder": True},
    "complete": {"track_name": "drums, bass"},
    "edit": {"style_prompt": "rock", "edit_n_min": 0.2, "edit_n_avg": 2},
    "style_transfer": {"style_prompt": "rock", "preserve_vocals": True, "lyrics": LYRICS},
    "audio2audio": {"audio2audio_strength": 0.3},
    "vocal_accompaniment": {"accompaniment_style": "jazz", "preserve_vocals": True},
    "inpainting": {"repainting_start": -1.0, "repainting_end": 1.0},
    "continuation": {"continuation_mode": "extend_both", "extend_duration": 2.0},
}
NAMES = {field.name for field in dataclass_fields(GenerationParams)} - {"src_audio"}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> str:
    return saved(tmp_path_factory.mktemp("source") / "song.wav", tune(3.2))


def test_every_task_is_asked() -> None:
    assert set(ASKED) == {task.name for task in TASKS.values() if task.needs_source}


@pytest.mark.parametrize("task", list(ASKED))
def test_a_recipe_makes_the_song_again(tiny_base: AceStepHandler, source: str, tmp_path: Path, task: str) -> None:
    config = GenerationConfig(batch_size=2, audio_format="wav")
    made = run(tiny_base, source, tmp_path, config, task_type=task, bpm=100, **ASKED[task])
    wanted = read_recipe(made.audios[-1]["path"])
    fields = {name: value for name, value in wanted["parameters"].items() if name in NAMES}
    again = run(tiny_base, source, tmp_path / "again", **fields)
    assert wanted["output"]["track"] == made.audios[-1]["track"]
    same = [audio for audio in again.audios if audio["track"] == wanted["output"]["track"]]
    np.testing.assert_allclose(
        same[0]["tensor"], made.audios[-1]["tensor"], rtol=0, atol=1e-5
    )  # alone, not in a batch
    assert read_recipe(same[0]["path"])["parameters"] == wanted["parameters"]


def test_tracks_that_were_limited_together_are_made_together_again(tiny_base: AceStepHandler, source: str) -> None:
    made = run(tiny_base, source, task_type="extract", track_name="drums,bass", remainder=True)
    alone = run(tiny_base, source, task_type="extract", track_name="drums")
    assert not np.array_equal(sounds(made)[0], sounds(alone)[0])
    assert {audio["params"]["track_name"] for audio in made.audios} == {"drums,bass"}


def test_a_length_that_no_new_song_may_have_is_that_of_a_recording(tiny_base: AceStepHandler, source: str) -> None:
    result = run(tiny_base, source, task_type="cover", duration=3.2)
    assert sounds(result)[0].shape[1] == round(3.2 * SAMPLE_RATE)
