"""What a model can be told: its prompts as token ids, and how many semantic codes it knows. No weights are needed.

In: a registry row and its folder, or the parts of a loaded family. Out: a ``Reader``. Refuses to know networks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from acestep.checkpoints.files import read_json
from acestep.checkpoints.qwen3 import read_tokenizer
from acestep.checkpoints.rows import ModelSpec
from acestep.conditioning.prompt import lyric_prompt, text_prompt
from acestep.conditioning.text import PromptTokenizer, PromptTokens
from acestep.models.config import AceStepConfig
from acestep.pieces import Piece
from acestep.planner.plan import Plan
from acestep.request import Request


@dataclass(frozen=True, slots=True)
class Reader:
    """The reading half of a model.

    Attributes:
        spec: its row.
        tokenizer: of its prompts.
        codebook_size: its semantic codes are 0 to this - 1.
    """

    spec: ModelSpec
    tokenizer: PromptTokenizer
    codebook_size: int

    @classmethod
    def load(cls, spec: ModelSpec, root: Path) -> Reader:
        """The reader of ``spec`` in the weights folder ``root``.

        Raises:
            WeightsError: configuration or vocabulary are missing or broken.
        """
        config = AceStepConfig.from_dict(read_json(root / spec.folder / "config.json"))
        return cls(spec, PromptTokenizer(read_tokenizer(root / spec.text_encoder)), config.codebook_size)

    def tokenize(self, request: Request, plans: Sequence[Plan]) -> tuple[PromptTokens, ...]:
        """Prompts of every song as token ids.

        Raises:
            InputError: a prompt is longer than the networks read.
        """
        return tuple(self._read(plan, request.instruction_for(plan)) for plan in plans)

    def read(self, pieces: Sequence[Piece]) -> tuple[PromptTokens, ...]:
        """Prompts of every piece as token ids.

        Raises:
            InputError: as ``tokenize``.
        """
        return tuple(self._read(piece.plan, piece.instruction) for piece in pieces)

    def _read(self, plan: Plan, instruction: str) -> PromptTokens:
        return self.tokenizer(text_prompt(plan, instruction), lyric_prompt(plan))
