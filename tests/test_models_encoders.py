"""The condition side: parity with diffusers, the XL timbre token, packing, and songs that do not feel one another."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from diffusers.pipelines.ace_step.modeling_ace_step import AceStepAttentionPooler
from torch import Tensor

from acestep.checkpoints.diffusers_keys import to_original
from acestep.models.acestep_model import AceStepModel
from acestep.models.config import AceStepConfig
from acestep.models.encoders import mask_if_padded, pack, scatter_references

from models_support import SMALL, SMALL_TINY, SMALL_XL, assert_close, diffusers_twin, draw, random_model

LYRICS, TEXT = [300, 140], [5, 9]  # real tokens of two songs


def mask_of(counts: list[int]) -> Tensor:
    return torch.arange(max(counts)) < torch.tensor(counts)[:, None]


def inputs(frames: int = 200) -> tuple[Tensor, ...]:
    """Two songs; the second has two references."""
    return (
        draw(2, max(TEXT), 40, seed=1),
        mask_of(TEXT),
        draw(2, max(LYRICS), 40, seed=2),
        mask_of(LYRICS),
        draw(3, frames, 64, seed=3),
        torch.tensor([0, 1, 1]),
    )


@pytest.mark.parametrize(
    ("config", "frames"), [(SMALL, frames) for frames in (1, 2, 129, 200, 300)] + [(SMALL_TINY, 200)]
)
def test_parity_with_diffusers(config: AceStepConfig, frames: int) -> None:
    model = random_model(config)
    ours, mask = model.encode_conditions(*inputs(frames))
    theirs, their_mask = diffusers_twin("condition_encoder", model)(*inputs(frames))
    assert torch.equal(mask, their_mask.bool())
    assert_close(ours[mask], theirs[mask])


def test_xl_differs_from_diffusers_in_the_timbre_rows_only() -> None:
    """A known disagreement: upstream's XL prepends the timbre token, diffusers does not."""
    model = random_model(SMALL_XL)
    ours, mask = model.encode_conditions(*inputs())
    theirs, _ = diffusers_twin("condition_encoder", model)(*inputs())
    differs = (ours - theirs).abs().amax(-1) > 1e-3
    timbre = torch.zeros_like(mask)
    timbre[0, 300], timbre[1, 140:142] = True, True
    assert torch.equal(differs & mask, timbre)


def test_without_its_token_xl_agrees_with_diffusers() -> None:
    """The XL weights under the 2B rule: nothing but the token separates the two."""
    model = random_model(SMALL_XL)
    plain = AceStepModel(replace(SMALL, is_turbo=SMALL_XL.is_turbo)).requires_grad_(False)
    plain.encoder.load_state_dict(model.encoder.state_dict())
    ours, mask = plain.encode_conditions(*inputs())
    theirs, _ = diffusers_twin("condition_encoder", model)(*inputs())
    assert_close(ours[mask], theirs[mask])


def test_the_xl_timbre_token_is_read_like_a_pooler_token() -> None:
    """diffusers' pooler prepends a token and keeps its output, which is what XL does to a whole recording."""
    timbre = random_model(SMALL_XL).encoder.timbre_encoder
    names = "hidden_size intermediate_size num_attention_heads num_key_value_heads head_dim rope_theta rms_norm_eps"
    sizes = {name: getattr(SMALL_XL.encoder, name) for name in [*names.split(), "sliding_window"]}
    pooler = AceStepAttentionPooler(
        **sizes, layer_types=list(SMALL_XL.layer_types), num_attention_pooler_hidden_layers=2
    )
    ours = timbre.state_dict()
    originals = {key: to_original("audio_tokenizer", key).removeprefix("tokenizer.") for key in pooler.state_dict()}
    identity = {"embed_tokens.weight": torch.eye(48), "embed_tokens.bias": torch.zeros(48)}
    weights = {key: ours[original] for key, original in originals.items()} | identity
    pooler.load_state_dict(weights)
    latents = draw(2, 200, 64, seed=4)
    with torch.no_grad():
        theirs = pooler(timbre.embed_tokens(latents)[:, None])[:, 0]
    assert_close(timbre(latents), theirs)


@pytest.mark.parametrize("config", [SMALL, SMALL_XL], ids=["2B", "XL"])
def test_a_song_conditions_alone_as_it_does_in_a_batch(config: AceStepConfig) -> None:
    model = random_model(config)
    text, text_mask, lyrics, lyric_mask, references, index = inputs()
    text[~text_mask], lyrics[~lyric_mask] = 50.0, -50.0  # padding may hold anything
    together, mask = model.encode_conditions(text, text_mask, lyrics, lyric_mask, references, index)
    for song in range(2):
        row, mine = slice(song, song + 1), index == song
        alone, full = model.encode_conditions(
            text[row, : TEXT[song]],
            text_mask[row, : TEXT[song]],
            lyrics[row, : LYRICS[song]],
            lyric_mask[row, : LYRICS[song]],
            references[mine],
            torch.zeros(int(mine.sum()), dtype=torch.long),
        )
        assert full.all()
        assert_close(together[song][mask[song]], alone[0])


def test_a_song_renders_alone_as_it_does_in_a_batch() -> None:
    """From conditions to velocity, with its null row: the null sequence has no padding of its own to attend."""
    model = random_model(SMALL)
    songs = inputs()
    states, mask = model.encode_conditions(*songs)
    rows = torch.cat((states, model.null_conditions(states)))
    x, context, frames = draw(2, 310, 64, seed=5), draw(2, 310, 128, seed=6), [310, 43]
    dit, t = model.decoder, torch.tensor(0.6)
    together = dit(
        x.repeat(2, 1, 1), t, context.repeat(2, 1, 1), dit.cross_attention_cache(rows), mask.repeat(2, 1), frames * 2
    )
    for song in range(2):
        row, own = slice(song, song + 1), states[song : song + 1, mask[song]]
        for offset, kept in ((0, own), (2, model.null_conditions(own)[:, :1])):
            cross = dit.cross_attention_cache(kept)
            alone = dit(x[row, : frames[song]], t, context[row, : frames[song]], cross)
            assert_close(together[song + offset, None, : frames[song]], alone)


def test_null_conditions_repeat_one_vector() -> None:
    model = random_model(SMALL)
    null = model.null_conditions(torch.empty(2, 7, 48))
    assert null.shape == (2, 7, 48)
    assert torch.equal(null, model.null_condition_emb[0, 0].expand(2, 7, 48))


def test_lyric_padding_on_the_left_is_refused() -> None:
    model = random_model(SMALL)
    text, text_mask, lyrics, lyric_mask, references, index = inputs()
    with pytest.raises(ValueError, match="padded on the right"):
        model.encode_conditions(text, text_mask, lyrics, lyric_mask.flip(1), references, index)


def test_integer_masks_mean_the_same() -> None:
    model = random_model(SMALL)
    text, text_mask, lyrics, lyric_mask, references, index = inputs()
    states, mask = model.encode_conditions(text, text_mask, lyrics, lyric_mask, references, index)
    others, other = model.encode_conditions(text, text_mask.long(), lyrics, lyric_mask.long(), references, index)
    assert torch.equal(mask, other)
    assert torch.equal(states, others)


def test_pack_moves_real_rows_to_the_front_in_order() -> None:
    sequence = torch.arange(10.0).view(2, 5, 1)
    mask = torch.tensor([[False, True, False, True, True], [True, True, True, True, True]])
    packed, packed_mask = pack(sequence, mask)
    assert packed[0, :, 0].tolist() == [1, 3, 4, 0, 2]
    assert packed[1, :, 0].tolist() == [5, 6, 7, 8, 9]
    assert packed_mask.tolist() == [[True, True, True, False, False], [True] * 5]


def test_references_go_to_their_items_in_order() -> None:
    vectors = torch.arange(4.0)[:, None]
    placed, mask = scatter_references(vectors, torch.tensor([2, 0, 2, 2]), 3)
    assert placed[..., 0].tolist() == [[1, 0, 0], [0, 0, 0], [0, 2, 3]]
    assert mask.tolist() == [[True, False, False], [False, False, False], [True, True, True]]


def test_a_mask_that_hides_nothing_is_none() -> None:
    padded = mask_of([3, 2])
    assert mask_if_padded(padded) is padded
    assert mask_if_padded(mask_of([3, 3])) is None


def test_bf16_conditions_take_fp32_inputs() -> None:
    exact, _ = random_model(SMALL).encode_conditions(*inputs())
    coarse, mask = random_model(SMALL, dtype=torch.bfloat16).encode_conditions(*inputs())
    assert coarse.dtype == torch.bfloat16
    assert (coarse[mask] - exact[mask]).norm() < 0.05 * exact[mask].norm()
