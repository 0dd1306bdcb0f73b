"""The dice: a hundred beginnings, all good, the same one for the same seed."""

from __future__ import annotations

import argparse
import json
from collections import Counter

import pytest

from acestep.commands.help_with_words import add_dice
from acestep.constants import CAPTION_CHARS_ADVISED, INSTRUMENTAL_LYRICS, LANGUAGES, SEED_MAX
from acestep.dice import CAPTION, QUERY, Entry, entries, roll, throw
from acestep.errors import InputError
from acestep.linting import WARNING, lint
from acestep.linting.agreement import SCRIPTS
from acestep.linting.script import read_script


def test_there_are_a_hundred_in_more_than_twenty_languages() -> None:
    assert Counter(entry.kind for entry in entries()) == {CAPTION: 60, QUERY: 40}
    assert len({entry.language for entry in entries()}) > 20
    assert len({entry.text.casefold() for entry in entries()}) == 100
    assert any(entry.instrumental for entry in entries(kind=CAPTION))
    assert any(entry.instrumental for entry in entries(kind=QUERY))


@pytest.mark.parametrize("entry", entries(), ids=lambda entry: f"{entry.kind}-{entry.language}")
def test_an_entry_is_well_written(entry: Entry) -> None:
    assert entry.language in LANGUAGES[:-1]
    assert entry.text == " ".join(entry.text.split())
    assert 10 <= len(entry.text) <= CAPTION_CHARS_ADVISED
    letters = set(read_script(entry.text, entry.language).scripts)
    assert letters <= SCRIPTS.get(entry.language, {"LATIN"}), "an alphabet that is not the language's"


@pytest.mark.parametrize("entry", entries(), ids=lambda entry: f"{entry.kind}-{entry.language}")
def test_an_entry_gets_no_warning(entry: Entry) -> None:
    lyrics = INSTRUMENTAL_LYRICS if entry.instrumental else ""
    findings = lint(entry.text, lyrics, vocal_language=entry.language)
    assert [finding for finding in findings if finding.severity == WARNING] == []


def test_the_same_seed_gives_the_same_entry() -> None:
    assert [roll(seed) for seed in range(20)] == [roll(seed) for seed in range(20)]
    assert len({roll(seed) for seed in range(200)}) > 60
    assert roll(0) == throw(3, 0)[0]
    assert roll(SEED_MAX) in entries()


def test_a_seed_means_the_same_everywhere() -> None:
    """Fixed answers: a change of the shuffle, or of the order of the file, would show here."""
    assert roll(4).text == "무대 위에서 다시 태어나는 기분을 담은 강렬한 댄스곡"
    assert roll(4, kind=QUERY, language="bn").text == roll(4, kind=QUERY, language="bn").text


def test_without_a_seed_it_varies() -> None:
    assert len({roll() for _ in range(60)} | {roll(-1) for _ in range(60)}) > 10


@pytest.mark.parametrize(("kind", "language"), [(CAPTION, None), (QUERY, "bn"), (None, "ja"), (None, None)])
def test_what_is_wanted_is_what_comes(kind: str | None, language: str | None) -> None:
    for seed in range(30):
        entry = roll(seed, kind=kind, language=language)
        assert kind in (None, entry.kind)
        assert language in (None, entry.language)


def test_several_are_different() -> None:
    assert len(set(throw(100, 3))) == 100


@pytest.mark.parametrize(
    ("wanted", "field"),
    [
        ({"count": 0}, "count"),
        ({"count": 101}, "count"),
        ({"count": 1, "seed": -2}, "seed"),
        ({"count": 1, "seed": SEED_MAX + 1}, "seed"),
        ({"count": 1, "kind": "song"}, "kind"),
        ({"count": 1, "language": "xx"}, "language"),
        ({"count": 1, "kind": CAPTION, "language": "sw"}, "language"),
    ],
)
def test_what_is_not_there_is_refused(wanted: dict[str, object], field: str) -> None:
    with pytest.raises(InputError) as caught:
        throw(**wanted)
    assert caught.value.field == field


def run_dice(*arguments: str) -> None:
    """``acestep dice`` without the process around it."""
    parser = argparse.ArgumentParser()
    add_dice(parser)
    told = parser.parse_args(arguments)
    told.run(told)


def test_the_command_rolls(capsys: pytest.CaptureFixture[str]) -> None:
    run_dice("--seed", "7", "--kind", "caption")
    assert capsys.readouterr().out == f"{roll(7, kind=CAPTION).text}\n"
    run_dice("--seed", "7", "--count", "3", "--json")
    assert json.loads(capsys.readouterr().out) == {"entries": [entry.to_dict() for entry in throw(3, 7)]}
    run_dice("--list")
    assert capsys.readouterr().out.splitlines() == [entry.text for entry in entries()]
