"""Where an exploration stands: which songs are the best so far, as a value and as a file that it goes on from.

In: candidates with their scores. Out: the best of them, ``exploration.json``. Refuses to know how songs are made.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from acestep.constants import SEED_MAX
from acestep.errors import InputError
from acestep.output.writer import write_text
from acestep.scoring.rank import ranked

FILE = "exploration.json"
SCHEMA_VERSION = 1
SONG = "song-"  # all names of songs begin so


@dataclass(frozen=True, slots=True)
class Candidate:
    """One kept song.

    Attributes:
        seed: it was made from.
        file: its name within the folder.
        overall: its score, 0 to 1; None when it has none that is valid.
        scores: all of them, as in the recipe.
    """

    seed: int
    file: str
    overall: float | None
    scores: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Standing:
    """An exploration between two batches.

    Attributes:
        asked: what is explored, as a digest: another wish does not go on in the same folder.
        first_seed: of the first song; song ``i`` has ``first_seed + i`` modulo 2**32.
        made: songs so far, the kept ones among them.
        best: the kept ones, best first.
        loose: files of ours on their way into the folder or out of it; none between two batches.
    """

    asked: str
    first_seed: int
    made: int = 0
    best: tuple[Candidate, ...] = ()
    loose: tuple[str, ...] = ()

    @property
    def files(self) -> set[str]:
        """Names of the kept songs."""
        return {candidate.file for candidate in self.best}

    def next_seeds(self, count: int) -> list[int]:
        """Of the songs that come next."""
        return [(self.first_seed + self.made + index) % (SEED_MAX + 1) for index in range(count)]

    def after(self, candidates: Iterable[Candidate], made: int, keep: int) -> Standing:
        """The standing when ``made`` more songs are there; of all, the best ``keep`` stay, of equals the earlier."""
        songs = (*self.best, *candidates)
        best = [songs[index] for index in ranked([song.scores for song in songs])]
        return replace(self, made=self.made + made, best=tuple(best[:keep]))

    def write(self, folder: Path) -> None:
        """Put it into a folder, in the place of an earlier one.

        Raises:
            OutputError: it cannot be written; the earlier one is still there.
        """
        content = {"schema": SCHEMA_VERSION, **asdict(self)}
        write_text(folder / FILE, json.dumps(content, ensure_ascii=False, indent=2, allow_nan=False) + "\n")


def read_standing(folder: Path) -> Standing | None:
    """What ``Standing.write`` left in a folder; None where nothing was explored. Songs that are gone are left out.

    Raises:
        InputError: the file is none of ours, or of a newer version.
    """
    try:
        content = json.loads((folder / FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise InputError(f"{FILE} in {folder.name!r} cannot be read as JSON.", field="output") from error
    version = content.get("schema") if isinstance(content, dict) else None
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise InputError(
            f"{FILE} in {folder.name!r} has version {version}; this program reads up to {SCHEMA_VERSION}: update it.",
            field="output",
            value=version,
        )
    try:
        standing = _standing(content)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{FILE} in {folder.name!r} is not what an exploration writes.", field="output") from error
    return replace(standing, best=tuple(song for song in standing.best if (folder / song.file).is_file()))


def _standing(content: Mapping[str, Any]) -> Standing:
    """The value of a file's content; whatever does not fit raises."""
    best = tuple(
        Candidate(
            seed=_whole(song["seed"]),
            file=_bare(song["file"]),
            overall=None if song["overall"] is None else float(song["overall"]),
            scores=dict(song["scores"]),
        )
        for song in content["best"]
    )
    loose = tuple(_bare(name) for name in list(content.get("loose", ())))
    return Standing(str(content["asked"]), _whole(content["first_seed"]), _whole(content["made"]), best, loose)


def _whole(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= SEED_MAX:
        raise ValueError(f"{value!r} is no count")
    return value


def _bare(name: object) -> str:
    """The name of a song's file, which leads nowhere else and to nothing else."""
    if not isinstance(name, str) or not name.startswith(SONG) or name != Path(name).name:
        raise ValueError(f"{name!r} is no file name of a song")
    return name
