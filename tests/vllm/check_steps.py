"""What happens where vLLM would not keep the halves of guided answers in step, and where a listener stops them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest
from vllm_support import LONG, asks_of_every_kind, guided_codes

from acestep.errors import CancelledError, GenerationError
from acestep.planner.ask import Ask
from acestep.planner.backends.pt import PtBackend
from acestep.planner.backends.vllm import VllmBackend
from acestep.planner.backends.vllm_processor import Writing

from planner_support import question

ALONE = r"vLLM left the negative prompt of answer \d out of a step that had its other half"


@pytest.fixture
def careless(narrow: VllmBackend) -> Iterator[VllmBackend]:
    """The narrow engine, given all there is at once."""
    honest, narrow.limits = narrow.limits, replace(narrow.limits, rows=99, prompts=9999, blocks=9999)
    yield narrow
    narrow.limits = honest


def _works_again(backend: VllmBackend, reference: PtBackend) -> None:
    songs = guided_codes(2)
    assert backend.complete(songs) == reference.complete(songs)
    assert not backend.engine.has_unfinished_requests()


def test_a_pair_without_a_row_for_its_second_half_fails(careless: VllmBackend, reference: PtBackend) -> None:
    with pytest.raises(GenerationError, match=ALONE):
        careless.complete([question(most=9), *guided_codes(2)])
    _works_again(careless, reference)


def test_a_pair_whose_second_prompt_waits_fails(careless: VllmBackend, reference: PtBackend) -> None:
    first, second = guided_codes(2, words=LONG)
    longer = replace(second, negative=first.prompt[::-1])
    assert len(first.prompt) * 2 < 514 < len(first.prompt) * 3
    with pytest.raises(GenerationError, match="out of step"):
        careless.complete([first, longer])
    _works_again(careless, reference)


def test_a_pair_that_does_not_stay_in_the_cache_fails(careless: VllmBackend, reference: PtBackend) -> None:
    songs = guided_codes(2, 35.0)
    heard: list[int] = []
    with pytest.raises(GenerationError, match="out of step"):
        careless.complete(songs, lambda index, tokens: heard.append(index))
    assert len(heard) > 100  # long after the beginning
    _works_again(careless, reference)


def test_within_its_limits_the_same_engine_keeps_step(narrow: VllmBackend, reference: PtBackend) -> None:
    for songs in (
        [question(most=9), *guided_codes(2)],
        guided_codes(2, words=LONG),
        guided_codes(2, 35.0),
    ):
        assert narrow.complete(songs) == reference.complete(songs)


@pytest.mark.parametrize("calls", [1, 2, 40])
def test_a_listener_that_raises_ends_all_and_leaves_the_engine_usable(
    narrow: VllmBackend, reference: PtBackend, calls: int
) -> None:
    heard: list[int] = []

    def stop(index: int, tokens: Sequence[int]) -> None:
        heard.append(index)
        if len(heard) == calls:
            raise CancelledError("stopped")

    with pytest.raises(CancelledError, match="stopped"):
        narrow.complete(guided_codes(4), stop)
    assert len(heard) == calls
    _works_again(narrow, reference)


def test_more_songs_than_fit_are_answered_in_turns(narrow: VllmBackend, reference: PtBackend) -> None:
    songs = [*guided_codes(5), *asks_of_every_kind()[:1]]
    assert narrow.complete(songs) == reference.complete(songs)


def test_new_tokens_are_heard_as_they_come(narrow: VllmBackend) -> None:
    asks = [*guided_codes(3), question("free", most=4)]
    heard: list[tuple[int, Sequence[int]]] = []
    answers = narrow.complete(asks, lambda index, tokens: heard.append((index, tuple(tokens))))
    for index, answer in enumerate(answers):
        assert sum((tokens for number, tokens in heard if number == index), ()) == answer.tokens
    assert [index for index, _ in heard[:4]] == [0, 1, 0, 1]


def test_limits_are_those_of_the_engine(narrow: VllmBackend) -> None:
    limits = narrow.limits
    assert (limits.rows, limits.prompts, limits.blocks, limits.block) == (4, 514, 19, 32)


def test_groups_keep_order_and_fit(narrow: VllmBackend) -> None:
    def sizes(asks: Sequence[Ask]) -> list[int]:
        writings = [Writing.of(index, ask, number=index) for index, ask in enumerate(asks)]
        groups = list(narrow.limits.groups(writings))
        assert [each for group in groups for each in group] == writings
        return [len(group) for group in groups]

    assert sizes([]) == []
    assert sizes(guided_codes(5)) == [2, 2, 1]  # rows
    assert sizes([question(most=5)] * 9) == [4, 4, 1]
    assert sizes(guided_codes(3, words=LONG * 3)) == [1, 1, 1]
    assert sizes(guided_codes(2, 40.0)) == [1, 1]  # blocks
