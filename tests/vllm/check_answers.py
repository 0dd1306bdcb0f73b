"""Answers of vLLM are the reference's, token by token."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest
from vllm_support import GUIDED, LONG, asks_of_every_kind, guided_codes

from acestep.errors import InputError
from acestep.planner.answers import codes_grammar
from acestep.planner.ask import Completion, Sampling
from acestep.planner.backends.pt import PtBackend
from acestep.planner.backends.vllm import VllmBackend

from planner_support import TINY_CODES, question


@pytest.fixture(scope="module")
def expected(reference: PtBackend) -> list[Completion]:
    return reference.complete(asks_of_every_kind())


def test_the_asks_are_worth_comparing(expected: list[Completion]) -> None:
    assert {answer.finished for answer in expected} == {True, False}
    assert sum(len(set(answer.tokens)) > 5 for answer in expected) >= 7  # they do not say one thing again and again


def test_answers_of_a_mixed_batch_are_the_references(backend: VllmBackend, expected: list[Completion]) -> None:
    assert backend.complete(asks_of_every_kind()) == expected


def test_again_and_in_another_order_they_are_the_same(backend: VllmBackend, expected: list[Completion]) -> None:
    assert backend.complete(asks_of_every_kind()[::-1]) == expected[::-1]


@pytest.mark.parametrize("index", range(11))
def test_an_answer_alone_is_the_same(backend: VllmBackend, expected: list[Completion], index: int) -> None:
    assert backend.complete([asks_of_every_kind()[index]]) == [expected[index]]


def test_guided_codes_of_eight_songs_are_the_references(backend: VllmBackend, reference: PtBackend) -> None:
    songs = guided_codes(8, 20.0)
    answers = backend.complete(songs)
    assert answers == reference.complete(songs)
    assert [len(answer.tokens) for answer in answers] == [101] * 8
    assert len(set(answers)) == 8  # another seed, another song


def test_guidance_acts(backend: VllmBackend) -> None:
    plain = question(LONG[:70], grammar=codes_grammar(3.0, TINY_CODES), seed=(0, 5))
    assert backend.complete([plain]) != backend.complete(guided_codes(1))


def test_every_pick_is_logged_as_the_reference_logs_it(
    backend: VllmBackend, reference: PtBackend, caplog: pytest.LogCaptureFixture
) -> None:
    asks = [replace(ask, debug=True) for ask in asks_of_every_kind()]
    lines = []
    for each in (backend, reference):
        caplog.clear()
        with caplog.at_level(logging.INFO, "acestep.planner.grammar"):
            each.complete(asks)
        lines.append([record.getMessage() for record in caplog.records])
    assert lines[0] == lines[1] != []


@pytest.mark.parametrize(
    ("prompt", "negative", "most"), [(2000, None, 49), (10, 2040, 9)], ids=["prompt", "negative prompt"]
)
def test_what_is_longer_than_the_context_is_refused_in_the_same_words(
    backend: VllmBackend, reference: PtBackend, prompt: int, negative: int | None, most: int
) -> None:
    away = (1,) * negative if negative else None
    ask = replace(question(most=most), prompt=(1,) * prompt, negative=away, sampling=GUIDED if away else Sampling())
    said = []
    for each in (backend, reference):
        with pytest.raises(InputError) as refusal:
            each.complete([ask])
        said.append((str(refusal.value), refusal.value.field, refusal.value.value))
    assert said[0] == said[1]


def test_a_whole_context_is_answered(backend: VllmBackend, reference: PtBackend) -> None:
    text = tuple(backend.vocabulary.text(LONG * 11)[:2044])
    ask = replace(question(most=4), prompt=text, negative=text[::-1], sampling=GUIDED)
    assert len(text) + ask.most == backend.context == reference.context
    assert backend.complete([ask]) == reference.complete([ask])
