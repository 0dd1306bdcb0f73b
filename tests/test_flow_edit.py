"""Flow editing with toy networks whose songs are known, and against its definition written out by hand."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor

from acestep.errors import CancelledError, GenerationError
from acestep.sampling.flow_edit import NewVelocity, flow_edit
from acestep.sampling.guidance import GUIDANCE, Guidance, GuidedVelocity, VelocityPair
from acestep.sampling.noise import ItemNoise, item_noise
from acestep.sampling.sampler import SamplerSettings, sample
from acestep.sampling.schedule import make_schedule

C = 8
UNGUIDED = Guidance(1.0, "none")
SCHEDULE = make_schedule(10, 3.0)


class Words:
    """A network under some words: mixes time and channels within each song, and leaves NaN in the padding."""

    def __init__(self, word: float, lengths: Sequence[int]) -> None:
        self.word, self.lengths = word, lengths
        self.levels: list[float] = []

    def __call__(self, x: Tensor, t: float, *, guided: bool) -> tuple[Tensor, Tensor | None]:
        assert x.dtype == torch.float32
        self.levels.append(t)
        return self._predict(x, t, self.word), self._predict(x, t, 0.0) if guided else None

    def _predict(self, x: Tensor, t: float, word: float) -> Tensor:
        v = torch.full_like(x, math.nan)
        for row, length in enumerate(self.lengths):
            song = x[row, :length]
            v[row, :length] = song - t * torch.tanh(song.roll(1, dims=0) + song.mean() + word) - word
        return v


class OneSong:
    """A network that knows one song only: its velocity points from any state at ``song``."""

    def __init__(self, song: Tensor) -> None:
        self.song = song

    def __call__(self, x: Tensor, t: float, *, guided: bool) -> tuple[Tensor, None]:
        return (x - self.song) / t, None


def _new(network: VelocityPair, lengths: Sequence[int], guidance: Guidance = UNGUIDED) -> NewVelocity:
    return partial(GuidedVelocity, network, guidance, lengths)


def _draw(seeds: Sequence[int], lengths: Sequence[int]) -> Callable[[], Tensor]:
    fresh = ItemNoise(seeds, C)
    return lambda: fresh.draw(lengths)


def _recording(seeds: Sequence[int], lengths: Sequence[int]) -> Tensor:
    return 0.5 * item_noise([seed + 100 for seed in seeds], lengths, C)


def _edit(
    seeds: Sequence[int],
    lengths: Sequence[int],
    window: tuple[int, int],
    averages: int = 1,
    guidance: Guidance = UNGUIDED,
    words: tuple[float, float] = (0.8, 0.3),
) -> Tensor:
    target, source = (_new(Words(word, lengths), lengths, guidance) for word in words)
    recording, draw = _recording(seeds, lengths), _draw(seeds, lengths)
    return flow_edit(target, source, recording, SCHEDULE, window, averages, draw, lengths)


# --- What it promises -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("averages", [1, 3])
@pytest.mark.parametrize("kind", GUIDANCE)
def test_equal_words_return_the_recording_bit_for_bit(kind: str, averages: int) -> None:
    seeds, lengths = [3, 11], [20, 13]
    end = _edit(seeds, lengths, (2, 10), averages, Guidance(5.0, kind), words=(0.8, 0.8))
    assert torch.equal(end, _recording(seeds, lengths))


@pytest.mark.parametrize("window", [(0, 10), (4, 10), (0, 6), (3, 3)])
def test_one_song_is_edited_into_another(window: tuple[int, int]) -> None:
    lengths = [12]
    recording, other = _recording([1], lengths), _recording([2], lengths)
    draw = _draw([1], lengths)
    target, source = (_new(OneSong(song), lengths) for song in (other, recording))
    end = flow_edit(target, source, recording, SCHEDULE, window, 2, draw, lengths)
    torch.testing.assert_close(end, other, rtol=0, atol=1e-5)


@pytest.mark.parametrize("window", [(10, 10), (10, 4)])
def test_with_every_step_skipped_the_recording_comes_back_and_nothing_runs(window: tuple[int, int]) -> None:
    lengths, target, source = [12], Words(0.8, [12]), Words(0.3, [12])
    recording, seen = _recording([1], lengths), []

    def draw() -> Tensor:
        raise AssertionError("noise was drawn")

    both = (_new(words, lengths) for words in (target, source))
    end = flow_edit(*both, recording, SCHEDULE, window, 1, draw, lengths, lambda *done: seen.append(done))
    assert torch.equal(end, recording)
    assert target.levels == source.levels == seen == []


@pytest.mark.parametrize("window", [(4, 4), (4, 2)])
def test_an_empty_window_samples_the_target_from_the_recording_under_noise(window: tuple[int, int]) -> None:
    seeds, lengths, guidance = [3, 11], [20, 13], Guidance(5.0, "apg")
    schedule = SCHEDULE[4:]
    noisy = (1 - schedule[0]) * _recording(seeds, lengths) + schedule[0] * _draw(seeds, lengths)()
    target = GuidedVelocity(Words(0.8, lengths), guidance, lengths)
    expected = sample(target, noisy, SamplerSettings(schedule, "euler"), None, lengths)
    assert torch.equal(_edit(seeds, lengths, window, guidance=guidance), expected)


def test_a_later_start_stays_closer_to_the_recording() -> None:
    recording = _recording([1], [40])
    ways = [(_edit([1], [40], (first, 10)) - recording).norm().item() for first in (0, 3, 6, 9)]
    assert ways == sorted(ways, reverse=True)
    assert ways[-1] > 0.01


# --- By hand --------------------------------------------------------------------------------------------------------


class _ByHand:
    """The definition in fp64, one song, with its own classifier-free guidance."""

    def __init__(self, scale: float, noises: Sequence[np.ndarray]) -> None:
        self.scale, self._noises = scale, iter(noises)

    def velocity(self, x: np.ndarray, t: float, word: float) -> np.ndarray:
        under, null = (x - t * np.tanh(np.roll(x, 1, axis=0) + x.mean() + label) - label for label in (word, 0.0))
        return null + self.scale * (under - null)

    def edit(
        self, clean: np.ndarray, schedule: Sequence[float], window: tuple[int, int], averages: int
    ) -> np.ndarray:
        z, x = clean, None
        for step, (t, t_next) in enumerate(pairwise(schedule)):
            if step < window[0]:
                continue
            if step < window[1]:
                differences = []
                for _ in range(averages):
                    x_source = (1 - t) * clean + t * next(self._noises)
                    x_target = z + x_source - clean
                    differences.append(self.velocity(x_target, t, 0.8) - self.velocity(x_source, t, 0.3))
                z = z + (t_next - t) * np.mean(differences, axis=0)
                continue
            if x is None:
                x = z + (1 - t) * clean + t * next(self._noises) - clean
            x = x + (t_next - t) * self.velocity(x, t, 0.8)
        return z if x is None else x


@pytest.mark.parametrize("averages", [1, 3])
@pytest.mark.parametrize("window", [(0, 10), (2, 10), (2, 6), (0, 1)])
def test_it_is_its_definition(window: tuple[int, int], averages: int) -> None:
    end = _edit([5], [15], window, averages, Guidance(3.0, "cfg"))
    fresh = ItemNoise([5], C)
    noises = [fresh.draw([15])[0].double().numpy() for _ in range(31)]
    clean = _recording([5], [15])[0].double().numpy()
    by_hand = _ByHand(3.0, noises).edit(clean, SCHEDULE, window, averages)
    np.testing.assert_allclose(end[0].numpy(), by_hand, rtol=0, atol=1e-4)


@pytest.mark.parametrize("averages", [1, 2])
def test_momentum_is_kept_apart_by_branch_average_and_phase(averages: int) -> None:
    """By hand with the combiners themselves: one for each of them, moving once a step."""
    lengths, scale, schedule, window = [15], 5.0, SCHEDULE, (3, 7)
    fresh, clean = ItemNoise([5], C), _recording([5], lengths)
    new = GUIDANCE["apg"].make
    pairs = [(new(scale), new(scale)) for _ in range(averages)]
    target, source = Words(0.8, lengths), Words(0.3, lengths)
    z = clean
    for t, t_next in list(pairwise(schedule))[slice(*window)]:
        total = torch.zeros_like(z)
        for to, of in pairs:
            x_source = (1 - t) * clean + t * fresh.draw(lengths)
            x_target = x_source + z - clean
            total += to.combine(x_target, *target(x_target, t, guided=True), t, lengths)
            total -= of.combine(x_source, *source(x_source, t, guided=True), t, lengths)
        z = z - (t - t_next) * total / averages
    t = schedule[window[1]]
    x, alone = (1 - t) * clean + t * fresh.draw(lengths) + z - clean, new(scale)
    for t, t_next in list(pairwise(schedule))[window[1] :]:
        x = x - (t - t_next) * alone.combine(x, *target(x, t, guided=True), t, lengths)
    end = _edit([5], lengths, window, averages, Guidance(scale, "apg"))
    torch.testing.assert_close(end, x, rtol=1e-4, atol=1e-4)


# --- Batches, draws, progress ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("window", [(0, 10), (2, 6)])
@pytest.mark.parametrize("kind", GUIDANCE)
def test_a_song_is_the_same_alone_and_in_a_batch(kind: str, window: tuple[int, int]) -> None:
    seeds, lengths, guidance = [3, 11, 7], [30, 19, 6], Guidance(4.0, kind, (0.2, 0.95))
    batch = _edit(seeds, lengths, window, 2, guidance)
    for row, (seed, length) in enumerate(zip(seeds, lengths, strict=True)):
        alone = _edit([seed], [length], window, 2, guidance)
        torch.testing.assert_close(batch[row : row + 1, :length], alone, rtol=0, atol=1e-5)
        assert (batch[row, length:] == 0).all()


@pytest.mark.parametrize(("window", "draws"), [((2, 6), 13), ((2, 10), 24), ((4, 4), 1)])
def test_the_source_is_asked_inside_the_window_only_and_steps_are_counted(
    window: tuple[int, int], draws: int
) -> None:
    lengths, target, source = [12], Words(0.8, [12]), Words(0.3, [12])
    drawn, seen = [], []

    def draw() -> Tensor:
        drawn.append(item_noise([len(drawn)], lengths, C))
        return drawn[-1]

    recording, both = _recording([1], lengths), (_new(words, lengths) for words in (target, source))
    flow_edit(*both, recording, SCHEDULE, window, 3, draw, lengths, lambda *done: seen.append(done))
    compared = [t for t in SCHEDULE[slice(*window)] for _ in range(3)]
    assert source.levels == compared
    assert target.levels == [*compared, *SCHEDULE[window[1] : -1]]
    assert len(drawn) == draws
    total = 10 - window[0]
    assert seen == [(done, total) for done in range(1, total + 1)]


def test_cancelling_ends_the_run_at_once() -> None:
    target = Words(0.8, [12])

    def cancel(done: int, total: int) -> None:
        if done == 3:
            raise CancelledError("stop")

    with pytest.raises(CancelledError):
        flow_edit(
            _new(target, [12]),
            _new(Words(0.3, [12]), [12]),
            _recording([1], [12]),
            SCHEDULE,
            (0, 6),
            1,
            _draw([1], [12]),
            [12],
            on_step=cancel,
        )
    assert len(target.levels) == 3


@pytest.mark.parametrize(("bad_from", "step"), [(3, 2), (7, 6)])
def test_latents_that_are_no_numbers_name_the_step_where_they_began(bad_from: int, step: int) -> None:
    lengths = [12]

    def velocity(x: Tensor, t: float, *, guided: bool) -> tuple[Tensor, None]:
        return x * (math.nan if t <= SCHEDULE[bad_from] else 1.0), None

    with pytest.raises(GenerationError, match=rf"NaN or infinite at step {step} of 8\.$"):
        both = (_new(network, lengths) for network in (velocity, Words(0.3, lengths)))
        flow_edit(*both, _recording([1], lengths), SCHEDULE, (2, 5), 1, _draw([1], lengths), lengths)


# --- Calls that do not fit ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"window": (-1, 5)}, r"window \(-1, 5\) does not fit a schedule of 10 steps"),
        ({"window": (0, 11)}, r"window \(0, 11\) does not fit a schedule of 10 steps"),
        ({"averages": 0}, "averages must be at least 1, not 0"),
        ({"lengths": [13]}, r"lengths \[13\] do not fit latents of 1 songs and 12 frames"),
    ],
)
def test_calls_that_do_not_fit_are_refused_before_the_networks_run(change: dict[str, object], sentence: str) -> None:
    target = Words(0.8, [12])
    call = {
        "target": _new(target, [12]),
        "source": _new(Words(0.3, [12]), [12]),
        "recording": _recording([1], [12]),
        "schedule": SCHEDULE,
        "window": (0, 10),
        "averages": 1,
        "draw": _draw([1], [12]),
        "lengths": [12],
    }
    with pytest.raises(ValueError, match=sentence):
        flow_edit(**{**call, **change})
    assert target.levels == []
