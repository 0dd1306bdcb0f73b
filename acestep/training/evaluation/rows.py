"""What is measured: one row per experiment, with the questions its observations answer and the figures to reach.

In: nothing; a table. A score looks at what was asked for and what was heard, nothing else: chance is what the same
outcomes score against somebody else's request. Refuses to know how songs are made, and files.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from acestep.tasks import COMPLETION, DEFAULT_TASK, EXTRACTION, FAITHFUL_COVER, LEGO, TASKS, Task
from acestep.training.ears import TEMPO_TOLERANCE, key_score, tempo_agrees
from acestep.training.evaluation import measures, observe
from acestep.training.evaluation.observe import Facts, Observation
from acestep.training.evaluation.studio import HeldOutSong, Studio

Score = float | None  # None: this song cannot answer
Unit = Literal["%", "dB", ""]
SILENCE_MAX_S = 1.0


@dataclass(frozen=True, slots=True)
class Question:
    """One line of the table.

    Attributes:
        what: the line's name.
        score: of (asked, heard).
        unit: ``%`` for shares, ``dB``, or none.
        needed, aim: figures to reach; None is only reported.
        less: the lower the better.
        shuffled: chance is the score against other songs' requests.
        beyond_error: what has to be reached is one standard error, so that it is no accident.
    """

    what: str
    score: Callable[[Facts, Facts], Score]
    unit: Unit = "%"
    needed: float | None = None
    aim: float | None = None
    less: bool = False
    shuffled: bool = True
    beyond_error: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """One experiment: its name on the command line, how a song is observed, what is asked, the task it needs."""

    name: str
    observe: Callable[[Studio, HeldOutSong], Observation]
    questions: tuple[Question, ...]
    task: Task = TASKS[DEFAULT_TASK]


def _tempo(asked: Facts, heard: Facts) -> Score:
    return float(tempo_agrees(heard["bpm"], asked["bpm"]))


def _second_tempo(asked: Facts, heard: Facts) -> Score:
    return float(tempo_agrees(heard["second_bpm"], asked["bpm"]))


def _drums(asked: Facts, heard: Facts) -> Score:
    return float(asked["drums"] == heard["drums"])


def _drums_wanted(asked: Facts, heard: Facts) -> Score:
    return float(heard["drums"]) if asked["drums"] else None


def _drums_unwanted(asked: Facts, heard: Facts) -> Score:
    return None if asked["drums"] else float(not heard["drums"])


def _key(asked: Facts, heard: Facts) -> Score:
    return key_score(heard["key"], asked["key"])


def _in_range(asked: Facts, heard: Facts) -> Score:
    if asked["bpm_range"] is None:
        return None  # a vague caption that names no style
    low, high = asked["bpm_range"]
    return float(heard["bpm"] is not None and low <= heard["bpm"] <= high)


def _same_tempo(asked: Facts, heard: Facts) -> Score:
    return float(heard["bpm"] is not None and abs(heard["bpm"] / asked["bpm"] - 1) <= TEMPO_TOLERANCE)


def _same_key(asked: Facts, heard: Facts) -> Score:
    return float(bool(heard["key"]) and _key(asked, heard) == 1.0)


def _gain(score: Callable[[Facts, Facts], Score]) -> Callable[[Facts, Facts], Score]:
    """How much better strong guidance scores than weak, song by song."""
    return lambda asked, heard: score(asked, heard["strong"]) - score(asked, heard["weak"])


def _on_grid(asked: Facts, heard: Facts) -> Score:
    return measures.share_on_grid(heard["onsets"], asked["grid"])


def _exact(asked: Facts, heard: Facts) -> Score:
    return float(heard["samples"] == asked["samples"])


def _unclipped(_asked: Facts, heard: Facts) -> Score:
    return float(heard["clipped"] == 0)


def _unbroken(_asked: Facts, heard: Facts) -> Score:
    return float(heard["silence_s"] <= SILENCE_MAX_S)


def _language(asked: Facts, heard: Facts) -> Score:
    return float(heard["language"] == asked["language"])


def _chroma_correlation(asked: Facts, heard: Facts) -> Score:
    return measures.chroma_correlation(asked["chroma"], heard["chroma"])


def _chroma_alignment(asked: Facts, heard: Facts) -> Score:
    return measures.chroma_alignment(asked["chroma"], heard["chroma"])


def _of(name: str) -> Callable[[Facts, Facts], Score]:
    """A figure that was measured as it is."""
    return lambda _asked, heard: heard.get(name)


_TEMPO = Question("tempo within 4 % of the request", _tempo, needed=0.7, aim=0.95)
_SECOND_TEMPO = Question("the same, heard by sonara", _second_tempo)
_DRUMS = Question("drums as in the caption", _drums, needed=0.8, aim=0.95)
_KEY = Question("key, weighted score", _key, "", aim=0.85)
_BEATS_AIM = 0.85

ROWS = (
    Row(
        "vae",
        observe.observe_reconstruction,
        (
            Question("autoencoder, SI-SDR", _of("si_sdr"), "dB", needed=3.0, aim=8.0, shuffled=False),
            Question("autoencoder, log-mel L1", _of("log_mel"), "", needed=0.8, aim=0.4, less=True, shuffled=False),
        ),
    ),
    Row("tempo", observe.observe_music(thinking=True), (_TEMPO, _SECOND_TEMPO)),
    Row(
        "drums",
        observe.observe_music(thinking=True),
        (
            _DRUMS,
            Question("drums in the caption, heard", _drums_wanted, shuffled=False),
            Question("no drums in the caption, none heard", _drums_unwanted, shuffled=False),
        ),
    ),
    Row(
        "sound",
        observe.observe_sound,
        (
            Question("as long as asked, to the sample", _exact, needed=1.0, aim=1.0, shuffled=False),
            Question("no sample clipped", _unclipped, needed=1.0, aim=1.0, shuffled=False),
            Question("no silence over 1 s inside", _unbroken, needed=1.0, aim=1.0, shuffled=False),
        ),
    ),
    Row(
        "planner",
        observe.observe_plan,
        (
            Question("plans that are valid", _of("valid"), needed=1.0, aim=1.0, shuffled=False),
            Question("planned bpm in the style's range", _in_range, needed=0.8, aim=0.95),
            Question("planned language right", _language, needed=0.9, aim=0.98),
        ),
    ),
    Row("key", observe.observe_music(thinking=True), (_KEY,)),
    Row(
        "unplanned",
        observe.observe_music(thinking=False),
        (
            Question("without planner: tempo", _tempo),
            Question("without planner: drums", _drums),
            Question("without planner: key", _key, ""),
        ),
    ),
    Row(
        "codes",
        observe.observe_codes,
        (Question("semantic codes, chroma correlation", _chroma_correlation, "", aim=0.9),),
    ),
    Row(
        "understand",
        observe.observe_understanding,
        (
            Question("understood bpm within 4 %", _same_tempo, aim=0.9),
            Question("understood key exact", _same_key, aim=0.8),
        ),
    ),
    Row(
        "guidance",
        observe.observe_guidance,
        (
            Question("guidance 1 to 5: gain in tempo", _gain(_tempo), shuffled=False, beyond_error=True),
            Question("guidance 1 to 5: gain in key", _gain(_key), "", shuffled=False, beyond_error=True),
        ),
    ),
    Row(
        FAITHFUL_COVER.name,
        observe.observe_cover,
        (Question("cover: chroma alignment with the source (aim: 0.3 over chance)", _chroma_alignment, ""),),
        FAITHFUL_COVER,
    ),
    Row(
        EXTRACTION.name,
        observe.observe_extraction,
        tuple(
            Question(f"extracted {track}: SI-SDR gained", _of(track), "dB", aim=8.0, shuffled=False)
            for track in observe.EXTRACTED
        ),
        EXTRACTION,
    ),
    Row(
        LEGO.name,
        observe.observe_added_drums,
        (Question("added drums: onsets on the grid of eighths", _on_grid, aim=_BEATS_AIM),),
        LEGO,
    ),
    Row(
        COMPLETION.name,
        observe.observe_completion,
        (Question("completed band: onsets on the grid of eighths", _on_grid, aim=_BEATS_AIM),),
        COMPLETION,
    ),
)
