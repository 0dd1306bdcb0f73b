"""Where on a timeline the recording lies and where music is made, and in which passes a long region is filled.

In: the length of a recording, an ``EditOrder``. Out: a ``Canvas``, and ``Pass`` after ``Pass``. Places are samples at
48 kHz, from the first sample of what comes out. Refuses to know sounds, latents and networks. Imports no torch.

A transformer hears a whole song of up to 600 s at once. A song that grows, or one that is longer, is filled in passes
of at most ``PASS_S`` new seconds that hear up to ``CONTEXT_S`` seconds on either side; a pass hears what the passes
before it made. So the memory of a pass does not depend on the length of the song.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from acestep.constants import DURATION_MAX_S, SAMPLE_RATE, SAMPLES_PER_FRAME
from acestep.editing.order import EditOrder
from acestep.errors import InputError

TRAINED_REGION_S = (3.0, 90.0)  # lengths of the regions that the models were trained on
PASS_S, CONTEXT_S = 60.0, 60.0
CANVAS_MAX_S = 3600.0


@dataclass(frozen=True, slots=True)
class Canvas:
    """A timeline.

    Attributes:
        samples: its length.
        first: where the recording begins on it.
        recorded: samples of the recording.
        regions: (start, stop) of where music is made; () is everywhere.
        grows: whether music is made only where there is no recording.
    """

    samples: int
    first: int
    recorded: int
    regions: tuple[tuple[int, int], ...] = ()
    grows: bool = False

    @property
    def seconds(self) -> float:
        """Length of the timeline."""
        return self.samples / SAMPLE_RATE


@dataclass(frozen=True, slots=True)
class Pass:
    """One stretch of a region and what is heard around it.

    Attributes:
        low, high: what is heard; ``low`` is on the grid of latent frames.
        start, stop: where music is made.
        begins: a recording begins at ``stop``: right before it there is none, or nothing in it.
    """

    low: int
    high: int
    start: int
    stop: int
    begins: bool = False


def lay_out(order: EditOrder, recorded: int) -> Canvas:
    """The timeline of an order on a recording of so many samples.

    Raises:
        InputError: the region lies outside the recording, or the result would be longer than a song, or than an hour
            where it is made in passes.
    """
    if order.region is not None:
        return _with_region(order, recorded)
    before, behind = (_samples(seconds) for seconds in order.grow_s)
    total = before + recorded + behind
    places = ((0, before), (before + recorded, total))
    canvas = Canvas(total, before, recorded, tuple(place for place in places if place[0] < place[1]), grows=True)
    return _checked(canvas, "extend_duration" if canvas.regions else "src_audio", order)


def _with_region(order: EditOrder, recorded: int) -> Canvas:
    region = order.region
    start = _samples(region[0])
    end = recorded if region[1] is None else _samples(region[1])
    length = recorded / SAMPLE_RATE
    if start > recorded or (start == recorded and end <= recorded):
        raise InputError(
            f"repainting_start {region[0]:g} lies behind the end of the source, which is {length:.3f} s long.",
            field="repainting_start",
            value=region[0],
        )
    if end <= 0 and start < 0:
        end_s = length if region[1] is None else region[1]
        raise InputError(
            f"repainting_end {end_s:g} lies before the source, which begins at 0 s.", field="repainting_end"
        )
    if end <= start:
        raise InputError(f"the region from {region[0]:g} s has no length.", field="repainting_start", value=region[0])
    first = max(0, -start)
    total = first + max(recorded, end)
    return _checked(Canvas(total, first, recorded, ((first + start, first + end),)), "repainting_end", order)


def _checked(canvas: Canvas, field: str, order: EditOrder) -> Canvas:
    longest_s = CANVAS_MAX_S if order.in_passes else order.song_max_s
    if canvas.seconds > longest_s:
        raise InputError(
            f"{field}: the result would be {canvas.seconds:.0f} s long; at most {longest_s:g} s are allowed.",
            field=field,
            value=canvas.seconds,
        )
    return canvas


def passes(canvas: Canvas, region: tuple[int, int], song_max_s: float = DURATION_MAX_S) -> tuple[Pass, ...]:
    """The passes that fill one region, in their order.

    A region of a song that the transformer hears whole is one pass. Others are divided evenly; what lies before the
    recording is filled backwards from it.

    Args:
        song_max_s: seconds of a song that is heard whole.
    """
    start, stop = region
    if not canvas.grows and canvas.seconds <= song_max_s:
        return (Pass(0, canvas.samples, start, stop),)
    count = max(1, -(-(stop - start) // _samples(PASS_S)))
    inner = [_on_grid(start + (stop - start) * index // count) for index in range(1, count)]
    stretches = list(pairwise([start, *inner, stop]))
    if canvas.grows and stop == canvas.first:  # nothing lies before it: it grows backwards
        known = canvas.first + canvas.recorded
        return tuple(
            Pass(_on_grid(low), min(known, high + _samples(CONTEXT_S)), low, high, begins=True)
            for low, high in reversed(stretches)
        )
    after = min(canvas.samples, stop + _samples(CONTEXT_S))
    return tuple(Pass(_before(low), after if high == stop else high, low, high) for low, high in stretches)


def region_advice(canvas: Canvas) -> tuple[str, ...]:
    """A sentence for regions of a length the models were not trained on; passes keep grown ones within it."""
    shortest, longest = TRAINED_REGION_S
    if canvas.grows:
        return ()
    lengths = [(stop - start) / SAMPLE_RATE for start, stop in canvas.regions]
    return tuple(
        f"the region is {length:g} s long; the models were trained on {shortest:g} to {longest:g} s."
        for length in lengths
        if not shortest <= length <= longest
    )


def frame_region(part: Pass) -> tuple[int, int]:
    """The latent frames (start, stop) of a pass's new music, counted from its ``low``; at least one.

    A frame that is cut by an end of the region belongs to what follows the end, as in training: both ends are rounded
    down. Only the last frame of all has nothing behind it; and the frame in which a recording begins is made, not
    kept: what would be kept of it begins with silence.
    """
    frames = frame_count(part)
    start = min((part.start - part.low) // SAMPLES_PER_FRAME, frames - 1)
    whole = part.stop == part.high or part.begins
    stop = -(-(part.stop - part.low) // SAMPLES_PER_FRAME) if whole else (part.stop - part.low) // SAMPLES_PER_FRAME
    return start, min(max(stop, start + 1), frames)


def frame_count(part: Pass) -> int:
    """Latent frames that cover a pass."""
    return -(-(part.high - part.low) // SAMPLES_PER_FRAME)


def _before(start: int) -> int:
    return _on_grid(max(0, start - _samples(CONTEXT_S)))


def _on_grid(sample: int) -> int:
    return sample // SAMPLES_PER_FRAME * SAMPLES_PER_FRAME


def _samples(seconds: float) -> int:
    return round(seconds * SAMPLE_RATE)
