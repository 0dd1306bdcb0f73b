"""What each role plays: one function per row of ``ROLES``, from the lead sheet to tones.

In: a ``Session`` (lead sheet, style, feel, motifs, what is sung) and a player. Out: tones in steps of the song.
Refuses to know General MIDI programs, seconds and words.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from acestep.training.compose.accompaniment import arpeggio, comping, holding, lay_voicings
from acestep.training.compose.bass import bass_line, root_pitch
from acestep.training.compose.ensembles import Player
from acestep.training.compose.melody import Motif, Tone, breath_step, harmonised, onsets, phrases_of, sing
from acestep.training.compose.patterns import Feel
from acestep.training.compose.rhythm import drumming, last_hit, percussion
from acestep.training.compose.sheet import LeadSheet, Passage
from acestep.training.compose.styles import Style
from acestep.training.compose.theory import nearest

CHORD_VOICES, PAD_VOICES = 4, 3
_CALM, _PEAK = 0, 2
_REST_CHANCE = 0.15  # that an instrumental phrase is left out
_ANSWER_CHANCE = 0.6  # that a line is answered
_HELD_STEPS = 2  # a phrase cut short by its section leaves its last note this long
_SOLO_SPLIT = 64  # a soloist's left hand stays below, the right hand above


@dataclass(frozen=True, slots=True)
class Session:
    """What every player knows.

    Attributes:
        sheet, style, feel: the music and how it goes.
        motifs: by kind of section.
        sung: tones of the vocal line, empty when nobody sings.
        alone: a single player makes the whole song, so must not rest.
    """

    sheet: LeadSheet
    style: Style
    feel: Feel
    motifs: Mapping[str, Motif]
    sung: tuple[Tone, ...]
    alone: bool

    def passages(self, player: Player) -> list[Passage]:
        """Where a player plays: sections with enough energy, or all when there is none."""
        loud = [passage for passage in self.sheet.passages if passage.energy >= player.enter]
        return loud or list(self.sheet.passages)


Role = Callable[[Session, Player, random.Random], list[Tone]]


def perform(session: Session, player: Player, rng: random.Random) -> list[Tone]:
    """Everything a player plays, in order."""
    return sorted(_PLAYS[player.role](session, player, rng))


def _held(session: Session, pitches: Sequence[int], accent: float = 0.8) -> list[Tone]:
    """The last chord, when the song ends on one."""
    sheet = session.sheet
    if sheet.final_step is None:
        return []
    return [Tone(sheet.final_step, sheet.end_step - sheet.final_step, pitch, accent) for pitch in pitches]


def _drums(session: Session, player: Player, rng: random.Random) -> list[Tone]:
    tones = [
        tone for passage in session.passages(player) for tone in drumming(session.sheet, passage, session.feel, rng)
    ]
    final = session.sheet.final_step
    return tones + (last_hit(session.sheet, final, session.feel) if final is not None else [])


def _percussion(session: Session, player: Player, _rng: random.Random) -> list[Tone]:
    return [tone for passage in session.passages(player) for tone in percussion(session.sheet, passage, session.feel)]


def _bass(session: Session, player: Player, rng: random.Random) -> list[Tone]:
    bar = rng.choice(session.feel.bass)
    tones = [
        tone
        for passage in session.passages(player)
        for tone in bass_line(session.sheet, passage, bar, player.low, player.high)
    ]
    return tones + _held(session, [root_pitch(session.sheet.chords[-1], player.low, player.high)], 0.9)


def _chords(session: Session, player: Player, rng: random.Random) -> list[Tone]:
    """The style's bar; another one where the music peaks, held chords where it is calm."""
    usual, peak, holds = rng.choice(session.feel.comp), rng.choice(session.feel.comp), rng.random() < 0.5
    voicings = lay_voicings(session.sheet, player.low, player.high, CHORD_VOICES)
    tones: list[Tone] = []
    for passage in session.passages(player):
        if passage.energy == _CALM and holds:
            tones += holding(session.sheet, passage, voicings)
        else:
            tones += comping(session.sheet, passage, peak if passage.energy == _PEAK else usual, voicings)
    return tones + _held(session, voicings[-1])


def _pad(session: Session, player: Player, _rng: random.Random) -> list[Tone]:
    voicings = lay_voicings(session.sheet, player.low, player.high, PAD_VOICES)
    tones = [tone for passage in session.passages(player) for tone in holding(session.sheet, passage, voicings)]
    return tones + _held(session, voicings[-1], 0.7)


def _arpeggio(session: Session, player: Player, rng: random.Random) -> list[Tone]:
    bar = rng.choice(session.feel.arpeggio)
    voicings = lay_voicings(session.sheet, player.low, player.high - 12, PAD_VOICES)
    tones = [tone for passage in session.passages(player) for tone in arpeggio(session.sheet, passage, bar, voicings)]
    return tones + _held(session, voicings[-1])


def _lead(session: Session, player: Player, rng: random.Random) -> list[Tone]:
    """A melody wherever nobody sings, or everywhere if that is nowhere."""
    passages = session.passages(player)
    free = [passage for passage in passages if not passage.sung] or passages
    tones = [tone for passage in free for tone in _melody(session, passage, player, rng)]
    return tones + _held(session, [nearest(session.sheet.key.tonic, (player.low + player.high) / 2)])


def _melody(session: Session, passage: Passage, player: Player, rng: random.Random) -> list[Tone]:
    """Phrases over a passage; now and then one is left out, never the first or the last."""
    sheet = session.sheet
    starts = list(sheet.phrases(passage))
    room = min(sheet.phrase_bars, passage.bars) * sheet.bar_steps  # a short passage cuts its only phrase
    until = min(breath_step(sheet), room - _HELD_STEPS)
    phrase_s = room * sheet.grid.step_s
    tones: list[Tone] = []
    for index, motif in enumerate(phrases_of(session.motifs[passage.kind], len(starts), rng)):
        last = index == len(starts) - 1
        if not last and index and not session.alone and rng.random() < _REST_CHANCE:
            continue
        notes = max(2, round(session.style.density * phrase_s * rng.uniform(0.75, 1.15)))
        cut = replace(motif, pull=motif.pull[:room])
        places = onsets(cut, notes, until)
        tones += sing(sheet, starts[index], cut, places, (player.low, player.high), closes=last)
    return tones


def _response(session: Session, player: Player, rng: random.Random) -> list[Tone]:
    """Short answers in the breaths between sung lines; the melody itself where nobody sings."""
    sheet = session.sheet
    tones = _lead(session, player, rng) if not all(passage.sung for passage in session.passages(player)) else []
    for passage in (passage for passage in session.passages(player) if passage.sung):
        for index, start in enumerate(sheet.phrases(passage)):
            if index == 0 or rng.random() < _ANSWER_CHANCE:
                motif = session.motifs[passage.kind]
                places = onsets(motif, rng.randint(2, 4), len(motif.pull), since=breath_step(sheet))
                tones += sing(sheet, start, motif, places, (player.low, player.high), closes=False)
    return tones


def _solo(session: Session, player: Player, rng: random.Random) -> list[Tone]:
    """Melody above, its own accompaniment below."""
    sheet = session.sheet
    voicings = lay_voicings(sheet, player.low - 4, _SOLO_SPLIT, PAD_VOICES)
    play, bars = rng.choice(((comping, session.feel.comp), (arpeggio, session.feel.arpeggio)))
    bar = rng.choice(bars)
    below = [tone for passage in sheet.passages for tone in play(sheet, passage, bar, voicings)]
    quiet = [tone._replace(accent=tone.accent * 0.75) for tone in below] + _held(session, voicings[-1])
    above = replace(player, low=_SOLO_SPLIT + 1)
    return _lead(session, above, rng) + quiet


def _backing(session: Session, player: Player, rng: random.Random) -> list[Tone]:
    """A second voice under the peaks of what is sung, under all of it when it never peaks; else held chords."""
    if not session.sung:
        return _pad(session, player, rng)
    sheet = session.sheet
    sung = [passage for passage in sheet.passages if passage.sung]
    peaks = [passage for passage in sung if passage.energy == _PEAK] or sung
    spans = [(passage.start_bar * sheet.bar_steps, passage.end_bar * sheet.bar_steps) for passage in peaks]
    tones = [tone for tone in session.sung if any(first <= tone.step < end for first, end in spans)]
    return harmonised(tones, sheet, (player.low, player.high))


def _effects(session: Session, player: Player, _rng: random.Random) -> list[Tone]:
    """A long tonic into every section and out of it."""
    sheet = session.sheet
    pitch = nearest(sheet.key.tonic, (player.low + player.high) / 2)
    tones = []
    for passage in sheet.passages:
        tones.append(Tone(passage.start_bar * sheet.bar_steps, sheet.bar_steps, pitch, 0.7))
        if passage.bars > 1:
            tones.append(Tone((passage.end_bar - 1) * sheet.bar_steps, sheet.bar_steps, pitch, 0.6))
    return tones


def _vocals(session: Session, _player: Player, _rng: random.Random) -> list[Tone]:
    return list(session.sung)


_PLAYS: dict[str, Role] = {
    "drums": _drums,
    "percussion": _percussion,
    "bass": _bass,
    "chords": _chords,
    "pad": _pad,
    "arpeggio": _arpeggio,
    "lead": _lead,
    "response": _response,
    "solo": _solo,
    "fx": _effects,
    "vocals": _vocals,
    "backing": _backing,
}
