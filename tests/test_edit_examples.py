"""The published examples that work on a recording, as written but for the folder; see also ``test_seed_examples``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from acestep.constants import KEYSCALES, SAMPLE_RATE
from acestep.handler import AceStepHandler
from acestep.inference import GenerationConfig, GenerationParams, GenerationResult, generate_music
from acestep.llm_inference import LLMHandler
from acestep.output.tags import read_recipe

from edit_support import tune

Recorded = Callable[[str, float], np.ndarray]


@pytest.fixture
def recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Recorded:
    """Write a recording of that name into the working folder: what is in the file, ``[2, S]``."""
    monkeypatch.chdir(tmp_path)

    def write(name: str, seconds: float) -> np.ndarray:
        sf.write(name, tune(seconds).T, SAMPLE_RATE)
        return sf.read(name, dtype="float32")[0].T

    return write


def checked(result: GenerationResult, config: GenerationConfig, task: str) -> GenerationResult:
    """A success, with everything the documentation says is in it."""
    assert result.success, result.error
    assert result.error is None
    assert len(result.audios) == config.batch_size
    for audio in result.audios:
        path = Path(audio["path"])
        assert path.parent == Path("output")
        samples, rate = sf.read(path, always_2d=True)
        assert rate == audio["sample_rate"] == SAMPLE_RATE
        np.testing.assert_allclose(samples.T, audio["tensor"].numpy(), rtol=0, atol=2**-23)
        assert np.abs(samples).max() > 0.01
        assert read_recipe(path)["task"] == audio["params"]["task_type"] == task
        assert 0 <= audio["params"]["seed"] < 2**32
    assert "no effect" not in " ".join(result.extra_outputs["warnings"])
    return result


def test_style_cover_with_lm_reasoning(tiny: AceStepHandler, terse: LLMHandler, recorded: Recorded) -> None:
    source = recorded("original_pop_song.mp3", 12.5)
    dit_handler, llm_handler = tiny, terse
    params = GenerationParams(
        task_type="cover",
        src_audio="original_pop_song.mp3",
        caption="orchestral symphonic arrangement",
        audio_cover_strength=0.7,
        thinking=True,  # Enable LM for metadata
        use_cot_metas=True,
    )

    config = GenerationConfig(batch_size=1)

    result = generate_music(dit_handler, llm_handler, params, config, save_dir="output")
    checked(result, config, "cover")

    lm_meta = result.extra_outputs["lm_metadata"]
    assert 30 <= lm_meta.get("bpm") <= 300
    assert lm_meta.get("keyscale") in KEYSCALES
    used = result.audios[0]["params"]
    assert (used["bpm"], used["keyscale"]) == (lm_meta["bpm"], lm_meta["keyscale"])
    assert used["caption"] == "orchestral symphonic arrangement"
    assert result.audios[0]["tensor"].shape == source.shape


def test_repaint_section_of_audio(tiny_base: AceStepHandler, terse: LLMHandler, recorded: Recorded) -> None:
    recorded("generated_track.mp3", 26.0)
    dit_handler, llm_handler = tiny_base, terse
    params = GenerationParams(
        task_type="repaint",
        src_audio="generated_track.mp3",
        repainting_start=15.0,  # Start at 15 seconds
        repainting_end=25.0,  # End at 25 seconds
        caption="dramatic orchestral buildup",
        inference_steps=32,  # Higher quality for base model
    )

    config = GenerationConfig(batch_size=1)

    result = generate_music(dit_handler, llm_handler, params, config, save_dir="output")
    checked(result, config, "repaint")

    source = sf.read("generated_track.mp3", dtype="float32")[0].T
    made, (start, end) = result.audios[0]["tensor"].numpy(), (15 * SAMPLE_RATE, 25 * SAMPLE_RATE)
    assert made.shape == source.shape
    assert np.array_equal(made[:, :start], source[:, :start])
    assert np.array_equal(made[:, end:], source[:, end:])
    assert np.abs(made[:, start:end] - source[:, start:end]).mean() > 0.01


def test_extract_vocals_from_mix(tiny_base: AceStepHandler, terse: LLMHandler, recorded: Recorded) -> None:
    source = recorded("full_song_mix.mp3", 10.5)
    dit_handler, llm_handler = tiny_base, terse
    params = GenerationParams(
        task_type="extract",
        src_audio="full_song_mix.mp3",
        instruction="Extract the vocals track from the audio:",
    )

    config = GenerationConfig(batch_size=1)

    result = generate_music(dit_handler, llm_handler, params, config, save_dir="output")
    checked(result, config, "extract")

    assert Path(result.audios[0]["path"]).exists()
    assert result.audios[0]["tensor"].shape == source.shape
    assert result.audios[0]["track"] == "vocals"
    assert result.audios[0]["params"]["instruction"] == "Extract the vocals track from the audio:"


def test_add_guitar_track(tiny_base: AceStepHandler, terse: LLMHandler, recorded: Recorded) -> None:
    source = recorded("drums_and_bass.mp3", 10.5)
    dit_handler, llm_handler = tiny_base, terse
    params = GenerationParams(
        task_type="lego",
        src_audio="drums_and_bass.mp3",
        instruction="Generate the guitar track based on the audio context:",
        caption="funky rhythm guitar with wah-wah effect",
        repainting_start=0.0,
        repainting_end=-1,  # Full duration
    )

    config = GenerationConfig(batch_size=1)

    result = generate_music(dit_handler, llm_handler, params, config, save_dir="output")
    checked(result, config, "lego")

    [audio] = result.audios
    seconds = audio["tensor"].numpy()[:, : 10 * SAMPLE_RATE].reshape(2, 10, SAMPLE_RATE)
    assert np.abs(seconds).max(axis=2).min() > 0.01
    assert audio["tensor"].shape == source.shape
    assert audio["params"]["instruction"] == "Generate the guitar track based on the audio context:"


# --- The task types of the same document ------------------------------------------------------------------------


def test_cover_key_parameters(tiny: AceStepHandler, terse: LLMHandler, recorded: Recorded) -> None:
    source = recorded("original_song.mp3", 10.2)
    params = GenerationParams(
        task_type="cover",
        src_audio="original_song.mp3",
        caption="jazz piano version",
        audio_cover_strength=0.8,  # 0.0-1.0
    )
    config = GenerationConfig(batch_size=2)
    result = checked(generate_music(tiny, terse, params, config, save_dir="output"), config, "cover")
    assert [audio["tensor"].shape for audio in result.audios] == [source.shape] * 2
    assert result.audios[0]["params"]["seed"] != result.audios[1]["params"]["seed"]


def test_complete_key_parameters(tiny_base: AceStepHandler, terse: LLMHandler, recorded: Recorded) -> None:
    source = recorded("incomplete_track.mp3", 10.2)
    params = GenerationParams(
        task_type="complete",
        src_audio="incomplete_track.mp3",
        instruction="Complete the input track with drums, bass, guitar:",
        caption="rock style completion",
    )
    config = GenerationConfig(batch_size=1)
    result = checked(generate_music(tiny_base, terse, params, config, save_dir="output"), config, "complete")
    assert result.audios[0]["tensor"].shape == source.shape
    assert result.audios[0]["params"]["instruction"] == "Complete the input track with drums, bass, guitar:"
