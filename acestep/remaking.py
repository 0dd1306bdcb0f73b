"""A song file is made again from the recipe inside it, compared with what it was, and written.

In: the recipe of a file, recordings it was made from, a loaded model. Out: a ``Remade``. Everything that can be wrong
is found before anything is made; nothing half-written stays. Refuses to know what a recipe means (``regenerate``) and
how a song is made (``inference``).
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from mutagen import MutagenError

from acestep.checkpoints.registry import model_named
from acestep.errors import AudioError, GenerationError, InputError, OutputError
from acestep.handler import AceStepHandler
from acestep.inference import generate_music
from acestep.machine import this_machine
from acestep.output.compare import likeness
from acestep.output.recipe import MachineUsed, to_json
from acestep.output.tags import SongTags, read_recipe, read_tags, write_tags
from acestep.output.writer import writable_folder
from acestep.params import GenerationParams
from acestep.progress import Progress
from acestep.regenerate import Remake, Verdict, check_recordings, remade, remake_of, same_machine, verdict
from acestep.stitching import bridged

CHOSEN = "the recipe names it"


@dataclass(frozen=True, slots=True)
class Remade:
    """A song that was made again.

    Attributes:
        path: of the new file.
        recipe: inside it.
        verdict: whether it is what it was.
    """

    path: Path
    recipe: Mapping[str, Any]
    verdict: Verdict


def regenerate(
    dit_handler: AceStepHandler,
    file: str | Path,
    output: str | Path,
    source: str | Path | Sequence[str | Path] | None = None,
    reference: str | Path | None = None,
    progress: Progress | None = None,
) -> Remade:
    """Make a song file again from its recipe. The planner is not asked: the plan in the recipe is played.

    Args:
        dit_handler: started; the model of the recipe becomes its current one.
        file: one that this project wrote.
        output: the new file, with the suffix of the old one's format.
        source: the recording that the song was made from, if it was; two of a stitched one.
        reference: the recording whose timbre it has, if it has one.
        progress: called with (share done, stage); what it raises ends the run.

    Returns:
        The file and what differs: nothing, if the machine is the one that the song was made on.

    Raises:
        InputError: the recipe, a recording or the target is not what it has to be.
        AceStepError: the song cannot be made or written; nothing is left behind.
    """
    recipe = read_recipe(file)
    sources = (source,) if isinstance(source, (str, os.PathLike)) else tuple(source or ())
    job = Job(
        recipe=recipe,
        file=Path(file),
        output=Path(output),
        sources=tuple(Path(path) for path in sources),
        reference=None if reference is None else Path(reference),
        machine=this_machine(dit_handler.placement),
    )
    job.check()
    with job.prepared() as params:
        dit_handler.use(model_named(job.remake.model), CHOSEN)
        return job.run(dit_handler, params, progress)


@dataclass(frozen=True)
class Job:
    """One song to be made again.

    Attributes:
        recipe: of ``file``.
        file: the song as it is.
        output: where it goes.
        sources: what it was made from.
        reference: what its timbre was taken from.
        machine: that will make it.
    """

    recipe: Mapping[str, Any]
    file: Path
    output: Path
    sources: tuple[Path, ...]
    reference: Path | None
    machine: MachineUsed

    @cached_property
    def remake(self) -> Remake:
        """What makes it; all that was made at once with it, where that gives the same bits.

        Raises:
            InputError: as ``remake_of``.
        """
        return remake_of(self.recipe, together=same_machine(self.recipe, asdict(self.machine)))

    def check(self) -> None:
        """Judge the target and the recordings.

        Raises:
            InputError: a suffix that does not fit, a target that is one of the inputs, a recording that is missing,
                not needed or another one.
        """
        extension = self.remake.audio_format.extension
        if self.output.suffix.lower() != extension:
            raise InputError.must("output", f"end in {extension}, the song's format", self.output.name)
        for path in (self.file, *self.sources, *self._references):
            if self.output.exists() and path.exists() and self.output.samefile(path):
                raise InputError(
                    f"output {self.output.name!r} is what the song is made from; name another file.", field="output"
                )
        sources = tuple(_digest("source", path) for path in self.sources)
        reference = next((_digest("reference", path) for path in self._references), None)
        check_recordings(self.remake, sources, reference)

    @contextmanager
    def prepared(self) -> Iterator[GenerationParams]:
        """The parameters with their recordings, which may exist inside the block only.

        Raises:
            AudioError: a recording cannot be read.
        """
        reference = None if self.reference is None else str(self.reference)
        params = replace(self.remake.params, reference_audio=reference)
        if self.remake.bridge_s is not None:
            with bridged(params, *self.sources, self.remake.bridge_s) as laid:
                yield laid
        else:
            yield replace(params, src_audio=next(map(str, self.sources), None))

    def run(self, dit_handler: AceStepHandler, params: GenerationParams, progress: Progress | None = None) -> Remade:
        """Make it, compare it, write it.

        Args:
            dit_handler: with the model of the recipe.
            params: from ``prepared``.

        Raises:
            AceStepError: it cannot be made or written; nothing is left behind.
        """
        folder = self.output.parent
        with writable_folder(folder), tempfile.TemporaryDirectory(dir=folder, prefix=".acestep-") as scratch:
            result = generate_music(dit_handler, None, params, self.remake.config, scratch, progress)
            result.check()
            made = Path(self._found(result.audios)["path"])
            now = read_recipe(made)
            sound = likeness(self.file, made)
            recipe = remade(self.recipe, now, alike=sound.alike)
            tags = read_tags(self.file)
            self._publish(made, tags if sound.alike else replace(tags, synced=()), recipe)
        return Remade(self.output, recipe, verdict(self.recipe, now, sound))

    @property
    def _references(self) -> tuple[Path, ...]:
        return () if self.reference is None else (self.reference,)

    def _found(self, audios: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
        """The song among all that was made at once."""
        for audio in audios:
            if (audio["params"]["seed"], audio["track"]) == (self.remake.seed, self.remake.track):
                return audio
        raise GenerationError(f"The track {self.remake.track!r} is silent this time; there is no file of it.")

    def _publish(self, made: Path, tags: SongTags, recipe: Mapping[str, Any]) -> None:
        """The new file, which is played as the old one is shown, goes to its place."""
        try:
            write_tags(made, self.remake.audio_format.tag_kind, tags, to_json(recipe))
            with made.open("rb") as written:
                os.fsync(written.fileno())
            made.replace(self.output)
        except (OSError, MutagenError) as error:
            reason = getattr(error, "strerror", None) or type(error).__name__
            raise OutputError(f"cannot write {self.output.name!r}: {reason}.") from error


def _digest(field: str, path: Path) -> str:
    """SHA-256 of a file.

    Raises:
        AudioError: there is no such file, or it cannot be read.
    """
    if not path.is_file():
        raise AudioError(f"{field}: {path.name!r} is not a file.", field=field, value=path.name)
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise AudioError(f"{field}: {path.name!r} cannot be read ({error.strerror}).", field=field) from error
