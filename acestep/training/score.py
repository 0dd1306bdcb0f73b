"""A ``Score`` is a composed song with its exact truth: every note, beat, chord, section and syllable, in seconds.

In: nothing; pure data. The composer writes it, the renderer plays it, the captions describe it, the tests measure
generated music against it.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Note:
    """One note: start and length in seconds, MIDI pitch 0 to 127 (drums: General MIDI key), velocity 1 to 127."""

    start_s: float
    duration_s: float
    pitch: int
    velocity: int


@dataclass(frozen=True, slots=True)
class Part:
    """What one instrument plays.

    Attributes:
        track: one of ``constants.TRACK_NAMES``.
        program: General MIDI program 0 to 127; for drums the kit.
        notes: in order of start.
        drums: True plays ``notes`` on the percussion channel.
        gain_db: level in the mix, relative to the other parts.
        pan: -1 left to 1 right.
    """

    track: str
    program: int
    notes: tuple[Note, ...]
    drums: bool = False
    gain_db: float = 0.0
    pan: float = 0.0


@dataclass(frozen=True, slots=True)
class Syllable:
    """One sung syllable: its letters and the note it is sung on."""

    text: str
    note: Note


@dataclass(frozen=True, slots=True)
class LyricLine:
    """One line of the lyrics and its syllables, in order."""

    text: str
    syllables: tuple[Syllable, ...]

    @property
    def start_s(self) -> float:
        """When its first syllable starts."""
        return self.syllables[0].note.start_s

    @property
    def end_s(self) -> float:
        """When its last syllable ends."""
        last = self.syllables[-1].note
        return last.start_s + last.duration_s


@dataclass(frozen=True, slots=True)
class Chord:
    """A chord: start and length in seconds, root pitch class 0 (C) to 11, intervals above it in semitones."""

    start_s: float
    duration_s: float
    root: int
    intervals: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the form, under the tag the lyrics give it, such as ``Verse 1``; the lines sung in it."""

    tag: str
    start_s: float
    end_s: float
    lines: tuple[LyricLine, ...] = ()


@dataclass(frozen=True, slots=True)
class Score:
    """A whole song.

    Attributes:
        seed: the composer makes the same score again from it.
        style: name of the composer's style row.
        bpm: beats per minute; the beat is what ``timesignature`` counts (in 6/8 the dotted quarter, two a bar).
        keyscale: one of ``constants.KEYSCALES``.
        timesignature: ``2``, ``3``, ``4`` or ``6``.
        language: of the lyrics; ``unknown`` when nobody sings.
        duration_s: length of the song.
        beats, downbeats: seconds of every beat, and of the first beat of every bar.
        sections, chords, parts: the music.
        fade_out_s: seconds of fade at the end; 0 ends on a final chord.
    """

    seed: int
    style: str
    bpm: int
    keyscale: str
    timesignature: str
    language: str
    duration_s: float
    beats: tuple[float, ...]
    downbeats: tuple[float, ...]
    sections: tuple[Section, ...]
    chords: tuple[Chord, ...]
    parts: tuple[Part, ...]
    fade_out_s: float = 0.0

    @property
    def tracks(self) -> tuple[str, ...]:
        """Names of the tracks that sound, vocals included, in the order of the parts."""
        return tuple(dict.fromkeys(part.track for part in self.parts))

    @property
    def lines(self) -> tuple[LyricLine, ...]:
        """Every sung line, in order."""
        return tuple(line for section in self.sections for line in section.lines)

    @property
    def lyrics(self) -> str:
        """The lyrics as a person would type them: a tag per section, its lines below, a blank line between."""
        blocks = ([f"[{section.tag}]", *(line.text for line in section.lines)] for section in self.sections)
        return "\n\n".join("\n".join(block) for block in blocks)
