"""The small vocabularies of the embedded v1 model, in the form of the published ones, from words of this project.

Out: a byte-pair vocabulary for lyrics with every token that v1's tokenizer asks for by name, and a unigram vocabulary
for tags. Nothing in them is random. Refuses to know files and networks.
"""

from __future__ import annotations

import math
import string
from collections import Counter
from collections.abc import Iterable, Iterator

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from acestep.constants import TRACK_NAMES
from acestep.training.compose.styles import STYLES
from acestep.training.compose.wording import MOODS, TEMPOS
from acestep.training.compose.words import ENGLISH_RHYMES, ENGLISH_WORDS, HALVES
from acestep.v1.lyrics.languages import SUPPORTED, token_of
from acestep.v1.lyrics.tags import KNOWN
from acestep.v1.text import END, UNKNOWN

LYRIC_TOKENS = 640
_UNKNOWN_LYRIC = "[UNK]"
_CONTROLS = ("[STOP]", _UNKNOWN_LYRIC, "[SPACE]", "[START]")
_UNSPACED = frozenset({"zh", "ja"})  # reach the tokenizer in Latin letters
_LETTERS = {  # of the scripts that reach it as they are written
    "Latin": string.ascii_lowercase + string.digits + "!'(),-./:;?" + "".join(map(chr, range(0xDF, 0x180))),
    "Cyrillic": "".join(map(chr, range(0x430, 0x460))),
    "Arabic": "".join(map(chr, (*range(0x621, 0x63B), *range(0x641, 0x653)))),
    "Devanagari": "".join(map(chr, range(0x901, 0x94E))),
}

_PAD = "<pad>"
_SPACE = "▁"
_TYPED = string.digits + string.ascii_letters + string.punctuation
_CHARACTER_SCORE, _BYTE_SCORE = -12.0, -20.0  # log-probabilities below that of any word
_EXTRA_TAGS = "bpm beat beats music song instrumental female male vocal vocals voice with and a the of in key tempo"


def lyric_vocabulary() -> Tokenizer:
    """A byte-pair vocabulary of 640 tokens; the control, language and structure tokens come first."""
    tokenizer = Tokenizer(models.BPE(unk_token=_UNKNOWN_LYRIC))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    special = (*_CONTROLS, *map(token_of, sorted(SUPPORTED)), *KNOWN)
    trainer = trainers.BpeTrainer(
        vocab_size=LYRIC_TOKENS,
        initial_alphabet=list("".join(_LETTERS.values())),
        special_tokens=[AddedToken(token, special=True, normalized=False) for token in special],
        show_progress=False,
    )
    tokenizer.train_from_iterator(_sung(), trainer)
    return tokenizer


def tag_vocabulary() -> Tokenizer:
    """A unigram vocabulary: words of tags, single characters, and bytes for everything else."""
    words = Counter(word for tag in _tags() for word in tag.split())
    total = words.total()
    pieces = [(_PAD, 0.0), (END, 0.0), (UNKNOWN, 0.0)]
    pieces += [(f"<0x{byte:02X}>", _BYTE_SCORE) for byte in range(256)]
    pieces += [(character, _CHARACTER_SCORE) for character in (_SPACE, *_TYPED)]
    pieces += [(f"{_SPACE}{word}", round(math.log(count / total), 4)) for word, count in sorted(words.items())]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=2, byte_fallback=True))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(f"$A {END}", special_tokens=[(END, 1)])
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token, _ in pieces[:3]])
    return tokenizer


def _sung() -> Iterator[str]:
    """Words and half lines in the languages whose spelling reaches the tokenizer."""
    for words in (*ENGLISH_WORDS.values(), *ENGLISH_RHYMES):
        yield from _whole(words)
    for language, halves in HALVES.items():
        if language not in _UNSPACED:
            for half in halves:
                yield from _whole(half)


def _whole(cut: Iterable[str]) -> Iterator[str]:
    """Without the hyphens between syllables."""
    return (words.replace("-", "").lower() for words in cut)


def _tags() -> Iterator[str]:
    for style in STYLES.values():
        yield from style.labels
    for choice in (*MOODS.values(), *TEMPOS.values()):
        yield from choice
    yield from (name.replace("_", " ") for name in TRACK_NAMES)
    yield _EXTRA_TAGS
