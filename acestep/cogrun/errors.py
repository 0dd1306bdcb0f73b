"""What can go wrong between the command line and the Cog runtime; the tree continues `acestep.errors`.

AceStepError
├── SchemaError           the predictor file has constructs that Cog would drop or refuse (lists all of them)
├── CogServerError        the Cog server did not start, its setup failed, or it stopped answering
└── PredictionError       the prediction ran and ended without a result
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from acestep.errors import AceStepError


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One construct that Cog's static generator drops or refuses.

    Args:
        line: 1-based line in the predictor file.
        message: one sentence: what is written, what Cog does with it, what to write instead.
    """

    line: int
    message: str


class SchemaError(AceStepError):
    """The predictor file cannot become a faithful Cog schema.

    Args:
        path: the predictor file.
        findings: every problem, not only the first.
    """

    def __init__(self, path: Path, findings: Sequence[Finding]) -> None:
        self.path = path
        self.findings = tuple(sorted(set(findings)))
        lines = "".join(f"\n  {path.name}:{finding.line}: {finding.message}" for finding in self.findings)
        super().__init__(f"Cog cannot read {path.name} as it is written ({len(self.findings)} found):{lines}")


class CogServerError(AceStepError):
    """The Cog runtime did not start or stopped answering.

    Attributes:
        log: the last lines the model printed before that, oldest first; empty when no start was under way.
    """

    log: tuple[str, ...] = ()


class PredictionError(AceStepError):
    """The prediction ended without a result.

    Args:
        message: the model's own sentence, without Cog's prefixes.
        bad_input: true when the model refused an input rather than failed.
    """

    def __init__(self, message: str, *, bad_input: bool = False) -> None:
        super().__init__(message)
        self.bad_input = bad_input
