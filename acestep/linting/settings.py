"""Rules about metadata: values that are allowed and that few songs of the training had.

In: a ``Song``. Out: hints, and a warning for tempos that hardly any song has. The rules are those of the published
guide to the model, chapter "metadata", in our words.
"""

from __future__ import annotations

from collections.abc import Iterator

from acestep.constants import ACCIDENTALS, MODES
from acestep.linting.findings import Finding, hint, warning
from acestep.linting.song import Song
from acestep.metadata import UNUSUAL_METERS

COMMON_BPM = (60, 180)
KNOWN_BPM = (40, 220)  # beyond, results are unstable
ACCIDENTALS_AT_MOST = 4  # sharps or flats of a signature
LONGEST_STABLE_S = 300.0

_FIFTHS = {"F": -1, "C": 0, "G": 1, "D": 2, "A": 3, "E": 4, "B": 5}


def rare_tempo(song: Song) -> Iterator[Finding]:
    """60 to 180 beats per minute are common; the extremes are unstable."""
    if song.bpm is None or COMMON_BPM[0] <= song.bpm <= COMMON_BPM[1]:
        return
    severe = not KNOWN_BPM[0] <= song.bpm <= KNOWN_BPM[1]
    common = f"{COMMON_BPM[0]} to {COMMON_BPM[1]} work best"
    nearer = song.bpm * 2 if song.bpm < COMMON_BPM[0] else song.bpm // 2
    yield (warning if severe else hint)(
        "rare-tempo", "bpm", f"{song.bpm} beats per minute are rare; {common}, and {nearer} has the same pulse."
    )


def rare_key(song: Song) -> Iterator[Finding]:
    """Keys with few sharps or flats are stable; others may be ignored or shifted."""
    if song.keyscale and (count := abs(signature(song.keyscale))) > ACCIDENTALS_AT_MOST:
        message = (
            f"{song.keyscale} has {count} sharps or flats and may be shifted; C, G, D, A minor, E minor are stable."
        )
        yield hint("rare-key", "keyscale", message)


def rare_meter(song: Song) -> Iterator[Finding]:
    """4/4 is the surest; what is not in two, three, four or six varies by style."""
    if song.timesignature in UNUSUAL_METERS:
        yield hint(
            "rare-meter", "timesignature", f"{song.timesignature} is kept in some styles only; 4/4 is the surest."
        )


def long_song(song: Song) -> Iterator[Finding]:
    """Very long songs may repeat themselves or lose their form."""
    if song.duration is not None and song.duration > LONGEST_STABLE_S:
        message = f"Songs beyond {LONGEST_STABLE_S:.0f} s may repeat themselves; two to four minutes are stable."
        yield hint("long-song", "duration", message)


def signature(keyscale: str) -> int:
    """Sharps of a key's signature, flats negative; from -10 to 10, since every spelling is allowed.

    Args:
        keyscale: canonical, such as ``C# minor``.
    """
    note, mode = keyscale.split()
    accidental = note[1:]
    sharps, flats = ACCIDENTALS[1::2], ACCIDENTALS[2::2]
    return _FIFTHS[note[0]] + 7 * ((accidental in sharps) - (accidental in flats)) - 3 * (mode == MODES[1])


RULES = (rare_tempo, rare_key, rare_meter, long_song)
