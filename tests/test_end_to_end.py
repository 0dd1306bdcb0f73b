"""Text becomes a song file on the embedded models: the whole road, measured on what comes out."""

from __future__ import annotations

import dataclasses
import os
import resource
import signal
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import torch

from acestep.audio.levels import true_peak
from acestep.errors import CancelledError
from acestep.handler import AceStepHandler
from acestep.inference import GenerationConfig, GenerationParams, GenerationResult, generate_music
from acestep.llm_inference import LLMHandler
from acestep.output.formats import FORMATS
from acestep.output.tags import AI_COMMENT, read_recipe, read_tags

ONE = GenerationConfig(batch_size=1)


def run(
    handler: AceStepHandler, folder: Path | None = None, config: GenerationConfig = ONE, **fields: object
) -> GenerationResult:
    params = GenerationParams(**{"caption": "calm piano", "duration": 10, "thinking": False, "seed": 1, **fields})
    result = generate_music(handler, LLMHandler(), params, config, folder)
    result.check()
    return result


def test_a_prompt_becomes_a_song_file_with_its_recipe(tiny: AceStepHandler, tmp_path: Path) -> None:
    result = run(
        tiny, tmp_path, caption="calm piano", lyrics="[Verse]\nla la", bpm=90, keyscale="am", vocal_language="en"
    )
    [audio] = result.audios
    path = Path(audio["path"])
    assert [path] == list(tmp_path.iterdir())
    assert path.name == f"{audio['key']}.flac"
    samples, rate = sf.read(path, always_2d=True)
    assert (samples.shape, rate) == ((480_000, 2), 48_000)
    np.testing.assert_allclose(samples.T, audio["tensor"].numpy(), atol=2**-23)
    tags = read_tags(path)
    assert (tags.bpm, tags.key, tags.language, tags.lyrics) == (90, "A minor", "en", "[Verse]\nla la")
    assert tags.comment == AI_COMMENT
    recipe = read_recipe(path)
    assert recipe["seeds"] == [1]
    assert recipe["models"]["dit"]["name"] == "tiny"
    assert recipe["parameters"]["keyscale"] == "A minor"
    assert recipe["plan"]["metadata"]["duration"] == 10.0
    assert str(tmp_path) not in str(recipe)


def test_the_result_has_the_published_keys(tiny: AceStepHandler) -> None:
    result = run(tiny)
    assert result.success
    assert result.error is None
    assert "successfully" in result.status_message
    [audio] = result.audios
    published = {"path", "tensor", "key", "sample_rate", "params", "silent"}
    assert set(audio) == published | {"track", "scores", "timed_lyrics"}
    assert audio["path"] == ""
    assert audio["tensor"].dtype == torch.float32
    assert [len(part) for part in audio["key"].split("-")] == [8, 4, 4, 4, 12]
    assert audio["params"]["seed"] == 1
    assert {field.name for field in dataclasses.fields(GenerationParams)} <= set(audio["params"])
    extra = result.extra_outputs
    assert extra["pred_latents"].shape == extra["latents"].shape == (1, 250, 64)
    assert extra["context_latents"].shape == (1, 250, 128)
    assert extra["chunk_masks"].eq(1).all()
    assert extra["seed_value"] == "1"
    costs = extra["time_costs"]
    assert costs["dit_total_time_cost"] == pytest.approx(
        costs["dit_encoder_time_cost"] + costs["dit_diffusion_time_cost"] + costs["dit_vae_decode_time_cost"]
    )
    assert costs["pipeline_total_time"] > 0


@pytest.mark.parametrize("seconds", [10.0, 10.01, 11.117, 12.3, 25.0])
def test_the_requested_duration_comes_out_to_the_sample(tiny: AceStepHandler, seconds: float) -> None:
    assert run(tiny, duration=seconds).audios[0]["tensor"].shape == (2, round(seconds * 48_000))


def test_same_seed_same_samples_other_seed_other_samples(tiny: AceStepHandler) -> None:
    first, again, other = (run(tiny, seed=seed).audios[0]["tensor"] for seed in (5, 5, 6))
    assert torch.equal(first, again)
    assert not torch.allclose(first, other, atol=1e-2)


def test_every_condition_reaches_the_network(tiny: AceStepHandler) -> None:
    plain = run(tiny).extra_outputs["latents"]
    changes = [
        {"caption": "loud drums"},
        {"lyrics": "[Verse]\nhello"},
        {"bpm": 120},
        {"keyscale": "D minor"},
        {"timesignature": "3"},
        {"vocal_language": "fr", "lyrics": "[Instrumental]"},
        {"instruction": "Do something else:"},
        {"shift": 1.0},
        {"inference_steps": 4},
        {"infer_method": "sde"},
        {"scheduler_type": "heun"},
        {"timesteps": [0.9, 0.5, 0.2]},
        {"audio_codes": "".join(f"<|audio_code_{code}|>" for code in range(50))},
    ]
    for change in changes:
        assert not torch.equal(run(tiny, **change).extra_outputs["latents"], plain), change


def test_guidance_reaches_the_network(tiny_base: AceStepHandler) -> None:
    common = {"inference_steps": 4}
    plain = run(tiny_base, guidance_scale=1.0, **common).extra_outputs["latents"]
    late = run(tiny_base, cfg_interval_end=0.4, **common).extra_outputs["latents"]
    for change in ({}, {"cfg_type": "cfg"}, {"use_adg": True}, {"guidance_scale": 3.0}, {"cfg_interval_end": 0.4}):
        guided = run(tiny_base, **common, **change).extra_outputs["latents"]
        assert not torch.allclose(guided, plain, atol=1e-4), change
    assert not torch.allclose(late, run(tiny_base, **common).extra_outputs["latents"], atol=1e-4)


@pytest.mark.parametrize("fields", [{}, {"infer_method": "sde"}])
def test_a_song_of_a_batch_is_the_song_alone(tiny: AceStepHandler, fields: dict[str, object]) -> None:
    batch = run(tiny, config=GenerationConfig(batch_size=3), seed=11, **fields)
    alone = run(tiny, seed=12, **fields)
    assert [audio["params"]["seed"] for audio in batch.audios] == [11, 12, 13]
    latents = batch.extra_outputs["latents"][1:2]
    torch.testing.assert_close(latents, alone.extra_outputs["latents"], atol=1e-4, rtol=0)


def test_guided_batches_agree_with_single_runs(tiny_base: AceStepHandler) -> None:
    fields = {"inference_steps": 4, "scheduler_type": "heun"}
    batch = run(tiny_base, config=GenerationConfig(batch_size=2), seed=3, **fields)
    alone = run(tiny_base, seed=4, **fields)
    torch.testing.assert_close(batch.extra_outputs["latents"][1:], alone.extra_outputs["latents"], atol=1e-4, rtol=0)


def test_the_callers_parameters_are_not_changed(tiny: AceStepHandler) -> None:
    params = GenerationParams(caption="x", duration=10, keyscale="am", thinking=False)
    before = dataclasses.asdict(params)
    generate_music(tiny, LLMHandler(), params, ONE).check()
    assert dataclasses.asdict(params) == before


@pytest.mark.parametrize("name", list(FORMATS))
def test_every_format_comes_out_readable_and_below_the_ceiling(
    tiny: AceStepHandler, tmp_path: Path, name: str
) -> None:
    config = GenerationConfig(batch_size=1, audio_format=name)
    result = run(tiny, tmp_path, config)
    path = Path(result.audios[0]["path"])
    assert path.suffix == FORMATS[name].extension
    assert read_recipe(path)["output"]["format"] == name
    assert true_peak(result.audios[0]["tensor"].numpy()) <= 10 ** (-0.95 / 20)


def test_compact_disc_rate(tiny: AceStepHandler, tmp_path: Path) -> None:
    audio = run(tiny, tmp_path, duration=10.5, sample_rate=44_100).audios[0]
    assert sf.info(audio["path"]).frames == round(10.5 * 44_100)
    assert audio["sample_rate"] == 44_100


def test_of_a_reference_in_surround_sound_two_channels_are_heard(tiny: AceStepHandler, tmp_path: Path) -> None:
    stereo = 0.3 * np.random.default_rng(0).standard_normal((12 * 48_000, 2)).clip(-1, 1)
    sf.write(tmp_path / "stereo.wav", stereo, 48_000)
    sf.write(tmp_path / "surround.wav", np.concatenate([stereo, 0.9 * stereo, -stereo], axis=1), 48_000)
    plain = run(tiny, tmp_path / "a", reference_audio=str(tmp_path / "stereo.wav"))
    told = run(tiny, tmp_path / "b", reference_audio=str(tmp_path / "surround.wav"))
    sentence = "reference_audio has 6 channels; the first 2 are heard."
    assert sentence not in plain.extra_outputs["warnings"]
    assert sentence in told.extra_outputs["warnings"]
    assert sentence in read_recipe(told.audios[0]["path"])["warnings"]
    assert torch.equal(plain.audios[0]["tensor"], told.audios[0]["tensor"])


def test_a_reference_changes_the_song_and_is_named_by_its_hash(tiny: AceStepHandler, tmp_path: Path) -> None:
    tone = 0.3 * np.sin(2 * np.pi * 220 * np.arange(12 * 48_000) / 48_000)
    sf.write(tmp_path / "tone.wav", tone, 48_000)
    out = tmp_path / "out"
    heard = run(tiny, out, reference_audio=str(tmp_path / "tone.wav"))
    assert not torch.equal(heard.extra_outputs["latents"], run(tiny).extra_outputs["latents"])
    reference = read_recipe(heard.audios[0]["path"])["sources"]["reference"]
    assert len(reference["sha256"]) == 64
    assert reference["duration_s"] == pytest.approx(12.0)


def failure(handler: AceStepHandler, folder: Path | None = None, **fields: object) -> str:
    params = GenerationParams(**{"caption": "x", "duration": 10, "thinking": False, **fields})
    result = generate_music(handler, LLMHandler(), params, ONE, folder)
    assert not result.success
    assert result.audios == []
    assert result.status_message == f"Error: {result.error}"
    return result.error or ""


def test_thinking_without_a_planner_is_an_error(tiny: AceStepHandler) -> None:
    assert "thinking=True needs a language model" in failure(tiny, thinking=True)


def test_a_handler_without_a_model_is_an_error() -> None:
    assert failure(AceStepHandler()).startswith("Model not loaded")


def test_too_long_a_caption_is_refused_before_any_network_runs(tiny: AceStepHandler, tmp_path: Path) -> None:
    error = failure(tiny, tmp_path, caption=" ".join(str(number) for number in range(100, 400)))
    assert error.startswith("Tokenization error: caption makes a prompt of")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["text", "missing", "silent", "folder"])
def test_unusable_references_are_one_sentence(tiny: AceStepHandler, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "reference.wav"
    if kind == "text":
        path.write_text("this is no sound")
    elif kind == "silent":
        sf.write(path, np.zeros((48_000, 2)), 48_000)
    elif kind == "folder":
        path.mkdir()
    error = failure(tiny, tmp_path / "out", reference_audio=str(path))
    assert "reference_audio" in error
    assert str(tmp_path) not in error
    assert not (tmp_path / "out").exists()


def test_an_unwritable_folder_is_found_before_any_network_runs(tiny: AceStepHandler, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "cannot write" in failure(tiny, tmp_path / "file" / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_folders_made_for_a_failed_call_go_away(tiny: AceStepHandler, tmp_path: Path) -> None:
    def stop(share: float, stage: str) -> None:
        raise CancelledError("The run was cancelled.")

    params = GenerationParams(caption="x", duration=10, thinking=False)
    assert not generate_music(tiny, LLMHandler(), params, ONE, tmp_path / "a" / "b", stop).success
    assert list(tmp_path.iterdir()) == []


def test_one_folder_holds_the_same_song_in_two_formats(tiny: AceStepHandler, tmp_path: Path) -> None:
    for name in ("wav", "wav32"):
        run(tiny, tmp_path, GenerationConfig(batch_size=1, audio_format=name))
    assert len(list(tmp_path.iterdir())) == 2


def test_codes_are_played_as_a_cover_and_the_recipe_says_so(tiny: AceStepHandler, tmp_path: Path) -> None:
    codes = "".join(f"<|audio_code_{code}|>" for code in range(60))
    path = run(tiny, tmp_path, audio_codes=codes, duration=-1).audios[0]["path"]
    recipe = read_recipe(path)
    assert recipe["parameters"]["instruction"].startswith("Generate audio semantic tokens")
    assert recipe["plan"]["metadata"]["duration"] == recipe["parameters"]["duration"] == 12.0


def test_credentials_in_words_stay_out_of_the_tags(tiny: AceStepHandler, tmp_path: Path) -> None:
    result = run(tiny, tmp_path, caption="https://me:secret@host/x", lyrics="[Verse]\nhttps://me:secret@host/y")
    tags = read_tags(result.audios[0]["path"])
    assert "secret" not in tags.title + tags.lyrics


def test_a_full_disk_leaves_nothing_behind(tiny: AceStepHandler, tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    previous = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        error = failure(tiny, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, previous)
    assert "cannot write" in error
    assert os.listdir(tmp_path) == []


def test_cancelling_between_steps_ends_the_run(tiny: AceStepHandler, tmp_path: Path) -> None:
    seen = []

    def stop(share: float, stage: str) -> None:
        seen.append(stage)
        if stage.startswith("denoising step 3"):
            raise CancelledError("The run was cancelled.")

    params = GenerationParams(caption="x", duration=10, thinking=False)
    result = generate_music(tiny, LLMHandler(), params, ONE, tmp_path, stop)
    assert result.error == "The run was cancelled."
    assert seen[-1] == "denoising step 3/8"
    assert os.listdir(tmp_path) == []


def test_progress_only_rises(tiny: AceStepHandler) -> None:
    shares: list[float] = []
    params = GenerationParams(caption="x", duration=10, thinking=False)
    generate_music(tiny, LLMHandler(), params, ONE, None, lambda share, stage: shares.append(share)).check()
    assert shares == sorted(shares)
    assert len(shares) >= 10
    assert 0.0 <= shares[0] <= shares[-1] <= 1.0
