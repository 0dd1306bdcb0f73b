"""The lyric alignment score and lyric times: against slow references, and on attention whose truth is known."""

from __future__ import annotations

from dataclasses import asdict, astuple, dataclass
from itertools import pairwise

import numpy as np
import pytest
from tokenizers import Tokenizer

from acestep.cogrun.schema import PROJECT
from acestep.scoring.alignment import Alignment, align, dtw, scaled, tag_rows
from acestep.scoring.timestamps import TimedLine, evidence, timed_lines, token_texts

FRAME_S = 0.08
HEADS = 7


# --- Slow references, written from the fact sheet ------------------------------------------------------------------
def slow_dtw(cost: np.ndarray) -> tuple[list[int], list[int]]:
    """Cell by cell, column by column, in fp32 with borders of infinity."""
    height, width = cost.shape
    sums = np.full((height + 1, width + 1), np.inf, np.float32)
    sums[0, 0] = 0
    came: dict[tuple[int, int], str] = {}
    for j in range(1, width + 1):
        for i in range(1, height + 1):
            diagonal, up, left = sums[i - 1, j - 1], sums[i - 1, j], sums[i, j - 1]
            if diagonal < up and diagonal < left:
                best, way = diagonal, "diagonal"
            elif up < diagonal and up < left:
                best, way = up, "up"
            else:
                best, way = left, "left"
            sums[i, j] = np.float64(cost[i - 1, j - 1]) + np.float64(best)
            came[i, j] = way
    i, j = height, width
    walk = []
    while i > 0 or j > 0:
        walk.append((i - 1, j - 1))
        way = "left" if i == 0 else "up" if j == 0 else came[i, j]
        i, j = i - (way != "left"), j - (way != "up")
    rows, columns = zip(*reversed(walk), strict=True)
    return list(rows), list(columns)


def slow_alignment(attention: np.ndarray, tags: list[bool]) -> Alignment:
    mean = attention.astype(np.float32).mean(axis=0)
    span = mean.max() - mean.min()
    energy = (mean - mean.min()) / span if span > 1e-9 else mean * 0
    rows, columns = slow_dtw((-(energy**2)).astype(np.float32))
    sung = [row for row, tag in enumerate(tags) if not tag]
    coverage = sum(max(energy[row]) > 0.1 for row in sung) / len(sung)
    centres = []
    for row in sung:
        weights = {frame: float(value) for frame, value in enumerate(energy[row]) if value > 0.01}
        if sum(weights.values()) > 1e-9:
            centres.append(sum(frame * weight for frame, weight in weights.items()) / sum(weights.values()))
    pairs = list(pairwise(centres))
    monotonicity = sum(after >= before - 9 for before, after in pairs) / len(pairs) if pairs else 1.0
    confidence = float(np.mean([float(energy[row, column]) for row, column in zip(rows, columns, strict=True)]))
    score = round(min(max(coverage**2 * monotonicity**2 * confidence, 0.0), 1.0), 4)
    return Alignment(score, coverage, monotonicity, confidence)


def slow_evidence(attention: np.ndarray) -> np.ndarray:
    def softmax(values: np.ndarray, axis: int) -> np.ndarray:
        powers = np.exp(values - values.max(axis, keepdims=True))
        return powers / powers.sum(axis, keepdims=True)

    weights = attention.astype(np.float64)
    sharp = softmax(weights, 2) * softmax(weights, 1)
    sharp = np.maximum(sharp - 2.0 * np.quantile(sharp, 0.5, axis=2, keepdims=True), 0)
    sharp = np.maximum(sharp - 2.0 * np.quantile(sharp, 0.5, axis=1, keepdims=True), 0) ** 2
    return ((sharp - sharp.mean()) / (sharp.std() + 1e-9)).mean(0)


# --- Songs whose truth is known -------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Sung:
    """Texts of tokens, the frames (from, to) each is sung in or None, the frame each sung line starts in, frames."""

    texts: list[str]
    spans: list[tuple[int, int] | None]
    starts: list[int]
    frames: int


def sing(random: np.random.Generator, pause: tuple[int, int] = (0, 40)) -> Sung:
    """Verses of four lines of a few words, each with tags nobody sings, breaths or solos between the lines."""
    texts, spans, starts, now = [], [], [], int(random.integers(5, 60))
    for number in range(int(random.integers(6, 13))):
        if number % 4 == 0:
            texts += ["[", "Verse", "]\n"]
            spans += [None] * 3
        starts.append(now)
        for word in range(int(random.integers(4, 10))):
            length = int(random.integers(2, 7))
            texts.append(f" w{word}")
            spans.append((now, now + length))
            now += length
        texts.append("\n")
        spans.append(None)
        now += int(random.integers(*pause))
    return Sung(texts, spans, starts, now + int(random.integers(5, 60)))


def attention_of(
    random: np.random.Generator, tokens: int, frames: int, seen: list[tuple[int, tuple[int, int], float]]
) -> np.ndarray:
    """Softmax over lyric tokens and all that else is in the prompt; ``seen`` holds (token, frames, how strongly)."""
    logits = 1.2 * random.standard_normal((HEADS, tokens, frames))
    clock = np.arange(frames)
    for token, (start, stop), strength in seen:
        outside = np.maximum(np.maximum(start - clock, clock - (stop - 1)), 0)
        logits[:, token] += 6.0 * strength * np.exp(-0.5 * outside**2)
    powers = np.exp(logits)
    others = np.exp(3.0 + 1.2 * random.standard_normal((HEADS, 1, frames))) * tokens**0.5
    return (powers / (powers.sum(1, keepdims=True) + others)).astype(np.float32)


def correct(random: np.random.Generator, song: Sung) -> np.ndarray:
    seen = [(token, span, 1.0) for token, span in enumerate(song.spans) if span]
    return attention_of(random, len(song.texts), song.frames, seen)


def foreign(random: np.random.Generator, song: Sung) -> np.ndarray:
    """The music sings other words: each sounds a little like some token of these lyrics, no matter where."""
    words = [token for token, span in enumerate(song.spans) if span]
    seen = [(int(random.choice(words)), span, float(random.uniform(0.3, 1.0))) for span in song.spans if span]
    return attention_of(random, len(song.texts), song.frames, seen)


def shuffled(random: np.random.Generator, song: Sung, attention: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """The same song, read with its lines in another order."""
    line_of = np.cumsum([0, *("\n" in text for text in song.texts[:-1])])
    rank = random.permutation(line_of.max() + 1)
    order = np.argsort(rank[line_of], kind="stable")
    return attention[:, order], [song.texts[token] for token in order]


# --- The path -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("seed", range(60))
def test_the_path_is_that_of_the_slow_reference_ties_included(seed: int) -> None:
    random = np.random.default_rng(seed)
    for kind in ("ties", "zeros and ones", "fp32", "fp64"):
        height, width = random.integers(1, 20, 2)
        cost = {
            "ties": -random.integers(0, 3, (height, width)).astype(np.float64),
            "zeros and ones": random.integers(0, 2, (height, width)).astype(np.float32),
            "fp32": -random.random((height, width), dtype=np.float32),
            "fp64": random.standard_normal((height, width)) * 1e-6,
        }[kind]
        rows, frames = dtw(cost)
        assert (rows.tolist(), frames.tolist()) == slow_dtw(cost)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 9), (9, 1), (30, 400), (300, 40)])
def test_the_path_visits_every_row_and_frame_in_order(height: int, width: int) -> None:
    rows, frames = dtw(np.random.default_rng(0).random((height, width)))
    assert set(rows) == set(range(height))
    assert set(frames) == set(range(width))
    assert (np.diff(rows) >= 0).all()
    assert (np.diff(frames) >= 0).all()
    assert (np.diff(rows) + np.diff(frames) > 0).all()


# --- The score ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("seed", range(8))
def test_the_score_is_that_of_the_slow_reference(seed: int) -> None:
    random = np.random.default_rng(seed)
    song = sing(random, (0, 3))
    tags = [span is None and text != "\n" for text, span in zip(song.texts, song.spans, strict=True)]
    for attention in (correct(random, song), foreign(random, song)):
        ours, reference = align(attention, song.texts), slow_alignment(attention, tags)
        assert astuple(ours) == pytest.approx(astuple(reference), abs=1e-6)


def test_correct_lyrics_beat_shuffled_ones_and_those_beat_foreign_ones() -> None:
    orders = []
    for seed in range(64):
        random = np.random.default_rng(seed)
        song = sing(random)
        attention = correct(random, song)
        scores = [
            align(attention, song.texts).score,
            align(*shuffled(random, song, attention)).score,
            align(foreign(random, song), song.texts).score,
        ]
        orders.append(scores == sorted(scores, reverse=True) and len(set(scores)) == 3)
    assert sum(orders) >= 0.9 * 64


def test_a_perfect_walk_loses_only_what_its_ties_cost() -> None:
    """Where nothing else is seen, a step down and one right cost as little as a diagonal step, and are preferred."""
    attention = np.repeat(np.eye(12, dtype=np.float32), 3, 1)[None]
    perfect = align(attention, [f"w{number} " for number in range(12)])
    assert perfect == Alignment(round(36 / 47, 4), 1.0, 1.0, pytest.approx(36 / 47))


def test_order_within_nine_frames_is_forgiven() -> None:
    def monotonicity(first: int, second: int) -> float:
        attention = np.zeros((1, 2, 40), np.float32)
        attention[0, 0, first] = attention[0, 1, second] = 1.0
        return align(attention, ["a", "b"]).monotonicity

    assert [monotonicity(20, 11), monotonicity(20, 10)] == [1.0, 0.0]


@pytest.mark.parametrize(
    ("texts", "tags"),
    [
        (["[", "Verse", "]", "la"], "1110"),
        (["[Verse]\n", "la", "[Ch", "orus]"], "1011"),
        (["la", "]", "lo", "["], "0000"),
        (["[", "a", "[", "b]", "c"], "11110"),
        (["][", "b", "]"], "111"),
        (["[", "a", "][", "b", "]", "c"], "111110"),
    ],
)
def test_tags_go_from_bracket_to_bracket(texts: list[str], tags: str) -> None:
    assert "".join(str(int(tag)) for tag in tag_rows(texts)) == tags


def test_tags_do_not_count_as_sung() -> None:
    attention = np.zeros((2, 3, 30), np.float32)
    attention[:, 2, 10:20] = 1.0
    assert align(attention, ["[Verse", "]\n", "la"]).coverage == 1.0
    assert align(attention, ["(Verse", ")\n", "la"]).coverage == pytest.approx(1 / 3)


@pytest.mark.parametrize("value", [0.0, 0.25])
def test_attention_that_is_alike_everywhere_follows_nothing(value: float) -> None:
    attention = np.full((3, 4, 50), value, np.float32)
    assert align(attention, ["a", "b", "c", "d"]) == Alignment(0.0, 0.0, 1.0, 0.0)


# --- What cannot be judged ------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "texts", [["[", "Intro", "]\n", "\n"], ["[Solo]\n", "[Outro][", "]", " "], ["\n", " ", "", ""]]
)
def test_lyrics_of_tags_only_are_not_judged(texts: list[str]) -> None:
    attention = np.random.default_rng(0).random((HEADS, 4, 60), dtype=np.float32)
    assert align(attention, texts) is None
    assert timed_lines(attention, texts, 4.8, FRAME_S) is None


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_attention_that_is_not_finite_is_not_judged(value: float) -> None:
    attention = np.random.default_rng(0).random((HEADS, 3, 60), dtype=np.float32)
    attention[2, 1, 7] = value
    assert align(attention, ["a", "b", "c"]) is None
    assert timed_lines(attention, ["a", "b", "c"], 4.8, FRAME_S) is None


@pytest.mark.parametrize("shape", [(HEADS, 0, 60), (HEADS, 3, 0)])
def test_without_tokens_or_frames_nothing_is_judged(shape: tuple[int, int, int]) -> None:
    attention, texts = np.zeros(shape, np.float32), ["la "] * shape[1]
    assert align(attention, texts) is None
    assert timed_lines(attention, texts, 4.8, FRAME_S) is None


@pytest.mark.parametrize("shape", [(HEADS, 3, 60), (2, 60)])
def test_attention_to_other_lyrics_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="does not have 2 tokens"):
        align(np.zeros(shape, np.float32), ["a", "b"])
    with pytest.raises(ValueError, match="does not have 2 tokens"):
        timed_lines(np.zeros(shape, np.float32), ["a", "b"], 4.8, FRAME_S)


@pytest.mark.parametrize("frames", [1, 2, 60])
def test_one_token_is_enough(frames: int) -> None:
    attention = np.full((HEADS, 1, frames), 0.01, np.float32)
    attention[:, :, frames // 2] = 0.9
    assert align(attention, ["la"]).monotonicity == 1.0
    (line,) = timed_lines(attention, ["la"], frames * FRAME_S, FRAME_S)
    assert (line.text, line.start_s) == ("la", round(frames // 2 * FRAME_S, 3))


# --- Times ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("seed", range(4))
def test_the_evidence_is_that_of_the_slow_reference(seed: int) -> None:
    random = np.random.default_rng(seed)
    song = sing(random)
    attention = correct(random, song)
    np.testing.assert_allclose(evidence(attention), slow_evidence(attention), rtol=1e-3, atol=1e-3)
    dense = random.random((3, 7, 9), dtype=np.float32)  # here both medians of many rows and columns are above 0
    np.testing.assert_allclose(evidence(dense), slow_evidence(dense), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("pause", [(0, 1), (2, 8), (10, 40), (40, 120)], ids=str)
def test_lines_start_where_they_are_sung(pause: tuple[int, int]) -> None:
    """Without rest, with breaths, and with solos of up to ten seconds in front of a line."""
    errors: list[float] = []
    for seed in range(24):
        random = np.random.default_rng(seed)
        song = sing(random, pause)
        lines = timed_lines(correct(random, song), song.texts, song.frames * FRAME_S, FRAME_S)
        sung = [line.start_s for line in lines if not line.is_tag]
        errors += [abs(ours - true * FRAME_S) for ours, true in zip(sung, song.starts, strict=True)]
    assert np.mean(np.array(errors) <= 0.3) >= 0.98


def test_thin_attention_is_followed_too() -> None:
    """Of less than a third nothing stands out of the softmax of probabilities; the path of the score remains."""
    random = np.random.default_rng(0)
    song = sing(random, (2, 8))
    thin = 0.2 * correct(random, song)
    assert not evidence(thin).any()
    lines = timed_lines(thin, song.texts, song.frames * FRAME_S, FRAME_S)
    sung = [line.start_s for line in lines if not line.is_tag]
    assert sung == pytest.approx([start * FRAME_S for start in song.starts], abs=0.3)


def moments(line: TimedLine) -> list[float]:
    return [time for token in line.tokens for time in (token.start_s, token.end_s)]


@pytest.mark.parametrize("seed", range(12))
def test_times_are_milliseconds_within_the_song_and_never_go_back(seed: int) -> None:
    random = np.random.default_rng(seed)
    song = sing(random, (0, 90))
    noise = random.random((HEADS, len(song.texts), song.frames), dtype=np.float32)
    length_s = song.frames * FRAME_S - random.uniform(0, 2)
    for attention in (correct(random, song), foreign(random, song), noise):
        lines = timed_lines(attention, song.texts, length_s, FRAME_S)
        tokens = [token for line in lines for token in line.tokens]
        starts, ends = [token.start_s for token in tokens], [token.end_s for token in tokens]
        assert starts == sorted(starts)
        assert ends == sorted(ends)
        for line in lines:
            assert line.tokens[0].start_s <= line.start_s <= line.end_s <= line.tokens[-1].end_s
            assert all(0 <= time <= length_s and time == round(time, 3) for time in moments(line))
            assert all(0 <= part.confidence <= 1 for part in (line, *line.tokens))
            assert all(token.start_s <= token.end_s for token in line.tokens)


def test_confidence_is_the_height_of_the_attention() -> None:
    attention = np.zeros((1, 3, 30), np.float32)
    for row, height in enumerate((1.0, 0.6, 0.8)):
        attention[0, row, row * 10 : row * 10 + 10] = height
    (line,) = timed_lines(attention, ["a", "b", "c"], 2.4, FRAME_S)
    assert [token.confidence for token in line.tokens] == pytest.approx([1.0, 0.6, 0.8], abs=1e-4)
    assert line.confidence == pytest.approx(0.8, abs=1e-4)


def test_lines_end_at_newlines_and_keep_their_tags() -> None:
    texts = ["[", "Verse", "]\n", "\n", " la", " lo", "\n\n", "[Outro]", "\n", "hey"]
    attention = np.repeat(np.eye(len(texts), dtype=np.float32), 5, 1)[None]
    lines = timed_lines(attention, texts, 4.0, FRAME_S)
    assert [(line.text, line.is_tag) for line in lines] == [
        ("[Verse]", True),
        ("la lo", False),
        ("[Outro]", True),
        ("hey", False),
    ]
    assert [token.text for token in lines[1].tokens] == [" la", " lo", "\n\n"]
    assert (lines[1].start_s, lines[1].end_s) == (1.6, 2.32)  # the newline is not sung
    assert asdict(lines[3])["tokens"][0] == {"text": "hey", "start_s": 3.6, "end_s": 3.92, "confidence": 1.0}


def lines_of(*texts: str) -> tuple[TimedLine, ...]:
    """Every token is seen in five frames of its own."""
    attention = np.repeat(np.eye(len(texts), dtype=np.float32), 5, 1)[None]
    return timed_lines(attention, texts, len(texts) * 5 * FRAME_S, FRAME_S)


def test_a_tag_in_front_of_words_is_not_sung_with_them() -> None:
    (line, other) = lines_of("[", "Verse", "]", " Rain", " is", " here", "\n", "la", " [x2]", " lo", "[", "hey", "]")
    assert (line.text, line.is_tag) == ("Rain is here", False)
    assert (line.start_s, line.end_s) == (1.2, 2.32)
    assert [token.text for token in line.tokens] == [" Rain", " is", " here", "\n"]
    assert (other.text, other.start_s, other.end_s) == ("la lo", 2.8, 3.92)


def test_a_token_that_ends_a_tag_and_begins_a_word_spells_the_word_alone() -> None:
    (line,) = lines_of("[Verse", "]la", "", "", "🎵", "[", "", "é]")
    assert line.text == "la🎵"
    assert [token.text for token in line.tokens] == ["la", "", "", "🎵"]
    assert line.start_s == 0.4


@pytest.mark.parametrize("texts", [("[Intro]", "[Piano]"), ("[Intro", "] [", "Piano]"), ("[", "a", "]")])
def test_a_line_of_tags_alone_is_a_tag(texts: tuple[str, ...]) -> None:
    tags, words = lines_of(*texts, "\n", "la")
    assert tags.is_tag
    assert tags.text == "".join(texts)
    assert tags.start_s == 0
    assert (words.text, words.is_tag) == ("la", False)


def test_a_bracket_that_nobody_closes_on_its_line_is_no_tag() -> None:
    assert [line.text for line in lines_of("[", "la", "\n", "lo", "]", "\n", "hey")] == ["[la", "lo]", "hey"]


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n", "\v", "\f", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029"])
def test_every_kind_of_break_ends_a_line(end: str) -> None:
    for texts in (
        ("la", end, "lo"),
        ("la" + end, "lo"),
        ("la", end + "lo"),
        ("la" + end + "lo",),
        ("la", *end, "lo"),
    ):
        lines = lines_of(*texts)
        assert [line.text for line in lines] == ["la", "lo"]
        assert all(len(line.text.splitlines()) == 1 for line in lines)
        assert "".join(token.text for line in lines for token in line.tokens).split() == ["la", "lo"]


def test_blanks_within_a_line_are_single_spaces() -> None:
    assert [line.text for line in lines_of("la", "\t", " lo", "\x1f", "hey")] == ["la lo hey"]


# --- Token texts ----------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def vocabulary() -> Tokenizer:
    return Tokenizer.from_file(str(PROJECT / "weights" / "tiny" / "text_encoder" / "tokenizer.json"))


@pytest.mark.parametrize(
    "text", ["la la\n[Chorus]\nlo", "你好，世界\n🎵 Ünïcode ñ\n", "🎵", "a\ufffd\ufffdb", "\ufffd", ""]
)
def test_token_texts_add_up_to_the_text(vocabulary: Tokenizer, text: str) -> None:
    ids = vocabulary.encode(text, add_special_tokens=False).ids
    texts = token_texts(vocabulary, ids)
    assert len(texts) == len(ids)
    assert "".join(texts) == text


def test_a_character_belongs_to_the_token_that_completes_it(vocabulary: Tokenizer) -> None:
    ids = vocabulary.encode("🎵a", add_special_tokens=False).ids
    assert token_texts(vocabulary, ids) == ("", "", "", "🎵", "a")
    assert token_texts(vocabulary, ids[:2]) == ("", "\ufffd")


def test_attention_is_scaled_over_the_whole_song() -> None:
    attention = np.array([[[0.0, 2.0], [1.0, 4.0]], [[0.0, 0.0], [1.0, 0.0]]], np.float32)
    assert scaled(attention).tolist() == [[0.0, 0.5], [0.5, 1.0]]
