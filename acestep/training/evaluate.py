"""Measures trained weights on held-out songs: what a user would get from them, heard by independent analysers.

    python -m acestep.training.evaluate weights/tiny --songs 64 --out evaluation.json

In: the few-step model's folder; the guided model is beside it. Out: a JSON file that grows with every song, so that
the same command goes on where it was stopped, and a Markdown table beside it and on the screen. The questions are in
``evaluation.rows``.
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from acestep.errors import InputError
from acestep.training.evaluation.observe import Observation
from acestep.training.evaluation.report import Ledger, markdown
from acestep.training.evaluation.rows import ROWS, Row
from acestep.training.evaluation.studio import Studio, check_folder, digest_of, held_out_song
from acestep.training.learn.command import run_command

SONGS = 64
Job = tuple[Path, int, tuple[str, ...]]
Seen = tuple[int, dict[str, tuple[Observation, float]]]
_NAMED = {row.name: row for row in ROWS}
_studios: dict[Path, Studio] = {}  # one per process


def chosen_rows(names: str) -> tuple[Row, ...]:
    """Rows by their names, comma-separated; "" is all.

    Raises:
        InputError: no such row.
    """
    wanted = [name.strip() for name in names.split(",") if name.strip()] or list(_NAMED)
    if unknown := [name for name in wanted if name not in _NAMED]:
        raise InputError.unknown("only", unknown[0], _NAMED)
    return tuple(_NAMED[name] for name in wanted)


def evaluate(
    folder: Path, out: Path, songs: int, rows: Sequence[Row], workers: int, *, again: bool = False
) -> Ledger:
    """Measure what ``out`` does not hold yet, and keep it there.

    Args:
        folder: of the few-step model, ``weights/tiny``.
        out: the JSON file; the table is written beside it.
        songs: held-out songs from the first on.
        rows: experiments.
        workers: processes; 1 is this one.
        again: measure these rows again; figures of other weights are dropped.

    Raises:
        InputError: ``out`` is about other weights, or ``songs`` or ``workers`` is not positive.
        WeightsError: the weights are not whole, or there is no sound bank.
    """
    for name, value in (("songs", songs), ("workers", workers)):
        if value < 1:
            raise InputError.must(name, "be 1 or more", value)
    root = check_folder(folder)
    ledger = _ledger(out, digest_of(root), rows, again=again)
    missing = {row.name: set(ledger.missing(row, range(songs))) for row in rows}
    jobs = [(root, number, tuple(name for name in missing if number in missing[name])) for number in range(songs)]
    jobs = [job for job in jobs if job[2]]
    for done, (number, seen) in enumerate(_results(jobs, workers), 1):
        for name, (observation, seconds) in seen.items():
            ledger.add(_NAMED[name], number, observation, seconds)
        _save(ledger)
        print(f"{done}/{len(jobs)} song {number}: {sum(took for _, took in seen.values()):.1f} s", flush=True)
    _save(ledger)
    return ledger


def observe_song(job: Job) -> Seen:
    """One song, one observation per row, with the seconds each took."""
    root, number, names = job
    if root not in _studios:
        _studios[root] = Studio(root)
    studio, song = _studios[root], held_out_song(number)
    studio.begin(song)
    seen = {}
    for name in names:
        start = time.perf_counter()
        observation = _NAMED[name].observe(studio, song)
        seen[name] = (observation, time.perf_counter() - start)
    return number, seen


def _ledger(out: Path, digest: str, rows: Sequence[Row], *, again: bool) -> Ledger:
    try:
        ledger = Ledger(out, digest)
    except InputError:
        if not again:
            raise
        out.unlink()
        return Ledger(out, digest)
    for row in rows if again else ():
        ledger.forget(row)
    return ledger


def _results(jobs: Sequence[Job], workers: int) -> Iterator[Seen]:
    if workers == 1 or len(jobs) < 2:
        try:
            yield from map(observe_song, jobs)
        finally:
            _close_studios()
        return
    with multiprocessing.get_context("spawn").Pool(workers, torch.set_num_threads, (1,)) as pool:
        yield from pool.imap_unordered(observe_song, jobs)


def _close_studios() -> None:
    while _studios:
        _studios.popitem()[1].close()


def _save(ledger: Ledger) -> None:
    ledger.path.parent.mkdir(parents=True, exist_ok=True)
    ledger.save()
    ledger.path.with_suffix(".md").write_text(markdown(ledger.figures()), encoding="utf-8")


def main(argv: list[str] | None = None) -> None:
    """Measure trained weights on held-out songs."""
    parser = argparse.ArgumentParser(prog="python -m acestep.training.evaluate", description=main.__doc__)
    parser.add_argument("folder", type=Path, help="of the few-step model, such as weights/tiny")
    parser.add_argument("--songs", type=int, default=SONGS, help="how many (default %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("evaluation.json"), help="(default %(default)s)")
    parser.add_argument("--only", default="", metavar="ROWS", help=f"comma-separated, of {', '.join(_NAMED)}")
    parser.add_argument("--workers", type=int, default=1, help="processes (default %(default)s)")
    parser.add_argument("--again", action="store_true", help="measure these rows again")
    arguments = parser.parse_args(argv)
    rows = chosen_rows(arguments.only)
    ledger = evaluate(
        arguments.folder, arguments.out, arguments.songs, rows, arguments.workers, again=arguments.again
    )
    print(markdown(ledger.figures()))


if __name__ == "__main__":
    run_command("evaluate", main)
