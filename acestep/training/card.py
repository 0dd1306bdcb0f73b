"""Writes the card of the embedded family: how it was made, out of what, under which licences, how good it is.

    python -m acestep.training.card weights/tiny --evaluation evaluation.json

In: the few-step model's folder, the runs and an evaluation. Out: ``card.md`` and ``evaluation.json`` in that folder.
Every figure comes from the files; what is not there is not said. Refuses to measure anything.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from safetensors import safe_open

from acestep.checkpoints.files import read_json
from acestep.checkpoints.registry import EMBEDDED_BASE_MODEL, EMBEDDED_MODEL
from acestep.errors import InputError
from acestep.training.compose.lyrics import LANGUAGES_SUNG
from acestep.training.compose.styles import STYLES, TEMPO_MAX, TEMPO_MIN
from acestep.training.evaluation.report import Figure, Summary, markdown, read_summary
from acestep.training.evaluation.studio import LONGEST_S, check_folder, digest_of
from acestep.training.files import write_beside
from acestep.training.learn.command import run_command
from acestep.training.learn.curve import CURVE, SECONDS, STEP, read_curve
from acestep.training.learn.trainer import Settings
from acestep.training.songs import HELD_OUT_SEED, SHORTEST_S
from acestep.training.songs import LONGEST_S as TRAINED_MAX_S

CARD, EVALUATION = "card.md", "evaluation.json"
SEED = Settings(learning_rate=0.0).seed
STAGES = {
    "vae": "autoencoder",
    "fsq": "semantic codec",
    "dit": "transformer with guidance, text encoder",
    "turbo": "few-step transformer",
    "lm": "planner",
}


def card(folder: Path, evaluation: Summary, runs: Path, story: str = "") -> str:
    """The text.

    Args:
        evaluation: of these weights.
        story: how they came about, beyond what the runs say.

    Raises:
        WeightsError: the weights are not whole.
    """
    parts = (
        _opening(),
        _data(),
        _training(runs, story),
        _sizes(check_folder(folder), evaluation.weights),
        _figures(evaluation.figures),
        _limits(evaluation.figures),
        _licences(),
    )
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
        f"evaluation uses the seeds from {HELD_OUT_SEED:,} on, {SHORTEST_S:g} to {LONGEST_S:g} s, with sentences and "
        "tags that are put in words, or in an order, that never occur in training."
    )


def _training(runs: Path, story: str) -> str:
    rows = [f"| {STAGES[name]} | {steps:,} | {minutes:,.0f} |" for name, steps, minutes in _runs(runs)]
    table = ["| stage | steps | minutes |", "| --- | --- | --- |", *rows] if rows else ["The runs are not here."]
    made = (
        "Every stage is a command of `acestep.training` that goes on where it stopped; "
        "`python -m acestep.training.make_tiny` runs one after the other, from seeds and the bank to this folder. "
        f"All random numbers derive from seed {SEED}."
    )
    return "\n".join(["## Training", "", made, *(["", story] if story else []), "", *table])


def _runs(runs: Path) -> Iterator[tuple[str, int, float]]:
    """Name, steps and minutes of every run with a curve."""
    for name in STAGES:
        path = runs / name / CURVE
        if path.is_file():
            curve = read_curve(path)
            seconds = curve[SECONDS]
            calls = np.append(seconds[1:] < seconds[:-1], True)  # seconds count from 0 in every call
            yield name, int(curve[STEP].max()), seconds[calls].sum() / 60


def _sizes(root: Path, digest: str) -> str:
    lines = ["## Sizes", "", "| file | numbers | MiB | width x layers |", "| --- | --- | --- | --- |"]
    total = 0
    for path in _weights(root):
        total += path.stat().st_size
        width = _width(path.parent / "config.json") if path.stem == "model" else ""
        lines.append(f"| {path.relative_to(root)} | {_numbers(path):,} | {_mib(path.stat().st_size)} | {width} |")
    return "\n".join([*lines, "", f"Together {_mib(total)} MiB. Digest of these weights: `{digest}`."])


def _weights(root: Path) -> Sequence[Path]:
    folders = (root / EMBEDDED_MODEL.folder, root / EMBEDDED_BASE_MODEL.folder)
    return [path for folder in folders for path in sorted(folder.rglob("*.safetensors"))]


def _numbers(path: Path) -> int:
    total = 0
    with safe_open(path, "pt") as file:
        for name in file.keys():  # noqa: SIM118 - not a dictionary
            count = 1
            for length in file.get_slice(name).get_shape():
                count *= length
            total += count
    return total


def _width(config: Path) -> str:
    raw = read_json(config)
    layers = raw.get("num_hidden_layers")
    return f"{raw['hidden_size']} x {layers}" if layers is not None else ""


def _mib(size: int) -> str:
    return f"{size / 2**20:.1f}"


def _figures(figures: Sequence[Figure]) -> str:
    return (
        "## Figures\n\n"
        "By `python -m acestep.training.evaluate`, mean ± standard error over songs. The listeners are librosa, "
        "mir_eval, sonara and, for drums, a logistic regression on spectra, fitted on composed songs; none is a "
        "network of ours. Tempi agree as in Accuracy 2: double, threefold, half and third count. Chance is the score "
        "of the same songs against every other song's request; beside it stands what the same ear scores on the "
        "songs as they were composed and rendered (semantic codes: after the autoencoder alone).\n\n"
        + markdown(figures).rstrip()
    )


def _limits(figures: Sequence[Figure]) -> str:
    blind = [figure.what for figure in figures if _is_chance(figure)]
    return (
        "## Limits\n\n"
        "It has met the composer's styles, the bank's instruments and invented lyrics, nothing else: no artist, no "
        "real voice, no field recording. Whether sung words can be understood is not measured. Songs over "
        f"{TRAINED_MAX_S:g} s go beyond what it learnt from. It is an example and a test subject, not a substitute "
        "for the published models."
        + (f"\n\nNot better than chance, within two standard errors: {'; '.join(blind)}." if blind else "")
    )


def _is_chance(figure: Figure) -> bool:
    """Whether a figure says no more than the requests of other songs would."""
    if figure.value is None or figure.chance is None or figure.error is None:
        return False
    return figure.value - figure.chance <= 2 * figure.error


def _licences() -> str:
    return (
        "## Licences\n\n"
        "The weights are under the licence of this project. Training sounds come from the soundfont FluidR3Mono "
        "(MIT licence, Frank Wen and Michael Cowgill) and from our own singers; compositions, captions and lyrics "
        "come from our own composer."
    )


def write_card(folder: Path, evaluation: Path, runs: Path, story: str = "") -> tuple[Path, Path]:
    """Write ``card.md`` and ``evaluation.json``, the figures without the single songs, into the model's folder.

    Raises:
        InputError: the evaluation is about other weights.
        WeightsError: the weights are not whole.
    """
    summary, here = read_summary(evaluation), digest_of(check_folder(folder))
    if summary.weights != here:
        raise InputError(
            f"{evaluation} is about other weights ({summary.weights[:12]}, not {here[:12]}); evaluate these first.",
            field="evaluation",
        )
    contents = {CARD: card(folder, summary, runs, story), EVALUATION: summary.to_json()}
    for name, content in contents.items():
        with write_beside(folder / name) as file:
            file.write(content.encode())
    return folder / CARD, folder / EVALUATION


def main(argv: list[str] | None = None) -> None:
    """Write the card of the embedded family."""
    parser = argparse.ArgumentParser(prog="python -m acestep.training.card", description=main.__doc__)
    parser.add_argument("folder", type=Path, help="of the few-step model, such as weights/tiny")
    parser.add_argument("--evaluation", type=Path, default=Path("evaluation.json"), help="(default %(default)s)")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="of the trainers (default %(default)s)")
    parser.add_argument("--story", default="", help="how these weights came about, beyond what the runs say")
    arguments = parser.parse_args(argv)
    for path in write_card(arguments.folder, arguments.evaluation, arguments.runs, arguments.story):
        print(path)


if __name__ == "__main__":
    run_command("card", main)
