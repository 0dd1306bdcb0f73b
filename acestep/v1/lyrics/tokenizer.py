"""Lyrics to the token ids v1 was trained on: each line in its language's spelling, then a byte-pair vocabulary.

In: lyrics with structure tags, as typed. Out: ids: ``[START]``, then of every line its language, its pieces and
``[SPACE]``. Refuses to know embeddings, masks and how many ids a network takes.

Unlike upstream, which drops a line it fails on, nothing that is typed is lost: what the vocabulary lacks becomes
``[UNK]``, a package that is missing an error.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from tokenizers import Tokenizer

from acestep.errors import InputError, WeightsError
from acestep.v1.lyrics.clean import clean
from acestep.v1.lyrics.detect import song_languages
from acestep.v1.lyrics.languages import FALLBACK, SUPPORTED, forced, token_of
from acestep.v1.lyrics.tags import begins_with_tag
from acestep.v1.lyrics.upstream_detect import upstream_languages
from acestep.v1.lyrics.vocabulary import read_vocabulary

START, STOP, SPACE, UNKNOWN = "[START]", "[STOP]", "[SPACE]", "[UNK]"
NEEDED = (STOP, UNKNOWN, SPACE, START, *map(token_of, sorted(SUPPORTED)))
DETECTIONS: Mapping[str, Callable[[Sequence[str]], tuple[str, ...]]] = MappingProxyType(
    {"script": song_languages, "upstream": upstream_languages}
)


class LyricTokenizer:
    """Reads lyrics as v1 does.

    Args:
        vocabulary: byte-pair pieces with the tokens of `NEEDED`, wherever they stand.

    Raises:
        WeightsError: tokens are missing; names them all.
    """

    def __init__(self, vocabulary: Tokenizer) -> None:
        ids = {token: vocabulary.token_to_id(token) for token in NEEDED}
        lacking = [token for token, i in ids.items() if i is None]
        if lacking:
            raise WeightsError(f"Model not loaded: the lyric vocabulary lacks {', '.join(lacking)}.")
        self._vocabulary = vocabulary
        self._ids = ids

    @classmethod
    def load(cls, path: Path) -> LyricTokenizer:
        """The tokenizer whose vocabulary is the file ``path``.

        Raises:
            WeightsError: the file is missing or broken, holds no byte-pair vocabulary, or lacks a token.
        """
        return cls(read_vocabulary(path))

    @property
    def size(self) -> int:
        """Number of tokens, added ones included."""
        return self._vocabulary.get_vocab_size()

    @property
    def unknown_id(self) -> int:
        """Stands for what the vocabulary has no piece for."""
        return self._ids[UNKNOWN]

    def ids(self, lyrics: str, *, language: str = "unknown", detection: str = "script") -> tuple[int, ...]:
        """Token ids of a whole song; ``([STOP],)`` where there is nothing to read (see `sings`).

        Args:
            lyrics: lines to sing; a line that begins with a structure tag is read in English, whatever follows it.
            language: a code of ``constants.LANGUAGES``, also ``zh-cn``. A supported one is that of every line; any
                other leaves each line to be detected.
            detection: ``script``, by script and by the words of the whole song; ``upstream``, line by line with the
                faults of the published program, for its exact ids.

        Raises:
            InputError: the language or the detection is unknown.
            UnsupportedError: a package of the extra ``v1`` that these lyrics need is not installed.
        """
        if detection not in DETECTIONS:
            raise InputError.unknown("detection", detection, DETECTIONS)
        code = forced(language)
        if not lyrics.strip():
            return (self._ids[STOP],)
        rows = [row.strip() for row in lyrics.split("\n")]
        languages = DETECTIONS[detection](rows) if code is None else (code,) * len(rows)
        ids = [self._ids[START]]
        for row, spoken in zip(rows, languages, strict=True):
            ids += [*self._line(row, FALLBACK if begins_with_tag(row) else spoken), self._ids[SPACE]]
        return tuple(ids)

    def sings(self, ids: Sequence[int]) -> bool:
        """False for the ids of empty lyrics: their one position is masked."""
        return tuple(ids) != (self._ids[STOP],)

    def _line(self, row: str, language: str) -> list[int]:
        if not row:
            return []
        text = token_of(language) + clean(row, language).replace(" ", SPACE)
        return self._vocabulary.encode(text).ids
