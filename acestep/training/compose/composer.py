"""The composer: from a seed and perhaps some wishes to a whole ``Score`` with its exact truth.

    wishes --settle--> Brief --lead_sheet--> LeadSheet --perform--> tones in steps --transcribe--> Score in seconds

Refuses to know audio and captions.
"""

from __future__ import annotations

import math
from collections.abc import Collection

from acestep.training.compose.brief import Brief, Wishes, settle
from acestep.training.compose.ensembles import Player, draw_band
from acestep.training.compose.feels import feel_of
from acestep.training.compose.form import Ending, draw_ending, lay_out, phrase_bars, section_bars
from acestep.training.compose.harmony import harmonise
from acestep.training.compose.lyrics import draw_language
from acestep.training.compose.melody import Motif, Tone, draw_motif
from acestep.training.compose.players import Session, perform
from acestep.training.compose.sheet import METERS, Grid, LeadSheet, Passage
from acestep.training.compose.transcribe import chords_of, notes_of, part_of, sections_of
from acestep.training.compose.vocals import SungLine, sing_song
from acestep.training.score import Note, Part, Score


def compose(
    seed: int,
    *,
    style: str | None = None,
    bpm: int | None = None,
    keyscale: str | None = None,
    timesignature: str | None = None,
    duration_s: float | None = None,
    vocals: bool | None = None,
    tracks: Collection[str] | None = None,
) -> Score:
    """A song; the same arguments make the same song.

    Args:
        seed: decides everything that is not given.
        style: a key of ``STYLES``.
        bpm: 60 to 180 beats per minute, of dotted quarters in 6/8.
        keyscale: one of ``constants.KEYSCALES``.
        timesignature: ``2``, ``3``, ``4`` or ``6``.
        duration_s: 10 to 600 seconds; drawn from 10 to 60.
        vocals: whether somebody sings.
        tracks: names of ``constants.TRACK_NAMES`` that shall play, all of them and no others.

    Raises:
        InputError: one of these is out of range.
        UnsupportedError: ``vocals`` contradicts ``tracks``.
    """
    brief = settle(seed, Wishes(style, bpm, keyscale, timesignature, duration_s, vocals, tracks))
    grid = _grid(brief)
    ending = draw_ending(grid, brief.duration_s, brief.style.fades, brief.stream("ending"))
    sheet = _lead_sheet(brief, grid, ending)
    motifs = {
        kind: draw_motif(sheet, brief.style.syncopation, brief.stream(f"motif {kind}"))
        for kind in dict.fromkeys(passage.kind for passage in sheet.passages)
    }
    band = draw_band(brief.style, brief.stream("band"), brief.sung, brief.tracks)
    language = draw_language(brief.stream("language")) if brief.sung else "unknown"
    lines = _sung_lines(brief, sheet, motifs, band, language)
    return _score(brief, ending, language, sheet, _parts(brief, sheet, motifs, band, lines), lines)


def _grid(brief: Brief) -> Grid:
    """Compound meters do not swing: their beats are already in three."""
    meter = METERS[brief.timesignature]
    straight = meter.steps_per_beat % brief.style.pair != 0
    return Grid(brief.bpm, meter, 0.0 if straight else brief.style.swing, brief.style.pair)


def _lead_sheet(brief: Brief, grid: Grid, ending: Ending) -> LeadSheet:
    bars = ending.bars
    passages = lay_out(bars, section_bars(grid), brief.sung, brief.style.cycles, brief.stream("form"))
    line_bars = phrase_bars(grid)
    chords = harmonise(passages, brief.key, brief.style, grid.meter, line_bars, ending.held, brief.stream("harmony"))
    final_step = bars * grid.meter.steps if ending.held else None
    return LeadSheet(
        grid, brief.key, passages, chords, line_bars, final_step, math.floor(brief.duration_s / grid.step_s)
    )


def _sung_lines(
    brief: Brief, sheet: LeadSheet, motifs: dict[str, Motif], band: tuple[Player, ...], language: str
) -> dict[Passage, tuple[SungLine, ...]]:
    voice = next((player for player in band if player.role == "vocals"), None)
    if voice is None:
        return {}
    return sing_song(sheet, motifs, (voice.low, voice.high), language, brief.seed)


def _parts(
    brief: Brief,
    sheet: LeadSheet,
    motifs: dict[str, Motif],
    band: tuple[Player, ...],
    lines: dict[Passage, tuple[SungLine, ...]],
) -> tuple[tuple[Part, ...], dict[Tone, Note]]:
    """What everybody plays, and the note of every sung tone."""
    sung = tuple(tone for passage in lines.values() for line in passage for tone in line.tones)
    session = Session(
        sheet, brief.style, feel_of(brief.style.name, brief.timesignature), motifs, sung, len(band) == 1
    )
    parts, sung_notes = [], {}
    for index, player in enumerate(band):
        rng = brief.stream(f"player {index}")
        tones = perform(session, player, rng)
        notes = notes_of(tones, sheet, brief.duration_s, rng)
        parts.append(part_of(player, notes))
        if player.role == "vocals":
            sung_notes = dict(zip(tones, notes, strict=True))
    return tuple(parts), sung_notes


def _score(
    brief: Brief,
    ending: Ending,
    language: str,
    sheet: LeadSheet,
    played: tuple[tuple[Part, ...], dict[Tone, Note]],
    lines: dict[Passage, tuple[SungLine, ...]],
) -> Score:
    parts, sung_notes = played
    return Score(
        seed=brief.seed,
        style=brief.style.name,
        bpm=brief.bpm,
        keyscale=brief.keyscale,
        timesignature=brief.timesignature,
        language=language,
        duration_s=brief.duration_s,
        beats=sheet.grid.beats(brief.duration_s),
        downbeats=sheet.grid.beats(brief.duration_s, every=sheet.grid.meter.beats),
        sections=sections_of(sheet, brief.duration_s, lines, sung_notes),
        chords=chords_of(sheet, brief.duration_s),
        parts=parts,
        fade_out_s=ending.fade_out_s,
    )
