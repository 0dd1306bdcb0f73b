"""A planner hears tempo, key and meter of the recording that a task works on; what the caller said stays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from acestep.constants import SAMPLE_RATE
from acestep.errors import UnsupportedError
from acestep.handler import AceStepHandler
from acestep.inference import GenerationConfig, GenerationParams, GenerationResult, generate_music
from acestep.llm_inference import LLMHandler
from acestep.planning import check_pair, plan_songs
from acestep.request import Request

CODES = tuple(range(60))  # 12 s


@pytest.fixture(scope="module")
def song(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("song") / "song.wav"
    time = np.arange(12 * SAMPLE_RATE) / SAMPLE_RATE
    sf.write(path, 0.3 * np.sin(2 * np.pi * 220 * time) * (np.sin(2 * np.pi * 2 * time) > 0), SAMPLE_RATE)
    return path


def play(tiny: AceStepHandler, planner: LLMHandler | None, song: Path, **fields: object) -> GenerationResult:
    params = GenerationParams(
        **{"task_type": "cover", "src_audio": str(song), "caption": "x", "inference_steps": 1, "seed": 3, **fields}
    )
    result = generate_music(tiny, planner, params, GenerationConfig(batch_size=1))
    result.check()
    return result


def test_what_is_open_is_heard(tiny: AceStepHandler, planner: LLMHandler, song: Path) -> None:
    result = play(tiny, planner, song, keyscale="A minor")
    heard, used = result.extra_outputs["lm_metadata"], result.audios[0]["params"]
    assert set(heard) == {"bpm", "duration", "keyscale", "timesignature"}
    assert heard["keyscale"] == used["keyscale"] == "A minor"
    assert heard["duration"] == 12
    assert used["bpm"] == used["cot_bpm"] == heard["bpm"]
    assert used["cot_keyscale"] == ""
    assert (used["caption"], used["vocal_language"]) == ("x", "unknown")
    again = play(tiny, planner, song, keyscale="A minor")
    assert again.extra_outputs["lm_metadata"] == heard


@pytest.mark.parametrize("fields", [{"thinking": False}, {"use_cot_metas": False}, {"audio_codes": "one"}], ids=str)
def test_nobody_listens_unasked(
    tiny: AceStepHandler, planner: LLMHandler, song: Path, fields: dict[str, object]
) -> None:
    if "audio_codes" in fields:
        fields = {"audio_codes": "".join(f"<|audio_code_{code}|>" for code in CODES), "src_audio": None}
    result = play(tiny, planner, song, **fields)
    assert result.extra_outputs["lm_metadata"] is None
    assert result.audios[0]["params"]["bpm"] is None


def test_a_recording_can_be_worked_on_without_a_planner(tiny: AceStepHandler, song: Path) -> None:
    assert play(tiny, None, song, thinking=True).extra_outputs["lm_metadata"] is None


def test_the_recording_is_as_long_as_its_codes_whatever_the_timeline(
    tiny: AceStepHandler, planner: LLMHandler, song: Path
) -> None:
    params = GenerationParams(task_type="extend", src_audio=str(song), extend_duration=100.0, seed=1)
    request = Request.from_params(params, GenerationConfig(batch_size=2), tiny.model).lasting(112.0)
    batch = plan_songs(request, planner, tiny.renderer.reader, listen=lambda: CODES)
    assert [chain.duration for chain in batch.chains] == [12, 12]
    assert [plan.duration_s for plan in batch.plans] == [112.0, 112.0]
    assert batch.language_model == planner.row


def test_codes_of_another_family_are_not_understood(tiny: AceStepHandler, planner: LLMHandler) -> None:
    from acestep.checkpoints.registry import DEFAULT_MODEL

    with pytest.raises(UnsupportedError, match="their semantic codes differ"):
        check_pair(planner.row, DEFAULT_MODEL)
