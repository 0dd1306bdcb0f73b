"""The tokens of a planner: a byte-level BPE for text, named control tokens, then one token for each semantic code.

In: the ``tokenizer.json`` of a planner. Out: a `Vocabulary` that turns text into ids and ids into text. Codes are
checked and counted, and found by arithmetic. The tokenizer of text knows neither codes nor control tokens, so that no
text whatever can spell one. Refuses to know prompts (``prompts``), grammars and tensors.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeGuard

from tokenizers import Tokenizer
from tokenizers.models import BPE

from acestep.checkpoints.files import read_json
from acestep.errors import InputError, WeightsError
from acestep.planner.chain import END_OF_TURN, END_THINK, THINK
from acestep.planner.token_mask import byte_pieces

AUDIO_CODE = "<|audio_code_{}|>"
END_OF_TEXT = "<|endoftext|>"
START_OF_TURN = "<|im_start|>"
MARKERS = (END_OF_TEXT, START_OF_TURN, END_OF_TURN, THINK, END_THINK)  # what a planner cannot do without
_PROBE = "A 1\n\u00e9 \u97f3"  # comes back as it is unless text is changed on its way to tokens
_IDS_MAX = 1 << 24  # far more than any vocabulary has

Ids = Mapping[str, int]  # how tokens are spelled in the file -> their ids


@dataclass(frozen=True, slots=True, eq=False)
class Vocabulary:
    """The tokens of a planner.

    Attributes:
        pieces: bytes of every token in the order of ids; of control tokens and codes their spelling, ``b""`` for
            ids that are never used.
        first_code: id of semantic code 0; the codes are the last of all tokens.
        codes: how many code tokens there are; published are 65,535, more than a codec has codes.
    """

    pieces: tuple[bytes, ...] = field(repr=False)
    first_code: int
    codes: int
    _controls: Ids = field(repr=False)
    _text: Tokenizer = field(repr=False)

    @classmethod
    def load(cls, folder: Path) -> Vocabulary:
        """The vocabulary in the folder of a planner.

        Raises:
            WeightsError: ``tokenizer.json`` is missing or broken, is not a byte-level BPE, lacks a control token or
                a byte, or its codes are not the last tokens in order and without a gap; lists every problem.
        """
        path = folder / "tokenizer.json"
        return cls._read(read_json(path), str(path))

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> Vocabulary:
        """The vocabulary of a tokenizer whose added tokens are its control tokens and codes.

        Raises:
            WeightsError: as in `load`.
        """
        return cls._read(json.loads(tokenizer.to_str()), "the tokenizer")

    @classmethod
    def _read(cls, raw: Mapping[str, object], where: str) -> Vocabulary:
        if not _is_bpe(raw):
            raise WeightsError(f"Model not loaded: {where} holds no byte-pair vocabulary.")
        model = raw["model"]
        added = {token["content"]: token["id"] for token in raw["added_tokens"]}
        base = {name: token for name, token in model["vocab"].items() if name not in added}
        merges = [merge.split(" ") if isinstance(merge, str) else merge for merge in model["merges"]]
        if problems := [*_misplaced(base, added), *_unfit_settings(model), *_unfit_merges(base, merges)]:
            raise WeightsError(f"Model not loaded: {where} is not a planner's vocabulary: {'; '.join(problems)}.")
        first, size = added[AUDIO_CODE.format(0)], _size(base, added)
        vocabulary = cls(
            pieces=_pieces(base, added, size),
            first_code=first,
            codes=size - first,
            _controls={name: token for name, token in added.items() if token < first},
            _text=_text_tokenizer(raw, base, merges),
        )
        if vocabulary.spell(vocabulary.text(_PROBE)) != _PROBE:
            raise WeightsError(f"Model not loaded: {where} does not give text back as it was.")
        return vocabulary

    @property
    def size(self) -> int:
        """Number of ids."""
        return len(self.pieces)

    @property
    def end_of_turn(self) -> int:
        """Id of ``<|im_end|>``."""
        return self._controls[END_OF_TURN]

    @property
    def end_of_text(self) -> int:
        """Id of ``<|endoftext|>``, which also pads."""
        return self._controls[END_OF_TEXT]

    def text(self, words: str) -> list[int]:
        """Ids of a text, without a control token or code whatever it spells.

        Seams matter: the ids of two texts in a row are not those of the text they make together.
        """
        return self._text.encode(words, add_special_tokens=False).ids

    def control(self, name: str) -> int:
        """Id of a control token, such as ``<think>``; KeyError for a name the vocabulary does not have."""
        return self._controls[name]

    def code(self, number: int) -> int:
        """Id of a semantic code.

        Raises:
            InputError: this vocabulary has no such code.
        """
        if not 0 <= number < self.codes:
            raise InputError.must("audio_codes", f"be from 0 to {self.codes - 1} for this planner", number)
        return self.first_code + number

    def code_of(self, token: int) -> int | None:
        """The semantic code a token stands for, or None."""
        return token - self.first_code if self.first_code <= token < self.size else None

    def spell(self, tokens: Iterable[int]) -> str:
        """The text of tokens, control tokens and codes written out; bytes that are not UTF-8 become U+FFFD."""
        return b"".join(self.pieces[token] for token in tokens).decode("utf-8", "replace")


def _is_bpe(raw: Mapping[str, object]) -> bool:
    """Whether everything that is read from a file has the type it should have."""
    model, added = raw.get("model"), raw.get("added_tokens")
    if not isinstance(model, dict) or not isinstance(added, list):
        return False
    vocab, merges = model.get("vocab"), model.get("merges")
    return (
        isinstance(vocab, dict)
        and all(map(_is_id, vocab.values()))
        and isinstance(merges, list)
        and all(isinstance(token, dict) and _is_id(token.get("id")) for token in added)
        and all(isinstance(name := token.get("content"), str) and name.isprintable() for token in added)
    )


def _is_id(value: object) -> bool:
    return type(value) is int and 0 <= value < _IDS_MAX


def _size(base: Ids, added: Ids) -> int:
    """One more than the highest id."""
    return 1 + max((*base.values(), *added.values()))


def _misplaced(base: Ids, added: Ids) -> Iterator[str]:
    """Tokens that are not there, or not where they should be."""
    spelled = {token: name for names in (base, added) for name, token in names.items()}
    if len(spelled) < len(base) + len(added):
        yield f"{len(base) + len(added)} tokens share {len(spelled)} ids"
    if lacking := [marker for marker in MARKERS if marker not in added]:
        yield f"it lacks {', '.join(lacking)}"
    first = added.get(AUDIO_CODE.format(0))
    if first is None:
        yield "it has no audio codes"
        return
    for code, token in enumerate(range(first, _size(base, added))):
        if spelled.get(token) != AUDIO_CODE.format(code):
            found = repr(spelled[token]) if token in spelled else "missing"
            yield f"token {token} is {found}, not {AUDIO_CODE.format(code)}"
            return


def _unfit_settings(model: Mapping[str, object]) -> Iterator[str]:
    """Settings under which a piece would not be the bytes it spells, or not always."""
    for name in ("dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback"):
        if model.get(name):
            yield f"its {name} is {model[name]!r}, byte-level BPE has none"


def _unfit_merges(base: Ids, merges: list[object]) -> Iterator[str]:
    """The first merge that is not of two tokens into a third; the tokenizer would stop the process over it."""
    for merge in merges:
        if not _is_merge(merge) or merge[0] not in base or merge[1] not in base or merge[0] + merge[1] not in base:
            yield f"merge {merge!r} is not of its tokens"
            return


def _is_merge(value: object) -> TypeGuard[list[str]]:
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str) and isinstance(value[1], str)


def _pieces(base: Ids, added: Ids, size: int) -> tuple[bytes, ...]:
    pieces = [b""] * size
    for token, piece in zip(base.values(), byte_pieces(base), strict=True):
        pieces[token] = piece
    lacking = sorted({*range(0x100)} - {piece[0] for piece in pieces if len(piece) == 1})
    if lacking:
        raise WeightsError(f"Vocabulary not usable: it lacks the byte 0x{lacking[0]:02X}.")
    for name, token in added.items():
        pieces[token] = name.encode()
    return tuple(pieces)


def _text_tokenizer(raw: Mapping[str, object], base: Ids, merges: list[list[str]]) -> Tokenizer:
    """The file's tokenizer without added tokens; the large tables go to it directly, not as JSON once more."""
    parts = {name: raw.get(name) for name in ("normalizer", "pre_tokenizer")}
    empty = {"type": "BPE", "vocab": {}, "merges": []}
    tokenizer = Tokenizer.from_str(json.dumps({"version": "1.0", "added_tokens": [], "model": empty, **parts}))
    pairs = [(left, right) for left, right in merges]
    tokenizer.model = BPE(vocab=base, merges=pairs, ignore_merges=bool(raw["model"].get("ignore_merges")))
    return tokenizer
