"""The styles a song can be in, one frozen row each: tempo, meters, chords, form, how often sung and drummed.

How a style's bars go is in ``feels``, who plays in ``ensembles``, both under the same name. Progressions are four
bars of roman numerals; ``-`` puts two chords in a bar. Refuses to know notes, seconds and instruments.
"""

from __future__ import annotations

from dataclasses import dataclass

TEMPO_MIN, TEMPO_MAX = 60, 180  # beats per minute a song is composed at

_SONG = (("Theme", "Solo"), ("Theme", "Theme", "Solo"), ("Theme", "Break", "Theme", "Solo"))
_CLUB = (("Build", "Drop"), ("Build", "Drop", "Drop", "Break"), ("Drop", "Break", "Build", "Drop"))
_HEAD = (("Theme", "Solo", "Solo"), ("Theme", "Theme", "Solo", "Solo", "Theme"))
_SUITE = (("Theme", "Development"), ("Theme", "Theme", "Development"))


@dataclass(frozen=True, slots=True)
class Style:
    """A kind of music.

    Attributes:
        name: key of the row.
        labels: what people call it; true in its own meters only, so ``genre`` is said of it in others.
        genre: what people call it in any meter.
        bpm: slowest and fastest tempo.
        meters: time signatures, the usual one first.
        minor: chance of a minor key.
        major_progressions, minor_progressions: four bars each.
        spice: chance per section of a borrowed chord or an applied dominant.
        sevenths: its cadences use ``V7``.
        sung, drummed, fades: chance of vocals, of drums, of fading out instead of a final chord.
        cycles: what sections repeat when nobody sings.
        swing, pair: see ``sheet.Grid``.
        syncopation: how freely melodies leave the beat, 0 to 1.
        density: notes per second of an instrumental melody.
    """

    name: str
    labels: tuple[str, ...]
    genre: str
    bpm: tuple[int, int]
    meters: tuple[str, ...]
    minor: float
    major_progressions: tuple[str, ...]
    minor_progressions: tuple[str, ...]
    spice: float
    sevenths: bool
    sung: float
    drummed: float
    fades: float
    cycles: tuple[tuple[str, ...], ...]
    swing: float = 0.0
    pair: int = 4
    syncopation: float = 0.3
    density: float = 2.0

    def progressions(self, minor: bool) -> tuple[str, ...]:
        """Four-bar progressions of a mode."""
        return self.minor_progressions if minor else self.major_progressions


_ROWS = (
    Style(
        "pop_ballad", ("pop ballad", "pop", "heartfelt pop ballad"), "pop", (60, 84), ("4",), 0.35,
        ("I V vi IV", "I vi IV V", "I iii IV V", "I Iadd9 IV iv", "I V/vi vi IV-V"),
        ("i VI iv V", "i iv VI V", "i VII VI V", "i iv i V"),
        spice=0.25, sevenths=False, sung=0.75, drummed=0.65, fades=0.2, cycles=_SONG, density=1.6,
    ),
    Style(
        "rock", ("rock", "straight-ahead rock", "indie rock"), "rock", (112, 160), ("4",), 0.5,
        ("I IV I V", "I V IV I", "I bVII IV I", "I IV V IV"),
        ("i VII VI V", "i iv i V", "i VI VII i", "i5 VI iv V"),
        spice=0.15, sevenths=False, sung=0.65, drummed=0.92, fades=0.1, cycles=_SONG, density=3.0,
        syncopation=0.4,
    ),
    Style(
        "house", ("house", "deep house", "club house"), "electronic dance", (118, 128), ("4",), 0.65,
        ("Imaj7 IVmaj7 ii7 V7", "I vi IV V", "I I IV V"),
        ("i9 iv7 i7 V7", "i7 i7 iv7 V7", "i VI iv V"),
        spice=0.1, sevenths=True, sung=0.35, drummed=0.92, fades=0.4, cycles=_CLUB, density=2.6, syncopation=0.6,
    ),
    Style(
        "techno", ("techno", "minimal techno", "warehouse techno"), "electronic", (128, 146), ("4",), 0.9,
        ("I I I I", "I I IV I"),
        ("i i i i", "i i iv i", "i i i V"),
        spice=0.0, sevenths=False, sung=0.08, drummed=0.94, fades=0.5, cycles=_CLUB, density=3.4, syncopation=0.7,
    ),
    Style(
        "lofi", ("lo-fi", "chillhop", "lo-fi hip-hop"), "lo-fi", (68, 90), ("4",), 0.5,
        ("Imaj9 vi7 ii9 V7", "Imaj7 IVmaj7 Imaj7 V9", "Imaj7 iii7 ii7 V7"),
        ("i9 iv7 i7 V7", "i7 VImaj7 iv7 V7", "i9 iv9 iih7 V7"),
        spice=0.2, sevenths=True, sung=0.12, drummed=0.75, fades=0.5, cycles=_SONG, swing=0.2, pair=2,
        density=1.7, syncopation=0.6,
    ),
    Style(
        "trap", ("trap", "hip-hop", "southern trap"), "hip-hop", (130, 158), ("4",), 0.88,
        ("I IV I V", "I vi IV V"),
        ("i i VI V", "i iv i V", "i VI i V", "i i iv V"),
        spice=0.0, sevenths=False, sung=0.5, drummed=0.9, fades=0.35, cycles=_SONG, density=2.2, syncopation=0.7,
    ),
    Style(
        "jazz", ("jazz", "swing jazz", "mainstream jazz"), "jazz", (110, 180), ("4", "3"), 0.4,
        ("ii7 V7 Imaj7 Imaj7", "Imaj7 vi7 ii7 V7", "Imaj7-vi7 ii7-V7 I6 I6", "Imaj7 V7/ii ii7 V7"),
        ("i6 iih7-V7 i6 V7", "i7 iv7 iih7 V7", "iih7 V7 i6 i6"),
        spice=0.35, sevenths=True, sung=0.25, drummed=0.65, fades=0.05, cycles=_HEAD, swing=0.31, pair=4,
        density=3.4, syncopation=0.7,
    ),
    Style(
        "bossa", ("bossa nova", "Brazilian jazz", "soft bossa nova"), "latin", (108, 140), ("4",), 0.4,
        ("Imaj7 V7/V ii7 V7", "Imaj9 Imaj9 ii9 V7", "Imaj7 vi7 ii7 V7"),
        ("i7 iv7 iih7 V7", "i6 i6 iih7 V7", "i9 iv7 i9 V7"),
        spice=0.3, sevenths=True, sung=0.5, drummed=0.5, fades=0.2, cycles=_SONG, density=2.2, syncopation=0.8,
    ),
    Style(
        "funk", ("funk", "classic funk", "disco funk"), "funk", (94, 118), ("4",), 0.6,
        ("I7 I7 IV7 I7", "I7 IV7 I7 V7", "Imaj7 ii7 IV V7"),
        ("i7 i7 i7 iv7-V7", "i7 iv7 i7 V7", "i7 i7 VI7 V7"),
        spice=0.1, sevenths=True, sung=0.4, drummed=0.92, fades=0.35, cycles=_SONG, swing=0.08, pair=2,
        density=3.2, syncopation=0.9,
    ),
    Style(
        "reggae", ("reggae", "roots reggae", "island reggae"), "reggae", (66, 92), ("4",), 0.4,
        ("I IV I V", "I ii I V", "I V IV I", "I vi ii V"),
        ("i iv i V", "i VII i V", "i i iv V"),
        spice=0.05, sevenths=False, sung=0.55, drummed=0.86, fades=0.4, cycles=_SONG, swing=0.15, pair=2,
        density=1.9, syncopation=0.6,
    ),
    Style(
        "folk", ("folk waltz", "old-time waltz", "rustic waltz"), "folk", (84, 150), ("3",), 0.35,
        ("I IV V I", "I I IV V", "I vi ii V", "I V I V"),
        ("i iv V i", "i VII i V", "i i iv V"),
        spice=0.15, sevenths=False, sung=0.55, drummed=0.3, fades=0.05, cycles=_SONG, density=2.0, syncopation=0.1,
    ),
    Style(
        "march", ("march", "parade march", "ceremonial march"), "ceremonial", (96, 128), ("2",), 0.25,
        ("I I V V", "I IV V I", "I V I V", "I ii V I"),
        ("i i V V", "i iv V i", "i VI iv V"),
        spice=0.1, sevenths=True, sung=0.12, drummed=0.85, fades=0.0, cycles=_SUITE, density=2.8, syncopation=0.0,
    ),
    Style(
        "ballad68", ("soul ballad", "soul", "gospel ballad"), "soul", (60, 78), ("6",), 0.35,
        ("I vi IV V", "I IV I V", "I iii IV V", "I I7 IV V"),
        ("i iv V i", "i VI iv V", "i iv i V"),
        spice=0.3, sevenths=True, sung=0.7, drummed=0.65, fades=0.2, cycles=_SONG, density=2.0,
    ),
    Style(
        "jig", ("jig", "folk jig", "village-dance jig"), "folk dance", (96, 132), ("6",), 0.4,
        ("I I V V", "I IV I V", "I V I V", "I ii V I"),
        ("i VII i V", "i i VII V", "i iv V i"),
        spice=0.0, sevenths=False, sung=0.15, drummed=0.4, fades=0.0, cycles=_SUITE, density=4.6, syncopation=0.0,
    ),
    Style(
        "ambient", ("ambient", "drifting ambient", "atmospheric ambient"), "ambient", (60, 84), ("4", "3"), 0.45,
        ("Iadd9 Iadd9 IVadd9 IVadd9", "I I vi IV", "Isus2 I IV I"),
        ("i i VI i", "iadd9 iadd9 iv iv", "i VI i v"),
        spice=0.1, sevenths=False, sung=0.1, drummed=0.15, fades=0.6, cycles=_SUITE, density=0.7,
    ),
    Style(
        "classical", ("classical", "chamber music", "concert music"), "classical", (62, 140), ("4", "3", "2"), 0.45,
        ("I IV V I", "I vi ii V", "I V I V", "I V7/V V I", "I ii V7 I"),
        ("i iv V i", "i VI iv V", "i V i V7", "i iih7 V i"),
        spice=0.35, sevenths=True, sung=0.08, drummed=0.1, fades=0.0, cycles=_SUITE, density=2.4, syncopation=0.05,
    ),
    Style(
        "synthwave", ("synthwave", "retro electronic", "outrun"), "electronic", (84, 118), ("4",), 0.7,
        ("I V vi IV", "I IV vi V", "I I IV V"),
        ("i VI iv V", "i VII VI V", "i i VI VII", "i iv i V"),
        spice=0.1, sevenths=False, sung=0.35, drummed=0.9, fades=0.45, cycles=_SONG, density=2.2,
    ),
    Style(
        "country", ("country", "country folk", "country shuffle"), "country", (92, 134), ("4", "2"), 0.15,
        ("I IV I V", "I I IV V", "I V IV I", "I IV V I"),
        ("i iv i V", "i VII i V"),
        spice=0.15, sevenths=True, sung=0.65, drummed=0.65, fades=0.1, cycles=_SONG, swing=0.1, pair=4,
        density=2.6,
    ),
)  # fmt: skip
STYLES: dict[str, Style] = {row.name: row for row in _ROWS}
