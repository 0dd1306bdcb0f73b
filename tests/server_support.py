"""A real server on loopback for tests, and what the contract says a client sends.

with serving(tmp_path) as server:
    server.post("/generate", json=song(prompt="calm piano")).content     # a WAV
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2

from acestep.cogrun.schema import PROJECT
from acestep.server.options import Options
from acestep.server.serving import StationServer
from acestep.server.station import Station

from hardening_support import wait_until

SERVED = ("tiny", "tiny-v1")  # models that every endpoint is tried with
LONG_SONG = {"audio_duration": 240, "checkpoint_path": "tiny-base", "infer_step": 100}  # minutes, if nobody stops it
# The request of the contract's quick start; every field that it calls required is here.
REQUIRED: dict[str, Any] = {
    "checkpoint_path": "tiny",
    "audio_duration": 10.0,
    "prompt": "pop, upbeat, energetic",
    "lyrics": "[verse]\nHello world\nThis is a test\n\n[chorus]\nMusic generation\nIs amazing",
    "infer_step": 60,
    "guidance_scale": 15.0,
    "scheduler_type": "euler",
    "cfg_type": "apg",
    "omega_scale": 10.0,
    "actual_seeds": [12345],
    "guidance_interval": 0.5,
    "guidance_interval_decay": 0.0,
    "min_guidance_scale": 3.0,
    "use_erg_tag": True,
    "use_erg_lyric": True,
    "use_erg_diffusion": True,
    "oss_steps": [],
}


def song(**changes: Any) -> dict[str, Any]:
    """The contract's request with changes, in one step where they do not say how many."""
    return {**REQUIRED, "infer_step": 1, **changes}


class Live(httpx2.Client):
    """A client of a server that runs in this process.

    Attributes:
        station: what the server serves.
    """

    def __init__(self, station: Station, port: int) -> None:
        headers = {"X-API-Key": station.options.api_key} if station.options.api_key else {}
        super().__init__(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=120.0)
        self.station = station
        self.port = port

    def job(self, identifier: str) -> dict[str, Any]:
        return self.get(f"/jobs/{identifier}").json()

    def start(self, **changes: Any) -> str:
        """Queue a song; its job's id."""
        answer = self.post("/generate", params={"wait": "false"}, json=song(**changes))
        assert answer.status_code == 202, answer.text
        return answer.json()["id"]

    def wait_for(self, identifier: str, *states: str, timeout: float = 60.0) -> dict[str, Any]:
        wait_until(lambda: self.job(identifier)["state"] in states, timeout)
        return self.job(identifier)


@contextmanager
def serving(folder: Path, **options: Any) -> Iterator[Live]:
    """A server with its outputs in ``folder``; it never downloads."""
    chosen = {"output_folder": folder / "outputs", "port": 0, "download": False, **options}
    with Station.opened(Options(**chosen), PROJECT) as station:
        server = StationServer(station)
        server.config.load()
        thread = threading.Thread(target=server.run)
        thread.start()
        try:
            wait_until(lambda: server.started or not thread.is_alive())
            with Live(station, server.port) as client:
                yield client
        finally:
            server.should_exit = True
            thread.join()


def detail(answer: httpx2.Response, status: int) -> str:
    """The sentence of a refusal."""
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert set(body) == {"detail"}
    assert "Traceback" not in body["detail"]
    return body["detail"]
