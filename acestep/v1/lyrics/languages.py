"""The seventeen languages v1 sings, how its vocabulary names them, and which of them a request means.

Pure data and look-ups. Refuses to know how a language is detected or written out.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from acestep.constants import LANGUAGES
from acestep.errors import InputError

FALLBACK = "en"  # of structure tags, and of what is in no language that is known
LATIN = frozenset("cs de en es fr hu it nl pl pt tr".split())
SUPPORTED = LATIN | frozenset("ar hi ja ko ru zh".split())
_ALIASES: Mapping[str, str] = MappingProxyType({"zh-cn": "zh"})
_TOKENS: Mapping[str, str] = MappingProxyType({"zh": "zh-cn"})  # where the vocabulary has another name


def token_of(language: str) -> str:
    """The token a line of ``language`` begins with: ``[en]``; Chinese has ``[zh-cn]``."""
    return f"[{_TOKENS.get(language, language)}]"


def forced(language: str) -> str | None:
    """The language every line is read in, or None where each is to be detected.

    ``unknown`` and languages v1 was not trained on are detected: an unsupported one is best read as its nearest.

    Raises:
        InputError: no code of ``constants.LANGUAGES``.
    """
    code = _ALIASES.get(language, language)
    if code in SUPPORTED:
        return code
    if code not in LANGUAGES:
        raise InputError.unknown("vocal_language", language, LANGUAGES)
    return None
