"""All real prompts through the embedded planner: every plan is valid, whatever people typed."""

from __future__ import annotations

from typing import Any

import pytest

from acestep.checkpoints.registry import EMBEDDED_MODEL
from acestep.constants import BPM_MAX, BPM_MIN, KEYSCALES, LANGUAGES, TIME_SIGNATURES
from acestep.inference import GenerationConfig, GenerationParams, create_sample
from acestep.llm_inference import LLMHandler
from acestep.planner.plan import Plan, code_count
from acestep.planner.plan_file import judged
from acestep.planner.planner import Planned
from acestep.request import Request

CODEBOOK = 1000


@pytest.fixture(scope="module")
def handler() -> LLMHandler:
    handler = LLMHandler()
    handler.initialize("weights", "tiny", device="cpu")
    return handler


def planned(handler: LLMHandler, params: GenerationParams, codebook_size: int) -> Planned:
    request = Request.from_params(params, GenerationConfig(batch_size=1), EMBEDDED_MODEL)
    with handler.planner() as planner:
        return planner.plan(request.sheet, request.order, request.seeds, codebook_size).songs[0]


def is_valid(plan: Plan, codebook_size: int) -> bool:
    metadata = plan.metadata
    return (
        BPM_MIN <= metadata.bpm <= BPM_MAX
        and metadata.keyscale in KEYSCALES
        and metadata.timesignature in TIME_SIGNATURES
        and metadata.language in LANGUAGES
        and len(plan.audio_codes) == code_count(metadata.duration)
        and max(plan.audio_codes) < codebook_size
        and judged(plan.to_dict()) == plan
    )


def test_every_real_song_is_planned(handler: LLMHandler, prompts: list[dict[str, Any]]) -> None:
    """With the caller's metadata fixed as he has them, at the shortest length: what is tested is the words."""
    for prompt in prompts:
        params = GenerationParams(caption=prompt["caption"], lyrics=prompt["lyrics"], duration=10, seed=1)
        song = planned(handler, params, CODEBOOK)
        assert is_valid(song.plan, CODEBOOK), prompt["caption"][:60]
        assert song.plan.lyrics == prompt["lyrics"]


def test_what_real_callers_fix_stands(handler: LLMHandler, prompts: list[dict[str, Any]]) -> None:
    for prompt in prompts:
        fixed = {"bpm": prompt["bpm"], "keyscale": prompt["keyscale"], "timesignature": prompt["timesignature"]}
        words = {"caption": prompt["caption"], "lyrics": prompt["lyrics"], "vocal_language": prompt["language"]}
        params = GenerationParams(**words, **fixed, duration=10, seed=2, use_cot_caption=False)
        song = planned(handler, params, CODEBOOK)
        assert is_valid(song.plan, CODEBOOK), prompt["caption"][:60]
        assert {name: getattr(song.plan.metadata, name) for name in fixed} == fixed
        assert (song.plan.metadata.language, song.plan.caption) == (prompt["language"], prompt["caption"])


def test_every_real_wish_is_written_out(handler: LLMHandler, wishes: list[dict[str, Any]]) -> None:
    for wish in wishes:
        song = create_sample(handler, wish["description"], wish["instrumental"], wish["vocal_language"], seed=3)
        song.check()
        assert song.language in LANGUAGES
        assert wish["vocal_language"] in ("unknown", song.language)
        assert song.instrumental or not wish["instrumental"]
        assert (BPM_MIN <= song.bpm <= BPM_MAX, song.keyscale in KEYSCALES, bool(song.caption)) == (True, True, True)
