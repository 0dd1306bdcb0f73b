"""The nine published examples for Replicate on a server of the embedded v1 model: official client, real runtime.

What is sent is what the examples say, but for the steps, of which there are three, and for seconds, of which there is
a tenth, but of a new song 10 at least. The adapter comes from a hub on loopback.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from replicate_examples_support import ADAPTER, EXAMPLES, recorded, replicate_service, run_example
from safetensors.torch import save

from acestep.constants import SAMPLE_RATE

from fake_hub import UNPINNED_COMMIT, FakeHub, Repository, serving
from v1_adapter_support import random_pairs
from v1_road_support import NAME, ROUGH, tiny_v1

STEPS, TENTH, SHORTEST_S = 3, 10, 10
TIMES = ("extend_duration", "inpaint_start_time", "inpaint_end_time")


@pytest.fixture(scope="module")
def hub() -> Iterator[FakeHub]:
    """The hub with an adapter of that name, which fits the embedded model."""
    network = tiny_v1().renderer.family.transformer
    pairs = random_pairs(network, "speaker_embedder", "transformer_blocks.0.cross_attn.to_q")
    halves = {f"{module}.lora_A.weight": down for module, (down, _) in pairs.items()}
    halves |= {f"{module}.lora_B.weight": up for module, (_, up) in pairs.items()}
    with serving() as served:
        served.repositories[ADAPTER] = Repository({"pytorch_lora_weights.safetensors": save(halves)})
        yield served


@pytest.fixture(scope="module", autouse=True)
def service(hub: FakeHub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The service that `replicate.run` talks to."""
    settings = {
        "OMP_NUM_THREADS": "1",
        "ACESTEP_MODEL": NAME,
        "ACESTEP_WEIGHTS": str(tmp_path_factory.mktemp("weights")),
        "HF_ENDPOINT": hub.endpoint,
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_XET": "1",
    }
    with replicate_service(tmp_path_factory.mktemp("recordings"), settings):
        yield


def run(name: str, folder: Path) -> tuple[np.ndarray, dict[str, Any]]:
    """Samples ``[S, 2]`` of 16 bits and the recipe of an example that is made quickly."""
    example = EXAMPLES[name]
    changes: dict[str, Any] = {"infer_steps": STEPS}
    changes |= {field: example[field] / TENTH for field in TIMES if field in example}
    if "audio_duration" in example:
        changes["audio_duration"] = max(example["audio_duration"] / TENTH, SHORTEST_S)
    samples, recipe = run_example(name, folder, **changes)
    assert (recipe["models"]["dit"]["name"], recipe["models"]["lm"]) == (NAME, None)
    assert np.abs(samples).max() > 300
    return samples, recipe


def told(recipe: dict[str, Any]) -> list[str]:
    return [warning for warning in recipe["warnings"] if ROUGH not in warning]


def test_basic_text_to_music(tmp_path: Path) -> None:
    samples, recipe = run("basic text to music", tmp_path)
    assert len(samples) == SHORTEST_S * SAMPLE_RATE
    assert told(recipe) == []


def test_full_song_with_lyrics(tmp_path: Path) -> None:
    samples, recipe = run("full song with lyrics", tmp_path)
    assert len(samples) == 24 * SAMPLE_RATE
    said = recipe["parameters"]
    assert (recipe["seeds"], said["scheduler_type"], said["guidance_scale"]) == ([42], "pingpong", 18.0)
    assert told(recipe) == []


def test_audio_continuation(tmp_path: Path) -> None:
    samples, recipe = run("audio continuation", tmp_path)
    source = recorded("my_song")
    assert len(samples) == len(source) + 6 * SAMPLE_RATE
    np.testing.assert_array_equal(samples[: len(source)], source)
    assert told(recipe) == []


def test_audio_inpainting(tmp_path: Path) -> None:
    samples, recipe = run("audio inpainting", tmp_path)
    changed = np.flatnonzero((samples != recorded("original_song")).any(axis=1))
    assert 3.0 * SAMPLE_RATE <= changed[0] < 3.1 * SAMPLE_RATE
    assert 5.9 * SAMPLE_RATE < changed[-1] < 6.0 * SAMPLE_RATE
    assert told(recipe) == []


def test_style_transfer(tmp_path: Path) -> None:
    samples, recipe = run("style transfer", tmp_path)
    assert len(samples) == len(recorded("pop_song"))
    assert told(recipe) == ["preserve_vocals has no effect on task_type 'style_transfer'."]


def test_voice_cloning(tmp_path: Path) -> None:
    samples, recipe = run("voice cloning", tmp_path)
    assert len(samples) == len(recorded("my_vocals"))
    assert recipe["sources"]["reference"] is None
    assert told(recipe) == [
        "reference_audio has no effect: it belongs to the ACE-Step 1.5 models.",
        "preserve_vocals has no effect on task_type 'audio2audio'.",
    ]


def test_vocal_accompaniment(tmp_path: Path) -> None:
    samples, recipe = run("vocal accompaniment", tmp_path)
    assert len(samples) == len(recorded("acapella_vocals"))
    (warning,) = told(recipe)
    assert warning.startswith("tiny-v1 does not hear the voice it accompanies")


def test_rap_with_an_adapter(tmp_path: Path) -> None:
    samples, recipe = run("rap with an adapter", tmp_path)
    assert len(samples) == 12 * SAMPLE_RATE
    pinned = f"{ADAPTER}@{UNPINNED_COMMIT}"
    assert recipe["parameters"]["lora_name_or_path"] == recipe["models"]["lora"]["name"] == pinned
    assert told(recipe) == []


def test_quick_variations(tmp_path: Path) -> None:
    samples, recipe = run("quick variations", tmp_path)
    assert len(samples) == SHORTEST_S * SAMPLE_RATE
    made = {name: recipe["parameters"][name] for name in ("seed", "variation_seed", "variation_strength")}
    assert made == {"seed": 12345, "variation_seed": 67890, "variation_strength": 0.3}
    assert told(recipe) == []
