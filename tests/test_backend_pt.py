"""The reference backend: its answers are those of a slow look at the whole text, alone or in any company."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from acestep.checkpoints.language_transformers import load_language_model
from acestep.errors import GenerationError, InputError
from acestep.planner.answers import codes_grammar, planning_grammar, writing_grammar
from acestep.planner.ask import Ask, Completion, Draws, Sampling
from acestep.planner.backends.pt import PtBackend, load_pt
from acestep.planner.chain import END_THINK, THINK, ChainOfThought, read_chain, read_lyrics, write_chain
from acestep.planner.grammar import Grammar

from planner_support import (
    GREEDY,
    TINY_CODES,
    TINY_LM,
    question,
    slow_answer,
    slow_guided,
    slow_logits,
    slow_next,
    slow_probabilities,
    small_network,
    tiny_vocabulary,
)

LONG = "a very long story of the sea, " * 12
GIVEN = ChainOfThought(bpm=97, caption="Warm pads: and 'rain'", keyscale="F# minor", language="no")
WIDE = Sampling(temperature=1.0, top_p=1.0)


@pytest.fixture(scope="module")
def backend() -> PtBackend:
    return PtBackend(small_network(), tiny_vocabulary())


@pytest.fixture(scope="module")
def flat() -> PtBackend:
    """Every token is as likely as any other."""
    return PtBackend(small_network(0.0), tiny_vocabulary())


def _planning(given: ChainOfThought = GIVEN) -> Grammar:
    return planning_grammar(given, caption_pieces=12)


def _mixed() -> list[Ask]:
    """Every kind of question, no two alike in length, grammar, guidance or sampling."""
    codes = codes_grammar(3.1, TINY_CODES)
    return [
        question("rain", sampling=Sampling(top_k=40), most=7),
        question(grammar=_planning(), seed=(1, 1)),
        question(LONG, grammar=codes, negative="NO", sampling=Sampling(guidance=2.5), seed=(2, 1)),
        question("x", negative=LONG, sampling=Sampling(guidance=1.5, repetition_penalty=1.4), most=25),
        question(LONG[:80], grammar=codes, sampling=GREEDY, seed=(3, 1)),
        question(grammar=writing_grammar(caption_pieces=5, lyrics_pieces=9), sampling=WIDE, seed=(4, 1)),
        question("the last", sampling=replace(GREEDY, repetition_penalty=1.2), most=30),
    ]


@pytest.fixture(scope="module")
def together(backend: PtBackend) -> list[Completion]:
    return backend.complete(_mixed())


@pytest.mark.parametrize("index", range(7))
def test_an_answer_is_that_of_a_slow_look_at_the_whole_text(together: list[Completion], index: int) -> None:
    assert together[index] == slow_answer(small_network(), _mixed()[index])


@pytest.mark.parametrize("index", range(7))
def test_an_answer_does_not_depend_on_its_company(backend: PtBackend, together: list[Completion], index: int) -> None:
    assert backend.complete([_mixed()[index]]) == [together[index]]


def test_nor_on_its_place(backend: PtBackend, together: list[Completion]) -> None:
    assert backend.complete(_mixed()[::-1]) == together[::-1]


def test_the_tiny_planner_answers_like_the_slow_look() -> None:
    ours = load_pt(TINY_LM, "cpu", torch.float32)
    ask = question(grammar=_planning(), negative="NO", sampling=Sampling(guidance=2.0))
    assert ours.name == "pt"
    assert ours.complete([ask]) == [slow_answer(ours.network, ask)]


def test_half_precision_stays_inside_the_grammar() -> None:
    ours = load_pt(TINY_LM, torch.device("cpu"), torch.bfloat16)
    ask = question(grammar=codes_grammar(2.0, 50), negative="NO", sampling=Sampling(guidance=3.0))
    *codes, end = ours.complete([ask])[0].tokens
    assert len(codes) == 10 and end == ours.vocabulary.end_of_turn
    assert all(ours.vocabulary.code_of(token) in range(50) for token in codes)


@pytest.mark.parametrize("temperature", [0.0, 0.85, 2.0])
def test_plans_are_finished_and_read_back_with_what_was_given(backend: PtBackend, temperature: float) -> None:
    sampling = Sampling(temperature=temperature, top_p=1.0)
    asks = [
        question(grammar=_planning(given), seed=(n, 1), sampling=sampling)
        for n in range(4)
        for given in (GIVEN, ChainOfThought())
    ]
    for ask, answer in zip(asks, backend.complete(asks), strict=True):
        text = backend.vocabulary.spell(answer.tokens)
        read = read_chain(text)
        assert answer.finished and text.startswith(THINK) and text.endswith(END_THINK)
        assert read.problems == ()
        assert set(read.chain.decided()) == {"bpm", "caption", "duration", "keyscale", "language", "timesignature"}
        if ask in asks[::2]:
            assert replace(GIVEN, duration=read.chain.duration, timesignature=read.chain.timesignature) == read.chain


def test_what_is_given_whole_is_written_whole(backend: PtBackend) -> None:
    given = replace(GIVEN, duration=30, timesignature="4")
    answer = backend.complete([question(grammar=_planning(given))])[0]
    assert backend.vocabulary.spell(answer.tokens) == write_chain(given)


def test_written_songs_are_finished_and_read_back(backend: PtBackend) -> None:
    grammar = writing_grammar(caption_pieces=10, lyrics_pieces=40)
    asks = [question(grammar=grammar, seed=(n, 2), sampling=WIDE) for n in range(6)]
    for answer in backend.complete(asks):
        text = backend.vocabulary.spell(answer.tokens)
        assert answer.finished and answer.tokens[-1] == backend.vocabulary.end_of_turn
        assert read_chain(text).problems == ()
        assert len(read_chain(text).chain.decided()) == 7
        assert read_lyrics(text) == text.split(END_THINK, 1)[1].removesuffix("<|im_end|>").strip()


@pytest.mark.parametrize(("duration", "count"), [(0.2, 1), (1.3, 7), (10.0, 50), (10.1, 51)])
def test_codes_are_as_many_as_the_song_is_long_and_of_the_codebook(
    backend: PtBackend, duration: float, count: int
) -> None:
    grammar = codes_grammar(duration, 64)
    asks = [question(grammar=grammar, seed=(n, 5), sampling=replace(WIDE, temperature=2.0)) for n in range(3)]
    for answer in backend.complete(asks):
        *codes, end = map(backend.vocabulary.code_of, answer.tokens)
        assert answer.finished and end is None
        assert len(codes) == count
        assert all(code in range(64) for code in codes)


def test_songs_of_open_length_end_by_themselves_or_where_they_must(flat: PtBackend) -> None:
    grammar = codes_grammar(None, 8, longest_s=12.0)
    answers = flat.complete([question(grammar=grammar, seed=(n,), sampling=WIDE) for n in range(40)])
    lengths = [len(answer.tokens) - 1 for answer in answers]
    assert all(answer.finished for answer in answers)
    assert min(lengths) >= 50 and max(lengths) == 60
    assert len(set(lengths)) > 4


@pytest.mark.parametrize(
    ("sampling", "negative", "grammar"),
    [
        (Sampling(), None, None),
        (Sampling(temperature=1.3, top_k=30, top_p=1.0), None, codes_grammar(10.0, TINY_CODES)),
        (Sampling(guidance=2.0), "NO USER INPUT", codes_grammar(10.0, TINY_CODES)),
    ],
    ids=["free", "top-k of codes", "guided codes"],
)
def test_tokens_come_as_often_as_their_probabilities_say(
    backend: PtBackend, sampling: Sampling, negative: str | None, grammar: Grammar | None
) -> None:
    count = 3000
    ask = question("rain", sampling=sampling, negative=negative, grammar=grammar, most=1)
    tokens = [a.tokens[0] for a in backend.complete([replace(ask, seed=(9, n)) for n in range(count)])]
    allowed = sorted(backend.mask.allowed(ask.start)) if ask.start else list(range(backend.vocabulary.size))
    exact = slow_probabilities(slow_next(backend.network, ask, ())[allowed].tolist(), sampling)
    assert _fits(Counter(tokens), {token: p * count for token, p in zip(allowed, exact, strict=True) if p > 0})


def _fits(seen: Counter[int], expected: dict[int, float]) -> bool:
    """Chi-square of counts; what is expected less than five times is one bin. Nothing else may be seen."""
    rare = [token for token, often in expected.items() if often < 5]
    bins = [([token], often) for token, often in expected.items() if often >= 5]
    bins.append((rare, sum(expected[token] for token in rare)))
    counts = [sum(seen[token] for token in tokens) for tokens, often in bins if often]
    assert len(counts) > 5 and sum(counts) == seen.total()
    return chisquare(counts, [often for _, often in bins if often]).pvalue > 1e-4


def test_seeds_decide(backend: PtBackend) -> None:
    ask = question(most=30)
    seeds = [(1, 1), (1, 1), (2, 1), (1, 2), (0, 1, 1)]
    first, again, *others = backend.complete([replace(ask, seed=seed) for seed in seeds])
    assert first == again == backend.complete([replace(ask, seed=(1, 1))])[0]
    assert len({answer.tokens for answer in (first, *others)}) == 4


def test_where_one_token_is_left_no_number_is_used(flat: PtBackend) -> None:
    grammar = _planning(replace(GIVEN, keyscale="", language=""))
    ask = question(grammar=grammar, sampling=WIDE, seed=(5, 1))
    draws, state = Draws(ask.seed), grammar.start
    forced = 0
    for token in flat.complete([ask])[0].tokens:
        allowed = sorted(flat.mask.allowed(state))
        forced += len(allowed) == 1
        expected = allowed[int(draws.next() * len(allowed))] if len(allowed) > 1 else allowed[0]
        assert token == expected
        state = state.advance(flat.vocabulary.pieces[token])
    assert forced > 10 and state.is_finished


def test_of_equally_likely_tokens_the_greedy_take_the_first(flat: PtBackend) -> None:
    free, codes = flat.complete(
        [question(most=3, sampling=GREEDY), question(grammar=codes_grammar(1.0, TINY_CODES), sampling=GREEDY)]
    )
    assert free.tokens == (0, 0, 0)
    assert [flat.vocabulary.code_of(token) for token in codes.tokens] == [0, 0, 0, 0, 0, None]


def test_the_penalty_is_for_tokens_of_the_answer_not_of_the_prompt(backend: PtBackend) -> None:
    ask = question(most=40, sampling=GREEDY)
    plain, penalised = backend.complete([ask, replace(ask, sampling=replace(GREEDY, repetition_penalty=50.0))])
    assert penalised.tokens[0] == plain.tokens[0]
    assert len(set(penalised.tokens)) == 40 > len(set(plain.tokens))
    prompted = replace(ask, prompt=plain.tokens[:1] * 3, sampling=replace(GREEDY, repetition_penalty=50.0), most=1)
    likeliest = int(slow_logits(backend.network, prompted.prompt)[-1].argmax())
    assert backend.complete([prompted])[0].tokens == (likeliest,)


@pytest.mark.parametrize(
    "sampling", [replace(WIDE, top_k=3), replace(WIDE, top_p=0.3), replace(WIDE, temperature=0.05)], ids=str
)
def test_top_k_top_p_and_temperature_act_on_every_token(backend: PtBackend, sampling: Sampling) -> None:
    ask = question(most=60, sampling=sampling)
    wide, narrow = backend.complete([replace(ask, sampling=WIDE), ask])
    behind = slow_logits(backend.network, [*ask.prompt, *narrow.tokens])[len(ask.prompt) - 1 : -1]
    for token, logits in zip(narrow.tokens, behind, strict=True):
        assert slow_probabilities(logits.tolist(), sampling)[token] > 1e-6
    wide_score, narrow_score = backend.score([ask.prompt] * 2, [wide.tokens, narrow.tokens])
    assert narrow_score.log_probs.mean() > wide_score.log_probs.mean() + 0.5


def test_guidance_by_the_prompt_itself_is_no_guidance(backend: PtBackend) -> None:
    ask = question(most=30)
    pair = [ask, replace(ask, negative=ask.prompt, sampling=replace(ask.sampling, guidance=3.0))]
    assert len(set(backend.complete(pair))) == 1


def test_guidance_leads_where_its_formula_says(backend: PtBackend) -> None:
    ask = question(negative="NO USER INPUT", sampling=replace(GREEDY, guidance=4.0), most=1)
    prompt, negative = (slow_logits(backend.network, text)[-1] for text in (ask.prompt, ask.negative))
    expected = int(slow_guided(prompt, negative, 4.0).argmax())
    assert expected != int(prompt.argmax())
    assert backend.complete([ask])[0].tokens == (expected,)


def test_an_answer_is_cut_where_it_has_to_be(backend: PtBackend) -> None:
    asks = [question(grammar=codes_grammar(2.0, TINY_CODES), most=most) for most in (0, 4, 10, 11)]
    answers = backend.complete(asks)
    assert [(len(answer.tokens), answer.finished) for answer in answers] == [
        (0, False),
        (4, False),
        (10, False),
        (11, True),
    ]
    assert all(answers[3].tokens[: len(answer.tokens)] == answer.tokens for answer in answers)
    assert backend.complete([replace(asks[0], start=Grammar(()).start)]) == [Completion((), True)]


def test_a_free_answer_ends_at_a_stop_which_is_part_of_it(flat: PtBackend) -> None:
    stops = frozenset(range(0, flat.vocabulary.size, 10))
    asks = [question(most=80, stops=stops, sampling=WIDE, seed=(n,)) for n in range(20)]
    for answer in flat.complete(asks):
        assert answer.finished
        assert [token in stops for token in answer.tokens] == [False] * (len(answer.tokens) - 1) + [True]
    endless = flat.complete([replace(asks[0], stops=frozenset())])[0]
    assert len(endless.tokens) == 80 and not endless.finished


def test_each_token_is_heard_once_in_order(backend: PtBackend) -> None:
    heard: list[tuple[int, int]] = []

    def hear(index: int, tokens: Sequence[int]) -> None:
        heard.extend((index, token) for token in tokens)

    answers = backend.complete(_mixed()[:4], hear)
    for index, answer in enumerate(answers):
        assert tuple(token for number, token in heard if number == index) == answer.tokens
    assert [number for number, _ in heard[:8]] == [0, 1, 2, 3] * 2


def test_what_a_listener_raises_ends_it_and_nothing_is_left(backend: PtBackend, together: list[Completion]) -> None:
    class EnoughError(Exception):
        pass

    def hear(index: int, tokens: Sequence[int]) -> None:
        if index == 1:
            raise EnoughError

    with pytest.raises(EnoughError):
        backend.complete(_mixed(), hear)
    assert backend.complete(_mixed()[:2]) == together[:2]


def test_more_than_the_context_holds_is_refused_with_the_counts() -> None:
    small = PtBackend(small_network(), tiny_vocabulary(), context=64)
    fits, guided = question(most=10), question(negative=LONG, sampling=Sampling(guidance=2.0), most=10)
    small.complete([replace(fits, most=64 - len(fits.prompt))])
    with pytest.raises(
        InputError, match=f"{len(fits.prompt)} tokens .* {len(fits.prompt) + 60} together.* holds 64;"
    ):
        small.complete([fits, replace(fits, most=60)])
    with pytest.raises(InputError, match=f"has {len(guided.negative or ())} tokens") as refused:
        small.complete([guided])
    assert refused.value.field == "prompt"
    with pytest.raises(InputError, match="holds 64;"):
        small.score([[5] * 60], [[5] * 5])


def test_a_context_is_no_longer_than_the_networks() -> None:
    assert PtBackend(small_network(), tiny_vocabulary(), context=10**6).context == 4096


def test_an_answer_that_fills_the_context_ends_like_the_slow_look() -> None:
    ask = question("sea", most=60, sampling=WIDE)
    small = PtBackend(small_network(), tiny_vocabulary(), context=60 + len(ask.prompt))
    assert small.complete([ask]) == [slow_answer(small_network(), ask)]


def test_scores_are_log_probabilities_over_the_whole_vocabulary(backend: PtBackend) -> None:
    generator = np.random.default_rng(1)
    prompts = [generator.integers(0, 1960, count).tolist() for count in (1, 40, 7)]
    answers = [generator.integers(0, 1960, count).tolist() for count in (150, 0, 64)]
    for prompt, answer, scored in zip(prompts, answers, backend.score(prompts, answers), strict=True):
        ours = scored.log_probs
        logits = slow_logits(backend.network, prompt + answer)[len(prompt) - 1 : -1].astype(np.float64)
        every = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
        expected = every[np.arange(len(answer)), answer]
        assert ours.dtype == torch.float32 and ours.device.type == "cpu" and ours.shape == (len(answer),)
        np.testing.assert_allclose(ours.numpy(), expected, rtol=0, atol=1e-5)


def test_a_greedy_answer_scores_best_of_all(backend: PtBackend) -> None:
    ask = question(most=1, sampling=GREEDY)
    best = backend.complete([ask])[0].tokens
    others = [(token,) for token in range(0, 1960, 70) if token not in best]
    best_score, *scores = backend.score([ask.prompt] * (1 + len(others)), [best, *others])
    assert best_score.log_probs > max(score.log_probs for score in scores)
    assert best_score.ranks.item() == 1 < min(score.ranks.item() for score in scores)


def test_debug_tells_what_was_allowed_and_picked(backend: PtBackend, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="acestep.planner.grammar")
    quiet = question(grammar=codes_grammar(0.4, 64), sampling=GREEDY)
    _, loud = backend.complete([quiet, replace(quiet, debug=True)])
    first, second, _ = (backend.vocabulary.pieces[token].decode() for token in loud.tokens)
    assert caplog.messages == [
        f"answer 1, codes: 0 of 2: 64 allowed, picked '{first}'",
        f"answer 1, codes: 1 of 2: 64 allowed, picked '{second}'",
        "answer 1, codes: 2 of 2: 1 allowed, picked '<|im_end|>'",
    ]


def test_a_network_that_breaks_is_an_error() -> None:
    network, vocabulary = load_language_model(TINY_LM, torch.float32)
    network.model.norm.weight.fill_(torch.nan)
    with pytest.raises(GenerationError, match="NaN or infinite"):
        PtBackend(network, vocabulary).complete([question(grammar=_planning())])
