"""The recipe: complete, stable, documented, safe to publish; and what is refused when one is read."""

from __future__ import annotations

import copy
import json
import random
import time
from dataclasses import fields
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jsonschema import Draft202012Validator

from acestep.errors import InputError
from acestep.output.conform import DEPTH_MAX, first_problem
from acestep.output.recipe import (
    SCHEMA_VERSION,
    SECTIONS,
    BatchMade,
    MachineUsed,
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
from acestep.output.schema import SOURCE_FIELDS, recipe_schema
from acestep.output.scrub import HIDDEN
from acestep.params import GenerationParams
from acestep.stitching import StitchParams

NOON = datetime(2026, 11, 21, 13, 0, 0, 123, tzinfo=timezone(timedelta(hours=1)))
DIGEST = "f00d" * 16
MACHINE = MachineUsed("3.12.1", "2.13.0", "Linux x86_64", "cuda", "NVIDIA H200", "bfloat16", 8)
PLAN = {"caption": "calm piano", "lyrics": "la", "metadata": {"bpm": 90}, "audio_codes": [1, 2, 3]}


def make(**changes: Any) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "version": "0.1.0",
        "task": "cover",
        "parameters": {"caption": "calm piano", "seed": 3, "timesteps": (0.9, 0.5), "src_audio": "/home/me/in.wav"},
        "seeds": [3],
        "models": {"dit": ModelUsed("tiny", "abc", None, "no CUDA device"), "lm": None},
        "output": OutputMade("flac", 48_000, 480_000),
        "machine": MACHINE,
        "batch": BatchMade(4, 2, ("drums",)),
        "plan": PLAN,
        "source": SourceUsed(DIGEST, 10.0),
        "warnings": ["guidance_scale has no effect on a turbo model"],
        "created": NOON,
    }
    return build_recipe(**(facts | changes))


def test_it_says_what_was_done() -> None:
    assert make() == {
        "schema": SCHEMA_VERSION,
        "generator": {"name": "acestep-cog", "version": "0.1.0"},
        "created": "2026-11-21T12:00:00+00:00",
        "machine": {
            "python": "3.12.1",
            "torch": "2.13.0",
            "system": "Linux x86_64",
            "device": "cuda",
            "processor": "NVIDIA H200",
            "dtype": "bfloat16",
            "threads": 8,
        },
        "task": "cover",
        "parameters": {"caption": "calm piano", "seed": 3, "timesteps": [0.9, 0.5]},
        "seeds": [3],
        "batch": {"songs": 4, "number": 2, "tracks": ["drums"]},
        "models": {
            "dit": {"name": "tiny", "revision": "abc", "sha256": None, "reason": "no CUDA device"},
            "lm": None,
        },
        "plan": PLAN,
        "sources": {"source": {"sha256": DIGEST, "duration_s": 10.0}, "reference": None},
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
    "s3://bucket/lora?X-Amz-Signature=secret": "s3://bucket/lora",
    r"cannot open \\server\share\in.wav twice": "cannot open in.wav twice",
    "fetched with hf_abcdefghijklmnopqrstuvwx": f"fetched with {HIDDEN}",
    "r8_ABCDEFGHIJKLMNOPQRST refused": f"{HIDDEN} refused",
    "key sk-proj-abcdefghijklmnop": f"key {HIDDEN}",
    "ghp_0123456789abcdefghij": HIDDEN,
    "AKIAABCDEFGHIJKLMNOP": HIDDEN,
    "Authorization: Bearer abcdefghijkl": f"Authorization: Bearer {HIDDEN}",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.secret": HIDDEN,
    "HF_TOKEN=secret is not valid": f"HF_TOKEN={HIDDEN} is not valid",
    "api_key: secret": f"api_key: {HIDDEN}",
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
    "lyrics has 300 tokens; at most 256 are read.",
    "task-based planning with sk-1 and hf_1",
    "AMD EPYC 7B13 @ 2.45GHz (AVX2)",
]


@pytest.mark.parametrize(("given", "kept"), SECRETS.items())
def test_folders_and_credentials_are_cut_out(given: str, kept: str) -> None:
    for place in [
        {"parameters": {"lora_name_or_path": given}},
        {"warnings": [given]},
        {"scores": {"a": [{"b": given}]}},
        {"scores": {given: 1}},
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
        "hf_" + "a" * 16,
        "token=",
        "Bearer ",
    ]
    for _ in range(20_000):
        text = "".join(rng.choice(parts, rng.integers(1, 12)))
        for key in ["warning", "caption"]:
            once = scrubbed(text, key)
            assert scrubbed(once, key) == once, text


def test_paths_shrink_to_their_name() -> None:
    assert make(parameters={"weights": Path("/srv/models/tiny")})["parameters"] == {"weights": "tiny"}


def test_a_persons_words_keep_all_but_passwords() -> None:
    words = {
        "caption": "drums /loud/ and ~/soft/ see https://u:pw@host/x?y=1 hf_abcdefghijklmnopqrstuvwx",
        "lm_negative_prompt": "/no/ /way/",
    }
    made = make(parameters=words)
    assert made["parameters"]["caption"] == f"drums /loud/ and ~/soft/ see https://host/x?y=1 {HIDDEN}"
    assert made["parameters"]["lm_negative_prompt"] == "/no/ /way/"
    assert_shareable(made)


@pytest.mark.parametrize(
    "unit",
    [
        "a-",
        "http://",
        "/a",
        "~/",
        "C:\\a\\",
        "a@b:",
        "https://h/?",
        "eyJ",
        "sk-",
        "hf_",
        "token=",
        "bearer ",
        "\\\\a\\",
    ],
)
def test_hostile_text_is_scrubbed_in_no_time(unit: str) -> None:
    started = time.process_time()
    scrubbed(unit * 50_000)
    assert time.process_time() - started < 5.0


def test_text_that_no_tag_can_hold_is_replaced() -> None:
    made = make(parameters={"caption": "a\0b\ud800"})
    assert made["parameters"]["caption"] == "ab?"
    to_json(made).encode("utf-8")


# --- reading --------------------------------------------------------------------------------------------------------
def changed(place: str, value: object) -> dict[str, Any]:
    """A recipe with one value at a dotted place set, or taken away (``...``)."""
    made = make(source=SourceUsed(DIGEST, 1.0), timing={"decode": 1.0})
    *path, last = place.split(".")
    inner: Any = made
    for name in path:
        inner = inner[name]
    if value is ...:
        del inner[last]
    else:
        inner[last] = value
    return made


@pytest.mark.parametrize("section", [section for section in SECTIONS if section != "schema"])
def test_every_section_is_needed(section: str) -> None:
    with pytest.raises(InputError, match=f"the recipe is not valid: it lacks {section}."):
        validate(changed(section, ...))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("not json", "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ('{"schema": 2, "scores": NaN}', "NaN is no number"),
        ('{"schema": 2, "scores": -Infinity}', "-Infinity is no number"),
        ('{"schema": 2, "scores": 1e999}', "'1e999' is too large a number"),
        ("1" * 5000, "not valid JSON"),
        ("[]", "not a JSON object"),
        ("{}", "says no version; its schema is None"),
        ('{"schema": true}', "says no version; its schema is True"),
        ('{"schema": 0}', "says no version; its schema is 0"),
        ('{"schema": "2"}', "says no version; its schema is '2'"),
        ('{"schema": 7}', "this file's recipe has version 7; this program reads up to 2: update it"),
        ('{"schema": 2}', "not valid: it lacks generator"),
    ],
)
def test_what_is_no_recipe_is_refused(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        from_json(text)
    assert caught.value.field == "recipe"
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ("surprise", 1, "it has the field 'surprise', which is unknown"),
        ("parameters.surprise", 1, "parameters has the field 'surprise', which is unknown"),
        ("parameters.src_audio", "/etc/passwd", "parameters has the field 'src_audio', which is unknown"),
        ("output.path", "x", "output has the field 'path', which is unknown"),
        ("plan.metadata.mood", "x", "plan.metadata has the field 'mood', which is unknown"),
        ("x" * 200, 1, r"it has the field 'x{60}'\.\.\. \(200 characters\), which is unknown"),
        ("seeds", [], "seeds must not be empty"),
        ("seeds", ["1"], r"seeds\[0\] must be a whole number, not '1'"),
        ("seeds", [1, 1 << 32], r"seeds\[1\] must be from 0 to 4294967295, not 4294967296"),
        ("seeds", [10**400], r"seeds\[0\] must be a whole number, not 1"),
        ("parameters.bpm", "fast", "parameters.bpm must be a whole number or null, not 'fast'"),
        ("parameters.bpm", True, "parameters.bpm must be a whole number or null, not True"),
        ("parameters.duration", float("nan"), "parameters.duration must be a number or null, not nan"),
        ("parameters.caption", None, "parameters.caption must be text, not None"),
        ("parameters.mix", 1, "parameters.mix must be true or false, not 1"),
        ("parameters.timesteps", 0.5, "parameters.timesteps must be a list or null, not 0.5"),
        ("parameters.lm_top_p", 0, "parameters.lm_top_p must be from 0.01 to 1, not 0"),
        ("parameters.continuation_mode", "up", "parameters.continuation_mode 'up' is unknown"),
        ("parameters.first_sha256", DIGEST, "parameters lacks second_sha256"),
        ("sources.source.sha256", "f00d", "sources.source.sha256 'f00d' is no such text"),
        ("output.samples", 0, "output.samples must be at least 1, not 0"),
        ("output.format", ..., "output lacks format"),
        ("batch.tracks", ["kazoo"], r"batch.tracks\[0\] 'kazoo' is unknown"),
        ("models.dit", None, "models.dit must be an object, not None"),
        ("models.vae", {"name": 1}, "models.'vae' lacks revision"),
        ("timing.decode", "long", "timing.'decode' must be a number, not 'long'"),
        ("warnings", "none", "warnings must be a list, not 'none'"),
        ("scores", 5, "scores must be an object or null, not 5"),
    ],
)
def test_what_breaks_the_schema_is_named(place: str, value: object, message: str) -> None:
    with pytest.raises(InputError, match=f"the recipe is not valid: {message}"):
        validate(changed(place, value))


def test_what_is_nested_without_end_is_refused() -> None:
    deep: dict[str, Any] = {}
    for _ in range(600):
        deep = {"a": deep}
    with pytest.raises(InputError, match=f"nested more than {DEPTH_MAX} deep"):
        from_json(json.dumps({**make(), "scores": deep}))


def test_recipes_of_version_1_are_read() -> None:
    old = {name: value for name, value in make().items() if name not in {"machine", "batch"}}
    assert from_json(json.dumps({**old, "schema": 1})) == make(machine=None, batch=None)


def test_what_a_stranger_wrote_is_cut_as_our_own_is() -> None:
    """Else a file made again from such a recipe could not be written, or would publish it."""
    text = json.dumps(
        {**make(), "warnings": ["see /home/me/in.wav", "half a \ud800 character"], "scores": {"\udfff": 1}}
    )
    read = from_json(text)
    assert_shareable(read)
    assert read["warnings"] == ["see in.wav", "half a ? character"]
    assert read["scores"] == {"?": 1}


# --- the schema -----------------------------------------------------------------------------------------------------
VALIDATOR = Draft202012Validator(recipe_schema())


def test_the_schema_is_one_and_every_field_of_it_is_documented() -> None:
    Draft202012Validator.check_schema(recipe_schema())
    plain = json.loads(json.dumps(recipe_schema()))
    assert plain == recipe_schema()

    def undocumented(schema: dict[str, Any], place: str) -> list[str]:
        found = [place] if "description" not in schema and "metadata" not in place else []
        for name, inner in schema.get("properties", {}).items():
            found += undocumented(inner, f"{place}.{name}")
        return found

    assert undocumented(plain, "") == []


def test_every_parameter_is_in_the_schema_and_in_the_recipe() -> None:
    own = {field.name for field in fields(StitchParams)}
    known = set(recipe_schema()["properties"]["parameters"]["properties"])
    assert known == (own - set(SOURCE_FIELDS)) | {"model"}
    params = {field.name: getattr(GenerationParams(), field.name) for field in fields(GenerationParams)}
    made = make(parameters=params)
    assert set(made["parameters"]) == set(params) - set(SOURCE_FIELDS)
    assert validate(made) == made
    VALIDATOR.validate(made)


def mutated(value: Any, rng: random.Random) -> Any:
    """A recipe in which one value, somewhere, was replaced, removed or joined by another."""
    value = copy.deepcopy(value)
    place = value
    while True:
        inner = [
            item for item in (place.values() if isinstance(place, dict) else place) if isinstance(item, (dict, list))
        ]
        if not inner or rng.random() < 0.3:
            break
        place = rng.choice(inner)
    other = rng.choice([None, True, 0, -1, 1.0, 2.5, 1e30, "", "text", DIGEST, [], [1], ["drums"], {}, {"name": "x"}])
    if isinstance(place, list):
        place[:] = [*place, other] if rng.random() < 0.5 else [other]
    elif not place or rng.random() < 0.2:
        place["surprise"] = other
    elif rng.random() < 0.3:
        del place[rng.choice(list(place))]
    else:
        place[rng.choice(list(place))] = other
    return value


def test_reading_and_the_library_agree_on_what_is_a_recipe() -> None:
    rng, good, bad = random.Random(7), 0, 0
    whole = make(timing={"decode": 1.0}, scores={"overall": 0.5}, reference=SourceUsed(DIGEST, 2.0))
    for _ in range(3000):
        other = mutated(whole, rng)
        valid = VALIDATOR.is_valid(other)
        assert (first_problem(other, recipe_schema()) is None) == valid, other
        good, bad = good + valid, bad + (not valid)
    assert min(good, bad) > 200


def test_every_word_of_the_schema_is_understood() -> None:
    def words(schema: dict[str, Any]) -> set[str]:
        found = set(schema)
        for inner in [
            *schema.get("properties", {}).values(),
            schema.get("items"),
            schema.get("additionalProperties"),
        ]:
            found |= words(inner) if isinstance(inner, dict) else set()
        return found

    judged = "type properties required additionalProperties items enum const minimum maximum pattern minItems"
    told = {"$schema", "title", "description", "dependentRequired"}
    assert words(recipe_schema()) == set(judged.split()) | told


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
