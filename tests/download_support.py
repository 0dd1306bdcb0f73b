"""``acestep-download`` in a process of its own: the library of the hub reads its environment when it is imported."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from acestep.checkpoints.files import staging_of
from acestep.checkpoints.integrity import MARKER, State, inspect
from acestep.checkpoints.registry import COMPONENTS
from acestep.cogrun.schema import PROJECT

from fake_hub import FakeHub, Repository, content

VAE = COMPONENTS["vae"]
WEIGHTS = f"{VAE.layout.weights}.safetensors"
HUB_WEIGHTS, HUB_CONFIG = f"vae/{WEIGHTS}", "vae/config.json"
CLOSED = "http://127.0.0.1:9"  # nobody listens on the discard port
TOKEN = "hf_ThisMustNeverBeSeen"
HEEDING_SIGINT = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"  # whatever the runner does
IMPATIENT = "import acestep.checkpoints.download as d; d.LINK_WAIT_S = 0.01"


def environment(endpoint: str, **differs: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "ACESTEP_"))}
    ours = {"HF_ENDPOINT": endpoint, "HF_HUB_DISABLE_XET": "1", "HF_HOME": "/nonexistent", "PYTHONPATH": str(PROJECT)}
    return kept | ours | {"HF_HUB_DOWNLOAD_TIMEOUT": "5", "PYTHONWARNINGS": "error"} | differs


def command(root: Path, *arguments: str, before: str = "") -> list[str]:
    """``acestep-download`` in a fresh interpreter, after a statement that changes its world."""
    words = [*(arguments or ("--model", "vae")), "--dir", str(root)]
    program = f"import sys\nfrom acestep.download_cli import main\nsys.exit(main({words!r}))"
    return [sys.executable, "-c", f"{HEEDING_SIGINT}\n{before}\n{program}"]


def download(
    hub: FakeHub | str, root: Path, *arguments: str, before: str = "", **differs: str
) -> subprocess.CompletedProcess[str]:
    endpoint = hub if isinstance(hub, str) else hub.endpoint
    return subprocess.run(
        command(root, *arguments, before=before),
        env=environment(endpoint, **differs),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def start(hub: FakeHub, root: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(command(root), env=environment(hub.endpoint), stderr=subprocess.PIPE, text=True)


def complaint(done: subprocess.CompletedProcess[str]) -> str:
    """The one line of a failed download."""
    assert done.returncode == 1, done.stderr
    assert done.stdout == ""
    prefix = "acestep-download: "
    assert done.stderr.startswith(prefix)
    line = done.stderr.removeprefix(prefix)
    assert line.count("\n") == 1, done.stderr
    return line


def assert_ready(root: Path, seed: int = 0) -> None:
    """The folder holds what the hub has, no code, nothing else; nothing of the download is left."""
    wanted = {name: data for name, data in content(VAE, seed).items() if not name.endswith(".py")}
    assert {path.name for path in (root / "vae").iterdir()} == {*wanted, MARKER}
    assert all((root / "vae" / name).read_bytes() == data for name, data in wanted.items())
    assert inspect(VAE, root).state is State.READY
    assert not staging_of(VAE, root).exists()


def changed(data: bytes) -> bytes:
    """One bit is different in the middle."""
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


def bundle(hub: FakeHub) -> Repository:
    return hub.repositories[VAE.repository]


def wait_until(true: Callable[[], bool], timeout_s: float = 20.0) -> None:
    end = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)
