"""What ACE-Step can be asked to do, one row per task. The only module that knows task names.

In: a task name from a request. Out: its row (instruction text, whether it needs a source or a track).
Refuses to know audio, models and numbers: a stage reads a row's columns, it never compares names.
"""

from __future__ import annotations

from dataclasses import dataclass

from acestep.errors import InputError, UnsupportedError


@dataclass(frozen=True, slots=True)
class Task:
    """One row of the task table.

    Attributes:
        name: as users spell it.
        instruction: first line of the DiT's text prompt; may hold ``{TRACK_NAME}`` or ``{TRACK_CLASSES}``.
        needs_text: caption or lyrics must be given.
        needs_source: a source recording must be given; without it one is an error.
        implemented: False for tasks whose renderer is not part of this version yet.
    """

    name: str
    instruction: str
    needs_text: bool = False
    needs_source: bool = True
    implemented: bool = False


TEXT2MUSIC_INSTRUCTION = "Fill the audio semantic mask based on the given conditions:"
COVER_INSTRUCTION = "Generate audio semantic tokens based on the given conditions:"
REPAINT_INSTRUCTION = "Repaint the mask area based on the given conditions:"
LEGO_INSTRUCTION = "Generate the {TRACK_NAME} track based on the audio context:"
EXTRACT_INSTRUCTION = "Extract the {TRACK_NAME} track from the audio:"
COMPLETE_INSTRUCTION = "Complete the input track with {TRACK_CLASSES}:"

_ROWS = (
    Task("text2music", TEXT2MUSIC_INSTRUCTION, needs_text=True, needs_source=False, implemented=True),
    Task("cover", COVER_INSTRUCTION),
    Task("cover-nofsq", COVER_INSTRUCTION),
    Task("repaint", REPAINT_INSTRUCTION),
    Task("extend", REPAINT_INSTRUCTION),
    Task("lego", LEGO_INSTRUCTION),
    Task("extract", EXTRACT_INSTRUCTION),
    Task("complete", COMPLETE_INSTRUCTION),
    Task("edit", TEXT2MUSIC_INSTRUCTION),
    Task("audio2audio", COVER_INSTRUCTION),
    Task("continuation", REPAINT_INSTRUCTION),
    Task("inpainting", REPAINT_INSTRUCTION),
    Task("style_transfer", COVER_INSTRUCTION),
    Task("vocal_accompaniment", COMPLETE_INSTRUCTION),
)

TASKS: dict[str, Task] = {row.name: row for row in _ROWS}
DEFAULT_TASK = _ROWS[0].name
STEM_TASKS = tuple(row.name for row in _ROWS if "{TRACK" in row.instruction)
MIX_TASKS = tuple(row.name for row in _ROWS if row.name not in STEM_TASKS)


def task_named(name: str) -> Task:
    """The row of ``name``.

    Raises:
        InputError: no such task; the text lists all of them.
        UnsupportedError: the task is known but this version cannot render it.
    """
    row = TASKS.get(name)
    if row is None:
        raise InputError.unknown("task_type", name, TASKS)
    if not row.implemented:
        able = ", ".join(task.name for task in _ROWS if task.implemented)
        raise UnsupportedError(
            f"task_type {name!r} is not available in this version yet; it can do: {able}.",
            field="task_type",
            value=name,
        )
    return row


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
    if given.strip() and given != TEXT2MUSIC_INSTRUCTION:
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
