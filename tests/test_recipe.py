"""The recipe: complete, stable, safe to publish; and what is refused when one is read."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from acestep.errors import InputError
from acestep.output.recipe import (
    SCHEMA_VERSION,
    SECTIONS,
    ModelUsed,
    OutputMade,
    SourceUsed,
    assert_shareable,
    build_recipe,
    from_json,
    scrubbed,
    title_from_caption,
    to_json,
    validate,
)

NOON = datetime(2026, 11, 21, 13, 0, 0, 123, tzinfo=timezone(timedelta(hours=1)))


def make(**changes: Any) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "version": "0.1.0",
        "task": "cover",
        "parameters": {"caption": "calm piano", "seed": 3, "timesteps": (0.9, 0.5), "src_audio": "/home/me/in.wav"},
        "seeds": [3],
        "models": {"dit": ModelUsed("tiny", "abc", None, "no CUDA device"), "lm": None},
        "output": OutputMade("flac", 48_000, 480_000),
        "plan": {"caption": "calm piano", "audio_codes": [1, 2, 3]},
        "source": SourceUsed("f00d", 10.0),
        "warnings": ["guidance_scale has no effect on a turbo model"],
        "created": NOON,
    }
    return build_recipe(**(facts | changes))


def test_it_says_what_was_done() -> None:
    assert make() == {
        "schema": SCHEMA_VERSION,
        "generator": {"name": "acestep-cog", "version": "0.1.0"},
        "created": "2026-11-21T12:00:00+00:00",
        "task": "cover",
        "parameters": {"caption": "calm piano", "seed": 3, "timesteps": [0.9, 0.5]},
        "seeds": [3],
        "models": {
            "dit": {"name": "tiny", "revision": "abc", "sha256": None, "reason": "no CUDA device"},
            "lm": None,
        },
        "plan": {"caption": "calm piano", "audio_codes": [1, 2, 3]},
        "sources": {"source": {"sha256": "f00d", "duration_s": 10.0}, "reference": None},
        "output": {"format": "flac", "sample_rate": 48_000, "samples": 480_000, "track": ""},
        "scores": None,
        "warnings": ["guidance_scale has no effect on a turbo model"],
        "timing": None,
    }


def test_created_is_now_by_default() -> None:
    made = datetime.fromisoformat(make(created=None)["created"])
    assert abs(datetime.now(UTC) - made) < timedelta(seconds=5)


def test_the_callers_parameters_are_left_alone() -> None:
    parameters = {"src_audio": "/a/b.wav", "nested": {"path": "/a/b.wav"}}
    make(parameters=parameters)
    assert parameters == {"src_audio": "/a/b.wav", "nested": {"path": "/a/b.wav"}}


def test_json_round_trip_and_stable_order() -> None:
    made = make()
    text = to_json(made)
    assert from_json(text) == made
    assert list(json.loads(text)) == list(SECTIONS)
    backwards = {name: made[name] for name in reversed(made)}
    backwards["parameters"] = dict(reversed(made["parameters"].items()))
    assert to_json(backwards) == text
    assert "\n" not in text


def test_text_is_kept_as_written() -> None:
    made = make(parameters={"caption": "钢琴 ♪", "lyrics": "[Verse]\n/home/ is where the heart is\n6/8 and/or 3/4"})
    assert "钢琴 ♪" in to_json(made)
    assert from_json(to_json(made))["parameters"] == made["parameters"]
    assert made["parameters"]["lyrics"] == "[Verse]\n/home/ is where the heart is\n6/8 and/or 3/4"


def test_numpy_numbers_become_plain_ones() -> None:
    made = make(scores={"dit": np.float32(0.5), "rank": np.int64(2), "best": True, "none": None})
    assert made["scores"] == {"dit": 0.5, "rank": 2, "best": True, "none": None}
    assert [type(value) for value in made["scores"].values()] == [float, int, bool, type(None)]


@pytest.mark.parametrize("value", [object(), b"bytes", {1, 2}])
def test_values_without_a_json_form_are_a_bug(value: object) -> None:
    with pytest.raises(TypeError, match="a recipe cannot hold a"):
        make(scores={"value": value})


def test_nan_is_a_bug() -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        to_json(make(scores={"dit": float("nan")}))


SECRETS = {
    "/home/me/music/in.wav": "in.wav",
    "~/music/in.wav": "in.wav",
    "/in.wav": "in.wav",
    "/home/me/my music/in 2.wav": "in 2.wav",
    r"C:\Users\me\in.wav": "in.wav",
    "D:/music/in.wav": "in.wav",
    r"\\server\share\in.wav": "in.wav",
    "file:///home/me/in.wav": "in.wav",
    "cannot open /home/me/in.wav twice": "cannot open in.wav twice",
    "cannot open '/home/me/in.wav'": "cannot open 'in.wav'",
    "weights=/srv/models/tiny": "weights=tiny",
    "https://me:secret@host/lora.safetensors": "https://host/lora.safetensors",
    "https://token@host/lora": "https://host/lora",
    "https://me:sec@ret@host/lora": "https://host/lora",
    "file://C:\\Users\\me\\in.wav": "file://in.wav",
    "https://host/lora?X-Signature=secret&a=b": "https://host/lora",
    "s3://key:secret@bucket/lora": "s3://bucket/lora",
    "see https://u:p@host/a?b=c for more": "see https://host/a for more",
}
HARMLESS = [
    "org/model-name",
    "6/8",
    "N/A",
    "and/or",
    "https://host/deep/path/lora.safetensors",
    "acestep-v15-turbo",
    "C# minor",
    "me@host",
    "<|audio_code_7|>",
    "a: b / c",
    "/",
]


@pytest.mark.parametrize(("given", "kept"), SECRETS.items())
def test_folders_and_credentials_are_cut_out(given: str, kept: str) -> None:
    for place in [
        {"parameters": {"lora_name_or_path": given}},
        {"warnings": [given]},
        {"plan": {"a": [{"b": given}]}},
    ]:
        with pytest.raises(ValueError, match="must not be published"):
            assert_shareable({**make(), **place})
        made = make(**place)
        assert_shareable(made)
        assert json.dumps(kept)[1:-1] in to_json(made)
        assert "secret" not in to_json(made)
        assert scrubbed(scrubbed(given)) == scrubbed(given) == kept


@pytest.mark.parametrize("text", [text for text in HARMLESS if text != "/"])
def test_what_only_looks_similar_is_kept(text: str) -> None:
    assert scrubbed(text) == text


def test_what_was_scrubbed_stays_as_it_is() -> None:
    """Otherwise a finished song could be refused for what its recipe became."""
    rng = np.random.default_rng(0)
    parts = [
        "/",
        "~",
        "//",
        ":",
        "@",
        "?",
        "#",
        "a",
        "B.wav",
        " ",
        "http://",
        "file://",
        "C:\\",
        "\\",
        "'",
        ".",
        "-",
        "x:",
    ]
    for _ in range(20_000):
        text = "".join(rng.choice(parts, rng.integers(1, 12)))
        for key in ["warning", "caption"]:
            once = scrubbed(text, key)
            assert scrubbed(once, key) == once, text


def test_paths_shrink_to_their_name() -> None:
    assert make(parameters={"weights": Path("/srv/models/tiny")})["parameters"] == {"weights": "tiny"}


def test_a_persons_words_keep_all_but_passwords() -> None:
    words = {"caption": "drums /loud/ and ~/soft/ see https://u:pw@host/x?y=1", "lm_negative_prompt": "/no/ /way/"}
    made = make(parameters=words)
    assert made["parameters"]["caption"] == "drums /loud/ and ~/soft/ see https://host/x?y=1"
    assert made["parameters"]["lm_negative_prompt"] == "/no/ /way/"
    assert_shareable(made)


@pytest.mark.parametrize("unit", ["a-", "http://", "/a", "~/", "C:\\a\\", "a@b:", "https://h/?"])
def test_hostile_text_is_scrubbed_in_no_time(unit: str) -> None:
    started = time.process_time()
    scrubbed(unit * 50_000)
    assert time.process_time() - started < 5.0


def test_text_that_no_tag_can_hold_is_replaced() -> None:
    made = make(parameters={"caption": "a\0b\ud800"})
    assert made["parameters"]["caption"] == "ab?"
    to_json(made).encode("utf-8")


@pytest.mark.parametrize("section", list(SECTIONS))
def test_every_section_is_needed(section: str) -> None:
    made = make()
    validate(made)
    del made[section]
    with pytest.raises(InputError, match=section):
        validate(made)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("not json", "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ("[]", "not a JSON object"),
        ("{}", "has schema None; this program reads schema 1"),
        ('{"schema": 2}', "has schema 2; this program reads schema 1"),
    ],
)
def test_what_is_no_recipe_is_refused(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        from_json(text)
    assert caught.value.field == "recipe"


def test_a_section_of_the_wrong_type_is_named() -> None:
    with pytest.raises(InputError, match="lacks or misstates: seeds, warnings"):
        validate({**make(), "seeds": "1,2", "warnings": None})


@pytest.mark.parametrize(
    ("caption", "title"),
    [
        ("upbeat electronic dance music with heavy bass", "Upbeat electronic dance music with heavy"),
        ("lo-fi hip hop, rainy night, vinyl", "Lo-fi hip hop"),
        ("A calm piece.\nSecond line", "A calm piece"),
        ("  \n ", "Untitled"),
        ("", "Untitled"),
        (", starts with a comma", "Starts with a comma"),
        ("A 90.5 bpm waltz: slow", "A 90.5 bpm waltz"),
        ("钢琴独奏\uff0c安静", "钢琴独奏"),
        ("x" * 500, "X" + "x" * 59),
    ],
)
def test_titles_come_from_the_first_words(caption: str, title: str) -> None:
    assert title_from_caption(caption) == title
