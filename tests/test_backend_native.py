"""The native backend answers what the reference backend answers, token for token, and does less for it."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product

import pytest
import torch

from acestep.errors import GenerationError, InputError
from acestep.models.qwen3 import Qwen3Decoder, Qwen3Sizes
from acestep.planner.answers import codes_grammar, planning_grammar, writing_grammar
from acestep.planner.ask import Ask, Completion, Sampling
from acestep.planner.backends.answer import Answer
from acestep.planner.backends.codes_run import CodesRun, repeat, walk
from acestep.planner.backends.contexts import Contexts, read_prompts
from acestep.planner.backends.native import NativeBackend, load_native
from acestep.planner.backends.pt import PtBackend, load_pt
from acestep.planner.chain import ChainOfThought
from acestep.planner.grammar import Grammar
from acestep.planner.segments import Choice, Codes, Control

from planner_support import GREEDY, TINY_CODES, TINY_LM, question, small_network, tiny_vocabulary

LONG = "a very long story of the sea, " * 12
GIVEN = ChainOfThought(bpm=97, caption="Warm pads: and 'rain'", keyscale="F# minor", language="no")
WIDE = Sampling(temperature=1.0, top_p=1.0)
WAYS = {
    "usual": Sampling(),
    "greedy": GREEDY,
    "top-k": Sampling(top_k=7, top_p=1.0),
    "penalty": Sampling(repetition_penalty=1.3),
    "hot": Sampling(temperature=1.6, top_k=50, top_p=0.7, repetition_penalty=0.9),
}
GRAMMARS = {
    "free": None,
    "planning": planning_grammar(caption_pieces=12),
    "given": planning_grammar(GIVEN),
    "writing": writing_grammar(caption_pieces=6, lyrics_pieces=20),
    "codes": codes_grammar(7.0, TINY_CODES),
    "few codes": codes_grammar(6.1, 3),
    "one code": codes_grammar(1.0, 1),
    "open end": codes_grammar(None, 8, longest_s=13.0),
}
Fed = list[tuple[int, int]]


@pytest.fixture(scope="module")
def reference() -> PtBackend:
    return PtBackend(small_network(), tiny_vocabulary())


def native(network: torch.nn.Module, **options: object) -> NativeBackend:
    """The same weights in our decoder."""
    config, weights = network.config, network.model.state_dict()
    names = [name for name in Qwen3Sizes.__dataclass_fields__ if name != "rope_theta"]
    sizes = Qwen3Sizes(
        **{name: getattr(config, name) for name in names}, rope_theta=config.rope_parameters["rope_theta"]
    )
    return NativeBackend(Qwen3Decoder(sizes, lambda name: weights[name].clone()), tiny_vocabulary(), **options)


@pytest.fixture(scope="module")
def backend() -> NativeBackend:
    return native(small_network())


def asks(grammar: str) -> list[Ask]:
    """A grammar under every way to sample, with guidance and without, no two prompts of one length."""
    return [
        question(
            "rain " * number,
            grammar=GRAMMARS[grammar],
            negative="NO USER INPUT" if scale > 1 else None,
            sampling=replace(way, guidance=scale),
            most=90,
            seed=(number, 1),
        )
        for number, (way, scale) in enumerate(product(WAYS.values(), (1.0, 2.5)), 1)
    ]


@pytest.mark.parametrize("grammar", GRAMMARS)
def test_answers_are_those_of_the_reference(backend: NativeBackend, reference: PtBackend, grammar: str) -> None:
    assert backend.complete(asks(grammar)) == reference.complete(asks(grammar))


def test_the_tiny_planner_answers_like_the_reference() -> None:
    ours, theirs = (load(TINY_LM, torch.device("cpu"), torch.float32) for load in (load_native, load_pt))
    some = [ask for grammar in ("planning", "codes", "writing") for ask in asks(grammar)[:4]]
    assert ours.name == "native"
    assert ours.complete(some) == theirs.complete(some)


@pytest.fixture(scope="module")
def together(backend: NativeBackend) -> list[Completion]:
    return backend.complete(mixed())


def mixed() -> list[Ask]:
    """Different grammars at once, which begin and end at different times."""
    return [asks(grammar)[number] for number, grammar in enumerate(GRAMMARS)]


def test_different_questions_at_once_are_answered_like_the_reference(
    together: list[Completion], reference: PtBackend
) -> None:
    assert together == reference.complete(mixed())


@pytest.mark.parametrize("index", range(len(GRAMMARS)))
def test_an_answer_does_not_depend_on_its_company(
    backend: NativeBackend, together: list[Completion], index: int
) -> None:
    assert backend.complete([mixed()[index]]) == [together[index]]


def test_codes_of_songs_that_end_apart_are_each_songs_own(backend: NativeBackend, reference: PtBackend) -> None:
    some = [
        replace(asks("codes")[2 * n + 1], start=codes_grammar(seconds, 200 + n).start, most=most)
        for n, (seconds, most) in enumerate([(12.0, 90), (0.2, 90), (5.0, 90), (9.0, 31)])
    ]
    found = backend.complete(some)
    assert found == reference.complete(some)
    assert [(len(answer.tokens), answer.finished) for answer in found] == [
        (61, True),
        (2, True),
        (26, True),
        (31, False),
    ]


def test_a_text_may_stand_before_and_behind_codes(backend: NativeBackend, reference: PtBackend) -> None:
    words = Choice("word", (b"blue ", b"green "))
    end = Control("end of turn", b"<|im_end|>")
    grammar = Grammar(
        (words, Codes("codes", 3, 9, 50), end, words, Codes("more", 2, 2, 50), Control("think", b"<think>"))
    )
    some = [replace(ask, start=grammar.start) for ask in asks("codes")]
    found = backend.complete(some)
    assert found == reference.complete(some)
    assert all(answer.finished for answer in found)


def test_codes_may_follow_codes(backend: NativeBackend, reference: PtBackend) -> None:
    codes, end = Codes("codes", 4, 4, 50), Control("end of turn", b"<|im_end|>")
    some = [replace(ask, start=Grammar((codes, end, codes, end)).start) for ask in asks("codes")]
    assert backend.complete(some) == reference.complete(some)


@pytest.mark.parametrize("grammar", ["codes", "open end", "few codes"])
def test_steps_of_tensors_alone_give_the_same_codes(backend: NativeBackend, grammar: str) -> None:
    def runs(play: object) -> list[list[list[int]]]:
        answers = [Answer.of(index, ask) for index, ask in enumerate(asks(grammar))]
        contexts = Contexts(backend.network, answers)
        head = range(backend.vocabulary.end_of_turn, backend.vocabulary.size)
        run = CodesRun(contexts, head, head.start, backend.vocabulary.first_code, play)
        written = [run.write()]
        for answer, tokens in zip(answers, written[0], strict=True):
            for token in tokens:
                answer.write(token, backend.vocabulary, backend.mask)
        return [*written, run.write()]

    with torch.inference_mode():
        assert runs(repeat) == runs(walk)


@pytest.fixture
def fed(backend: NativeBackend) -> Iterator[Fed]:
    """Tokens and rows of every pass through the network."""
    seen: Fed = []
    handle = backend.network.register_forward_hook(
        lambda module, given, result: seen.append((len(given[0]), len(given[2].lengths)))
    )
    yield seen
    handle.remove()


def test_what_prompts_have_in_common_is_read_once(backend: NativeBackend, fed: Fed) -> None:
    common = question(LONG).prompt
    prompts = [(*common, *question(words).prompt) for words in ("one", "two", "one")]
    ask = question(negative=LONG, sampling=Sampling(guidance=2.0), grammar=codes_grammar(0.4, 50))
    found = backend.complete([replace(ask, prompt=prompt, seed=(n,)) for n, prompt in enumerate(prompts)])
    read_before = sum(tokens for tokens, rows in fed if rows < 6)
    assert read_before < len(common) + len(ask.negative) + 10
    assert [tokens for tokens, rows in fed if rows == 6] == [6, 6]
    assert found[2] != found[0]


def test_reading_together_is_reading_alone(backend: NativeBackend) -> None:
    texts = [(5, 6, 7, 8), (5, 6, 9), (5, 6, 7, 8), (5,)], [(5, 6, 7), (5, 6, 7)]
    with torch.inference_mode():
        cache = read_prompts(backend.network, texts, 9)
        assert cache.lengths == [3, 2, 3, 0, 2, 2] and cache.room == 9
        for row, text in enumerate([*texts[0], *texts[1]]):
            alone = read_prompts(backend.network, [[text]], 9)
            torch.testing.assert_close(cache.keys[:, row], alone.keys[:, 0], rtol=0, atol=1e-5)
            torch.testing.assert_close(cache.values[:, row], alone.values[:, 0], rtol=0, atol=1e-5)


def test_what_is_forced_costs_no_pass_of_its_own(backend: NativeBackend, fed: Fed) -> None:
    heard: list[int] = []
    ask = question(grammar=planning_grammar(replace(GIVEN, duration=None, timesignature="4")))
    answer = backend.complete([ask], lambda index, tokens: heard.append(len(tokens)))[0]
    drawn = [tokens for tokens, _ in fed if tokens]
    assert sum(heard) == len(answer.tokens) > 30
    assert len(drawn) <= len(heard) + 1 < 6


def test_an_answer_that_is_forced_whole_needs_no_network(backend: NativeBackend, fed: Fed) -> None:
    given = replace(GIVEN, duration=30, timesignature="4")
    answer = backend.complete([question(grammar=planning_grammar(given))])[0]
    assert answer.finished and not fed


def test_half_precision_stays_inside_the_grammar() -> None:
    ours = load_native(TINY_LM, torch.device("cpu"), torch.bfloat16)
    ask = question(grammar=codes_grammar(2.0, 50), negative="NO", sampling=Sampling(guidance=3.0))
    *codes, end = ours.complete([ask])[0].tokens
    assert len(codes) == 10 and end == ours.vocabulary.end_of_turn
    assert all(ours.vocabulary.code_of(token) in range(50) for token in codes)
    assert ours.complete([question(grammar=GRAMMARS["writing"])])[0].finished


@pytest.mark.parametrize("most", [0, 1, 4, 25, 26, 50, 51])
def test_an_answer_is_cut_where_it_has_to_be(backend: NativeBackend, reference: PtBackend, most: int) -> None:
    some = [replace(ask, most=most) for grammar in ("planning", "codes") for ask in asks(grammar)[:3]]
    assert backend.complete(some) == reference.complete(some)


def test_each_token_is_heard_once_in_order(backend: NativeBackend, together: list[Completion]) -> None:
    heard: dict[int, list[int]] = {index: [] for index in range(len(together))}
    backend.complete(mixed(), lambda index, tokens: heard[index].extend(tokens))
    assert [tuple(tokens) for tokens in heard.values()] == [answer.tokens for answer in together]


def test_what_a_listener_raises_ends_it_and_nothing_is_left(
    backend: NativeBackend, together: list[Completion]
) -> None:
    class EnoughError(Exception):
        pass

    def hear(index: int, tokens: Sequence[int]) -> None:
        if index == 4:
            raise EnoughError

    with pytest.raises(EnoughError):
        backend.complete(mixed(), hear)
    assert backend.complete(mixed()) == together


def test_more_than_the_context_holds_is_refused_with_the_counts() -> None:
    small = native(small_network(), context=64)
    fits, guided = question(most=10), question(negative=LONG, sampling=Sampling(guidance=2.0), most=10)
    assert len(small.complete([replace(fits, most=64 - len(fits.prompt))])[0].tokens) == 64 - len(fits.prompt)
    with pytest.raises(
        InputError, match=f"{len(fits.prompt)} tokens .* {len(fits.prompt) + 60} together.* holds 64;"
    ):
        small.complete([fits, replace(fits, most=60)])
    with pytest.raises(InputError, match=f"has {len(guided.negative or ())} tokens") as refused:
        small.complete([guided])
    assert refused.value.field == "prompt"
    with pytest.raises(InputError, match="holds 64;"):
        small.score([[5] * 60], [[5] * 5])
    assert native(small_network(), context=10**6).context == 4096


def test_scores_are_those_of_the_reference(backend: NativeBackend, reference: PtBackend) -> None:
    generator = torch.Generator().manual_seed(1)
    prompts, answers = (
        [torch.randint(0, 1960, (count,), generator=generator).tolist() for count in counts]
        for counts in ((1, 700, 7), (150, 0, 64))
    )
    for ours, theirs in zip(backend.score(prompts, answers), reference.score(prompts, answers), strict=True):
        assert ours.log_probs.dtype == torch.float32 and ours.log_probs.device.type == "cpu"
        torch.testing.assert_close(ours.log_probs, theirs.log_probs, rtol=0, atol=1e-4)


def test_debug_tells_what_the_reference_tells(
    backend: NativeBackend, reference: PtBackend, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="acestep.planner.grammar")
    told = []
    for each in (backend, reference):
        each.complete([replace(asks(grammar)[0], debug=True) for grammar in ("codes",)])
        each.complete([replace(asks("given")[0], debug=True)])
        each.complete([replace(asks("free")[0], debug=True, most=3)])
        told.append(list(caplog.messages))
        caplog.clear()
    assert told[0] == told[1] and len(told[0]) > 60


@pytest.mark.parametrize("grammar", ["planning", "codes", "free"])
def test_a_network_that_breaks_is_an_error(grammar: str) -> None:
    broken = native(small_network())
    broken.network.norm.fill_(torch.nan)
    with pytest.raises(GenerationError, match="NaN or infinite"):
        broken.complete([asks(grammar)[0]])
