"""Songs made by rule: ``compose`` writes one from a seed, ``caption`` says what it is.

In: a seed. Out: a ``score.Score`` and text about it. Refuses to know audio, networks and files.
"""

from __future__ import annotations

from acestep.training.compose.captions import caption
from acestep.training.compose.composer import compose
from acestep.training.compose.styles import STYLES, Style

__all__ = ["STYLES", "Style", "caption", "compose"]
