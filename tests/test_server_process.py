"""``acestep-server`` as a process: how it starts, what it reads from its environment, how it stops."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from acestep.checkpoints.files import PACKAGED
from acestep.checkpoints.registry import DEFAULT_MODEL
from acestep.cogrun.schema import PROJECT
from acestep.server.__main__ import main

from download_support import environment
from fake_hub import serving as serving_hub
from hardening_support import wait_until
from server_support import LONG_SONG, SERVED, detail, serving, song

WITHOUT = "import sys\nsys.modules[{missing!r}] = None\nfrom acestep.server.__main__ import main\nsys.exit(main([]))"


class Process:
    """A running server: its address, and the lines that it has written."""

    def __init__(self, folder: Path, *arguments: str, **settings: str) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("ACESTEP_")}
        self.lines: list[str] = []
        self._process = subprocess.Popen(
            [sys.executable, "-m", "acestep.server", "--port", "0", *arguments],
            cwd=folder,
            env=kept | {"PYTHONPATH": str(PROJECT), "PYTHONWARNINGS": "error", "OMP_NUM_THREADS": "1"} | settings,
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    @property
    def url(self) -> str:
        """Where it listens, as soon as it says so."""
        wait_until(lambda: any("Uvicorn running" in line for line in self.lines) or not self.running)
        return re.search(r"http://\S+:\d+", "".join(self.lines))[0].replace("0.0.0.0", "127.0.0.1")

    def stop(self, how: signal.Signals = signal.SIGTERM, timeout: float = 30.0) -> int:
        """Its exit code."""
        if self.running:
            self._process.send_signal(how)
        code = self._process.wait(timeout)
        self._reader.join()
        self._process.stderr.close()
        return code

    def _read(self) -> None:
        self.lines.extend(self._process.stderr)


@contextmanager
def started(folder: Path, *arguments: str, **settings: str) -> Iterator[tuple[Process, httpx2.Client]]:
    process = Process(folder, *arguments, **settings)
    try:
        with httpx2.Client(base_url=process.url, timeout=120.0) as client:
            yield process, client
    finally:
        process.stop(signal.SIGKILL)


def test_a_server_that_is_stopped_gives_up_what_runs_and_leaves_no_half_file(tmp_path: Path) -> None:
    with started(tmp_path) as (process, client):
        answers: list[httpx2.Response] = []
        waiting = threading.Thread(
            target=lambda: answers.append(httpx2.post(f"{process.url}/generate", json=song(**LONG_SONG), timeout=60))
        )
        waiting.start()
        wait_until(lambda: any("step" in job["stage"] for job in client.get("/jobs").json()))
        assert process.stop(signal.SIGTERM) == 0
        waiting.join()
    assert detail(answers[0], 409) == "The job was cancelled."
    left = {path.name for path in (tmp_path / "outputs").iterdir()}
    assert left == {".acestep-server.lock"}
    assert not any("Traceback" in line for line in process.lines)


def test_checkpoint_path_of_the_environment_is_honoured(tmp_path: Path) -> None:
    model = SERVED[-1]
    with started(tmp_path, "--host", "0.0.0.0", CHECKPOINT_PATH=str(PACKAGED)) as (process, client):
        answer = client.post("/generate", json=song(checkpoint_path=str(PACKAGED / model)))
        assert answer.status_code == 200, answer.text
        assert answer.headers["X-Model"] == model
        assert Path(answer.headers["X-Output-Path"]).parent == tmp_path / "outputs"
        assert client.get("/health", headers={"Host": "music.example"}).status_code == 200
        assert process.stop(signal.SIGINT) == 0
    assert any("Everybody who reaches 0.0.0.0 may use this server" in line for line in process.lines)


def test_models_are_fetched_on_first_use_with_the_token_of_hf_home(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "token").write_text("hf_ThisIsOurToken")
    with serving_hub() as hub:
        settings = environment(hub.endpoint, HF_HOME=str(home), CHECKPOINT_PATH=str(tmp_path / "checkpoints"))
        hidden = {"HF_HUB_OFFLINE": "0"}
        with started(tmp_path, **settings | hidden) as (_, client):
            answer = client.post("/generate", json=song(checkpoint_path=DEFAULT_MODEL.name))
        said = detail(answer, 500)
    assert said.startswith(f"Model not loaded: {DEFAULT_MODEL.name} could not be fetched.")
    assert str(tmp_path) not in said
    asked = [seen.authorization for seen in hub.seen if DEFAULT_MODEL.repository in seen.path]
    assert set(asked) == {"Bearer hf_ThisIsOurToken"}


def test_the_default_model_can_be_loaded_before_anybody_asks(tmp_path: Path) -> None:
    with serving(tmp_path, checkpoint=SERVED[0]) as server:
        assert server.station.preload() > 0
        assert server.post("/generate", json=song(checkpoint_path=None)).headers["X-Init-Time"] == "0.00"


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["--checkpoint", "/nowhere"], 2, "checkpoint_path '/nowhere' is no checkpoint"),
        (["--device", "tpu"], 2, "device 'tpu' is unknown"),
        (["--queue", "-1"], 2, "--queue must be 0 or more, not -1."),
        (["--output-folder", "file/outputs"], 1, "cannot write into the folder 'outputs'"),
        (["--preload", "--no-download", "--checkpoint", "acestep-v15-xl-base"], 2, "Model not loaded"),
    ],
)
def test_what_keeps_it_from_starting_is_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    sentence: str,
) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == code
    line = capsys.readouterr().err
    assert line.startswith("acestep-server: ")
    assert line.count("\n") == 1
    assert sentence in line


@pytest.mark.parametrize("missing", ["fastapi", "uvicorn", "python_multipart"])
def test_a_package_that_is_missing_is_named_with_its_remedy(missing: str, tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-c", WITHOUT.format(missing=missing)],
        cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(PROJECT)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 2
    remedy = "install it with `pip install 'acestep-cog[server]'`"
    assert run.stderr == f"acestep-server: The server needs {missing}; {remedy}.\n"
