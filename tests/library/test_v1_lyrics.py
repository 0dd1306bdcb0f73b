"""The published lyric vocabulary: upstream's ids for its own examples, and real requests without unknown pieces."""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer

from acestep.v1.lyrics import SUPPORTED, LyricTokenizer, advice
from acestep.v1.lyrics.clean import clean
from acestep.v1.lyrics.languages import token_of
from acestep.v1.lyrics.tags import KNOWN

FOLDER = Path(os.environ["ACESTEP_TEST_LIBRARY"]) / "v1"
VOCABULARY = FOLDER / "lyric_vocab.json"
SHA256 = "c2a66ea48c478c0bb9acb5497144b926acdeaa37128faa799508d40f2b9cc558"
START, SPACE = 261, 2

# Line by itself, its ids between the start and the last separator, its language found as upstream finds it.
UPSTREAM = {
    "- hello world again": "5023 7 2 62 84 28 2 179 79 2 143 137",
    "* I love you so": "5023 7 2 22 2 99 76 2 74 2 123",
    "… and then we danced": "5023 7 2 53 2 247 2 100 2 322 3263 17",
    "2 hearts beat": "5023 4725 2 62 59 192 2 67 48",
    "1st place, 3.5 miles": "5023 4586 63 2 178 238 7 2 150 4574 1447 4695 2497 4498 2 328 755",
    "♪ la la la ♪": "284 1 2 494 2 494 2 494 2 1",
    "'Cause I love you": "260 4 16 344 18 2 22 2 99 76 2 74",
    '"Hello" she said': "285 62 84 28 2 120 18 2 252",
    "Let's go.": "293 1046 4 32 2 119 9",
    "Je t'aime, mon amour": "259 386 2 33 4 752 80 7 2 777 2 122 160",
    "Oh oh oh": "259 28 21 2 28 21 2 28 21",
    "I love you 3000": "259 22 2 99 76 2 74 2 40 2948 2 40 206 53",
    "Mr. Smith paid $20 & left": "259 26 345 44 2 3139 22 40 2 1899 17 2 232 50 210 2 134 84 59 32 2 53 2 25 2141 33",
    "(ooh yeah)": "259 5 2751 21 2 220 1255 6",
    "!!!": "5023 7 7 7",
    "...": "5023 7 7 7",
    "我爱你": "5023 4893 4568 27 4554",
    "我想对你说 I love you": "5023 4893 37 1164 4561 4688 27 4554 4986 2 22 2 99 76 2 74",
    "我们在2024年相遇": "5023 4893 4851 4597 4725 25 52 4497 4725 4728 27 1164 4596 37 1164 4547 4736",
    "爱情100%": "5023 4568 4578 4550 15 4658 132 4574 4637 4620 15 4658",
    "사랑해요 그대": "6152 150 449 82 5806 8 1167 2 112 5439 5806",
    "Te quiero mucho mi amor": "284 136 2 1340 28 2 26 433 28 2 328 2 14 726",
    "Ich liebe dich 2 mal": "260 91 21 2 369 67 2 17 91 21 2 39 100 22 2 422",
    "Я тебя люблю": "267 3405 2 3501 3879 2 3507 3375 3507",
    "मैं तुमसे प्यार करता हूँ": "6680 6333 2 6537 6268 2 6198 6287 6264 2 6618 2 6510",
    "أحبك": "5022 3943 4175 3970",
    "ผมรักคุณ": "259 1 1 1 1 1 1 1 1",
}
# Line, language, ids: published for the cleaned text of each.
NAMED = (
    ("[verse]", "ja", "259 6683"),
    ("[inst]", "en", "259 6688"),
    ("[instrumental]", "en", "259 1 718 1951 763 56 1"),
    ("[Verse 1]", "en", "259 1 35 173 18 2 28 111 1"),
    ("[chorus - anthemic]", "en", "259 1 988 563 32 2 8 2 43 217 91 1"),
    ("neon lights they flicker bright", "en", "259 111 47 2 75 20 583 32 2 141 2 468 91 2820 2 243 343 583"),
    ("don't stop, now!", "en", "259 805 4 33 2 63 161 7 2 145 3"),
    ("我爱你", "zh", "5023 4893 4568 27 4554"),
    ("君のこと", "ja", "5412 2062 22 2 95 2 24 5267"),
    ("sarang", "ko", "6152 1841 566"),
    ("привет мир", "ru", "267 3454 3544 2 3886"),
    ("héllo ñandú ü", "es", "284 1021 84 28 2 1265 27 17 282 2 258"),
)
QUICK_START = "[verse]\nHello world\nThis is a test\n\n[chorus]\nMusic generation\nIs amazing"
QUICK_START_IDS = (
    "261 259 6683 2 259 62 84 28 2 179 79 2 259 147 2 54 2 14 2 136 63 2 2 259 6684 2 259 539 91 2 112 27 1141 33 "
    "1185 27 2 259 54 2 122 14 1476 3176 2"
)


@pytest.fixture(scope="module")
def tokenizer() -> LyricTokenizer:
    assert hashlib.sha256(VOCABULARY.read_bytes()).hexdigest() == SHA256
    return LyricTokenizer.load(VOCABULARY)


@pytest.fixture(scope="module")
def requests() -> list[dict[str, Any]]:
    """What a published server was asked for, as it wrote it down beside its songs."""
    paths = sorted(FOLDER.glob("output_*_input_params.json"))
    assert len(paths) == 8, f"{FOLDER} holds {len(paths)} of 8 requests"
    return [json.loads(path.read_text(encoding="utf-8")) for path in paths]


def numbers(ids: str) -> tuple[int, ...]:
    return tuple(map(int, ids.split()))


@pytest.mark.parametrize("line", UPSTREAM)
def test_upstream_lines_have_their_published_ids(tokenizer: LyricTokenizer, line: str) -> None:
    assert tokenizer.ids(line, detection="upstream") == (START, *numbers(UPSTREAM[line]), SPACE)


@pytest.mark.parametrize(("line", "language", "ids"), NAMED)
def test_lines_of_a_named_language_have_their_published_ids(
    tokenizer: LyricTokenizer, line: str, language: str, ids: str
) -> None:
    assert tokenizer.ids(line, language=language) == (START, *numbers(ids), SPACE)


@pytest.mark.parametrize("detection", ["script", "upstream"])
def test_the_whole_lyric_of_the_quick_start(tokenizer: LyricTokenizer, detection: str) -> None:
    assert tokenizer.ids(QUICK_START, detection=detection) == numbers(QUICK_START_IDS)


def test_empty_lyrics_are_the_stop_token(tokenizer: LyricTokenizer) -> None:
    assert tokenizer.ids("") == (0,)
    assert tokenizer.size == 6693


def test_every_known_tag_is_one_token(tokenizer: LyricTokenizer) -> None:
    found = [tokenizer.ids(tag)[1:-1] for tag in KNOWN]
    assert sorted(ids[1] for ids in found) == list(range(6681, 6693))
    assert all(len(ids) == 2 for ids in found)


@pytest.mark.parametrize("detection", ["script", "upstream"])
def test_real_requests_have_no_unknown_piece(
    tokenizer: LyricTokenizer, requests: list[dict[str, Any]], detection: str
) -> None:
    for request in requests:
        ids = tokenizer.ids(request["lyrics"], detection=detection)
        assert ids.count(tokenizer.unknown_id) == 0
        assert ids[0] == START
        assert len(ids) > len(request["lyrics"].split())
        assert advice(request["lyrics"]) == ()


def test_real_requests_are_read_in_their_language(tokenizer: LyricTokenizer, requests: list[dict[str, Any]]) -> None:
    for request in requests:
        language = "zh" if re.search("[\u4e00-\u9fff]", request["lyrics"]) else "en"
        assert tokenizer.ids(request["lyrics"]) == tokenizer.ids(request["lyrics"], language=language)


def test_real_lyrics_lose_no_line(tokenizer: LyricTokenizer, prompts: list[dict[str, Any]]) -> None:
    prefixes = {tokenizer.ids("la", language=language)[1] for language in SUPPORTED}
    for prompt in prompts:
        lines = [row for row in prompt["lyrics"].split("\n") if row.strip()]
        for detection in ("script", "upstream"):
            ids = tokenizer.ids(prompt["lyrics"], detection=detection)
            assert sum(i in prefixes for i in ids) >= len(lines)


@pytest.mark.parametrize("language", sorted(SUPPORTED))
def test_the_vocabulary_is_read_as_its_own_library_reads_it(tokenizer: LyricTokenizer, language: str) -> None:
    reference = Tokenizer.from_file(str(VOCABULARY))
    for line in (*UPSTREAM, *(line for line, *_ in NAMED if "[" not in line)):
        text = token_of(language) + clean(line, language).replace(" ", "[SPACE]")
        assert list(tokenizer.ids(line, language=language)[1:-1]) == reference.encode(text).ids
