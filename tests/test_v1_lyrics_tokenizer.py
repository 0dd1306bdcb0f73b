"""Lyrics become ids by the text of the tokens: layout, languages, and every fault a vocabulary file can have."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer

from acestep.constants import LANGUAGES
from acestep.errors import InputError, UnsupportedError, WeightsError
from acestep.v1.lyrics import SUPPORTED, LyricTokenizer
from acestep.v1.lyrics.languages import token_of
from acestep.v1.lyrics.tokenizer import NEEDED

from v1_lyrics_support import names, small_tokenizer, small_vocabulary, write_vocabulary

TOKEN = names(small_vocabulary())


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> LyricTokenizer:
    return small_tokenizer(tmp_path_factory.mktemp("lyrics"))


def read(tokenizer: LyricTokenizer, lyrics: str, **how: str) -> list[str]:
    return [TOKEN[i] for i in tokenizer.ids(lyrics, **how)]


def test_every_line_is_a_language_its_pieces_and_a_separator(tokenizer: LyricTokenizer) -> None:
    assert read(tokenizer, "[Verse]\nHello hell\n\nlo", language="en") == [
        *("[START]", "[en]", "[verse]", "[SPACE]"),
        *("[en]", "he", "llo", "[SPACE]", "he", "ll", "[SPACE]"),
        *("[SPACE]", "[en]", "lo", "[SPACE]"),
    ]


def test_lines_are_stripped_and_carriage_returns_are_no_text(tokenizer: LyricTokenizer) -> None:
    assert tokenizer.ids("  hello \r\n\t\r\nlo") == tokenizer.ids("hello\n\nlo")


@pytest.mark.parametrize("lyrics", ["", " ", "\n \n"])
def test_empty_lyrics_are_one_position_that_nobody_sings(tokenizer: LyricTokenizer, lyrics: str) -> None:
    ids = tokenizer.ids(lyrics)
    assert [TOKEN[i] for i in ids] == ["[STOP]"]
    assert not tokenizer.sings(ids)
    assert tokenizer.sings(tokenizer.ids("[inst]"))


@pytest.mark.parametrize("language", sorted(SUPPORTED))
def test_a_named_language_is_that_of_every_line_but_tags(tokenizer: LyricTokenizer, language: str) -> None:
    tokens = read(tokenizer, "[verse]\nhello\n你好", language=language)
    assert [token for token in tokens if token in NEEDED[4:]] == ["[en]", *[token_of(language)] * 2]


def test_chinese_has_two_codes_and_one_token(tokenizer: LyricTokenizer) -> None:
    assert tokenizer.ids("ni", language="zh") == tokenizer.ids("ni", language="zh-cn")
    assert "[zh-cn]" in read(tokenizer, "ni", language="zh")


@pytest.mark.parametrize("language", ["unknown", "yue", "sv", "th"])
def test_a_language_v1_does_not_know_leaves_detection(tokenizer: LyricTokenizer, language: str) -> None:
    assert language in LANGUAGES
    assert language not in SUPPORTED
    assert tokenizer.ids("привет\nhello", language=language) == tokenizer.ids("привет\nhello")


@pytest.mark.parametrize("how", [{"language": "xx"}, {"detection": "guess"}])
def test_unknown_choices_are_refused(tokenizer: LyricTokenizer, how: dict[str, str]) -> None:
    with pytest.raises(InputError, match="is unknown; choose one of"):
        tokenizer.ids("hello", **how)


def test_the_whole_line_of_a_tag_is_english(tokenizer: LyricTokenizer) -> None:
    assert read(tokenizer, "[verse] привет", language="ru")[1:4] == ["[en]", "[verse]", "[SPACE]"]


def test_what_the_vocabulary_lacks_is_unknown_and_the_line_stays(tokenizer: LyricTokenizer) -> None:
    assert read(tokenizer, "☃☃\nlo", language="en") == [
        *("[START]", "[en]", "[UNK]", "[UNK]", "[SPACE]", "[en]", "lo", "[SPACE]")
    ]
    assert TOKEN[tokenizer.unknown_id] == "[UNK]"


def test_control_tokens_cannot_be_typed(tokenizer: LyricTokenizer) -> None:
    tokens = read(tokenizer, "a [STOP] [START] [UNK]", language="en")
    assert tokens[0] == "[START]"
    assert not {"[STOP]", "[START]"} & set(tokens[1:])


def test_no_line_is_lost_whatever_is_typed(tokenizer: LyricTokenizer) -> None:
    rng = random.Random(8)
    ranges = [(32, 127), (0xA0, 0x250), (0x400, 0x460), (0x620, 0x650), (0x900, 0x970), (0x3041, 0x30FA)]
    ranges += [(0x4E00, 0x4F00), (0xAC00, 0xAD00), (0x2010, 0x2070), (0x1F600, 0x1F640)]
    signs = [chr(code) for first, last in ranges for code in range(first, last)] + list("0123456789.,$£€%°ºª-") * 30
    rows = ["x" + "".join(rng.choices(signs, k=rng.randrange(24))).replace(" ", "_") for _ in range(340)]
    for i, language in enumerate([*sorted(SUPPORTED), "unknown"]):
        some = rows[i::18]
        for detection in ("script", "upstream"):
            ids = tokenizer.ids("\n".join(some), language=language, detection=detection)
            assert sum(TOKEN[i] in NEEDED[4:] for i in ids) >= len(some)
            assert ids == tokenizer.ids("\n".join(some), language=language, detection=detection)


@pytest.mark.parametrize("sign", ["!", "1", "1 ", "1,", "$1", "1.", "(", '"', "1年", "我", "['", "a"])
def test_one_endless_line_is_read_in_time(tokenizer: LyricTokenizer, sign: str) -> None:
    """A pattern that backtracks over it would run for minutes."""
    line = (sign * 1500)[:1500]
    for language in ("en", "fr", "zh"):
        assert tokenizer.sings(tokenizer.ids(line, language=language))
    assert tokenizer.sings(tokenizer.ids(line, detection="upstream"))


def test_ids_follow_the_text_of_tokens(tokenizer: LyricTokenizer, tmp_path: Path) -> None:
    content = small_vocabulary(tokens=NEEDED[::-1])
    other, token = LyricTokenizer.load(write_vocabulary(content, tmp_path)), names(content)
    lyrics = "[Chorus]\nHello 你好\n\nпривет"
    assert [token[i] for i in other.ids(lyrics)] == read(tokenizer, lyrics)
    assert other.ids(lyrics) != tokenizer.ids(lyrics)


def test_the_file_is_read_as_its_format_says(tokenizer: LyricTokenizer, tmp_path: Path) -> None:
    path = write_vocabulary(whole(), tmp_path)
    reference = Tokenizer.from_file(str(path))
    for lyrics, language, text in (
        ("Hello verse", "en", "[en]hello[SPACE]verse"),
        ("[Verse]", "ru", "[en][verse]"),
        ("Привет☃  мир", "ru", "[ru]привет☃[SPACE]мир"),
        ("Ñ2ñ,'-x", "hi", "[hi]ñ2ñ,'-x"),
    ):
        assert list(tokenizer.ids(lyrics, language=language)[1:-1]) == reference.encode(text).ids
    assert tokenizer.size == reference.get_vocab_size() == len(TOKEN)


def whole() -> dict[str, Any]:
    """A vocabulary file with every field the reference reader insists on."""
    content = small_vocabulary()
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    content["added_tokens"] = sorted(({**flags, **token} for token in content["added_tokens"]), key=lambda t: t["id"])
    return content


@pytest.mark.parametrize("token", NEEDED)
def test_a_missing_token_is_named(tmp_path: Path, token: str) -> None:
    content = small_vocabulary(tokens=[needed for needed in NEEDED if needed != token])
    content["model"]["unk_token"] = "a"
    with pytest.raises(WeightsError, match=rf"lacks \{token[:-1]}\]\."):
        LyricTokenizer.load(write_vocabulary(content, tmp_path))


def change(*path: str, to: object) -> Callable[[dict[str, Any]], None]:
    def apply(content: dict[str, Any]) -> None:
        for key in path[:-1]:
            content = content[key]
        content[path[-1]] = to

    return apply


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (change("model", "type", to="WordPiece"), "no byte-pair model"),
        (change("model", "vocab", to=["a"]), "no byte-pair model"),
        (change("model", to=None), "no byte-pair model"),
        (change("model", "unk_token", to=None), "no byte-pair model"),
        (change("model", "unk_token", to="<unk>"), "unknown token <unk> is no piece"),
        (change("model", "vocab", "a", to=4000), "ids do not count from 0"),
        (change("model", "vocab", "a", to="0"), "ids do not count from 0"),
        (change("model", "fuse_unk", to=True), "fuse_unk is set"),
        (change("model", "merges", to=["a b"]), "the merge 'a b' is not of its pieces"),
        (change("model", "merges", to=[3]), "the merge 3 is not of its pieces"),
        (change("pre_tokenizer", to={"type": "ByteLevel"}), "white space alone"),
        (change("normalizer", to={"type": "NFC"}), "white space alone"),
        (change("post_processor", to={"type": "ByteLevel"}), "white space alone"),
        (change("added_tokens", to=None), "no content or id"),
        (change("added_tokens", to=[{"id": "0", "content": "[STOP]"}]), "no content or id"),
        (change("added_tokens", to=[{"id": 9000, "content": "[verse]"}]), r"other ids than it says for \[verse\]"),
    ],
)
def test_a_broken_vocabulary_is_told_in_words(
    tmp_path: Path, fault: Callable[[dict[str, Any]], None], message: str
) -> None:
    content = small_vocabulary()
    fault(content)
    with pytest.raises(WeightsError, match=message):
        LyricTokenizer.load(write_vocabulary(content, tmp_path))


@pytest.mark.parametrize("text", ["", "{", "[1]", "null", "[" * 100_000, "\x00"])
def test_a_file_of_something_else_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "vocab.json"
    path.write_text(text)
    with pytest.raises(WeightsError, match=r"is not (?:JSON|a JSON object)"):
        LyricTokenizer.load(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"cannot read .*vocab\.json \(No such file"):
        LyricTokenizer.load(tmp_path / "vocab.json")


@pytest.mark.parametrize(
    ("module", "lyrics", "language"),
    [("pypinyin", "我", "zh"), ("num2words", "1", "en")],
)
def test_a_missing_package_is_named_with_its_remedy(
    tokenizer: LyricTokenizer, monkeypatch: pytest.MonkeyPatch, module: str, lyrics: str, language: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)  # as if it were not installed
    with pytest.raises(UnsupportedError, match=rf"the package {module}; .*pip install 'acestep-cog\[v1\]'"):
        tokenizer.ids(lyrics, language=language)


def test_english_in_letters_needs_no_package(tokenizer: LyricTokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("py3langid.langid", "pypinyin", "hangul_romanize", "num2words", "cutlet", "unidic_lite"):
        monkeypatch.setitem(sys.modules, module, None)
    assert tokenizer.sings(tokenizer.ids("[verse]\nhello", language="en"))
