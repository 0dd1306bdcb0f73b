"""Plans without a transformer, and the embedded planner in a hurry: its network, but one that likes to end things.

The embedded planner writes captions and lyrics of a song's length, which take seconds. In the terse one every token
shares one large coordinate, which the network carries through to its head; tokens that end things have more of it
there, and words that begin with a blank, which fold a caption on, have less.
"""

from __future__ import annotations

import shutil
from functools import lru_cache
from pathlib import Path

from safetensors.torch import load_file, save_file

from acestep.checkpoints.registry import EMBEDDED_MODEL
from acestep.cogrun.schema import PROJECT
from acestep.llm_inference import LLMHandler
from acestep.params import GenerationConfig, GenerationParams
from acestep.planner.progress import Line, Share
from acestep.planner.vocabulary import Vocabulary
from acestep.planning import PlannedBatch, plan_songs
from acestep.reading import Reader
from acestep.request import Request

TINY_LM = PROJECT / "weights" / "tiny" / "lm"
_SHARED = 0.3  # of every embedding in the first coordinate; the others have 0.02
_LINE_END, _TURN_END, _BLANK = 0.78, 0.8, -0.5  # more of it, and less where a caption would go on in the next line


def terse_weights(root: Path) -> Path:
    """A folder of weights with the terse planner as the embedded one."""
    folder = root / "tiny" / "lm"
    shutil.copytree(TINY_LM, folder)
    file, vocabulary = folder / "model.safetensors", Vocabulary.load(folder)
    tensors = load_file(file)
    first = tensors["embed_tokens.weight"][:, 0]
    first += _SHARED
    first[vocabulary.text("\n")] += _LINE_END
    first[[vocabulary.end_of_turn, vocabulary.end_of_text]] += _TURN_END
    first[[token for token, piece in enumerate(vocabulary.pieces) if piece.startswith(b" ")]] += _BLANK
    save_file(tensors, file)
    return root


def terse_planner(root: Path, backend: str = "native") -> LLMHandler:
    """The handler of a terse planner in ``root``."""
    handler = LLMHandler()
    handler.initialize(terse_weights(root), "tiny", backend=backend, device="cpu")
    return handler


@lru_cache(maxsize=1)
def tiny_reader() -> Reader:
    """What the embedded transformer can be told."""
    return Reader.load(EMBEDDED_MODEL, PROJECT / "weights")


def planned(
    planner: LLMHandler | None,
    *,
    config: GenerationConfig | None = None,
    progress: Share | None = None,
    line: Line | None = None,
    **fields: object,
) -> PlannedBatch:
    """Plan as ``generate_music`` does, but play nothing; a song of 10 s without a caption of the planner's own."""
    usual = {"caption": "calm piano", "duration": 10, "seed": 1, "use_cot_caption": False}
    request = Request.from_params(
        GenerationParams(**{**usual, **fields}), config or GenerationConfig(batch_size=1), EMBEDDED_MODEL
    )
    return plan_songs(request, planner, tiny_reader(), progress, line)
