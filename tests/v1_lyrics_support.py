"""A small lyric vocabulary of the published shape, with its own ids, and upstream's published examples."""

from __future__ import annotations

import json
import string
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from acestep.v1.lyrics.tags import KNOWN
from acestep.v1.lyrics.tokenizer import NEEDED, LyricTokenizer

MERGES = (
    ("h", "e"),
    ("l", "l"),
    ("ll", "o"),
    ("l", "o"),
    ("v", "e"),
    ("v", "er"),
    ("e", "r"),
    ("s", "e"),
    ("ver", "se"),
)
LETTERS = string.ascii_lowercase + "12345" + ",'-.!()" + "áéñüçğı" + "приветм" + "أحبك" + "मैंहूँ"

# Line, what upstream counts by language, the language it is read in, the text the vocabulary is asked for.
UPSTREAM: tuple[tuple[str, dict[str, int], str, str], ...] = (
    ("- hello world again", {"en": 20, "zh": 4}, "zh", ", hello world again"),
    ("* I love you so", {"en": 16, "zh": 4}, "zh", ", i love you so"),
    ("… and then we danced", {"en": 21, "zh": 4}, "zh", ", and then we danced"),
    ("2 hearts beat", {"en": 14, "zh": 4}, "zh", "er4 hearts beat"),
    ("1st place, 3.5 miles", {"en": 23, "zh": 2}, "zh", "yi1st place, san1dian3wu3 miles"),
    ("♪ la la la ♪", {"es": 12, "zh": 4}, "es", "♪ la la la ♪"),
    ("'Cause I love you", {"de": 17}, "de", "'cause i love you"),
    ('"Hello" she said', {"it": 16}, "it", "hello she said"),
    ("Let's go.", {"cs": 9}, "cs", "let's go."),
    ("Je t'aime, mon amour", {"en": 21}, "en", "je t'aime, mon amour"),
    ("Oh oh oh", {"fi": 8}, "en", "oh oh oh"),
    ("I love you 3000", {"en": 16}, "en", "i love you three thousand"),
    ("Mr. Smith paid $20 & left", {"en": 29}, "en", "mister smith paid twenty dollars and left"),
    ("(ooh yeah)", {"en": 11}, "en", "(ooh yeah)"),
    ("!!!", {"zh": 6}, "zh", ",,,"),
    ("...", {"zh": 6}, "zh", ",,,"),
    ("我爱你", {"zh": 6}, "zh", "wo3ai4ni3"),
    ("我想对你说 I love you", {"zh": 12, "en": 11}, "zh", "wo3xiang3dui4ni3shuo1 i love you"),
    ("我们在2024年相遇", {"zh": 20}, "zh", "wo3men5zai4er4ling2er4si4nian2xiang1yu4"),
    ("爱情100%", {"zh": 12}, "zh", "ai4qing2bai3fen1zhi1yi4bai3"),
    ("君のことが好きだよ", {"ja": 9}, "ja", "kimi no koto ga suki da yo"),
    ("愛してる", {"ja": 4}, "ja", "aishiteru"),
    ("사랑해요 그대", {"ko": 7}, "ko", "salanghae-yo geudae"),
    ("Te quiero mucho mi amor", {"es": 23}, "es", "te quiero mucho mi amor"),
    ("Ich liebe dich 2 mal", {"de": 17, "en": 4}, "de", "ich liebe dich zwei mal"),
    ("Я тебя люблю", {"ru": 12}, "ru", "я тебя люблю"),
    ("मैं तुमसे प्यार करता हूँ", {"hi": 16, "mr": 8}, "hi", "मैं तुमसे प्यार करता हूँ"),
    ("أحبك", {"ar": 4}, "ar", "أحبك"),
    ("ผมรักคุณ", {"th": 8}, "en", "ผมรักคุณ"),
)


def small_vocabulary(*, tokens: Sequence[str] = NEEDED) -> dict[str, Any]:
    """A vocabulary file: letters, merged pieces, then ``tokens``; structure tags are added to them."""
    merged = ["".join(pair) for pair in MERGES]
    pieces = list(dict.fromkeys([*LETTERS, *merged, *tokens]))
    vocab = {piece: i for i, piece in enumerate(pieces)}
    added = {token: vocab[token] for token in tokens} | {tag: len(vocab) + i for i, tag in enumerate(KNOWN)}
    return {
        "version": "1.0",
        "added_tokens": [{"id": i, "special": True, "content": token} for token, i in added.items()],
        "normalizer": None,
        "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": None,
        "decoder": None,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": "[UNK]",
            "fuse_unk": False,
            "vocab": vocab,
            "merges": [f"{left} {right}" for left, right in MERGES],
        },
    }


def write_vocabulary(content: object, folder: Path) -> Path:
    """The content as the file a checkpoint folder holds."""
    path = folder / "vocab.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def small_tokenizer(folder: Path) -> LyricTokenizer:
    """A tokenizer of the small vocabulary."""
    return LyricTokenizer.load(write_vocabulary(small_vocabulary(), folder))


def names(content: dict[str, Any]) -> dict[int, str]:
    """Every token of a vocabulary file by its id."""
    return {i: token for token, i in content["model"]["vocab"].items()} | {
        token["id"]: token["content"] for token in content["added_tokens"]
    }
