"""The chain of thought as text: written as PyYAML would, read back from whatever a model writes."""

from __future__ import annotations

import random

import pytest
import yaml

from acestep.constants import BPM_MAX, BPM_MIN, KEYSCALES, LANGUAGES, TIME_SIGNATURES
from acestep.metadata import UNUSUAL_METERS
from acestep.planner.chain import (
    FIELDS,
    ChainOfThought,
    raw_fields,
    read_chain,
    read_lyrics,
    write_chain,
    write_field,
    write_fields,
)
from acestep.planner.plan import Metadata
from acestep.planner.yaml_text import WIDTH, read_scalar, write_scalar

COLUMN = len("caption: ")
# What YAML treats in a special way, and ordinary words; joined at random they make every kind of quoting and folding.
CRUMBS = (
    *(
        "a",
        "word",
        "dreamy pop",
        " ",
        " ",
        " ",
        "  ",
        "\n",
        ":",
        ": ",
        " #",
        "#",
        "'",
        '"',
        "-",
        "- ",
        "?",
        "? ",
        "é",
    ),
    *("音楽", "😀", "\t", "\\", "no", "Yes", "null", "12", "0x1f", "0o7", "1_0", "1:30", ".5", "1.", "1e3", "1.5e+3"),
    *("2020-01-01", "%", "@", "`", "[", "]", "{", "}", ",", "!", "&", "*", "|", ">", "\x00", "\x07", "\x7f", "\xa0"),
    *("---", "...", "=", "<<", "~", "\r", "\ufeff", "\ud800", "\uffff", "<think>", "</think>", "<|im_end|>", ".inf"),
)
YAML_WORDS = ["no", "off", "ON", "true", "~", "1", "-1", "+1.5", "0b1", "017", "0x", "1:30:00", "1:30.5", ".nan", "="]
YAML_DATES = ["2020-01-01", "2020-1-1 1:02:03", "2020-01-01T01:02:03.5Z", "2020-01-01 1:02:03 +01:00", "2020-01-1"]


def crumbled(rng: random.Random) -> str:
    return "".join(rng.choice(CRUMBS) for _ in range(rng.choice([1, 2, 3, 8, 40, 80])))


def dumped(text: str) -> str:
    return yaml.dump({"caption": text}, allow_unicode=True).removeprefix("caption: ").removesuffix("\n")


def test_twenty_thousand_texts_are_written_as_pyyaml_writes_them_and_read_back() -> None:
    rng = random.Random(4)
    for _ in range(20_000):
        text = crumbled(rng)
        written = write_scalar(text, COLUMN)
        assert written == dumped(text)
        assert read_scalar(written) == text


@pytest.mark.parametrize(
    "text", ["", *YAML_WORDS, *YAML_DATES, "'", "''", '"', "a'", "-", "-a", "? a", "?a", "a:", ":a"]
)
def test_what_yaml_takes_for_something_else_is_quoted_as_pyyaml_does(text: str) -> None:
    assert write_scalar(text, COLUMN) == dumped(text)
    assert read_scalar(write_scalar(text, COLUMN)) == text


@pytest.mark.parametrize("char", ["\x85", "\u2028", "\u2029"])
def test_rare_line_breaks_stay_in_their_line(char: str) -> None:
    written = write_scalar(f"one{char}two", COLUMN)
    assert char not in written
    assert yaml.safe_load(f"caption: {written}") == {"caption": f"one{char}two"}
    assert read_scalar(written) == f"one{char}two"


def test_long_captions_fold_at_the_width_and_cjk_without_blanks_never() -> None:
    lines = write_scalar("soft " * 60 + "end", COLUMN).split("\n")
    assert len(lines) > 2
    assert all(line.startswith("  ") for line in lines[1:])
    assert all(WIDTH < len(line) <= WIDTH + len("soft ") for line in [" " * COLUMN + lines[0], *lines[1:-1]])
    assert "\n" not in write_scalar("音楽" * 200, COLUMN)


def random_chain(rng: random.Random) -> ChainOfThought:
    def maybe(value: object, nothing: object) -> object:
        return rng.choice([value, nothing])

    return ChainOfThought(
        bpm=maybe(rng.randint(BPM_MIN, BPM_MAX), None),
        caption=maybe(crumbled(rng), ""),
        duration=maybe(rng.randint(10, 600), None),
        genres=maybe(crumbled(rng), ""),
        keyscale=maybe(rng.choice(KEYSCALES), ""),
        language=maybe(rng.choice(LANGUAGES), ""),
        timesignature=maybe(rng.choice((*TIME_SIGNATURES, *UNUSUAL_METERS)), ""),
    )


def test_every_chain_reads_back_whatever_its_texts_hold_and_follows() -> None:
    rng = random.Random(5)
    for _ in range(3000):
        chain = random_chain(rng)
        text = write_chain(chain)
        assert read_chain(text).chain == chain
        assert read_chain(text).problems == ()
        assert read_chain(text + "\n\n# Lyric\nbpm: 77\n</think>").chain == chain
        assert read_chain(write_fields(chain)).chain == chain  # a model that was stopped before the tag


def test_the_whole_block_is_what_the_models_were_trained_on() -> None:
    chain = ChainOfThought(120, "It's fine: really", 180, "", "C# minor", "no", "4/4")
    assert write_chain(chain) == (
        "<think>\nbpm: 120\ncaption: 'It''s fine: really'\nduration: 180\nkeyscale: C# minor\nlanguage: 'no'\n"
        "timesignature: 4\n</think>"
    )
    assert write_chain(ChainOfThought()) == "<think>\n\n</think>"
    assert list(chain.decided()) == [name for name in FIELDS if name != "genres"]


def test_chains_and_metadata_are_two_spellings_of_one_thing() -> None:
    metadata = Metadata(90, "A minor", "3", 30.75, "fr")
    chain = ChainOfThought.of(metadata, "waltz")
    assert chain == ChainOfThought(90, "waltz", 30, "", "A minor", "fr", "3")
    assert chain.metadata() == Metadata(90, "A minor", "3", 30.0, "fr")
    assert ChainOfThought.of(Metadata()) == ChainOfThought()
    assert ChainOfThought().metadata() == Metadata()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<think>\nBPM : 96.0\nDuration: 31\n</think>", ChainOfThought(bpm=96, duration=31)),
        ("bpm: 96\r\ncaption: two\r\n  lines\r\n", ChainOfThought(bpm=96, caption="two lines")),
        ('caption: "Dreamy" pop, it\'s', ChainOfThought(caption='"Dreamy" pop, it\'s')),
        ("caption: |-\n  one\n\n  two\nbpm: 60", ChainOfThought(caption="one two", bpm=60)),
        ("caption: 'never closed\nbpm: 60", ChainOfThought(caption="'never closed", bpm=60)),
        (r'caption: "a\qb \xZZ"', ChainOfThought(caption=r"a\qb \xZZ")),
        ("bpm: 60\nbpm: 90\nmood: sad\n  bpm: 200", ChainOfThought(bpm=60)),
        (
            "keyscale: c#m\ntimesignature: 6/8\nlanguage: NO",
            ChainOfThought(keyscale="C# minor", timesignature="6", language="no"),
        ),
        ("keyscale: N/A\nbpm: n/a\nlanguage: none", ChainOfThought()),
        ("bpm: 60<|audio_code_5|><|audio_code_6|>", ChainOfThought(bpm=60)),
        ("caption: n/a\nbpm: 61</think>\nduration: 30", ChainOfThought(caption="n/a", bpm=61)),
        ("", ChainOfThought()),
        ("</think>", ChainOfThought()),
    ],
)
def test_reading_is_tolerant(text: str, expected: ChainOfThought) -> None:
    read = read_chain(text)
    assert read.chain == expected
    assert read.problems == ()


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("bpm: fast", "bpm"),
        ("bpm: 29", "bpm"),
        ("bpm: 1_000", "bpm"),
        ("duration: 601", "duration"),
        ("duration: -5", "duration"),
        ("keyscale: H major", "keyscale"),
        ("language: klingon", "vocal_language"),
        ("timesignature: 13", "timesignature"),
        ("bpm: " + "9" * 5000, "bpm"),
    ],
)
def test_values_out_of_range_are_left_open_and_named(text: str, named: str) -> None:
    read = read_chain(text)
    assert read.chain == ChainOfThought()
    (problem,) = read.problems
    assert problem.startswith(named)
    assert len(problem) < 600


def test_nothing_a_model_writes_makes_reading_fail() -> None:
    rng = random.Random(6)
    names = [f"{name}:" for name in FIELDS] + ["\n", "\n\n", "\n  ", "<think>", "</think>"]
    for _ in range(3000):
        text = "".join(rng.choice(names if rng.random() < 0.4 else CRUMBS) for _ in range(rng.randrange(60)))
        chain = read_chain(text).chain
        assert read_chain(write_chain(chain)).chain == chain


def test_a_field_is_one_line_start_and_indented_lines() -> None:
    for name in ("caption", "genres"):
        written = write_field(name, "word " * 100 + "\n- a: b\n# c")
        assert written.startswith(f"{name}: ") and written.endswith("\n")
        assert all(line.startswith("  ") or not line for line in written.split("\n")[1:])
        assert list(raw_fields(written)) == [name]


@pytest.mark.parametrize(
    ("answer", "lyrics"),
    [
        ("<think>\nbpm: 60\n</think>\n\n# Lyric\n[Verse]\nHello\n<|im_end|>", "[Verse]\nHello"),
        ("<think>\nbpm: 60\n</think>## LYRICS:\nHello", "Hello"),
        ("<think>\ncaption: a </think> b\n</think>\n\nLyrical", "Lyrical"),
        ("<think>\nbpm: 60\n</think>\n\n[Verse]\n</think>\nHello", "[Verse]\n</think>\nHello"),
        ("<think>\nbpm: 60\n</think>\n\n# Lyric", ""),
        ("<think>\nbpm: 60\n", ""),
    ],
)
def test_lyrics_follow_the_chain(answer: str, lyrics: str) -> None:
    assert read_lyrics(answer) == lyrics
