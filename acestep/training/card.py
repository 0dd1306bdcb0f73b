"""Writes the card of the embedded family: how it was made, out of what, under which licences, how good it is.

    python -m acestep.training.card weights/tiny --evaluation evaluation.json

In: the few-step model's folder, the runs and an evaluation. Out: ``card.md`` in that folder. Every figure comes from
the files; what is not there is not said. Refuses to measure anything.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from safetensors import safe_open

from acestep.checkpoints.registry import EMBEDDED_BASE_MODEL, EMBEDDED_MODEL
from acestep.errors import InputError
from acestep.training.compose.lyrics import LANGUAGES_SUNG
from acestep.training.compose.styles import STYLES, TEMPO_MAX, TEMPO_MIN
from acestep.training.evaluation.report import evaluated_weights, markdown, read_figures
from acestep.training.evaluation.studio import LONGEST_S, check_folder, digest_of
from acestep.training.files import write_beside
from acestep.training.learn.command import run_command
from acestep.training.learn.trainer import CURVE, Settings
from acestep.training.songs import HELD_OUT_SEED, SHORTEST_S
from acestep.training.songs import LONGEST_S as TRAINED_MAX_S

CARD = "card.md"
SEED = Settings(learning_rate=0.0).seed
STAGES = {
    "vae": "autoencoder",
    "fsq": "semantic codec",
    "dit": "transformer with guidance, text encoder",
    "turbo": "few-step transformer",
    "lm": "planner",
}


def card(folder: Path, evaluation: Path, runs: Path) -> str:
    """The text.

    Raises:
        InputError: the evaluation is about other weights.
        WeightsError: the weights are not whole.
    """
    root = check_folder(folder)
    if (measured := evaluated_weights(evaluation)) != (here := digest_of(root)):
        raise InputError(
            f"{evaluation} is about other weights ({measured[:12]}, not {here[:12]}); evaluate these first.",
            field="evaluation",
        )
    parts = (_opening(), _data(), _training(runs), _sizes(root), _figures(evaluation), _limits(), _licences())
    return "\n\n".join(parts) + "\n"


def _opening() -> str:
    names = f"`{EMBEDDED_MODEL.name}` and `{EMBEDDED_BASE_MODEL.name}`"
    steps = f"{EMBEDDED_MODEL.variant.steps} steps without guidance and {EMBEDDED_BASE_MODEL.variant.steps} with it"
    return (
        f"# {names}: the embedded ACE-Step\n\n"
        f"The network classes of ACE-Step 1.5 at a very small size ({steps}), trained from nothing by this "
        "project so that everything can be tried, tested and heard without a download. Everything it makes "
        "is AI-generated."
    )


def _data() -> str:
    return (
        "## Data\n\n"
        f"No recording was used. A procedural composer writes songs in {len(STYLES)} styles, {TEMPO_MIN} to "
        f"{TEMPO_MAX} bpm, 24 keys, with lyrics in {len(LANGUAGES_SUNG)} languages ({', '.join(LANGUAGES_SUNG)}); a "
        "General MIDI bank and formant-synthesised singers play them. The words of captions and lyrics were written "
        f"for this project. Training songs are the seeds from 0 on, {SHORTEST_S:g} to {TRAINED_MAX_S:g} s each; "
        f"evaluation uses the seeds from {HELD_OUT_SEED:,} on, {SHORTEST_S:g} to {LONGEST_S:g} s, with captions in a "
        "wording that never occurs in training."
    )


def _training(runs: Path) -> str:
    lines = [f"| {STAGES[name]} | {steps:,} |" for name, steps in _runs(runs)]
    table = [f"All random numbers derive from seed {SEED}.", "", "| stage | steps |", "| --- | --- |", *lines]
    made = "`python -m acestep.training.make_tiny` makes all of it from seeds and the bank, in resumable pieces."
    return "\n".join(["## Training", "", made, "", *(table if lines else ["The runs are not here."])])


def _runs(runs: Path) -> Iterator[tuple[str, int]]:
    """Name and steps of every run with a curve."""
    for name in STAGES:
        path = runs / name / CURVE
        if path.is_file():
            with path.open(newline="", encoding="utf-8") as file:
                yield name, max((int(row["step"]) for row in csv.DictReader(file)), default=0)


def _sizes(root: Path) -> str:
    lines = ["## Sizes", "", "| file | parameters | MiB | width x layers |", "| --- | --- | --- | --- |"]
    total = 0
    for path in _weights(root):
        total += path.stat().st_size
        width = _width(path.parent / "config.json")
        lines.append(f"| {path.relative_to(root)} | {_parameters(path):,} | {_mib(path.stat().st_size)} | {width} |")
    return "\n".join([*lines, "", f"Together {_mib(total)} MiB."])


def _weights(root: Path) -> Sequence[Path]:
    folders = (root / EMBEDDED_MODEL.folder, root / EMBEDDED_BASE_MODEL.folder)
    return [path for folder in folders for path in sorted(folder.rglob("*.safetensors"))]


def _parameters(path: Path) -> int:
    total = 0
    with safe_open(path, "pt") as file:
        for name in file.keys():  # noqa: SIM118 - not a dictionary
            count = 1
            for length in file.get_slice(name).get_shape():
                count *= length
            total += count
    return total


def _width(config: Path) -> str:
    raw = json.loads(config.read_text(encoding="utf-8"))
    layers = raw.get("num_hidden_layers")
    return f"{raw['hidden_size']} x {layers}" if layers is not None else ""


def _mib(size: int) -> str:
    return f"{size / 2**20:.1f}"


def _figures(evaluation: Path) -> str:
    return (
        "## Figures\n\n"
        "By `python -m acestep.training.evaluate`, mean ± standard error over songs. The listeners are librosa, "
        "mir_eval, sonara and a logistic regression on spectra, none of our networks. Chance is the score of the "
        "same songs against every other song's request; beside it stands what the same ear scores on the songs "
        "as they were composed and rendered (semantic codes: after the autoencoder alone).\n\n"
        + markdown(read_figures(evaluation)).rstrip()
    )


def _limits() -> str:
    return (
        "## Limits\n\n"
        "It has met the composer's styles, the bank's instruments and invented lyrics, nothing else: no artist, no "
        "real voice, no field recording. Whether sung words can be understood is not measured. Songs over "
        f"{TRAINED_MAX_S:g} s go beyond what it learnt from. It is an example and a test subject, not a substitute "
        "for the published models."
    )


def _licences() -> str:
    return (
        "## Licences\n\n"
        "The weights are under the licence of this project. Training sounds come from the soundfont FluidR3Mono "
        "(MIT licence, Frank Wen and Michael Cowgill) and from our own singers; compositions, captions and lyrics "
        "come from our own composer."
    )


def write_card(folder: Path, evaluation: Path, runs: Path) -> Path:
    """Write ``card.md`` into the model's folder; returns its path."""
    path = folder / CARD
    text = card(folder, evaluation, runs)
    with write_beside(path) as file:
        file.write(text.encode())
    return path


def main(argv: list[str] | None = None) -> None:
    """Write the card of the embedded family."""
    parser = argparse.ArgumentParser(prog="python -m acestep.training.card", description=main.__doc__)
    parser.add_argument("folder", type=Path, help="of the few-step model, such as weights/tiny")
    parser.add_argument("--evaluation", type=Path, default=Path("evaluation.json"), help="(default %(default)s)")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="of the trainers (default %(default)s)")
    arguments = parser.parse_args(argv)
    print(write_card(arguments.folder, arguments.evaluation, arguments.runs))


if __name__ == "__main__":
    run_command("card", main)
