"""From a request to plans: what is refused before anything is planned, what becomes of words that are too many."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from acestep.checkpoints.registry import EMBEDDED_LANGUAGE_MODEL, EMBEDDED_MODEL, model_named
from acestep.errors import InputError, UnsupportedError
from acestep.handler import AceStepHandler
from acestep.inference import GenerationConfig, GenerationParams, generate_music, warm_up
from acestep.llm_inference import LLMHandler
from acestep.planner.ask import Ask, Completion, Heard
from acestep.planner.chain import ChainOfThought, write_fields
from acestep.planner.order import order_plan
from acestep.planner.plan import Metadata, Plan, Sheet
from acestep.planner.planner import Planner
from acestep.planner.vocabulary import Vocabulary
from acestep.planning import check_pair, fitted
from acestep.request import Request

from planner_support import tiny_vocabulary
from terse_planner import planned, tiny_reader

MEASURED = Metadata(120, "A minor", "4", 20.0, "en")


def request_of(**fields: object) -> Request:
    params = GenerationParams(**{"caption": "calm piano", "duration": 20, "seed": 1, **fields})
    return Request.from_params(params, GenerationConfig(batch_size=1), EMBEDDED_MODEL)


LONG = {
    "sentences": "A quiet piano walks home through the rain. " * 40,
    "one sentence": "a quiet piano walks home through the rain " * 40,
    "no blanks": "piano" * 300,
    "no ASCII": "静かなピアノが雨の中を歩いて帰る" * 40,
}


@pytest.mark.parametrize("kind", LONG)
def test_too_long_a_caption_of_the_planner_keeps_its_beginning(kind: str) -> None:
    plan, note = fitted(Plan(LONG[kind], "[Instrumental]", MEASURED), request_of(), tiny_reader())
    assert LONG[kind].startswith(plan.caption)
    assert len(plan.caption) > 30
    assert "more words than the transformer reads" in note
    tiny_reader().tokenize(request_of(), [plan])
    if kind == "sentences":
        assert plan.caption.endswith("rain.")
    elif kind == "one sentence":
        assert LONG[kind][len(plan.caption)] == " "


def test_too_long_lyrics_of_the_planner_end_with_a_line() -> None:
    lines = "\n".join(f"line {number} of a song that does not end" for number in range(400))
    plan, _ = fitted(Plan("calm piano", lines, MEASURED), request_of(), tiny_reader())
    assert lines.startswith(plan.lyrics + "\n")
    assert plan.lyrics.count("\n") > 20
    plan, _ = fitted(Plan("calm piano", "la" * 9000, MEASURED), request_of(), tiny_reader())
    assert len(plan.lyrics) > 1000


def test_what_fits_is_left_alone() -> None:
    plan = Plan("calm piano. And strings", "[Verse]\nla", MEASURED)
    assert fitted(plan, request_of(), tiny_reader()) == (plan, "")


def test_an_instruction_that_leaves_no_room_is_an_error() -> None:
    """A wish has no caption of its own, so the planner's is what does not fit."""
    request = request_of(caption="", simple_query="x", instruction="7" * 213)
    with pytest.raises(InputError, match="Tokenization error: caption makes a prompt of"):
        fitted(Plan("calm", "[Instrumental]", MEASURED), request, tiny_reader())


def test_a_caption_must_leave_room_for_what_the_planner_fills_in(terse: LLMHandler) -> None:
    """Refused before anything is planned is what does not fit beside the longest tempo and key."""
    request, heard = request_of(), []
    filled = Plan("", "[Instrumental]", Metadata(300, "A♭ minor", "2", 20.0))
    room = next(count for count in range(400) if not fits(request, replace(filled, caption="7" * (count + 1))))
    with pytest.raises(InputError, match="Tokenization error: caption"):
        planned(terse, caption="7" * (room + 1), line=lambda song, line: heard.append(line))
    assert heard == []
    assert planned(terse, caption="7" * room, use_cot_caption=False).plans


def fits(request: Request, plan: Plan) -> bool:
    try:
        tiny_reader().tokenize(request, [plan])
    except InputError:
        return False
    return True


def test_planners_go_with_models_of_their_kind() -> None:
    check_pair(EMBEDDED_LANGUAGE_MODEL, EMBEDDED_MODEL)
    with pytest.raises(UnsupportedError, match="lm_model 'tiny' does not go with model 'acestep-v15-turbo'"):
        check_pair(EMBEDDED_LANGUAGE_MODEL, model_named("acestep-v15-turbo"))


def test_warming_up_runs_the_planner_too(tiny: AceStepHandler, planner: LLMHandler) -> None:
    assert warm_up(tiny, planner) > 0
    assert warm_up(tiny, LLMHandler()) > 0


class Recited:
    """A backend whose answers are written beforehand, one per call."""

    name = "recited"

    def __init__(self, vocabulary: Vocabulary, *answers: Sequence[int]) -> None:
        self.vocabulary, self.answers = vocabulary, list(answers)

    def complete(self, asks: Sequence[Ask], heard: Heard | None = None) -> list[Completion]:
        del heard
        assert all(ask.start is None for ask in asks)
        answer = self.answers.pop(0)
        return [Completion(tuple(answer), True) for _ in asks]


@pytest.fixture
def talkative() -> Planner:
    """A planner outside the grammar that decides everything, whatever it may, and writes too many codes."""
    v = tiny_vocabulary()
    chain = ChainOfThought(99, "my own caption", 20, "", "C major", "de", "3")
    thought = [v.control("<think>"), *v.text("\n" + write_fields(chain)), v.control("</think>")]
    codes = [v.code(number % 9) for number in range(170)] + [v.end_of_turn]
    return Planner(Recited(v, thought, codes), v)


def order(**fields: object) -> object:
    params = GenerationParams(caption="calm", use_constrained_decoding=False, **fields)
    return order_plan(params, GenerationConfig(batch_size=1))


def test_outside_the_grammar_a_free_answer_is_a_song(talkative: Planner) -> None:
    [song] = talkative.plan(Sheet("calm", "[Instrumental]"), order(), [1], 1000).songs
    assert song.plan.metadata == Metadata(99, "C major", "3", 20.0, "de")
    assert song.plan.caption == "my own caption"
    assert song.plan.audio_codes == tuple(number % 9 for number in range(100))


@pytest.mark.parametrize("flag", ["use_cot_metas", "use_cot_language", "use_cot_caption"])
def test_outside_the_grammar_what_the_planner_may_not_decide_is_dropped(talkative: Planner, flag: str) -> None:
    [song] = talkative.plan(
        Sheet("calm", "[Instrumental]", Metadata(duration=20.0)), order(**{flag: False}), [1], 1000
    ).songs
    made = song.plan.metadata
    assert (made.bpm is None) == (flag == "use_cot_metas")
    assert (made.language == "unknown") == (flag == "use_cot_language")
    assert (song.plan.caption == "calm") == (flag == "use_cot_caption")
    assert made.duration == 20.0


@pytest.mark.parametrize(
    ("fields", "config", "sentence"),
    [
        (
            {"simple_query": "x", "caption": "", "use_cot_metas": False},
            {},
            "use_cot_metas has no effect: simple_query",
        ),
        (
            {"lm_cfg_scale": 1.0, "lm_negative_prompt": "noise"},
            {},
            "lm_negative_prompt has no effect: lm_cfg_scale is 1",
        ),
        ({"audio_codes": "<|audio_code_1|>" * 100, "lm_cfg_scale": 3}, {}, "lm_cfg_scale has no effect: audio_codes"),
        ({"instrumental": True, "use_cot_lyrics": True}, {}, "use_cot_lyrics has no effect: nobody sings"),
        ({}, {"lm_batch_chunk_size": 2}, "lm_batch_chunk_size has no effect: allow_lm_batch is off"),
    ],
)
def test_what_cannot_act_is_said(fields: dict[str, object], config: dict[str, int], sentence: str) -> None:
    params = GenerationParams(**{"caption": "calm piano", "duration": 20, **fields})
    request = Request.from_params(params, GenerationConfig(batch_size=1, **config), EMBEDDED_MODEL)
    assert any(warning.startswith(sentence) for warning in request.warnings), request.warnings


@pytest.mark.parametrize("field", ["simple_query", "lm_negative_prompt"])
def test_long_wishes_and_negative_prompts_are_refused_by_name(field: str) -> None:
    words = {"caption": ""} if field == "simple_query" else {}
    with pytest.raises(InputError, match=f"{field} must have at most 2048 characters"):
        request_of(**{**words, field: "x" * 2049})


def test_the_parameters_of_a_wish_make_the_song_again(tiny: AceStepHandler, terse: LLMHandler) -> None:
    params = GenerationParams(simple_query="a soft song", duration=10, seed=5)
    one = GenerationConfig(batch_size=1)
    first = generate_music(tiny, terse, params, one)
    first.check()
    reported = first.audios[0]["params"]
    assert (reported["caption"], reported["lyrics"], bool(reported["cot_lyrics"])) == ("", "", True)
    open_again = {"bpm": None, "keyscale": "", "timesignature": "", "vocal_language": "unknown"}  # the planner's
    kept = {name: value for name, value in reported.items() if name not in ("model", "audio_codes")}
    again = generate_music(tiny, terse, GenerationParams(**kept | open_again), one)
    again.check()
    assert bool((again.audios[0]["tensor"] == first.audios[0]["tensor"]).all())


def test_other_codes_are_another_file(tiny: AceStepHandler, planner: LLMHandler, terse: LLMHandler) -> None:
    """Two planners that were given the same parameters differ in their codes alone."""
    fixed = {"caption": "x", "duration": 10, "bpm": 90, "keyscale": "A minor", "timesignature": "4", "seed": 3}
    params = GenerationParams(**fixed, vocal_language="en", use_cot_caption=False)
    one = GenerationConfig(batch_size=1)
    first, second = (generate_music(tiny, handler, params, one).audios[0] for handler in (planner, terse))
    codes = [made["params"].pop("audio_codes") for made in (first, second)]
    assert first["params"] == second["params"]
    assert codes[0] != codes[1]
    assert first["key"] != second["key"]
