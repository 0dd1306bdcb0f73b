"""Guided attention: where heads shall look, and what is told of those that look elsewhere."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from acestep.models.config import AceStepConfig
from acestep.models.layers import Layout, SelfAttention, rotary_frequencies
from acestep.training.guided_attention import HEADS, Look, looks_of
from acestep.training.sizes import TRANSFORMER

CONFIG = AceStepConfig.from_dict(TRANSFORMER)
SURE = 6.0  # of a head that looks at one token


def look_at(lag: float, songs: int = 2, tokens: int = 100, layer: int = 1) -> Look:
    """Heads that look ``lag`` tokens back or ahead of where they stand, whatever the tokens hold."""
    attention, pairs = SelfAttention(CONFIG, layer), CONFIG.head_dim // 2
    ones = torch.zeros(songs, tokens, CONFIG.hidden_size)
    ones[..., 0] = 1.0
    turns = lag * rotary_frequencies(CONFIG, ones.device)
    with torch.no_grad():
        for weight in attention.parameters():
            weight.fill_(SURE if weight.dim() == 1 else 0.0)
        for head, beats in HEADS.items():
            # The pair (cos, sin) turned on by as much as the key stands away.
            query = torch.cat([turns.cos(), (beats * turns).sin()])
            attention.q_proj.weight[head * CONFIG.head_dim : (head + 1) * CONFIG.head_dim, 0] = query
        attention.k_proj.weight[:pairs, 0] = 1.0
    return Look(attention, ones, Layout.of(CONFIG, ones), CONFIG.sliding_window)


@pytest.mark.parametrize("lag", [8.0, 12.0, 25.0])
def test_heads_that_look_a_beat_away_are_right(lag: float) -> None:
    look = look_at(lag)
    right = look.error(torch.tensor([lag, lag]), (100, 100))
    assert right < 0.2
    assert look.error(torch.tensor([lag + 3, lag + 3]), (100, 100)) > right + 2


def test_a_beat_between_two_tokens_is_near_to_both() -> None:
    between = look_at(12.5).error(torch.tensor([12.5, 12.5]), (100, 100))
    assert abs(between.item() - math.log(2)) < 0.2


def test_only_songs_whose_tempo_is_known_and_tokens_with_a_beat_beside_them_are_asked() -> None:
    look, known = look_at(8.0), torch.tensor([8.0, math.nan])
    alone = replace(look, tokens=look.tokens[:1])
    torch.testing.assert_close(look.error(known, (100, 100)), alone.error(known[:1], (100,)))
    assert look.error(torch.full((2,), math.nan), (100, 100)) == 0.0
    assert look.error(torch.tensor([8.0, 8.0]), (8, 5)) == 0.0, "no song is longer than a beat"


def test_padding_is_not_looked_at() -> None:
    """A shorter song has the error it has alone."""
    look = look_at(8.0)
    alone = look_at(8.0, songs=1, tokens=40)
    both = look.error(torch.tensor([math.nan, 8.0]), (100, 40))
    torch.testing.assert_close(both, alone.error(torch.tensor([8.0]), (40,)))


def test_a_windowed_layer_is_not_asked_about_what_it_does_not_see() -> None:
    """Heads without preference look at all keys that they see alike."""
    errors = {}
    for layer in (1, 2):
        look = look_at(12.0, songs=1, tokens=400, layer=layer)
        with torch.no_grad():
            look.attention.q_norm.weight.zero_()
        errors[look.attention.windowed] = look.error(torch.tensor([12.0]), (400,)).item()
    window = CONFIG.sliding_window
    assert errors[False] == pytest.approx(math.log(400), abs=1e-4)
    assert math.log(window + 1) < errors[True] < math.log(2 * window + 1)
    assert replace(look, window=12).error(torch.tensor([12.0]), (400,)) == 0.0, "the beat is not in sight"


def test_one_token_is_no_song() -> None:
    assert look_at(8.0, songs=1, tokens=1).error(torch.tensor([8.0]), (1,)) == 0.0


def test_what_layers_read_is_seen_inside_the_block_alone() -> None:
    layer = torch.nn.Module()
    layer.self_attn = SelfAttention(CONFIG, 0)
    tokens = torch.randn(1, 9, CONFIG.hidden_size)
    layout = Layout.of(CONFIG, tokens)
    with looks_of([layer], 4) as looks:
        layer.self_attn(tokens, layout)
    layer.self_attn(tokens, layout)
    assert len(looks) == 1
    assert looks[0].tokens is tokens
    assert looks[0].window == 4
    looks[0].error(torch.tensor([3.0]), (9,)).backward()
    assert layer.self_attn.q_proj.weight.grad.abs().sum() > 0
    assert layer.self_attn.v_proj.weight.grad is None
