"""Masks over whole vocabularies: equal to asking for every token, and every random walk is a valid song plan."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from functools import cache

import pytest
from tokenizers import Tokenizer

from acestep.cogrun.schema import PROJECT
from acestep.constants import KEYSCALES, LANGUAGES
from acestep.errors import WeightsError
from acestep.planner.answers import OPEN, codes_grammar, planning_grammar, writing_grammar
from acestep.planner.chain import FIELDS, ChainOfThought, read_chain, read_lyrics, write_chain
from acestep.planner.grammar import Grammar, State, code_of, is_control
from acestep.planner.token_mask import TokenMask, byte_pieces
from acestep.planner.vocabulary import AUDIO_CODE, MARKERS

CODEBOOK = 8
CONTROLS = [marker.encode() for marker in MARKERS] + [b"<tool_call>", b"<|vision_pad|>"]
CODES = [AUDIO_CODE.format(code).encode() for code in range(CODEBOOK + 3)]
SINGLE = [bytes([byte]) for byte in range(256)]
TINY = PROJECT / "weights" / "tiny" / "lm" / "tokenizer.json"


def sample_text(rng: random.Random) -> bytes:
    words = ["soft", "Café", "音楽", "😀", "it's", "no:", " #", "♯", "[Verse]\n\nla", "`", "\n  on", "\t", '"']
    caption = " ".join(rng.choices(words, k=rng.randrange(1, 9)))
    chain = ChainOfThought(rng.randint(30, 300), caption, rng.randint(10, 600), "pop", rng.choice(KEYSCALES))
    return (write_chain(chain) + f"\nlanguage: {rng.choice(LANGUAGES)}\ntimesignature: 4\n\n").encode()


def random_vocabulary(rng: random.Random, size: int) -> list[bytes]:
    """Single bytes, and fragments of chains cut anywhere: across borders of fields, in the middle of characters."""
    pieces = set(SINGLE)
    while len(pieces) < size:
        text = sample_text(rng)
        start = rng.randrange(len(text) - 1)
        pieces.add(text[start : start + rng.randrange(1, 14)])
    ordinary = sorted(piece for piece in pieces if not is_control(piece))
    vocabulary = [*ordinary, *CONTROLS, *CODES, b"", b""]
    rng.shuffle(vocabulary)
    return vocabulary


@cache
def tiny_pieces() -> tuple[bytes, ...]:
    tokenizer = Tokenizer.from_file(str(TINY))
    return tuple(byte_pieces(tokenizer.id_to_token(token) for token in range(tokenizer.get_vocab_size())))


Builder = Callable[[random.Random], Grammar]
BUILDERS: dict[str, Builder] = {
    "plan": lambda rng: planning_grammar(given(rng), left_out(rng), caption_pieces=rng.randrange(1, 30)),
    "write": lambda rng: writing_grammar(
        given(rng), left_out(rng), caption_pieces=9, lyrics_pieces=rng.randrange(30)
    ),
    "codes": lambda rng: codes_grammar(rng.uniform(0.1, 9), CODEBOOK),
    "open codes": lambda rng: codes_grammar(None, CODEBOOK, longest_s=11),
}


def left_out(rng: random.Random) -> list[str]:
    return rng.sample(FIELDS, rng.choice([0, 0, 1, 3]))


def given(rng: random.Random) -> ChainOfThought:
    texts = ["", "", "a: b # c", "音楽's\n\nline", "tab\t", "long " * 50, "</think> <|im_end|>", '"', "- é"]
    return ChainOfThought(
        bpm=rng.choice([None, 30, 300, 97]),
        caption=rng.choice(texts),
        duration=rng.choice([None, 10, 60, 600]),
        genres=rng.choice(["", "", "pop"]),
        keyscale=rng.choice(["", *KEYSCALES]),
        language=rng.choice(["", "no", "unknown"]),
        timesignature=rng.choice(["", "4", "5/4", "7/8"]),
    )


def slowly(state: State, vocabulary: list[bytes]) -> set[int]:
    """The tokens a state allows, asked one by one; of text without a choice only the longest."""
    found = {token for token, piece in enumerate(vocabulary) if state.allowed(piece)}
    run = state.forced(32)
    if run:
        spelling = [token for token in found if run.startswith(vocabulary[token])]
        return {max(spelling, key=lambda token: len(vocabulary[token]))}
    return found


def walk(grammar: Grammar, mask: TokenMask, vocabulary: list[bytes], rng: random.Random) -> list[bytes]:
    """Draw tokens until the answer is finished."""
    state, written = grammar.start, []
    while not state.is_finished:
        allowed = mask.allowed(state)
        assert len(allowed) == len(set(allowed)) > 0, f"a dead end in {state.where} after {written[-5:]}"
        written.append(vocabulary[rng.choice(allowed)])
        state = state.advance(written[-1])
        assert len(written) < 4000
    assert len(mask.allowed(state)) == 0
    return written


@pytest.mark.parametrize("name", BUILDERS)
def test_masks_are_what_asking_for_each_token_gives(name: str) -> None:
    for seed in range(6):
        rng = random.Random(seed)
        vocabulary = random_vocabulary(rng, 900)
        mask = TokenMask(vocabulary)
        state = BUILDERS[name](rng).start
        while not state.is_finished:
            allowed = mask.allowed(state)
            assert set(allowed) == slowly(state, vocabulary), state
            state = state.advance(vocabulary[rng.choice(allowed)])


@pytest.mark.parametrize("kind", ["random", "tiny"])
def test_every_random_walk_is_a_plan_with_the_forced_values(kind: str) -> None:
    for seed in range(150):
        rng = random.Random(seed)
        vocabulary = random_vocabulary(rng, 600) if kind == "random" else list(tiny_pieces())
        wanted, omitted = given(rng), left_out(rng)
        written = walk(planning_grammar(wanted, omitted, caption_pieces=12), TokenMask(vocabulary), vocabulary, rng)
        read = read_chain(b"".join(written).decode())
        assert read.problems == ()
        expected = {name for name in FIELDS if name in wanted.decided() or name not in {*omitted, "genres"}}
        assert set(read.chain.decided()) == expected
        assert {name: getattr(read.chain, name) for name in wanted.decided()} == wanted.decided()
        assert planning_grammar(read.chain, FIELDS).segments  # in range: a plan that was read can be forced


def test_every_written_song_has_a_chain_and_lyrics() -> None:
    seen = set()
    for seed in range(150):
        rng = random.Random(seed)
        vocabulary = random_vocabulary(rng, 600)
        wanted = given(rng)
        grammar = writing_grammar(wanted, caption_pieces=8, lyrics_pieces=15)
        written = walk(grammar, TokenMask(vocabulary), vocabulary, rng)
        answer = b"".join(written).decode()
        read = read_chain(answer)
        assert read.problems == ()
        assert set(read.chain.decided()) == set(FIELDS)
        assert written[-1] == b"<|im_end|>"
        assert not read_lyrics(answer).endswith("<|im_end|>")
        assert not any(map(is_control, written[written.index(b"</think>") + 1 : -1]))
        seen.add(read_lyrics(answer))
    assert len(seen) > 50


@pytest.mark.parametrize("duration", [0.1, 1, 7.77, 10, 33.3, 600])
def test_walks_of_codes_have_the_songs_length(duration: float) -> None:
    vocabulary = list(tiny_pieces())
    size = 1 + max(code for piece in vocabulary if (code := code_of(piece)) is not None)
    mask = TokenMask(vocabulary)
    written = walk(codes_grammar(duration, size), mask, vocabulary, random.Random(1))
    assert len(written) == -(-round(duration * 1000) // 200) + 1
    assert all(code_of(piece) is not None for piece in written[:-1])
    assert set(mask.allowed(codes_grammar(duration, size - 1).start)) == set(
        mask.allowed(codes_grammar(duration, size).start)
    ) - {vocabulary.index(AUDIO_CODE.format(size - 1).encode())}


def test_forced_text_is_spelled_with_the_longest_tokens_and_never_with_control_tokens() -> None:
    vocabulary = [*SINGLE, b"\nbpm", b"\nbp", b": ", b": 1", *CONTROLS]
    mask = TokenMask(vocabulary)
    state = planning_grammar(ChainOfThought(120, "</think>"), FIELDS).start
    spelled = []
    while not state.is_finished:
        (token,) = mask.allowed(state)
        spelled.append(vocabulary[token])
        state = state.advance(spelled[-1])
    assert spelled[:4] == [b"<think>", b"\nbpm", b": 1", b"2"]
    assert spelled.count(b"</think>") == 1 == len(spelled) - spelled.index(b"</think>")
    assert b"".join(spelled) == b"<think>\nbpm: 120\ncaption: </think>\n</think>"


def test_blanks_join_the_word_behind_a_name() -> None:
    vocabulary = [*SINGLE, b" G", b" Dreamy", b" \n", b"  x", *CONTROLS]
    state = planning_grammar().start.advance(b"<think>").advance(b"\nbpm: 30\ncaption:")
    assert {vocabulary[token] for token in TokenMask(vocabulary).allowed(state)} == {b" ", b" G", b" Dreamy"}


def test_bytes_come_out_of_byte_level_spelling() -> None:
    data = json.loads(TINY.read_text())
    tokenizer = Tokenizer.from_file(str(TINY))
    pieces = tiny_pieces()
    assert set(SINGLE) <= set(pieces)
    for text in ["bpm: 120\n", "keyscale: F♯ minor", "Café 音楽 😀", "a\tb\x00c"]:
        assert b"".join(pieces[token] for token in tokenizer.encode(text).ids) == text.encode()
    assert {pieces[token["id"]] for token in data["added_tokens"]} >= {marker.encode() for marker in MARKERS}
    with pytest.raises(WeightsError, match=re.escape("'音' is no character of byte-level BPE")):
        byte_pieces(["a", "音"])


@pytest.mark.parametrize(
    ("vocabulary", "named"),
    [
        ([*SINGLE], "<think>, </think>, <|im_end|>"),
        ([*SINGLE[:0x41], *SINGLE[0x42:], *CONTROLS], "the byte 0x41"),
        ([b"a", *CONTROLS[:3]], "<think>, </think>, the byte 0x0A"),
    ],
)
def test_vocabularies_that_could_not_end_a_text_are_refused(vocabulary: list[bytes], named: str) -> None:
    with pytest.raises(WeightsError, match=re.escape(f"it lacks {named}.")):
        TokenMask(vocabulary)


def test_codes_the_vocabulary_does_not_have_are_refused() -> None:
    mask = TokenMask([*SINGLE, *CONTROLS, *CODES[:5]])
    with pytest.raises(WeightsError, match="the codebook has 8 codes, but no token is code 5"):
        mask.allowed(codes_grammar(10, CODEBOOK).start)


def test_answers_are_remembered_within_bounds() -> None:
    vocabulary = random_vocabulary(random.Random(1), 400)
    mask = TokenMask(vocabulary, remembered=3000)
    rooms = []
    for seed in range(40):
        walk(planning_grammar(caption_pieces=3), mask, vocabulary, random.Random(seed))
        rooms.append(sum(len(answer) for answer in mask._answers.values()))
    assert max(rooms) <= 3000
    assert len(mask._answers) > 2
    first, second = planning_grammar(), planning_grammar()
    assert first is not second
    assert mask.allowed(first.start) is mask.allowed(second.start)


def test_a_word_that_may_go_on_in_several_ways_is_not_begun_for_the_model() -> None:
    """Behind "G#" only " m" can follow, but a vocabulary writes " major" or " minor" in one piece."""
    vocabulary = [*tiny_pieces(), b" major", b" minor"]
    state = planning_grammar(ChainOfThought(bpm=90, caption="x", duration=30)).start.advance(b"<think>")
    for piece in (b"\n", b"bpm:", b" 90", b"\n", b"caption:", b" x", b"\n", b"duration:", b" 30", b"\n"):
        state = state.advance(piece)
    state = state.advance(b"keyscale:").advance(b" G").advance(b"#")
    assert state.forced() == b""
    allowed = {vocabulary[token] for token in TokenMask(vocabulary).allowed(state)}
    assert {b" major", b" minor", b" m"} <= allowed
    assert state.advance(b" minor").forced() == b"\nlanguage:"


def test_forced_text_is_spelled_as_the_vocabulary_spells_it() -> None:
    """A tokenizer writes "bpm" as b, pm although it has bp, which is longer than b."""
    vocabulary = [*tiny_pieces(), b"bp", b"pm"]
    state = planning_grammar(OPEN).start.advance(b"<think>").advance(b"\n")
    longest = TokenMask(vocabulary).allowed(state)
    assert vocabulary[longest[0]].startswith(b"bp")
    one, two = vocabulary.index(b"b"), vocabulary.index(b"pm")
    mask = TokenMask(vocabulary, lambda text: [one, two] if text.startswith("bpm") else [two])
    assert list(mask.allowed(state)) == [one]
    assert list(mask.allowed(state.advance(b"b"))) == [two]
