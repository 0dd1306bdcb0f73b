"""The recipe inside every format: whatever it says comes back as it was, and nothing of it can harm a reader."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterable, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import mutagen
import numpy as np
import pytest
from jsonschema import Draft202012Validator
from mutagen.id3 import TXXX
from mutagen.mp4 import MP4FreeForm

from acestep.constants import SAMPLE_RATE
from acestep.errors import InputError
from acestep.output.formats import FORMATS
from acestep.output.recipe import (
    BatchMade,
    MachineUsed,
    ModelUsed,
    OutputMade,
    SourceUsed,
    assert_shareable,
    build_recipe,
    from_json,
    title_from_caption,
    to_json,
)
from acestep.output.schema import recipe_schema
from acestep.output.tags import SongTags, read_recipe, write_tags
from acestep.output.writer import write_audio

ALL = tuple(FORMATS)
SETS = 500
EVERYWHERE = 20  # of the sets go into every format, the others into one format of every tag system
SYSTEMS = (("wav", "wav24", "wav32", "mp3"), ("flac", "ogg", "opus"), ("m4a",))  # ID3, Vorbis comments, MP4
SECRET = "s3cr3ts3cr3ts3cr3t"
ANYWHERE = (  # text that nobody may read in a file, whatever field it stands in
    f"https://me:{SECRET}@host/a.wav",
    f"s3://{SECRET}@bucket/a",
    f"hf_{SECRET}",
    f"Bearer {SECRET}",
    f"sk-{SECRET}",
)
NO_WORDS = (  # text that nobody may read outside of a person's own words
    f"/home/{SECRET}/in.wav",
    f"~/{SECRET}/in.wav",
    f"file:///srv/{SECRET}/in.wav",
    f"C:\\Users\\{SECRET}\\in.wav",
    f"\\\\{SECRET}\\share\\in.wav",
    f"https://host/in.wav?signature={SECRET}",
    f"token={SECRET}",
)
OWN_WORDS = ("caption", "lyrics", "prompt", "instruction", "query")
ALPHABETS = (
    "abc XYZ 0189",
    "äöüß ñ é ÿ",
    "钢琴 ピアノ 피아노 বাংলা हिन्दी",
    "\u200d🎵👩\u200d🎤\U0001f3f4",
    "שלום مرحبا\u202e\u200f",
    "".join(map(chr, range(1, 32))) + "\x7f\x85\u2028\u2029\ufeff\ufffe\uffff",
    "\0\ud800\udfff\udc80",
    "\"'\\/<>&;=[]{}|,:.~@#?%",
)
JOINED = ("bridge_s", "second_sha256")  # which go with the first of two recordings
PROPERTIES = recipe_schema()["properties"]
VALIDATOR = Draft202012Validator(recipe_schema())


@pytest.fixture(scope="module")
def encoded(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A tenth of a second of sound in every format."""
    folder = tmp_path_factory.mktemp("encoded")
    sound = np.random.default_rng(0).uniform(-0.1, 0.1, (2, SAMPLE_RATE // 10)).astype(np.float32)
    paths = {name: folder / name / f"song{row.extension}" for name, row in FORMATS.items()}
    recipe = build_recipe(
        version="0", task="", parameters={}, seeds=[0], models={}, output=OutputMade("wav", SAMPLE_RATE, 1)
    )
    return {name: write_audio(sound, SAMPLE_RATE, path, name, SongTags(), recipe) for name, path in paths.items()}


def text(rng: random.Random, longest: int = 30) -> str:
    letters = "".join(rng.sample(ALPHABETS, rng.randint(1, 3)))
    return "".join(rng.choices(letters, k=rng.randint(0, longest)))


def value(rng: random.Random, row: Mapping[str, Any], name: str) -> Any:
    """Anything that the schema allows in a place."""
    kinds = [row["type"]] if isinstance(row["type"], str) else row["type"]
    kind = rng.choice(kinds)
    if "enum" in row:
        return rng.choice(row["enum"])
    if kind in {"integer", "number"}:
        return number(rng, row, whole=kind == "integer")
    if kind == "array":
        return [value(rng, row["items"], name) for _ in range(rng.randint(0, 6))]
    if "pattern" in row and kind == "string":
        return rng.randbytes(32).hex()
    if kind == "string":
        words = any(word in name for word in OWN_WORDS)
        secret = rng.choice(ANYWHERE if words else ANYWHERE + NO_WORDS)
        return rng.choice([text(rng), text(rng), f"{text(rng)} {secret} {text(rng)}"])
    return {"null": None, "boolean": rng.random() < 0.5}[kind]


def number(rng: random.Random, row: Mapping[str, Any], *, whole: bool) -> float:
    low, high = row.get("minimum", -1e6), row.get("maximum", 1e6)
    if whole:
        return rng.choice([rng.randint(int(low), int(high)), np.int64(rng.randint(int(low), int(high)))])
    return rng.choice(
        [low, high, rng.uniform(low, high), np.float32(1.0), rng.uniform(0.02, 1) * 1e-30 + max(low, 0)]
    )


def drawn(rng: random.Random, **words: str) -> dict[str, Any]:
    """The recipe of a random set of parameters: some of them, now and then all."""
    rows, share = PROPERTIES["parameters"]["properties"], rng.choice([0.1, 0.3, 0.3, 0.3, 1.0])
    parameters = {name: value(rng, row, name) for name, row in rows.items() if rng.random() < share}
    parameters |= {name: value(rng, rows[name], name) for name in JOINED if "first_sha256" in parameters}
    parameters |= {"src_audio": f"/home/{SECRET}/in.wav", "reference_audio": f"~/{SECRET}.wav", **words}
    song = PROPERTIES["plan"]["properties"]
    plan = {name: value(rng, row, name) for name, row in song.items() if name != "metadata"}
    plan["metadata"] = {name: value(rng, row, name) for name, row in song["metadata"]["properties"].items()}
    return build_recipe(
        version="0.1.0",
        task="text2music",
        parameters=parameters,
        seeds=[rng.randrange(1 << 32)],
        models={"dit": ModelUsed("tiny", reason=rng.choice(NO_WORDS)), "lm": None},
        output=OutputMade("wav", SAMPLE_RATE, SAMPLE_RATE, text(rng)),
        machine=MachineUsed("3.12.1", "2.13.0", "Linux", "cpu", text(rng), "float32", 2),
        batch=BatchMade(rng.randint(1, 8)),
        plan=plan,
        source=rng.choice([None, SourceUsed(rng.randbytes(32).hex(), rng.uniform(0, 600))]),
        scores=rng.choice([None, {"overall": rng.random(), "why": [{f"in {NO_WORDS[0]}": rng.choice(NO_WORDS)}]}]),
        warnings=[value(rng, {"type": "string"}, "warning") for _ in range(rng.randint(0, 3))],
        timing={"decode": rng.random()},
    )


def tags_of(recipe: Mapping[str, Any]) -> SongTags:
    plan = recipe["plan"]
    return SongTags(title_from_caption(plan["caption"]), plan["lyrics"], 90, "C# minor", "en")


def retagged(encoded: Mapping[str, Path], name: str, recipe: Mapping[str, Any]) -> Path:
    """A copy of a file with other tags."""
    path = encoded[name].with_stem("copy")
    shutil.copy(encoded[name], path)
    write_tags(path, FORMATS[name].tag_kind, tags_of(recipe), to_json(recipe))
    return path


def test_every_set_of_parameters_comes_back_from_every_format(encoded: dict[str, Path]) -> None:
    rng = random.Random(2026)
    for number_of_set in range(SETS):
        recipe = drawn(rng)
        written = to_json(recipe)
        assert SECRET not in written
        assert_shareable(recipe)
        assert from_json(written) == recipe, number_of_set
        assert VALIDATOR.is_valid(recipe), number_of_set
        for name in formats_of(number_of_set):
            assert read_recipe(retagged(encoded, name, recipe)) == recipe, (number_of_set, name)
            assert not_secret(encoded[name].with_stem("copy")), (number_of_set, name)


def formats_of(number_of_set: int) -> Iterable[str]:
    """The formats that a set is written to: what a text becomes is a matter of the tag system alone."""
    return ALL if number_of_set < EVERYWHERE else (names[number_of_set % len(names)] for names in SYSTEMS)


def test_every_format_is_of_one_tag_system() -> None:
    assert sorted(chain(*SYSTEMS)) == sorted(ALL)


def not_secret(path: Path) -> bool:
    content = path.read_bytes()
    return SECRET.encode() not in content and SECRET.encode("utf-16-le") not in content


def test_the_sets_hold_what_can_go_wrong() -> None:
    rng = random.Random(2026)
    said = "".join(to_json(drawn(rng)) for _ in range(20))
    for character in ("\\u0001", "\\u001b", "\x7f", "\u2028", "\u202e", "\ufeff", "\uffff", "🎵", "琴", "\\\\"):
        assert character in said


@pytest.mark.parametrize("name", ALL)
def test_a_megabyte_of_lyrics_comes_back(encoded: dict[str, Path], name: str) -> None:
    line = "[Verse]\nla la لا 啦 🎵\n"
    lyrics = line * ((1 << 20) // len(line.encode()) + 1)
    recipe = drawn(random.Random(1), lyrics=lyrics)
    assert recipe["parameters"]["lyrics"] == lyrics
    assert read_recipe(retagged(encoded, name, recipe)) == recipe


@pytest.mark.parametrize("name", ALL)
def test_a_file_that_is_cut_off_gives_its_recipe_or_an_error(
    encoded: dict[str, Path], name: str, tmp_path: Path
) -> None:
    recipe = drawn(random.Random(3))
    whole = retagged(encoded, name, recipe).read_bytes()
    cut = tmp_path / f"cut{FORMATS[name].extension}"
    for part in range(32):
        cut.write_bytes(whole[: len(whole) * part // 32])
        try:
            assert read_recipe(cut) == recipe
        except InputError as error:
            assert repr(cut.name) in str(error) or "the recipe is not valid JSON" in str(error)


def foreign(path: Path, named: str, content: str) -> None:
    """Put one tag of somebody else into a file, in the place of all that are there."""
    audio = mutagen.File(path)
    audio.delete()
    audio = mutagen.File(path)
    if audio.tags is None:
        audio.add_tags()
    if path.suffix in {".wav", ".mp3"}:
        audio.tags.add(TXXX(encoding=3, desc=named, text=content))
    elif path.suffix == ".m4a":
        audio.tags["----:com.acestep:recipe" if "recipe" in named else named] = [MP4FreeForm(content.encode())]
    else:
        audio.tags[named.upper()] = content
    audio.save()


@pytest.mark.parametrize("name", ALL)
def test_a_megabyte_of_other_tags_is_no_recipe(encoded: dict[str, Path], name: str) -> None:
    path = retagged(encoded, name, drawn(random.Random(4)))
    foreign(path, "----:com.other:text" if name == "m4a" else "other", "x" * (1 << 20))
    with pytest.raises(InputError, match=r"'copy\.\w+' carries no ACE-Step recipe"):
        read_recipe(path)


GARBLED = {  # what becomes of the text of a recipe, and what is said about it
    "half": (lambda whole: whole[: len(whole) // 2], "not valid JSON"),
    "a megabyte of something": (lambda whole: "x" * (1 << 20), "not valid JSON"),
    "behind something": (lambda whole: "\ufeff" + whole, "not valid JSON"),
    "null": (lambda whole: "null", "not a JSON object"),
    "newer": (lambda whole: '{"schema": 99}', "version 99; this program reads up to 2: update it"),
    "not a number": (lambda whole: whole.replace('"seeds":[', '"seeds":[NaN,'), "NaN is no number"),
    "another name": (lambda whole: whole.replace('"task":', '"tusk":'), "lacks task"),
    "another type": (lambda whole: whole.replace('"task":', '"task":7,"x":'), "task must be text, not 7"),
    "one more name": (
        lambda whole: whole.replace('"task":', '"tusk":7,"task":'),
        "the field 'tusk', which is unknown",
    ),
}


@pytest.mark.parametrize("garbled", list(GARBLED))
@pytest.mark.parametrize("name", ["wav", "flac", "mp3", "opus", "m4a"])
def test_a_garbled_recipe_is_refused(encoded: dict[str, Path], name: str, garbled: str) -> None:
    garble, message = GARBLED[garbled]
    path = retagged(encoded, name, drawn(random.Random(4)))
    foreign(path, "acestep_recipe", garble(to_json(drawn(random.Random(5)))))
    with pytest.raises(InputError, match=message) as caught:
        read_recipe(path)
    assert len(str(caught.value)) < 300
    assert "\n" not in str(caught.value)
