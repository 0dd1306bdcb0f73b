"""The planner's lessons say what is true, in the words of inference, and the grammar allows what they teach."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import log_softmax
from transformers import Qwen3Config, Qwen3ForCausalLM

from acestep.constants import CODE_RATE, FRAMES_PER_CODE, INSTRUMENTAL_LYRICS
from acestep.errors import InputError
from acestep.models.config import AceStepConfig
from acestep.planner.answers import codes_grammar, planning_grammar, writing_grammar
from acestep.planner.chain import END_THINK, FIELDS, THINK, ChainOfThought, read_chain, read_lyrics
from acestep.planner.grammar import State
from acestep.planner.prompts import (
    codes_negative,
    formatting_prompt,
    planning_prompt,
    understanding_prompt,
    writing_prompt,
)
from acestep.planner.vocabulary import Vocabulary
from acestep.training import lm_examples
from acestep.training.learn.trainer import Settings
from acestep.training.lm_examples import (
    COMPOSED_SONGS,
    CodedSong,
    Excerpt,
    LmExample,
    draw_excerpt,
    draw_played,
    draw_worded,
    learn_planner_vocabulary,
    song_text,
)
from acestep.training.sizes import TRANSFORMER, VOCABULARY
from acestep.training.songs import HELD_OUT_SEED, record_of, training_score
from acestep.training.train_lm import (
    CODE_WEIGHT,
    EARS_WEIGHT,
    LmLessons,
    LmLoss,
    new_planner,
    padded,
)
from acestep.training.truth import FRAME_FACTS, SONG_FACTS, frame_facts

CODEBOOK = AceStepConfig.from_dict(TRANSFORMER).codebook_size
SEEDS = range(12)
SUNG = next(seed for seed in SEEDS if song_text(seed).is_sung)
SETTINGS = Settings(learning_rate=2e-3, warmup_steps=10)


@pytest.fixture(scope="module")
def v() -> Vocabulary:
    return Vocabulary.of(learn_planner_vocabulary(CODEBOOK))


@pytest.fixture(scope="module")
def songs() -> list[CodedSong]:
    """Codes drawn at random, as many as the songs are long."""
    rng = np.random.default_rng(0)
    counts = [int(song_text(seed).record.duration * CODE_RATE) for seed in SEEDS]
    drawn = (tuple(rng.integers(CODEBOOK, size=count).tolist()) for count in counts)
    return [CodedSong(seed, codes) for seed, codes in zip(SEEDS, drawn, strict=True)]


def thought_of(example: LmExample, v: Vocabulary) -> ChainOfThought:
    read = read_chain(v.spell(example.answer))
    assert read.problems == ()
    return read.chain


def split(example: LmExample, v: Vocabulary) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The chain with its tags, and what follows."""
    end = example.answer.index(v.control(END_THINK)) + 1
    return example.answer[:end], example.answer[end:]


def after(state: State, tokens: tuple[int, ...], v: Vocabulary) -> State:
    for token in tokens:
        state = state.advance(v.pieces[token])
    return state


# --- Songs in words -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
def test_a_song_in_words_is_its_record(seed: int) -> None:
    song, score = song_text(seed), training_score(seed)
    assert song.record == record_of(score)
    assert song.lyrics_until(math.inf) == song.record.lyrics
    assert song.is_sung == bool(score.lines)
    assert song.genres


def test_songs_for_evaluation_are_never_composed_here() -> None:
    assert COMPOSED_SONGS <= HELD_OUT_SEED


@pytest.mark.parametrize("seed", [seed for seed in SEEDS if song_text(seed).is_sung])
def test_lyrics_end_where_the_excerpt_ends(seed: int) -> None:
    score, rng = training_score(seed), random.Random(0)
    lengths = set()
    for _ in range(40):
        excerpt = draw_excerpt(song_text(seed), rng)
        lengths.add(excerpt.seconds)
        assert 10 <= excerpt.seconds <= score.duration_s
        if excerpt.seconds == int(score.duration_s):
            assert excerpt.lyrics == score.lyrics
            continue
        heard = [line.text for line in score.lines if line.end_s <= excerpt.seconds]
        assert heard
        assert [line for line in excerpt.lyrics.splitlines() if line and not line.startswith("[")] == heard
        assert score.lyrics.startswith(excerpt.lyrics)
    assert int(score.duration_s) in lengths


# --- Directions ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
def test_play_is_a_plan_and_the_codes_of_its_seconds(seed: int, songs: list[CodedSong], v: Vocabulary) -> None:
    record = song_text(seed).record
    for draw in range(30):
        example = lm_examples.play(songs[seed], v, random.Random(f"{seed}/{draw}"))
        codes = [code for token in example.answer if (code := v.code_of(token)) is not None]
        assert example.answer[-len(codes) - 1 :] == (*map(v.code, songs[seed].codes[: len(codes)]), v.end_of_turn)
        if example.prompt == codes_negative(v):
            assert len(example.answer) == len(codes) + 1
            continue
        thought, rest = split(example, v)
        assert v.spell(rest[: -len(codes) - 1]) == "\n\n"
        chain = thought_of(example, v)
        if chain == ChainOfThought():
            assert v.spell(thought) == f"{THINK}\n\n{END_THINK}"
            continue
        assert (chain.bpm, chain.keyscale, chain.timesignature) == (record.bpm, record.keyscale, record.timesignature)
        assert chain.language in ("", record.language)
        assert chain.genres == ""
        assert len(codes) == CODE_RATE * chain.duration
        told = [
            caption
            for caption in ("", *record.captions)
            if planning_prompt(v, caption, Excerpt(song_text(seed), chain.duration).lyrics) == example.prompt
        ]
        assert told
        assert chain.caption not in told
        assert chain.caption in ("", *record.captions)


def test_play_is_drawn_with_and_without_everything_that_may_be_left_out(
    songs: list[CodedSong], v: Vocabulary
) -> None:
    drawn = [draw_played(songs, v, random.Random(number)) for number in range(400)]
    untold = [example for example in drawn if example.prompt == codes_negative(v)]
    assert 0.1 < len(untold) / len(drawn) < 0.2
    chains = [thought_of(example, v).decided() for example in drawn if example not in untold]
    bare = [chain for chain in chains if not chain]
    assert 0.01 < len(bare) / len(chains) < 0.1
    for name in ("caption", "language"):
        lacking = sum(name not in chain for chain in chains if chain)
        assert 0.05 < lacking / len(chains) < 0.2
    assert all({"bpm", "duration", "keyscale", "timesignature"} <= chain.keys() for chain in chains if chain)


@pytest.mark.parametrize("draw", range(12))
def test_understand_tells_what_the_codes_are_of(draw: int, songs: list[CodedSong], v: Vocabulary) -> None:
    example = lm_examples.understand(songs, v, random.Random(draw))
    chain = thought_of(example, v)
    matching = [
        song for song in songs if example.prompt == understanding_prompt(v, song.codes[: CODE_RATE * chain.duration])
    ]
    assert len(matching) == 1
    song = song_text(matching[0].seed)
    assert set(chain.decided()) == set(FIELDS)
    assert (chain.bpm, chain.keyscale, chain.genres) == (song.record.bpm, song.record.keyscale, song.genres)
    assert read_lyrics(v.spell(example.answer)) == Excerpt(song, chain.duration).lyrics


@pytest.mark.parametrize("draw", range(12))
def test_write_makes_a_song_of_a_few_words(draw: int, v: Vocabulary) -> None:
    example = lm_examples.write((), v, random.Random(draw))
    chain, lyrics = thought_of(example, v), read_lyrics(v.spell(example.answer))
    assert set(chain.decided()) == set(FIELDS)
    spelled = v.spell(example.prompt)
    query = spelled.partition("user\n")[2].partition("\n\ninstrumental: ")[0]
    instrumental = lyrics == INSTRUMENTAL_LYRICS
    assert example.prompt == writing_prompt(v, query, instrumental)
    assert (chain.language == "unknown") == instrumental


def test_format_lays_out_the_same_words(v: Vocabulary) -> None:
    tagged = set()
    for draw in range(40):
        example = lm_examples.polish((), v, random.Random(draw))
        spelled, lyrics = v.spell(example.prompt), read_lyrics(v.spell(example.answer))
        caption, _, rest = spelled.partition("# Caption\n")[2].partition("\n\n# Lyric\n")
        rough = rest.partition("<|im_end|>")[0]
        assert example.prompt == formatting_prompt(v, caption, rough)
        words = [line for line in lyrics.splitlines() if line and not line.startswith("[")]
        assert [line for line in rough.splitlines() if line and not line.startswith("[")] == words
        if words:
            tagged.add(rough.startswith("["))
            assert rough == (lyrics if rough.startswith("[") else "\n".join(words))
    assert tagged == {True, False}


def test_plan_ends_with_its_thought(songs: list[CodedSong], v: Vocabulary) -> None:
    for draw in range(20):
        example = lm_examples.plan(songs, v, random.Random(draw))
        thought, rest = split(example, v)
        assert rest == ()
        assert thought[0] == v.control(THINK)
        assert thought_of(example, v).genres == ""
        assert v.spell(example.prompt).endswith("<|im_start|>assistant\n")


# --- What is learnt is what may be written ------------------------------------------------------------------------


@pytest.mark.parametrize("number", range(6))
def test_the_grammar_allows_every_song_that_is_learnt(number: int, songs: list[CodedSong], v: Vocabulary) -> None:
    rng = random.Random(f"played/{number}")
    for _ in range(25):
        example = draw_played(songs, v, rng)
        codes = tuple(token for token in example.answer if v.code_of(token) is not None)
        answer = codes_grammar(len(codes) / CODE_RATE, CODEBOOK).start
        assert after(answer, (*codes, v.end_of_turn), v).is_finished
        if example.prompt != codes_negative(v):
            chain = thought_of(example, v)
            grammar = planning_grammar(leave_out=set(FIELDS) - set(chain.decided()))
            assert after(grammar.start, split(example, v)[0], v).is_finished


@pytest.mark.parametrize("number", range(6))
def test_the_grammar_allows_all_words_that_are_learnt(number: int, songs: list[CodedSong], v: Vocabulary) -> None:
    rng = random.Random(f"worded/{number}")
    for _ in range(25):
        example = draw_worded(songs, v, rng)
        ends = example.answer[-1] == v.end_of_turn
        left_out = set(FIELDS) - set(thought_of(example, v).decided())
        grammar = writing_grammar() if ends else planning_grammar(leave_out=left_out)
        assert after(grammar.start, example.answer, v).is_finished


def test_names_of_fields_are_whole_tokens(v: Vocabulary) -> None:
    for name in FIELDS:
        assert [v.pieces[token] for token in v.text(f"\n{name}: ")] == [b"\n", name.encode(), b":", b" "]
    assert v.size == VOCABULARY + CODEBOOK


# --- Batches and loss ---------------------------------------------------------------------------------------------


def test_batches_depend_on_their_number_alone(songs: list[CodedSong], v: Vocabulary) -> None:
    lessons = LmLessons(songs, v, 4, 0)
    forwards = [lessons.batch(step) for step in range(20)]
    assert [LmLessons(songs, v, 4, 0).batch(step) for step in (19, 3, 8)] == [forwards[step] for step in (19, 3, 8)]
    assert LmLessons(songs, v, 4, 1).batch(0) != forwards[0]
    assert len({example for batch in forwards for example in batch}) > 70


def test_most_of_a_batch_ends_in_codes_and_little_is_padding(songs: list[CodedSong], v: Vocabulary) -> None:
    lessons = LmLessons(songs, v, 8, 0)
    real = places = 0
    for step in range(16):
        batch = lessons.batch(step)
        assert sum(v.code_of(example.answer[-2]) is not None for example in batch) == 6
        tokens, learnt = padded(batch, v.end_of_text)
        assert learnt.sum() == sum(len(example.answer) for example in batch)
        real, places = real + sum(map(len, batch)), places + tokens.numel()
    assert real / places > 0.8
    with pytest.raises(InputError, match="batch"):
        LmLessons(songs, v, 1, 0)


def test_the_loss_is_that_of_every_answer_alone(songs: list[CodedSong], v: Vocabulary) -> None:
    """Against a causal model of transformers that reads one example at a time, without padding."""
    network, lessons = new_planner(v.size, 0), LmLessons(songs, v, 4, 0)
    causal = Qwen3ForCausalLM(Qwen3Config(**network.model.config.to_dict()))
    causal.model.load_state_dict(network.model.state_dict() | {"embed_tokens.weight": network.table()})
    causal.tie_weights()
    text, codes = [], []
    with torch.no_grad():
        for example in lessons.batch(0):
            ids = torch.tensor([example.prompt + example.answer])
            likely = log_softmax(causal(input_ids=ids).logits[0], dim=-1)
            for place in range(len(example.prompt), len(example)):
                token = int(ids[0, place])
                (text if v.code_of(token) is None else codes).append(-likely[place - 1, token].item())
        loss, figures = LmLoss(lessons)(network, 0)
    assert figures["text"] == pytest.approx(np.mean(text), rel=1e-4)
    assert figures["codes"] == pytest.approx(np.mean(codes), rel=1e-4)
    heard = figures["songs"] + figures["nexts"]
    total = figures["text"] + CODE_WEIGHT * figures["codes"] + EARS_WEIGHT * heard
    assert loss.item() == pytest.approx(total, rel=1e-5)


def test_no_prompt_is_learnt(v: Vocabulary) -> None:
    examples = [LmExample((1, 2, 3), (4, 5)), LmExample((6,), (7,))]
    tokens, learnt = padded(examples, v.end_of_text)
    assert tokens.tolist() == [[1, 2, 3, 4, 5], [6, 7, *[v.end_of_text] * 3]]
    assert learnt.tolist() == [[False, False, False, True, True], [False, True, False, False, False]]


def test_ears_hear_ahead_what_the_next_code_stands_for(songs: list[CodedSong], v: Vocabulary) -> None:
    """States that hold the facts of the next code are understood; those of this or the one after next are not."""
    network, batch = new_planner(v.size, 0), LmLessons(songs, v, 4, 0).batch(0)
    assert any(example.song is not None for example in batch)
    width = FRAMES_PER_CODE * FRAME_FACTS
    network.next_ear, network.song_ear = nn.Identity(), nn.Linear(width, SONG_FACTS)

    def error(ahead: int) -> float:
        states = torch.zeros(len(batch), max(map(len, batch)), width)
        for row, example in zip(states, batch, strict=True):
            if example.song is not None:
                tokens = example.prompt + example.answer
                first = next(place for place, token in enumerate(tokens) if v.code_of(token) is not None)
                facts = torch.from_numpy(frame_facts(example.song.seed, 5 * 200)).unflatten(0, (-1, FRAMES_PER_CODE))
                for number in range(example.codes):
                    row[first + number - ahead] = facts[number].clamp(1e-3, 1 - 1e-3).logit().flatten()
        return network.ears_error(states, batch)[1].item()

    assert error(1) < error(0) - 0.1
    assert error(1) < error(2) - 0.1


def test_a_code_is_spelled_in_digits(v: Vocabulary) -> None:
    """Codes that differ in one digit differ by twice that digit's vector, whatever the others are."""
    network = new_planner(v.size, 0)
    with torch.no_grad():
        network.model.embed_tokens.weight.zero_()
        table = network.table()
    first = v.code(0)
    assert not table[:first].any()
    for place in range(len(network.spelling)):
        for code in (0, 5 & ~(1 << place)):
            apart = table[first + code + (1 << place)] - table[first + code]
            assert torch.allclose(apart, 2 * network.spelling[place], atol=1e-6)
