"""The REST server under load: are all songs made, does memory stay flat, can songs be called off.

``python -m benchmarks.server`` starts ``acestep-server`` as a process on a free port of this machine, sends it 200
requests from 16 clients at once, then cancels a song that runs and two that wait, and prints one JSON line. Every
answer is checked: its status, its seed, its length. Options: ``--model``, ``--requests``, ``--clients``.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx2
import soundfile as sf

PROJECT = Path(__file__).resolve().parents[1]
WARM = 20  # requests before the first look at memory
SECONDS = 10.0
PAUSE_S = 0.02


@dataclass(frozen=True, slots=True)
class Footprint:
    """What the server's process holds."""

    memory_mb: float
    threads: int
    open_files: int

    @classmethod
    def of(cls, pid: int) -> Footprint:
        """Of a process of this machine."""
        process = Path(f"/proc/{pid}")
        status = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
        memory_mb = round(int(status["VmRSS"].split()[0]) / 1024, 1)
        return cls(memory_mb, int(status["Threads"]), len(list((process / "fd").iterdir())))


@dataclass(frozen=True, slots=True)
class Server:
    """A running server: its process, a client of it, its output folder."""

    pid: int
    client: httpx2.Client
    outputs: Path

    def song(self, **fields: Any) -> dict[str, Any]:
        """A request for a short song."""
        return {"prompt": "calm piano", "lyrics": "", "audio_duration": SECONDS, "infer_step": 1} | fields

    def state(self, job: str) -> str:
        """Of a job."""
        return self.client.get(f"/jobs/{job}").json()["state"]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", default="tiny-v1")
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--clients", type=int, default=16)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, running(Path(folder), arguments.model, arguments.clients) as server:
        figures = under_load(server, arguments.requests, arguments.clients) | called_off(server)
    print(json.dumps({"benchmark": "server", "model": arguments.model, "clients": arguments.clients, **figures}))


@contextmanager
def running(folder: Path, model: str, queue: int) -> Iterator[Server]:
    """A server in the block."""
    command = [sys.executable, "-m", "acestep.server", "--port", "0", "--checkpoint", model, "--queue", str(queue)]
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(PROJECT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        address = next(found[0] for line in process.stderr if (found := re.search(r"http://\S+:\d+", line)))
        threading.Thread(target=process.stderr.read, daemon=True).start()
        with httpx2.Client(base_url=address, timeout=600.0) as client:
            yield Server(process.pid, client, folder / "outputs")
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def under_load(server: Server, requests: int, clients: int) -> dict[str, Any]:
    """Many songs of many clients."""
    made: list[tuple[int, bool]] = [ask(server, seed) for seed in range(WARM)]
    before, start = Footprint.of(server.pid), time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        made += pool.map(lambda seed: ask(server, seed), range(WARM, requests))
    seconds, after = time.perf_counter() - start, Footprint.of(server.pid)
    return {
        "requests": requests,
        "statuses": dict(Counter(status for status, _ in made)),
        "right": sum(right for _, right in made),
        "files": len(list(server.outputs.glob("*.wav"))),
        "songs_per_s": round((requests - WARM) / seconds, 2),
        "before": asdict(before),
        "after": asdict(after),
        "growth_mb": round(after.memory_mb - before.memory_mb, 1),
    }


def ask(server: Server, seed: int) -> tuple[int, bool]:
    """The status of one song, and whether it is the one that was asked for."""
    answer = server.client.post("/generate", json=server.song(actual_seeds=[seed]))
    if answer.status_code != httpx2.codes.OK:
        return answer.status_code, False
    duration = sf.info(io.BytesIO(answer.content)).duration
    return answer.status_code, json.loads(answer.headers["X-Seeds"]) == [seed] and duration == SECONDS


def called_off(server: Server) -> dict[str, Any]:
    """A song that runs and two that wait are cancelled: seconds until they are, files that they left."""
    files = set(server.outputs.rglob("*"))
    bodies = [server.song(audio_duration=240.0), server.song(), server.song()]
    jobs = [server.client.post("/generate?wait=false", json=body).json()["id"] for body in bodies]
    while server.state(jobs[0]) != "running":
        time.sleep(PAUSE_S)
    start = time.perf_counter()
    for job in reversed(jobs):
        server.client.delete(f"/jobs/{job}")
    while not all(server.state(job) == "cancelled" for job in jobs):
        time.sleep(PAUSE_S)
    seconds = round(time.perf_counter() - start, 2)
    return {"cancelled": len(jobs), "cancel_s": seconds, "left_files": len(set(server.outputs.rglob("*")) - files)}


if __name__ == "__main__":
    main()
