"""The codes phase: as many codes as the song is long, of the codebook, and then the end of the turn."""

from __future__ import annotations

import pytest

from acestep.errors import InputError
from acestep.planner.answers import codes_grammar
from acestep.planner.plan import code_count
from acestep.planner.vocabulary import AUDIO_CODE

THINK, END_THINK, END = b"<think>", b"</think>", b"<|im_end|>"
DURATIONS = [
    0.2,
    1.4 * 3,
    2.2 * 3,
    0.1 * 12,
    0.21,
    1.3,
    10,
    10.2,
    12.6,
    16.4,
    30.1,
    59.999,
    60,
    123.4,
    239.8,
    599.99,
    600,
]


@pytest.mark.parametrize("duration", DURATIONS)
def test_codes_are_as_many_as_the_song_is_long_and_the_end_comes_only_then(duration: float) -> None:
    expected = -(-round(duration * 1000) // 200)  # in milliseconds, exactly
    assert code_count(duration) == expected
    state = codes_grammar(duration, 64_000).start
    for count in range(expected):
        assert state.where == f"codes: {count} of {expected}"
        assert not state.allowed(END)
        state = state.advance(AUDIO_CODE.format(count * 21 % 64_000).encode())
    assert not state.allowed(b"<|audio_code_0|>")
    assert state.advance(END).is_finished


def test_only_codes_of_the_codebook_and_no_text() -> None:
    state = codes_grammar(10, 64_000).start
    assert state.allowed(b"<|audio_code_63999|>")
    for piece in (b"<|audio_code_64000|>", b"<|audio_code_01|>", b"a", b"\n", b"<|audio_code_1|>x", THINK, END_THINK):
        assert not state.allowed(piece)


def test_a_song_of_unknown_length_ends_between_the_shortest_and_the_longest() -> None:
    state = codes_grammar(None, 10, longest_s=11).start
    ends = []
    while state.allowed(b"<|audio_code_9|>"):
        ends.append(state.allowed(END))
        state = state.advance(b"<|audio_code_9|>")
    assert ends == [False] * 50 + [True] * 5
    assert state.advance(END).is_finished


@pytest.mark.parametrize("duration", [0, -1, 600.1, float("nan"), float("inf")])
def test_durations_without_codes_are_refused(duration: float) -> None:
    with pytest.raises(InputError, match="duration must be above 0 and up to 600 seconds"):
        codes_grammar(duration, 64_000)


def test_the_dust_of_a_sum_is_not_a_code() -> None:
    assert 16.1 + 0.1 > 16.2
    assert code_count(16.1 + 0.1) == code_count(16.2) == 81
    assert code_count(16.2001) == 82
