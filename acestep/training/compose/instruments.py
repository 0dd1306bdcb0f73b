"""The instruments songs are written for: General MIDI programs, what people call them, which track they belong to.

In: nothing; tables. Out: names and ranges. Refuses to know notes, styles and time.
"""

from __future__ import annotations

from acestep.training.score import Part

FEMALE_VOICE, MALE_VOICE = 53, 52  # program of a vocals part: voice oohs for a high voice, choir aahs for a low one
# MIDI pitches a voice sings in; the two overlap by a sixth.
VOICE_RANGES = {FEMALE_VOICE: (57, 76), MALE_VOICE: (47, 66)}

# What people call a program, by track: the same program can be two instruments. The first name is the plain one.
_NAMES: dict[str, dict[int, tuple[str, ...]]] = {
    "keyboard": {
        0: ("piano", "grand piano"),
        1: ("acoustic piano",),
        4: ("electric piano", "stage piano"),
        6: ("harpsichord",),
        8: ("celesta",),
        16: ("organ", "drawbar organ"),
        19: ("church organ",),
        21: ("accordion",),
    },
    "guitar": {
        24: ("nylon-string guitar", "classical guitar"),
        25: ("acoustic guitar", "steel-string guitar"),
        26: ("jazz guitar", "mellow electric guitar"),
        27: ("clean electric guitar", "electric guitar"),
        28: ("muted guitar", "muted electric guitar"),
        29: ("overdriven guitar", "electric guitar"),
        30: ("distorted guitar", "heavy electric guitar"),
        105: ("banjo",),
    },
    "bass": {
        32: ("upright bass", "double bass"),
        33: ("electric bass", "bass guitar"),
        34: ("picked bass", "electric bass"),
        35: ("fretless bass",),
        36: ("slap bass",),
        38: ("synth bass", "deep synth bass"),
        39: ("analog synth bass", "synth bass"),
        42: ("cello bass line",),
        43: ("double bass", "orchestral bass"),
        58: ("tuba bass line",),
    },
    "strings": {
        40: ("violin", "solo violin"),
        41: ("viola",),
        42: ("cello", "solo cello"),
        45: ("pizzicato strings", "plucked strings"),
        46: ("harp",),
        48: ("strings", "string section"),
        49: ("sustained strings", "lush strings"),
    },
    "brass": {
        56: ("trumpet",),
        57: ("trombone",),
        59: ("muted trumpet",),
        60: ("French horn", "horns"),
        61: ("brass", "brass section"),
    },
    "woodwinds": {
        65: ("saxophone", "alto saxophone"),
        66: ("tenor saxophone", "saxophone"),
        68: ("oboe",),
        71: ("clarinet",),
        72: ("piccolo",),
        73: ("flute",),
        74: ("recorder", "wooden flute"),
        78: ("tin whistle",),
    },
    "synth": {
        80: ("square synth", "synth lead"),
        81: ("sawtooth synth", "synth lead"),
        84: ("charang synth", "edgy synth"),
        88: ("synth pad", "shimmering synth pad"),
        89: ("velvety synth pad", "synth pad"),
        90: ("polysynth", "synth chords"),
        91: ("airy synth pad", "synth pad"),
        94: ("hazy synth pad", "synth pad"),
    },
    "fx": {
        99: ("atmospheric effects", "sound effects"),
        101: ("eerie effects", "sound effects"),
        119: ("reverse sweeps", "sound effects"),
        122: ("noise swells", "sound effects"),
    },
    "drums": {
        0: ("drums", "drum kit"),
        8: ("room drums", "drums"),
        16: ("powerful drums", "hard-hitting drums"),
        24: ("electronic drums", "drum machine"),
        25: ("808 drums", "drum machine"),
        32: ("jazz drums", "drums"),
        40: ("brushed drums", "drums played with brushes"),
        48: ("orchestral drums", "drums"),
    },
    "percussion": {
        0: ("hand percussion", "percussion"),
        47: ("timpani",),
    },
    "vocals": {
        FEMALE_VOICE: ("female vocals", "a female voice"),
        MALE_VOICE: ("male vocals", "a male voice"),
    },
    "backing_vocals": {
        52: ("backing vocals", "vocal harmonies"),
        53: ("wordless backing vocals", "a wordless choir"),
    },
}


def names_of(part: Part) -> tuple[str, ...]:
    """What people call the instrument of a part, the plain name first."""
    return _NAMES[part.track][part.program]


def programs_of(track: str) -> tuple[int, ...]:
    """Programs that may play on a track."""
    return tuple(_NAMES[track])
