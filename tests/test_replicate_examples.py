"""The nine published examples for Replicate, as written: the official client, the real server, the embedded family.

`auto` means tiny and tiny-base where there is no GPU. The recordings have the names of the examples and are short,
but for the one of which half a minute is painted anew. They are opened for reading as there, and closed, which the
examples leave to chance. The planner writes few words (`terse_planner`). Nothing else is adapted. The adapter of one
example was made for ACE-Step v1, on which all nine run in `test_v1_examples`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from replicate.exceptions import ModelError
from replicate_examples_support import SECONDS, recorded, replicate_service, run_example

from acestep.constants import SAMPLE_RATE

from terse_planner import terse_weights


@pytest.fixture(scope="module", autouse=True)
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The service that `replicate.run` talks to."""
    weights = terse_weights(tmp_path_factory.mktemp("weights"))
    seconds = {**SECONDS, "original_song": 62}
    with replicate_service(tmp_path_factory.mktemp("recordings"), {"ACESTEP_WEIGHTS": str(weights)}, seconds):
        yield


def test_basic_text_to_music(tmp_path: Path) -> None:
    assert os.environ["REPLICATE_BASE_URL"].startswith("http://127.0.0.1:")
    samples, recipe = run_example("basic text to music", tmp_path)
    assert len(samples) == 30 * SAMPLE_RATE
    assert recipe["models"]["dit"]["name"] == recipe["models"]["lm"]["name"] == "tiny"


def test_full_song_with_lyrics(tmp_path: Path) -> None:
    samples, recipe = run_example("full song with lyrics", tmp_path)
    assert len(samples) == 240 * SAMPLE_RATE
    assert (recipe["seeds"], recipe["parameters"]["scheduler_type"]) == ([42], "pingpong")


def test_audio_continuation(tmp_path: Path) -> None:
    samples, recipe = run_example("audio continuation", tmp_path)
    source = recorded("my_song")
    assert len(samples) == len(source) + 60 * SAMPLE_RATE
    np.testing.assert_array_equal(samples[: len(source)], source)
    assert recipe["models"]["lm"] is None


def test_audio_inpainting(tmp_path: Path) -> None:
    samples, _ = run_example("audio inpainting", tmp_path)
    changed = np.flatnonzero((samples != recorded("original_song")).any(axis=1))
    assert 30 * SAMPLE_RATE <= changed[0] < 31 * SAMPLE_RATE
    assert 59 * SAMPLE_RATE < changed[-1] < 60 * SAMPLE_RATE


def test_style_transfer(tmp_path: Path) -> None:
    samples, recipe = run_example("style transfer", tmp_path)
    assert len(samples) == len(recorded("pop_song"))
    assert (recipe["models"]["dit"]["name"], recipe["parameters"]["inference_steps"]) == ("tiny-base", 75)


def test_voice_cloning(tmp_path: Path) -> None:
    samples, recipe = run_example("voice cloning", tmp_path)
    assert len(samples) == len(recorded("my_vocals"))
    heard = {role: used["duration_s"] for role, used in recipe["sources"].items()}
    assert heard == {"source": SECONDS["my_vocals"], "reference": SECONDS["target_voice"]}


def test_vocal_accompaniment(tmp_path: Path) -> None:
    samples, recipe = run_example("vocal accompaniment", tmp_path)
    assert len(samples) == len(recorded("acapella_vocals"))
    assert recipe["models"]["dit"]["name"] == "tiny-base"


def test_rap_with_an_adapter_says_which_models_it_goes_with(tmp_path: Path) -> None:
    sentence = "LoRA' does not go with model 'tiny', which takes no adapters yet; choose one of: v1-3.5B, tiny-v1."
    with pytest.raises(ModelError, match=sentence):
        run_example("rap with an adapter", tmp_path)


def test_quick_variations(tmp_path: Path) -> None:
    samples, recipe = run_example("quick variations", tmp_path)
    assert len(samples) == 60 * SAMPLE_RATE
    made = {name: recipe["parameters"][name] for name in ("seed", "variation_seed", "variation_strength")}
    assert made == {"seed": 12345, "variation_seed": 67890, "variation_strength": 0.3}
