"""Which tokens of a vocabulary may come next: the grammar's answer for 217,000 tokens without asking for each.

In: the bytes of every token, then states of a grammar. Out: the ids of the allowed tokens. Tokens are sorted once, so
that all with the same beginning are neighbours and a state looks only at beginnings it allows; where any text may
follow, whole runs of neighbours are taken unseen. Refuses to know probabilities and tensors.

A token is given as bytes, because byte-level vocabularies hold parts of characters; `byte_pieces` turns the spelling
of such vocabularies into bytes. Who streams text to people joins the bytes before decoding them.
"""

from __future__ import annotations

import re
from array import array
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from acestep.errors import WeightsError
from acestep.planner.chain import END_OF_TURN, END_THINK, THINK
from acestep.planner.grammar import Key, State, code_of, is_control
from acestep.planner.segments import Codes, FoldedText, OpenText, narrow

_REMEMBERED = 8_000_000  # ids, of four bytes each; a free text's answer has 150,000, a closed field's a few
_ENTRY = 200  # ids that take as much memory as an answer without any
_FORCED_MOST = 32  # bytes; no word is longer
_PLAIN_ASCII = re.compile(rb"[ -_a-~]+")
_PLAIN_BEYOND = re.compile("[ -_a-~\xa0-\U0010ffff]+")
# Every byte that text may need; all but the backtick, control characters and what is never UTF-8.
_SPELLING = frozenset({0x0A, *range(0x20, 0x7F), *range(0x80, 0xC0), *range(0xC2, 0xF5)}) - {0x60}


def byte_pieces(tokens: Iterable[str]) -> list[bytes]:
    """The bytes of tokens in the spelling of byte-level BPE, in which every byte is a printable character.

    Printable Latin-1 stands for itself, the other 68 bytes for the characters from U+0100 on (GPT-2, 2019). Added
    tokens are spelled in printable ASCII and come out as they are.

    Raises:
        WeightsError: a token has a character outside of that alphabet.
    """
    alphabet = _byte_alphabet()
    try:
        return [bytes(alphabet[char] for char in token) for token in tokens]
    except KeyError as error:
        raise WeightsError(f"Vocabulary not usable: {error.args[0]!r} is no character of byte-level BPE.") from error


def _byte_alphabet() -> dict[str, int]:
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    hidden = [byte for byte in range(0x100) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(0x100 + rank): byte for rank, byte in enumerate(hidden)}


@dataclass(frozen=True, slots=True)
class _Shelf:
    """Tokens sorted by their bytes, with their ids in the same order."""

    pieces: tuple[bytes, ...]
    ids: array[int]

    @classmethod
    def of(cls, pieces: Iterable[tuple[bytes, int]]) -> _Shelf:
        ordered = sorted(pieces)
        return cls(tuple(piece for piece, _ in ordered), array("I", (token for _, token in ordered)))

    def branches(self, low: int, high: int, depth: int, few: set[int] | None) -> Iterator[tuple[int, int, int]]:
        """Next bytes of pieces[low:high], each with its neighbours; only those of a few, or all there are."""
        for byte in few or ():
            start, end = narrow(self.pieces, low, high, depth, byte)
            if start < end:
                yield byte, start, end
        while few is None and low < high:
            byte = self.pieces[low][depth]
            start, low = narrow(self.pieces, low, high, depth, byte)
            yield byte, start, low

    def spelling(self, run: bytes) -> Iterator[tuple[int, int]]:
        """Length and id of every token that spells the beginning of a text."""
        low, high = 0, len(self.pieces)
        for depth, byte in enumerate(run):
            low, high = narrow(self.pieces, low, high, depth, byte)
            while low < high and len(self.pieces[low]) == depth + 1:
                yield depth + 1, self.ids[low]
                low += 1


class TokenMask:
    """Allowed tokens of a vocabulary, state by state; one for a model, shared by all requests of a thread."""

    def __init__(
        self,
        pieces: Sequence[bytes],
        spell: Callable[[str], Sequence[int]] | None = None,
        *,
        remembered: int = _REMEMBERED,
    ) -> None:
        """Sort a vocabulary.

        Args:
            pieces: bytes of every token in the order of ids; ``b""`` for an id that is never used. A piece that
                spells a control token is that token.
            spell: ids of a text as the model was trained on it; None spells forced text with the longest tokens.
            remembered: ids of earlier answers that are kept, for all requests together.

        Raises:
            WeightsError: the vocabulary lacks a control token or a single byte, so that a text could not be ended.
        """
        self._spell = spell
        plain, odd = [], []
        self._controls: dict[bytes, int] = {}
        self._codes: dict[int, int] = {}
        for token, piece in enumerate(pieces):
            if piece.startswith(b"<") and is_control(piece):
                self._sort_control(piece, token)
            elif piece:
                (plain if _is_plain(piece) else odd).append((piece, token))
        self._plain, self._odd = _Shelf.of(plain), _Shelf.of(odd)
        self._answers: OrderedDict[Key, array[int]] = OrderedDict()
        self._room = remembered
        self._check()

    def allowed(self, state: State) -> array[int]:
        """Ids of the tokens that may come next, each once, in no order; empty only behind a finished answer.

        Where there is no choice of text, the token it begins with is the only one. The same array may be
        returned again: do not change it.

        Raises:
            WeightsError: the grammar wants codes this vocabulary does not have.
        """
        key = state.key
        answer = self._answers.get(key)
        if answer is None:
            answer = self._answers[key] = self._answer(state)
            self._room -= len(answer) + _ENTRY
            while self._room < 0:
                self._drop_oldest()
        else:
            self._answers.move_to_end(key)
        return answer

    def forget(self) -> None:
        """Drop the answers that are remembered."""
        while self._answers:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        _, answer = self._answers.popitem(last=False)
        self._room += len(answer) + _ENTRY

    def _sort_control(self, piece: bytes, token: int) -> None:
        code = code_of(piece)
        if code is None:
            self._controls[piece] = token
        else:
            self._codes[code] = token

    def _check(self) -> None:
        lacking = [name for name in (THINK, END_THINK, END_OF_TURN) if name.encode() not in self._controls]
        bytes_there = {piece[0] for shelf in (self._plain, self._odd) for piece in shelf.pieces if len(piece) == 1}
        lacking += [f"the byte 0x{byte:02X}" for byte in sorted(_SPELLING - bytes_there)[:1]]
        if lacking:
            raise WeightsError(f"Vocabulary not usable: it lacks {', '.join(lacking)}.")

    def _answer(self, state: State) -> array[int]:
        control = state.control()
        found = array("I", () if control is None else (self._controls[control],))
        match state.segment:
            case Codes() as codes:
                if state.place < codes.most:
                    found.extend(self._codes_below(codes.codebook_size))
                return found
            case None:
                return found
        if run := state.forced(_FORCED_MOST):
            found.append(self._first(run))
            return found
        for shelf in (self._plain, self._odd):
            self._collect(shelf, 0, len(shelf.pieces), 0, state, found)
        return found

    def _codes_below(self, size: int) -> array[int]:
        lacking = next((code for code in range(size) if code not in self._codes), None)
        if lacking is not None:
            raise WeightsError(
                f"Vocabulary not usable: the codebook has {size} codes, but no token is code {lacking}."
            )
        return array("I", (self._codes[code] for code in range(size)))

    def _first(self, run: bytes) -> int:
        """The token a text begins with: the vocabulary's own if it is known, else the longest; single bytes do."""
        found = {token: length for shelf in (self._plain, self._odd) for length, token in shelf.spelling(run)}
        own = self._spell(run.decode()) if self._spell is not None and _is_text(run) else []
        return own[0] if own and own[0] in found else max(found, key=lambda token: (found[token], token))

    def _collect(self, shelf: _Shelf, low: int, high: int, depth: int, state: State, found: array[int]) -> None:
        """Add the allowed tokens of shelf[low:high], which share ``depth`` bytes that lead to ``state``."""
        if shelf is self._plain and _takes_all_plain(state):
            found.extend(shelf.ids[low:high])
            return
        while low < high and len(shelf.pieces[low]) == depth:
            found.append(shelf.ids[low])
            low += 1
        for byte, start, end in shelf.branches(low, high, depth, state.few_bytes()):
            after = state.step(byte)
            if after is not None:
                self._collect(shelf, start, end, depth + 1, after, found)


def _is_text(run: bytes) -> bool:
    """Whether bytes are whole characters."""
    try:
        run.decode()
    except UnicodeDecodeError:
        return False
    return True


def _is_plain(piece: bytes) -> bool:
    """Whether a token is whole printable characters, none of them a backtick."""
    if piece.isascii():
        return _PLAIN_ASCII.fullmatch(piece) is not None
    try:
        return _PLAIN_BEYOND.fullmatch(piece.decode()) is not None
    except UnicodeDecodeError:
        return False


def _takes_all_plain(state: State) -> bool:
    match state.segment:
        case FoldedText() | OpenText() as text:
            return text.is_plain(state.place)
    return False
