"""Variations: the way from one seed's noise to another's."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from acestep.sampling.noise import item_noise, varied_noise

C = 8


def test_both_ends_are_the_noise_of_their_seed_bit_for_bit() -> None:
    seeds, others, lengths = [5, 2**32 - 1], [9, 0], [40, 17]
    assert torch.equal(varied_noise(seeds, others, 0.0, lengths, C), item_noise(seeds, lengths, C))
    assert torch.equal(varied_noise(seeds, others, 1.0, lengths, C), item_noise(others, lengths, C))
    assert torch.equal(varied_noise(seeds, others, 1, lengths, C), item_noise(others, lengths, C))


@pytest.mark.parametrize("strength", [0.1, 0.5, 0.8])
def test_between_the_ends_it_is_a_turn_in_the_plane_of_both_noises(strength: float) -> None:
    start, end = (torch.randn(50, C, generator=torch.Generator().manual_seed(seed)).numpy() for seed in (5, 9))
    turn = np.exp(0.5j * np.pi * strength)
    expected = turn.real * start.astype(np.float64) + turn.imag * end.astype(np.float64)
    np.testing.assert_allclose(varied_noise([5], [9], strength, [50], C)[0].numpy(), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("strength", [0.0, 0.2, 0.5, 0.9, 1.0])
def test_it_is_standard_normal_all_the_way(strength: float) -> None:
    noise = varied_noise([1], [2], strength, [4000], 64)
    assert noise.dtype == torch.float32
    assert noise.mean().item() == pytest.approx(0, abs=0.01)
    assert noise.std().item() == pytest.approx(1, abs=0.01)


def test_the_way_leads_steadily_from_the_one_to_the_other() -> None:
    start = item_noise([1], [4000], 64)
    likeness = [(varied_noise([1], [2], r / 10, [4000], 64) * start).mean().item() for r in range(11)]
    assert likeness == pytest.approx([np.cos(np.pi / 20 * r) for r in range(11)], abs=0.02)


@pytest.mark.parametrize("strength", [0.0, 0.3, 1.0])
def test_a_variation_belongs_to_the_song_and_not_to_its_batch(strength: float) -> None:
    batch = varied_noise([5, 9, 3], [1, 2, 3], strength, [40, 17, 23], C)
    assert batch.shape == (3, 40, C)
    assert torch.equal(batch[1:2, :17], varied_noise([9], [2], strength, [17], C))
    assert torch.equal(batch[2:, :23], varied_noise([3], [3], strength, [23], C))
    assert (batch[1, 17:] == 0).all()
    assert (batch[2, 23:] == 0).all()


def test_a_song_that_varies_towards_its_own_seed_keeps_its_noise() -> None:
    assert torch.equal(varied_noise([5, 6], [5, 7], 0.5, [20, 20], C)[0], item_noise([5], [20], C)[0])


@pytest.mark.parametrize("strength", [0.0, 0.5, 1.0])
@pytest.mark.parametrize(("others", "lengths"), [([1], [10, 10]), ([1, 2, 3], [10, 10]), ([1, 2], [10])])
def test_every_song_needs_both_seeds_and_a_length(others: list[int], lengths: list[int], strength: float) -> None:
    with pytest.raises(ValueError, match="argument"):
        varied_noise([1, 2], others, strength, lengths, C)
