"""Attention to the lyrics of whole batches: the right words in every song, and no song feels its neighbours."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from acestep.checkpoints.registry import DEFAULT_MODEL, EMBEDDED_MODEL
from acestep.conditioning.conditions import Conditions
from acestep.conditioning.prompt import lyric_prompt
from acestep.constants import LANGUAGES, LATENT_RATE
from acestep.handler import AceStepHandler
from acestep.models.config import AceStepConfig
from acestep.params import GenerationConfig, GenerationParams
from acestep.pieces import latent_frames
from acestep.planner.plan import Metadata, Plan
from acestep.playing import Rendering
from acestep.request import Request
from acestep.sampling.noise import item_noise
from acestep.scoring import attention as scoring_attention
from acestep.scoring.alignment import align
from acestep.scoring.attention import LyricAttention, attention_to, heads_that_follow, noise_level, words_of
from acestep.scoring.timestamps import timed_lines

LYRICS = "[Verse]\nla la la\nlo lo\n\n[Chorus]\n你好 hey"
PLANS = (
    Plan("calm piano", "la", Metadata(duration=10.02, language="en")),
    Plan("strings", "[Instrumental]", Metadata(duration=12.0)),
    Plan("loud drums and a choir", LYRICS, Metadata(120, duration=21.5, language="yue")),
    Plan("nothing", "", Metadata(duration=10.0)),
    Plan("a flute", "\n\n  oh\nmy", Metadata(duration=15.0, language="unknown")),
)


def request(handler: AceStepHandler, seeds: list[int], inference_steps: int = 4) -> Request:
    params = GenerationParams(caption="x", thinking=False, inference_steps=inference_steps)
    return Request.from_params(params, GenerationConfig(batch_size=len(seeds), seeds=seeds), handler.model)


def played(handler: AceStepHandler, *numbers: int) -> tuple[Request, Rendering]:
    """The songs of some plans, in one batch, with their usual seeds."""
    asked = request(handler, list(numbers))
    return asked, handler.renderer.render(asked, [PLANS[number] for number in numbers])


@pytest.fixture(scope="module")
def batch(tiny: AceStepHandler) -> tuple[Request, Rendering]:
    return played(tiny, 0, 1, 2, 3, 4)


@pytest.fixture(scope="module")
def looked(tiny: AceStepHandler, batch: tuple[Request, Rendering]) -> tuple[LyricAttention | None, ...]:
    return tuple(tiny.renderer.lyric_attention(*batch, range(5)))


# --- Whole batches --------------------------------------------------------------------------------------------------
def test_only_songs_with_words_are_looked_at(looked: tuple[LyricAttention | None, ...]) -> None:
    assert [attention is None for attention in looked] == [False, True, False, True, False]


@pytest.mark.parametrize("number", [0, 2, 4])
def test_every_song_has_its_own_words_and_frames(
    tiny: AceStepHandler, looked: tuple[LyricAttention | None, ...], number: int
) -> None:
    attention, plan, vocabulary = looked[number], PLANS[number], tiny.renderer.family.tokenizer
    patch = tiny.renderer.family.model.config.patch_size
    frames = -(-latent_frames(plan.duration_s) // patch)
    assert attention.probabilities.shape == (12, len(attention.ids), frames)
    assert (attention.probabilities.dtype, attention.probabilities.device.type) == (torch.float32, "cpu")
    assert attention.frame_s == patch / LATENT_RATE
    assert "".join(vocabulary.texts(attention.ids)).strip() == plan.lyrics.strip()
    assert (attention.probabilities > 0).all()
    assert (attention.probabilities.sum(1) < 1).all()  # something is left for the rest of the prompt


@pytest.mark.parametrize("number", [0, 2, 4])
def test_a_song_in_a_batch_equals_the_song_alone(
    tiny: AceStepHandler, looked: tuple[LyricAttention | None, ...], number: int
) -> None:
    (alone,) = tiny.renderer.lyric_attention(*played(tiny, number), [0])
    assert alone.ids == looked[number].ids
    torch.testing.assert_close(looked[number].probabilities, alone.probabilities, atol=1e-5, rtol=0)


def test_a_batch_that_is_too_large_is_looked_at_in_parts(
    tiny: AceStepHandler,
    batch: tuple[Request, Rendering],
    looked: tuple[LyricAttention | None, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(scoring_attention, "CELLS_MAX", 1)
    for part, whole in zip(tiny.renderer.lyric_attention(*batch, range(5)), looked, strict=True):
        assert (part is None) == (whole is None)
        if part is not None:
            torch.testing.assert_close(part.probabilities, whole.probabilities, atol=1e-5, rtol=0)


def test_looking_again_finds_the_same_and_is_over_when_it_ends(
    tiny: AceStepHandler, batch: tuple[Request, Rendering], looked: tuple[LyricAttention | None, ...]
) -> None:
    again = tuple(tiny.renderer.lyric_attention(*batch, range(5)))
    assert torch.equal(again[2].probabilities, looked[2].probabilities)
    assert not tiny.renderer.busy


@contextmanager
def counted_forwards(handler: AceStepHandler) -> Iterator[list[int]]:
    """Batch sizes of what the transformer's first layer reads within the block."""
    sizes: list[int] = []
    embed = handler.renderer.family.model.decoder.condition_embedder
    hook = embed.register_forward_pre_hook(lambda _module, args: sizes.append(len(args[0])))
    try:
        yield sizes
    finally:
        hook.remove()


def test_only_the_songs_that_are_asked_for_are_looked_at(
    tiny: AceStepHandler, batch: tuple[Request, Rendering], looked: tuple[LyricAttention | None, ...]
) -> None:
    with counted_forwards(tiny) as sizes:
        assert list(tiny.renderer.lyric_attention(*batch, [])) == []
        assert list(tiny.renderer.lyric_attention(*batch, [1, 3])) == [None, None]
        assert sizes == []
        last, nothing, first = tiny.renderer.lyric_attention(*batch, [4, 3, 0])
    assert sizes == [2]
    assert nothing is None
    for one, number in ((last, 4), (first, 0)):
        assert one.ids == looked[number].ids
        torch.testing.assert_close(one.probabilities, looked[number].probabilities, atol=1e-5, rtol=0)


def test_songs_come_as_they_are_taken_and_the_network_rests_between_them(
    tiny: AceStepHandler, batch: tuple[Request, Rendering], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scoring_attention, "CELLS_MAX", 1)
    with counted_forwards(tiny) as sizes:
        songs = tiny.renderer.lyric_attention(*batch, [0, 1, 2])
        for done in ([1], [1], [1, 1]):
            one = next(songs)
            assert sizes == done
            assert not tiny.renderer.busy
            assert not torch.is_inference_mode_enabled()
        assert next(songs, None) is None
    kept = weakref.ref(one)
    del one
    assert kept() is None, "what was taken is not held"


@pytest.mark.parametrize(("steps", "level"), [(1, 0.5), (2, 0.5), (3, 1 / 3), (8, 0.125), (100, 0.01)])
def test_there_is_never_more_noise_than_song(steps: int, level: float) -> None:
    assert noise_level(steps) == level


def test_after_a_single_step_the_song_is_still_seen(tiny: AceStepHandler, batch: tuple[Request, Rendering]) -> None:
    once, rendering = request(tiny, [0], inference_steps=1), batch[1]
    silent = replace(rendering.songs[0], latents=torch.zeros_like(rendering.songs[0].latents))
    nothing = replace(rendering, songs=(silent, *rendering.songs[1:]))
    [song], [silence] = (tiny.renderer.lyric_attention(once, one, [0]) for one in (rendering, nothing))
    assert not torch.equal(song.probabilities, silence.probabilities)


def test_a_batch_without_words_asks_no_network(tiny: AceStepHandler) -> None:
    assert list(tiny.renderer.lyric_attention(*played(tiny, 1, 3), [0, 1])) == [None, None]


def test_what_is_found_can_be_scored_and_timed(
    tiny: AceStepHandler, looked: tuple[LyricAttention | None, ...]
) -> None:
    attention = looked[2]
    texts = tiny.renderer.family.tokenizer.texts(attention.ids)
    assert 0 <= align(attention.probabilities.numpy(), texts).score <= 1
    lines = timed_lines(attention.probabilities.numpy(), texts, PLANS[2].duration_s, attention.frame_s)
    assert [line.text for line in lines] == ["[Verse]", "la la la", "lo lo", "[Chorus]", "你好 hey"]


# --- What the network is asked --------------------------------------------------------------------------------------
def test_the_probabilities_are_those_of_a_little_noise_on_the_song(
    tiny: AceStepHandler, batch: tuple[Request, Rendering], looked: tuple[LyricAttention | None, ...]
) -> None:
    """By hand: noise of seed 42 at level one over the steps, one song of the batch, conditions without padding."""
    rendering, model, number = batch[1], tiny.renderer.family.model, 2
    conditions, latents = rendering.conditions, rendering.songs[number].latents[None]
    frames, rows = conditions.frames[number], int(conditions.encoder_mask[number].sum())
    noise = torch.randn(1, frames, 64, generator=torch.Generator().manual_seed(42))
    assert torch.equal(noise, item_noise([42], [frames], 64))
    cross = model.decoder.cross_attention_cache(conditions.encoder_states[number : number + 1, :rows])
    heads = {layer: range(4) for layer in (3, 4, 5)}
    x, context = 0.25 * noise + 0.75 * latents, conditions.context[number : number + 1, :frames]
    maps = model.decoder.cross_attention_maps(heads, x, torch.tensor(0.25), context, cross)  # [1, 12, N, L]
    header = len(tiny.renderer.family.tokenizer("", "# Languages\nyue\n\n# Lyric\n").lyric) - 2
    expected = maps[0, :, :, header : len(rendering.tokens[number].lyric) - 2].transpose(1, 2)
    torch.testing.assert_close(looked[number].probabilities, expected, atol=1e-5, rtol=0)


class Half(torch.nn.Module):
    """A model in bf16 that knows what it was asked."""

    def __init__(self, handler: AceStepHandler) -> None:
        super().__init__()
        self.config = handler.renderer.family.model.config
        self.asked: list[Tensor] = []
        self.decoder = self

    def cross_attention_cache(self, states: Tensor) -> Tensor:
        return states

    def cross_attention_maps(self, heads: dict, x: Tensor, *rest: object) -> Tensor:
        self.asked.append(x)
        return torch.zeros(len(x), 1, x.shape[1] // 2, rest[2].shape[1])


def test_latents_are_asked_in_the_type_of_the_network(tiny: AceStepHandler, batch: tuple[Request, Rendering]) -> None:
    given, model = batch[1].conditions, Half(tiny)
    halves = Conditions(given.encoder_states.bfloat16(), given.encoder_mask, given.context.bfloat16(), given.frames)
    words = {0: words_of(tiny.renderer.family.tokenizer, PLANS[0], batch[1].tokens[0])}
    attention_to(model, {0: [0]}, halves, {0: batch[1].songs[0].latents}, words, 0.25)
    assert [x.dtype for x in model.asked] == [torch.bfloat16]


# --- Words ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("language", LANGUAGES)
def test_words_begin_behind_the_header_of_any_language(tiny: AceStepHandler, language: str) -> None:
    tokenizer = tiny.renderer.family.tokenizer
    plan = replace(PLANS[2], metadata=Metadata(language=language))
    words = words_of(tokenizer, plan, tokenizer("", lyric_prompt(plan)))
    assert "".join(tokenizer.texts(words.ids)) == LYRICS
    assert words.ids == tokenizer("", lyric_prompt(plan)).lyric[words.rows]


@pytest.mark.parametrize("lyrics", ["<|endoftext|>", "la <|endoftext|>\nlo"])
def test_words_that_spell_an_end_marker_do_not_end(tiny: AceStepHandler, lyrics: str) -> None:
    tokenizer, plan = tiny.renderer.family.tokenizer, replace(PLANS[2], lyrics=lyrics)
    words = words_of(tokenizer, plan, tokenizer("", lyric_prompt(plan)))
    assert "".join(tokenizer.texts(words.ids)) == lyrics


@pytest.mark.parametrize("lyrics", ["", " \n", "[Instrumental]", "[Intro]\n\n[Solo]\n"])
def test_without_a_line_to_sing_there_are_no_words(tiny: AceStepHandler, lyrics: str) -> None:
    tokenizer, plan = tiny.renderer.family.tokenizer, replace(PLANS[2], lyrics=lyrics)
    assert words_of(tokenizer, plan, tokenizer("", lyric_prompt(plan))) is None


# --- Heads ----------------------------------------------------------------------------------------------------------
def test_published_models_have_known_heads() -> None:
    assert heads_that_follow(DEFAULT_MODEL, AceStepConfig()) == {2: [6], 3: [10, 11], 4: [3], 5: [8, 9], 6: [8]}


def test_where_no_head_is_known_the_second_half_of_the_layers_is_asked(tiny: AceStepHandler) -> None:
    config = tiny.renderer.family.model.config
    assert EMBEDDED_MODEL.alignment_heads == ()
    assert heads_that_follow(EMBEDDED_MODEL, config) == {3: [0, 1, 2, 3], 4: [0, 1, 2, 3], 5: [0, 1, 2, 3]}


def test_heads_that_the_network_lacks_are_not_asked(tiny: AceStepHandler) -> None:
    config = tiny.renderer.family.model.config
    assert heads_that_follow(replace(EMBEDDED_MODEL, alignment_heads=((1, 2), (1, 4), (6, 0))), config) == {1: [2]}
    assert heads_that_follow(replace(EMBEDDED_MODEL, alignment_heads=((3, 4),)), config).keys() == {3, 4, 5}
