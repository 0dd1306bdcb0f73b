"""The vocabulary of the planner's language model, checked against its network.

In: a folder, rows of an embedding table. Out: a ``Vocabulary``. Refuses to know prompts, sampling and networks.
"""

from __future__ import annotations

from pathlib import Path

from acestep.errors import WeightsError
from acestep.planner.vocabulary import Vocabulary


def load_vocabulary(folder: Path, rows: int) -> Vocabulary:
    """The vocabulary of a planner, for a network with an embedding table of ``rows``.

    Raises:
        WeightsError: the file is missing or broken, or has more tokens than that.
    """
    vocabulary = Vocabulary.load(folder)
    if vocabulary.size > rows:
        raise WeightsError(
            f"Model not loaded: {folder / 'tokenizer.json'} has {vocabulary.size} tokens, "
            f"the network only {rows} embeddings."
        )
    return vocabulary
