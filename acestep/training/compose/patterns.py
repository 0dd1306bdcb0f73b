"""The shorthand in which one bar of an accompaniment is written, a character per sixteenth.

``.`` lets the last event go on, ``-`` is silence, anything else starts an event. What a letter means is up to who
reads the bar: drums read accents, a bass reads chord degrees, an arpeggio reads which voice of the chord.

In: strings. Out: events in steps, drum hits as General MIDI keys. Refuses to know chords, tempo and sections.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

ACCENTS = {"X": 1.0, "x": 0.8, "o": 0.5}
# Lane letters of the drum shorthand and the General MIDI percussion keys they mean.
DRUM_KEYS = {
    "k": 36,  # kick
    "i": 37,  # side stick
    "s": 38,  # snare
    "p": 39,  # clap
    "h": 42,  # closed hi-hat
    "e": 44,  # pedal hi-hat
    "o": 46,  # open hi-hat
    "c": 49,  # crash
    "d": 51,  # ride
    "l": 43,  # low tom
    "m": 47,  # middle tom
    "t": 50,  # high tom
    "b": 54,  # tambourine
    "w": 56,  # cowbell
    "g": 63,  # high conga
    "u": 64,  # low conga
    "a": 70,  # shaker
    "v": 75,  # claves
    "y": 81,  # triangle
}
KICK, CRASH = DRUM_KEYS["k"], DRUM_KEYS["c"]


@dataclass(frozen=True, slots=True)
class Event:
    """Something that starts at a step of the bar, lasts some steps, and what it is."""

    step: int
    steps: int
    symbol: str


@dataclass(frozen=True, slots=True)
class Feel:
    """How a style plays one time signature: a bar of each kind of accompaniment.

    Attributes:
        calm, full, peak: drums by energy 0, 1, 2, as ``"lane:bar lane:bar"``.
        fill: drums that replace the second half of a section's last bar.
        percussion: hand percussion, in the same lanes.
        bass: bars of ``R`` root, ``3``, ``5``, ``8`` octave, ``a`` a step towards the next root; a song picks one.
        comp: bars of ``X``, ``x``, ``o`` chords and ``b`` its lowest voice alone; every chord player picks one.
        arpeggio: bars of voice numbers from 0.
        crashes: a crash cymbal opens the peaks and closes the song.
    """

    calm: str
    full: str
    peak: str
    fill: str
    percussion: str
    bass: tuple[str, ...]
    comp: tuple[str, ...]
    arpeggio: tuple[str, ...]
    crashes: bool = True

    def drums(self, energy: int) -> str:
        """The drum bar for an energy of 0, 1 or 2."""
        return (self.calm, self.full, self.peak)[energy]


@lru_cache(maxsize=1024)
def events(bar: str) -> tuple[Event, ...]:
    """What starts in a bar, in order; silence is not an event."""
    starts = [step for step, symbol in enumerate(bar) if symbol != "."]
    ends = [*starts[1:], len(bar)]
    return tuple(
        Event(step, end - step, bar[step]) for step, end in zip(starts, ends, strict=True) if bar[step] != "-"
    )


@lru_cache(maxsize=1024)
def hits(lanes: str) -> tuple[tuple[int, int, float], ...]:
    """Drum hits of a bar in order: step, General MIDI key, accent 0 to 1."""
    found = [
        (event.step, DRUM_KEYS[lane], ACCENTS[event.symbol])
        for lane, bar in (text.split(":") for text in lanes.split())
        for event in events(bar)
    ]
    return tuple(sorted(found))
