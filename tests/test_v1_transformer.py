"""The v1 transformer: its tensors, its parts and its whole against slow references, and what a batch promises."""

from __future__ import annotations

import math
from fnmatch import fnmatch

import pytest
import torch
from torch import Tensor

from acestep.v1.config import TransformerConfig
from acestep.v1.layers import Rotary
from acestep.v1.layout import latents_of, rows_of
from acestep.v1.transformer import DEAD, Transformer

import v1_published_shapes as published
from models_support import AttentionSpy, assert_close, draw
from v1_networks_support import TINY, SlowTransformer, as_array, assert_close_to, random_transformer, turned

NETWORK = random_transformer()
SLOW = SlowTransformer.of(NETWORK)
WIDTH = TINY.inner_dim
FRAMES = (1, 2, 7)
TAGS, LYRICS = 3, 5
LEVELS = torch.tensor([0.9, 0.25])


def words(rows: int = 2, seed: int = 5) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Tag states, their mask, lyric ids, their mask; the second row has padding in both."""
    generator = torch.Generator().manual_seed(seed)
    lyrics = torch.randint(TINY.lyric_encoder_vocab_size, (rows, LYRICS), generator=generator)
    text = torch.randn(rows, TAGS, TINY.text_embedding_dim, generator=generator)
    text_mask, lyric_mask = torch.ones(rows, TAGS, dtype=torch.bool), torch.ones(rows, LYRICS, dtype=torch.bool)
    text_mask[1:, -1:], lyric_mask[1:, -2:] = False, False
    return text, text_mask, lyrics, lyric_mask


CONTEXT, MASK = NETWORK.encode(*words())
CACHE = NETWORK.cross_cache(CONTEXT)


def latents(frames: int = 6, songs: int = 2, seed: int = 1) -> Tensor:
    return draw(songs, 8, 16, frames, seed=seed)


# --- Tensors ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def full_size() -> Transformer:
    with torch.device("meta"):
        return Transformer(TransformerConfig.published())


def is_dead(name: str) -> bool:
    return any(fnmatch(name, pattern) for pattern in DEAD)


def test_the_published_table_is_whole() -> None:
    table = published.transformer_shapes()
    assert len(table) == published.TENSORS
    assert sum(map(math.prod, table.values())) == published.PARAMETERS


def test_the_state_dict_is_the_published_one_without_the_dead(full_size: Transformer) -> None:
    ours = {name: tuple(tensor.shape) for name, tensor in full_size.state_dict().items()}
    assert ours == {name: shape for name, shape in published.transformer_shapes().items() if not is_dead(name)}
    assert sum(map(math.prod, ours.values())) == published.LIVE_PARAMETERS


def test_the_dead_are_exactly_those_that_only_training_read() -> None:
    dead = {name for name in published.transformer_shapes() if is_dead(name)}
    assert dead == set(published.dead_shapes())
    assert len(dead) == published.DEAD_TENSORS


def test_nothing_but_the_named_tensors_needs_data() -> None:
    """A network built on the meta device and filled by assignment computes what the original one does."""
    with torch.device("meta"):
        filled = Transformer(TINY)
    filled.requires_grad_(False).load_state_dict(NETWORK.state_dict(), strict=True, assign=True)
    assert list(filled.buffers()) == []
    context, mask = filled.encode(*words())
    ours = filled(latents(), LEVELS, filled.cross_cache(context), mask)
    assert torch.equal(ours, NETWORK(latents(), LEVELS, CACHE, MASK))


# --- Parts ------------------------------------------------------------------------------------------------------


def test_positions_channel_by_channel() -> None:
    x = draw(300, 16, seed=4)
    assert_close_to(Rotary.of(300, TINY, x).turn(x), turned(as_array(x), TINY.rope_theta))


def test_partners_turn_at_different_frequencies() -> None:
    """It is no rotation: a pair's length changes, which it would not if the two shared a frequency."""
    x = draw(9, 16, seed=4)
    pairs = Rotary.of(9, TINY, x).turn(x).unflatten(-1, (-1, 2)).norm(dim=-1)
    assert (pairs - x.unflatten(-1, (-1, 2)).norm(dim=-1)).abs().max() > 0.1


def test_tables_of_positions_are_fp32_trigonometry_rounded_once() -> None:
    exact = Rotary.of(500, TINY, torch.empty(0))
    rough = Rotary.of(500, TINY, torch.empty(0, dtype=torch.bfloat16))
    assert rough.cos.dtype == rough.sin.dtype == torch.float32
    assert torch.equal(rough.cos, exact.cos.bfloat16().float())
    assert torch.equal(rough.sin, exact.sin.bfloat16().float())


@pytest.mark.parametrize("frames", FRAMES)
def test_self_attention_is_the_relu_kernel_over_all_pairs(frames: int) -> None:
    x = draw(1, frames, WIDTH, seed=frames)
    ours = NETWORK.transformer_blocks[0].attn(x, Rotary.of(frames, TINY, x))
    assert_close_to(ours[0], SLOW.self_attention(as_array(x[0]), "transformer_blocks.0.attn"))


def test_self_attention_does_not_care_how_strong_its_queries_are() -> None:
    """Why a weakened pass leaves it alone: upstream's factor 0.01 on these queries changes nothing but rounding."""
    attention = random_transformer().transformer_blocks[1].attn
    x = draw(2, 12, WIDTH, seed=2)
    plain = attention(x, Rotary.of(12, TINY, x))
    attention.to_q.weight.mul_(0.01)
    attention.to_q.bias.mul_(0.01)
    assert_close(attention(x, Rotary.of(12, TINY, x)), plain)


def test_self_attention_ends_in_a_clamp() -> None:
    attention = random_transformer().transformer_blocks[0].attn
    attention.to_out[0].weight.mul_(1e7)
    x = draw(1, 5, WIDTH, seed=3)
    mixed = attention(x, Rotary.of(5, TINY, x))
    assert (mixed.min(), mixed.max()) == (-65_504.0, 65_504.0)


def test_queries_that_see_nothing_positive_stay_finite() -> None:
    attention = random_transformer().transformer_blocks[0].attn
    attention.to_k.weight.zero_()
    attention.to_k.bias.zero_()
    x = draw(1, 5, WIDTH, seed=3)
    mixed = attention(x, Rotary.of(5, TINY, x))
    assert torch.equal(mixed[0], attention.to_out[0].bias.expand(5, -1))


@pytest.mark.parametrize("strength", [1.0, 0.01])
@pytest.mark.parametrize("frames", FRAMES)
def test_cross_attention_pair_by_pair(frames: int, strength: float) -> None:
    x, name = draw(1, frames, WIDTH, seed=frames), "transformer_blocks.1.cross_attn"
    bias = torch.zeros(1, 1, 1, MASK.shape[1]).masked_fill(~MASK[1], -math.inf)
    attention = NETWORK.transformer_blocks[1].cross_attn
    factor = torch.full((1, 1, 1, 1), strength)
    ours = attention(x, Rotary.of(frames, TINY, x), CACHE.keys[1][1:], CACHE.values[1][1:], bias, factor)
    slow = SLOW.cross_attention(as_array(x[0]), as_array(CONTEXT[1]), MASK[1].tolist(), name, strength)
    assert_close_to(ours[0], slow)


@pytest.mark.parametrize("frames", FRAMES)
def test_feed_forward_tap_by_tap(frames: int) -> None:
    x = draw(1, frames, WIDTH, seed=frames)
    assert_close_to(
        NETWORK.transformer_blocks[0].ff(x)[0], SLOW.feed_forward(as_array(x[0]), "transformer_blocks.0.ff")
    )


@pytest.mark.parametrize("frames", FRAMES)
def test_patches_are_normed_over_all_frames(frames: int) -> None:
    x = latents(frames, songs=1)
    assert_close_to(NETWORK.proj_in(x)[0], SLOW.patches(as_array(x[0])))


@pytest.mark.parametrize("level", [1.0, 0.9946, 0.5, 0.0089286, 0.0])
def test_an_embedded_level(level: float) -> None:
    assert_close_to(NETWORK.timestep_embedder(torch.tensor([level]))[0], SLOW.embedded_level(level))


def test_the_head_puts_channels_fastest() -> None:
    x, embedded = draw(1, 3, WIDTH, seed=1), draw(1, WIDTH, seed=2)
    assert_close_to(NETWORK.final_layer(x, embedded)[0], SLOW.head(as_array(x[0]), as_array(embedded[0])))


# --- The whole --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("weaken", [False, True])
def test_the_context(weaken: bool) -> None:
    text, text_mask, lyrics, lyric_mask = words()
    context, mask = NETWORK.encode(text, text_mask, lyrics, lyric_mask, weaken_lyrics=weaken)
    assert torch.equal(mask, torch.cat((torch.ones(2, 1, dtype=torch.bool), text_mask, lyric_mask), 1))
    for row in range(2):
        slow = SLOW.context(as_array(text[row]), lyrics[row].tolist(), lyric_mask[row].tolist(), weaken)
        assert_close_to(context[row], slow)


@pytest.mark.parametrize("weaken", [False, True])
@pytest.mark.parametrize("frames", FRAMES)
def test_the_velocity(frames: int, weaken: bool) -> None:
    """Words to velocity: two songs of other words, levels and masks at once; the reference plays each alone."""
    x = latents(frames)
    ours = NETWORK(x, LEVELS, CACHE, MASK, torch.tensor([weaken, weaken]))
    text, _, lyrics, lyric_mask = words()
    for song in range(2):
        context = SLOW.context(as_array(text[song]), lyrics[song].tolist(), lyric_mask[song].tolist())
        mask = MASK[song].tolist()
        slow = SLOW.velocity(as_array(x[song]), float(LEVELS[song]), context, mask, weaken)
        assert_close_to(ours[song], slow)


def test_bf16_stays_near_fp32() -> None:
    rough = random_transformer(dtype=torch.bfloat16)
    context, mask = rough.encode(*words())
    x = latents(40)
    ours = rough(x, LEVELS, rough.cross_cache(context), mask)
    assert (context.dtype, ours.dtype) == (torch.bfloat16, torch.float32)
    exact = NETWORK(x, LEVELS, CACHE, MASK)
    assert (ours - exact).norm() <= 0.05 * exact.norm()


# --- Batches ----------------------------------------------------------------------------------------------------


def test_songs_of_a_batch_are_the_songs_alone() -> None:
    x = latents()
    together = NETWORK(x, LEVELS, CACHE, MASK)
    for song in (slice(0, 1), slice(1, 2)):
        assert_close(together[song], NETWORK(x[song], LEVELS[song], CACHE.rows(song), MASK[song]))


def test_a_row_of_the_cache_is_that_row_of_the_context() -> None:
    alone, row = NETWORK.cross_cache(CONTEXT[1:]), CACHE.rows(slice(1, 2))
    for ours, theirs in zip((*row.keys, *row.values), (*alone.keys, *alone.values), strict=True):
        assert_close(ours, theirs)
    assert row.keys[0].data_ptr() == CACHE.keys[0][1:].data_ptr()  # a view


@pytest.mark.parametrize("songs", [2, 6])
def test_songs_of_the_same_words_share_a_row_of_the_context(songs: int) -> None:
    """Neighbours read one row; telling every song its own copy of that row gives the same."""
    x, levels = latents(songs=songs), torch.linspace(0.1, 0.9, songs)
    each = songs // 2
    weakened = torch.arange(songs) % 3 == 0
    copied = NETWORK.cross_cache(CONTEXT.repeat_interleave(each, 0))
    expected = NETWORK(x, levels, copied, MASK.repeat_interleave(each, 0), weakened)
    assert_close(NETWORK(x, levels, CACHE, MASK, weakened), expected)


def test_all_songs_may_share_one_row() -> None:
    x = latents(songs=3)
    ours = NETWORK(x, torch.full((3,), 0.5), CACHE.rows(slice(0, 1)), None)
    for song in range(3):
        alone = NETWORK(x[song : song + 1], torch.tensor([0.5]), CACHE.rows(slice(0, 1)), None)
        assert_close(ours[song : song + 1], alone)


def test_weakened_rows_stand_beside_plain_ones() -> None:
    """A guided step in one forward: the conditional rows, then the weakened negative ones."""
    x, levels = latents(), LEVELS.repeat(2)
    mixed = NETWORK(x.repeat(2, 1, 1, 1), levels, CACHE, MASK, torch.tensor([False, True, False, True]))
    first, second = slice(0, 1), slice(1, 2)
    per_row = [
        NETWORK(x[song], LEVELS[song], CACHE.rows(row), MASK[row], torch.tensor([song is second]))
        for row in (first, second)
        for song in (first, second)
    ]
    assert_close(mixed, torch.cat(per_row))
    plain = NETWORK(x.repeat(2, 1, 1, 1), levels, CACHE, MASK)
    assert (mixed - plain).abs().amax((1, 2, 3)).gt(1e-3).tolist() == [False, True, False, True]


def test_nothing_weakened_is_the_plain_pass() -> None:
    plain = NETWORK(latents(), LEVELS, CACHE, MASK)
    assert torch.equal(NETWORK(latents(), LEVELS, CACHE, MASK, torch.tensor([False, False])), plain)
    unaffected = random_transformer(erg_diffusion_layers=())
    assert torch.equal(unaffected(latents(), LEVELS, CACHE, MASK, torch.tensor([True, True])), plain)


def test_a_mask_that_hides_nothing_is_not_needed() -> None:
    first = CACHE.rows(slice(0, 1))
    with AttentionSpy() as spy:
        unmasked = NETWORK(latents(songs=1), LEVELS[:1], first, None)
    assert spy.masks == [None] * TINY.num_layers
    assert_close(NETWORK(latents(songs=1), LEVELS[:1], first, MASK[:1]), unmasked)


def test_padding_of_tags_and_lyrics_changes_nothing() -> None:
    """Other numbers behind the last real token, or no padding at all and a shorter context, are the same song."""
    text, text_mask, lyrics, lyric_mask = words()
    text[1, -1], lyrics[1, -2:] = 7.0, 1
    context, mask = NETWORK.encode(text, text_mask, lyrics, lyric_mask)
    x = latents()
    plain = NETWORK(x, LEVELS, CACHE, MASK)
    assert_close(NETWORK(x, LEVELS, NETWORK.cross_cache(context), mask), plain)
    short, none = NETWORK.encode(text[1:], text_mask[1:], lyrics[1:, :3], lyric_mask[1:, :3])
    assert_close(NETWORK(x[1:], LEVELS[1:], NETWORK.cross_cache(short), none), plain[1:])


def test_a_song_without_lyrics_is_finite_and_leaves_the_others_alone() -> None:
    text, text_mask, lyrics, lyric_mask = words()
    lyric_mask[1] = False
    context, mask = NETWORK.encode(text, text_mask, lyrics, lyric_mask)
    ours = NETWORK(latents(), LEVELS, NETWORK.cross_cache(context), mask)
    assert ours.isfinite().all()
    assert_close(ours[:1], NETWORK(latents(), LEVELS, CACHE, MASK)[:1])


# --- Layouts ----------------------------------------------------------------------------------------------------


def test_rows_are_frames_by_heights() -> None:
    x = latents(frames=3)
    rows = rows_of(x)
    assert rows.shape == (2, 48, 8)
    for song, channel, height, frame in ((0, 0, 0, 0), (1, 7, 15, 2), (0, 3, 9, 1)):
        assert rows[song, frame * 16 + height, channel] == x[song, channel, height, frame]
    assert torch.equal(latents_of(rows), x)


def test_a_norm_over_rows_is_a_norm_over_heights_and_frames() -> None:
    x = latents(frames=5)
    assert_close(rows_of(x).norm(dim=1), x.flatten(2).norm(dim=-1))
