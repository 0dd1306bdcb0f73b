"""What the user gave: forced into its place whatever it holds, or refused when it would be lost."""

from __future__ import annotations

import pytest

from acestep.errors import InputError
from acestep.planner.answers import planning_grammar, writing_grammar
from acestep.planner.chain import FIELDS, ChainOfThought, read_chain, write_chain

THINK, END_THINK, END = b"<think>", b"</think>", b"<|im_end|>"
AWKWARD = [
    "plain",
    "a: b # c",
    "- dash",
    "#hash",
    "'single' and \"double\"",
    "two\nlines\n\nand a third",
    " blanks around ",
    "tab\tand nul\x00",
    "long " * 200,
    "音楽 😀 é",
    "</think> <think> <|im_end|> <|audio_code_5|>",
    "n/a",
    "no",
    "```yaml",
]


@pytest.mark.parametrize("caption", AWKWARD)
def test_forced_values_survive_whatever_they_hold(caption: str) -> None:
    given = ChainOfThought(97, caption, 31, caption[::-1], "B♭ major", "zh", "7/8")
    text = write_chain(given)
    lines = text.removeprefix("<think>").removesuffix("</think>").encode()
    grammar = writing_grammar(given, lyrics_pieces=4)
    state = grammar.start.advance(THINK)
    assert state.forced() == lines
    state = state.advance(lines)
    for piece in (END_THINK, b"\n\nLa", END):
        state = state.advance(piece)
    assert state.is_finished
    assert read_chain(text).chain == given


def test_forced_text_stops_before_a_choice_and_leaves_its_blank() -> None:
    grammar = planning_grammar(ChainOfThought(duration=60))
    state = grammar.start.advance(THINK)
    assert state.forced() == b"\nbpm:"
    assert state.forced(3) == b"\nbp"
    caption = state.advance(b"\nbpm: 30").advance(b"\n")
    assert caption.forced() == b"caption:"
    assert caption.advance(b"caption: x\nd").forced() == b"uration: 60\nkeyscale:"
    assert grammar.start.forced() == b""
    assert planning_grammar(leave_out=FIELDS).start.advance(THINK).forced() == b"\n\n"


@pytest.mark.parametrize(
    ("field", "value"), [("bpm", 301), ("duration", 5), ("keyscale", "H major"), ("language", "tlh"), ("bpm", "fast")]
)
def test_given_values_that_would_be_lost_are_refused(field: str, value: object) -> None:
    with pytest.raises(InputError) as error:
        planning_grammar(ChainOfThought(**{field: value}))
    assert error.value.field == field
    assert str(value) in str(error.value)


def test_unknown_fields_cannot_be_left_out() -> None:
    with pytest.raises(InputError, match="leave_out 'mood' is unknown; choose one of: bpm, caption"):
        planning_grammar(leave_out={"mood"})
