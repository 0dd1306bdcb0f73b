"""The exploration itself: a thread makes the next batch while the caller listens to the last one.

In: what ``generate_music`` takes, how many songs to keep. Out: a ``Standing`` per batch; a folder with the best songs
and ``exploration.json``, from which the same call goes on. Refuses to know how songs are made and scored.
"""

from __future__ import annotations

import hashlib
import json
import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from acestep.constants import BATCH_MAX
from acestep.errors import InputError
from acestep.exploring.folder import SongFolder
from acestep.exploring.standing import SONG, Candidate, Standing, read_standing
from acestep.exploring.told import told_once
from acestep.output.formats import format_named
from acestep.params import GenerationConfig, GenerationParams
from acestep.progress import Progress
from acestep.result import GenerationResult
from acestep.seeds import check_seed, random_seed

KEEP_MAX = 100
AHEAD = 1  # standings that may wait for the caller before the making pauses
_TALKATIVE = ("acestep.inference", "acestep.outcome")  # loggers that warn anew in every batch
_FILES = ("src_audio", "reference_audio")  # of the parameters: what they hold counts, not where it lies

Make = Callable[[GenerationParams, GenerationConfig, Path, Progress], GenerationResult]


class _Stopped(Exception):  # noqa: N818 - no error: somebody has heard enough
    """Ends a batch that is being made."""


@dataclass(frozen=True, slots=True)
class _Failed:
    """What ended the making."""

    error: BaseException


class Exploration(AbstractContextManager["Exploration"], Iterator[Standing]):
    """A running exploration. Iterate over it for one ``Standing`` per batch; leave the block, or ``stop``, to end it.

    Args:
        make: makes one batch into a folder, as ``generate_music`` does; called in a thread of its own.
        params: what the songs should be; a seed of 0 or more is that of the first song, else one is drawn.
        config: how many at once, into which format; scores are always asked for.
        folder: of this exploration alone; made if absent. The same params and models go on where it stands.
        models: names of those that make and judge the songs; None for one that is not there.
        keep: songs that stay, 1 to 100.
        batches: after how many it ends; None never does.
        progress: called with (share of the batch, stage).

    Raises:
        InputError: a value that is not allowed, or the folder holds another exploration, or somebody else's file
            of a name that the first songs shall have.
        OutputError: the folder cannot be written, or another process explores in it.

    Example:
        >>> with explore(handler, None, params, config, "songs", keep=5) as exploration:
        ...     for standing in exploration:
        ...         print(standing.made, standing.best[0].file)
    """

    def __init__(
        self,
        make: Make,
        params: GenerationParams,
        config: GenerationConfig,
        folder: str | Path,
        *,
        models: Iterable[str | None] = (),
        keep: int = 5,
        batches: int | None = None,
        progress: Progress | None = None,
    ) -> None:
        _check(params, config, keep, batches)
        self.folder = Path(folder)
        self._make, self._params, self._keep, self._batches = make, params, keep, batches
        self._config = replace(config, score=True, use_random_seed=False)
        self._progress = progress
        self._over, self._ended = threading.Event(), False
        self._told: queue.Queue[Standing | _Failed | None] = queue.Queue(AHEAD)
        with ExitStack() as undo:
            self._place = undo.enter_context(SongFolder.locked(self.folder))
            self.standing = self._start(_digest(params, models))
            self._place.refuse_strangers(self.standing, self._likely_names(self.standing))
            self._undo = undo.pop_all()
        self._thread = threading.Thread(target=self._work, name="exploration", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Standing:
        """The standing after the next batch; waits for it.

        Raises:
            AceStepError: a batch could not be made; the ones before stay.
        """
        if self._ended:
            raise StopIteration
        told = self._told.get()
        if isinstance(told, Standing):
            self.standing = told
            return told
        self.stop()
        if told is not None:
            raise told.error
        raise StopIteration

    def stop(self) -> None:
        """End it: what is being made is given up, what was made stays. Waits for the step that is being computed."""
        self._over.set()
        self._ended = True
        while self._thread.is_alive():
            self._let_go()
            self._thread.join(0.05)
        self._let_go()
        self._undo.close()

    def _let_go(self) -> None:
        """Make room for a thread that waits to tell something nobody will hear; where it stands is not forgotten."""
        try:
            told = self._told.get_nowait()
        except queue.Empty:
            return
        if isinstance(told, Standing):
            self.standing = told

    def _start(self, asked: str) -> Standing:
        """Where the folder stands; a new exploration, if nowhere."""
        seed = self._params.seed
        found = read_standing(self.folder)
        if found is None:
            return Standing(asked, seed if seed >= 0 else random_seed())
        if found.asked != asked or (seed >= 0 and seed != found.first_seed):
            raise InputError(
                f"{self._place.path.name!r} holds an exploration of something else, or by other models; name another "
                "folder, or ask the same models for the same song again.",
                field="output",
                value=self._place.path.name,
            )
        return self._place.settle(found)

    def _work(self) -> None:
        """What the thread does."""
        standing, done = self.standing, 0
        try:
            with told_once(*_TALKATIVE):
                while not self._over.is_set() and (self._batches is None or done < self._batches):
                    standing, done = self._batch(standing), done + 1
                    self._told.put(standing)
        except _Stopped:
            self._told.put(None)
        except BaseException as error:  # noqa: BLE001 - it is raised again where somebody waits for the batch
            self._told.put(_Failed(error))
        else:
            self._told.put(None)

    def _batch(self, standing: Standing) -> Standing:
        """Make a batch, keep the best of it and of those before."""
        seeds = standing.next_seeds(self._config.batch_size)
        self._place.check(standing)
        self._place.refuse_strangers(standing, self._likely_names(standing))
        with self._place.workbench() as folder:
            result = self._make(self._params, replace(self._config, seeds=seeds), folder, self._report)
            result.check()
            made = [_candidate(audio) for audio in result.audios]
            after = standing.after(made, len(seeds), self._keep)
            songs = {song.file: Path(audio["path"]) for song, audio in zip(made, result.audios, strict=True)}
            self._place.take(standing, after, songs)
        return after

    def _likely_names(self, standing: Standing) -> Iterator[str]:
        """Files of the next batch, unless they are tracks: what those are, is not known before they are made."""
        suffix = format_named(self._config.audio_format).extension
        return (_file_name(seed, "", suffix) for seed in standing.next_seeds(self._config.batch_size))

    def _report(self, share: float, stage: str) -> None:
        if self._over.is_set():
            raise _Stopped
        if self._progress is not None:
            self._progress(share, stage)


def _check(params: GenerationParams, config: GenerationConfig, keep: int, batches: int | None) -> None:
    """What is wrong before anything is made; the rest a ``Request`` says.

    Raises:
        InputError: a value that is not allowed.
    """
    check_seed(params.seed)
    if config.seeds:
        raise InputError("seeds does not go with an exploration; seed is that of its first song.", field="seeds")
    for name, value, most in (("keep", keep, KEEP_MAX), ("batch_size", config.batch_size, BATCH_MAX)):
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
            raise InputError.must(name, f"be a whole number from 1 to {most}", value)
    if batches is not None and (isinstance(batches, bool) or not isinstance(batches, int) or batches < 1):
        raise InputError.must("batches", "be a whole number from 1 on, or None", batches)


def _candidate(audio: dict[str, Any]) -> Candidate:
    seed, scores = audio["params"]["seed"], audio["scores"]
    name = _file_name(seed, audio["track"], Path(audio["path"]).suffix)
    return Candidate(seed, name, scores["overall"], scores)


def _file_name(seed: int, track: str, suffix: str) -> str:
    return SONG + "-".join(filter(None, (str(seed), track))) + suffix


def _digest(params: GenerationParams, models: Iterable[str | None]) -> str:
    """SHA-256 of what is asked for, and of whom.

    The parameters without the seed, the bytes of recordings instead of paths, and the names of the models.
    """
    asked = {**asdict(params), "seed": None, "models": list(models)}
    for name in _FILES:
        if asked[name]:
            try:
                with Path(asked[name]).open("rb") as file:
                    asked[name] = hashlib.file_digest(file, "sha256").hexdigest()
            except OSError as error:
                raise InputError(f"{name} cannot be read: {error.strerror}.", field=name) from error
    return hashlib.sha256(json.dumps(asked, sort_keys=True, default=str).encode()).hexdigest()
