"""The optional packages that read lyrics, imported when a line first needs them.

In: a module's name. Out: the module, or the sentence that says how to install it.
"""

from __future__ import annotations

import importlib
from types import ModuleType

from acestep.errors import UnsupportedError


def required(name: str) -> ModuleType:
    """The module ``name`` of the extra ``v1``.

    Raises:
        UnsupportedError: it is not installed, or not whole.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        package = name.replace("_", "-")
        raise UnsupportedError(
            f"Lyrics of ACE-Step v1 need the package {package}; install it with `pip install 'acestep-cog[v1]'`.",
            field="lyrics",
        ) from error
