"""The published examples of the text2music kind, as written but for the folder: the planner plans each of them."""

from __future__ import annotations

from pathlib import Path

import soundfile as sf

from acestep.constants import KEYSCALES
from acestep.handler import AceStepHandler
from acestep.inference import GenerationConfig, GenerationParams, GenerationResult, generate_music
from acestep.llm_inference import LLMHandler
from acestep.planner.plan import code_count, parse_codes


def run(
    handler: AceStepHandler, planner: LLMHandler, params: GenerationParams, config: GenerationConfig, folder: Path
) -> GenerationResult:
    result = generate_music(handler, planner, params, config, save_dir=str(folder))
    assert result.success, result.error
    assert len(result.audios) == config.batch_size
    for audio in result.audios:
        assert sf.info(audio["path"]).frames == audio["tensor"].shape[1]
        assert len(parse_codes(audio["params"]["audio_codes"], 4096)) == code_count(audio["params"]["duration"])
    if params.bpm is not None:
        assert {chain["bpm"] for chain in result.extra_outputs["lm_metadatas"]} == {params.bpm}
    return result


def test_simple_text_to_music(tiny: AceStepHandler, terse: LLMHandler, tmp_path: Path) -> None:
    params = GenerationParams(
        task_type="text2music",
        caption="calm ambient music with soft piano and strings",
        duration=60,
        bpm=80,
        keyscale="C Major",
    )
    result = run(tiny, terse, params, GenerationConfig(batch_size=2, audio_format="flac"), tmp_path)
    assert result.audios[0]["tensor"].shape == (2, 60 * 48_000)
    assert result.audios[0]["params"]["seed"] != result.audios[1]["params"]["seed"]


def test_song_with_lyrics(tiny: AceStepHandler, terse: LLMHandler, tmp_path: Path) -> None:
    params = GenerationParams(
        task_type="text2music",
        caption="pop ballad with emotional vocals",
        lyrics="""Verse 1:
Walking down the street today
Thinking of the words you used to say
Everything feels different now
But I'll find my way somehow

Chorus:
I'm moving on, I'm staying strong
This is where I belong
""",
        vocal_language="en",
        bpm=72,
        duration=45,
    )
    result = run(tiny, terse, params, GenerationConfig(batch_size=1), tmp_path)
    assert result.audios[0]["params"]["vocal_language"] == "en"


def test_batch_with_specific_seeds(tiny: AceStepHandler, terse: LLMHandler, tmp_path: Path) -> None:
    params = GenerationParams(task_type="text2music", caption="epic cinematic trailer music")
    config = GenerationConfig(batch_size=4, seeds=[42, 123, 456], use_random_seed=False, lm_batch_chunk_size=2)
    result = run(tiny, terse, params, config, tmp_path)
    assert [audio["params"]["seed"] for audio in result.audios[:3]] == [42, 123, 456]
    assert len({audio["params"]["audio_codes"] for audio in result.audios}) == 4


def test_high_quality_on_a_base_model(tiny_base: AceStepHandler, terse: LLMHandler, tmp_path: Path) -> None:
    params = GenerationParams(
        task_type="text2music",
        caption="intricate jazz fusion with complex harmonies",
        inference_steps=64,
        guidance_scale=8.0,
        use_adg=True,
        cfg_interval_start=0.0,
        cfg_interval_end=1.0,
        seed=42,
    )
    config = GenerationConfig(batch_size=1, use_random_seed=False, audio_format="wav")
    result = run(tiny_base, terse, params, config, tmp_path)
    assert result.audios[0]["params"]["seed"] == 42
    assert result.extra_outputs["warnings"] == []


def test_instrumental(tiny: AceStepHandler, terse: LLMHandler, tmp_path: Path) -> None:
    params = GenerationParams(
        task_type="text2music", caption="upbeat electronic dance music", instrumental=True, duration=120, bpm=128
    )
    result = run(tiny, terse, params, GenerationConfig(batch_size=2), tmp_path)
    assert result.audios[0]["params"]["lyrics"] == "[Instrumental]"


def test_time_costs_are_accessible_as_documented(tiny: AceStepHandler, terse: LLMHandler, tmp_path: Path) -> None:
    result = run(tiny, terse, GenerationParams(caption="x", duration=10), GenerationConfig(batch_size=1), tmp_path)
    time_costs = result.extra_outputs.get("time_costs", {})
    assert time_costs.get("pipeline_total_time", 0) >= time_costs.get("dit_total_time_cost", 0) > 0


def test_what_the_planner_decided_is_accessible_as_documented(
    tiny: AceStepHandler, terse: LLMHandler, tmp_path: Path
) -> None:
    params = GenerationParams(caption="x", duration=10, thinking=True, use_cot_metas=True)
    result = run(tiny, terse, params, GenerationConfig(batch_size=1), tmp_path)
    lm_meta = result.extra_outputs.get("lm_metadata")
    assert 30 <= lm_meta.get("bpm") <= 300
    assert lm_meta.get("keyscale") in KEYSCALES
