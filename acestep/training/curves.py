"""Draws the curves of training runs: ``curve.png`` beside every ``curve.csv``, one panel per figure over the steps.

    python -m acestep.training.curves runs/*

In: the CSV that a trainer writes. Out: a PNG, by Pillow. Refuses to know what is trained.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from acestep.training.files import write_beside
from acestep.training.learn.command import run_command
from acestep.training.learn.curve import CURVE, SECONDS, STEP, read_curve

PICTURE = "curve.png"
NOT_DRAWN = (STEP, SECONDS)
WIDTH, PANEL, MARGIN, TEXT = 640, 120, 12, 13  # pixels
PAPER, INK, LINE, FRAME = "white", "#202020", "#1f6f8b", "#c8c8c8"
OUTLIERS = 1.0  # per cent of the values at each end that may leave the panel


def can_draw() -> bool:
    """Whether Pillow is there: training does not need it."""
    return find_spec("PIL") is not None


def draw_curve(path: Path) -> Path:
    """Draw one ``curve.csv``; returns the picture's path.

    Raises:
        InputError: the file is no curve.
    """
    from PIL import Image, ImageDraw, ImageFont

    columns = read_curve(path)
    steps = columns[STEP]
    drawn = {name: values for name, values in columns.items() if name not in NOT_DRAWN}
    image = Image.new("RGB", (WIDTH, PANEL * len(drawn) + MARGIN), PAPER)
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(size=TEXT)
    for number, (name, values) in enumerate(drawn.items()):
        top = number * PANEL + TEXT + MARGIN
        box = (MARGIN, top, WIDTH - MARGIN, (number + 1) * PANEL)
        low, high = limits(values)
        title = f"{name}: {values[-1]:.4g} at step {steps[-1]:.0f} (shown {low:.4g} to {high:.4g})"
        draw.text((MARGIN, top - TEXT - MARGIN // 3), title, INK, font)
        draw.rectangle(box, outline=FRAME)
        draw.line(points(steps, values, box, low, high), LINE, 2)
    picture = path.with_name(PICTURE)
    with write_beside(picture) as file:
        image.save(file, "PNG", optimize=True)
    return picture


def limits(values: np.ndarray) -> tuple[float, float]:
    """Lowest and highest value shown: all but the outliers, and never nothing."""
    low, high = (float(edge) for edge in np.percentile(values, [OUTLIERS, 100 - OUTLIERS]))
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def points(
    steps: np.ndarray, values: np.ndarray, box: tuple[int, int, int, int], low: float, high: float
) -> list[tuple[float, float]]:
    """Pixels of a curve inside ``box`` (left, top, right, bottom); a single row is drawn across it."""
    left, top, right, bottom = box
    if len(steps) == 1:
        steps, values = np.array([0.0, 1.0]), values.repeat(2)
    across = left + (steps - steps.min()) / max(np.ptp(steps), 1.0) * (right - left)
    down = bottom - np.clip((values - low) / (high - low), 0.0, 1.0) * (bottom - top)
    return list(zip(across.tolist(), down.tolist(), strict=True))


def draw_curves(folders: Sequence[Path]) -> list[Path]:
    """Draw the curve of every folder that has one."""
    return [draw_curve(folder / CURVE) for folder in folders if (folder / CURVE).is_file()]


def main(argv: list[str] | None = None) -> None:
    """Draw the curves of training runs."""
    parser = argparse.ArgumentParser(prog="python -m acestep.training.curves", description=main.__doc__)
    parser.add_argument("folders", type=Path, nargs="+", help="of runs")
    for picture in draw_curves(parser.parse_args(argv).folders):
        print(picture)


if __name__ == "__main__":
    run_command("curves", main)
