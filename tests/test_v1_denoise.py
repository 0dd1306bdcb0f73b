"""What the v1 transformer is told for guidance, and its velocities of a batch against one forward after another."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor
from transformers import UMT5Config, UMT5EncoderModel

from acestep.checkpoints.registry import MODELS
from acestep.checkpoints.rows import FIRST
from acestep.params import GenerationParams
from acestep.sampling.noise import item_noise
from acestep.v1.choice import V1Choice, choose_v1
from acestep.v1.conditions import Contexts, edit_contexts, read_tags, song_contexts
from acestep.v1.denoise import Denoiser
from acestep.v1.layout import latents_of, rows_of
from acestep.v1.text import TagEncoder
from acestep.v1.transformer import Transformer

from v1_networks_support import TINY, random_transformer

CPU = torch.device("cpu")
PROMPT, LYRICS = (7, 4, 9, 1), (26, 5, 31, 2, 44, 2)
FRAMES, SEEDS = 6, (3, 4)
ALL_TRUE, NO_TOKENS = torch.ones(1, 4, dtype=torch.bool), torch.zeros(1, 6, dtype=torch.bool)
SPEC = next(spec for spec in MODELS.values() if spec.variant.generation is FIRST)
NETWORK_SIZES = {
    "d_model": TINY.text_embedding_dim,
    "d_kv": 6,
    "d_ff": 30,
    "num_layers": 3,
    "num_heads": 2,
    "vocab_size": 12,
}


@pytest.fixture(scope="module")
def encoder() -> TagEncoder:
    torch.manual_seed(5)
    network = UMT5EncoderModel(UMT5Config(**NETWORK_SIZES, attn_implementation="eager")).eval().requires_grad_(False)
    for parameter in network.parameters():
        parameter.copy_(torch.randn_like(parameter) * (0.4 if parameter.dim() > 1 else 1.0))
    return TagEncoder(network, (1,))


@pytest.fixture(scope="module")
def transformer() -> Transformer:
    return random_transformer()


def _choice(**fields: object) -> V1Choice:
    return choose_v1(GenerationParams(**fields), SPEC)[0]


def _contexts(
    transformer: Transformer, encoder: TagEncoder, lyrics: Sequence[int] = LYRICS, **fields: object
) -> Contexts:
    choice = _choice(**fields)
    return song_contexts(transformer, read_tags(encoder, PROMPT, choice, CPU), lyrics, choice)


def _encoded(transformer: Transformer, text: Tensor, ids: Sequence[int], *, weaken: bool = False) -> Tensor:
    """Context ``[N, D]`` of tags and lyrics that are all heard."""
    row = torch.tensor([ids])
    states, mask = transformer.encode(text, ALL_TRUE, row, torch.ones_like(row).bool(), weaken_lyrics=weaken)
    assert mask.all()
    return states[0]


# --- Contexts -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("weak_lyrics", [True, False])
@pytest.mark.parametrize("weak_tags", [True, False])
def test_guidance_leads_away_from_weakly_read_words_or_from_none(
    transformer: Transformer, encoder: TagEncoder, weak_tags: bool, weak_lyrics: bool
) -> None:
    contexts = _contexts(transformer, encoder, use_erg_tag=weak_tags, use_erg_lyric=weak_lyrics)
    ids = torch.tensor([PROMPT])
    tags, weak = (encoder(ids, ALL_TRUE, weaken=weaken) for weaken in (False, True))
    nothing = torch.zeros_like(tags)
    if weak_lyrics:
        negative = _encoded(transformer, weak if weak_tags else nothing, LYRICS, weaken=True)
    else:
        negative = _encoded(transformer, nothing, [0] * len(LYRICS))
    assert contexts.states.shape == (2, 1 + len(PROMPT) + len(LYRICS), TINY.inner_dim)
    torch.testing.assert_close(contexts.states[0], _encoded(transformer, tags, LYRICS), rtol=0, atol=0)
    torch.testing.assert_close(contexts.states[1], negative, rtol=0, atol=0)
    assert contexts.mask.all()


@pytest.mark.parametrize("weak_lyrics", [True, False])
def test_double_guidance_reads_the_tags_alone_as_well(
    transformer: Transformer, encoder: TagEncoder, weak_lyrics: bool
) -> None:
    double = {"guidance_scale_text": 5.0, "guidance_scale_lyric": 1.5, "use_erg_lyric": weak_lyrics}
    contexts = _contexts(transformer, encoder, **double)
    tags = encoder(torch.tensor([PROMPT]), ALL_TRUE)
    lyrics = LYRICS if weak_lyrics else [0] * len(LYRICS)
    assert len(contexts.states) == len(contexts.mask) == 3
    torch.testing.assert_close(
        contexts.states[2], _encoded(transformer, tags, lyrics, weaken=weak_lyrics), rtol=0, atol=0
    )
    single = _contexts(transformer, encoder, use_erg_lyric=weak_lyrics)
    assert torch.equal(contexts.states[:2], single.states)


def test_without_guidance_the_words_are_read_once(transformer: Transformer, encoder: TagEncoder) -> None:
    choice = _choice(guidance_scale=1.0)
    assert read_tags(encoder, PROMPT, choice, CPU).weak is None
    assert len(_contexts(transformer, encoder, guidance_scale=1.0).states) == 1


@pytest.mark.parametrize("fields", [{"use_erg_tag": False}, {"use_erg_lyric": False}])
def test_tags_are_only_read_weakly_for_weakly_read_lyrics(encoder: TagEncoder, fields: dict[str, bool]) -> None:
    assert read_tags(encoder, PROMPT, _choice(**fields), CPU).weak is None
    assert read_tags(encoder, PROMPT, _choice(), CPU).weak is not None


@pytest.mark.parametrize("lyrics", [(), (0,)])
def test_without_lyrics_one_hidden_token_stands_for_them(
    transformer: Transformer, encoder: TagEncoder, lyrics: tuple[int, ...]
) -> None:
    contexts = _contexts(transformer, encoder, lyrics)
    assert contexts.mask.tolist() == [[True] * 5 + [False]] * 2
    assert contexts.states.isfinite().all()


def test_a_flow_edit_leads_away_from_nothing_and_hides_the_lyrics(
    transformer: Transformer, encoder: TagEncoder
) -> None:
    choice = _choice().comparing()
    tags = read_tags(encoder, PROMPT, choice, CPU)
    contexts = edit_contexts(transformer, tags, LYRICS, choice)
    null, mask = transformer.encode(torch.zeros_like(tags.states), ALL_TRUE, torch.zeros(1, 6).long(), NO_TOKENS)
    assert tags.weak is None
    torch.testing.assert_close(contexts.states[1:], null, rtol=0, atol=0)
    assert torch.equal(contexts.mask[1:], mask)
    assert torch.equal(contexts.states[0], _encoded(transformer, tags.states, LYRICS))
    assert len(edit_contexts(transformer, tags, LYRICS, _choice(guidance_scale=1.0).comparing()).states) == 1


# --- Velocities -----------------------------------------------------------------------------------------------------


def _state() -> Tensor:
    """Rows ``[B, 16 F, 8]``."""
    return item_noise(SEEDS, [16 * FRAMES] * len(SEEDS), 8)


def _one_by_one(transformer: Transformer, contexts: Contexts, row: int, t: float, *, weak: bool = False) -> Tensor:
    """Velocities of the batch under one context, song by song, with the mask and without any sharing."""
    one = slice(row, row + 1)
    songs = [
        transformer(
            latents_of(song[None]),
            torch.tensor([t]),
            transformer.cross_cache(contexts.states[one]),
            contexts.mask[one],
            torch.tensor([weak]),
        )
        for song in _state()
    ]
    return rows_of(torch.cat(songs))


@pytest.mark.parametrize("lyrics", [LYRICS, ()])
@pytest.mark.parametrize("weaken", [True, False])
@pytest.mark.parametrize("kind", ["apg", "double"])
def test_one_forward_gives_what_one_after_another_gives(
    transformer: Transformer, encoder: TagEncoder, kind: str, weaken: bool, lyrics: tuple[int, ...]
) -> None:
    fields = {"guidance_scale_text": 5.0, "guidance_scale_lyric": 1.5} if kind == "double" else {}
    contexts = _contexts(transformer, encoder, lyrics, **fields)
    velocities = Denoiser(transformer, contexts, weaken=weaken)(_state(), 0.7, guided=True)
    for row, velocity in enumerate(velocities[: len(contexts.states)]):
        expected = _one_by_one(transformer, contexts, row, 0.7, weak=weaken and row == 1)
        torch.testing.assert_close(velocity, expected, rtol=0, atol=1e-5)
    assert (velocities.tags is None) == (kind == "apg")


def test_blurring_reaches_the_negative_alone(transformer: Transformer, encoder: TagEncoder) -> None:
    contexts = _contexts(transformer, encoder, guidance_scale_text=5.0, guidance_scale_lyric=1.5)
    sharp, blurred = (Denoiser(transformer, contexts, weaken=weaken)(_state(), 0.7, guided=True) for weaken in (0, 1))
    torch.testing.assert_close(sharp.conditional, blurred.conditional, rtol=0, atol=1e-5)
    torch.testing.assert_close(sharp.tags, blurred.tags, rtol=0, atol=1e-5)
    assert (sharp.negative - blurred.negative).abs().max() > 1e-3


def test_a_step_that_is_not_guided_runs_the_songs_alone(transformer: Transformer, encoder: TagEncoder) -> None:
    contexts, sizes = _contexts(transformer, encoder), []
    denoiser = Denoiser(transformer, contexts, weaken=True)
    hook = transformer.register_forward_pre_hook(lambda _module, given: sizes.append(len(given[0])))
    plain, guided = (denoiser(_state(), 0.7, guided=guided) for guided in (False, True))
    hook.remove()
    assert sizes == [2, 4]
    assert plain.negative is plain.tags is None
    torch.testing.assert_close(plain.conditional, guided.conditional, rtol=0, atol=1e-5)


def test_keys_and_values_are_made_once_per_run_and_condition(transformer: Transformer, encoder: TagEncoder) -> None:
    contexts, made = _contexts(transformer, encoder), []
    first = transformer.transformer_blocks[0].cross_attn
    hooks = [
        layer.register_forward_hook(lambda _module, given, _out: made.append(len(given[0])))
        for layer in (first.to_k, first.to_v)
    ]
    denoiser = Denoiser(transformer, contexts, weaken=True)
    for level in (0.9, 0.5, 0.1):
        denoiser(_state(), level, guided=True)
        denoiser(_state(), level, guided=False)
    for hook in hooks:
        hook.remove()
    assert made == [2, 2]


def test_a_half_precision_network_gives_fp32_velocities(encoder: TagEncoder) -> None:
    half = random_transformer(dtype=torch.bfloat16)
    velocities = Denoiser(half, _contexts(half, encoder), weaken=True)(_state(), 0.7, guided=True)
    assert velocities.conditional.dtype == velocities.negative.dtype == torch.float32


def test_hidden_tokens_reach_no_velocity(transformer: Transformer, encoder: TagEncoder) -> None:
    contexts = _contexts(transformer, encoder, ())
    spoiled = Contexts(contexts.states.clone(), contexts.mask)
    spoiled.states[:, -1] = 100.0
    one, other = (
        Denoiser(transformer, each, weaken=True)(_state(), 0.7, guided=True) for each in (contexts, spoiled)
    )
    assert torch.equal(one.conditional, other.conditional)
    assert torch.equal(one.negative, other.negative)
