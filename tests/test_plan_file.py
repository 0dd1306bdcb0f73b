"""Plans as files that people edit: what is read, in which spelling, and one sentence for whatever is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from acestep.errors import InputError
from acestep.params import GenerationParams
from acestep.planner.plan import Metadata, Plan
from acestep.planner.plan_file import BYTES_MAX, judged, parameters, read_plan

from terse_planner import planned

PLAN = Plan("soft rain", "[Verse]\nDrop by drop", Metadata(90, "A minor", "3", 42.9, "en"), tuple(range(215)))


def written(folder: Path, text: str | bytes) -> Path:
    path = folder / "plan.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_a_written_plan_reads_back(tmp_path: Path) -> None:
    assert read_plan(written(tmp_path, PLAN.to_json())) == PLAN


def test_spellings_become_canonical() -> None:
    plan = judged(
        {"caption": "x", "metadata": {"bpm": 90, "keyscale": "f# min", "timesignature": 3, "language": "NO"}}
    )
    assert plan == Plan("x", "", Metadata(90, "F# minor", "3", None, "no"))


def test_all_but_words_may_be_left_out() -> None:
    assert judged({"caption": "x"}) == Plan("x", "", Metadata())
    open_ = {"bpm": None, "keyscale": "", "timesignature": "", "duration": None, "language": "unknown"}
    assert judged({"caption": "x", "metadata": open_}) == Plan("x", "", Metadata())


def test_without_a_duration_the_codes_decide() -> None:
    assert judged({"caption": "x", "audio_codes": [1] * 55}).metadata.duration == 11.0


@pytest.mark.parametrize("seconds", [10.81, 11, 11.0])
def test_codes_and_duration_may_agree_but_for_the_last_code(seconds: float) -> None:
    plan = judged({"caption": "x", "metadata": {"duration": seconds}, "audio_codes": [1] * 55})
    assert plan.duration_s == seconds


def test_a_plan_says_what_the_parameters_say() -> None:
    params = GenerationParams(**parameters(PLAN), thinking=False)
    [made] = planned(None, **{**parameters(PLAN), "thinking": False}).plans
    assert made == PLAN
    assert params.audio_codes.count("<|audio_code_") == 215


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"tempo": 3}, "a plan has no field 'tempo'; it has: caption, lyrics, metadata, audio_codes."),
        ({"metadata": {"key": "C"}}, "a plan has no field 'key'; it has: bpm, keyscale, timesignature, dur"),
        ({"metadata": []}, "metadata of a plan must be an object, not []."),
        ({"metadata": {"bpm": "90"}}, "bpm must be int in a plan, not '90'."),
        ({"metadata": {"bpm": True}}, "bpm must be int in a plan, not True."),
        ({"metadata": {"bpm": 90.5}}, "bpm must be int in a plan, not 90.5."),
        ({"metadata": {"bpm": 29}}, "bpm must be"),
        ({"metadata": {"keyscale": "H minor"}}, "keyscale 'H minor' is not a key"),
        ({"metadata": {"keyscale": None}}, "keyscale must be str in a plan, not None."),
        ({"metadata": {"timesignature": 4.0}}, "timesignature must be str or int in a plan, not 4.0."),
        ({"metadata": {"timesignature": "13"}}, "timesignature '13' is unknown; choose one of: 2, 3, 4, 6"),
        ({"metadata": {"language": "xx"}}, "language 'xx' is unknown; choose one of: ar"),
        ({"metadata": {"duration": "12"}}, "duration must be int or float in a plan, not '12'."),
        ({"metadata": {"duration": 9.9}, "audio_codes": []}, "duration must be from 10 to 600 seconds, not 9.9."),
        ({"metadata": {"duration": float("nan")}}, "duration must be from 10 to 600 seconds, not nan."),
        ({"metadata": {"duration": float("inf")}}, "duration must be from 10 to 600 seconds, not inf."),
        (
            {"metadata": {"duration": 30}},
            "audio_codes of the plan are 215, which last 43 s, but its duration is 30; change one of them, or",
        ),
        ({"audio_codes": "<|audio_code_1|>"}, "audio_codes of a plan must be a list of whole numbers."),
        ({"audio_codes": [1, True]}, "audio_codes of a plan must be a list of whole numbers."),
        ({"audio_codes": [-1]}, "audio_codes of a plan must be a list of whole numbers."),
        ({"caption": 3}, "caption of a plan must be text, not 3."),
    ],
    ids=str,
)
def test_every_wrong_value_is_one_sentence(change: dict[str, object], sentence: str, tmp_path: Path) -> None:
    path = written(tmp_path, json.dumps({**PLAN.to_dict(), **change}))
    with pytest.raises(InputError) as caught:
        read_plan(path)
    assert str(caught.value).startswith(sentence)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "plan 'plan.json' is not a JSON file in UTF-8."),
        ('{"caption": "x",}', "plan 'plan.json' is not a JSON file in UTF-8."),
        (b'{"caption": "\xff"}', "plan 'plan.json' is not a JSON file in UTF-8."),
        ("[" * 100_000, "plan 'plan.json' is not a JSON file in UTF-8."),
        ("[1]", "plan must be a JSON object, not [1]."),
        (" " * (BYTES_MAX + 1), "plan 'plan.json' is larger than 1,048,576 bytes."),
    ],
    ids=["empty", "comma", "latin", "deep", "list", "large"],
)
def test_what_is_no_plan_at_all(text: str | bytes, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        read_plan(written(tmp_path, text))
    assert str(caught.value) == sentence


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^plan 'absent.json' cannot be read: No such file or directory\.$"):
        read_plan(tmp_path / "absent.json")
    with pytest.raises(InputError, match=r"cannot be read: Is a directory\.$"):
        read_plan(tmp_path)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"audio_codes": [1] * 50 + [4096]}, "audio_codes holds code 4096, but this model's codes are 0 to 4095."),
        ({"audio_codes": [1] * 45}, "Invalid audio duration: duration must be 10 to 600 seconds, not 9."),
        ({"caption": "", "lyrics": ""}, "caption and lyrics are both empty"),
        ({"caption": "half \ud800 a character"}, "caption holds half a character"),
    ],
    ids=["code", "short", "empty", "surrogate"],
)
def test_what_only_a_model_can_refuse(change: dict[str, object], sentence: str, tmp_path: Path) -> None:
    plan = read_plan(written(tmp_path, json.dumps({"caption": "x", **change})))
    with pytest.raises(InputError) as caught:
        planned(None, **{**parameters(plan), "thinking": False})
    assert str(caught.value).startswith(sentence)
