"""What ACE-Step v1's document called future, on the embedded model of that generation."""

from __future__ import annotations

import io
import json
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf
import torch
from safetensors import safe_open

from acestep.checkpoints.files import PACKAGED
from acestep.constants import SAMPLE_RATE
from acestep.output.tags import read_recipe

from fake_hub import Repository
from fake_hub import serving as serving_hub
from hardening_support import tone
from server_support import Live, detail, serving, song
from v1_adapter_support import saved

MODEL = "tiny-v1"
CHECKPOINT = PACKAGED / MODEL / "ace_step_transformer" / "diffusion_pytorch_model.safetensors"
LAYER = "transformer_blocks.0.cross_attn.to_q"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with serving(tmp_path_factory.mktemp("v1")) as live:
        yield live


def generate(server: Live, **fields: Any) -> Any:
    answer = server.post("/generate", json=song(**{"checkpoint_path": MODEL, "infer_step": 4, **fields}))
    assert answer.status_code == 200, answer.text
    return answer


def recipe_of(answer: Any) -> dict[str, Any]:
    return read_recipe(Path(answer.headers["X-Output-Path"]))


def samples(answer: Any) -> np.ndarray:
    return sf.read(io.BytesIO(answer.content))[0]


@pytest.fixture(scope="module")
def source(server: Live) -> str:
    """An upload of 12 s."""
    return server.post("/files", files={"file": ("a.wav", tone(12.0), "audio/wav")}).json()["file"]


@pytest.mark.parametrize(
    ("fields", "task", "seconds"),
    [
        ({"task": "retake", "retake_seeds": [7], "retake_variance": 0.3}, "text2music", 10),
        ({"task": "repaint", "repaint_start": 4, "repaint_end": 8, "retake_variance": 0.8}, "repaint", 12),
        ({"task": "extend", "repaint_start": -2, "repaint_end": 15}, "extend", 17),
        ({"task": "edit", "edit_target_lyrics": "[verse]\nHello moon", "edit_n_min": 0.2}, "edit", 12),
        ({"audio2audio_enable": True, "ref_audio_strength": 0.5}, "audio2audio", 12),
    ],
)
def test_the_tasks_of_upstream_are_done(
    server: Live, source: str, fields: dict[str, Any], task: str, seconds: int
) -> None:
    recording = "ref_audio_input" if "audio2audio_enable" in fields else "src_audio_path"
    given = fields if fields.get("task") == "retake" else {recording: source, **fields}
    answer = generate(server, **given)
    assert recipe_of(answer)["task"] == task
    assert recipe_of(answer)["models"]["dit"]["name"] == MODEL
    assert samples(answer).shape == (seconds * SAMPLE_RATE, 2)
    assert np.abs(samples(answer)).max() > 0


def test_a_batch_of_v1_is_several_songs(server: Live) -> None:
    answer = generate(server, batch_size=2, actual_seeds=[3, 4])
    first, second = (sf.read(path)[0] for path in json.loads(answer.headers["X-Output-Paths"]))
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(first, samples(answer))


def test_an_adapter_changes_the_song_and_is_gone_afterwards(server: Live) -> None:
    with safe_open(CHECKPOINT, "pt") as checkpoint:
        out, inner = checkpoint.get_slice(f"{LAYER}.weight").get_shape()
    generator = torch.Generator().manual_seed(0)
    halves = (torch.randn(2, inner, generator=generator), torch.randn(out, 2, generator=generator))
    folder = server.station.outputs.path / "loras"
    folder.mkdir()
    saved(folder / "rap.safetensors", {LAYER: halves})
    plain, adapted, again = (
        samples(generate(server, **fields))
        for fields in ({}, {"lora_name_or_path": str(folder), "lora_weight": 0.5}, {})
    )
    assert not np.array_equal(plain, adapted)
    np.testing.assert_array_equal(plain, again)


def test_a_server_that_never_downloads_fetches_no_adapter(server: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub is there and would be asked: only the server's own rule keeps it from that."""
    with serving_hub() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
        hub.repositories["somebody/style"] = Repository({"pytorch_lora_weights.safetensors": b""})
        answer = server.post("/generate", json=song(checkpoint_path=MODEL, lora_name_or_path="somebody/style"))
        assert "and downloads are off; allow downloads, or put its .safetensors file there." in detail(answer, 500)
        assert hub.seen == []


def test_no_audio_duration_is_drawn_from_the_seed(server: Live) -> None:
    job = server.start(checkpoint_path=MODEL, audio_duration=-1, actual_seeds=[11])
    ended = server.wait_for(job, "succeeded", "failed", timeout=240)
    with wave.open(str(server.station.outputs.path / ended["result"]["file"])) as file:
        assert 30 <= file.getnframes() / file.getframerate() <= 240


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"audio_duration": 5}, "Invalid audio duration: audio_duration must be 10 to 240 seconds, not 5."),
        ({"audio_duration": 241}, "Invalid audio duration: audio_duration must be 10 to 240 seconds, not 241."),
        ({"oss_steps": [0, 5]}, "oss_steps"),
        ({"oss_steps": [16, 29, 500]}, "oss_steps"),
        ({"oss_steps": [5, 5]}, "oss_steps must rise"),
        ({"oss_steps": [5], "scheduler_type": "heun"}, "oss_steps does not go with scheduler_type 'heun'"),
        ({"scheduler_type": "ab3"}, "scheduler_type 'ab3'"),
        ({"cfg_type": "dynamic"}, "cfg_type 'dynamic' is unknown"),
        ({"task": "lego"}, "task 'lego' needs a model that was trained for it, and tiny-v1 was not"),
        ({"thinking": True}, "thinking"),
        ({"lora_name_or_path": "/etc/passwd"}, "lora_name_or_path must be a hub id"),
        ({"lora_name_or_path": "http://huggingface.co/a.safetensors"}, "must begin with https://"),
        ({"lora_name_or_path": "https://evil.example/a.safetensors"}, "leads to 'evil.example'"),
        ({"lora_name_or_path": "a/b", "lora_weight": 5}, "lora_weight must be a number from 0 to 2, not 5"),
    ],
)
def test_what_v1_cannot_is_400(server: Live, change: dict[str, Any], sentence: str) -> None:
    assert sentence in detail(server.post("/generate", json=song(checkpoint_path=MODEL, **change)), 400)
