"""Advice on structure tags: which the vocabulary knows, what to write in place of others."""

from __future__ import annotations

import pytest

from acestep.v1.lyrics import advice
from acestep.v1.lyrics.tags import ADVICE_AT_MOST, KNOWN, begins_with_tag, nearest


def test_known_tags_need_no_advice() -> None:
    assert len(KNOWN) == 12
    assert advice("\n".join([*KNOWN, *map(str.title, KNOWN), "words", ""])) == ()
    assert advice("") == ()


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("Instrumental", "[inst]"),
        ("Instrumental Break", "[inst]"),
        ("Verse 1", "[verse]"),
        ("Pre Chorus", "[pre-chorus]"),
        ("Pre-Chorus 2", "[pre-chorus]"),
        ("Build-Up", "[pre-chorus]"),
        ("Post-Chorus", "[chorus]"),
        ("Final Chorus", "[chorus]"),
        ("chorus - anthemic", "[chorus]"),
        ("Refrain", "[chorus]"),
        ("Guitar Solo", "[solo]"),
        ("Breakdown", "[break]"),
        ("Ending", "[outro]"),
        ("The End", "[end]"),
        ("bridge: build up", "[bridge]"),
        ("Universe", None),
        ("", None),
    ],
)
def test_the_nearest_tag(name: str, known: str | None) -> None:
    assert nearest(name) == known
    said = advice(f"[{name}]")
    assert len(said) == 1
    assert said[0].startswith(f"'[{name}]' is no structure tag of v1")
    assert said[0].endswith(f"write {known}." if known else f"use one of {', '.join(KNOWN)}.")


def test_one_sentence_for_a_tag_however_often_and_few_in_all() -> None:
    assert len(advice("[Verse 1]\nla\n[Verse 1]")) == 1
    rows = [f"[Verse {i}]" for i in range(1, 8)]
    assert len(advice("\n".join(rows[:ADVICE_AT_MOST]))) == ADVICE_AT_MOST
    said = advice("\n".join(rows))
    assert len(said) == ADVICE_AT_MOST
    assert said[-1].startswith("5 more")


def test_only_lines_that_begin_with_a_tag_are_tags() -> None:
    assert advice("sing [Loud] now") == ()
    assert len(advice("[verse] sing [Loud]")) == 1
    assert begins_with_tag("[verse] la")
    assert not begins_with_tag("la [verse]")
    assert not begins_with_tag("[verse")


def test_a_long_tag_is_cut() -> None:
    (said,) = advice(f"[{'x' * 4000}]")
    assert len(said) < 300
