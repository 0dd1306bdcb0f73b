"""Lyrics of the first family: the language of each line, its spelling, its tokens.

In: lyrics as typed. Out: token ids, and advice on structure tags. Pure text, no torch; refuses to know networks.
"""

from __future__ import annotations

from acestep.v1.lyrics.languages import SUPPORTED
from acestep.v1.lyrics.tags import advice
from acestep.v1.lyrics.tokenizer import LyricTokenizer

__all__ = ["SUPPORTED", "LyricTokenizer", "advice"]
