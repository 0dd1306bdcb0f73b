"""What a rule says: its name, the place, one sentence, how much it matters.

In: nothing. Out: values. Refuses to know the rules and what they look at.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

WARNING = "warning"  # likely to come out wrong
HINT = "hint"  # a matter of taste, or a count that is only estimated
CAPTION, LYRICS = "caption", "lyrics"
QUOTED_AT_MOST = 40  # characters of a text that a message repeats


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding.

    Attributes:
        rule: name of the rule.
        where: ``caption``, ``lyrics``, ``lyrics:12`` (a line, from 1), or a field of the metadata such as ``bpm``.
        message: one sentence that says what was found and what to do; the place is not said again.
        severity: ``warning`` or ``hint``.
    """

    rule: str
    where: str
    message: str
    severity: str

    def __str__(self) -> str:
        return f"{self.severity} {self.where} {self.rule}: {self.message}"

    def to_dict(self) -> dict[str, str]:
        """As JSON takes it."""
        return asdict(self)

    @property
    def place(self) -> tuple[str, int]:
        """Sorts findings: caption, then lyrics by line, then metadata."""
        field, _, line = self.where.partition(":")
        order = (CAPTION, LYRICS)
        return (str(order.index(field)) if field in order else field, int(line or 0))


def warning(rule: str, where: str, message: str) -> Finding:
    """A finding that is likely to spoil the song."""
    return Finding(rule, where, message, WARNING)


def hint(rule: str, where: str, message: str) -> Finding:
    """A finding that is a matter of taste."""
    return Finding(rule, where, message, HINT)


def at(line: int) -> str:
    """The place of a line of the lyrics, counted from 1."""
    return f"{LYRICS}:{line}"


def clipped(text: str) -> str:
    """What a message repeats of a text: spaces collapsed, cut with an ellipsis at ``QUOTED_AT_MOST`` characters."""
    line = " ".join(text.split())
    return line if len(line) <= QUOTED_AT_MOST else f"{line[: QUOTED_AT_MOST - 1].rstrip()}…"


def numbered(lines: tuple[int, ...]) -> str:
    """``line 3`` or ``lines 3, 5 and 9``; of many, the first few."""
    return f"line {lines[0]}" if len(lines) == 1 else f"lines {listed(lines)}"


def listed(values: tuple[object, ...], most: int = 6) -> str:
    """``1, 2 and 3``; of many, the first few and how many more there are."""
    shown = [str(value) for value in values[:most]]
    if len(values) > most:
        shown.append(f"{len(values) - most} more")
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"
