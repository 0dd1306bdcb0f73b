"""The desk where tokens are picked, given rows by hand instead of by vLLM."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from vllm_support import guided_codes

from acestep.errors import GenerationError, WeightsError
from acestep.planner.answers import codes_grammar
from acestep.planner.ask import Ask
from acestep.planner.backends.vllm_processor import Desk, Writing
from acestep.planner.token_mask import TokenMask

from planner_support import GREEDY, question, tiny_vocabulary

SIZE = tiny_vocabulary().size


def _desk(*asks: Ask) -> tuple[Desk, list[Writing], list[list[int]]]:
    """A desk with every half of every ask in a row, in order; and vLLM's lists of what it wrote there."""
    desk = Desk(tiny_vocabulary(), TokenMask(tiny_vocabulary().pieces))
    answers = [Writing.of(index, ask, number=100 + index) for index, ask in enumerate(asks)]
    desk.open(answers)
    written: list[list[int]] = []
    for answer in answers:
        for half, _ in enumerate(answer.prompts):
            written.append([])
            desk.seat(len(written) - 1, {"answer": answer.number, "half": half}, written[-1])
    return desk, answers, written


def _logits(rows: int, seed: int = 0) -> Tensor:
    return torch.randn(rows, SIZE, generator=torch.Generator().manual_seed(seed)) * 3


def test_one_finite_logit_is_left_and_both_halves_have_the_same() -> None:
    desk, answers, _ = _desk(*guided_codes(2), question(most=3))
    settled = desk.settle(_logits(5))
    assert desk.problem is None
    assert settled.isfinite().sum(-1).tolist() == [1] * 5
    first, again, second, also, free = settled.argmax(-1).tolist()
    assert (first, second) == (again, also)
    assert [answer.tokens for answer in answers] == [[first], [second], [free]]


def test_rows_of_others_are_left_alone() -> None:
    desk, _, _ = _desk(*guided_codes(1))
    desk.seat(2, None, [])
    logits = _logits(4)
    settled = desk.settle(logits.clone())
    assert settled[2:].equal(logits[2:])


def test_a_row_that_goes_to_another_request_is_not_ours_any_more() -> None:
    desk, (answer,), _ = _desk(question(sampling=GREEDY))
    desk.seat(0, {}, [])
    logits = _logits(1)
    assert desk.settle(logits.clone()).equal(logits)
    assert answer.tokens == []


@pytest.mark.parametrize("swap", [True, False])
def test_rows_move(swap: bool) -> None:
    desk, answers, _ = _desk(question(sampling=GREEDY), question(sampling=GREEDY))
    desk.move(0, 1, swap)
    logits = _logits(2)
    likeliest = logits.argmax(-1).tolist()
    desk.settle(logits)
    assert answers[0].tokens == [likeliest[1]]
    assert answers[1].tokens == ([likeliest[0]] if swap else [])


def test_rows_swap_with_empty_places_and_leave() -> None:
    desk, (answer,), _ = _desk(question(sampling=GREEDY))
    desk.move(0, 3, True)
    desk.move(1, 2, True)
    logits = _logits(4)
    desk.settle(logits)
    assert logits[3].isfinite().sum() == 1 and logits[:3].isfinite().all()
    desk.leave(3)
    desk.leave(3)
    desk.settle(_logits(4))
    assert len(answer.tokens) == 1


@pytest.mark.parametrize(("half", "name"), [(0, "prompt"), (1, "negative prompt")])
def test_a_missing_half_is_a_problem_and_nothing_is_picked(half: int, name: str) -> None:
    desk, answers, _ = _desk(*guided_codes(2))
    desk.leave(2 + half)
    logits = _logits(4)
    assert desk.settle(logits.clone()).equal(logits)
    assert isinstance(desk.problem, GenerationError)
    assert str(desk.problem).startswith(f"vLLM left the {name} of answer 1 out of a step")
    assert [answer.tokens for answer in answers] == [[], []]


def test_an_answer_whose_halves_are_both_missing_waits() -> None:
    desk, answers, _ = _desk(*guided_codes(2))
    desk.leave(0)
    desk.leave(1)
    desk.settle(_logits(4))
    assert desk.problem is None
    assert [len(answer.tokens) for answer in answers] == [0, 1]


@pytest.mark.parametrize(
    ("told", "found"), [([], "0 tokens .* where 1 were"), ([1, 2], "2 tokens"), ([1], "1 tokens .* where 1 were")]
)
def test_what_vllm_wrote_has_to_be_what_was_picked(told: list[int], found: str) -> None:
    desk, answers, written = _desk(*guided_codes(1))
    desk.settle(_logits(2))
    written[0].extend(answers[0].tokens)
    written[1].extend(told)
    desk.settle(_logits(2))
    with pytest.raises(GenerationError, match=f"behind the negative prompt of answer 0.*|{found}"):
        raise desk.problem
    assert len(answers[0].tokens) == 1


@pytest.mark.parametrize("broken", [torch.nan, torch.inf, -torch.inf])
def test_broken_logits_are_a_problem_only_in_rows_of_ours(broken: float) -> None:
    desk, _, _ = _desk(question())
    logits = _logits(2)
    logits[1, 5] = broken
    desk.settle(logits)
    assert desk.problem is None
    desk, _, _ = _desk(question())
    desk.settle(logits.flip(0))
    assert isinstance(desk.problem, GenerationError)


def test_codes_the_vocabulary_lacks_are_a_problem_and_the_next_answers_have_none() -> None:
    desk, _, _ = _desk(question(grammar=codes_grammar(1.0, 5000)))
    desk.settle(_logits(1))
    assert isinstance(desk.problem, WeightsError)
    desk.open(())
    assert desk.problem is None


def test_what_is_forced_uses_no_number() -> None:
    desk, (answer,), written = _desk(question(grammar=codes_grammar(0.4, 7)))
    for seed in range(2):
        desk.settle(_logits(1, seed))
        written[0].append(answer.tokens[-1])
    numbers_left = answer.draws.many(3)
    desk, (again,), written = _desk(question(grammar=codes_grammar(0.4, 7)))
    for seed in range(3):
        desk.settle(_logits(1, seed))
        written[0].append(again.tokens[-1])
    assert again.is_finished and again.tokens[-1] == tiny_vocabulary().end_of_turn
    assert again.draws.many(3).tolist() == numbers_left.tolist()
