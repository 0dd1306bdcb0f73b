"""The lyric encoder of v1 against a slow reference, and what its masks and its weakened pass promise."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from acestep.v1.conformer import by_distance, relative_positions

from models_support import assert_close, draw
from v1_networks_support import TINY, SlowTransformer, assert_close_to, distance_vector, random_transformer

NETWORK = random_transformer()
SLOW = SlowTransformer.of(NETWORK)
WIDTH = TINY.lyric_hidden_size
LENGTHS = (1, 2, 5, 8)


def ids(length: int, seed: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(TINY.lyric_encoder_vocab_size, (length,), generator=generator)


def encoded(tokens: Tensor, mask: Tensor, weaken: bool = False) -> Tensor:
    return NETWORK.lyric_encoder(NETWORK.lyric_embs(tokens), mask, weaken=weaken)


# --- Distances --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", LENGTHS)
def test_positions_are_sinusoids_of_falling_distances(length: int) -> None:
    rows = relative_positions(length, WIDTH, torch.empty(0))
    expected = np.array([distance_vector(distance, WIDTH) for distance in range(length - 1, -length, -1)])
    assert_close_to(rows, expected)
    middle = rows[length - 1]
    assert torch.equal(middle, torch.tensor([0.0, 1.0]).repeat(WIDTH // 2))


def test_positions_are_rounded_only_at_the_end() -> None:
    rounded = relative_positions(700, WIDTH, torch.empty(0, dtype=torch.bfloat16))
    assert torch.equal(rounded, relative_positions(700, WIDTH, torch.empty(0)).bfloat16())


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("outer", [(), (3,), (2, 3)], ids=str)
def test_scores_by_distance_are_found_by_index(length: int, outer: tuple[int, ...]) -> None:
    scores = draw(*outer, length, 2 * length - 1, seed=length)
    by_token = by_distance(scores)
    assert by_token.shape == (*outer, length, length)
    for i in range(length):
        for j in range(length):
            distance = i - j
            assert torch.equal(by_token[..., i, j], scores[..., i, (length - 1) - distance])


def test_scores_by_distance_of_a_view() -> None:
    """Neither a transposed tensor nor one that begins inside another may be read at the wrong places."""
    scores = draw(4, 7, 4, seed=1)
    assert torch.equal(by_distance(scores.mT), by_distance(scores.mT.contiguous()))
    later = draw(3, 4, 7, seed=2)
    assert torch.equal(by_distance(later[1:]), by_distance(later)[1:])


# --- Against the reference --------------------------------------------------------------------------------------


@pytest.mark.parametrize("weaken", [False, True])
@pytest.mark.parametrize("length", LENGTHS)
def test_attention_pair_by_pair(length: int, weaken: bool) -> None:
    x, mask = draw(1, length, WIDTH, seed=length), torch.arange(length) != 1
    attention = NETWORK.lyric_encoder.encoders[0].self_attn
    ours = attention(x, relative_positions(length, WIDTH, x), mask[None], weaken)
    strength = 0.01 if weaken else 1.0
    slow = SLOW.relative_attention(x[0].double().numpy(), mask.tolist(), "lyric_encoder.encoders.0", strength)
    assert_close_to(ours[0], slow)


@pytest.mark.parametrize("weaken", [False, True])
@pytest.mark.parametrize("length", LENGTHS)
def test_the_whole_encoder(length: int, weaken: bool) -> None:
    tokens, mask = ids(length), torch.ones(1, length, dtype=torch.bool)
    slow = SLOW.lyrics(tokens.tolist(), mask[0].tolist(), weaken)
    assert_close_to(encoded(tokens[None], mask, weaken)[0], slow)


def test_only_the_configured_layers_are_weakened() -> None:
    tokens, mask = ids(6)[None], torch.ones(1, 6, dtype=torch.bool)
    plain = encoded(tokens, mask)
    assert (encoded(tokens, mask, weaken=True) - plain).abs().max() > 1e-3
    untouched = random_transformer(erg_lyric_layers=())
    embedded = untouched.lyric_embs(tokens)
    assert torch.equal(untouched.lyric_encoder(embedded, mask, weaken=True), plain)


# --- Masks ------------------------------------------------------------------------------------------------------


def test_a_song_without_lyrics_mixes_to_zero() -> None:
    """A fully masked row is the attention's bias at every token, never NaN, and leaves its neighbours as they are."""
    attention = NETWORK.lyric_encoder.encoders[0].self_attn
    x = draw(2, 4, WIDTH, seed=9)
    positions = relative_positions(4, WIDTH, x)
    mask = torch.tensor([[False] * 4, [True] * 4])
    mixed = attention(x, positions, mask, False)
    assert torch.equal(mixed[0], attention.linear_out.bias.expand(4, -1))
    assert torch.equal(mixed[1], attention(x[1:], positions, mask[1:], False)[0])


def test_no_lyrics_at_all_is_one_masked_token() -> None:
    ours = encoded(torch.zeros(1, 1, dtype=torch.long), torch.tensor([[False]]))
    assert_close_to(ours[0], SLOW.lyrics([0], [False]))


def test_padding_changes_nothing() -> None:
    """Whatever stands behind the last real token, a song encodes as it does alone."""
    short, long = ids(3, seed=1), ids(7, seed=2)
    batch = torch.stack((torch.cat((short, torch.tensor([4, 0, 49, 7]))), long))
    mask = torch.arange(7) < torch.tensor([[3], [7]])
    together = encoded(batch, mask)
    assert_close(together[:1, :3], encoded(short[None], mask[:1, :3]))
    assert_close(together[1:], encoded(long[None], mask[1:]))
    other = batch.clone()
    other[0, 3:] = 11
    assert torch.equal(encoded(other, mask)[0, :3], together[0, :3])


def test_bf16_stays_near_fp32() -> None:
    tokens, mask = ids(40)[None], torch.ones(1, 40, dtype=torch.bool)
    rough = random_transformer(dtype=torch.bfloat16)
    ours = rough.lyric_encoder(rough.lyric_embs(tokens), mask)
    assert ours.dtype == torch.bfloat16
    exact = encoded(tokens, mask)
    assert (ours.float() - exact).norm() <= 0.03 * exact.norm()
