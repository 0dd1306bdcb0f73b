"""Plays a part of a score on an instrument of the General MIDI bank, to the sample.

In: a ``Part``. Out: its sound as the instrument makes it, float32 ``[2, S]``. Refuses to know levels, rooms
and singing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from acestep.constants import AUDIO_CHANNELS, SAMPLE_RATE
from acestep.training.render.bank import engine
from acestep.training.score import Note, Part

if TYPE_CHECKING:
    from tinysoundfont._tinysoundfont import SoundFont

MELODIC_CHANNEL, DRUM_CHANNEL = 0, 9
MAX_VOICES = 256  # a note of a rich preset takes several
VELOCITY_MAX = 127
OFF, ON = 0, 1  # at the same sample a note ends before the next one begins


def play(bank: SoundFont, part: Part, samples: int) -> np.ndarray:
    """The part played by its program, or by its drum kit.

    Args:
        bank: from ``load_bank``; left as it was.
        part: notes that start before the end of the song.
        samples: length of the song; what rings longer is cut there.

    Returns:
        float32 ``[2, samples]``.
    """
    channel = DRUM_CHANNEL if part.drums else MELODIC_CHANNEL
    player = _player(bank)
    player.channel_set_preset_number(channel, part.program, part.drums)
    sound = np.zeros((samples, AUDIO_CHANNELS), np.float32)  # [S, 2], as the engine interleaves it
    position = 0
    for moment, kind, note in _events(part.notes):
        if position < min(moment, samples):
            player.render(sound[position:moment])
            position = min(moment, samples)
        if kind == ON:
            player.channel_note_on(channel, note.pitch, note.velocity / VELOCITY_MAX)
        else:
            player.channel_note_off(channel, note.pitch)
    if position < samples:
        player.render(sound[position:])
    return np.ascontiguousarray(sound.T)  # [2, S]


def _player(bank: SoundFont) -> SoundFont:
    """A clone with no note sounding: it shares the samples of the bank and costs some microseconds."""
    library = engine()
    player = library.SoundFont(bank)
    player.set_output(library.OutputMode.StereoInterleaved, SAMPLE_RATE, 0.0)
    player.set_max_voices(MAX_VOICES)
    return player


def _events(notes: tuple[Note, ...]) -> list[tuple[int, int, Note]]:
    """(sample, OFF or ON, note) in order of time; every note lasts at least one sample."""
    events = []
    for note in notes:
        start = round(note.start_s * SAMPLE_RATE)
        stop = max(start + 1, round((note.start_s + note.duration_s) * SAMPLE_RATE))
        events += [(start, ON, note), (stop, OFF, note)]
    return sorted(events, key=lambda event: event[:2])
