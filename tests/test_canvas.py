"""Timelines of edits and the passes that fill them: the rules, on chosen places and on lengths drawn at random."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from acestep.constants import DURATION_MAX_S, SAMPLE_RATE, SAMPLES_PER_FRAME
from acestep.editing.canvas import (
    CONTEXT_S,
    PASS_S,
    Canvas,
    Pass,
    frame_count,
    frame_region,
    lay_out,
    passes,
    region_advice,
)
from acestep.editing.order import EditOrder
from acestep.errors import InputError

PLAIN = EditOrder(
    source_audio="song.wav",
    region=None,
    grow_s=(0.0, 0.0),
    nearness=1.0,
    start_from=0.0,
    tracks=(),
    mix=False,
    voice=None,
    remainder=False,
    flow=None,
    in_passes=True,
)
TEN = 10 * SAMPLE_RATE
CONTEXT = round(CONTEXT_S * SAMPLE_RATE)
LONGEST_PASS = round(PASS_S * SAMPLE_RATE) + SAMPLES_PER_FRAME  # inner borders lie on the grid of frames
SEEDS = range(40)


def grown(before: float, behind: float, recorded: int) -> Canvas:
    return lay_out(replace(PLAIN, grow_s=(before, behind)), recorded)


def with_region(start: float, end: float | None, recorded: int = TEN) -> Canvas:
    return lay_out(replace(PLAIN, region=(start, end)), recorded)


# --- The timeline -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("grow", "first", "samples", "regions"),
    [
        ((0.0, 5.0), 0, 720_000, ((480_000, 720_000),)),
        ((5.0, 0.0), 240_000, 720_000, ((0, 240_000),)),
        ((2.5, 2.5), 120_000, 720_000, ((0, 120_000), (600_000, 720_000))),
        ((0.0, 1.00001), 0, 528_000, ((480_000, 528_000),)),
        ((0.0, 0.0), 0, 480_000, ()),
    ],
)
def test_a_song_grows_around_the_recording(
    grow: tuple[float, float], first: int, samples: int, regions: tuple[tuple[int, int], ...]
) -> None:
    assert grown(*grow, TEN) == Canvas(samples, first, TEN, regions, grows=True)


@pytest.mark.parametrize(
    ("region", "first", "samples", "where"),
    [
        ((2.0, 4.0), 0, 480_000, (96_000, 192_000)),
        ((2.0, None), 0, 480_000, (96_000, 480_000)),
        ((0.0, 10.0), 0, 480_000, (0, 480_000)),
        ((-2.0, 4.0), 96_000, 576_000, (0, 288_000)),
        ((-2.0, None), 96_000, 576_000, (0, 576_000)),
        ((8.0, 12.0), 0, 576_000, (384_000, 576_000)),
        ((10.0, 12.0), 0, 576_000, (480_000, 576_000)),
        ((-1.0, 13.5), 48_000, 696_000, (0, 696_000)),
        ((3.00001, 3.00004), 0, 480_000, (144_000, 144_002)),
    ],
)
def test_a_region_may_reach_over_either_end(
    region: tuple[float, float | None], first: int, samples: int, where: tuple[int, int]
) -> None:
    assert with_region(*region) == Canvas(samples, first, TEN, (where,))


def test_without_a_place_music_is_made_everywhere() -> None:
    assert lay_out(PLAIN, TEN).regions == ()
    assert lay_out(PLAIN, TEN).seconds == 10.0


@pytest.mark.parametrize(
    ("region", "sentence"),
    [
        ((10.5, 11.0), "repainting_start 10.5 lies behind the end of the source, which is 10.000 s long."),
        ((10.0, None), "repainting_start 10 lies behind the end of the source, which is 10.000 s long."),
        ((99.0, None), "repainting_start 99 lies behind the end of the source, which is 10.000 s long."),
        ((-3.0, -0.5), "repainting_end -0.5 lies before the source, which begins at 0 s."),
        ((-3.0, 0.0), "repainting_end 0 lies before the source, which begins at 0 s."),
        ((3.0, 3.00001), "the region from 3 s has no length."),
        ((1.0, 3601.0), "repainting_end: the result would be 3601 s long; at most 3600 s are allowed."),
    ],
)
def test_regions_that_cannot_be(region: tuple[float, float | None], sentence: str) -> None:
    with pytest.raises(InputError) as caught:
        with_region(*region)
    assert str(caught.value) == sentence
    assert caught.value.field in {"repainting_start", "repainting_end"}


def test_an_hour_is_the_limit_of_growth() -> None:
    assert grown(0.0, 600.0, 3000 * SAMPLE_RATE).seconds == 3600.0
    with pytest.raises(InputError) as caught:
        grown(300.0, 301.0, 3000 * SAMPLE_RATE)
    sentence = "extend_duration: the result would be 3601 s long; at most 3600 s are allowed."
    assert (str(caught.value), caught.value.field) == (sentence, "extend_duration")


@pytest.mark.parametrize(("end", "shown"), [(2.5, "2.5"), (93.0, "93"), (3.0, ""), (90.0, "")])
def test_lengths_that_the_models_were_not_trained_on_are_said(end: float, shown: str) -> None:
    sentence = f"the region is {shown} s long; the models were trained on 3 to 90 s."
    assert region_advice(with_region(0.0, end, 20 * TEN)) == ((sentence,) if shown else ())
    assert region_advice(grown(0.0, end, TEN)) == ()


# --- Passes -----------------------------------------------------------------------------------------------------


def drawn(seed: int) -> Canvas:
    """A timeline of any kind and length, hardly ever on the grid of latent frames."""
    rng = random.Random(seed)
    recorded = rng.randint(SAMPLE_RATE // 10, rng.choice((20, 200, 900)) * SAMPLE_RATE)
    if seed % 2:
        return grown(rng.choice((0.0, rng.uniform(1, 600))), rng.uniform(1, 600), recorded)
    start = rng.uniform(-50, recorded / SAMPLE_RATE)
    return with_region(start, start + rng.uniform(60, 500), recorded)


def all_passes(canvas: Canvas) -> list[Pass]:
    return [one for region in canvas.regions for one in passes(canvas, region)]


def heard_as_one(canvas: Canvas) -> bool:
    return not canvas.grows and canvas.seconds <= DURATION_MAX_S


@pytest.mark.parametrize("seed", SEEDS)
def test_passes_fill_every_region_exactly_once(seed: int) -> None:
    canvas = drawn(seed)
    filled = sorted((one.start, one.stop) for one in all_passes(canvas))
    joined = [filled[0]]
    for start, stop in filled[1:]:
        assert start >= joined[-1][1], "filled twice"
        if start == joined[-1][1]:
            joined[-1] = joined[-1][0], stop
        else:
            joined.append((start, stop))
    assert tuple(joined) == canvas.regions


@pytest.mark.parametrize("seed", SEEDS)
def test_passes_hear_only_what_is_there_when_they_are_played(seed: int) -> None:
    """Each place is of the recording, made by an earlier pass, or about to be made."""
    canvas = drawn(seed)
    empty = {*canvas.regions}
    for one in all_passes(canvas):
        rest = {piece for hole in empty for piece in without(hole, (one.start, one.stop))}
        assert not any(overlaps((one.low, one.high), hole) for hole in rest)
        empty = rest
    assert not empty


def without(hole: tuple[int, int], place: tuple[int, int]) -> list[tuple[int, int]]:
    """What is left of a hole when a place is filled."""
    parts = ((hole[0], min(hole[1], place[0])), (max(hole[0], place[1]), hole[1]))
    return [part for part in parts if part[0] < part[1]]


def overlaps(one: tuple[int, int], other: tuple[int, int]) -> bool:
    return max(one[0], other[0]) < min(one[1], other[1])


@pytest.mark.parametrize("seed", SEEDS)
def test_the_memory_of_a_pass_does_not_depend_on_the_length(seed: int) -> None:
    canvas = drawn(seed)
    sides = 1 if canvas.grows else 2
    for one in all_passes(canvas):
        assert 0 <= one.low <= one.start < one.stop <= one.high <= canvas.samples
        assert one.low % SAMPLES_PER_FRAME == 0
        if heard_as_one(canvas):
            assert (one.low, one.high) == (0, canvas.samples)
        else:
            assert one.stop - one.start <= LONGEST_PASS
            assert one.high - one.low <= LONGEST_PASS + sides * CONTEXT + SAMPLES_PER_FRAME


@pytest.mark.parametrize("seed", SEEDS)
def test_grown_passes_lean_on_as_much_as_there_is(seed: int) -> None:
    """Behind the recording on what lies before a pass, before it on what lies behind: a minute of it, if there is."""
    rng = random.Random(seed)
    recorded = rng.randint(SAMPLE_RATE // 10, 100 * SAMPLE_RATE)
    canvas = grown(rng.uniform(1, 400), rng.uniform(1, 400), recorded)
    known = canvas.first + recorded
    before, behind = (passes(canvas, region) for region in canvas.regions)
    assert [one.start for one in before] == sorted((one.start for one in before), reverse=True)
    assert [one.start for one in behind] == sorted(one.start for one in behind)
    for one in before:
        assert one.high - one.stop == min(CONTEXT, known - one.stop)
    for one in behind:
        assert one.high == one.stop
        assert min(CONTEXT, one.start) <= one.start - one.low < min(CONTEXT, one.start) + SAMPLES_PER_FRAME


@pytest.mark.parametrize(("seconds", "count"), [(59.0, 1), (60.0, 1), (60.1, 2), (150.0, 3), (600.0, 10)])
def test_long_growth_is_divided_evenly(seconds: float, count: int) -> None:
    canvas = grown(0.0, seconds, TEN)
    lengths = [one.stop - one.start for one in passes(canvas, canvas.regions[0])]
    assert len(lengths) == count
    assert max(lengths) - min(lengths) <= 2 * SAMPLES_PER_FRAME


def test_a_region_of_a_song_that_is_heard_whole_is_one_pass_and_one_beyond_it_is_not() -> None:
    whole = with_region(100.0, 400.0, 600 * SAMPLE_RATE)
    assert passes(whole, whole.regions[0]) == (Pass(0, whole.samples, *whole.regions[0]),)
    longer = with_region(100.0, 400.0, 601 * SAMPLE_RATE)
    parts = passes(longer, longer.regions[0])
    assert len(parts) == 5
    assert parts[-1].high == longer.regions[0][1] + CONTEXT, "the last one hears where it has to arrive"


# --- Frames -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("place", "frames"),
    [
        (Pass(0, 19_200, 1920, 3840), (1, 2)),
        (Pass(0, 19_200, 1919, 3839), (0, 1)),
        (Pass(0, 19_200, 1921, 3841), (1, 2)),
        (Pass(0, 19_200, 2000, 2001), (1, 2)),
        (Pass(0, 19_200, 0, 19_200), (0, 10)),
        (Pass(0, 19_201, 0, 19_201), (0, 11)),
        (Pass(0, 19_201, 1920, 19_200), (1, 10)),
        (Pass(3840, 19_200, 5760, 9600), (1, 3)),
        (Pass(0, 1, 0, 1), (0, 1)),
        (Pass(0, 19_200, 19_199, 19_200), (9, 10)),
    ],
)
def test_both_ends_of_a_region_are_rounded_down_to_frames(place: Pass, frames: tuple[int, int]) -> None:
    assert frame_region(place) == frames


@pytest.mark.parametrize("seed", SEEDS)
def test_a_region_has_a_frame_however_short_it_is(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(50):
        low = SAMPLES_PER_FRAME * rng.randint(0, 100)
        high = low + rng.randint(1, 20 * SAMPLES_PER_FRAME)
        begin = rng.randrange(low, high)
        one = Pass(low, high, begin, rng.randint(begin + 1, min(high, begin + rng.choice((1, 100, 10_000)))))
        start, stop = frame_region(one)
        assert 0 <= start < stop <= frame_count(one)
        assert (frame_count(one) - 1) * SAMPLES_PER_FRAME < high - low <= frame_count(one) * SAMPLES_PER_FRAME


def test_the_frames_of_neighbouring_passes_do_not_overlap() -> None:
    for seed in SEEDS:
        canvas = drawn(seed)
        taken: set[int] = set()
        for one in all_passes(canvas):
            origin = one.low // SAMPLES_PER_FRAME
            frames = set(range(*(origin + frame for frame in frame_region(one))))
            assert not frames & taken
            taken |= frames


def test_what_is_not_made_in_passes_is_no_longer_than_a_song() -> None:
    whole = replace(PLAIN, in_passes=False)
    assert lay_out(replace(whole, region=(-1.0, 599.0)), TEN).seconds == 600.0
    for region in ((-1.0, 600.0), (5.0, 601.0)):
        with pytest.raises(InputError, match="the result would be 601 s long; at most 600 s are allowed"):
            lay_out(replace(whole, region=region), TEN)
    assert lay_out(replace(PLAIN, region=(5.0, 601.0)), TEN).seconds == 601.0


@pytest.mark.parametrize("seconds", [3.039, 61.0123, 7.0])
def test_music_that_grows_up_to_a_recording_keeps_no_frame_that_begins_with_silence(seconds: float) -> None:
    canvas = grown(seconds, 0.0, TEN)
    (region,) = canvas.regions
    first = passes(canvas, region)[0]  # the one that meets the recording
    _, stop = frame_region(first)
    assert first.stop == canvas.first
    assert stop * SAMPLES_PER_FRAME >= first.stop - first.low
    assert (stop - 1) * SAMPLES_PER_FRAME < first.stop - first.low
