"""Files on their way out of the Cog door: the folders they live in, and the zip that holds several of them.

In: finished files. Out: a folder per prediction, a zip with the recipe of each song. Cog does not delete our outputs,
and it reads an output after ``predict`` has returned: so the files of a success live until the prediction after the
next one starts. A prediction that fails or is cancelled leaves nothing. Refuses to know requests.
"""

from __future__ import annotations

import json
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
from acestep.output.timed_lyrics import to_lrc
from acestep.result import GenerationResult, song_numbers
from acestep.sheet import draw_result

_KEPT = 2
_OUTPUTS = "acestep-outputs-"
_BUNDLE, _SCORES, _SHEET = "songs.zip", "scores.json", "contact-sheet.png"


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


def bundle(result: GenerationResult) -> Path:
    """A zip of every file of a result, and beside each the recipe that it holds and its lyrics with their times.

    Where songs are judged, ``scores.json`` says how, best first, and ``contact-sheet.png`` shows them.

    Raises:
        OutputError: it does not fit on the disk.
    """
    audios = result.audios
    paths, names = [Path(audio["path"]) for audio in audios], bundle_names(audios)
    target = paths[0].with_name(_BUNDLE)
    with disk_faults(f"write {target.name!r}"), zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for path, name, audio in zip(paths, names, audios, strict=True):
            archive.write(path, name)
            archive.writestr(str(Path(name).with_suffix(".json")), to_json(read_recipe(path)))
            if lyrics := to_lrc(audio["timed_lyrics"]):
                archive.writestr(str(Path(name).with_suffix(".lrc")), lyrics)
        if result.is_judged:
            archive.writestr(_SCORES, json.dumps(_judged(result, names), ensure_ascii=False, indent=2))
            archive.write(draw_result(result, target.with_suffix(".png")), _SHEET)
    return target


def _judged(result: GenerationResult, names: Sequence[str]) -> list[dict[str, Any]]:
    """Every file of a result with its scores, best song first."""
    places = {song: place for place, song in enumerate(result.ranking, start=1)}
    rows = [
        {"rank": places[song], "file": name, "seed": audio["params"]["seed"], "scores": audio["scores"]}
        for song, name, audio in zip(result.song_numbers, names, result.audios, strict=True)
    ]
    return sorted(rows, key=lambda row: row["rank"])


def bundle_names(audios: Sequence[Mapping[str, Any]]) -> list[str]:
    """What files are called in a zip: ``song-2.wav``; ``drums.wav``, of several songs ``song-2-drums.wav``.

    Args:
        audios: of a result, song after song.
    """
    numbers, tracks = song_numbers(audios), tracks_of(audios)
    several = max(numbers) > 0 or not tracks
    return [
        "-".join(filter(None, (f"song-{number + 1}" if several else "", audio["track"]))) + Path(audio["path"]).suffix
        for number, audio in zip(numbers, audios, strict=True)
    ]


def tracks_of(audios: Sequence[Mapping[str, Any]]) -> set[str]:
    """The different tracks of a result; none where every file is a whole song."""
    return {audio["track"] for audio in audios} - {""}


def record_result(result: GenerationResult, record: Callable[[str, Any], None]) -> None:
    """A finished result as metrics; a failed one has none.

    They are the seconds per stage ``timing.*`` and ``seeds``; where songs are judged also ``scores`` of every file,
    ``best`` (which of the songs, from 0 on) and ``lrc`` (when its lines are sung).
    """
    if not result.success:
        return
    for stage, seconds in result.extra_outputs.get("time_costs", {}).items():
        record(f"timing.{stage}", float(seconds))
    record("seeds", [audio["params"]["seed"] for audio in result.audios])
    if result.is_judged:
        best = result.ranking[0]
        record("best", best)
        record("scores", [audio["scores"] for audio in result.audios])
        if lyrics := to_lrc(result.audios[result.song_numbers.index(best)]["timed_lyrics"]):
            record("lrc", lyrics)


@contextmanager
def disk_faults(work: str) -> Iterator[None]:
    """What the disk does not take is the server's trouble, told in one sentence: cannot `work`."""
    try:
        yield
    except OSError as error:
        raise OutputError(f"cannot {work}: {error.strerror}.") from error
