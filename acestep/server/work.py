"""An order is worked off: music is made on a workbench, its files get their names, and what there is to say is kept.

In: an ``Order``, the engine, the output folder. Out: a small frozen ``Finished``, or an error and no file. Runs in
the one thread that works. Refuses to know the queue and HTTP.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from acestep.cog_door import memory_returned
from acestep.cog_output import bundle, tracks_of
from acestep.progress import Progress, part
from acestep.result import GenerationResult
from acestep.server.counter import Order
from acestep.server.engine import Engine, Made
from acestep.server.outputs import BUNDLE, OutputFolder

MAKING = 0.98  # share of the progress that ends before files are renamed


@dataclass(frozen=True, slots=True)
class Finished:
    """What became of an order.

    Attributes:
        body: the file that answers it.
        files: every file, in the order the songs were made.
        seeds: of each file.
        model: that played.
        warnings: one sentence each, in the client's words.
        scores: of each file; () where nothing was judged.
        prep_s, init_s, music_s: seconds of taking the order, of loading models, of making music.
    """

    body: Path
    files: tuple[Path, ...]
    seeds: tuple[int, ...]
    model: str
    warnings: tuple[str, ...]
    scores: tuple[Mapping[str, Any], ...]
    prep_s: float
    init_s: float
    music_s: float


def work_off(order: Order, engine: Engine, outputs: OutputFolder, report: Progress) -> Finished:
    """Make what was ordered.

    Args:
        report: called with (share done, stage); what it raises ends the work, and no file stays.

    Raises:
        AceStepError: it cannot be made; speaks of the client's fields.
    """
    with memory_returned(), order.naming.errors(), outputs.workbench() as bench:
        making = part(report, 0.0, MAKING)
        made = engine.make(order.cast, order.params, order.config, bench, making)
        report(MAKING, "saving")
        return _finished(order, made, outputs)


def _finished(order: Order, made: Made, outputs: OutputFolder) -> Finished:
    result = made.result
    audios = result.audios
    zipped = bundle(result) if order.return_all or len(tracks_of(audios)) > 1 else None
    names = file_names(order.target, audios, result.song_numbers)
    wishes = [(Path(audio["path"]), name) for audio, name in zip(audios, names, strict=True)]
    if zipped is not None:
        wishes.append((zipped, order.target.with_suffix(BUNDLE)))
    taken = take_all(wishes, outputs, overwrite=order.overwrite)
    files = taken[: len(names)]
    return Finished(
        body=taken[-1] if zipped is not None else files[result.song_numbers.index(result.ranking[0])],
        files=files,
        seeds=tuple(audio["params"]["seed"] for audio in audios),
        model=order.cast.model.name,
        warnings=_warnings(order, result),
        scores=tuple(audio["scores"] for audio in audios) if result.is_judged else (),
        prep_s=order.prep_s,
        init_s=made.init_s,
        music_s=made.music_s,
    )


def take_all(wishes: Iterable[tuple[Path, Path]], outputs: OutputFolder, *, overwrite: bool) -> tuple[Path, ...]:
    """Give files the names that are wished for, all of them or none; what one of them replaced stays lost.

    Raises:
        OutputError: one of them cannot be had.
    """
    taken: list[Path] = []
    with ExitStack() as undo:
        for file, name in wishes:
            taken.append(outputs.take(file, name, overwrite=overwrite))
            undo.callback(outputs.drop, taken[-1])
        undo.pop_all()
    return tuple(taken)


def file_names(target: Path, audios: Sequence[Mapping[str, Any]], songs: Sequence[int]) -> list[Path]:
    """What the files of a result are called: ``a.wav``, ``a_2.wav``; of several tracks ``a_drums.wav``.

    Args:
        target: of the first song.
        audios: of the result.
        songs: which song each file belongs to, from 0 on.
    """
    apart = len(tracks_of(audios)) > 1
    names = []
    for song, audio in zip(songs, audios, strict=True):
        parts = (target.stem, str(song + 1) if song else "", audio["track"] if apart else "")
        names.append(target.with_stem("_".join(filter(None, parts))))
    return names


def _warnings(order: Order, result: GenerationResult) -> tuple[str, ...]:
    said = (order.naming.text(warning) for warning in result.extra_outputs["warnings"])
    return tuple(dict.fromkeys((*order.remarks, *said)))
