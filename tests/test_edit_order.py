"""What a call wants done with a recording: every row of the task table, every place, track and style it may name."""

from __future__ import annotations

import subprocess
import sys

import pytest

from acestep.constants import TRACK_NAMES
from acestep.editing.order import EditOrder, FlowEdit, Words, order_edit, target_words
from acestep.errors import InputError, UnsupportedError
from acestep.fields import ACCOMPANIMENT_STYLES, FIELDS
from acestep.params import GenerationParams
from acestep.tasks import EXTRACTION, TASKS, Region, Task, instruction_for

NO_REGION = "repainting_start and repainting_end give no region; say where, in seconds, music is to be made."
WITH_SOURCE = [task for task in TASKS.values() if task.needs_source]
NEEDED = {"track_name": "drums"}  # lego and extract need one; nobody else minds
EVERY_TRACK = (
    "woodwinds, brass, fx, synth, strings, percussion, keyboard, guitar, bass, drums, backing_vocals, vocals"
)


def params(**fields: object) -> GenerationParams:
    return GenerationParams(**{"src_audio": "song.wav", **NEEDED, **fields})


def order(task: str, **fields: object) -> EditOrder:
    given = params(**fields)
    made = order_edit(given, TASKS[task])
    assert made is not None
    return made


def refused(task: str, **fields: object) -> tuple[str, str]:
    """The sentence and the field of the error."""
    with pytest.raises(InputError) as caught:
        order_edit(params(**fields), TASKS[task])
    return str(caught.value), caught.value.field


def test_ordering_needs_no_torch() -> None:
    code = "import sys, acestep.editing.order, acestep.editing.canvas; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# --- The recording ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", WITH_SOURCE, ids=lambda task: task.name)
def test_a_task_on_a_recording_needs_one(task: Task) -> None:
    instead = " or audio_codes" if task.plays_codes else ""
    sentence = f"src_audio{instead} is needed for task_type {task.name!r}."
    assert refused(task.name, src_audio=None) == (sentence, "src_audio")
    assert order(task.name, repainting_end=5.0).source_audio == "song.wav"


def test_a_new_song_has_none() -> None:
    assert refused("text2music") == ("src_audio does not go with task_type 'text2music'.", "src_audio")
    assert order_edit(params(src_audio=None), TASKS["text2music"]) is None


def test_codes_stand_in_the_place_of_a_recording_only_where_they_can() -> None:
    codes = "<|audio_code_1|>" * 50
    assert order("cover", src_audio=None, audio_codes=codes).source_audio is None
    assert order("cover", audio_codes=codes).source_audio is None
    assert order("cover-nofsq", audio_codes=codes).source_audio == "song.wav"
    assert refused("lego", src_audio=None, audio_codes=codes)[1] == "src_audio"
    assert refused("cover", audio_codes=codes, cover_noise_strength=0.5) == (
        "cover_noise_strength does not go with audio_codes, which hold no sound to start from.",
        "cover_noise_strength",
    )


# --- The place --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", WITH_SOURCE, ids=lambda task: task.name)
def test_a_region_means_what_the_row_says(task: Task) -> None:
    given = {"repainting_start": 2.0, "repainting_end": 5.0}
    expected = {
        Region.WHOLE: (None, (0.0, 0.0)),
        Region.OPEN: ((2.0, 5.0), (0.0, 0.0)),
        Region.GIVEN: ((2.0, 5.0), (0.0, 0.0)),
        Region.GROWN: (None, (0.0, 30.0)),
    }
    made = order(task.name, **given)
    assert (made.region, made.grow_s) == expected[task.region]


@pytest.mark.parametrize("task", WITH_SOURCE, ids=lambda task: task.name)
def test_no_region_is_an_error_only_where_one_is_needed(task: Task) -> None:
    nothing = {"repainting_start": 0.0, "repainting_end": 0.0}
    if task.region is Region.GIVEN:
        assert refused(task.name, **nothing) == (NO_REGION, "repainting_start")
        assert order(task.name).region == (0.0, None), "the whole recording"
    else:
        assert order(task.name).region is None
        assert order(task.name, **nothing).region is None


@pytest.mark.parametrize(
    ("mode", "grow"),
    [("extend_end", (0.0, 7.5)), ("extend_start", (7.5, 0.0)), ("extend_both", (7.5, 7.5))],
)
@pytest.mark.parametrize("task", ["extend", "continuation"])
def test_a_song_grows_where_the_mode_says(task: str, mode: str, grow: tuple[float, float]) -> None:
    assert order(task, continuation_mode=mode, extend_duration=7.5).grow_s == grow


def test_the_middle_of_a_song_is_a_region() -> None:
    assert refused("extend", continuation_mode="inpaint_middle") == (NO_REGION, "repainting_start")
    made = order("continuation", continuation_mode="inpaint_middle", repainting_start=2.0, repainting_end=5.0)
    assert (made.region, made.grow_s) == ((2.0, 5.0), (0.0, 0.0))


@pytest.mark.parametrize(
    ("start", "end", "region"),
    [
        (3.0, -1.0, (3.0, None)),
        (-4.0, -1.0, (-4.0, None)),
        (-4.0, 2.0, (-4.0, 2.0)),
        (0.0, 2.0, (0.0, 2.0)),
        (0.0, -0.5, (0.0, None)),
    ],
)
def test_only_the_end_has_a_sentinel(start: float, end: float, region: tuple[float, float | None]) -> None:
    assert order("repaint", repainting_start=start, repainting_end=end).region == region


@pytest.mark.parametrize(("start", "end"), [(5.0, 5.0), (5.0, 4.0), (1.0, 0.0)])
@pytest.mark.parametrize("task", ["repaint", "inpainting", "lego"])
def test_an_end_that_does_not_lie_behind_its_start(task: str, start: float, end: float) -> None:
    assert refused(task, repainting_start=start, repainting_end=end) == (
        f"repainting_end {end:g} must lie behind repainting_start {start:g}.",
        "repainting_end",
    )


# --- How near ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", WITH_SOURCE, ids=lambda task: task.name)
def test_one_strength_at_most_acts_and_it_is_the_rows(task: Task) -> None:
    given = {"audio_cover_strength": 0.3, "style_strength": 0.4, "audio2audio_strength": 0.1}
    nearness = {"cover": 0.3, "cover-nofsq": 0.3, "style_transfer": 0.6, "audio2audio": 0.9}
    made = order(task.name, **given, cover_noise_strength=0.2, repainting_end=5.0)
    assert made.nearness == pytest.approx(nearness.get(task.name, 1.0))
    assert made.start_from == (0.2 if task.name in {"cover", "cover-nofsq"} else 0.0)


def test_far_by_default() -> None:
    assert order("style_transfer").nearness == pytest.approx(0.3)
    assert order("audio2audio").nearness == pytest.approx(0.5)
    assert order("cover").nearness == 1.0


@pytest.mark.parametrize("task", WITH_SOURCE, ids=lambda task: task.name)
def test_wishes_about_stems_reach_only_the_tasks_that_have_them(task: Task) -> None:
    made = order(task.name, mix=True, preserve_vocals=True, remainder=True, repainting_end=5.0)
    assert made.mix == (task.name in {"lego", "complete", "vocal_accompaniment"})
    assert (made.voice is not None) == (task.name in {"audio2audio", "style_transfer", "vocal_accompaniment"})
    assert made.remainder == (task.name == "extract")


# --- Tracks -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "tracks"),
    [
        ("drums", ("drums",)),
        (" Drums ,  BASS", ("drums", "bass")),
        ("Backing Vocals", ("backing_vocals",)),
        ("backing-vocals,vocals", ("backing_vocals", "vocals")),
        ("vocals, backing__vocals", ("vocals", "backing_vocals")),
        ("all", TRACK_NAMES),
        (" ALL ", TRACK_NAMES),
        (EVERY_TRACK, TRACK_NAMES),
    ],
)
@pytest.mark.parametrize("task", ["extract", "complete", "vocal_accompaniment"])
def test_tracks_are_spelled_as_people_spell_them(task: str, given: str, tracks: tuple[str, ...]) -> None:
    assert order(task, track_name=given).tracks == tracks


@pytest.mark.parametrize(
    ("instruction", "tracks"),
    [
        ("Generate the guitar track based on the audio context:", ("guitar",)),
        ("Extract the vocals track from the audio:", ("vocals",)),
        ("Extract the BACKING_VOCALS track from the audio:", ("backing_vocals",)),
        ("Give me the Backing Vocals please", ("backing_vocals",)),
        ("only backing-vocals", ("backing_vocals",)),
        ("a guitarist plays", ()),
        ("bass, bass and BASS", ("bass",)),
    ],
)
def test_a_track_is_read_from_an_instruction(instruction: str, tracks: tuple[str, ...]) -> None:
    made = order("extract", track_name="", instruction=instruction)
    assert made.tracks == tracks
    assert instruction_for(EXTRACTION, instruction, made.tracks) == instruction


def test_several_tracks_are_read_in_the_order_of_an_instruction() -> None:
    told = "Complete the input track with drums, bass, guitar, backing vocals and vocals:"
    named = ("drums", "bass", "guitar", "backing_vocals", "vocals")
    assert order("complete", track_name="", instruction=told).tracks == named


@pytest.mark.parametrize("task", [task for task in WITH_SOURCE if task.tracks_max == 0], ids=lambda task: task.name)
def test_tracks_mean_nothing_elsewhere(task: Task) -> None:
    assert order(task.name, track_name="kazoo", repainting_end=5.0).tracks == ()


@pytest.mark.parametrize(
    ("task", "fields", "sentence"),
    [
        ("lego", {"track_name": ""}, f"track_name is empty; lego needs one of: {EVERY_TRACK}."),
        ("extract", {"track_name": "  "}, f"track_name is empty; extract needs one of: {EVERY_TRACK}."),
        ("extract", {"track_name": "kazoo"}, f"track_name 'kazoo' is unknown; choose one of: {EVERY_TRACK}, all."),
        ("extract", {"track_name": "bass,"}, f"track_name '' is unknown; choose one of: {EVERY_TRACK}, all."),
        ("extract", {"track_name": "bass, drums,Bass"}, "track_name names 'bass' twice."),
        (
            "complete",
            {"track_name": "backing vocals,backing_vocals"},
            "track_name names 'backing_vocals' twice.",
        ),
        (
            "lego",
            {"track_name": "bass,drums"},
            "track_name must name at most 1 for lego, not 'bass,drums'.",
        ),
    ],
)
def test_tracks_that_cannot_be(task: str, fields: dict[str, object], sentence: str) -> None:
    assert refused(task, **fields) == (sentence, "track_name")


def test_a_track_and_an_instruction_must_agree() -> None:
    told = "Extract the vocals track from the audio:"
    assert order("extract", track_name="Vocals", instruction=told).tracks == ("vocals",)
    with pytest.raises(UnsupportedError) as caught:
        order("extract", track_name="drums", instruction=told)
    assert str(caught.value) == (
        "track_name 'drums' does not go with the instruction, which names vocals; leave one of the two out."
    )
    with pytest.raises(UnsupportedError, match="^an instruction of your own goes with one track at a time.$"):
        order("extract", track_name="drums,bass", instruction="Take out drums and bass:")
    assert order("lego", track_name="", instruction="Add something nice:").tracks == ()


# --- Words ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.name)
def test_the_words_of_the_new_song(task: Task) -> None:
    given = params(caption="old", lyrics="[verse] old", style_prompt=" new ", style_lyrics="[verse] new")
    targeted = task.name in {"style_transfer", "edit"}
    assert target_words(given, task) == (Words("new", "[verse] new") if targeted else Words("old", "[verse] old"))
    half = params(caption="old", lyrics="[verse] old", style_prompt="  ")
    assert target_words(half, task) == Words("old", "[verse] old")


@pytest.mark.parametrize("style", ACCOMPANIMENT_STYLES)
def test_an_accompaniment_says_its_style(style: str) -> None:
    said = "" if style == "matching" else f"{style} accompaniment"
    for caption, both in (("soft", f"{said}, soft" if said else "soft"), ("", said)):
        given = params(caption=caption, accompaniment_style=style)
        assert target_words(given, TASKS["vocal_accompaniment"]).caption == both
        assert target_words(given, TASKS["complete"]).caption == caption


def test_a_flow_edit_has_two_descriptions_and_a_window() -> None:
    given = {"caption": "old", "lyrics": "la", "edit_n_min": 0.2, "edit_n_max": 0.8, "edit_n_avg": 3}
    assert order("edit", **given).flow == FlowEdit(Words("old", "la"), 0.2, 0.8, 3)
    assert order("cover", **given).flow is None
    assert refused("edit", edit_n_min=0.5, edit_n_max=0.5) == (
        "edit_n_min 0.5 must be below edit_n_max 0.5.",
        "edit_n_min",
    )


# --- The table --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.name)
def test_what_a_row_reads_are_parameters_that_exist(task: Task) -> None:
    assert task.parameters <= {field.name for field in FIELDS} | {"variation_seed"}


def test_every_parameter_about_recordings_is_read_by_some_task() -> None:
    read = frozenset().union(*(task.parameters for task in TASKS.values()))
    assert {field.name for field in FIELDS if field.owner.startswith("tasks")} <= read
