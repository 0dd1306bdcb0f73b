"""What must not be published is cut out of values: local folders, credentials, tokens, text that no tag can hold.

In: any value that is made of JSON types, paths and numpy numbers. Out: a copy in plain JSON types that may lie in a
public file; doing it again changes nothing. Refuses to know what the value means: only the name of a field decides
whether a text is a person's own words, in which a slash is no path.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from numbers import Integral, Real
from pathlib import PurePath, PurePosixPath, PureWindowsPath
from typing import Any

FREE_TEXT = ("caption", "lyrics", "prompt", "instruction", "query")  # a person's words: a slash in them is no path
HIDDEN = "***"  # stands for a token that was cut out

_CREDENTIALS = re.compile(r"(\b[a-z][a-z0-9+.-]{0,20}://)[^/\s?#]*@", re.IGNORECASE)
_URL = re.compile(r"\b[a-z][a-z0-9+.-]{0,20}://\S+", re.IGNORECASE)
_FILE_URL = re.compile(r"\bfile://(?:[^/\s]*/)+", re.IGNORECASE)
_POSIX_FOLDERS = re.compile(r"(?<![\w.:/~])~?/(?:[^/\s'\"]+/)+")
_WINDOWS_FOLDERS = re.compile(r"(?<!\w)[a-z]:[\\/](?:[^\\/\s'\"]+[\\/])*", re.IGNORECASE)
_SHARED_FOLDERS = re.compile(r"(?<![\w\\])\\\\(?:[^\\/\s'\"]+[\\/])+")
_TOKEN = re.compile(  # keys of the services that people of this trade use, and JSON web tokens
    r"(?<![A-Za-z0-9])(?:"
    r"(?:hf|r8)_[A-Za-z0-9]{16,}|gh[a-z]_[A-Za-z0-9]{16,}|github_pat_\w{16,}|sk-[\w-]{16,}|AKIA[A-Z0-9]{16}"
    r"|eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*)"
)
_BEARER = re.compile(r"\b(bearer\s+)[\w.~+/=-]{8,}", re.IGNORECASE)
_NAMED_SECRET = re.compile(
    r"(?<![A-Za-z])(token|secret|passwo?r?d|api[_-]?key|signature)(\s*[=:]\s*)[^\s,;'\"]+", re.IGNORECASE
)


def scrubbed(value: Any, key: str = "") -> Any:
    """A copy in plain JSON types without local folders and tokens, and without credentials or queries in URLs.

    Strings under a key that is a person's own text (``FREE_TEXT``) keep everything but URL credentials and tokens.

    Raises:
        TypeError: something has no JSON form.
    """
    if isinstance(value, Mapping):
        return {_clean(str(name), _without_folders): scrubbed(item, str(name)) for name, item in value.items()}
    if isinstance(value, PurePath):
        return _clean(value.name, _without_folders)
    if isinstance(value, str):
        return _clean(value, _without_credentials if _is_free_text(key) else _without_folders)
    if isinstance(value, (list, tuple)):
        return [scrubbed(item, key) for item in value]
    return _plain_number(value)


def writable_text(text: str) -> str:
    """Text that every tag system can hold: no NUL, no lone surrogates."""
    return text.replace("\0", "").encode("utf-8", "replace").decode("utf-8")


def _is_free_text(key: str) -> bool:
    return any(word in key for word in FREE_TEXT)


def _clean(text: str, clean: Callable[[str], str]) -> str:
    """``clean`` repeated until it finds nothing: what it cut out may have held two finds together."""
    text = writable_text(text)
    while (cleaner := clean(text)) != text:
        text = cleaner
    return text


def _without_credentials(text: str) -> str:
    return _BEARER.sub(rf"\1{HIDDEN}", _TOKEN.sub(HIDDEN, _CREDENTIALS.sub(r"\1", text)))


def _without_folders(text: str) -> str:
    text = _URL.sub(lambda url: re.split("[?#]", url[0], maxsplit=1)[0], _without_credentials(text))
    text = _NAMED_SECRET.sub(rf"\1\2{HIDDEN}", _FILE_URL.sub("", text))
    if text.startswith(("/", "~/")):
        return PurePosixPath(text).name
    if re.match(r"[A-Za-z]:[\\/]|\\\\", text):
        return PureWindowsPath(text).name
    return _SHARED_FOLDERS.sub("", _WINDOWS_FOLDERS.sub("", _POSIX_FOLDERS.sub("", text)))


def _plain_number(value: Any) -> bool | int | float | None:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        return float(value)
    raise TypeError(f"a recipe cannot hold a {type(value).__name__}")
