"""What ACE-Step can be asked to do, one row per task. The only module that knows task names.

In: a task name from a request. Out: its row: instruction text, what becomes of a source recording, which parameters
the task reads. Refuses to know audio, models and numbers: a stage reads a row's columns, it never compares names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from acestep.errors import InputError


class Source(Enum):
    """What the transformer hears of a source recording, as the source half of its context."""

    SILENCE = "nothing: the song is new"
    CODES = "what its semantic codes keep: melody and rhythm, not the sound"
    LATENTS = "everything: its latents as they are"


class Region(Enum):
    """Where on the source's timeline music is made."""

    WHOLE = "everywhere; a region means nothing to the task"
    OPEN = "in a region if one is given, else everywhere"
    GIVEN = "in a region that must be given"
    GROWN = "before or behind the source, or in a region of it"


@dataclass(frozen=True, slots=True)
class Task:
    """One row of the task table.

    Attributes:
        name: as users spell it.
        instruction: first line of the DiT's text prompt; may hold ``{TRACK_NAME}`` or ``{TRACK_CLASSES}``.
        needs_text: caption or lyrics must be given.
        needs_source: a source recording (or codes in its place) must be given; without it one is an error.
        source: what is heard of it.
        region: where music is made.
        keeps_outside: within the region the source is taken away, outside it is kept sample for sample.
        tracks_max: how many tracks may be named; 0 where tracks mean nothing.
        tracks_apart: every track is a song of its own.
        needs_track: one must be named.
        follows: the parameter that says how closely the song follows the source, or "".
        follows_far: a high value of that parameter means far from the source instead of near.
        target_words: ``style_prompt`` and ``style_lyrics`` are the words of the new song.
        flow_edit: the recording is carried along the difference of two velocities.
        adds: what comes out is to be added to the source: it may be mixed with it.
        accompanies: a voice is given; the rest is made, in a style.
        wordless: nobody sings in what is made.
        plays_codes: semantic codes may be given.
        starts_noised: the song starts from the recording under noise, which ``follows`` measures.
        trained: models were trained on it; otherwise it is a way to sample them.
        reads: further parameters the task reads.
    """

    name: str
    instruction: str
    needs_text: bool = False
    needs_source: bool = True
    source: Source = Source.LATENTS
    region: Region = Region.WHOLE
    keeps_outside: bool = False
    tracks_max: int = 0
    tracks_apart: bool = False
    needs_track: bool = False
    follows: str = ""
    follows_far: bool = False
    target_words: bool = False
    flow_edit: bool = False
    adds: bool = False
    accompanies: bool = False
    wordless: bool = False
    plays_codes: bool = False
    starts_noised: bool = False
    trained: bool = True
    reads: frozenset[str] = frozenset()

    @property
    def takes_voice(self) -> bool:
        """Whether it can keep the voice of the recording, which a model has to take out first."""
        return "preserve_vocals" in self.parameters

    @property
    def parameters(self) -> frozenset[str]:
        """Every parameter about recordings that the task reads."""
        groups = (
            (self.region is not Region.WHOLE, ("repainting_start", "repainting_end")),
            (self.region is Region.GROWN, ("continuation_mode", "extend_duration", "extend_start_duration")),
            (self.tracks_max > 0, ("track_name",)),
            (self.target_words, ("style_prompt", "style_lyrics")),
            (self.flow_edit, ("edit_n_avg",)),
            (self.flow_edit and not self.follows, ("edit_n_min", "edit_n_max")),
            (self.adds, ("mix",)),
            (self.accompanies, ("accompaniment_style", "generate_accompaniment")),
            (bool(self.follows), (self.follows,)),
            (self.tracks_apart, ("remainder",)),
        )
        return self.reads.union(*(names for does, names in groups if does))


TEXT2MUSIC_INSTRUCTION = "Fill the audio semantic mask based on the given conditions:"
COVER_INSTRUCTION = "Generate audio semantic tokens based on the given conditions:"
REPAINT_INSTRUCTION = "Repaint the mask area based on the given conditions:"
LEGO_INSTRUCTION = "Generate the {TRACK_NAME} track based on the audio context:"
EXTRACT_INSTRUCTION = "Extract the {TRACK_NAME} track from the audio:"
COMPLETE_INSTRUCTION = "Complete the input track with {TRACK_CLASSES}:"

_ALL_TRACKS = 12
_VARIED = frozenset({"variation_strength", "variation_seed"})
_FAR = frozenset({"variation_strength"})
_NOISED = frozenset({"cover_noise_strength"})
_VOICED = frozenset({"preserve_vocals"})


def _cover(name: str, follows: str, **columns: object) -> Task:
    source = columns.pop("source", Source.CODES)
    return Task(name, COVER_INSTRUCTION, source=source, follows=follows, **columns)


def _repaint(name: str) -> Task:
    return Task(name, REPAINT_INSTRUCTION, region=Region.GIVEN, keeps_outside=True)


def _extend(name: str) -> Task:
    return Task(name, REPAINT_INSTRUCTION, region=Region.GROWN, keeps_outside=True)


def _sampled(name: str, **columns: object) -> Task:
    return Task(name, "", trained=False, **columns)


_ROWS = (
    Task(
        "text2music", TEXT2MUSIC_INSTRUCTION, needs_text=True, needs_source=False, source=Source.SILENCE,
        plays_codes=True, reads=_VARIED,
    ),
    _cover("cover", "audio_cover_strength", plays_codes=True, reads=_NOISED),
    _cover("cover-nofsq", "audio_cover_strength", source=Source.LATENTS, reads=_NOISED),
    _repaint("repaint"),
    _extend("extend"),
    Task("lego", LEGO_INSTRUCTION, region=Region.OPEN, tracks_max=1, needs_track=True, adds=True),
    Task("extract", EXTRACT_INSTRUCTION, tracks_max=_ALL_TRACKS, tracks_apart=True, needs_track=True),
    Task("complete", COMPLETE_INSTRUCTION, tracks_max=_ALL_TRACKS, adds=True),
    Task("edit", TEXT2MUSIC_INSTRUCTION, source=Source.SILENCE, target_words=True, flow_edit=True),
    _cover("audio2audio", "audio2audio_strength", follows_far=True, reads=_VOICED),
    _extend("continuation"),
    _repaint("inpainting"),
    _cover("style_transfer", "style_strength", follows_far=True, target_words=True, reads=_VOICED),
    Task(
        "vocal_accompaniment", COMPLETE_INSTRUCTION, tracks_max=_ALL_TRACKS, adds=True, accompanies=True,
        reads=_VOICED,
    ),
)  # fmt: skip

_FIRST_ROWS = (  # the same wishes, as far as the first generation can fulfil them
    Task("text2music", "", needs_text=True, needs_source=False, source=Source.SILENCE, reads=_VARIED),
    _sampled("repaint", region=Region.GIVEN, keeps_outside=True, reads=_FAR),
    _sampled("extend", region=Region.GROWN, keeps_outside=True),
    _sampled("edit", target_words=True, flow_edit=True),
    _sampled("audio2audio", follows="audio2audio_strength", follows_far=True, starts_noised=True),
    _sampled("continuation", region=Region.GROWN, keeps_outside=True),
    _sampled("inpainting", region=Region.GIVEN, keeps_outside=True, reads=_FAR),
    _sampled("style_transfer", follows="style_strength", follows_far=True, target_words=True, flow_edit=True),
    _sampled("vocal_accompaniment", accompanies=True, wordless=True),
)

TASKS: dict[str, Task] = {row.name: row for row in _ROWS}
FIRST_TASKS: dict[str, Task] = {row.name: row for row in _FIRST_ROWS}
DEFAULT_TASK = _ROWS[0].name
COVER, FAITHFUL_COVER, REPAINT, EXTENSION = (TASKS[name] for name in ("cover", "cover-nofsq", "repaint", "extend"))
LEGO, EXTRACTION, COMPLETION, EDIT = (TASKS[name] for name in ("lego", "extract", "complete", "edit"))
ACCOMPANIMENT, AUDIO2AUDIO, STYLE_TRANSFER = (
    TASKS[name] for name in ("vocal_accompaniment", "audio2audio", "style_transfer")
)
STEM_TASKS = tuple(row.name for row in _ROWS if "{TRACK" in row.instruction)
MIX_TASKS = tuple(row.name for row in _ROWS if row.name not in STEM_TASKS)


def task_named(name: str) -> Task:
    """The row of ``name``.

    Raises:
        InputError: no such task; the text lists all of them.
    """
    row = TASKS.get(name)
    if row is None:
        raise InputError.unknown("task_type", name, TASKS)
    return row


def row_for(task: Task, tasks: Mapping[str, Task]) -> Task:
    """The row of the same wish in another table; ``task`` itself where that has none."""
    return tasks.get(task.name, task)


def effective_task(name: str, *, generate_accompaniment: bool) -> str:
    """The task that is meant: a new song with ``generate_accompaniment`` is an accompaniment to the source."""
    return ACCOMPANIMENT.name if generate_accompaniment and name == DEFAULT_TASK else name


def is_own(instruction: str) -> bool:
    """Whether an instruction is the caller's own: neither empty nor the default that stands for the task's."""
    return bool(instruction.strip()) and instruction != TEXT2MUSIC_INSTRUCTION


def instruction_for(
    task: Task, given: str = "", tracks: tuple[str, ...] = (), *, played_from_codes: bool = False
) -> str:
    """The instruction line of the text prompt.

    Args:
        task: the row.
        given: the caller's own instruction; used verbatim unless it is empty or the generic default.
        played_from_codes: the song is spelled out in semantic codes, which the models know as a cover.
        tracks: track names (of ``TRACK_NAMES``) for the tasks whose row has a place for them.

    Returns:
        ``given``, or the row's text with upper-case track names (several joined by `` | ``); with no track the
        place and its surplus words are left out, as the models were trained.
    """
    if is_own(given):
        return given
    if played_from_codes:
        return COVER_INSTRUCTION
    return with_tracks(task.instruction, tracks)


def with_tracks(instruction: str, tracks: tuple[str, ...]) -> str:
    """An instruction with its place for tracks filled, or left out when there is none."""
    names = [track.upper() for track in tracks]
    if names:
        return instruction.replace("{TRACK_NAME}", names[0]).replace("{TRACK_CLASSES}", " | ".join(names))
    return instruction.replace("{TRACK_NAME} ", "").replace(" with {TRACK_CLASSES}", "")
