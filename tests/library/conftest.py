"""Real material that is never part of the repository; a missing file is an error, not a skip."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

LIBRARY = Path(os.environ["ACESTEP_TEST_LIBRARY"])


@pytest.fixture(scope="session")
def song() -> Path:
    """A real song, mp3."""
    path = LIBRARY / "test_track_001.mp3"
    assert path.is_file(), f"{LIBRARY} lacks {path.name}"
    return path


@pytest.fixture(scope="session")
def prompts() -> list[dict[str, Any]]:
    """Real requests: caption, lyrics and metadata of whole songs."""
    paths = sorted((LIBRARY / "prompts" / "text2music").glob("*.json"))
    assert len(paths) == 60, f"{LIBRARY} holds {len(paths)} of 60 prompts"
    return [json.loads(path.read_text(encoding="utf-8")) for path in paths]


@pytest.fixture(scope="session")
def wishes() -> list[dict[str, Any]]:
    """Real requests of the simple mode: one line, whether anybody sings, in which language."""
    paths = sorted((LIBRARY / "prompts" / "simple_mode").glob("*.json"))
    assert len(paths) == 60, f"{LIBRARY} holds {len(paths)} of 60 wishes"
    return [json.loads(path.read_text(encoding="utf-8")) for path in paths]


@pytest.fixture(scope="session")
def cog_config_schema() -> dict[str, Any]:
    """The JSON schema of ``cog.yaml``."""
    return json.loads((LIBRARY / "cog_config_schema_v1.0.json").read_text())
