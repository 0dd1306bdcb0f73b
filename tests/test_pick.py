"""Picking a token: every step against plain Python, ties, borders, and rows that do not know each other."""

from __future__ import annotations

import logging
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from acestep.errors import GenerationError
from acestep.planner.answers import codes_grammar
from acestep.planner.ask import Sampling
from acestep.planner.pick import candidates, draw, guided, log_pick, penalised, pick, refuse_broken

from planner_support import slow_draw, slow_guided, slow_penalised, slow_probabilities

PLAIN = Sampling(temperature=1.0, top_p=1.0)
ALMOST_ONE = math.nextafter(1.0, 0.0)
SAMPLINGS = [
    Sampling(temperature=temperature, top_k=top_k, top_p=top_p)
    for temperature in (0.0, 0.3, 0.85, 2.0)
    for top_k in (0, 1, 5, 10_000)
    for top_p in (1e-9, 0.2, 0.9, 1.0)
]


def _random_logits(generator: np.random.Generator, kind: str) -> np.ndarray:
    """Rows as networks and grammars make them: smooth, with many equal values, mostly forbidden, flat."""
    count = int(generator.integers(1, 80))
    smooth = generator.normal(0, 3, count).astype(np.float32)
    match kind:
        case "equal":
            return np.round(smooth)
        case "forbidden":
            forbidden = generator.random(count) < 0.8
            forbidden[generator.integers(count)] = False
            return np.where(forbidden, np.float32(-np.inf), np.round(smooth, 1))
        case "flat":
            return np.full(count, smooth[0])
    return smooth


@pytest.mark.parametrize("kind", ["smooth", "equal", "forbidden", "flat"])
@pytest.mark.parametrize("sampling", SAMPLINGS, ids=str)
def test_probabilities_and_draws_are_those_of_a_sorted_list(sampling: Sampling, kind: str) -> None:
    generator = np.random.default_rng(7)
    for _ in range(12):
        logits = _random_logits(generator, kind)
        expected = slow_probabilities(logits.tolist(), sampling)
        ours = candidates(torch.from_numpy(logits), sampling)
        assert ours.dtype == torch.float64
        assert ours.tolist() == pytest.approx(expected, abs=1e-14)
        assert [value > 0 for value in ours.tolist()] == [value > 0 for value in expected]
        for number in (0.0, *generator.random(4), ALMOST_ONE):
            assert pick(torch.from_numpy(logits), sampling, number) == slow_draw(expected, number)


@pytest.mark.parametrize("sampling", [PLAIN, Sampling(), Sampling(top_k=40), Sampling(temperature=0.0)], ids=str)
def test_what_is_forbidden_may_be_masked_or_absent(sampling: Sampling) -> None:
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn(5000, generator=generator)
    allowed = torch.randperm(5000, generator=generator)[:700].sort().values
    masked = torch.full_like(logits, -torch.inf).scatter(0, allowed, logits[allowed])
    for number in torch.rand(50, generator=generator, dtype=torch.float64).tolist():
        assert pick(masked, sampling, number) == allowed[pick(logits[allowed], sampling, number)]


@pytest.mark.parametrize("sampling", [PLAIN, Sampling(), Sampling(top_k=9), Sampling(temperature=0.0)], ids=str)
def test_rows_are_picked_as_if_each_were_alone(sampling: Sampling) -> None:
    generator = torch.Generator().manual_seed(4)
    logits = torch.randn(3, 5, 600, generator=generator) * torch.tensor([0.1, 2.0, 9.0]).view(3, 1, 1)
    numbers = torch.rand(3, 5, generator=generator, dtype=torch.float64)
    picked = draw(candidates(logits, sampling), numbers)
    assert picked.shape == (3, 5)
    alone = [pick(row, sampling, float(n)) for row, n in zip(logits.flatten(0, 1), numbers.flatten(), strict=True)]
    assert picked.flatten().tolist() == alone


def test_a_published_size_row_is_picked_as_by_a_sorted_list() -> None:
    logits = torch.randn(64_001, generator=torch.Generator().manual_seed(5)) * 1.5
    expected = slow_probabilities(logits.tolist(), Sampling())
    ours = candidates(logits, Sampling())
    torch.testing.assert_close(ours, torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=0)
    assert 1024 < int((ours > 0).sum()) < 64_001


@pytest.mark.parametrize("numbers", [1, 10, 4096])
def test_evenly_spread_numbers_come_out_as_often_as_the_probabilities_say(numbers: int) -> None:
    probabilities = candidates(torch.tensor([0.0, 1.0, -torch.inf, 2.0, 0.5]), PLAIN)
    spread = (torch.arange(numbers, dtype=torch.float64) + 0.5) / numbers
    picked = draw(probabilities.expand(numbers, -1), spread)
    assert (picked.bincount(minlength=5) - probabilities * numbers).abs().max() <= 1
    assert picked.tolist() == sorted(picked.tolist())


@pytest.mark.parametrize("number", [0.0, 0.25, 0.5, ALMOST_ONE])
def test_nothing_without_probability_is_drawn(number: float) -> None:
    for row in ([0.0, 0.0, 1.0, 0.0], [0.0, 0.5, 0.0, 0.5, 0.0], [0.3, 0.3, 0.3, 0.0], [0.0, 1e-300, 0.0]):
        probabilities = torch.tensor(row, dtype=torch.float64)
        assert probabilities[draw(probabilities, number)] > 0


def test_a_sum_has_to_exceed_the_number_not_to_reach_it() -> None:
    halves = torch.tensor([0.5, 0.0, 0.5], dtype=torch.float64)
    assert [int(draw(halves, number)) for number in (0.0, math.nextafter(0.5, 0), 0.5, ALMOST_ONE)] == [0, 0, 2, 2]


@pytest.mark.parametrize(("top_p", "kept"), [(1e-12, 1), (0.1, 1), (0.25, 3), (0.5, 5), (0.9, 9), (0.91, 10)])
def test_of_equally_likely_tokens_top_p_keeps_the_first(top_p: float, kept: int) -> None:
    probabilities = candidates(torch.full((10,), -3.25), replace(PLAIN, top_p=top_p))
    assert probabilities.nonzero()[:, 0].tolist() == list(range(kept))
    assert probabilities.sum().item() == pytest.approx(1.0)


def test_a_share_that_rounding_keeps_from_being_reached_keeps_all() -> None:
    logits = torch.randn(64, 999, generator=torch.Generator().manual_seed(11)) / 4
    weights = (logits.double() - logits.amax(-1, keepdim=True)).exp().sort(-1, descending=True).values
    assert (weights.cumsum(-1)[:, -1] < ALMOST_ONE * weights.sum(-1)).any()
    kept = candidates(logits, replace(PLAIN, top_p=ALMOST_ONE)).count_nonzero(-1)
    assert int(kept.min()) >= 998 and int(kept.max()) == 999


def test_top_p_counts_after_temperature_and_after_top_k() -> None:
    logits = torch.tensor([3.0, 4.0, 5.0, 0.0]).log()  # 3/12, 4/12, 5/12 and nothing to speak of
    logits[3] = -torch.inf
    assert candidates(logits, replace(PLAIN, top_p=0.6)).count_nonzero() == 2
    assert candidates(logits, replace(PLAIN, top_p=0.6, temperature=0.1)).count_nonzero() == 1
    assert candidates(logits, replace(PLAIN, top_p=0.55, top_k=2)).count_nonzero() == 1  # 5/9 of what is left
    assert candidates(logits, replace(PLAIN, top_p=0.56, top_k=2)).count_nonzero() == 2


def test_top_k_keeps_all_that_equal_its_last() -> None:
    logits = torch.tensor([1.0, 2.0, 1.0, 0.0, 1.0])
    assert candidates(logits, replace(PLAIN, top_k=2)).nonzero()[:, 0].tolist() == [0, 1, 2, 4]
    assert candidates(logits, replace(PLAIN, top_k=1)).nonzero()[:, 0].tolist() == [1]


@pytest.mark.parametrize("temperature", [0.0, 1e-320, 1e-30])
def test_without_warmth_the_likeliest_is_certain(temperature: float) -> None:
    logits = torch.tensor([-torch.inf, 80.0, 90.0, 89.0, 90.0])
    sampling = replace(PLAIN, temperature=temperature)
    expected = [2, 2] if temperature == 0 else [2, 4]  # of equal ones temperature 0 takes the first
    assert [pick(logits, sampling, number) for number in (0.0, ALMOST_ONE)] == expected


def test_logits_of_any_size_overflow_nothing() -> None:
    logits = torch.tensor([3e38, 2.9e38, -3e38, -torch.inf])
    assert candidates(logits, Sampling()).tolist() == [1.0, 0.0, 0.0, 0.0]


def test_half_precision_is_computed_in_single() -> None:
    logits = (torch.randn(900, generator=torch.Generator().manual_seed(6)) * 3).bfloat16()
    assert torch.equal(candidates(logits, Sampling(top_k=50)), candidates(logits.float(), Sampling(top_k=50)))
    assert guided(logits, logits, 2.0).dtype == torch.float32


@pytest.mark.parametrize("scale", [1.0, 2.0, 7.5])
def test_guidance_leads_away_from_the_negative_prompt(scale: float) -> None:
    prompt, negative = torch.randn(2, 500, generator=torch.Generator().manual_seed(8)) * 4
    expected = slow_guided(prompt.numpy(), negative.numpy(), scale)
    torch.testing.assert_close(guided(prompt, negative, scale), torch.from_numpy(expected), rtol=0, atol=1e-6)
    if scale == 1:
        torch.testing.assert_close(guided(prompt, negative, scale), prompt, rtol=0, atol=1e-6)


def test_guidance_and_penalty_take_a_value_per_row() -> None:
    prompt, negative = torch.randn(2, 3, 40, generator=torch.Generator().manual_seed(9))
    scales = torch.tensor([[1.0], [2.0], [3.0]])
    rows = [guided(prompt[i], negative[i], float(scales[i])) for i in range(3)]
    torch.testing.assert_close(guided(prompt, negative, scales), torch.stack(rows), rtol=0, atol=0)
    written = torch.tensor([[0, 5], [7, 7], [39, 0]])
    rows = [penalised(prompt[i], written[i], float(scales[i])) for i in range(3)]
    torch.testing.assert_close(penalised(prompt, written, scales), torch.stack(rows), rtol=0, atol=0)


@pytest.mark.parametrize("penalty", [0.5, 1.0, 1.3])
def test_the_penalty_acts_on_both_signs_once_and_on_nothing_else(penalty: float) -> None:
    logits = torch.tensor([2.0, -2.0, 0.0, 5.0, -torch.inf, 1.0])
    before = logits.clone()
    written = [1, 0, 0, 4, 1, 2]
    ours = penalised(logits, torch.tensor(written), penalty)
    assert torch.equal(ours, torch.from_numpy(slow_penalised(logits.numpy(), written, penalty)))
    assert torch.equal(ours[[3, 5]], logits[[3, 5]])
    assert torch.equal(logits, before)
    if penalty > 1:
        assert ours[0] < 2 and ours[1] < -2


def test_nothing_written_is_no_penalty() -> None:
    logits = torch.tensor([2.0, -2.0])
    assert torch.equal(penalised(logits, torch.tensor([], dtype=torch.int64), 1.5), logits)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_broken_logits_are_an_error(bad: float) -> None:
    logits = torch.zeros(2, 10)
    refuse_broken(logits)
    logits[1, 3] = bad
    with pytest.raises(GenerationError, match="NaN or infinite"):
        refuse_broken(logits)


def test_entropy_falls_with_every_setting_that_narrows() -> None:
    logits = torch.randn(300, generator=torch.Generator().manual_seed(10))

    def entropy(sampling: Sampling) -> float:
        return _entropy(candidates(logits, sampling))

    warm = [entropy(replace(PLAIN, temperature=t)) for t in (0.0, 0.2, 0.6, 1.0, 2.0)]
    nucleus = [entropy(replace(PLAIN, top_p=p)) for p in (0.01, 0.3, 0.6, 0.9, 1.0)]
    most = [entropy(replace(PLAIN, top_k=k)) for k in (1, 3, 30, 200, 300)]
    for entropies in (warm, nucleus, most):
        assert entropies == sorted(entropies)
        assert entropies[0] == 0
        assert len(set(entropies)) == 5
    assert most[-1] == entropy(PLAIN)


def _entropy(probabilities: Tensor) -> float:
    possible = probabilities[probabilities > 0]
    return abs(float((possible * possible.log()).sum()))


def test_a_pick_is_logged_with_its_place(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="acestep.planner.grammar")
    log_pick(3, codes_grammar(10.0, 1000).start, 1000, b"<|audio_code_7|>")
    log_pick(0, None, 1960, b"\xff\n")
    assert caplog.messages == [
        "answer 3, codes: 0 of 50: 1000 allowed, picked '<|audio_code_7|>'",
        "answer 0, free: 1960 allowed, picked '\ufffd\\n'",
    ]
    assert {record.name for record in caplog.records} == {"acestep.planner.grammar"}
