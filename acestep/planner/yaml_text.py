"""One text value as YAML spells it: planners were trained on chains of thought that PyYAML wrote, 80 columns wide.

In: a text and the column it starts in, or what a model wrote after ``caption:``. Out: the YAML scalar, or the text.
Writing equals PyYAML's dump, except that the rare line breaks U+0085, U+2028 and U+2029 are escaped. Reading is
tolerant and never fails: what is not well-formed YAML is taken as plain words. Refuses to know field names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

WIDTH = 80  # columns; a line ends at the first single blank after them
INDENT = "  "  # how a value goes on in the next line

_ESCAPES = {
    "\0": "0",
    "\a": "a",
    "\b": "b",
    "\t": "t",
    "\n": "n",
    "\v": "v",
    "\f": "f",
    "\r": "r",
    "\x1b": "e",
    '"': '"',
    "\\": "\\",
    "\x85": "N",
    "\xa0": "_",
    "\u2028": "L",
    "\u2029": "P",
}
_UNESCAPES = {letter: char for char, letter in _ESCAPES.items()} | {" ": " ", "/": "/"}

# What forces double quotes: characters YAML does not print, and blanks that folding would lose.
_UNPRINTABLE = re.compile("[^\n\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010fffe]")
_BLANK_AT_BREAK = re.compile(" \n|\n ")
# What forces single quotes: marks of YAML at the start, inside, or at the end.
_MARKS = re.compile(
    r"""^(?:$ | --- | \.\.\. | [#,\[\]{}&*!|>'"%@`] | [-?:](?:\ |$))
      | :(?:\ |$) | \ \# | ^\  | \ $ | \n""",
    re.VERBOSE,
)
# Words that YAML 1.1 takes for something else than text: yes and no, nothing, numbers (also 1:30), dates.
_NOT_TEXT = re.compile(
    r"""yes|Yes|YES|no|No|NO|true|True|TRUE|false|False|FALSE|on|On|ON|off|Off|OFF
      | ~|null|Null|NULL|<<|=
      | [-+]?(?:0b[01_]+|0x[0-9a-fA-F_]+|0[0-7_]+|0|[1-9][0-9_]*(?::[0-5]?[0-9])*)
      | [-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+][0-9]+)? | \.[0-9][0-9_]*(?:[eE][-+][0-9]+)?
      | [-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+\.[0-9_]*
      | [-+]?\.(?:inf|Inf|INF) | \.(?:nan|NaN|NAN)
      | [0-9]{4}-[0-9]{2}-[0-9]{2}
      | [0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:[Tt]|[ \t]+)[0-9]{1,2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]*)?
        (?:[ \t]*(?:Z|[-+][0-9]{1,2}(?::[0-9]{2})?))?""",
    re.VERBOSE,
)
_RUNS = re.compile(r"(\n+| +)")

_SINGLE_QUOTED = re.compile(r"'((?:[^']|'')*)'")
_DOUBLE_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_BLOCK_MARK = re.compile(r"[|>][-+]?[ \t]*\n")
_FOLD = re.compile(r"[ \t]*\n(?:[ \t]*\n)*[ \t]*")
_ESCAPE_OR_FOLD = re.compile(
    r"\\(?:\n[ \t]*|x[0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8}|.)|[ \t]*\n(?:[ \t]*\n)*[ \t]*", re.DOTALL
)


def write_scalar(text: str, column: int) -> str:
    """A text as a YAML value: as it is where possible, else in single quotes, else in double quotes.

    Args:
        text: any text.
        column: characters that already stand in the line, such as 9 after ``caption: ``.

    Returns:
        The value, without a newline after it; further lines begin with two blanks.
    """
    if _UNPRINTABLE.search(text) or _BLANK_AT_BREAK.search(text):
        return f'"{_escaped(text, column + 1)}"'
    if _MARKS.search(text) or _NOT_TEXT.fullmatch(text):
        return f"'{_folded(text.replace(chr(39), chr(39) * 2), column + 1)}'"
    return _folded(text, column)


def read_scalar(raw: str) -> str:
    """The text of a YAML value as a model may have written it, further lines included."""
    value = raw.strip(" \t\r\n")
    if quoted := _SINGLE_QUOTED.fullmatch(value):
        return _FOLD.sub(_unfolded, quoted[1]).replace("''", "'")
    if quoted := _DOUBLE_QUOTED.fullmatch(value):
        return _ESCAPE_OR_FOLD.sub(_unescaped, quoted[1])
    block = _BLOCK_MARK.match(value)
    lines = (line.strip(" \t\r") for line in value[block.end() if block else 0 :].split("\n"))
    return " ".join(line for line in lines if line)


def _folded(text: str, column: int) -> str:
    """Break the line at single blanks past the width; a newline of the text becomes an empty line."""
    parts = []
    runs = _RUNS.split(text)
    for index, run in enumerate(runs):
        at_an_end = "" in (runs[index - 1] if index else "", runs[index + 1] if index + 1 < len(runs) else "")
        if run.startswith("\n"):
            parts.append("\n" + run + INDENT)
            column = len(INDENT)
        elif run == " " and column > WIDTH and not at_an_end:
            parts.append("\n" + INDENT)
            column = len(INDENT)
        else:
            parts.append(run)
            column += len(run)
    return "".join(parts)


def _escaped(text: str, column: int) -> str:
    """The inside of double quotes; a backslash ends a line that is too long."""
    return "".join(_escaped_parts(text, column))


def _escaped_parts(text: str, column: int) -> Iterator[str]:
    """Characters and line ends: a line may end before a blank, and on both sides of an escape's end.

    PyYAML counts a line that ends in an escape one column shorter; so do we.
    """
    last, after_escape = len(text) - 1, False
    for index, char in enumerate(text):
        inside, escape = 0 < index < last, _escape(char)
        if inside and not escape and column > WIDTH and (char == " " or after_escape):
            yield (line_end := _line_end(char))
            column = len(line_end) - len("\\\n")
        yield escape or char
        column += len(escape or char)
        if inside and escape and column > WIDTH + 1:
            yield (line_end := _line_end(text[index + 1]))
            column = len(line_end) - len("\\\n")
        after_escape = bool(escape)


def _line_end(following: str) -> str:
    """A line break that is not a blank; a blank after it needs a backslash."""
    return "\\\n" + INDENT + ("\\" if following == " " else "")


def _escape(char: str) -> str:
    """How double quotes spell a character, or ``""`` for as it is."""
    code = ord(char)
    plain = 0x20 <= code <= 0x7E or (0xA0 <= code <= 0xFFFD and not _UNPRINTABLE.match(char))
    if plain and char not in '"\\':
        return ""
    if char in _ESCAPES:
        return "\\" + _ESCAPES[char]
    if code <= 0xFF:
        return f"\\x{code:02X}"
    return f"\\u{code:04X}" if code <= 0xFFFF else f"\\U{code:08X}"


def _unfolded(match: re.Match[str]) -> str:
    """A line break is a blank; each empty line is a newline."""
    return "\n" * (match[0].count("\n") - 1) or " "


def _unescaped(match: re.Match[str]) -> str:
    found = match[0]
    if not found.startswith("\\"):
        return _unfolded(match)
    name = found[1:]
    if name.startswith("\n"):
        return ""
    if len(name) > 1:
        code = int(name[1:], 16)
        return chr(code) if code <= 0x10FFFF else found
    return _UNESCAPES.get(name, found)
