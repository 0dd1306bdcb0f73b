"""What is built from this repository fits together."""

from __future__ import annotations

import re

import pytest
import yaml

from acestep.cogrun.schema import COG_VERSION, PROJECT

CONFIG = yaml.safe_load((PROJECT / "cog.yaml").read_text())


def pins(name: str) -> dict[str, str]:
    lines = (PROJECT / "requirements" / name).read_text().splitlines()
    return dict(line.split("==") for line in lines if line and not line.startswith("#"))


def test_the_image_runs_the_predictor_of_this_folder() -> None:
    file, _, name = CONFIG["predict"].partition(":")
    assert f"class {name}(BasePredictor):" in (PROJECT / file).read_text()
    assert (PROJECT / CONFIG["build"]["python_requirements"]).is_file()
    assert CONFIG["build"]["sdk_version"] == COG_VERSION == pins("cpu.lock")["cog"]


@pytest.mark.parametrize(
    "package",
    (
        "torch transformers tokenizers safetensors numpy soundfile soxr huggingface_hub httpx2 filelock pydub "
        "mutagen imageio-ffmpeg pillow rich c2pa-python cryptography"
    ).split(),
)
def test_cpu_and_gpu_are_one_world(package: str) -> None:
    assert pins("gpu.txt")[package] == pins("cpu.lock")[package]


def test_the_build_context_keeps_what_cog_writes_there() -> None:
    """``cog build`` puts its own files below ``.cog`` and copies them from there."""
    assert not re.search(r"^\.cog", (PROJECT / ".dockerignore").read_text(), flags=re.MULTILINE)


def test_the_environment_holds_only_what_cog_allows() -> None:
    refused = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "CUDA_", "NVIDIA_", "REPLICATE_", "HF_ENDPOINT")
    assert not any(entry.startswith(refused) for entry in CONFIG["environment"])
