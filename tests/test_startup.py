"""What a song costs before it begins: packages that take seconds to import stay out of the way."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from acestep.cogrun.schema import PROJECT

SLOW = {"transformers", "diffusers", "torch._dynamo", "torchaudio", "scipy", "sklearn", "librosa", "vllm", "fastapi"}
PROGRAM = """
import sys
from acestep.cli import main
words = "--model tiny --lm tiny --duration 10 --steps 1 -o".split()
code = main(["generate", "calm piano", *words, sys.argv[1]])
print(code, *sorted(set(sys.argv[2:]) & set(sys.modules)))
"""


def test_a_planned_song_imports_none_of_the_slow_packages(tmp_path: Path) -> None:
    words = [sys.executable, "-c", PROGRAM, str(tmp_path / "song.wav"), *SLOW]
    done = subprocess.run(words, cwd=PROJECT, capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.splitlines()[-1] == "0"
