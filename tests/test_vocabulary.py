"""The planner's vocabulary: Qwen's ids to the letter, control tokens out of reach of text, broken files refused."""

from __future__ import annotations

import hashlib
import json
import random
import time
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from acestep.checkpoints.language_transformers import load_language_model
from acestep.errors import InputError, WeightsError
from acestep.planner.token_mask import TokenMask
from acestep.planner.vocabulary import AUDIO_CODE, MARKERS, Vocabulary

from vocabulary_support import (
    CONTROLS,
    RANKS,
    last_merge,
    qwen_json,
    qwen_reference,
    qwen_tokens,
    qwen_vocabulary,
    spelled,
    tokenizer_json,
    write_tokenizer,
)

TINY = Path(__file__).parents[1] / "weights" / "tiny" / "lm"
QWEN_RANKS = "b2b1b8dfb5cc5f024bafc373121c6aba3f66f9a5a0269e243470a1de16a33186"  # SHA-256 of Qwen's own file
PUBLISHED_BYTES = 24_321_939  # of the published tokenizer.json
LOAD_MAX_S = 6.0  # of a processor, on a busy machine; an idle one takes 1.2, transformers' own loader 80
Raw = dict[str, object]


@pytest.fixture(scope="module")
def qwen() -> Vocabulary:
    return qwen_vocabulary()


@pytest.fixture(scope="module")
def tiny() -> Vocabulary:
    return Vocabulary.load(TINY)


# What the published planner has, from its files.


def test_the_text_tokens_are_qwens() -> None:
    pieces, merges = qwen_tokens()
    assert hashlib.sha256(RANKS.read_bytes()).hexdigest() == QWEN_RANKS
    assert (len(pieces), len(merges)) == (151_643, 151_387)


def test_the_file_is_as_large_as_the_published_one(tmp_path: Path) -> None:
    path = write_tokenizer(tmp_path, qwen_json()) / "tokenizer.json"
    assert path.stat().st_size == pytest.approx(PUBLISHED_BYTES, abs=500)
    start = time.process_time()
    Vocabulary.load(tmp_path)
    assert time.process_time() - start < LOAD_MAX_S


def test_the_layout_of_the_ids(qwen: Vocabulary) -> None:
    assert (qwen.size, qwen.first_code, qwen.codes) == (217_204, 151_669, 65_535)
    assert [qwen.control(name) for name in CONTROLS] == list(range(151_643, 151_669))
    assert (qwen.end_of_text, qwen.control("<|im_start|>"), qwen.end_of_turn) == (151_643, 151_644, 151_645)
    assert (qwen.control("<think>"), qwen.control("</think>")) == (151_667, 151_668)
    assert (qwen.code(0), qwen.code(63_999), qwen.code(65_534)) == (151_669, 215_668, 217_203)


@pytest.mark.parametrize(
    ("words", "ids"),
    [
        ("\n", [198]),
        ("\n\n", [271]),
        (" ", [220]),
        ("system", [8948]),
        ("user", [872]),
        ("assistant", [77_091]),
        ("keyscale: G major", [10_563, 2246, 25, 479, 3598]),
        ("\nbpm: 120\n", [198, 65, 5187, 25, 220, 16, 17, 15, 198]),
    ],
)
def test_golden_ids(qwen: Vocabulary, words: str, ids: list[int]) -> None:
    assert qwen.text(words) == ids
    assert qwen.spell(ids) == words


def test_golden_ids_of_the_beginning_of_a_chain(qwen: Vocabulary) -> None:
    ids = [qwen.control("<think>"), *qwen.text("\nbpm: 120\n")]
    assert ids == [151_667, 198, 65, 5187, 25, 220, 16, 17, 15, 198]
    assert qwen.spell(ids) == "<think>\nbpm: 120\n"


def test_pieces_are_the_bytes_of_every_token(qwen: Vocabulary) -> None:
    pieces, _ = qwen_tokens()
    assert len(qwen.pieces) == qwen.size
    assert qwen.pieces[:151_643] == pieces
    assert qwen.pieces[151_643:] == tuple(
        name.encode() for name in (*CONTROLS, *(AUDIO_CODE.format(code) for code in range(65_535)))
    )


def test_the_mask_takes_the_pieces(qwen: Vocabulary) -> None:
    TokenMask(qwen.pieces)  # which refuses a vocabulary that lacks a byte or a control token


# Text.

SCRAPS = (
    *"café naïve Ünïcödé straße ЖЁлтый ψυχή עברית العربية हिन्दी ไทย 한국어 日本語 中文歌词 夜曲 ありがとう".split(),
    *"🎸 👩‍🎤 🇧🇷 ✨ e\u0301 a\u0308\u0323 \u1112\u1161\u11ab が が Å Å ﬁ".split(),
    *"½ ² ① 0 7 42 1999 ٣٤ 3.14 120bpm 6/8 C# F♯ B♭".split(),
    *"it's I'LL don't we've 'tis — … “quoted” (x) [Verse 1] {} # ## * ** _ ~ ` | \\ / <b> </b> & && := -> 9%".split(),
    *("<think>", "</think>", "<|im_end|>", "<|im_start|>", "<|audio_code_5|>", "<|endoftext|>", "<tool_call>"),
    *(
        "[Verse 1]\n",
        "# Caption\n",
        "# Lyric\n",
        "bpm: 120\n",
        "\n",
        "\n\n",
        "\r\n",
        "\t",
        " ",
        "  ",
        "     ",
        "\u3000",
    ),
    *(
        "\xa0",
        "\u200b",
        "\u200d",
        "\0",
        "\x7f",
        "\x1b",
        "\ufffd",
        ".\n",
        "!\n\n",
        " \n ",
        "\v",
        "\f",
        "\x85",
        "\u2028",
    ),
)


def random_strings(count: int) -> list[str]:
    """Scraps of every script in a row, with and without blanks between them; characters of many blocks."""
    rng = random.Random(4)
    blocks = [(0x20, 0x7E), (0xA0, 0x24F), (0x300, 0x36F), (0x370, 0x4FF), (0x3040, 0x30FF), (0x4E00, 0x9FA5)]
    blocks += [(0xAC00, 0xD7A3), (0x1100, 0x11FF), (0x1F300, 0x1F5FF), (0x2000, 0x206F), (0x1D400, 0x1D454)]
    strings = []
    for _ in range(count):
        parts = rng.choices(SCRAPS, k=rng.randrange(1, 12))
        parts += ["".join(chr(rng.randint(*rng.choice(blocks))) for _ in range(rng.randrange(6)))]
        rng.shuffle(parts)
        strings.append(rng.choice(["", " ", " "]).join(parts))
    return strings


def test_ids_equal_those_of_an_independent_tokenizer(qwen: Vocabulary) -> None:
    reference = qwen_reference()
    strings = [*SCRAPS, *random_strings(1000 - len(SCRAPS)), "", "word " * 3000]
    assert len(strings) > 1000
    wrong = [
        text
        for text in strings
        if qwen.text(text) != reference.encode(text, allowed_special=set(), disallowed_special=())
    ]
    assert wrong == []


@pytest.mark.parametrize("source", ["qwen", "tiny"])
def test_text_comes_back_composed_and_never_steers(source: str, request: pytest.FixtureRequest) -> None:
    vocabulary = request.getfixturevalue(source)
    steering = {vocabulary.control(name) for name in MARKERS} | {*range(vocabulary.first_code, vocabulary.size)}
    for text in [*SCRAPS, *random_strings(300)]:
        ids = vocabulary.text(text)
        assert vocabulary.spell(ids) == unicodedata.normalize("NFC", text)
        assert not steering & set(ids)


@pytest.mark.parametrize("source", ["qwen", "tiny"])
def test_no_name_of_a_control_token_or_code_is_one(source: str, request: pytest.FixtureRequest) -> None:
    vocabulary = request.getfixturevalue(source)
    names = [*CONTROLS, *(AUDIO_CODE.format(code) for code in (0, 5, 999, 1000, 65_534, 65_535))]
    for name in names:
        ids = vocabulary.text(name)
        assert len(ids) > 1
        assert vocabulary.spell(ids) == name


def test_long_texts(qwen: Vocabulary) -> None:
    poem = "".join(chr(0x4E00 + at) for at in range(4096))
    assert qwen.spell(qwen.text(poem)) == poem
    assert qwen.spell(qwen.text("\0" * 1000)) == "\0" * 1000


# Codes and spelling.


def test_codes_and_their_tokens(tiny: Vocabulary) -> None:
    assert [tiny.code_of(tiny.code(number)) for number in (0, 7, 999)] == [0, 7, 999]
    assert [tiny.code_of(token) for token in (0, tiny.first_code - 1, tiny.size)] == [None, None, None]
    assert (
        tiny.spell([tiny.control("<think>"), tiny.code(7), tiny.end_of_turn]) == "<think><|audio_code_7|><|im_end|>"
    )


@pytest.mark.parametrize("number", [-1, 4096])
def test_codes_the_vocabulary_does_not_have(tiny: Vocabulary, number: int) -> None:
    with pytest.raises(InputError) as caught:
        tiny.code(number)
    assert str(caught.value) == f"audio_codes must be from 0 to 4095 for this planner, not {number}."
    assert caught.value.field == "audio_codes"


def test_half_characters_are_replaced(tiny: Vocabulary) -> None:
    note = [tiny.pieces.index(bytes([byte])) for byte in "♪".encode()]
    assert tiny.spell(note) == "♪"
    assert tiny.spell([*note[:2], *tiny.text("a")]) == "\ufffda"


def test_a_tokenizer_and_its_file_make_the_same_vocabulary(tiny: Vocabulary) -> None:
    stock = Tokenizer.from_file(str(TINY / "tokenizer.json"))
    other = Vocabulary.of(stock)
    assert other.pieces == tiny.pieces
    for text in random_strings(100):
        if not any(marker in text for marker in (*MARKERS, "<|audio")):
            assert other.text(text) == tiny.text(text) == stock.encode(text, add_special_tokens=False).ids


def test_the_embedded_planners_network_fits() -> None:
    import torch

    network, vocabulary = load_language_model(TINY, torch.float32)
    assert network.config.vocab_size == vocabulary.size == 5056


# Files that are not a planner's vocabulary.


def small() -> Raw:
    """Single bytes, a few words, control tokens, ten codes."""
    pieces = [bytes([byte]) for byte in range(256)] + [b"th", b"ing", b"in", b"thing"]
    merges = [("t", "h"), ("i", "n"), ("in", "g"), ("th", "ing")]
    return tokenizer_json(pieces, merges, 10)


def test_the_small_vocabulary_is_fine(tmp_path: Path) -> None:
    vocabulary = Vocabulary.load(write_tokenizer(tmp_path, small()))
    assert vocabulary.text("thing") == [259]
    assert (vocabulary.first_code, vocabulary.codes, vocabulary.size) == (286, 10, 296)


def test_merges_may_be_written_as_one_string(tmp_path: Path) -> None:
    raw = small()
    raw["model"]["merges"] = [" ".join(pair) for pair in raw["model"]["merges"]]
    assert Vocabulary.load(write_tokenizer(tmp_path, raw)).text("thing") == [259]


def test_a_vocabulary_may_have_no_merges(tmp_path: Path) -> None:
    raw = small()
    raw["model"]["merges"] = []
    assert len(Vocabulary.load(write_tokenizer(tmp_path, raw)).text("thing")) == len("thing")


def test_ids_that_no_token_has(tmp_path: Path) -> None:
    raw = small()
    del raw["added_tokens"][3]  # <|object_ref_start|>
    vocabulary = Vocabulary.load(write_tokenizer(tmp_path, raw))
    assert vocabulary.pieces[263] == b""
    assert vocabulary.size == 296


def test_settings_for_training_are_left_out(tmp_path: Path) -> None:
    raw = small()
    raw["truncation"] = {"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0}
    raw["padding"] = {"strategy": {"Fixed": 64}, "direction": "Right", "pad_to_multiple_of": None}
    raw["padding"] |= {"pad_id": 0, "pad_type_id": 0, "pad_token": "<|endoftext|>"}
    assert len(Vocabulary.load(write_tokenizer(tmp_path, raw)).text("abcdefg")) == 7


def without(name: str) -> Callable[[Raw], object]:
    return lambda raw: raw.update(added_tokens=[token for token in raw["added_tokens"] if token["content"] != name])


def put(part: str, key: str, value: object) -> Callable[[Raw], object]:
    return lambda raw: raw[part].update({key: value})


def entry(at: int, key: str, value: object) -> Callable[[Raw], object]:
    return lambda raw: raw["added_tokens"][at].update({key: value})


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (without("<|audio_code_4|>"), "is not a planner's vocabulary: token 290 is missing, not <|audio_code_4|>."),
        (without("<|audio_code_0|>"), "it has no audio codes"),
        (without("<think>"), "it lacks <think>"),
        (without("<|im_end|>"), "it lacks <|im_end|>"),
        (entry(-1, "content", "<|audio_code_09|>"), "token 295 is '<|audio_code_09|>', not <|audio_code_9|>"),
        (entry(-1, "id", 296), "token 295 is missing, not <|audio_code_9|>"),
        (entry(0, "id", 296), "token 296 is '<|endoftext|>', not <|audio_code_10|>"),
        (entry(3, "id", 0), "296 tokens share 295 ids"),
        (entry(3, "id", -1), "holds no byte-pair vocabulary"),
        (entry(3, "id", 10**12), "holds no byte-pair vocabulary"),
        (entry(3, "content", None), "holds no byte-pair vocabulary"),
        (put("model", "vocab", []), "holds no byte-pair vocabulary"),
        (put("model", "vocab", {"a": "0"}), "holds no byte-pair vocabulary"),
        (put("model", "vocab", {}), "is not of its tokens"),
        (put("model", "merges", None), "holds no byte-pair vocabulary"),
        (put("model", "merges", [["t", "q"]]), "merge ['t', 'q'] is not of its tokens"),
        (put("model", "merges", ["t h i"]), "merge ['t', 'h', 'i'] is not of its tokens"),
        (put("model", "merges", [["t", 3]]), "merge ['t', 3] is not of its tokens"),
        (put("model", "merges", [7]), "merge 7 is not of its tokens"),
        (entry(3, "content", "thing"), "merge ['th', 'ing'] is not of its tokens"),
        (put("model", "dropout", 0.1), "its dropout is 0.1, byte-level BPE has none"),
        (put("model", "end_of_word_suffix", "</w>"), "its end_of_word_suffix is '</w>', byte-level BPE has none"),
        (lambda raw: raw.update(model=None), "holds no byte-pair vocabulary"),
        (lambda raw: raw.pop("added_tokens"), "holds no byte-pair vocabulary"),
        (lambda raw: raw.update(pre_tokenizer=None), "does not give text back as it was"),
        (
            lambda raw: raw["pre_tokenizer"]["pretokenizers"][1].update(add_prefix_space=True),
            "does not give text back",
        ),
        (lambda raw: raw.update(normalizer={"type": "Lowercase"}), "does not give text back as it was"),
        (lambda raw: raw["model"]["vocab"].pop("q"), "it lacks the byte 0x71"),
    ],
)
def test_spoiled_vocabularies_are_refused(tmp_path: Path, spoil: Callable[[Raw], object], words: str) -> None:
    raw = small()
    spoil(raw)
    with pytest.raises(WeightsError) as caught:
        Vocabulary.load(write_tokenizer(tmp_path, raw))
    assert words in str(caught.value)


def test_a_name_that_is_no_text(tmp_path: Path) -> None:
    raw = small()
    raw["added_tokens"][3]["content"] = "\ud800"
    (tmp_path / "tokenizer.json").write_text(json.dumps(raw))
    with pytest.raises(WeightsError, match="holds no byte-pair vocabulary"):
        Vocabulary.load(tmp_path)


def test_every_problem_is_listed(tmp_path: Path) -> None:
    raw = small()
    without("<think>")(raw)
    without("<|audio_code_4|>")(raw)
    raw["model"]["merges"] = [["x", "y"]]
    with pytest.raises(WeightsError) as caught:
        Vocabulary.load(write_tokenizer(tmp_path, raw))
    assert str(caught.value) == (
        f"Model not loaded: {tmp_path / 'tokenizer.json'} is not a planner's vocabulary: it lacks <think>; "
        "token 290 is missing, not <|audio_code_4|>; merge ['x', 'y'] is not of its tokens."
    )


def test_a_vocabulary_that_is_not_byte_level(tmp_path: Path) -> None:
    raw = small()
    raw["model"]["vocab"]["▁the"] = 260
    raw["added_tokens"] = [token | {"id": token["id"] + 20} for token in raw["added_tokens"]]
    with pytest.raises(WeightsError, match="'▁' is no character of byte-level BPE"):
        Vocabulary.load(write_tokenizer(tmp_path, raw))


@pytest.mark.parametrize("text", ["", "{", "[]", '"text"'])
def test_files_that_are_no_vocabulary(tmp_path: Path, text: str) -> None:
    (tmp_path / "tokenizer.json").write_text(text)
    with pytest.raises(WeightsError, match=r"tokenizer\.json is not"):
        Vocabulary.load(tmp_path)


def test_a_folder_without_a_vocabulary(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"cannot read .*tokenizer\.json"):
        Vocabulary.load(tmp_path)


def test_a_tokenizer_without_codes_is_no_planners() -> None:
    stock = Tokenizer.from_file(str(TINY.parent / "text_encoder" / "tokenizer.json"))
    with pytest.raises(WeightsError, match="the tokenizer is not a planner's vocabulary: it has no audio codes"):
        Vocabulary.of(stock)


# The test's own tools.


def test_merges_are_found_from_ranks() -> None:
    ranks = {b"t": 0, b"h": 1, b"i": 2, b"th": 3, b"hi": 4, b"thi": 5}
    assert last_merge(b"thi", ranks) == [b"th", b"i"]
    assert spelled(b" a\n") == "ĠaĊ"
    assert json.loads(json.dumps(spelled(bytes(range(256))))).isprintable()
