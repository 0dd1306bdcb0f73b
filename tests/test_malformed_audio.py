"""Every malformed file gets one clear sentence, soon, in little memory, and nothing is left running or behind."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest

from acestep.audio.io import read_audio
from acestep.errors import AudioError

from audio_files import run_ffmpeg
from malformed_audio import CASES, Malformed
from processes import children

CPU_LIMIT_S = 2.0  # of this process and its children: what others do on the machine does not count
MEMORY_LIMIT_BYTES = 200 << 20
TESTS = Path(__file__).parent


def cpu_s() -> float:
    return sum(os.times()[:4])


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of temporary files, watched."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def test_there_are_at_least_fifty() -> None:
    assert len({case.name for case in CASES}) == len(CASES) >= 50


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_malformed_audio_is_refused_in_one_sentence(case: Malformed, tmp_path: Path, temporary: Path) -> None:
    (tmp_path / "given").mkdir()
    path = case.make(tmp_path / "given")
    begun, open_files, running = cpu_s(), len(os.listdir("/dev/fd")), children()
    with pytest.raises(AudioError) as caught:
        read_audio(path, field="reference_audio", require_sound=True)
    assert cpu_s() - begun < CPU_LIMIT_S
    assert_is_clear(str(caught.value), case, path)
    assert (caught.value.field, len(os.listdir("/dev/fd"))) == ("reference_audio", open_files)
    assert_nothing_is_left(temporary, running)


def assert_is_clear(message: str, case: Malformed, path: Path | str) -> None:
    """One line: the field, the file's own name, the reason; no folder, no address, no word of Python or C."""
    assert re.fullmatch(r"reference_audio: ('[^\n]{0,90}') [^\n]{8,160}", message), message
    assert case.reason in message
    folder = str(Path(path).parent)
    for hidden in ("/dev/", "/etc", "Error", "Traceback", "0x", "secret", "user:pass", *({folder} - {"."})):
        assert hidden not in message


def assert_nothing_is_left(temporary: Path, running: set[str]) -> None:
    """No new child, running or dead; no thread that waits to kill one; no temporary file."""
    assert children() == running
    assert not [thread for thread in threading.enumerate() if isinstance(thread, threading.Timer)]
    assert not list(temporary.iterdir())


@pytest.mark.parametrize("case", [case for case in CASES if "ten hours" in case.name], ids=lambda case: case.name)
def test_ten_hours_of_silence_take_little_memory(case: Malformed, tmp_path: Path) -> None:
    """In a process of its own, whose peak is not that of other tests."""
    attempt = "try: read_audio(sys.argv[1], field='src_audio')\nexcept AudioError: print(grown(), childs())"
    ours, childs = (int(figure) for figure in measured(attempt, str(case.make(tmp_path))))
    assert ours < MEMORY_LIMIT_BYTES
    assert childs < MEMORY_LIMIT_BYTES


def test_a_long_song_is_in_memory_little_more_than_once(tmp_path: Path) -> None:
    """Five minutes of stereo at 44.1 kHz: 115 MB of result, and the pieces it is put together from."""
    song = str(tmp_path / "song.flac")
    run_ffmpeg("-f", "lavfi", "-i", "sine=r=44100", "-t", "300", "-ac", "2", song)
    read = "read = read_audio(sys.argv[1], field='src_audio').samples.nbytes"
    growth, size = (int(figure) for figure in measured(f"{read}\nprint(grown(), read)", song))
    assert growth < 1.3 * size


def measured(statements: str, path: str) -> list[str]:
    """What statements print that may call ``grown()``, bytes by which the peak of their process has risen, and
    ``childs()``, the peak of its children. (``ru_maxrss`` of a process itself begins at that of its parent.)"""
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from resource import RUSAGE_CHILDREN, getrusage\n"
        "from acestep.audio.io import read_audio\n"
        "from acestep.errors import AudioError\n"
        "def peak(): return int(Path('/proc/self/status').read_text().partition('VmHWM:')[2].split()[0]) * 1024\n"
        "def grown(): return peak() - before\n"
        "def childs(): return getrusage(RUSAGE_CHILDREN).ru_maxrss * 1024\n"
        "before = peak()\n"
    )
    command = [sys.executable, "-c", program + statements, path]
    return subprocess.run(command, check=True, capture_output=True, text=True, cwd=TESTS.parent).stdout.split()
