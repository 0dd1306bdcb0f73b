"""The file of a lyric vocabulary, read with care: byte-pair pieces and added tokens, in the format of `tokenizers`.

In: a path. Out: a tokenizer. Every fault of the file is found here, in words; refuses to know what the tokens mean.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import Whitespace

from acestep.checkpoints.files import read_json
from acestep.errors import WeightsError

_PRE_TOKENIZER = {"type": "Whitespace"}
_UNUSUAL = (
    "dropout",
    "continuing_subword_prefix",
    "end_of_word_suffix",
    "fuse_unk",
    "byte_fallback",
    "ignore_merges",
)


def read_vocabulary(path: Path) -> Tokenizer:
    """The tokenizer in ``path``: pieces within words, added tokens found before them.

    Raises:
        WeightsError: the file is missing, not JSON, or not a byte-pair vocabulary of this kind; says what is wrong.
    """
    raw = read_json(path)
    problem = next(_problems(raw), None)
    if problem:
        raise WeightsError(f"Model not loaded: {path} is not a lyric vocabulary: {problem}.")
    model, added = raw["model"], raw["added_tokens"]
    merges = [tuple(_pair(merge)) for merge in model["merges"]]
    tokenizer = Tokenizer(BPE(vocab=model["vocab"], merges=merges, unk_token=model["unk_token"]))
    tokenizer.pre_tokenizer = Whitespace()
    in_order = sorted(added, key=lambda token: token["id"])
    tokenizer.add_special_tokens([AddedToken(token["content"], normalized=False) for token in in_order])
    moved = [token["content"] for token in added if tokenizer.token_to_id(token["content"]) != token["id"]]
    if moved:
        raise WeightsError(f"Model not loaded: {path} has other ids than it says for {', '.join(moved[:3])}.")
    return tokenizer


def _problems(raw: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with a file; each check may rely on those before it."""
    match raw:
        case {"model": {"type": "BPE", "vocab": dict(), "merges": list(), "unk_token": str()} as model}:
            vocab, unknown = model["vocab"], model["unk_token"]
        case _:
            yield "it holds no byte-pair model with an unknown token"
            return
    if raw.get("pre_tokenizer") != _PRE_TOKENIZER or raw.get("normalizer") or raw.get("post_processor"):
        yield "its words are not told apart by white space alone"
    if not all(isinstance(i, int) for i in vocab.values()) or set(vocab.values()) != set(range(len(vocab))):
        yield "its ids do not count from 0"
    if unusual := [name for name in _UNUSUAL if model.get(name)]:
        yield f"{' and '.join(unusual)} is set"
    if unknown not in vocab:
        yield f"its unknown token {unknown} is no piece"
    lost = (merge for merge in model["merges"] if not _is_merge(merge, vocab))
    yield from (f"the merge {merge!r} is not of its pieces" for merge in lost)
    added = raw.get("added_tokens")
    if not isinstance(added, list) or not all(map(_is_added, added)):
        yield "its added tokens have no content or id"


def _pair(merge: Any) -> list[str]:
    """Both writings of a merge: ``"a b"`` and ``["a", "b"]``."""
    return merge.split(" ") if isinstance(merge, str) else merge


def _is_merge(merge: Any, vocab: Mapping[str, int]) -> bool:
    match _pair(merge):
        case [str() as left, str() as right]:
            return {left, right, left + right} <= vocab.keys()
    return False


def _is_added(token: Any) -> bool:
    match token:
        case {"content": str() as content, "id": int() as i, **others}:
            return (
                bool(content) and i >= 0 and not any(others.get(way) for way in ("lstrip", "rstrip", "single_word"))
            )
    return False
