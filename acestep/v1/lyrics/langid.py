"""Which language a text in any script, or in Latin letters, is likely to be in: langid's bundled model.

In: text. Out: a code with its probability, or a score for each. Refuses to decide what a line is sung in.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from acestep.v1.lyrics.extras import required
from acestep.v1.lyrics.languages import LATIN


def identify(text: str) -> tuple[str, float]:
    """The likeliest of all 97 languages of the model, and its probability among them.

    Raises:
        UnsupportedError: py3langid is not installed.
    """
    code, probability = _identifier(latin=False).classify(text)
    return code, float(probability)


def latin_scores(text: str) -> dict[str, float]:
    """Score of the text in each language of `LATIN`: log posterior in nats, up to one constant for all of them.

    Raises:
        UnsupportedError: py3langid is not installed.
    """
    model = _identifier(latin=True)
    scores = model.nb_classprobs(model.instance2fv(text))
    return dict(zip(model.nb_classes, map(float, scores), strict=True))


@cache
def _identifier(*, latin: bool) -> Any:
    """The model, its probabilities normalised; of the restricted one only scores are asked."""
    langid = required("py3langid.langid")
    model = langid.LanguageIdentifier.from_pickled_model(langid.MODEL_FILE, norm_probs=True)
    if latin:
        model.set_languages(sorted(LATIN))
    return model
