"""`./script/predict`: what `cog predict` does, without Docker and without the `cog` command.

In: the command line. Out: the model's file in the folder the user called from, its path on stdout, and on stderr what
the model prints, line by line as it prints it. Exit codes: 0 done, 1 failed, 2 bad input, 130 interrupted.
Refuses to know: what the inputs mean, and how the runtime and the files work.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import secrets
import shutil
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from acestep.cogrun.client import CogClient
from acestep.cogrun.errors import CogServerError, PredictionError
from acestep.cogrun.exchange import FileExchange
from acestep.cogrun.inputs import Value, parse_inputs
from acestep.cogrun.schema import PREDICTOR_FILE, PROJECT
from acestep.cogrun.server import CogRuntime
from acestep.cogrun.static import read_signature
from acestep.errors import AceStepError, InputError, OutputError
from acestep.net.url import ALLOW_PRIVATE_URLS

Json = dict[str, Any]

CANCEL_GRACE_S = 5.0
SETUP_TIMEOUT_S = 3600.0
# the runtime makes a folder per prediction id here and leaves it
COGLET_FOLDERS = Path("/tmp/coglet/predictions")
COG_PREFIX = re.compile(r"^(Prediction failed: )+")
CLASS_PREFIX = re.compile(r"^(\w+): (.*)$", re.DOTALL)
TERMINATIONS = (signal.SIGTERM, signal.SIGHUP)
INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class Destination:
    """Where the output file goes: a given file, or `output.<ext>` in a folder."""

    folder: Path
    name: str | None

    @classmethod
    def parse(cls, text: str | None) -> Destination:
        """From `-o`. Raises `InputError` when a file could not be put there."""
        if text is None:
            return cls(Path.cwd(), None)
        target = Path(text).expanduser().absolute()
        if target.is_dir():
            raise InputError(f"-o {text} is a folder; name the file", field="-o", value=text)
        if not target.parent.is_dir():
            raise InputError(f"-o {text}: there is no folder {target.parent}", field="-o", value=text)
        return cls(target.parent, target.name)

    def path_for(self, name: str) -> Path:
        """The path of a file the model called `name`."""
        return self.folder / (self.name or f"output{Path(name).suffix}")


def main(argv: Sequence[str] | None = None, *, project: Path = PROJECT) -> int:
    """Run one prediction of the model in `project` and return the exit code."""
    options = _parser().parse_args(argv)
    try:
        with _terminations_unwind():
            _predict(options, project)
    except KeyboardInterrupt:
        _say("interrupted")
        return INTERRUPTED
    except AceStepError as error:
        _say(f"error: {error}")
        bad_input = isinstance(error, InputError) or (isinstance(error, PredictionError) and error.bad_input)
        return 2 if bad_input else 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="script/predict",
        description="Run one prediction through the real Cog runtime, without Docker. Stands in for `cog predict`.",
    )
    add = parser.add_argument
    add(
        "-i",
        "--input",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="an input of the model; a file is NAME=@FILE or a URL (repeatable)",
    )
    add("-o", "--output", metavar="FILE", help="where to write the output (default: output.<ext> in this folder)")
    add(
        "-e", "--env", action="append", default=[], metavar="NAME=VALUE", help="environment of the model (repeatable)"
    )
    add("--json", action="store_true", help="print the whole answer as JSON instead of the path")
    add(
        "--setup-timeout",
        type=float,
        default=SETUP_TIMEOUT_S,
        metavar="SECONDS",
        help="how long the model may take to get ready (default: %(default)g)",
    )
    return parser


def _predict(options: argparse.Namespace, project: Path) -> None:
    """Check everything, start the runtime, run, write the file, stop the runtime, report."""
    signature = read_signature(project / PREDICTOR_FILE)
    values = parse_inputs(options.input, signature.parameters)
    env = {ALLOW_PRIVATE_URLS: "1", **_environment(options.env)}  # files are offered on loopback, by ourselves
    destination = Destination.parse(options.output)
    with contextlib.ExitStack() as stack:
        files = stack.enter_context(FileExchange(destination.folder))
        runtime = CogRuntime(
            project,
            env=env,
            upload_url=files.upload_url,
            on_print=_say,
            setup_timeout=options.setup_timeout,
        )
        answer = _run(stack.enter_context(runtime).client, _with_urls(values, files))
        if files.failure:
            raise OutputError(f"cannot write the output into {destination.folder}: {files.failure}")
        output = _kept(_output(answer), files, destination)
    report = json.dumps({**answer, "output": output}, ensure_ascii=False) if options.json else _text(output)
    sys.stdout.write(f"{report}\n")


def _environment(texts: Sequence[str]) -> dict[str, str]:
    pairs = [text.partition("=") for text in texts]
    for name, equals, _ in pairs:
        if not (name and equals):
            raise InputError(f"-e {name!r} is not of the form NAME=VALUE", field="-e", value=name)
    return {name: value for name, _, value in pairs}


def _with_urls(values: Mapping[str, Value], files: FileExchange) -> Json:
    return {name: files.offer(value) if isinstance(value, Path) else value for name, value in values.items()}


def _run(client: CogClient, inputs: Json) -> Json:
    """One prediction to its end; an interruption cancels it before going on."""
    identifier = f"predict-{secrets.token_hex(8)}"
    try:
        return client.predict(inputs, identifier=identifier)
    except (KeyboardInterrupt, SystemExit):
        _cancel(client, identifier)
        raise
    finally:
        shutil.rmtree(COGLET_FOLDERS / identifier, ignore_errors=True)


def _cancel(client: CogClient, identifier: str) -> None:
    """Let the model stop by itself for a moment; the runtime is stopped afterwards anyway."""
    with contextlib.suppress(CogServerError):
        client.cancel(identifier)
        client.wait_idle(CANCEL_GRACE_S)


def _output(answer: Json) -> object:
    """The output of a prediction that succeeded. Raises `PredictionError` for every other end."""
    if answer["status"] == "canceled":
        raise PredictionError("the prediction was cancelled")
    if answer["status"] != "succeeded":
        raise _failure(answer.get("error") or "the prediction failed and gave no reason")
    if answer.get("output") is None:
        raise PredictionError("the prediction succeeded but its output file does not exist")
    return answer["output"]


def _failure(text: str) -> PredictionError:
    """Cog's error text as the model's own sentence: no prefixes, no class name of ours, one line."""
    reason = " ".join(COG_PREFIX.sub("", text).split())
    match = CLASS_PREFIX.match(reason)
    if match is None or match[1] not in _class_names(AceStepError):
        return PredictionError(reason)
    return PredictionError(match[2], bad_input=match[1] in _class_names(InputError))


def _class_names(root: type) -> set[str]:
    return {root.__name__}.union(*(_class_names(child) for child in root.__subclasses__()))


def _kept(output: object, files: FileExchange, destination: Destination) -> object:
    """An uploaded file becomes the path it was kept under; any other output stays itself."""
    received = files.received(output) if isinstance(output, str) else None
    if received is None:
        return output
    target = destination.path_for(received.name)
    if target.suffix.lower() != Path(received.name).suffix.lower():
        _say(f"note: {target.name} holds a {Path(received.name).suffix} file")
    return _shortest(files.keep(received, target))


def _shortest(path: Path) -> str:
    """Relative to the current folder where that is shorter to read."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def _text(output: object) -> str:
    return output if isinstance(output, str) else json.dumps(output, ensure_ascii=False)


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


@contextlib.contextmanager
def _terminations_unwind() -> Iterator[None]:
    """SIGTERM and SIGHUP unwind the stack as Ctrl-C does, so that no runtime is left behind."""
    heeded = [number for number in TERMINATIONS if signal.getsignal(number) is not signal.SIG_IGN]
    previous = {number: signal.signal(number, _exit) for number in heeded}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _exit(number: int, _: object) -> NoReturn:
    raise SystemExit(128 + number)
