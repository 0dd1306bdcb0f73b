"""A LoRA on its way through the doors: heard, told, taken out again to the bit, and found again from a recipe."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf
import torch

from acestep.cli import main
from acestep.errors import InputError, UnsupportedError, WeightsError
from acestep.handler import AceStepHandler
from acestep.inference import GenerationConfig, GenerationParams, generate_music
from acestep.output.tags import read_recipe
from acestep.remaking import regenerate

from edit_support import saved as saved_sound
from edit_support import tune
from v1_adapter_support import Pairs, bits, random_pairs, saved
from v1_road_support import NAME, make, sound, tiny_v1, warnings_of

MODULES = (
    "transformer_blocks.0.attn.to_q",
    "transformer_blocks.0.cross_attn.to_v",
    "transformer_blocks.1.attn.to_out.0",
    "lyric_encoder.encoders.0.self_attn.linear_q",
)
DEAD = "transformer_blocks.0.cross_attn.add_k_proj"  # in published checkpoints, and in adapters made of them


@pytest.fixture(scope="module")
def handler() -> AceStepHandler:
    return tiny_v1()


@pytest.fixture(scope="module")
def song(handler: AceStepHandler) -> np.ndarray:
    """The song without an adapter."""
    return sound(make(handler))


@pytest.fixture(autouse=True)
def unchanged(handler: AceStepHandler) -> Iterator[None]:
    """The weights are, bit for bit, what they were before the test once nobody asks for an adapter any more."""
    network = handler.renderer.family.transformer
    handler.renderer.adapt(None)
    before = bits(network)
    yield
    handler.renderer.adapt(None)
    assert bits(network) == before


def pairs_for(handler: AceStepHandler, seed: int = 1, size: float = 0.3) -> Pairs:
    pairs = random_pairs(handler.renderer.family.transformer, *MODULES, seed=seed)
    return {module: (size * down, size * up) for module, (down, up) in pairs.items()}


@pytest.fixture
def style(handler: AceStepHandler, tmp_path: Path) -> Path:
    """An adapter file."""
    return saved(tmp_path / "style.safetensors", pairs_for(handler)).path


def failure(handler: AceStepHandler, **said: Any) -> Exception:
    params = GenerationParams(caption="pop", duration=10, inference_steps=1, thinking=False, seed=1, **said)
    result = generate_music(handler, None, params, GenerationConfig(batch_size=1))
    assert result.cause is not None
    assert "\n" not in str(result.cause)
    return result.cause


# --- Python ---------------------------------------------------------------------------------------------------------


def test_it_is_heard_the_more_the_stronger_and_then_it_is_gone(
    handler: AceStepHandler, song: np.ndarray, style: Path
) -> None:
    played = [sound(make(handler, lora_name_or_path=str(style), lora_weight=weight)) for weight in (0.25, 1.0, 2.0)]
    distances = [np.sqrt(np.mean((one - song) ** 2)) for one in played]
    assert distances == sorted(distances)
    assert distances[0] > 1e-4
    np.testing.assert_array_equal(sound(make(handler)), song)
    np.testing.assert_array_equal(sound(make(handler, lora_name_or_path=str(style))), played[1])


def test_at_no_weight_it_is_none_and_that_is_told(handler: AceStepHandler, song: np.ndarray, style: Path) -> None:
    result = make(handler, lora_name_or_path=str(style), lora_weight=0)
    np.testing.assert_array_equal(sound(result), song)
    assert warnings_of(result) == ["lora_name_or_path has no effect: lora_weight is 0."]


def test_one_after_another_they_do_not_add_up(handler: AceStepHandler, style: Path, tmp_path: Path) -> None:
    other = saved(tmp_path / "other.safetensors", pairs_for(handler, seed=2)).path
    alone = sound(make(handler, lora_name_or_path=str(other)))
    make(handler, lora_name_or_path=str(style))
    np.testing.assert_array_equal(sound(make(handler, lora_name_or_path=str(other))), alone)


def test_a_folder_stands_for_the_file_in_it(handler: AceStepHandler, style: Path, tmp_path: Path) -> None:
    (folder := tmp_path / "folder").mkdir()
    shutil.copy(style, folder / "pytorch_lora_weights.safetensors")
    by_folder = sound(make(handler, lora_name_or_path=str(folder)))
    np.testing.assert_array_equal(by_folder, sound(make(handler, lora_name_or_path=str(style))))


def test_it_acts_in_tasks_and_batches_too(handler: AceStepHandler, style: Path, tmp_path: Path) -> None:
    source = saved_sound(tmp_path / "song.wav", tune(2.0))
    fields = {"task_type": "audio2audio", "src_audio": source, "batch_size": 2, "inference_steps": 4}
    plain, changed = (make(handler, **fields, lora_name_or_path=name) for name in ("none", str(style)))
    for number in (0, 1):
        assert np.abs(sound(plain, number) - sound(changed, number)).max() > 1e-4


def test_what_of_it_is_not_played_is_told_but_what_no_song_needs_is_not(
    handler: AceStepHandler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    width = handler.renderer.family.transformer.config.inner_dim
    halves = torch.zeros(2, width), torch.zeros(width, 2)
    saved(Path("partly.safetensors"), {**pairs_for(handler), "nobody.knows": halves})
    result = make(handler, tmp_path / "songs", lora_name_or_path="partly.safetensors")
    told = "lora_name_or_path: 1 of the 5 modules of 'partly.safetensors' are not played, such as 'nobody.knows'."
    assert warnings_of(result) == [told]
    assert told in read_recipe(result.audios[0]["path"])["warnings"]
    saved(Path("whole.safetensors"), {**pairs_for(handler), DEAD: halves})
    assert warnings_of(make(handler, lora_name_or_path="whole.safetensors")) == []


@pytest.mark.parametrize("spoilt", ["pickle", "noise", "of another model", "half", "missing"])
def test_what_cannot_be_played_is_refused_and_the_next_song_is_as_always(
    handler: AceStepHandler, song: np.ndarray, tmp_path: Path, spoilt: str
) -> None:
    file, kind, says = tmp_path / "x.safetensors", InputError, "cannot be used: 1 tensor without its other half"
    if spoilt == "pickle":
        file, says = tmp_path / "x.ckpt", "is a pickle, which may run code when it is opened"
        file.write_bytes(b"\x80\x04.")
    elif spoilt == "noise":
        file.write_bytes(b"no tensors at all" * 100)
        says = "is not a readable safetensors file"
    elif spoilt == "of another model":
        kind, says = UnsupportedError, "is a LoRA of another model"
        saved(file, {MODULES[0]: (torch.ones(4, 24), torch.ones(24, 4))})
    elif spoilt == "half":
        says = "without its other half"
        saved(file, {}, extra={f"{MODULES[0]}.lora_A.weight": torch.ones(4, 4)})
    else:
        says = "must be a hub id such as ACE-Step/ACE-Step-v1-chinese-rap-LoRA, an https: URL"
    error = failure(handler, lora_name_or_path=str(file))
    assert isinstance(error, kind)
    assert says in str(error)
    assert error.field == "lora_name_or_path"
    np.testing.assert_array_equal(sound(make(handler)), song)


def test_one_of_the_hub_is_found_where_it_was_put_and_else_said_to_be_missing(
    handler: AceStepHandler, style: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACESTEP_WEIGHTS", str(tmp_path / "weights"))
    error = failure(handler, lora_name_or_path="somebody/style")
    assert isinstance(error, WeightsError)
    assert "'somebody/style' is not in" in str(error)
    assert "HF_HUB_OFFLINE is set" in str(error)
    folder = tmp_path / "weights" / "loras" / "somebody--style"
    folder.mkdir(parents=True)
    shutil.copy(style, folder / "pytorch_lora_weights.safetensors")
    there = sound(make(handler, lora_name_or_path="somebody/style"))
    np.testing.assert_array_equal(there, sound(make(handler, lora_name_or_path=str(style))))


# --- Recipes --------------------------------------------------------------------------------------------------------


def test_the_recipe_names_it_without_its_folder_and_makes_the_same_song(
    handler: AceStepHandler, style: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = make(handler, tmp_path / "songs", lora_name_or_path=str(style), lora_weight=0.7, audio_format="flac")
    file = Path(result.audios[0]["path"])
    recipe = read_recipe(file)
    said = recipe["parameters"]
    assert (said["lora_name_or_path"], said["lora_weight"]) == ("style.safetensors", 0.7)
    used = recipe["models"]["lora"]
    assert (used["name"], len(used["sha256"])) == ("style.safetensors", 64)
    assert str(tmp_path) not in json.dumps(recipe)
    with pytest.raises(InputError, match="lora_name_or_path must be a hub id"):
        regenerate(handler, file, tmp_path / "again.flac")
    monkeypatch.chdir(style.parent)
    again = regenerate(handler, file, tmp_path / "again.flac")
    assert str(again.verdict) == "identical"
    assert again.recipe["models"]["lora"] == used
    saved(style, pairs_for(handler, seed=5))
    other = regenerate(handler, file, tmp_path / "other.flac")
    assert f"sha256 of style.safetensors {used['sha256'][:12]} then, " in str(other.verdict)
    assert other.recipe["models"]["lora"]["sha256"] != used["sha256"]


def test_a_song_without_one_names_none(handler: AceStepHandler, tmp_path: Path) -> None:
    recipe = read_recipe(make(handler, tmp_path).audios[0]["path"])
    assert recipe["parameters"]["lora_name_or_path"] == "none"
    assert set(recipe["models"]) == {"dit", "lm"}


# --- The command line -----------------------------------------------------------------------------------------------


def test_the_command_plays_it_and_makes_the_song_again(
    handler: AceStepHandler,
    style: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["generate", "pop", "--model", NAME, "--duration", "10", "--steps", "2", "--seed", "1"]
    assert main([*words, "-o", "plain.wav"]) == 0
    assert main([*words, "--lora", style.name, "--lora-weight", "0.8", "-o", "styled.wav"]) == 0
    plain, styled = (sf.read(name)[0] for name in ("plain.wav", "styled.wav"))
    assert np.abs(plain - styled).max() > 1e-3
    capsys.readouterr()
    assert main(["info", "styled.wav"]) == 0
    assert "lora        style.safetensors at 0.8\n" in capsys.readouterr().out
    assert main(["regenerate", "styled.wav", "-o", "again.wav"]) == 0
    assert capsys.readouterr().out == "again.wav  identical\n"
    assert main([*words, "--lora", "nothing.safetensors", "-o", "no.wav"]) == 2
    assert "acestep: --lora must be a hub id such as" in capsys.readouterr().err
    assert main([*words, "--model", "tiny", "--lm", "none", "--lora", style.name, "-o", "no.wav"]) == 2
    assert (
        "--lora 'style.safetensors' does not go with model 'tiny', which takes no adapters yet"
        in capsys.readouterr().err
    )
    assert not Path("no.wav").exists()
