"""What one call wants done with a recording, judged before anybody listens to it.

In: ``GenerationParams`` and the row of the task. Out: a frozen ``EditOrder``. Where on the recording that is,
``canvas`` decides, once its length is known. Refuses to know sounds. Imports no torch.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from acestep.constants import DURATION_MAX_S, INSTRUMENTAL_LYRICS, TRACK_NAMES
from acestep.errors import InputError, UnsupportedError, shown
from acestep.params import GenerationParams
from acestep.planner.plan import Plan
from acestep.tasks import Region, Task, is_own

MATCHING = "matching"  # an accompaniment in the style the caption says, or the voice suggests
BEGIN, END, BOTH, MIDDLE = "extend_start", "extend_end", "extend_both", "inpaint_middle"
WHOLE = GenerationParams().repainting_end  # as the end of a region, that of the recording
_ALL = "all"


@dataclass(frozen=True, slots=True)
class Words:
    """A song in words: what it sounds like and what is sung."""

    caption: str
    lyrics: str


@dataclass(frozen=True, slots=True)
class FlowEdit:
    """How a recording is carried from its own words to new ones.

    Attributes:
        source: the recording in words.
        start, stop: share of the steps after which the carrying begins and ends.
        averages: noises per step.
    """

    source: Words
    start: float
    stop: float
    averages: int

    def in_own_words(self, plan: Plan) -> Plan:
        """The recording on paper, where ``plan`` is the new song on paper."""
        return replace(plan, caption=self.source.caption, lyrics=self.source.lyrics)


@dataclass(frozen=True, slots=True, kw_only=True)
class EditOrder:
    """What shall be done with a recording.

    Attributes:
        source_audio: its path; None where semantic codes stand in its place.
        region: where music is made, (start, end) in seconds of the recording, end None for its own; None is
            everywhere, or outside it (``grow_s``).
        grow_s: seconds of new music (before, behind) the recording.
        nearness: share of the steps, from the first, that hear the recording.
        start_from: how much of the recording the noise starts from, 0 to 1; 1 leaves nothing to be made.
        tracks: names of ``TRACK_NAMES``; each a song of its own where the task takes tracks apart.
        mix: what is made is returned mixed with the recording.
        voice: the voice of the recording is taken out, and mixed with what is made: the recording in words; or None.
        remainder: the recording without the tracks is returned too.
        flow: words and window of a flow edit, or None.
        in_passes: a long region is made in several passes; else all is made at once, and may be as long as a song.
        song_max_s: seconds of a song that is made at once.
    """

    source_audio: str | None
    region: tuple[float, float | None] | None
    grow_s: tuple[float, float]
    nearness: float
    start_from: float
    tracks: tuple[str, ...]
    mix: bool
    voice: Words | None
    remainder: bool
    flow: FlowEdit | None
    in_passes: bool
    song_max_s: float = DURATION_MAX_S


def order_edit(params: GenerationParams, task: Task, song_max_s: float = DURATION_MAX_S) -> EditOrder | None:
    """The order of a call, or None for a song that is made without a recording.

    Args:
        song_max_s: seconds that the model plays at once.

    Raises:
        InputError: a source, a region or a track that is missing or cannot be.
        UnsupportedError: values that do not go together.
    """
    if not task.needs_source:
        if params.src_audio:
            raise UnsupportedError(f"src_audio does not go with task_type {task.name!r}.", field="src_audio")
        return None
    coded = task.plays_codes and bool(params.audio_codes.strip())
    if not params.src_audio and not coded:
        instead = " or audio_codes" if task.plays_codes else ""
        raise InputError(f"src_audio{instead} is needed for task_type {task.name!r}.", field="src_audio")
    if coded and params.cover_noise_strength:
        raise UnsupportedError(
            "cover_noise_strength does not go with audio_codes, which hold no sound to start from.",
            field="cover_noise_strength",
        )
    region, grow = _place(params, task)
    nearness = _nearness(params, task)
    noised = params.cover_noise_strength if "cover_noise_strength" in task.parameters else 0.0
    return EditOrder(
        source_audio=None if coded else params.src_audio,
        region=region,
        grow_s=grow,
        nearness=nearness,
        start_from=nearness if task.starts_noised else noised,
        tracks=_tracks(params, task),
        mix=params.mix and task.adds,
        voice=_voice(params, task),
        remainder=params.remainder and task.tracks_apart,
        flow=_flow(params, task) if task.flow_edit else None,
        in_passes=task.keeps_outside,
        song_max_s=song_max_s,
    )


def target_words(params: GenerationParams, task: Task) -> Words:
    """The new song in words; an accompaniment says its style."""
    caption, lyrics = params.caption, params.lyrics
    if task.target_words:
        caption, lyrics = params.style_prompt.strip() or caption, params.style_lyrics.strip() or lyrics
    if task.accompanies and params.accompaniment_style != MATCHING:
        caption = ", ".join(filter(None, (f"{params.accompaniment_style} accompaniment", caption.strip())))
    return Words(caption, lyrics)


def _place(params: GenerationParams, task: Task) -> tuple[tuple[float, float | None] | None, tuple[float, float]]:
    """Region and growth."""
    nowhere, unchanged = None, (0.0, 0.0)
    if task.region is Region.WHOLE:
        return nowhere, unchanged
    if task.region is Region.GROWN and params.continuation_mode != MIDDLE:
        return nowhere, _growth(params)
    none_given = params.repainting_start == params.repainting_end == 0
    everything = params.repainting_start == 0 and params.repainting_end == WHOLE
    if task.region is Region.OPEN and (none_given or everything):
        return nowhere, unchanged
    if none_given or (everything and task.region is Region.GROWN):  # which needs a region in one of its modes alone
        raise InputError(
            "repainting_start and repainting_end give no region; say where, in seconds, music is to be made.",
            field="repainting_start",
        )
    return _region(params), unchanged


def _growth(params: GenerationParams) -> tuple[float, float]:
    """Seconds of new music before and behind a recording."""
    seconds, mode = params.extend_duration, params.continuation_mode
    if mode == BOTH and params.extend_start_duration is not None:
        return params.extend_start_duration, seconds
    return (seconds if mode in {BEGIN, BOTH} else 0.0), (seconds if mode in {END, BOTH} else 0.0)


def _region(params: GenerationParams) -> tuple[float, float | None]:
    start, end = params.repainting_start, params.repainting_end
    if end < 0:
        return start, None
    if end <= start:
        raise InputError(
            f"repainting_end {end:g} must lie behind repainting_start {start:g}.", field="repainting_end", value=end
        )
    return start, end


def _voice(params: GenerationParams, task: Task) -> Words | None:
    """The recording whose voice is kept, in words; its caption is known where the new song has another."""
    if not (params.preserve_vocals and task.takes_voice):
        return None
    return Words(params.caption if task.target_words else "", params.lyrics)


def _nearness(params: GenerationParams, task: Task) -> float:
    if not task.follows:
        return 1.0
    value = getattr(params, task.follows)
    return 1.0 - value if task.follows_far else value


def _tracks(params: GenerationParams, task: Task) -> tuple[str, ...]:
    if task.tracks_max == 0:
        return ()
    own = params.instruction if is_own(params.instruction) else ""
    said, named = _parsed(params.track_name, task), _named_in(own)
    if own and said and set(said) != set(named or said):
        raise UnsupportedError(
            f"track_name {shown(params.track_name)} does not go with the instruction, which names "
            f"{', '.join(named)}; leave one of the two out.",
            field="track_name",
        )
    tracks = said or named
    if own and task.tracks_apart and len(tracks) > 1:
        raise UnsupportedError("an instruction of your own goes with one track at a time.", field="instruction")
    if not tracks and task.needs_track and not own:
        names = ", ".join(TRACK_NAMES)
        raise InputError(f"track_name is empty; {task.name} needs one of: {names}.", field="track_name")
    if len(tracks) > task.tracks_max:
        raise InputError.must("track_name", f"name at most {task.tracks_max} for {task.name}", params.track_name)
    return tracks


def _parsed(text: str, task: Task) -> tuple[str, ...]:
    """Tracks of a comma-separated list, spelled as the models know them."""
    takes_all = task.tracks_max >= len(TRACK_NAMES)
    if takes_all and text.strip().lower() == _ALL:
        return TRACK_NAMES
    if takes_all and _ALL in [part.strip().lower() for part in text.split(",")]:
        raise InputError("track_name 'all' stands alone.", field="track_name", value=text)
    names = tuple(re.sub(r"[\s_-]+", "_", part.strip().lower()) for part in text.split(",")) if text.strip() else ()
    for index, name in enumerate(names):
        if name not in TRACK_NAMES:
            raise InputError.unknown("track_name", name, (*TRACK_NAMES, _ALL) if takes_all else TRACK_NAMES)
        if name in names[:index]:
            raise InputError(f"track_name names {name!r} twice.", field="track_name", value=text)
    return names


def _named_in(instruction: str) -> tuple[str, ...]:
    """Tracks that an instruction names, in its order."""
    spelled = {name.replace("_", "[ _-]"): name for name in sorted(TRACK_NAMES, key=len, reverse=True)}
    pattern = "|".join(rf"\b(?:{spelling})\b" for spelling in spelled)
    found = re.findall(pattern, instruction, re.IGNORECASE)
    return tuple(dict.fromkeys(re.sub(r"[ -]", "_", match.lower()) for match in found))


def _flow(params: GenerationParams, task: Task) -> FlowEdit:
    """Words and window of a flow edit; of one that follows the recording more or less, the window says how much."""
    own = Words(params.caption, params.lyrics if params.lyrics.strip() else INSTRUMENTAL_LYRICS)
    if task.follows:
        return FlowEdit(own, _nearness(params, task), 1.0, params.edit_n_avg)
    if params.edit_n_min >= params.edit_n_max:
        raise InputError(
            f"edit_n_min {params.edit_n_min:g} must be below edit_n_max {params.edit_n_max:g}.", field="edit_n_min"
        )
    return FlowEdit(own, params.edit_n_min, params.edit_n_max, params.edit_n_avg)
