"""Real prompts, a real song and Cog's own schema against the product."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
import yaml

from acestep.audio.io import read_audio
from acestep.audio.levels import integrated_loudness, silence_share
from acestep.cogrun.schema import PROJECT
from acestep.constants import KEYSCALES, SAMPLE_RATE
from acestep.handler import AceStepHandler
from acestep.inference import GenerationConfig, GenerationParams, generate_music
from acestep.llm_inference import LLMHandler
from acestep.lyrics import estimate_duration
from acestep.request import Request


def params_of(prompt: dict[str, Any]) -> GenerationParams:
    return GenerationParams(
        caption=prompt["caption"],
        lyrics=prompt["lyrics"],
        bpm=prompt["bpm"],
        keyscale=prompt["keyscale"],
        timesignature=prompt["timesignature"],
        vocal_language=prompt["language"],
        duration=prompt["duration"],
        thinking=False,
    )


def test_real_prompts_are_valid_requests_and_keep_their_values(
    prompts: list[dict[str, Any]], tiny: AceStepHandler
) -> None:
    for prompt in prompts:
        plan = Request.from_params(params_of(prompt), GenerationConfig(), tiny.model).plan(1000)
        assert plan.metadata.keyscale in KEYSCALES
        assert plan.metadata.keyscale.lower() == prompt["keyscale"].lower()
        assert plan.metadata.bpm == prompt["bpm"]
        assert plan.duration_s == prompt["duration"]


def test_the_length_estimate_is_of_the_right_size(prompts: list[dict[str, Any]]) -> None:
    errors = [abs(estimate_duration(prompt["lyrics"]) / prompt["duration"] - 1) for prompt in prompts]
    assert np.median(errors) < 0.25


def test_a_real_prompt_becomes_a_song(prompts: list[dict[str, Any]], tiny: AceStepHandler) -> None:
    params = GenerationParams(caption=prompts[0]["caption"][:200], lyrics="[Intro]", duration=10, thinking=False)
    generate_music(tiny, LLMHandler(), params, GenerationConfig(batch_size=1)).check()


def test_a_real_song_can_be_read_and_measured(song: Path) -> None:
    audio = read_audio(song, field="reference_audio")
    assert audio.sample_rate == SAMPLE_RATE
    assert audio.samples.shape[0] == 2
    assert -30 < integrated_loudness(audio.samples) < -5
    assert silence_share(audio.samples) < 0.1


def test_a_real_song_can_be_the_reference(song: Path, tiny: AceStepHandler) -> None:
    params = GenerationParams(caption="x", duration=10, reference_audio=str(song), seed=1, thinking=False)
    result = generate_music(tiny, LLMHandler(), params, GenerationConfig(batch_size=1))
    result.check()


def test_cog_yaml_is_valid(cog_config_schema: dict[str, Any]) -> None:
    config = yaml.safe_load((PROJECT / "cog.yaml").read_text())
    jsonschema.validate(config, cog_config_schema)
    assert config["predict"] == "predict.py:Predictor"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**config, "tests": []}, cog_config_schema)
