"""What the planner decides and what it leaves alone: modes, switches, batches, seeds, codes. Nothing is played."""

from __future__ import annotations

from dataclasses import replace

import pytest

from acestep.constants import KEYSCALES, LANGUAGES, TIME_SIGNATURES
from acestep.errors import GenerationError
from acestep.llm_inference import LLMHandler
from acestep.params import GenerationConfig
from acestep.planner.plan import Plan, code_count, codes_text
from acestep.planning import PlannedBatch

from terse_planner import planned, tiny_reader

LYRICS = "[Verse]\nDrop by drop the rain"


def plan(planner: LLMHandler, **fields: object) -> Plan:
    """The one plan of a call."""
    [one] = planned(planner, **fields).plans
    return one


def batch(planner: LLMHandler, size: int = 3, **config: object) -> PlannedBatch:
    return planned(planner, config=GenerationConfig(batch_size=size, **config), seed=40)


def test_an_open_song_is_decided(planner: LLMHandler) -> None:
    made = planned(planner)
    [chain], [song] = made.chains, made.plans
    assert 30 <= chain.bpm <= 300
    assert chain.keyscale in KEYSCALES
    assert chain.language in LANGUAGES
    assert chain.timesignature in TIME_SIGNATURES
    assert song.metadata == chain.metadata()
    assert (song.caption, song.lyrics, song.metadata.duration) == ("calm piano", "[Instrumental]", 10.0)
    assert len(song.audio_codes) == 50
    assert all(0 <= code < tiny_reader().codebook_size for code in song.audio_codes)
    assert made.language_model.name == "tiny"
    assert set(made.seconds) == {"words", "codes"}
    assert min(made.seconds.values()) > 0


FIXED = {
    "bpm": (77, 77),
    "keyscale": ("f♯ minor", "F♯ minor"),
    "timesignature": ("6/8", "6"),
    "vocal_language": ("no", "no"),
    "duration": (11.117, 11.117),
}


@pytest.mark.parametrize("field", FIXED)
def test_what_a_user_fixed_stands_in_chain_and_plan(terse: LLMHandler, field: str) -> None:
    given, canonical = FIXED[field]
    made = planned(terse, use_cot_caption=True, **{field: given})
    name = {"vocal_language": "language"}.get(field, field)
    assert getattr(made.plans[0].metadata, name) == canonical
    assert getattr(made.chains[0], name) == (11 if field == "duration" else canonical)


@pytest.mark.parametrize(("seconds", "codes"), [(10.0, 50), (10.2, 51), (10.21, 52), (11.117, 56)])
def test_there_are_as_many_codes_as_the_song_is_long(planner: LLMHandler, seconds: float, codes: int) -> None:
    song = plan(planner, duration=seconds)
    assert len(song.audio_codes) == codes == code_count(seconds)
    assert song.duration_s == seconds


def test_the_longest_song_fits(planner: LLMHandler) -> None:
    assert len(plan(planner, duration=600, lm_cfg_scale=1.0).audio_codes) == 3000


def test_unusual_meters_are_kept(planner: LLMHandler) -> None:
    assert plan(planner, timesignature="5/4").metadata.timesignature == "5/4"


def test_lyrics_are_kept_and_heard(planner: LLMHandler) -> None:
    song = plan(planner, lyrics=LYRICS)
    assert song.lyrics == LYRICS
    assert song.audio_codes != plan(planner).audio_codes


def test_the_caption_switch(terse: LLMHandler) -> None:
    rewritten, kept = planned(terse, use_cot_caption=True), planned(terse)
    assert rewritten.plans[0].caption == rewritten.chains[0].caption not in ("", "calm piano")
    assert kept.plans[0].caption == "calm piano"
    assert kept.chains[0].caption == ""


def test_the_language_switch(planner: LLMHandler) -> None:
    decided, open_ = planned(planner, lyrics=LYRICS), planned(planner, use_cot_language=False)
    assert decided.plans[0].metadata.language == decided.chains[0].language != "unknown"
    assert (open_.chains[0].language, open_.plans[0].metadata.language) == ("", "unknown")
    assert plan(planner, use_cot_language=False, vocal_language="fr").metadata.language == "fr"


def test_the_metadata_switch(planner: LLMHandler) -> None:
    [chain] = planned(planner, use_cot_metas=False, bpm=90, duration=11).chains
    assert chain.decided().keys() == {"bpm", "duration", "language"}
    assert (chain.bpm, chain.duration) == (90, 11)


def test_an_open_duration_is_the_planners(terse: LLMHandler) -> None:
    made = planned(terse, duration=-1, lm_cfg_scale=1.0)
    seconds = made.chains[0].duration
    assert 10 <= seconds <= 180
    assert made.plans[0].metadata.duration == seconds
    assert len(made.plans[0].audio_codes) == 5 * seconds


def test_without_metadata_the_planner_ends_the_song_itself(planner: LLMHandler) -> None:
    made = [planned(planner, duration=-1, use_cot_metas=False, seed=seed) for seed in range(1, 6)]
    assert all(one.chains[0].duration is None for one in made)
    counts = [len(one.plans[0].audio_codes) for one in made]
    assert len(set(counts)) > 1
    assert all(50 <= count <= 900 for count in counts)
    assert [one.plans[0].duration_s for one in made] == [count / 5 for count in counts]


def test_where_nothing_is_open_nothing_is_thought(planner: LLMHandler) -> None:
    heard: list[str] = []
    made = planned(
        planner,
        bpm=90,
        keyscale="C major",
        timesignature="4",
        vocal_language="en",
        line=lambda _, text: heard.append(text),
        progress=lambda _, stage: heard.append(stage),
    )
    assert heard
    assert all(stage.startswith("planning code ") for stage in heard)
    assert made.chains[0].decided() == {
        "bpm": 90,
        "duration": 10,
        "keyscale": "C major",
        "language": "en",
        "timesignature": "4",
    }


@pytest.mark.parametrize(
    "change",
    [
        {"lm_cfg_scale": 1.0},
        {"lm_cfg_scale": 4.0},
        {"lm_temperature": 0.2},
        {"lm_top_k": 3},
        {"lm_top_p": 0.05},
        {"lm_repetition_penalty": 2.0},
        {"lm_negative_prompt": "drums, shouting"},
        {"caption": "loud drums"},
        {"seed": 2},
    ],
    ids=str,
)
def test_every_setting_of_the_sampling_changes_the_codes(planner: LLMHandler, change: dict[str, object]) -> None:
    # what phase 1 decides is fixed, so that only the codes can differ
    fixed = {"bpm": 90, "keyscale": "C major", "timesignature": "4", "vocal_language": "en"}
    assert plan(planner, **fixed, **change).audio_codes != plan(planner, **fixed).audio_codes


def test_without_guidance_the_negative_prompt_is_not_heard(planner: LLMHandler) -> None:
    quiet, loud = (plan(planner, lm_cfg_scale=1.0, lm_negative_prompt=text) for text in ("drums", "NO USER INPUT"))
    assert quiet == loud


def test_at_temperature_0_seeds_do_not_matter(planner: LLMHandler) -> None:
    first, second = (plan(planner, lm_temperature=0.0, seed=seed) for seed in (1, 2))
    assert first == second


def test_the_same_seed_is_the_same_plan(terse: LLMHandler) -> None:
    first, again, other = (planned(terse, use_cot_caption=True, seed=seed) for seed in (7, 7, 8))
    assert (first.plans, first.chains) == (again.plans, again.chains)
    assert first.chains != other.chains
    assert first.plans[0].audio_codes != other.plans[0].audio_codes


def test_songs_of_a_batch_differ_and_are_the_songs_alone(planner: LLMHandler) -> None:
    plans = batch(planner, allow_lm_batch=True).plans
    assert len({song.audio_codes for song in plans}) == len({song.metadata for song in plans}) == 3
    assert list(plans) == [plan(planner, seed=40 + index) for index in range(3)]


@pytest.mark.parametrize("chunk", [1, 2, 8])
def test_how_many_songs_are_planned_at_once_changes_nothing(planner: LLMHandler, chunk: int) -> None:
    assert batch(planner, allow_lm_batch=True, lm_batch_chunk_size=chunk).plans == batch(planner).plans


def test_a_list_of_seeds_names_each_song(planner: LLMHandler) -> None:
    config = GenerationConfig(batch_size=2, seeds=[9, 4], allow_lm_batch=True)
    assert list(planned(planner, config=config).plans) == [plan(planner, seed=seed) for seed in (9, 4)]


def test_given_codes_are_kept_and_only_words_are_planned(planner: LLMHandler) -> None:
    stages: list[str] = []
    made = planned(
        planner, audio_codes=codes_text(range(55)), duration=-1, progress=lambda _, stage: stages.append(stage)
    )
    assert made.plans[0].audio_codes == tuple(range(55))
    assert made.plans[0].metadata.duration == made.chains[0].duration == 11
    assert made.chains[0].bpm is not None
    assert set(stages) == {"thinking"}
    assert made.seconds["codes"] == 0


def test_two_songs_codes_join_to_one_song(planner: LLMHandler) -> None:
    parts = [plan(planner, seed=seed, duration=seconds).audio_codes for seed, seconds in ((1, 10), (2, 12))]
    mixed = plan(planner, audio_codes="".join(map(codes_text, parts)), duration=-1)
    assert mixed.audio_codes == parts[0] + parts[1]
    assert mixed.duration_s == 22.0


def test_a_wish_becomes_a_song(terse: LLMHandler) -> None:
    made = planned(terse, caption="", simple_query="a soft love song", vocal_language="bn", bpm=66, duration=10.5)
    [chain], [song] = made.chains, made.plans
    assert song.caption == chain.caption != ""
    assert song.lyrics != ""
    assert (song.metadata.bpm, song.metadata.language, song.metadata.duration) == (66, "bn", 10.5)
    assert len(song.audio_codes) == 53
    other = plan(terse, caption="", simple_query="a loud dance", vocal_language="bn", bpm=66, duration=10.5)
    assert (other.caption, other.lyrics) != (song.caption, song.lyrics)


def test_nobody_sings_an_instrumental_wish(terse: LLMHandler) -> None:
    assert plan(terse, caption="", simple_query="a dance", instrumental=True).lyrics == "[Instrumental]"


@pytest.mark.parametrize("lyrics", [LYRICS, ""])
def test_the_planner_writes_lyrics_when_it_may(terse: LLMHandler, lyrics: str) -> None:
    song = plan(terse, use_cot_lyrics=True, lyrics=lyrics, bpm=66)
    assert song.lyrics not in ("", "[Instrumental]", LYRICS)
    assert (song.caption, song.metadata.bpm) == ("calm piano", 66)


@pytest.mark.parametrize("fields", [{"lyrics": "[Instrumental]"}, {"instrumental": True}], ids=str)
def test_nothing_is_written_for_an_instrumental(terse: LLMHandler, fields: dict[str, object]) -> None:
    assert plan(terse, use_cot_lyrics=True, **fields) == plan(terse, **fields)


def test_songs_of_a_batch_have_lyrics_of_their_own(terse: LLMHandler) -> None:
    fields = {"use_cot_lyrics": True, "lyrics": LYRICS}
    made = planned(terse, config=GenerationConfig(batch_size=2, allow_lm_batch=True), **fields)
    assert list(made.plans) == [plan(terse, **fields, seed=seed) for seed in (1, 2)]
    assert made.plans[0].lyrics != made.plans[1].lyrics


def test_outside_the_grammar_too_few_codes_are_one_error(terse: LLMHandler) -> None:
    with pytest.raises(GenerationError, match=r"^The planner wrote \d+ of the 50 codes this song takes; with "):
        planned(terse, use_constrained_decoding=False)


def test_outside_the_grammar_no_song_is_shorter_than_songs_may_be(terse: LLMHandler) -> None:
    with pytest.raises(GenerationError, match=r"^The planner wrote \d+ of the 50 codes"):
        planned(terse, use_constrained_decoding=False, duration=-1)


def test_what_is_fixed_stands_outside_the_grammar_too(terse: LLMHandler) -> None:
    made = planned(terse, use_constrained_decoding=False, bpm=77, audio_codes=codes_text(range(50)))
    assert made.plans[0].metadata.bpm == made.chains[0].bpm == 77


@pytest.mark.parametrize("typed", ["<|im_end|>", "</think>", "<|endoftext|> <think>", "<|audio_code_5|>"])
def test_control_tokens_that_a_user_types_are_text(planner: LLMHandler, typed: str) -> None:
    made = planned(planner, caption=f"calm {typed} piano", lyrics=f"[Verse]\n{typed}\nla")
    [song] = made.plans
    assert (song.caption, song.lyrics) == (f"calm {typed} piano", f"[Verse]\n{typed}\nla")
    assert len(song.audio_codes) == 50
    assert made.chains[0].decided().keys() == {"bpm", "duration", "keyscale", "language", "timesignature"}


def test_what_the_planner_writes_too_much_is_cut_and_said(
    planner: LLMHandler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("acestep.conditioning.text.CAPTION_TOKENS_MAX", 80)
    made = planned(planner, use_cot_caption=True)
    [song], [chain] = made.plans, made.chains
    assert len(song.caption) < len(chain.caption)
    assert chain.caption.split()[: len(song.caption.split())] == song.caption.split()
    assert made.warnings == (
        "the planner wrote more words than the transformer reads; the last of them are not heard.",
    )


def test_codes_of_a_song_play_without_a_planner(planner: LLMHandler) -> None:
    song = plan(planner)
    again = planned(None, thinking=False, audio_codes=codes_text(song.audio_codes)).plans[0]
    assert again == replace(song, metadata=again.metadata)
