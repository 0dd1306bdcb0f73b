"""The v1 family on the real Cog runtime: one request per task, LoRAs of a hub on loopback, and what is refused."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf
import torch
from safetensors.torch import save

from acestep.cogrun.schema import PROJECT
from acestep.constants import SAMPLE_RATE
from acestep.tasks import FIRST_TASKS, Region

from cog_server import CogServer, Json, data_uri, decoded, heard, recipe_of
from fake_hub import UNPINNED_COMMIT, FakeHub, Repository, serving
from hardening_support import tone
from v1_adapter_support import random_pairs
from v1_road_support import NAME, tiny_v1

SOURCE_S = 2.5
QUICK = {"model": NAME, "prompt": "pop, piano", "audio_duration": 10, "infer_steps": 2, "seed": 3, "score": False}
FILE = "pytorch_lora_weights.safetensors"
STYLE, FOREIGN, PICKLED = "somebody/style", "somebody/of-another-model", "somebody/pickled"
MODULES = ("transformer_blocks.0.attn.to_q", "transformer_blocks.1.cross_attn.to_v")


def style() -> bytes:
    """An adapter of the embedded model."""
    pairs = random_pairs(tiny_v1().renderer.family.transformer, *MODULES)
    halves = {f"{module}.lora_A.weight": 0.5 * down for module, (down, _) in pairs.items()}
    return save(halves | {f"{module}.lora_B.weight": 0.5 * up for module, (_, up) in pairs.items()})


@pytest.fixture(scope="module")
def hub() -> Iterator[FakeHub]:
    other = {f"{MODULES[0]}.lora_{half}.weight": torch.ones(2560, 2560)[:4] for half in "A"}
    other |= {f"{MODULES[0]}.lora_B.weight": torch.ones(2560, 4)}
    with serving() as served:
        served.repositories[STYLE] = Repository({FILE: style(), "README.md": b"x"})
        served.repositories[FOREIGN] = Repository({FILE: save({name: half.clone() for name, half in other.items()})})
        served.repositories[PICKLED] = Repository({"pytorch_lora_weights.bin": b"\x80\x04."})
        yield served


@pytest.fixture(scope="module")
def server(hub: FakeHub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CogServer]:
    settings = {
        "OMP_NUM_THREADS": "1",
        "ACESTEP_MODEL": "tiny",
        "ACESTEP_LM_MODEL": "tiny",
        "ACESTEP_WEIGHTS": str(tmp_path_factory.mktemp("weights")),
        "HF_ENDPOINT": hub.endpoint,
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_XET": "1",
    }
    with CogServer(PROJECT, settings) as running:
        yield running


@pytest.fixture(scope="module")
def source() -> np.ndarray:
    """A recording ``[S, 2]`` of 16 bits."""
    samples, _ = sf.read(io.BytesIO(tone(SOURCE_S)), dtype="int16")
    return np.stack([samples, samples], axis=1)


@pytest.fixture(scope="module")
def song() -> str:
    return data_uri(tone(SOURCE_S))


def made(server: CogServer, **inputs: Any) -> Json:
    answer = server.predict({**QUICK, **inputs})
    assert answer["status"] == "succeeded", answer
    return answer


def failure(server: CogServer, **inputs: Any) -> str:
    """The one sentence of a prediction that fails."""
    answer = server.predict({**QUICK, **inputs})
    assert answer["status"] == "failed", answer
    assert "Traceback" not in answer["error"]
    assert "\n" not in answer["error"]
    return answer["error"]


# --- Every task -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", list(FIRST_TASKS))
def test_every_task(server: CogServer, source: np.ndarray, song: str, tmp_path: Path, task: str) -> None:
    row = FIRST_TASKS[task]
    inputs = {
        **({"input_audio": song, "audio_duration": 30} if row.needs_source else {}),
        **({"style_prompt": "rock"} if row.target_words else {}),
        **({"inpaint_start_time": 0.5, "inpaint_end_time": 1.5} if row.region is Region.GIVEN else {}),
        **({"extend_duration": 2} if row.region is Region.GROWN else {}),
    }
    answer = made(server, task=task, **inputs)
    samples, recipe = heard(answer), recipe_of(answer, tmp_path)
    assert (recipe["task"], recipe["models"]["dit"]["name"], recipe["models"]["lm"]) == (task, NAME, None)
    grown = 2 * SAMPLE_RATE if row.region is Region.GROWN else 0
    assert len(samples) == (len(source) + grown if row.needs_source else 10 * SAMPLE_RATE)
    kept = {Region.GIVEN: np.r_[: SAMPLE_RATE // 2], Region.GROWN: np.r_[: len(source)]}.get(row.region, np.r_[:0])
    np.testing.assert_array_equal(samples[kept], source[kept])
    assert np.abs(samples).max() > 300
    assert "denoising step 1/" in answer["logs"]
    expected = ["inference_steps 2 is rough for tiny-v1; 20 to 100 are recommended."]
    assert [warning for warning in recipe["warnings"] if "does not hear" not in warning] == expected
    assert ("does not hear the voice" in " ".join(recipe["warnings"])) == row.accompanies


def test_the_same_song_at_both_rates_and_again(server: CogServer) -> None:
    first, again = (heard(made(server, lyrics="[verse]\nla la")) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert len(heard(made(server, sample_rate=44_100), 44_100)) == 441_000


def test_a_batch_is_a_zip_of_songs_with_their_scores(server: CogServer) -> None:
    answer = made(server, batch_size=2, return_all=True, score=True, seeds="4,9")
    with zipfile.ZipFile(io.BytesIO(decoded(answer["output"]))) as archive:
        songs = ["song-1.wav", "song-1.json", "song-2.wav", "song-2.json"]
        assert archive.namelist() == [*songs, "scores.json", "contact-sheet.png"]
    assert answer["metrics"]["seeds"] == [4, 9]


def test_one_server_plays_both_generations(server: CogServer, tmp_path: Path) -> None:
    names = [
        recipe_of(made(server, model=model, thinking=False), tmp_path)["models"]["dit"]["name"]
        for model in ("tiny", NAME, "tiny")
    ]
    assert names == ["tiny", NAME, "tiny"]


def test_what_v1_does_not_read_is_told_in_this_doors_names(server: CogServer, song: str) -> None:
    idle = {"bpm": 90, "shift": 2.0, "audio_cover_strength": 0.5, "reference_audio": song, "instruction": "Sing."}
    logs = made(server, **idle)["logs"]
    for name in ("bpm", "shift", "reference_audio", "instruction"):
        assert logs.count(f"{name} has no effect: it belongs to the ACE-Step 1.5 models.") == 1
    assert logs.count("audio_cover_strength has no effect on task 'text2music'.") == 1


# --- LoRAs ----------------------------------------------------------------------------------------------------------


def test_an_adapter_of_the_hub_is_fetched_once_heard_and_named(
    server: CogServer, hub: FakeHub, tmp_path: Path
) -> None:
    plain, styled = made(server), made(server, lora_name_or_path=STYLE, lora_weight=0.8)
    assert (heard(plain) != heard(styled)).mean() > 0.5
    recipe = recipe_of(styled, tmp_path)
    named = f"{STYLE}@{UNPINNED_COMMIT}"
    assert (recipe["parameters"]["lora_name_or_path"], recipe["parameters"]["lora_weight"]) == (named, 0.8)
    assert recipe["models"]["lora"]["name"] == named
    requests = len(hub.seen)
    np.testing.assert_array_equal(heard(made(server, lora_name_or_path=STYLE, lora_weight=0.8)), heard(styled))
    np.testing.assert_array_equal(heard(made(server, lora_name_or_path="none")), heard(plain))
    assert len(hub.seen) == requests


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "weights/tiny",
        "./weights/tiny",
        "weights/tiny/model.safetensors",
        str(PROJECT / "weights" / "tiny"),
        "~/lora.safetensors",
        "file:///etc/passwd",
    ],
)
def test_what_lies_on_the_server_cannot_be_named(server: CogServer, path: str) -> None:
    sentence = failure(server, lora_name_or_path=path)
    assert "InputError: lora_name_or_path" in sentence
    assert "must be" in sentence or "must begin with https://" in sentence
    assert "silence_latent" not in sentence, "and nothing is told of what lies there"


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        (PICKLED, "holds no .safetensors file; pytorch_lora_weights.bin may run code when it is opened"),
        (f"{PICKLED}/pytorch_lora_weights.bin", "is a pickle, which may run code when it is opened"),
        (FOREIGN, "is a LoRA of another model: 1 of its modules have another shape here"),
        ("somebody/nothing", "has no repository somebody/nothing"),
        (f"{STYLE}/other.safetensors", "has no file 'other.safetensors'"),
        ("http://huggingface.co/a.safetensors", "the URL must begin with https://"),
        ("https://example.com/a.safetensors", "leads to 'example.com'; adapters come from huggingface.co"),
    ],
)
def test_what_cannot_be_an_adapter_is_refused_and_the_next_song_is_as_always(
    server: CogServer, name: str, sentence: str
) -> None:
    assert sentence in failure(server, lora_name_or_path=name)


def test_after_all_that_the_song_is_as_before(server: CogServer) -> None:
    first = heard(made(server))
    failure(server, lora_name_or_path=FOREIGN)
    np.testing.assert_array_equal(heard(made(server)), first)


# --- What is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("inputs", "sentence"),
    [
        ({"audio_duration": 241}, "Invalid audio duration: audio_duration must be 10 to 240 seconds, not 241."),
        ({"task": "cover"}, "task 'cover' needs a model that was trained for it, and tiny-v1 was not"),
        ({"scheduler_type": "ab3"}, "scheduler_type 'ab3' belongs to the ACE-Step 1.5 models"),
        ({"oss_steps": "3,2"}, "oss_steps must rise from step to step, but 3 is followed by 2."),
        ({"simple_query": "a song", "prompt": ""}, "simple_query needs a planner, and tiny-v1 has none"),
        ({"thinking": True}, "thinking=True needs a language model"),
        ({"lm_model": "tiny"}, "lm_model 'tiny' does not go with model 'tiny-v1', which has no planner."),
        ({"model": "tiny", "lora_name_or_path": STYLE}, f"lora_name_or_path '{STYLE}' does not go with model 'tiny'"),
        ({"lyrics": "q\n" * 1500}, "Tokenization error: lyrics make"),
        ({"prompt": "jazz, " * 300}, "Tokenization error: prompt makes"),
        ({"model": "v1-3.5B"}, "Model not loaded: v1-3.5B needs the folders ACE-Step-v1-3.5B/ace_step_transformer"),
    ],
)
def test_what_does_not_go_is_refused_in_one_sentence(server: CogServer, inputs: Json, sentence: str) -> None:
    assert sentence in failure(server, **inputs)


def test_a_recording_longer_than_a_song_is_refused_where_it_is_made_whole(server: CogServer) -> None:
    long = data_uri(tone(241, rate=8_000, kind="FLAC"), "audio/flac")
    sentence = failure(server, task="audio2audio", input_audio=long)
    assert "input_audio: the result would be 241 s long; at most 240 s are allowed" in sentence
