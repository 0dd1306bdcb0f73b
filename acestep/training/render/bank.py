"""Which General MIDI bank plays the instruments: finds the soundfont file and loads it, once per process.

In: nothing, or the path of a ``.sf2`` or ``.sf3`` file. Out: a ``SoundFont`` of tinysoundfont. Refuses to know notes.

Banks: FluidR3 (Frank Wen) and its mono edition (Michael Cowgill), both under the MIT licence, so what they play may
be used and passed on freely; other banks, whatever their licence, are used only when asked for by path or by
``ACESTEP_SOUNDFONT``. The mono edition comes first: 19 MB, and all that a stem of a mix needs.
Engine: tinysoundfont (MIT). Unlike FluidSynth it is one wheel without system libraries, so the pinned version plays
the same samples on every machine. It is installed without its dependency, PyAudio, which only opens loudspeakers.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from acestep.errors import WeightsError

if TYPE_CHECKING:
    from tinysoundfont._tinysoundfont import SoundFont

SETTING = "ACESTEP_SOUNDFONT"
PACKAGE = "fluidr3mono-gm-soundfont"  # of Debian and Ubuntu
ENGINE = "tinysoundfont==0.3.7"
FREE_BANKS = ("FluidR3Mono_GM.sf3", "FluidR3_GM.sf2")
FOLDERS = tuple(Path("/usr/share", folder) for folder in ("sounds/sf3", "sounds/sf2", "soundfonts"))


def find_bank(bank: Path | None = None, folders: Sequence[Path] = FOLDERS) -> Path:
    """The soundfont to play: ``bank``, else what ``ACESTEP_SOUNDFONT`` names, else a free bank in ``folders``.

    Raises:
        WeightsError: the named file does not exist, or no bank is installed.
    """
    named = bank or os.environ.get(SETTING)
    if named:
        return _existing(Path(named))
    for path in (folder / name for name in FREE_BANKS for folder in folders):
        if path.is_file():
            return path
    raise WeightsError(
        f"No General MIDI soundfont is installed: run `apt-get install {PACKAGE}`, "
        f"or set {SETTING} to a .sf2 or .sf3 file."
    )


def load_bank(path: Path) -> SoundFont:
    """The loaded bank, shared by every renderer of the process; clone it before playing (``SoundFont(bank)``).

    Raises:
        WeightsError: tinysoundfont is not installed, or the file is not a soundfont.
    """
    return _load(path.resolve())


@cache
def _load(path: Path) -> SoundFont:
    try:
        return engine().SoundFont(str(path))
    except RuntimeError as error:
        raise WeightsError(f"{path} is not a soundfont that can be played; reinstall {PACKAGE}.") from error


def engine() -> ModuleType:
    """The compiled part of tinysoundfont: its ``Synth`` around it keeps state from one song to the next.

    Raises:
        WeightsError: it is not installed.
    """
    try:
        return importlib.import_module("tinysoundfont._tinysoundfont")
    except ModuleNotFoundError as error:
        raise WeightsError(
            f"Rendering needs the package tinysoundfont: run `pip install --no-deps {ENGINE}`."
        ) from error


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise WeightsError(f"The soundfont {path} does not exist; `apt-get install {PACKAGE}` provides one.")
    return path
