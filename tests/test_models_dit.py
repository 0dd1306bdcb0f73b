"""The DiT: parity with diffusers, independence of batch neighbours, the per-song cache, times, attention maps."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from acestep.models.config import FULL, AceStepConfig
from acestep.models.dit import CrossCache, DiT, sinusoid

from models_support import SMALL, SMALL_TINY, SMALL_XL, AttentionSpy, assert_close, diffusers_twin, draw, random_model

CONFIGS = pytest.mark.parametrize("config", [SMALL, SMALL_XL, SMALL_TINY], ids=["2B", "XL", "tiny"])
T_GRID = [1, 2, 5, 129, 257, 600]


def inputs(frames: int, items: int = 2, encoder: int = 30, width: int = SMALL.hidden_size) -> tuple[Tensor, ...]:
    """x, context, encoder states."""
    return (
        draw(items, frames, 64, seed=frames),
        draw(items, frames, 128, seed=frames + 1),
        draw(items, encoder, width, seed=frames + 2),
    )


def reference(twin: torch.nn.Module, x: Tensor, t: Tensor, r: Tensor, context: Tensor, states: Tensor) -> Tensor:
    return twin(x, t, r, states, context, return_dict=False)[0]


@CONFIGS
@pytest.mark.parametrize("frames", T_GRID)
def test_parity_with_diffusers(config: AceStepConfig, frames: int) -> None:
    model = random_model(config)
    x, context, states = inputs(frames)
    t = torch.tensor([0.3, 0.9])
    ours = model.decoder(x, t, context, model.decoder.cross_attention_cache(states))
    assert_close(ours, reference(diffusers_twin("transformer", model), x, t, t, context, states))


@CONFIGS
def test_parity_when_the_step_has_an_end_of_its_own(config: AceStepConfig) -> None:
    """diffusers is told r; ours takes the same r, and leaving it out means r = t."""
    model = random_model(config)
    twin = diffusers_twin("transformer", model)
    x, context, states = inputs(30)
    t, r = torch.tensor([0.7, 0.6]), torch.tensor([0.2, 0.6])
    cross = model.decoder.cross_attention_cache(states)
    assert_close(model.decoder(x, t, context, cross, r=r), reference(twin, x, t, r, context, states))
    plain = model.decoder(x, t, context, cross)
    assert_close(model.decoder(x, t, context, cross, r=t), plain)
    assert (model.decoder(x, t, context, cross, r=r)[0] - plain[0]).abs().max() > 1e-3


def test_one_time_serves_the_whole_batch() -> None:
    dit = random_model(SMALL).decoder
    x, context, states = inputs(20)
    cross = dit.cross_attention_cache(states)
    each = dit(x, torch.tensor([0.4, 0.4]), context, cross)
    for shared in (torch.tensor(0.4), torch.tensor([0.4])):
        assert_close(dit(x, shared, context, cross), each)


# --- Neighbours in the batch ------------------------------------------------------------------------------------


@CONFIGS
@pytest.mark.parametrize("lengths", [[601, 600], [7, 401], [1, 2], [258, 259], [129, 600]])
def test_an_item_does_not_feel_its_neighbours(config: AceStepConfig, lengths: list[int]) -> None:
    """Frames and condition tokens of a longer neighbour, and whatever fills the padding, change nothing."""
    dit = random_model(config).decoder
    x, context, states = inputs(max(lengths))
    tokens = [11, 30]
    mask = torch.arange(30) < torch.tensor(tokens)[:, None]
    for item in range(2):
        x[item, lengths[item] :] = math.nan
        context[item, lengths[item] :] = 1e6
        states[item, tokens[item] :] = 1e3
    t = torch.tensor([0.8, 0.35])
    together = dit(x, t, context, dit.cross_attention_cache(states), mask, lengths)
    for item in range(2):
        row, frames = slice(item, item + 1), slice(lengths[item])
        cross = dit.cross_attention_cache(states[row, : tokens[item]])
        alone = dit(x[row, frames], t[row], context[row, frames], cross)
        assert_close(together[row, frames], alone)


def test_full_lengths_and_masks_change_nothing() -> None:
    dit = random_model(SMALL).decoder
    x, context, states = inputs(300)
    cross, t = dit.cross_attention_cache(states), torch.tensor(0.5)
    plain = dit(x, t, context, cross)
    assert torch.equal(dit(x, t, context, cross, None, [300, 300]), plain)
    assert_close(dit(x, t, context, cross, torch.ones(2, 30, dtype=torch.bool)), plain)


def test_without_padding_no_mask_exists() -> None:
    dit = random_model(SMALL).decoder
    x, context, states = inputs(200)
    with AttentionSpy() as spy:
        dit(x, torch.tensor(0.5), context, dit.cross_attention_cache(states), None, [200, 200])
    assert spy.masks == [None] * 8  # a self- and a cross-attention in each of four layers


@pytest.mark.parametrize("lengths", [[20], [20, 20, 20], [0, 20], [21, 20]])
def test_lengths_that_do_not_fit_are_refused(lengths: list[int]) -> None:
    dit = random_model(SMALL).decoder
    x, context, states = inputs(20)
    with pytest.raises(ValueError, match="2 numbers from 1 to 20"):
        dit(x, torch.tensor(0.5), context, dit.cross_attention_cache(states), None, lengths)


def test_padding_is_hidden_where_diffusers_attends_it() -> None:
    """A known disagreement: with padded conditions ours equals diffusers without the padding, not with it."""
    model = random_model(SMALL)
    twin = diffusers_twin("transformer", model)
    x, context, states = inputs(40, items=1)
    t, mask = torch.tensor([0.5]), torch.arange(30)[None] < 12
    ours = model.decoder(x, t, context, model.decoder.cross_attention_cache(states), mask)
    assert_close(ours, reference(twin, x, t, t, context, states[:, :12]))
    assert (ours - reference(twin, x, t, t, context, states)).abs().max() > 1e-2


# --- The cache of a song ----------------------------------------------------------------------------------------


def test_the_cache_serves_every_step_and_every_latent() -> None:
    dit = random_model(SMALL).decoder
    _, _, states = inputs(40)
    cross = dit.cross_attention_cache(states)
    before = [tensor.clone() for tensor in (*cross.keys, *cross.values)]
    for frames, t in ((40, 1.0), (40, 0.3), (77, 0.3)):
        x, context, _ = inputs(frames)
        fresh = dit.cross_attention_cache(states)
        assert torch.equal(dit(x, torch.tensor(t), context, cross), dit(x, torch.tensor(t), context, fresh))
    assert all(torch.equal(a, b) for a, b in zip(before, (*cross.keys, *cross.values), strict=True))


def test_the_cache_holds_what_a_layer_would_compute() -> None:
    dit = random_model(SMALL_XL).decoder
    states = draw(2, 9, SMALL_XL.encoder_width, seed=1)
    cross = dit.cross_attention_cache(states)
    source = states @ dit.condition_embedder.weight.T + dit.condition_embedder.bias
    for layer, keys, values in zip(dit.layers, cross.keys, cross.values, strict=True):
        raw = (source @ layer.cross_attn.k_proj.weight.T).view(2, 9, 2, 16)
        normed = raw / (raw.square().mean(-1, keepdim=True) + 1e-6).sqrt() * layer.cross_attn.k_norm.weight
        assert_close(keys, normed)
        assert_close(values, (source @ layer.cross_attn.v_proj.weight.T).view(2, 9, 2, 16))


# --- Time and types ---------------------------------------------------------------------------------------------


def test_the_sinusoid_is_the_published_one() -> None:
    t = torch.tensor([0.0, 0.3, 0.9545454545454546, 1.0])
    table = sinusoid(t)
    assert table.dtype == torch.float32
    for row, value in zip(table, t.tolist(), strict=True):
        for index in range(128):
            angle = value * 1000 * math.exp(-math.log(10_000) * index / 128)
            assert row[index].item() == pytest.approx(math.cos(angle), abs=2e-4)
            assert row[index + 128].item() == pytest.approx(math.sin(angle), abs=2e-4)


def test_time_is_not_rounded_to_the_type_of_the_weights() -> None:
    """bf16 has no 0.9545; a schedule of turbo must not become another schedule."""
    dit = random_model(SMALL, dtype=torch.bfloat16).decoder
    x, context, states = inputs(20)
    cross = dit.cross_attention_cache(states)
    exact, rounded = torch.tensor(21 / 22), torch.tensor(21 / 22).bfloat16().float()
    assert not torch.equal(dit(x, exact, context, cross), dit(x, rounded, context, cross))
    embedded = dit.time_embed(exact[None]).raw
    by_hand = dit.time_embed.linear_1(sinusoid(exact[None]).bfloat16())
    assert torch.equal(embedded, dit.time_embed.linear_2(torch.nn.functional.silu(by_hand)))


def test_bf16_weights_take_fp32_latents_and_stay_close() -> None:
    exact = random_model(SMALL).decoder
    coarse = random_model(SMALL, dtype=torch.bfloat16).decoder
    x, context, states = inputs(300)
    t = torch.tensor(0.5)
    ours = coarse(x, t, context, coarse.cross_attention_cache(states))
    full = exact(x, t, context, exact.cross_attention_cache(states))
    assert ours.dtype == torch.float32
    assert (ours - full).norm() < 0.05 * full.norm()
    halves = coarse(x.bfloat16(), t, context.bfloat16(), coarse.cross_attention_cache(states))
    assert halves.dtype == torch.bfloat16
    assert torch.isfinite(halves).all()


def test_every_weight_of_the_decoder_learns() -> None:
    model = random_model(SMALL).requires_grad_(True)
    x, context, states = inputs(300)
    mask = torch.arange(30) < torch.tensor([[30], [9]])
    cross = model.decoder.cross_attention_cache(states)
    model.decoder(x, torch.tensor([0.2, 0.7]), context, cross, mask, [300, 263]).square().sum().backward()
    for name, parameter in model.decoder.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().max() > 0, name


# --- Where the conditions are looked at -------------------------------------------------------------------------


def dit_without_layers(dit: DiT, config: AceStepConfig, keep: int) -> DiT:
    """The first ``keep`` layers of ``dit`` as a network of its own."""
    short = DiT(replace(config, num_hidden_layers=keep)).requires_grad_(False)
    short.load_state_dict({name: tensor for name, tensor in dit.state_dict().items() if name in short.state_dict()})
    return short


def only_value(cross: CrossCache, layer: int, token: int) -> CrossCache:
    """The cache with all values of ``layer`` zero but those of one token, which are one."""
    values = list(cross.values)
    values[layer] = torch.zeros_like(values[layer])
    values[layer][:, token] = 1.0
    return replace(cross, values=tuple(values))


def test_attention_maps_are_what_the_layer_mixes_with() -> None:
    """With an o_proj that copies and values that mark one token, the output is the probability of that token."""
    config = replace(SMALL, hidden_size=64, fsq_dim=64, layer_types=(FULL,) * 4)
    dit = random_model(config).decoder
    x, context, states = inputs(20, encoder=6, width=64)
    t, cross = torch.tensor(0.5), dit.cross_attention_cache(states)
    maps = dit.cross_attention_maps({1: [1, 2], 2: [1]}, x, t, context, cross)
    assert maps.shape == (2, 3, 10, 6)
    assert_close(maps.sum(-1), torch.ones(2, 3, 10))
    layer = dit.layers[1].cross_attn
    layer.o_proj.weight.data = torch.eye(64)
    seen: list[Tensor] = []
    handle = layer.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    for token in range(6):
        dit(x, t, context, only_value(cross, 1, token))
    handle.remove()
    mixed = torch.stack(seen, -1).unflatten(2, (4, 16))  # [B, S, H, d, L]
    assert_close(maps[:, 0], mixed[:, :, 1, 0])
    assert_close(maps[:, 1], mixed[:, :, 2, 5])


def test_attention_maps_run_no_further_than_they_look() -> None:
    dit = random_model(SMALL).decoder
    x, context, states = inputs(20)
    t, short = torch.tensor(0.5), dit_without_layers(dit, SMALL, 2)
    mask = torch.arange(30) < torch.tensor([[30], [9]])
    full = dit.cross_attention_maps({0: [2], 1: [1]}, x, t, context, dit.cross_attention_cache(states), mask)
    part = short.cross_attention_maps({0: [2], 1: [1]}, x, t, context, short.cross_attention_cache(states), mask)
    assert_close(full, part)
    assert not full[1, :, :, 9:].any()


@CONFIGS
@pytest.mark.parametrize("lengths", [[601, 600], [7, 401], [258, 259]])
def test_attention_maps_of_an_item_do_not_feel_its_neighbours(config: AceStepConfig, lengths: list[int]) -> None:
    dit = random_model(config).decoder
    x, context, states = inputs(max(lengths))
    tokens, t, heads = [11, 30], torch.tensor(0.125), {1: [0, 3], 3: [2]}
    mask = torch.arange(30) < torch.tensor(tokens)[:, None]
    for item in range(2):
        x[item, lengths[item] :] = math.nan
        context[item, lengths[item] :] = 1e6
        states[item, tokens[item] :] = 1e3
    together = dit.cross_attention_maps(heads, x, t, context, dit.cross_attention_cache(states), mask, lengths)
    for item in range(2):
        row, frames, seen = slice(item, item + 1), slice(lengths[item]), -(-lengths[item] // 2)
        cross = dit.cross_attention_cache(states[row, : tokens[item]])
        alone = dit.cross_attention_maps(heads, x[row, frames], t, context[row, frames], cross)
        assert alone.shape == (1, 3, seen, tokens[item])
        assert_close(together[row, :, :seen, : tokens[item]], alone)


@pytest.mark.parametrize("lengths", [[20], [0, 20], [21, 20]])
def test_attention_maps_refuse_lengths_that_do_not_fit(lengths: list[int]) -> None:
    dit = random_model(SMALL).decoder
    x, context, states = inputs(20)
    with pytest.raises(ValueError, match="2 numbers from 1 to 20"):
        dit.cross_attention_maps(
            {0: [0]}, x, torch.tensor(0.5), context, dit.cross_attention_cache(states), None, lengths
        )


@pytest.mark.parametrize("heads", [{4: [0]}, {0: [4]}])
def test_attention_maps_of_missing_heads_are_refused(heads: dict[int, list[int]]) -> None:
    dit = random_model(SMALL).decoder
    x, context, states = inputs(20)
    with pytest.raises(IndexError):
        dit.cross_attention_maps(heads, x, torch.tensor(0.5), context, dit.cross_attention_cache(states))
