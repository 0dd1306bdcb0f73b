"""Files on their way out of the Cog door: the folders they live in, and the zip that holds several of them.

In: finished files. Out: a folder per prediction, a zip with the recipe of each song. Cog does not delete our outputs,
and it reads an output after ``predict`` has returned: so the files of a success live until the prediction after the
next one starts. A prediction that fails or is cancelled leaves nothing. Refuses to know requests.
"""

from __future__ import annotations

import shutil
import tempfile
import weakref
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from acestep.errors import OutputError
from acestep.output.recipe import to_json
from acestep.output.tags import read_recipe
from acestep.result import GenerationResult, song_numbers

_KEPT = 2
_OUTPUTS = "acestep-outputs-"
_BUNDLE = "songs.zip"


class OutputFolder:
    """A private folder with one sub-folder per prediction; only the last two stay, and none when the process ends."""

    def __init__(self) -> None:
        self._kept: list[Path] = []
        self._root = self._new_root()

    def fresh(self) -> Path:
        """A new empty folder; the ones nobody can be reading any more are deleted.

        Raises:
            OutputError: the disk is full, or takes no folder for another reason.
        """
        while len(self._kept) >= _KEPT:
            shutil.rmtree(self._kept.pop(0), ignore_errors=True)
        with disk_faults("make a folder for the songs"):
            if not self._root.is_dir():  # what cleans up temporary files thought it forgotten
                self._root = self._new_root()
            self._kept.append(Path(tempfile.mkdtemp(dir=self._root)))
        return self._kept[-1]

    @contextmanager
    def filling(self) -> Iterator[Path]:
        """A fresh folder that stays if the block succeeds and is gone if it fails or is cancelled."""
        folder = self.fresh()
        try:
            yield folder
        except BaseException:
            self._kept.remove(folder)
            shutil.rmtree(folder, ignore_errors=True)
            raise

    def _new_root(self) -> Path:
        root = Path(tempfile.mkdtemp(prefix=_OUTPUTS))
        weakref.finalize(self, shutil.rmtree, root, ignore_errors=True)
        return root


def bundle(audios: Sequence[Mapping[str, Any]]) -> Path:
    """A zip of every file of a result, and beside each the recipe that it holds.

    Raises:
        OutputError: it does not fit on the disk.
    """
    paths = [Path(audio["path"]) for audio in audios]
    target = paths[0].with_name(_BUNDLE)
    with disk_faults(f"write {target.name!r}"), zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for path, name in zip(paths, bundle_names(audios), strict=True):
            archive.write(path, name)
            archive.writestr(str(Path(name).with_suffix(".json")), to_json(read_recipe(path)))
    return target


def bundle_names(audios: Sequence[Mapping[str, Any]]) -> list[str]:
    """What files are called in a zip: ``drums.wav``, of several songs ``song-2-drums.wav``; whole songs are numbered.

    Args:
        audios: of a result, song after song.
    """
    if not tracks_of(audios):
        return [f"{index:02d}-{Path(audio['path']).name}" for index, audio in enumerate(audios)]
    names = [f"{audio['track']}{Path(audio['path']).suffix}" for audio in audios]
    numbers = song_numbers(audios)
    if max(numbers) == 0:
        return names
    return [f"song-{number + 1}-{name}" for number, name in zip(numbers, names, strict=True)]


def tracks_of(audios: Sequence[Mapping[str, Any]]) -> set[str]:
    """The different tracks of a result; none where every file is a whole song."""
    return {audio["track"] for audio in audios} - {""}


def record_timings(result: GenerationResult, record: Callable[[str, float], None]) -> None:
    """The seconds per stage of a finished result as metrics ``timing.*``; a failed one has none."""
    for stage, seconds in result.extra_outputs.get("time_costs", {}).items():
        record(f"timing.{stage}", float(seconds))


@contextmanager
def disk_faults(work: str) -> Iterator[None]:
    """What the disk does not take is the server's trouble, told in one sentence: cannot `work`."""
    try:
        yield
    except OSError as error:
        raise OutputError(f"cannot {work}: {error.strerror}.") from error
