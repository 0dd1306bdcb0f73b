"""The planner's grammar, byte by byte: every state can be finished, and what is finished is a song plan."""

from __future__ import annotations

import random
import re

import pytest

from acestep.constants import BPM_MAX, BPM_MIN, KEYSCALES, LANGUAGES, TIME_SIGNATURES
from acestep.metadata import UNUSUAL_METERS
from acestep.planner.answers import codes_grammar, planning_grammar, writing_grammar
from acestep.planner.chain import FIELDS, ChainOfThought, read_chain, write_chain
from acestep.planner.grammar import Grammar, State, code_of, is_control
from acestep.planner.segments import Choice
from acestep.planner.vocabulary import AUDIO_CODE, MARKERS

THINK, END_THINK, END = b"<think>", b"</think>", b"<|im_end|>"
BYTES = [bytes([byte]) for byte in range(256)]
EVERY_PIECE = [*BYTES, THINK, END_THINK, END, *(AUDIO_CODE.format(code).encode() for code in (0, 6, 7, 64_000))]
GIVEN = ChainOfThought(97, "", 31, "", "F♯ minor", "no", "6")
CLOSED = ("bpm", "duration", "keyscale", "language", "timesignature")


def pieces(text: str) -> list[bytes]:
    """A text as single bytes, control tokens whole."""
    parts = re.split(r"(^<think>|^</think>|<\|[a-z_0-9]+\|>)", text, flags=re.MULTILINE)
    return [
        piece
        for part in parts
        for piece in ([part.encode()] if is_control(part.encode()) else map(bytes, zip(part.encode(), strict=False)))
    ]


def read(grammar: Grammar, text: str) -> State | None:
    state: State | None = grammar.start
    for piece in pieces(text):
        state = state.after(piece)
        if state is None:
            return None
    return state


def accepts(grammar: Grammar, text: str) -> bool:
    state = read(grammar, text)
    return state is not None and state.is_finished


def reachable(grammar: Grammar) -> dict[State, set[State]]:
    """Every state and its successors, when tokens are single bytes and control tokens."""
    edges: dict[State, set[State]] = {}
    border = [grammar.start]
    while border:
        state = border.pop()
        if state not in edges:
            edges[state] = {after for piece in EVERY_PIECE if (after := state.after(piece)) is not None}
            border.extend(edges[state])
    return edges


GRAMMARS = {
    "open": planning_grammar(caption_pieces=3),
    "short": planning_grammar(longest_s=12, caption_pieces=3),
    "all given": planning_grammar(GIVEN, {"caption"}),
    "nothing": planning_grammar(leave_out=FIELDS),
    "written": writing_grammar(ChainOfThought(language="ja"), {"duration"}, caption_pieces=2, lyrics_pieces=3),
    "codes": codes_grammar(1.3, 7),
    "open codes": codes_grammar(None, 7, longest_s=12),
}


@pytest.mark.parametrize("name", GRAMMARS)
def test_no_reachable_state_is_a_dead_end(name: str) -> None:
    edges = reachable(GRAMMARS[name])
    assert [state.where for state, after in edges.items() if not after and not state.is_finished] == []
    sources: dict[State, set[State]] = {}
    for state, targets in edges.items():
        for target in targets:
            sources.setdefault(target, set()).add(state)
    finishing = {state for state in edges if state.is_finished}
    border = list(finishing)
    while border:
        new = sources.get(border.pop(), set()) - finishing
        finishing |= new
        border.extend(new)
    assert finishing == set(edges)


@pytest.mark.parametrize("name", GRAMMARS)
def test_states_with_one_key_allow_the_same(name: str) -> None:
    seen: dict[object, tuple[bool, ...]] = {}
    for state in reachable(GRAMMARS[name]):
        allowed = tuple(state.allowed(piece) for piece in EVERY_PIECE)
        assert seen.setdefault(state.key, allowed) == allowed
    assert len(seen) > 2


def closed_lines(field: str, **options: float) -> set[str]:
    """Every line a field can have, found by trying all bytes."""
    keep = {field}
    grammar = planning_grammar(leave_out=set(FIELDS) - keep, **options)
    found, border = set(), [(grammar.start.advance(THINK).advance(b"\n"), b"")]
    while border:
        state, text = border.pop()
        if state.allowed(END_THINK):
            found.add(text.decode())
            continue
        border.extend((after, text + piece) for piece in BYTES if (after := state.after(piece)) is not None)
    return found


@pytest.mark.parametrize(
    ("field", "lines"),
    [
        ("bpm", {f"bpm: {bpm}\n" for bpm in range(BPM_MIN, BPM_MAX + 1)}),
        ("duration", {f"duration: {seconds}\n" for seconds in range(10, 601)}),
        ("keyscale", {f"keyscale: {key}\n" for key in KEYSCALES}),
        ("language", {f"language: {code}\n" for code in LANGUAGES} | {"language: 'no'\n"}),
        ("timesignature", {f"timesignature: {meter}\n" for meter in TIME_SIGNATURES}),
    ],
)
def test_closed_fields_have_their_values_and_nothing_else(field: str, lines: set[str]) -> None:
    assert closed_lines(field) == lines
    assert len(lines) == {"bpm": 271, "duration": 591, "keyscale": 70, "language": 52, "timesignature": 4}[field]


def test_the_longest_song_is_the_callers_and_never_below_the_shortest() -> None:
    assert closed_lines("duration", longest_s=12.9) == {f"duration: {seconds}\n" for seconds in (10, 11, 12)}
    assert closed_lines("duration", longest_s=3) == {"duration: 10\n"}


def as_one_expression() -> re.Pattern[str]:
    """The open plan once more, written independently as one regular expression."""

    def one(values: object) -> str:
        return "(?:" + "|".join(re.escape(str(value)) for value in values) + ")"

    text = r"[ -_a-~\u00a0-\ud7ff\ue000-\U0010ffff]"
    first = r"(?:(?!\")[!-/:-@\[-_{-~][!-/:-@\[-_{-~]*)?[0-9A-Za-z\u00a0-\U0010ffff]"
    return re.compile(
        rf"<think>\nbpm: {one(range(30, 301))}\ncaption: {first}{text}*\n(?: +(?! ){text}+\n)*"
        rf"duration: {one(range(10, 601))}\nkeyscale: {one(KEYSCALES)}\nlanguage: (?:{one(LANGUAGES)}|'no')\n"
        rf"timesignature: {one(TIME_SIGNATURES)}\n</think>"
    )


def test_the_automaton_agrees_with_one_regular_expression() -> None:
    rng = random.Random(3)
    expression, grammar = as_one_expression(), planning_grammar()
    bits = [
        " ",
        "  ",
        "\n",
        "\n  ",
        "`",
        '"',
        "'",
        "0",
        "3",
        ":",
        "-",
        "é",
        "音",
        "♯",
        "\t",
        "\x7f",
        "\x85",
        "a",
        "😀",
    ]
    verdicts = []
    for _ in range(4000):
        caption = "".join(rng.choice([*bits, "word "]) for _ in range(rng.randrange(1, 6))).strip(" \n") or "pop"
        text = write_chain(ChainOfThought(120, "pop", 60, "", rng.choice(KEYSCALES), "ko", "3")).replace(
            "pop", caption
        )
        at = rng.randrange(len("<think>"), len(text) - len("</think>"))
        text = text[:at] + rng.choice(["", rng.choice(bits)]) + text[at + rng.randrange(2) :]
        verdicts.append(accepts(grammar, text))
        assert verdicts[-1] == bool(expression.fullmatch(text)), text
    assert 400 < sum(verdicts) < 3600


@pytest.mark.parametrize("field", CLOSED)
def test_each_given_field_is_the_only_continuation_in_its_place(field: str) -> None:
    value = getattr(GIVEN, field)
    grammar = planning_grammar(ChainOfThought(**{field: value}))
    others = ChainOfThought(120, "pop", 60, "", "C major", "ko", "3")
    assert not accepts(grammar, write_chain(others))
    text = write_chain(ChainOfThought(**{**others.decided(), field: value}))
    assert accepts(grammar, text)
    assert getattr(read_chain(text).chain, field) == value


@pytest.mark.parametrize("meter", [*TIME_SIGNATURES, *UNUSUAL_METERS])
def test_every_meter_a_request_may_have_can_be_forced(meter: str) -> None:
    given = ChainOfThought(timesignature=meter)
    assert accepts(planning_grammar(given, FIELDS), write_chain(given))


def test_left_out_fields_are_left_out_unless_given() -> None:
    chain = ChainOfThought(120, "", 60, "", "C major", "", "3")
    grammar = planning_grammar(leave_out={"caption", "language"})
    assert accepts(grammar, write_chain(chain))
    assert not accepts(grammar, write_chain(ChainOfThought(120, "pop", 60, "", "C major", "", "3")))
    assert accepts(planning_grammar(chain, FIELDS), write_chain(chain))
    assert accepts(planning_grammar(leave_out=FIELDS), "<think>\n\n</think>")


def test_genres_are_written_only_with_a_song() -> None:
    chain = ChainOfThought(120, "pop", 60, "rock, pop", "C major", "ko", "3")
    assert not accepts(planning_grammar(), write_chain(chain))
    assert accepts(writing_grammar(), write_chain(chain) + "\n\n# Lyric\n[Verse]\n\nHello\n<|im_end|>")
    assert not accepts(writing_grammar(), write_chain(chain) + "\n\n<|audio_code_1|><|im_end|>")


def test_control_tokens_are_whole_tokens() -> None:
    state = planning_grammar().start
    assert not state.allowed(b"<")
    assert not state.allowed(b"")
    caption = state.advance(THINK).advance(b"\nbpm: 30\ncaption: a")
    assert caption.advance(b"</").advance(b"think").advance(b">").where == "caption"
    for control in (THINK, END_THINK, END, b"<|audio_code_1|>", b"<tool_call>"):
        assert not caption.allowed(control)
    with pytest.raises(ValueError, match=re.escape("b'<|im_end|>' is not allowed here (caption).")):
        caption.advance(END)


def test_this_files_markers_are_the_checkpoints() -> None:
    assert {THINK, END_THINK, END} <= {marker.encode() for marker in MARKERS}
    assert all(is_control(marker.encode()) for marker in MARKERS)
    assert [code_of(AUDIO_CODE.format(code).encode()) for code in (0, 63_999)] == [0, 63_999]
    assert code_of(b"<|audio_code_007|>") is None
    assert is_control(b"<|audio_code_007|>")


def test_tokens_may_straddle_fields() -> None:
    state = planning_grammar().start.advance(THINK)
    for piece in (
        b"\nbp",
        b"m: 30",
        b"0\ncaption: Dream",
        b"y.\n  po",
        b"p \xc3",
        b"\xa9.\nduration: 1",
        b"0\nkeyscale: C",
    ):
        state = state.advance(piece)
    assert state.where == "keyscale"
    assert state.advance(b" major\nlanguage: 'no'\ntimesignature: 4\n").advance(END_THINK).is_finished


def test_half_characters_are_finished_before_anything_else() -> None:
    state = planning_grammar().start.advance(THINK).advance(b"\nbpm: 30\ncaption: \xf0\x9f")
    assert [piece for piece in BYTES if state.allowed(piece)] == BYTES[0x80:0xC0]
    for bad in (b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90", b"\xff", b"\xe0\x80", b"\xc2\x85"):
        assert not planning_grammar().start.advance(THINK).advance(b"\nbpm: 30\ncaption: a").allowed(bad)


def test_a_caption_at_its_limit_comes_to_its_end() -> None:
    state = planning_grammar(caption_pieces=2).start.advance(THINK).advance(b"\nbpm: 30\ncaption:")
    full = state.advance(b" slow").advance(b" song")
    assert [piece for piece in BYTES if full.allowed(piece)] == [b"\n"]
    assert [piece for piece in BYTES if full.advance(b"\n").allowed(piece)] == [b"d"]
    no_words = state.advance(b" !").advance(b"!!")
    assert not no_words.allowed(b"!")
    assert no_words.advance(b"a").allowed(b"\nduration: 10\n")


def test_a_choice_has_no_text_that_begins_another() -> None:
    for grammar in GRAMMARS.values():
        for choice in (segment for segment in grammar.segments if isinstance(segment, Choice)):
            assert list(choice.texts) == sorted(set(choice.texts))
            assert not any(b.startswith(a) for a, b in zip(choice.texts, choice.texts[1:], strict=False))
