"""The shared parts, against slow and obvious versions of the same mathematics."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from acestep.models.layers import Layout, RMSNorm, SelfAttention, zero_beyond

from models_support import SMALL, AttentionSpy, assert_close, draw, random_model

WINDOW = SMALL.sliding_window


def dense_attention(q: Tensor, k: Tensor, v: Tensor, window: int | None) -> Tensor:
    """Softmax over all pairs with a full mask: [B, S, H, d], [B, S, G, d] -> [B, S, H * d]."""
    length, heads = q.shape[1], q.shape[2]
    k, v = (part.repeat_interleave(heads // part.shape[2], 2) for part in (k, v))
    scores = torch.einsum("bihd,bjhd->bhij", q, k) / math.sqrt(q.shape[-1])
    if window is not None:
        position = torch.arange(length)
        scores[..., (position[:, None] - position).abs() > window] = -math.inf
    return torch.einsum("bhij,bjhd->bihd", scores.softmax(-1), v).flatten(2)


def heads_of(length: int, items: int = 2) -> tuple[Tensor, Tensor, Tensor]:
    return draw(items, length, 4, 16, seed=1), draw(items, length, 2, 16, seed=2), draw(items, length, 2, 16, seed=3)


def layout_of(length: int, lengths: list[int] | None = None, items: int = 2) -> Layout:
    return Layout.of(SMALL, torch.empty(items, length, SMALL.hidden_size), lengths)


@pytest.mark.parametrize("length", [1, 2, 64, 128, 129, 130, 192, 257, 500])
@pytest.mark.parametrize("windowed", [True, False])
def test_attention_is_the_dense_one(length: int, windowed: bool) -> None:
    q, k, v = heads_of(length)
    ours = layout_of(length).attend(q, k, v, windowed)
    assert_close(ours, dense_attention(q, k, v, WINDOW if windowed else None))


@pytest.mark.parametrize("lengths", [[300, 7], [5, 5], [131, 300], [300, 300], [1, 260]])
@pytest.mark.parametrize("windowed", [True, False])
def test_items_attend_over_their_own_length(lengths: list[int], windowed: bool) -> None:
    q, k, v = heads_of(300)
    ours = layout_of(300, lengths).attend(q, k, v, windowed)
    for item, length in enumerate(lengths):
        row = slice(item, item + 1)
        alone = dense_attention(*(part[row, :length] for part in (q, k, v)), WINDOW if windowed else None)
        assert_close(ours[row, :length], alone)
        assert not ours[row, length:].any()


def test_a_window_that_covers_everything_needs_no_mask() -> None:
    with AttentionSpy() as spy:
        layout_of(WINDOW + 1).attend(*heads_of(WINDOW + 1), windowed=True)
        layout_of(300, [300, 300]).attend(*heads_of(300), windowed=False)
        layout_of(300, [300, 20]).attend(*heads_of(300), windowed=False)
    assert spy.masks == [None] * 4


def test_the_mask_of_a_window_grows_linearly() -> None:
    sizes = []
    for length in (1000, 2000):
        with AttentionSpy() as spy:
            layout_of(length, items=1).attend(*heads_of(length, items=1), windowed=True)
        (mask,) = spy.masks
        assert mask is not None
        sizes.append(mask.numel())
    assert sizes[1] <= 2.1 * sizes[0] < 1000 * 1000 * 2.1
    assert sizes[1] < 2000 * 2000 / 2


def test_the_window_reaches_128_tokens_and_no_further() -> None:
    q, k, v = heads_of(500, items=1)
    layout = layout_of(500, items=1)
    before = layout.attend(q, k, v, windowed=True)
    v[:, 250] += 1.0
    changed = (layout.attend(q, k, v, windowed=True) != before).any(-1)[0].nonzero().flatten()
    assert (changed.min().item(), changed.max().item()) == (250 - WINDOW, 250 + WINDOW)


def test_rotation_depends_on_distance_alone() -> None:
    """The product of a turned query and a turned key is the same wherever the pair stands."""
    layout = layout_of(200, items=1)
    q = layout.turn(draw(1, 1, 1, 16, seed=1).expand(1, 200, 1, 16))
    k = layout.turn(draw(1, 1, 1, 16, seed=2).expand(1, 200, 1, 16))
    products = torch.einsum("bihd,bjhd->ij", q, k)
    for distance in (0, 1, 50):
        assert products.diagonal(distance).std() < 1e-5
    assert products[0].std() > 0.1


def test_rotation_by_hand() -> None:
    x = draw(1, 9, 3, 16, seed=4)
    turned = layout_of(9, items=1).turn(x)
    for position in range(9):
        for pair in range(8):
            angle = position * SMALL.rope_theta ** (-2 * pair / 16)
            a, b = x[0, position, :, pair], x[0, position, :, pair + 8]
            assert_close(turned[0, position, :, pair], a * math.cos(angle) - b * math.sin(angle))
            assert_close(turned[0, position, :, pair + 8], b * math.cos(angle) + a * math.sin(angle))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_norm_rounds_before_the_weight_as_the_checkpoints_expect(dtype: torch.dtype) -> None:
    norm = RMSNorm(48, 1e-6).to(dtype)
    norm.weight.data = draw(48, seed=5).to(dtype)
    x = draw(7, 48, seed=6).to(dtype)
    wide = x.float()
    by_hand = (wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + 1e-6)).to(dtype) * norm.weight
    assert torch.equal(norm(x), by_hand)


def test_zero_beyond_hides_even_nan() -> None:
    x = draw(3, 6, 2, seed=7)
    x[0, 4:] = math.nan
    cut = zero_beyond(x, [4, 6, 6])
    assert torch.equal(cut[0, :4], x[0, :4])
    assert not cut[0, 4:].any()
    assert torch.equal(cut[1:], x[1:])


def test_layers_know_from_their_place_whether_they_are_windowed() -> None:
    layers = random_model(SMALL).decoder.layers
    assert [layer.self_attn.windowed for layer in layers] == [True, False, True, False]
    assert all(isinstance(layer.self_attn, SelfAttention) for layer in layers)
