"""Watching the planner, stopping it, and what it refuses: lines, progress, logs, one sentence per fault."""

from __future__ import annotations

import logging

import pytest

from acestep.errors import CancelledError, InputError, NotLoadedError, UnsupportedError
from acestep.llm_inference import LLMHandler
from acestep.params import GenerationConfig
from acestep.planner.plan import codes_text

from terse_planner import planned


def test_debugging_logs_every_token(planner: LLMHandler, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "acestep.planner.grammar")
    quiet = planned(planner)
    assert not [record for record in caplog.records if record.name == "acestep.planner.grammar"]
    told = planned(planner, config=GenerationConfig(batch_size=1, constrained_decoding_debug=True))
    lines = [record.getMessage() for record in caplog.records if record.name == "acestep.planner.grammar"]
    assert told.plans == quiet.plans
    assert sum("codes: " in line for line in lines) >= 50
    for field in ("bpm", "keyscale", "language", "timesignature"):
        assert any(field in line for line in lines), field


def test_lines_are_told_when_they_are_complete(terse: LLMHandler) -> None:
    events: list[tuple[int, str]] = []
    config = GenerationConfig(batch_size=2, allow_lm_batch=True)
    made = planned(
        terse,
        config=config,
        line=lambda *line: events.append(line),
        progress=lambda _, stage: events.append((-1, stage)),
    )
    for song, chain in enumerate(made.chains):
        lines = [line for number, line in events if number == song]
        assert lines == [f"{name}: {value}" for name, value in chain.decided().items()]
    first_code = next(place for place, (_, text) in enumerate(events) if text.startswith("planning code"))
    assert all(number == -1 for number, _ in events[first_code:])


def test_the_log_has_the_lines(planner: LLMHandler, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "acestep.planning")
    made = planned(planner)
    assert f"plan 1: bpm: {made.chains[0].bpm}" in caplog.messages


@pytest.mark.parametrize("together", [True, False])
def test_progress_rises_to_the_end(planner: LLMHandler, together: bool) -> None:
    told: list[tuple[float, str]] = []
    config = GenerationConfig(batch_size=2, allow_lm_batch=together)
    planned(planner, config=config, progress=lambda *step: told.append(step))
    shares = [share for share, _ in told]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert told[0] == (0.0, "thinking")
    assert told[-1][1] == f"planning code {100 if together else 50}/{100 if together else 50}"


class StoppedError(Exception):
    pass


@pytest.mark.parametrize("stage", ["thinking", "planning code"])
@pytest.mark.parametrize("error", [StoppedError, CancelledError])
def test_stopping_leaves_the_planner_as_it_was(planner: LLMHandler, stage: str, error: type[Exception]) -> None:
    before = planned(planner)

    def stop(_: float, now: str) -> None:
        if now.startswith(stage):
            raise error("enough")

    with pytest.raises(error, match="enough"):
        planned(planner, progress=stop)
    assert planned(planner).plans == before.plans


@pytest.mark.parametrize(
    ("codes", "sentence"),
    [
        ("<|audio_code_1|>" * 49, "Invalid audio duration: audio_codes must be 10 to 600 seconds, not 9.8."),
        (
            "<|audio_code_1|>" * 50 + "<|audio_code_4096|>",
            "audio_codes holds code 4096, but this model's codes are 0 to 4095.",
        ),
        ("1,2,3", "audio_codes holds '1,2,3'; write only <|audio_code_N|> tokens."),
        (
            "<|audio_code_1|>" * 50 + "<|im_end|>",
            "audio_codes holds '<|im_end|>'; write only <|audio_code_N|> tokens.",
        ),
    ],
)
def test_codes_that_cannot_be_played_are_refused(planner: LLMHandler, codes: str, sentence: str) -> None:
    with pytest.raises(InputError) as caught:
        planned(planner, audio_codes=codes, duration=-1)
    assert str(caught.value) == sentence


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"lm_temperature": -0.5}, "lm_temperature must be a number from 0 to 2, not -0.5."),
        ({"lm_top_p": 0}, "lm_top_p must be a number from 0.01 to 1, not 0"),
        ({"lm_top_k": -1}, "lm_top_k must be a whole number from 0 to 64000, not -1."),
        ({"lm_cfg_scale": 0.5}, "lm_cfg_scale must be a number from 1 to 10, not 0.5."),
        ({"lm_repetition_penalty": 0.5}, "lm_repetition_penalty must be a number from 1 to 2, not 0.5."),
        ({"vocal_language": "xx"}, "vocal_language 'xx' is unknown; choose one of: ar, "),
        ({"lyrics": "雨" * 4096}, "Tokenization error: lyrics makes a prompt of "),
        ({"caption": "", "simple_query": "  "}, "caption and lyrics are both empty"),
        ({"caption": "", "lyrics": "la", "simple_query": "  "}, "simple_query is blank; describe the song"),
        ({"simple_query": "a song"}, "caption does not go with simple_query 'a song', which writes it"),
        ({"simple_query": "a song", "caption": "", "lyrics": "la"}, "lyrics does not go with simple_query 'a song'"),
        (
            {"simple_query": "a song", "caption": "", "audio_codes": codes_text(range(50))},
            "audio_codes does not go with simple_query 'a song'",
        ),
    ],
)
def test_bad_input_is_one_sentence(planner: LLMHandler, fields: dict[str, object], sentence: str) -> None:
    with pytest.raises(InputError) as caught:
        planned(planner, **fields)
    assert str(caught.value).startswith(sentence)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("size", [0, 9])
def test_the_size_of_chunks_is_bounded(planner: LLMHandler, size: int) -> None:
    with pytest.raises(InputError, match=f"lm_batch_chunk_size must be from 1 to 8, not {size}"):
        planned(planner, config=GenerationConfig(batch_size=1, lm_batch_chunk_size=size))


def test_without_a_planner_nothing_thinks() -> None:
    for nobody in (None, LLMHandler()):
        with pytest.raises(NotLoadedError, match="thinking=True needs a language model"):
            planned(nobody)
        assert planned(nobody, thinking=False).chains == ()
    with pytest.raises(UnsupportedError, match="simple_query needs the planner"):
        planned(None, thinking=False, caption="", simple_query="a song")
