"""A batch of v1 from noise to latents on a small real transformer: where it starts, what stays, what it equals."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor

from acestep.checkpoints.registry import MODELS
from acestep.checkpoints.rows import FIRST
from acestep.errors import CancelledError, GenerationError
from acestep.params import GenerationParams
from acestep.sampling.noise import ItemNoise, item_noise
from acestep.v1.choice import V1Choice, choose_v1
from acestep.v1.conditions import Contexts, Tags, edit_contexts, song_contexts
from acestep.v1.flow import Canvas, Described, Ground, NoiseOrder, Reference, v1_flow
from acestep.v1.transformer import Transformer

from v1_networks_support import TINY, random_transformer
from v1_sampling_support import Array, SlowGuidance, SlowSampler, as_latents, slow_grid

CPU = torch.device("cpu")
FRAMES, STEPS = 6, 10  # 8 steps would count as not given
SPEC = next(spec for spec in MODELS.values() if spec.variant.generation is FIRST)
LYRICS, OTHER_LYRICS = (26, 5, 31, 2, 44, 2), (26, 5, 12, 2)
SOLVERS = ("euler", "heun", "pingpong")
KINDS = ({"guidance_scale": 1.0}, {}, {"cfg_type": "cfg"}, {"guidance_scale_text": 2.0, "guidance_scale_lyric": 1.5})
TOLERANCE = 2e-6  # of the largest latent; the slow run is fp64 around the same fp32 network


@pytest.fixture(scope="module")
def transformer() -> Transformer:
    return random_transformer(seed=2)


def _choice(**fields: object) -> V1Choice:
    return choose_v1(GenerationParams(**{"inference_steps": STEPS, "guidance_scale": 3.0} | fields), SPEC)[0]


def _tags(seed: int = 1) -> Tags:
    states = torch.randn(2, 1, 4, TINY.text_embedding_dim, generator=torch.Generator().manual_seed(seed))
    return Tags(states[0], states[1])


def _words(transformer: Transformer, choice: V1Choice) -> Contexts:
    return song_contexts(transformer, _tags(), LYRICS, choice)


def _flow(
    transformer: Transformer,
    choice: V1Choice,
    seeds: Sequence[int] = (5,),
    ground: Ground | None = None,
    contexts: Contexts | None = None,
    on_step: Callable[[int, int], None] | None = None,
) -> Tensor:
    words = contexts or _words(transformer, choice)
    noise = NoiseOrder(tuple(seeds), FRAMES)
    return v1_flow(transformer, choice, words, noise, ground, device=CPU, on_step=on_step)


def _recording(seed: int = 100, songs: int = 1) -> Tensor:
    """Latents ``[B, 8, 16, F]``."""
    return 0.8 * torch.randn(songs, 8, 16, FRAMES, generator=torch.Generator().manual_seed(seed))


# --- Slowly ---------------------------------------------------------------------------------------------------------


def _slow_velocity(
    transformer: Transformer, contexts: Contexts, *, weaken: bool
) -> Callable[[Array, float, str], Array]:
    """The network on one song, one condition at a time, with its mask and keys and values made anew."""

    def velocity(x: Array, sigma: float, words: str) -> Array:
        row = ("song", "negative", "tags").index(words)
        one = slice(row, row + 1)
        with torch.no_grad():
            v = transformer(
                torch.from_numpy(x)[None].float(),
                torch.tensor([sigma]).float(),
                transformer.cross_cache(contexts.states[one]),
                contexts.mask[one],
                torch.tensor([weaken and words == "negative"]),
            )
        return v[0].double().numpy()

    return velocity


def _slow(transformer: Transformer, choice: V1Choice, sigmas: Sequence[float], seed: int = 5) -> SlowSampler:
    guidance = SlowGuidance.of(choice)
    velocity = _slow_velocity(transformer, _words(transformer, choice), weaken=choice.weaken_diffusion)
    return SlowSampler(velocity, sigmas, guidance, choice.omega, choice.solver, _step_noises(seed))


def _noise(seed: int = 5) -> Array:
    return as_latents(item_noise([seed], [16 * FRAMES], 8)[0])


def _step_noises(seed: int = 5) -> Iterator[Array]:
    fresh = ItemNoise([seed], 8)
    while True:
        yield as_latents(fresh.draw([16 * FRAMES])[0])


def _assert_near(latents: Tensor, expected: Array) -> None:
    apart = np.abs(latents.double().numpy() - expected).max()
    assert apart <= TOLERANCE * max(1.0, np.abs(expected).max())


# --- New songs ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("fields", KINDS)
def test_a_new_song_is_what_the_described_run_makes(
    transformer: Transformer, fields: dict[str, object], solver: str
) -> None:
    choice = _choice(scheduler_type=solver, **fields)
    latents = _flow(transformer, choice)
    assert latents.shape == (1, 8, 16, FRAMES)
    assert latents.dtype == torch.float32
    assert latents.is_contiguous()
    _assert_near(latents[0], _slow(transformer, choice, slow_grid(STEPS)).run(_noise()))


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_song_is_the_same_alone_and_in_a_batch(transformer: Transformer, solver: str) -> None:
    choice = _choice(scheduler_type=solver)
    batch = _flow(transformer, choice, [3, 11, 7])
    assert torch.equal(batch, _flow(transformer, choice, [3, 11, 7]))
    for row, seed in enumerate([3, 11, 7]):
        torch.testing.assert_close(batch[row : row + 1], _flow(transformer, choice, [seed]), rtol=1e-4, atol=1e-4)
    assert (batch[0] - batch[1]).abs().max() > 0.01


def test_a_variation_walks_from_one_seed_to_the_other(transformer: Transformer) -> None:
    choice = _choice()
    contexts, ends = _words(transformer, choice), [_flow(transformer, choice, [seed]) for seed in (5, 9)]

    def varied(strength: float) -> Tensor:
        noise = NoiseOrder((5,), FRAMES, (9,), strength)
        return v1_flow(transformer, choice, contexts, noise, device=CPU)

    assert torch.equal(varied(0.0), ends[0])
    assert torch.equal(varied(1.0), ends[1])
    angle = 0.2 * math.pi / 2
    start = math.cos(angle) * _noise(5) + math.sin(angle) * _noise(9)
    _assert_near(varied(0.2)[0], _slow(transformer, choice, slow_grid(STEPS)).run(start))


# --- From a reference -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_reference_is_met_at_the_first_level_of_a_grid_of_its_own(transformer: Transformer, solver: str) -> None:
    choice, recording = _choice(scheduler_type=solver), _recording()
    latents = _flow(transformer, choice, ground=Reference(recording, 0.5))
    sigmas = slow_grid(5, 0.5)
    assert sigmas[0] == pytest.approx(0.9)
    start = 0.9 * _noise() + 0.1 * recording[0].double().numpy()
    _assert_near(latents[0], _slow(transformer, choice, sigmas).run(start))


@pytest.mark.parametrize("fields", [{}, {"oss_steps": [2, 5, 8], "inference_steps": None}])
def test_a_reference_kept_whole_comes_back_and_nothing_runs(
    transformer: Transformer, fields: dict[str, object]
) -> None:
    seen: list[tuple[int, int]] = []
    recording = _recording()
    whole = Reference(recording, 1.0)
    latents = _flow(transformer, _choice(**fields), (5, 6), whole, on_step=lambda *done: seen.append(done))
    assert torch.equal(latents, recording.expand(2, -1, -1, -1))
    assert seen == []


def test_a_reference_of_no_strength_is_a_new_song(transformer: Transformer) -> None:
    choice = _choice()
    assert torch.equal(_flow(transformer, choice, ground=Reference(_recording(), 0.0)), _flow(transformer, choice))


def test_the_nearer_the_reference_the_closer_the_song(transformer: Transformer) -> None:
    recording, choice = _recording(), _choice(guidance_scale=1.0)
    ways = [
        (_flow(transformer, choice, ground=Reference(recording, strength)) - recording).norm().item()
        for strength in (0.0, 0.3, 0.6, 0.9, 1.0)
    ]
    assert ways == sorted(ways, reverse=True)
    assert ways[-1] == 0


# --- Within a recording ---------------------------------------------------------------------------------------------

MIDDLE = [False, False, True, True, True, False]
BOTH_ENDS = [True, True, False, False, False, True]


@pytest.mark.parametrize("variance", [1.0, 0.5])
@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("inside", [MIDDLE, BOTH_ENDS])
def test_what_lies_outside_comes_back_bit_for_bit(
    transformer: Transformer, inside: list[bool], solver: str, variance: float
) -> None:
    recording, mask = _recording(), torch.tensor([inside])
    canvas = Canvas(recording, mask, variance)
    latents = _flow(transformer, _choice(scheduler_type=solver), (5, 6), canvas)
    assert torch.equal(latents[..., ~mask[0]], recording[..., ~mask[0]].expand(2, -1, -1, -1))
    for song in latents:
        assert ((song - recording[0])[..., mask[0]].abs().amax(dim=(0, 1)) > 0.01).all()
    assert (latents[0] - latents[1])[..., mask[0]].abs().max() > 0.01


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("variance", [1.0, 0.4])
def test_a_repaint_runs_the_last_steps_with_a_guided_middle_of_their_own(
    transformer: Transformer, variance: float, solver: str
) -> None:
    recording, choice = _recording(), _choice(scheduler_type=solver)
    latents = _flow(transformer, choice, ground=Canvas(recording, torch.tensor([MIDDLE]), variance))
    sigmas = slow_grid(STEPS)[int(STEPS * (1 - variance)) :]
    clean, z, inside = recording[0].double().numpy(), _noise(), np.array(MIDDLE)

    def hold(x: Array, sigma: float) -> Array:
        return np.where(inside, x, (1 - sigma) * clean + sigma * z)

    start = (1 - sigmas[0]) * clean + sigmas[0] * z
    _assert_near(latents[0], _slow(transformer, choice, sigmas).run(start, hold))


@pytest.mark.parametrize(
    ("variance", "sizes"), [(1.0, [1, 1, 2, 2, 2, 2, 2, 1, 1, 1]), (0.5, [1, 2, 2, 1, 1]), (0.2, [2, 1])]
)
def test_the_guided_steps_are_those_in_the_middle_of_what_is_run(
    transformer: Transformer, variance: float, sizes: list[int]
) -> None:
    ran: list[int] = []
    choice = _choice()
    contexts = _words(transformer, choice)
    hook = transformer.register_forward_pre_hook(lambda _module, given: ran.append(len(given[0])))
    _flow(transformer, choice, ground=Canvas(_recording(), torch.tensor([MIDDLE]), variance), contexts=contexts)
    hook.remove()
    assert ran == sizes


@pytest.mark.parametrize(("interval", "rows"), [(0.5, 2), (0.0, 1)])
def test_a_run_without_a_guided_step_reads_one_condition(
    transformer: Transformer, interval: float, rows: int
) -> None:
    made: list[int] = []
    choice = _choice(guidance_interval=interval)
    contexts, layer = _words(transformer, choice), transformer.transformer_blocks[0].cross_attn.to_k
    hook = layer.register_forward_pre_hook(lambda _module, given: made.append(len(given[0])))
    _flow(transformer, choice, contexts=contexts)
    hook.remove()
    assert made == [rows]


def test_every_song_may_have_a_recording_and_a_place_of_its_own(transformer: Transformer) -> None:
    recordings, inside = _recording(songs=2), torch.tensor([MIDDLE, BOTH_ENDS])
    both = _flow(transformer, _choice(), (5, 6), Canvas(recordings, inside))
    for row, seed in enumerate((5, 6)):
        one = slice(row, row + 1)
        alone = _flow(transformer, _choice(), (seed,), Canvas(recordings[one], inside[one]))
        torch.testing.assert_close(both[one], alone, rtol=1e-4, atol=1e-4)


def test_no_variance_brings_the_recording_back(transformer: Transformer) -> None:
    canvas = Canvas(_recording(), torch.tensor([MIDDLE]), 0.0)
    assert torch.equal(_flow(transformer, _choice(), ground=canvas), _recording())


# --- From one description to another --------------------------------------------------------------------------------


def _described(transformer: Transformer, choice: V1Choice, window: tuple[float, float], averages: int) -> Described:
    words = edit_contexts(transformer, _tags(8), OTHER_LYRICS, choice.comparing())
    return Described(_recording(), words, *window, averages)


def _target(transformer: Transformer, choice: V1Choice) -> Contexts:
    return edit_contexts(transformer, _tags(), LYRICS, choice.comparing())


@pytest.mark.parametrize("averages", [1, 2])
def test_equal_words_return_the_recording_bit_for_bit(transformer: Transformer, averages: int) -> None:
    choice = _choice()
    contexts = _target(transformer, choice)
    same = Described(_recording(), contexts, 0.2, 1.0, averages)
    assert torch.equal(_flow(transformer, choice, (5,), same, contexts), _recording())


@pytest.mark.parametrize("averages", [1, 2])
@pytest.mark.parametrize("window", [(0.0, 1.0), (0.25, 0.5), (0.5, 1.0)])
def test_an_edit_is_its_definition(transformer: Transformer, window: tuple[float, float], averages: int) -> None:
    choice = _choice(guidance_interval=0.3, omega_scale=20.0)
    ground = _described(transformer, choice, window, averages)
    latents = _flow(transformer, choice, (5,), ground, _target(transformer, choice))
    target, source = (
        _slow_velocity(transformer, words, weaken=False) for words in (_target(transformer, choice), ground.contexts)
    )
    _assert_near(latents[0], _slow_edit(target, source, window, averages))


def _slow_edit(target: Callable, source: Callable, window: tuple[float, float], averages: int) -> Array:
    """The definition, every branch, average and phase with guidance of its own."""
    noises, sigmas, clean = _step_noises(), slow_grid(STEPS), _recording()[0].double().numpy()
    first, end = (int(STEPS * share) for share in window)
    rules = [[SlowGuidance("apg", 3.0, 1.0) for _ in range(averages)] for _ in range(2)]
    z, after, x = clean, SlowGuidance("apg", 3.0, 1.0), None

    def guided(rule: SlowGuidance, network: Callable, state: Array, sigma: float) -> Array:
        return rule.combine(lambda words: network(state, sigma, words), 0, STEPS)

    for step, (sigma, following) in enumerate(pairwise(sigmas)):
        if first <= step < end:
            difference = 0.0
            for to, of in zip(*rules, strict=True):
                under = (1 - sigma) * clean + sigma * next(noises)
                difference += guided(to, target, z + under - clean, sigma) - guided(of, source, under, sigma)
            z = z + (following - sigma) * difference / averages
        elif step >= end:
            if x is None:
                x = z + (1 - sigma) * clean + sigma * next(noises) - clean
            x = x + (following - sigma) * guided(after, target, x, sigma)
    return z if x is None else x


# --- Progress and errors --------------------------------------------------------------------------------------------


def test_steps_are_counted_where_they_are_run(transformer: Transformer) -> None:
    choice = _choice()
    grounds = {
        STEPS: None,
        5: Reference(_recording(), 0.5),
        3: Canvas(_recording(), torch.tensor([MIDDLE]), 0.25),
        8: _described(transformer, choice, (0.25, 1.0), 1),
    }
    for steps, ground in grounds.items():
        seen: list[tuple[int, int]] = []
        words = _target(transformer, choice) if isinstance(ground, Described) else None
        _flow(transformer, choice, (5,), ground, words, lambda *done, seen=seen: seen.append(done))
        assert seen == [(done, steps) for done in range(1, steps + 1)]


def test_cancelling_ends_the_run_at_once(transformer: Transformer) -> None:
    def cancel(done: int, total: int) -> None:
        if done == 3:
            raise CancelledError("stop")

    with pytest.raises(CancelledError):
        _flow(transformer, _choice(), on_step=cancel)


def test_a_broken_network_is_named_by_its_step() -> None:
    broken = random_transformer(seed=2)
    contexts = _words(broken, _choice())
    broken.final_layer.linear.bias.data[:] = math.nan
    with pytest.raises(GenerationError, match=r"NaN or infinite at step 1 of 10\.$"):
        _flow(broken, _choice(), contexts=contexts)


@pytest.mark.parametrize("shape", [(1, 8, 16, FRAMES + 1), (3, 8, 16, FRAMES)])
def test_a_recording_that_does_not_fit_is_refused(transformer: Transformer, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=rf"does not fit 2 songs of {FRAMES} frames"):
        _flow(transformer, _choice(), (5, 6), Reference(torch.zeros(shape), 0.5))


def test_no_gradient_is_recorded() -> None:
    trainable = random_transformer(seed=2).requires_grad_(True)
    choice = _choice()
    contexts = Contexts(torch.zeros(2, 5, TINY.inner_dim), torch.ones(2, 5, dtype=torch.bool))
    assert not _flow(trainable, choice, contexts=contexts).requires_grad
