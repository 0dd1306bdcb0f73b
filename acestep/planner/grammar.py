"""A planner's answer read one token at a time: what may follow, decided in plain Python.

In: stretches of an answer (``segments``), and each token's bytes. Out: a `Grammar`, whose `State` says after each
token what may follow. Every state can be finished, given a vocabulary with all single bytes.

    state = planning_grammar(ChainOfThought(bpm=120)).start
    state = state.advance(b"<think>").advance(b"\\nbpm: ")
    state.allowed(b"1")   # True
    state.allowed(b"9")   # False

Refuses to know which answers there are (``answers``), token ids (``token_mask``), and how one of several allowed
tokens is picked.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from acestep.planner.segments import (
    Choice,
    ChoicePlace,
    Codes,
    Control,
    FoldedText,
    OpenText,
    Segment,
    TextPlace,
)

_CONTROL = re.compile(rb"<\|.*\|>|</?(?:think|tool_call|tool_response)>", re.DOTALL)
_CODE = re.compile(rb"<\|audio_code_(0|[1-9][0-9]{0,5})\|>")

Place = ChoicePlace | TextPlace | int | None
Key = tuple[tuple[Segment, ...], Place]


def is_control(piece: bytes) -> bool:
    """Whether a token, spelled like this, steers the model; what a user types is never tokenised into one."""
    return _CONTROL.fullmatch(piece) is not None


def code_of(piece: bytes) -> int | None:
    """The semantic code a token stands for, or None."""
    match = _CODE.fullmatch(piece)
    return int(match[1]) if match else None


@dataclass(frozen=True, slots=True, eq=False)
class Grammar:
    """Stretches of an answer, one after the other. Two grammars are the same only if they are one object."""

    segments: tuple[Segment, ...]

    @property
    def start(self) -> State:
        """Before the first token."""
        return self.enter(0)

    def enter(self, index: int) -> State:
        """At the beginning of a stretch, or behind the last."""
        if index == len(self.segments):
            return State(self, index, None)
        match self.segments[index]:
            case Control():
                return State(self, index, None)
            case Codes():
                return State(self, index, 0)
            case segment:
                return State(self, index, segment.start)


@dataclass(frozen=True, slots=True)
class State:
    """Where an answer stands. Equal states allow the same continuations."""

    grammar: Grammar
    index: int
    place: Place

    @property
    def segment(self) -> Segment | None:
        """The stretch one is in; None behind the last."""
        return None if self.is_finished else self.grammar.segments[self.index]

    @property
    def is_finished(self) -> bool:
        """Whether the answer is complete: nothing may follow."""
        return self.index == len(self.grammar.segments)

    @property
    def where(self) -> str:
        """The place in words, for logs: ``bpm``, ``caption``, ``codes: 12 of 150``."""
        segment = self.segment
        if segment is None:
            return "finished"
        return f"{segment.name}: {self.place} of {segment.most}" if isinstance(segment, Codes) else segment.name

    @property
    def key(self) -> Key:
        """A value that is equal only where the same tokens may follow, also in the grammars of different requests.

        It is what is left of the answer, and the place in it without its counts.
        """
        place, ahead = self.place, self.grammar.segments[self.index :]
        match self.segment:
            case FoldedText() | OpenText() as text:
                place = place._replace(pieces=text.pieces if text.is_full(place) else -1)
            case Codes() as codes:
                place = (place >= codes.fewest) + (place >= codes.most)
        return ahead, place

    def allowed(self, piece: bytes) -> bool:
        """Whether the token with these bytes may come next."""
        return self.after(piece) is not None

    def advance(self, piece: bytes) -> State:
        """The state after one more token.

        Raises:
            ValueError: the token is not allowed here.
        """
        state = self.after(piece)
        if state is None:
            raise ValueError(f"{piece!r} is not allowed here ({self.where}).")
        return state

    def after(self, piece: bytes) -> State | None:
        """The state after one more token, or None if it is not allowed here."""
        if is_control(piece):
            return self._after_control(piece)
        state: State | None = self if piece else None
        for byte in piece:
            state = state.step(byte)
            if state is None:
                return None
        return None if state is None else state._counted()

    def step(self, byte: int) -> State | None:
        """The state after one byte of an ordinary token, or None."""
        match self.segment:
            case Choice() as choice:
                place = choice.step(self.place, byte)
                return None if place is None else self._chosen(choice, place)
            case FoldedText() | OpenText() as text:
                place = text.step(self.place, byte)
                if place is not None:
                    return State(self.grammar, self.index, place)
                return self.grammar.enter(self.index + 1).step(byte) if text.may_leave(self.place) else None
        return None

    def few_bytes(self) -> set[int] | None:
        """The bytes that may follow if they are few, as in a closed field; None where any byte may be asked for."""
        return self.segment.next_bytes(self.place) if isinstance(self.segment, Choice) else None

    def forced(self, most: int | None = None) -> bytes:
        """What has to follow, as far as there is no choice and at most so many bytes; ``b""`` if there is one now.

        It can be given to the model without asking it. A blank at its end is left off, and so is the beginning of a
        word that may go on in several ways: the vocabularies join a blank with the word after it, and no one writes
        " m" and "ajor". The text is ordinary text: encode it without control tokens.
        """
        run, state = bytearray(), self
        while (most is None or len(run) < most) and isinstance(choice := state.segment, Choice):
            byte = choice.only_byte(state.place)
            if byte is None:
                return bytes(run).rpartition(b" ")[0]
            run.append(byte)
            state = state._chosen(choice, choice.step(state.place, byte))
        return bytes(run) if isinstance(state.segment, (Choice, Control)) else bytes(run).removesuffix(b" ")

    def control(self) -> bytes | None:
        """The control token that may come next, if one may."""
        match self.segment:
            case Control() as control:
                return control.token
            case FoldedText() | OpenText() as text if text.may_leave(self.place):
                return self.grammar.enter(self.index + 1).control()
            case Codes() as codes if self.place >= codes.fewest:
                return self.grammar.enter(self.index + 1).control()
        return None

    def _chosen(self, choice: Choice, place: ChoicePlace) -> State:
        if choice.is_done(place):
            return self.grammar.enter(self.index + 1)
        return State(self.grammar, self.index, place)

    def _counted(self) -> State:
        """One more token of a free text."""
        if isinstance(self.place, TextPlace):
            return State(self.grammar, self.index, self.place._replace(pieces=self.place.pieces + 1))
        return self

    def _after_control(self, piece: bytes) -> State | None:
        code, segment = code_of(piece), self.segment
        if code is not None:
            fits = isinstance(segment, Codes) and self.place < segment.most and code < segment.codebook_size
            return State(self.grammar, self.index, self.place + 1) if fits else None
        if piece != self.control():
            return None
        return self.grammar.enter(self.index + (1 if isinstance(segment, Control) else 2))
