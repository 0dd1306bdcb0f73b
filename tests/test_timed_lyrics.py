"""Lyric files, read back by small parsers that know nothing of the writer."""

from __future__ import annotations

import html
import random
import re

import pytest

from acestep.output.timed_lyrics import CUE_MIN_S, from_lrc, lrc_body, synced, to_lrc, to_srt, to_vtt
from acestep.scoring.timestamps import TimedLine

ODD = "Tom & <i>Jerry</i> --> 你好 🎵 [x] {y} 5:00"
LINES = (
    ("[Verse 1]", 0.0, 0.5),
    ("la la", 0.5, 2.25),
    (ODD, 59.996, 59.996),
    ("[Chorus]", 60.0, 61.0),
    ("zurück", 61.234, 75.0),
    ("late", 6000.005, 6001.0),
    ("[a] hey", 7325.5, 7330.123),
)


def song(*rows: tuple[str, float, float]) -> tuple[TimedLine, ...]:
    return tuple(TimedLine(text, start, end, 0.5, ()) for text, start, end in rows or LINES)


SUNG = [row for row in LINES if row[0] not in {"[Verse 1]", "[Chorus]"}]


# --- Parsers --------------------------------------------------------------------------------------------------------
def seconds(clock: str) -> float:
    """Of ``HH:MM:SS.mmm``."""
    hours, minutes, rest = clock.split(":")
    assert len(hours) >= 2
    assert len(minutes) == 2
    assert int(minutes) < 60
    assert re.fullmatch(r"[0-5]\d\.\d{3}", rest)
    return int(hours) * 3600 + int(minutes) * 60 + float(rest)


def parse_srt(text: str) -> list[tuple[str, float, float]]:
    cues = []
    for number, block in enumerate(text.strip("\n").split("\n\n"), start=1):
        count, times, words = block.split("\n")
        assert count == str(number)
        assert "." not in times
        start, end = times.replace(",", ".").split(" --> ")
        cues.append((words, seconds(start), seconds(end)))
    return cues


def parse_vtt(text: str) -> list[tuple[str, float, float]]:
    head, *blocks = text.strip("\n").split("\n\n")
    assert head == "WEBVTT"
    cues = []
    for block in blocks:
        times, words = block.split("\n")
        assert not set("<>") & set(words)
        assert "&" not in re.sub(r"&(amp|lt|gt);", "", words)
        start, end = times.split(" --> ")
        cues.append((html.unescape(words), seconds(start), seconds(end)))
    return cues


def parse_lrc(text: str) -> tuple[dict[str, str], list[tuple[str, float]]]:
    head, lines = {}, []
    for row in text.splitlines():
        if timed := re.fullmatch(r"\[(\d{2,}):([0-5]\d\.\d\d)\](?!\[)(.*)", row):
            lines.append((timed[3].strip(), int(timed[1]) * 60 + float(timed[2])))
        else:
            name, value = re.fullmatch(r"\[([a-z]+):([^\[\]]*)\]", row).groups()
            head[name] = value
    return head, lines


# --- Files ----------------------------------------------------------------------------------------------------------
def test_lrc_comes_back() -> None:
    head, lines = parse_lrc(to_lrc(song(), "My [best]\nsong", 7330.6))
    assert head == {"ti": "My (best) song", "length": "122:11"}
    assert [text for text, _ in lines] == [row[0] for row in SUNG]
    assert [time for _, time in lines] == pytest.approx([row[1] for row in SUNG], abs=0.0051)


def test_lrc_lines_are_spelled_as_players_expect() -> None:
    assert to_lrc(song(("la", 62.345, 63.0), ("[x] lo", 3599.999, 3601.0))) == "[01:02.34]la\n[60:00.00] [x] lo\n"


def test_srt_comes_back() -> None:
    cues = parse_srt(to_srt(song()))
    assert [text for text, _, _ in cues] == [row[0].replace("-->", "->") for row in SUNG]
    assert_times([cue[1:] for cue in cues])


def test_vtt_comes_back() -> None:
    cues = parse_vtt(to_vtt(song()))
    assert [text for text, _, _ in cues] == [row[0] for row in SUNG]
    assert_times([cue[1:] for cue in cues])


def assert_times(cues: list[tuple[float, float]]) -> None:
    for (start, end), (_, true_start, true_end) in zip(cues, SUNG, strict=True):
        assert start == pytest.approx(true_start, abs=1e-6)
        assert end == pytest.approx(max(true_end, true_start + CUE_MIN_S), abs=1e-6)
        assert end - start > CUE_MIN_S - 0.001


def test_a_subtitle_ends_when_the_next_begins() -> None:
    lines = song(("a", 1.0, 1.0), ("b", 1.1, 1.1), ("c", 1.1, 1.2), ("d", 1.25, 1.25), ("e", 9.0, 9.1))
    expected = [("a", 1.0, 1.1), ("b", 1.1, 1.25), ("c", 1.1, 1.25), ("d", 1.25, 1.55), ("e", 9.0, 9.3)]
    for cues in (parse_srt(to_srt(lines)), parse_vtt(to_vtt(lines))):
        assert [cue[0] for cue in cues] == [cue[0] for cue in expected]
        assert [cue[1:] for cue in cues] == [pytest.approx(cue[1:], abs=1e-6) for cue in expected]


def test_a_subtitle_waits_for_no_tag_that_is_not_shown() -> None:
    lines = song(("a", 1.0, 1.0), ("[Solo][Piano]", 1.1, 1.1), ("b", 9.0, 9.5))
    assert [cue[2] for cue in parse_srt(to_srt(lines))] == pytest.approx([1.3, 9.5])
    assert [cue[2] for cue in parse_srt(to_srt(lines, with_tags=True))] == pytest.approx([1.1, 1.4, 9.5])


def test_vtt_escapes_its_markup() -> None:
    assert "Tom &amp; &lt;i&gt;Jerry&lt;/i&gt; --&gt; 你好" in to_vtt(song())
    assert to_vtt(song()).count("-->") == len(SUNG)
    assert to_srt(song()).count("-->") == len(SUNG)


def test_tags_are_kept_on_demand() -> None:
    texts = [row[0] for row in LINES]
    assert [text for text, _ in parse_lrc(to_lrc(song(), with_tags=True))[1]] == texts
    assert [cue[0] for cue in parse_vtt(to_vtt(song(), with_tags=True))] == texts
    assert len(parse_srt(to_srt(song(), with_tags=True))) == len(texts)


@pytest.mark.parametrize("lines", [(), song(("[Intro]", 0.0, 3.0), ("[Outro]", 3.0, 5.0))])
def test_where_nothing_is_sung_there_is_no_file(lines: tuple[TimedLine, ...]) -> None:
    assert [to_lrc(lines, "A title", 30.0), to_srt(lines), to_vtt(lines)] == ["", "", ""]
    assert synced(lines) == ()


@pytest.mark.parametrize("blank", ["a\n\nb", "a\r\nb", "a\rb", "a\x85b", "a\u2028b", "a\u2029b", "a\x0bb", "a\tb"])
def test_a_text_stays_on_its_line(blank: str) -> None:
    lines = song((blank, 1.0, 2.0), ("next", 3.0, 4.0))
    assert [cue[0] for cue in parse_srt(to_srt(lines))] == ["a b", "next"]
    assert [cue[0] for cue in parse_vtt(to_vtt(lines))] == ["a b", "next"]
    assert [text for text, _ in parse_lrc(to_lrc(lines))[1]] == ["a b", "next"]


def test_any_time_comes_back() -> None:
    draw = random.Random(0)
    rows = sorted((round(draw.uniform(0, 10_000), 3), draw.choice(["la", ODD])) for _ in range(300))
    lines = song(*((text, start, start + 1) for start, text in rows))
    starts = [start for start, _ in rows]
    assert [cue[1] for cue in parse_srt(to_srt(lines))] == pytest.approx(starts, abs=1e-6)
    assert [cue[1] for cue in parse_vtt(to_vtt(lines))] == pytest.approx(starts, abs=1e-6)
    assert [time for _, time in parse_lrc(to_lrc(lines))[1]] == pytest.approx(starts, abs=0.0051)


# --- Pairs for tags -------------------------------------------------------------------------------------------------
def test_pairs_are_the_sung_lines() -> None:
    assert synced(song()) == tuple((start, text) for text, start, _ in SUNG)
    assert len(synced(song(), with_tags=True)) == len(LINES)


def test_pairs_come_back() -> None:
    pairs = ((0.0, "la"), (0.0, "lo"), (59.99, "[x] y"), (6000.01, ODD))
    assert from_lrc(lrc_body(pairs)) == pairs


def test_lrc_of_other_programs_is_read() -> None:
    text = "\ufeff[ar:Someone]\n[01:05]later\r\n[00:01.5][00:07.250] la [x]\n\nwords\n[00:09.00]\n[1:2:3]no\n[::]\n"
    assert from_lrc(text) == ((1.5, "la [x]"), (7.25, "la [x]"), (65.0, "later"))


@pytest.mark.parametrize("text", ["", "[" * 10_000, "[" + "9" * 10_000 + ":00.00]x", "[00:00.00]" * 5000])
def test_hostile_lrc_holds_nothing(text: str) -> None:
    assert from_lrc(text) == ()
