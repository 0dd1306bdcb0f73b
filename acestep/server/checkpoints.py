"""Which model a ``checkpoint_path`` means: its name, or its folder in a weights folder of this server.

In: text of a client, the weights folders. Out: a name of the registry, or ``auto``. Refuses to load anything and to
tell where the weights are. A folder elsewhere is refused before anybody looks whether it exists.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from acestep.checkpoints.files import search_roots
from acestep.checkpoints.registry import MODELS, model_named
from acestep.errors import InputError, shown

AUTO = "auto"
CHECKPOINT_PATH = "CHECKPOINT_PATH"  # as upstream's server has it: a weights folder, a model's folder in one, a name
_FIELD = "checkpoint_path"
_FOLDERS: Mapping[str, str] = {spec.folder.partition("/")[0]: spec.name for spec in MODELS.values() if spec.released}


@dataclass(frozen=True, slots=True)
class Checkpoints:
    """What may be named.

    Attributes:
        roots: weights folders.
        default: what is meant by silence, a name or ``auto``.
    """

    roots: tuple[Path, ...]
    default: str = AUTO

    @classmethod
    def of(cls, project: Path, default: str = "") -> Self:
        """What is in the weights folders of a project.

        Args:
            default: what silence means, as a client could say it; "" is ``auto``.

        Raises:
            InputError: the default is no model.
        """
        found = cls(search_roots(project))
        return cls(found.roots, found.named(default))

    def named(self, text: str) -> str:
        """The model that ``text`` means.

        Raises:
            InputError: it is no model's name, and no folder of one in a weights folder.
        """
        text = text.strip()
        if not text:
            return self.default
        if text == AUTO or text in MODELS:
            return text if text == AUTO else model_named(text).name
        parent, folder = os.path.split(os.path.abspath(text))  # noqa: PTH100 - a client's text: no look at the disk
        roots = {os.path.realpath(root) for root in self.roots}
        if folder not in _FOLDERS or os.path.realpath(parent) not in roots:
            raise InputError(
                f"{_FIELD} {shown(text)} is no checkpoint: it must be a model ({', '.join((AUTO, *_names()))}), or a "
                "folder of one, by its published name, in the checkpoint folder that the server was started with "
                f"(--checkpoint-root, or {CHECKPOINT_PATH}).",
                field=_FIELD,
                value=text,
            )
        return _FOLDERS[folder]


def place_of(text: str) -> tuple[Path | None, str]:
    """What ``CHECKPOINT_PATH`` says: the weights folder, or None where it names no folder; and the model, or "".

    ``/data`` is a weights folder, ``/data/ACE-Step-v1-3.5B`` a model in one, ``v1-3.5B`` a model wherever it is.
    """
    if not text or text == AUTO or text in MODELS:
        return None, text
    folder = Path(text).absolute()
    return (folder.parent, _FOLDERS[folder.name]) if folder.name in _FOLDERS else (folder, "")


def _names() -> list[str]:
    return [spec.name for spec in MODELS.values() if spec.released]
