"""All real prompts through the embedded planner, in its terse form: every plan is valid, whatever people typed."""

from __future__ import annotations

from typing import Any

from acestep.llm_inference import LLMHandler
from benchmarks.prompts import CODEBOOK, invalid_plan, invalid_song, plan_of, song_of


def test_every_real_song_is_planned(terse: LLMHandler, prompts: list[dict[str, Any]]) -> None:
    for prompt in prompts:
        plan = plan_of(terse, prompt, fixed=False)
        assert invalid_plan(plan) == "", prompt["caption"][:60]
        assert plan.lyrics == prompt["lyrics"]


def test_what_real_callers_fix_stands(terse: LLMHandler, prompts: list[dict[str, Any]]) -> None:
    for prompt in prompts:
        plan = plan_of(terse, prompt, fixed=True)
        assert invalid_plan(plan) == "", prompt["caption"][:60]
        metadata = plan.metadata
        made = (metadata.bpm, metadata.keyscale, metadata.timesignature, metadata.language)
        assert made == tuple(prompt[name] for name in ("bpm", "keyscale", "timesignature", "language"))
        assert max(plan.audio_codes) < CODEBOOK


def test_every_real_wish_is_written_out(terse: LLMHandler, wishes: list[dict[str, Any]]) -> None:
    for wish in wishes:
        song = song_of(terse, wish)
        assert invalid_song(song, wish) == "", wish["description"][:60]
