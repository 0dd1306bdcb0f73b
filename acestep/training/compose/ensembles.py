"""Who plays: the players every style may call on, and the draw of an actual band.

In: a style row, wishes about vocals and tracks. Out: players, each with a track, a role and a program.
Refuses to know notes and time; what a role plays is in ``players``.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from acestep.constants import TRACK_NAMES
from acestep.training.compose.instruments import FEMALE_VOICE, MALE_VOICE, VOICE_RANGES, programs_of
from acestep.training.compose.styles import Style

PARTS_MAX = 8
SOLO_CHANCE = 0.07
# By role: lowest and highest MIDI pitch, level in dB, energy from which it plays.
ROLES: dict[str, tuple[int, int, float, int]] = {
    "drums": (35, 81, 0.0, 0),
    "percussion": (35, 81, -7.0, 1),
    "bass": (28, 50, -1.0, 0),
    "chords": (52, 76, -4.0, 0),
    "pad": (50, 76, -7.0, 0),
    "arpeggio": (55, 84, -6.0, 1),
    "lead": (60, 84, -1.0, 0),
    "response": (62, 86, -4.0, 0),
    "solo": (48, 84, 0.0, 0),
    "fx": (55, 72, -9.0, 0),
    "vocals": (47, 76, 1.0, 0),
    "backing": (45, 72, -6.0, 1),
}
HARMONIC_ROLES = frozenset({"chords", "pad", "arpeggio", "solo"})
# Roles that can carry a piece with nobody else.
SOLO_TRACKS = ("keyboard", "guitar", "strings", "woodwinds", "synth")
_TWO_HANDED = frozenset({"keyboard", "guitar"})  # these play melody and chords at once


@dataclass(frozen=True, slots=True)
class Player:
    """One musician.

    Attributes:
        track: one of ``constants.TRACK_NAMES``.
        role: one of ``ROLES``.
        program: General MIDI program; for drums and hand percussion the kit.
        low, high: MIDI pitches it may play.
        enter: energy of the calmest section it plays in.
        gain_db, pan: as in ``score.Part``.
    """

    track: str
    role: str
    program: int
    low: int
    high: int
    enter: int
    gain_db: float
    pan: float = 0.0

    @property
    def is_drums(self) -> bool:
        """It plays General MIDI percussion keys instead of pitches; timpani are pitched."""
        return self.role in {"drums", "percussion"}


@dataclass(frozen=True, slots=True)
class Seat:
    """A place in a style's band: its track and role, the programs that may take it, the chance it is taken."""

    track: str
    role: str
    programs: tuple[int, ...]
    chance: float


def _band(*seats: str) -> tuple[Seat, ...]:
    """Seats written as ``"track role programs chance"``, programs with commas."""
    rows = (seat.split() for seat in seats)
    return tuple(
        Seat(track, role, tuple(int(number) for number in programs.split(",")), float(chance))
        for track, role, programs, chance in rows
    )


_BANDS: dict[str, tuple[Seat, ...]] = {
    "pop_ballad": _band(
        "keyboard chords 0,0,4 .9", "strings pad 48,49 .5", "guitar arpeggio 25,24 .4", "bass bass 33,35 .75",
        "drums drums 0,8 1", "woodwinds lead 73,65,68 .25", "percussion percussion 0 .15",
        "backing_vocals backing 52 .35", "synth pad 88,89 .2",
    ),
    "rock": _band(
        "guitar chords 29,30,30 .95", "bass bass 34,33 .9", "drums drums 16,8,0 1", "guitar lead 30,29 .5",
        "keyboard chords 16 .25", "percussion percussion 0 .15", "backing_vocals backing 52 .3",
        "brass response 61 .1",
    ),
    "house": _band(
        "synth chords 90,81 .75", "bass bass 38,39 .9", "drums drums 24,25 1", "keyboard chords 0,1 .45",
        "synth lead 80,81 .35", "percussion percussion 0 .4", "fx fx 119,122 .4", "strings pad 48 .2",
        "backing_vocals backing 53 .15",
    ),
    "techno": _band(
        "synth arpeggio 81,84 .75", "bass bass 38,39 .9", "drums drums 25,24 1", "synth pad 94,91 .4",
        "percussion percussion 0 .4", "fx fx 101,122,119 .5", "synth lead 84,80 .25",
    ),
    "lofi": _band(
        "keyboard chords 4,4,0 .95", "bass bass 32,33,35 .75", "drums drums 25,0 1", "guitar lead 26,24 .35",
        "fx fx 122,99 .25", "strings pad 49 .15", "woodwinds lead 65,73 .2", "synth pad 89 .2",
    ),
    "trap": _band(
        "synth arpeggio 88,80 .6", "bass bass 38 .9", "drums drums 25 1", "keyboard chords 0,6 .45",
        "strings pad 48 .3", "fx fx 101,119 .35", "brass response 61 .2", "woodwinds lead 73,74 .2",
    ),
    "jazz": _band(
        "keyboard chords 0,0,16 .75", "bass bass 32 .85", "drums drums 32,40 1", "woodwinds lead 65,66,71 .55",
        "brass lead 56,59 .35", "guitar chords 26 .35", "brass response 57 .15",
    ),
    "bossa": _band(
        "guitar chords 24 .95", "bass bass 32,33 .75", "drums drums 40,32 1", "percussion percussion 0 .45",
        "woodwinds lead 73,66 .5", "keyboard chords 4,0 .35", "strings pad 49 .15", "backing_vocals backing 52 .15",
    ),
    "funk": _band(
        "guitar chords 28,27 .9", "bass bass 36,33 .95", "drums drums 0,8 1", "keyboard chords 4,16 .5",
        "brass response 61 .55", "percussion percussion 0 .4", "synth lead 80,84 .2", "woodwinds lead 65 .25",
        "backing_vocals backing 52 .2",
    ),
    "reggae": _band(
        "guitar chords 27,28 .9", "bass bass 33,35 .95", "drums drums 8,0 1", "keyboard chords 16 .6",
        "brass response 61,57 .3", "percussion percussion 0 .35", "backing_vocals backing 52 .35",
    ),
    "folk": _band(
        "guitar chords 25,24 .85", "keyboard chords 21 .45", "bass bass 32 .5", "drums drums 40 1",
        "strings lead 40 .45", "woodwinds lead 78,74 .3", "percussion percussion 0 .15", "guitar arpeggio 105 .2",
        "backing_vocals backing 52 .2",
    ),
    "march": _band(
        "brass lead 56 .85", "brass chords 61,60 .85", "bass bass 58 .85", "drums drums 48 1",
        "woodwinds response 72,71 .6", "percussion percussion 0 .2", "woodwinds lead 71 .25",
    ),
    "ballad68": _band(
        "keyboard chords 16,4,0 .9", "bass bass 33 .8", "drums drums 0,40 1", "guitar arpeggio 27 .5",
        "woodwinds lead 66 .35", "strings pad 48 .35", "backing_vocals backing 52 .45", "brass response 61 .2",
    ),
    "jig": _band(
        "strings lead 40 .7", "woodwinds lead 78,74 .6", "guitar chords 25 .8", "bass bass 32 .35",
        "drums drums 40,0 1", "percussion percussion 0 .3", "keyboard chords 21 .45", "guitar arpeggio 105 .25",
    ),
    "ambient": _band(
        "synth pad 88,89,91,94 .95", "keyboard arpeggio 0,4,8 .45", "strings pad 49 .35", "fx fx 99,101,122 .5",
        "bass bass 38,39 .4", "drums drums 24 1", "guitar arpeggio 27 .2", "backing_vocals backing 53 .25",
        "woodwinds lead 73,74 .25",
    ),
    "classical": _band(
        "strings chords 48 .75", "strings lead 40,42 .55", "bass bass 43,42 .65", "woodwinds lead 73,68,71 .5",
        "brass pad 60 .3", "keyboard arpeggio 0,6 .3", "strings arpeggio 46,45 .25", "percussion bass 47 .2",
        "drums drums 48 1", "backing_vocals backing 53 .1",
    ),
    "synthwave": _band(
        "synth arpeggio 81,80 .8", "bass bass 39,38 .9", "drums drums 24 1", "synth pad 90,89 .7",
        "synth lead 81,84 .55", "guitar response 29,30 .2", "fx fx 119,99 .25", "backing_vocals backing 53 .1",
    ),
    "country": _band(
        "guitar chords 25 .95", "bass bass 32,33 .8", "drums drums 40,0 1", "strings lead 40 .4",
        "guitar arpeggio 105 .35", "keyboard chords 0 .25", "guitar lead 27 .35", "backing_vocals backing 52 .3",
        "percussion percussion 0 .15",
    ),
}  # fmt: skip
# For a track a style has no seat for.
_GUESTS = {
    seat.track: seat
    for seat in _band(
        "woodwinds lead 73,71 1", "brass response 61,56 1", "fx fx 119,122 1", "synth pad 88,89 1",
        "strings pad 48,49 1", "percussion percussion 0 1", "keyboard chords 0,4 1", "guitar chords 25,27 1",
        "bass bass 33,32 1", "drums drums 0,8 1", "backing_vocals backing 52,53 1",
    )
}  # fmt: skip
_PANS = {"chords": (-0.3, 0.3), "arpeggio": (-0.5, 0.5), "response": (-0.4, 0.4), "percussion": (-0.5, 0.5)}


def draw_band(
    style: Style, rng: random.Random, sung: bool, tracks: Sequence[str] | None = None
) -> tuple[Player, ...]:
    """The players of a song, vocals last; exactly the given ``tracks`` when there are any."""
    seats = _named(style, rng, tracks) if tracks is not None else _drawn(style, rng, sung)
    players = _grounded(
        [_seated(seat, rng) for seat in sorted(seats, key=lambda seat: TRACK_NAMES.index(seat.track))]
    )
    if sung:
        players.append(_singer(rng))
        players = [_harmonising(player) for player in players]
    return tuple(players)


def _named(style: Style, rng: random.Random, tracks: Sequence[str]) -> list[Seat]:
    """One seat for each named track but the vocals, the style's own where it has one."""
    return [
        rng.choice([seat for seat in _BANDS[style.name] if seat.track == track] or [_GUESTS[track]])
        for track in tracks
        if track in _GUESTS
    ]


def _drawn(style: Style, rng: random.Random, sung: bool) -> list[Seat]:
    """A band as the style likes it: now and then one instrument alone, else up to ``PARTS_MAX`` with some harmony."""
    band = _BANDS[style.name]
    if rng.random() < SOLO_CHANCE:
        return [_soloist(band, rng, sung)]
    drummed = rng.random() < style.drummed
    thinning = rng.choice((0.6, 0.85, 1.0, 1.0, 1.25))  # small bands and big ones
    seats = [seat for seat in band if seat.role != "drums" and rng.random() < seat.chance * thinning]
    if not drummed:  # a song said to have no drums should hardly ever rattle
        seats = [seat for seat in seats if seat.role != "percussion" or rng.random() < 0.3]
    if not any(seat.role in HARMONIC_ROLES for seat in seats):
        seats.append(rng.choice([seat for seat in band if seat.role in HARMONIC_ROLES]))
    while len(seats) > PARTS_MAX - drummed - sung:
        seats.remove(
            rng.choice([seat for seat in seats if seat.role not in HARMONIC_ROLES or len(seats) > PARTS_MAX])
        )
    return seats + [seat for seat in band if seat.role == "drums" and drummed]


def _soloist(band: Sequence[Seat], rng: random.Random, sung: bool) -> Seat:
    """One instrument that plays the melody, and the chords with it where two hands allow; a singer needs chords."""
    harmonic = [seat for seat in band if seat.role in HARMONIC_ROLES]
    seat = rng.choice(harmonic if sung else [seat for seat in band if seat.track in SOLO_TRACKS])
    both = seat.track in _TWO_HANDED
    if sung and not both:
        return seat
    return replace(seat, role="solo" if both else ("pad" if seat.role == "pad" else "lead"))


def _grounded(players: list[Player]) -> list[Player]:
    """Somebody with chords plays from the first bar: if all of them wait for more energy, none does."""
    waiting = all(player.enter for player in players if player.role in HARMONIC_ROLES)
    return [replace(player, enter=0) if waiting and player.role in HARMONIC_ROLES else player for player in players]


def _seated(seat: Seat, rng: random.Random) -> Player:
    low, high, gain_db, enter = ROLES[seat.role]
    program = rng.choice([program for program in seat.programs if program in programs_of(seat.track)])
    enter = rng.randint(0, 1) if seat.role in {"drums", "bass"} else enter
    return Player(seat.track, seat.role, program, low, high, enter, gain_db, rng.choice(_PANS.get(seat.role, (0.0,))))


def _singer(rng: random.Random) -> Player:
    program = rng.choice((FEMALE_VOICE, MALE_VOICE))
    low, high = VOICE_RANGES[program]
    return Player("vocals", "vocals", program, low, high, 0, ROLES["vocals"][2])


def _harmonising(player: Player) -> Player:
    """In a sung song a melody instrument answers the voice instead of doubling it."""
    return replace(player, role="response") if player.role == "lead" else player
