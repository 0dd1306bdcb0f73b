"""Which adapter a stranger may name: one of the hub, one behind a URL, or one in a folder that is allowed.

In: ``lora_name_or_path`` of a client. Out: nothing, or one sentence. The Python API follows every path of this
machine; here it is stopped before. What adapters are and which hosts are trusted, ``v1.adapter_source`` judges.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from acestep.errors import InputError, shown
from acestep.places import is_below
from acestep.v1.adapter_source import FIELD, judge_adapter


def check_adapter(text: str, weight: float, folders: Sequence[Path] = ()) -> None:
    """Let ``text`` pass, unless it is a path that lies in none of ``folders``.

    Raises:
        InputError: such a path, whether something is there or not; or what ``judge_adapter`` refuses.
    """
    path = Path(os.path.expanduser(text.strip()))  # noqa: PTH111 - leaves the homes of unknown people as they are
    there = bool(text.strip()) and os.path.exists(path)  # noqa: PTH110 - a name that no file system takes is not
    if there and any(is_below(folder, path) for folder in folders):
        return
    judge_adapter(text, weight, allow_local=False)
    if there:
        raise InputError(
            f"{FIELD} must be a hub id or an https: URL; {shown(text)} is a path here too: if the hub's is meant, "
            "add @ and a commit to it.",
            field=FIELD,
        )
