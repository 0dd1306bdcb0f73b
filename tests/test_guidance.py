"""Each kind of guidance against slow loops written from its formula, APG against diffusers too; padding; interval."""

# The slow references share one signature.

from __future__ import annotations

import math

import pytest
import torch
from diffusers.guiders.adaptive_projected_guidance import MomentumBuffer, normalized_guidance
from torch import Tensor

from acestep.sampling.guidance import GUIDANCE, Guidance, without_padding

Grid = list[list[float]]  # one song as [frame][channel] of Python floats (fp64)

SCALE = 7.0
LEVELS = (1.0, 0.9, 0.6, 0.3)
GUIDED = [name for name, kind in GUIDANCE.items() if kind.uses_null]


def _inputs(songs: int, frames: int, channels: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """A state and two velocities that are alike but not equal, as a network's are."""
    generator = torch.Generator().manual_seed(seed)
    x, v_cond, other = torch.randn(3, songs, frames, channels, generator=generator)
    return x, v_cond, v_cond + 0.7 * other


def _dot(a: list[float], b: list[float]) -> float:
    return math.fsum(p * q for p, q in zip(a, b, strict=True))


def _columns(grid: Grid) -> Grid:
    return [list(column) for column in zip(*grid, strict=True)]


class _SlowCfg:
    def combine(self, x: Grid, v_cond: Grid, v_null: Grid, t: float) -> Grid:
        return [
            [n + SCALE * (c - n) for c, n in zip(row_c, row_n, strict=True)]
            for row_c, row_n in zip(v_cond, v_null, strict=True)
        ]


class _SlowApg:
    def __init__(self) -> None:
        self.buffer: Grid = []

    def combine(self, x: Grid, v_cond: Grid, v_null: Grid, t: float) -> Grid:
        columns_c, columns_n = _columns(v_cond), _columns(v_null)
        self.buffer = self.buffer or [[0.0] * len(v_cond) for _ in columns_c]
        guided = []
        for channel, (c, n) in enumerate(zip(columns_c, columns_n, strict=True)):
            diff = [p - q - 0.75 * m for p, q, m in zip(c, n, self.buffer[channel], strict=True)]
            self.buffer[channel] = diff
            factor = min(1.0, 2.5 / math.sqrt(_dot(diff, diff)))
            diff = [factor * d for d in diff]
            length = math.sqrt(_dot(c, c))
            unit = [p / length for p in c]
            along = _dot(diff, unit)
            guided.append([p + (SCALE - 1) * (d - along * u) for p, d, u in zip(c, diff, unit, strict=True)])
        return _columns(guided)


class _SlowAdg:
    def combine(self, x: Grid, v_cond: Grid, v_null: Grid, t: float) -> Grid:
        return [self._frame(*rows, t) for rows in zip(x, v_cond, v_null, strict=True)]

    def _frame(self, x: list[float], v_cond: list[float], v_null: list[float], t: float) -> list[float]:
        weight = max(SCALE - 1, 0) + 1e-3
        a = [p - t * v for p, v in zip(x, v_cond, strict=True)]
        b = [p - t * v for p, v in zip(x, v_null, strict=True)]
        cosine = _dot(a, b) / math.sqrt(_dot(a, a) * _dot(b, b))
        theta = math.acos(min(max(cosine, -1 + 1e-6), 1 - 1e-6))
        target = min(max(weight * theta, -3.14 / 6), 3.14 / 6)
        d = [p - q for p, q in zip(a, b, strict=True)]
        along = _dot(d, b) / (_dot(b, b) + 1e-8)
        perpendicular = [p - along * q for p, q in zip(d, b, strict=True)]
        turn = math.sin(target) / math.sin(theta) if math.sin(theta) > 1e-3 else weight
        new = [math.cos(target) * p + turn * q for p, q in zip(a, perpendicular, strict=True)]
        return [(p - q) / t for p, q in zip(x, new, strict=True)]


SLOW = {"cfg": _SlowCfg, "apg": _SlowApg, "adg": _SlowAdg}


def _assert_near(ours: Tensor, reference: Tensor, tolerance: float = 1e-5) -> None:
    bound = tolerance * max(1.0, reference.abs().max().item())
    assert (ours.double() - reference.double()).abs().max().item() <= bound


def test_the_table_holds_the_four_kinds() -> None:
    assert list(GUIDANCE) == ["none", *SLOW]
    assert all(kind.name == name for name, kind in GUIDANCE.items())


@pytest.mark.parametrize("name", GUIDED)
def test_each_kind_is_its_formula_over_several_steps(name: str) -> None:
    lengths = [11, 7]
    ours, slow = GUIDANCE[name].make(SCALE), [SLOW[name]() for _ in lengths]
    for step, t in enumerate(LEVELS):
        inputs = _inputs(2, 11, 6, seed=step)
        combined = ours.combine(*inputs, t, lengths)
        assert combined.dtype == torch.float32
        for song, length in enumerate(lengths):
            x, v_cond, v_null = (value[song, :length].double().tolist() for value in inputs)
            reference = torch.tensor(slow[song].combine(x, v_cond, v_null, t), dtype=torch.float64)
            _assert_near(combined[song, :length], reference)


@pytest.mark.parametrize(("name", "strength"), [("apg", 0.01), ("apg", 5.0), ("adg", 0.01), ("adg", 5.0)])
def test_limits_hold_for_close_and_for_distant_predictions(name: str, strength: float) -> None:
    """Close predictions stay below the norm threshold and the angle limit, distant ones are cut by them."""
    x, v_cond, v_null = _inputs(1, 9, 5, seed=7)
    v_null = v_cond + strength * (v_null - v_cond)
    combined = GUIDANCE[name].make(SCALE).combine(x, v_cond, v_null, 0.5, [9])
    slow = SLOW[name]().combine(*(value[0].double().tolist() for value in (x, v_cond, v_null)), 0.5)
    _assert_near(combined[0], torch.tensor(slow, dtype=torch.float64))


@pytest.mark.parametrize("scale", [1.5, SCALE, 15.0])
def test_apg_is_what_the_ace_step_pipeline_of_diffusers_computes(scale: float) -> None:
    ours, buffer = GUIDANCE["apg"].make(scale), MomentumBuffer(momentum=-0.75)
    for step in range(6):
        x, v_cond, v_null = _inputs(3, 50, 64, seed=100 + step)
        reference = normalized_guidance(
            pred_cond=v_cond,
            pred_uncond=v_null,
            guidance_scale=scale - 1.0,
            momentum_buffer=buffer,
            eta=0.0,
            norm_threshold=2.5,
            use_original_formulation=True,
            norm_dim=(1,),
        )
        _assert_near(ours.combine(x, v_cond, v_null, 1.0 - step / 6, [50] * 3), reference)


def test_apg_adds_nothing_parallel_to_the_conditional_velocity() -> None:
    x, v_cond, v_null = _inputs(2, 40, 8, seed=5)
    added = GUIDANCE["apg"].make(SCALE).combine(x, v_cond, v_null, 0.5, [40, 40]) - v_cond
    assert added.abs().max() > 0.1
    assert (added * v_cond).sum(dim=1).abs().max() < 1e-4


@pytest.mark.parametrize("name", ["cfg", "apg"])
def test_equal_predictions_need_no_guidance(name: str) -> None:
    x, v, _ = _inputs(2, 8, 4, seed=6)
    torch.testing.assert_close(GUIDANCE[name].make(SCALE).combine(x, v, v, 0.5, [8, 8]), v, rtol=0, atol=1e-6)


def test_adg_turns_the_clean_estimate_by_at_most_thirty_degrees() -> None:
    x, v_cond, v_null = _inputs(2, 30, 64, seed=8)
    t = 0.4
    guided = x - t * GUIDANCE["adg"].make(30.0).combine(x, v_cond, v_null, t, [30, 30])
    null = x - t * v_null
    clean = x - t * v_cond

    def angle(a: Tensor, b: Tensor) -> Tensor:
        return torch.nn.functional.cosine_similarity(a.double(), b.double(), dim=2).acos()

    assert (angle(clean, null) > 0.1).all()
    assert (angle(guided, clean) <= 3.15 / 6).all()
    assert (angle(guided, null) > angle(clean, null)).all()


@pytest.mark.parametrize("name", GUIDANCE)
def test_a_padded_song_is_guided_as_if_alone(name: str) -> None:
    """The padding is NaN: whatever reads it shows."""
    lengths = [20, 13, 1]
    together = GUIDANCE[name].make(SCALE)
    alone = [GUIDANCE[name].make(SCALE) for _ in lengths]
    for step, t in enumerate(LEVELS):
        inputs = _inputs(3, 20, 64, seed=200 + step)
        for song, length in enumerate(lengths):
            for value in inputs:
                value[song, length:] = math.nan
        combined = together.combine(*inputs, t, lengths)
        for song, length in enumerate(lengths):
            own = [value[song : song + 1, :length] for value in inputs]
            single = alone[song].combine(*own, t, [length])
            torch.testing.assert_close(combined[song : song + 1, :length], single, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", GUIDED)
def test_silent_velocities_stay_finite(name: str) -> None:
    zero = torch.zeros(1, 4, 3)
    assert (GUIDANCE[name].make(SCALE).combine(zero, zero, zero, 0.5, [4]) == 0).all()


def test_inputs_are_left_as_they_were() -> None:
    inputs = _inputs(2, 9, 4, seed=9)
    before = [value.clone() for value in inputs]
    for kind in GUIDANCE.values():
        kind.make(SCALE).combine(*inputs, 0.5, [9, 5])
    assert all(torch.equal(value, copy) for value, copy in zip(inputs, before, strict=True))


def test_none_is_the_conditional_velocity() -> None:
    x, v_cond, v_null = _inputs(1, 5, 3, seed=10)
    assert GUIDANCE["none"].make(SCALE).combine(x, v_cond, v_null, 0.5, [5]) is v_cond


@pytest.mark.parametrize(("name", "corrector"), [("none", "none"), ("cfg", "cfg"), ("apg", "cfg"), ("adg", "adg")])
def test_the_corrector_of_each_kind(name: str, corrector: str) -> None:
    assert GUIDANCE[name].corrector is GUIDANCE[corrector].make


@pytest.mark.parametrize(
    ("interval", "active"),
    [
        ((0.0, 1.0), [1.0, 0.75, 0.5, 0.25]),
        ((0.0, 0.5), [0.5, 0.25]),  # the late half: levels, not progress
        ((0.5, 1.0), [1.0, 0.75, 0.5]),
        ((0.3, 0.4), []),
        ((0.75, 0.75), [0.75]),
    ],
)
def test_the_interval_is_in_noise_levels_and_includes_both_ends(
    interval: tuple[float, float], active: list[float]
) -> None:
    guidance = Guidance(SCALE, "apg", interval)
    assert [t for t in (1.0, 0.75, 0.5, 0.25) if guidance.active(t)] == active


@pytest.mark.parametrize(("scale", "kind"), [(1.0, "apg"), (0.0, "cfg"), (0.5, "adg"), (SCALE, "none")])
def test_guidance_is_off_at_scale_one_and_without_a_kind(scale: float, kind: str) -> None:
    assert not Guidance(scale, kind).active(0.5)


def test_without_padding_keeps_songs_and_erases_the_rest() -> None:
    x = torch.full((3, 4, 2), 5.0)
    x[1, 2:] = math.nan
    cleaned = without_padding(x, [4, 2, 1])
    assert cleaned.sum(dim=(1, 2)).tolist() == [40.0, 20.0, 10.0]
    assert cleaned[1, :2].eq(5).all()
    assert x[1, 2:].isnan().all()  # the argument is not written to
