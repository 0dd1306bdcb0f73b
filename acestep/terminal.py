"""How a command ends: an exit code, one line on standard error, or one JSON object on standard output.

In: something to run. Out: its exit code: 0; 2 for bad input, 1 for anything else that went wrong, 130 when
interrupted. Refuses to know the commands.
"""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable, Mapping
from typing import Any

from acestep.errors import AceStepError, InputError

EXIT_OK, EXIT_FAILED, EXIT_INPUT, EXIT_INTERRUPTED = 0, 1, 2, 130


def finish_command(
    program: str, command: Callable[[], None], *, interrupted: str = "interrupted", as_json: bool = False
) -> int:
    """Run ``command`` and turn its outcome into an exit code.

    SIGTERM ends it as Ctrl-C does, so nothing stays half made.

    Args:
        program: begins the line of an error.
        interrupted: what to say after Ctrl-C.
        as_json: report an error as JSON on standard output as well.

    Returns:
        The exit code.
    """
    signal.signal(signal.SIGTERM, _terminate)
    try:
        command()
    except AceStepError as error:
        return _complain(program, str(error), EXIT_INPUT if isinstance(error, InputError) else EXIT_FAILED, as_json)
    except KeyboardInterrupt:
        return _complain(program, interrupted, EXIT_INTERRUPTED, as_json)
    return EXIT_OK


def print_json(answer: Mapping[str, Any] | None) -> None:
    """One JSON object, or null, on standard output."""
    sys.stdout.write(json.dumps(answer, ensure_ascii=False, indent=2) + "\n")


def _complain(program: str, sentence: str, code: int, as_json: bool) -> int:
    sys.stderr.write(f"{program}: {sentence}\n")
    if as_json:
        status = "canceled" if code == EXIT_INTERRUPTED else "failed"
        print_json({"status": status, "output": None, "error": sentence})
    return code


def _terminate(number: int, frame: object) -> None:  # noqa: ARG001 - the shape of a signal handler
    raise KeyboardInterrupt
