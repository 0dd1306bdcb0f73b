"""Twenty songs on one server: nothing grows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from acestep.cogrun.schema import PROJECT

from cog_server import CogServer
from hardening_support import terse_tiny

SONGS = 20
GROWTH_MB = 20.0


@dataclass(frozen=True, slots=True)
class Footprint:
    """What the process that runs the model holds."""

    memory_mb: float
    threads: int
    open_files: int
    files: int

    @classmethod
    def of(cls, server: CogServer) -> Footprint:
        process = Path(f"/proc/{server.worker}")
        status = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
        memory_mb = int(status["VmRSS"].split()[0]) / 1024
        return cls(memory_mb, int(status["Threads"]), len(list((process / "fd").iterdir())), len(server.files()))


def test_twenty_songs_leave_no_more_than_two(tmp_path: Path) -> None:
    with CogServer(PROJECT, terse_tiny(tmp_path)) as server:
        seen = []
        for seed in range(SONGS):
            answer = server.predict({"prompt": "x", "audio_duration": 10, "seed": seed, "infer_steps": 2})
            assert answer["status"] == "succeeded"
            assert server.runtime.client.wait_idle(10)
            seen.append(Footprint.of(server))
        songs = [path for path in server.files() if path.suffix == ".wav"]
    second, last = seen[1], seen[-1]
    assert len(songs) == 2
    assert last.memory_mb - second.memory_mb < GROWTH_MB
    assert (last.open_files, last.files) == (second.open_files, second.files)
    # Cog runs a song on whichever of its threads is free and starts a few more as it likes; a leak adds one per song.
    assert last.threads - second.threads < SONGS // 3
