"""What a v1 model can be told: tags and lyrics as token ids. No weights are needed.

In: a registry row and its folder, or both tokenizers. Out: ids, or one sentence about what is too long. Refuses to
know networks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from acestep.checkpoints.registry_v1 import LYRICS_FILE
from acestep.checkpoints.rows import ModelSpec
from acestep.constants import INSTRUMENTAL_LYRICS
from acestep.errors import InputError
from acestep.planner.plan import Plan
from acestep.request import Request
from acestep.v1.lyrics.tokenizer import LyricTokenizer
from acestep.v1.text import TagTokenizer

LYRIC_TOKENS_MAX = 4096  # as in training
NOTHING_SUNG = "[inst]"  # what this generation calls ``[Instrumental]``


@dataclass(frozen=True, slots=True)
class V1Words:
    """One set of words as the networks read them.

    Attributes:
        tags: ids of the prompt, its end marker included.
        lyrics: ids of the lyrics; () where there are none.
    """

    tags: tuple[int, ...]
    lyrics: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class V1Reader:
    """The reading half of a model.

    Attributes:
        spec: its row.
        tag_tokenizer, lyric_tokenizer: of prompt and lyrics.
    """

    spec: ModelSpec
    tag_tokenizer: TagTokenizer
    lyric_tokenizer: LyricTokenizer

    @classmethod
    def load(cls, spec: ModelSpec, root: Path) -> V1Reader:
        """The reader of ``spec`` in the weights folder ``root``.

        Raises:
            WeightsError: a vocabulary is missing or broken.
        """
        from acestep.v1.load import read_tag_tokenizer  # the networks are only needed by those who play

        lyrics = root / spec.others[-1] / LYRICS_FILE
        return cls(spec, read_tag_tokenizer(root / spec.text_encoder), LyricTokenizer.load(lyrics))

    @property
    def codebook_size(self) -> int:
        """Number of semantic codes: this generation has none."""
        return 0

    def tokenize(self, request: Request, plans: Sequence[Plan]) -> tuple[V1Words, ...]:
        """The words of every song as token ids.

        Raises:
            InputError: they are more than the networks read.
        """
        return tuple(self.read(plan, request.lyric_detection) for plan in plans)

    def read(self, plan: Plan, detection: str) -> V1Words:
        """The words of one song.

        Args:
            detection: how the language of a line is found where the plan leaves it open.

        Raises:
            InputError: they are more than the networks read.
        """
        lyrics = NOTHING_SUNG if plan.lyrics.strip() == INSTRUMENTAL_LYRICS else plan.lyrics
        ids = self.lyric_tokenizer.ids(lyrics, language=plan.metadata.language, detection=detection)
        if len(ids) > LYRIC_TOKENS_MAX:
            raise InputError(
                f"Tokenization error: lyrics make {len(ids)} tokens, the model reads at most {LYRIC_TOKENS_MAX}; "
                f"shorten them by about {len(ids) - LYRIC_TOKENS_MAX} tokens.",
                field="lyrics",
                value=len(ids),
            )
        return V1Words(self.tag_tokenizer(plan.caption), ids if self.lyric_tokenizer.sings(ids) else ())
