"""The nine published examples for Replicate, as written: the official client, the real server, the embedded family.

`auto` means tiny and tiny-base where there is no GPU. The recordings have the names of the examples and are short,
but for the one of which half a minute is painted anew. They are opened for reading as there, and closed, which the
examples leave to chance. The planner writes few words (`terse_planner`). Nothing else is adapted. The adapter of one
example was made for ACE-Step v1, on which all nine run in `test_v1_examples`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest
import replicate
import soundfile as sf
from replicate.exceptions import ModelError
from replicate.helpers import FileOutput

from acestep.cogrun.schema import PROJECT
from acestep.constants import SAMPLE_RATE
from acestep.net.url import ALLOW_PRIVATE_URLS
from acestep.output.tags import read_recipe

from cog_server import CogServer
from hardening_support import tone
from replicate_facade import ReplicateFacade
from terse_planner import terse_weights

Attach = Callable[[str], BinaryIO]
SECONDS = {
    "my_song": 6,
    "original_song": 62,
    "pop_song": 7.3,
    "my_vocals": 5,
    "target_voice": 3,
    "acapella_vocals": 6,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the recordings lie."""
    folder = tmp_path_factory.mktemp("recordings")
    for name, seconds in SECONDS.items():
        (folder / f"{name}.wav").write_bytes(tone(seconds))
    return folder


@pytest.fixture(scope="module", autouse=True)
def service(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The service that `replicate.run` talks to, and the folder its caller is in."""
    weights = terse_weights(tmp_path_factory.mktemp("weights"))
    env = {ALLOW_PRIVATE_URLS: "1", "ACESTEP_WEIGHTS": str(weights)}
    with CogServer(PROJECT, env) as server, ReplicateFacade(server) as facade, pytest.MonkeyPatch.context() as patch:
        facade.tell_client(patch)
        patch.chdir(folder)
        yield


@pytest.fixture
def attach() -> Iterator[Attach]:
    """`open(name, "rb")` that is closed after the test."""
    with ExitStack() as stack:
        yield lambda name: stack.enter_context(Path(name).open("rb"))


def opened(output: FileOutput, folder: Path) -> tuple[np.ndarray, dict[str, Any]]:
    """Samples ``[S, 2]`` of 16 bits, and the recipe."""
    assert isinstance(output, FileOutput)
    song = folder / "output.wav"
    song.write_bytes(output.read())
    samples, rate = sf.read(song, dtype="int16")
    assert rate == SAMPLE_RATE
    return samples, read_recipe(song)


def recorded(name: str) -> np.ndarray:
    """Samples ``[S, 2]`` of 16 bits of one of the recordings."""
    samples, _ = sf.read(name, dtype="int16")
    return np.stack([samples, samples], axis=1)


def test_basic_text_to_music(tmp_path: Path) -> None:
    assert os.environ["REPLICATE_BASE_URL"].startswith("http://127.0.0.1:")
    output = replicate.run(
        "your-username/ace-step",
        input={
            "task": "text2music",
            "prompt": "Electronic dance music, upbeat, energetic",
            "audio_duration": 30,
            "infer_steps": 60,
            "guidance_scale": 15.0,
        },
    )
    samples, recipe = opened(output, tmp_path)
    assert len(samples) == 30 * SAMPLE_RATE
    assert recipe["models"]["dit"]["name"] == recipe["models"]["lm"]["name"] == "tiny"


def test_full_song_with_lyrics(tmp_path: Path) -> None:
    output = replicate.run(
        "your-username/ace-step",
        input={
            "task": "text2music",
            "prompt": "Pop ballad, emotional, piano-driven, modern production",
            "lyrics": """[verse]
In the quiet of the night
I find my way to you
Through the shadows and the light
[chorus]
This is our moment
This is our time
Everything feels so right
[verse]
Stars are dancing in your eyes
Dreams are calling out our names
[chorus]
This is our moment
This is our time
Everything feels so right
[bridge]
When the world fades away
Only love will remain
[outro]
This is our time""",
            "audio_duration": 240,  # 4 minutes
            "infer_steps": 80,
            "guidance_scale": 18.0,
            "scheduler_type": "pingpong",  # Best for long coherent generation
            "seed": 42,
        },
    )
    samples, recipe = opened(output, tmp_path)
    assert len(samples) == 240 * SAMPLE_RATE
    assert (recipe["seeds"], recipe["parameters"]["scheduler_type"]) == ([42], "pingpong")


def test_audio_continuation(attach: Attach, tmp_path: Path) -> None:
    output = replicate.run(
        "your-username/ace-step",
        input={
            "task": "continuation",
            "input_audio": attach("my_song.wav"),
            "continuation_mode": "extend_end",
            "extend_duration": 60,
            "prompt": "Continue with same style, add guitar solo",
            "infer_steps": 60,
        },
    )
    (samples, recipe), source = opened(output, tmp_path), recorded("my_song.wav")
    assert len(samples) == len(source) + 60 * SAMPLE_RATE
    np.testing.assert_array_equal(samples[: len(source)], source)
    assert recipe["models"]["lm"] is None


def test_audio_inpainting(attach: Attach, tmp_path: Path) -> None:
    output = replicate.run(
        "your-username/ace-step",
        input={
            "task": "inpainting",
            "input_audio": attach("original_song.wav"),
            "inpaint_start_time": 30.0,  # Start editing at 30 seconds
            "inpaint_end_time": 60.0,  # End editing at 60 seconds
            "prompt": "Add dramatic orchestral strings",
            "lyrics": "[bridge]\nEverything changes now\nNothing will be the same",
            "infer_steps": 70,
        },
    )
    (samples, _), source = opened(output, tmp_path), recorded("original_song.wav")
    changed = np.flatnonzero((samples != source).any(axis=1))
    assert 30 * SAMPLE_RATE <= changed[0] < 31 * SAMPLE_RATE
    assert 59 * SAMPLE_RATE < changed[-1] < 60 * SAMPLE_RATE


def test_style_transfer(attach: Attach, tmp_path: Path) -> None:
    output = replicate.run(
        "your-username/ace-step",
        input={
            "task": "style_transfer",
            "input_audio": attach("pop_song.wav"),
            "style_prompt": "Jazz arrangement, swing rhythm, saxophone lead",
            "style_strength": 0.8,  # High transformation
            "preserve_vocals": True,
            "infer_steps": 75,
        },
    )
    samples, recipe = opened(output, tmp_path)
    assert len(samples) == len(recorded("pop_song.wav"))
    assert (recipe["models"]["dit"]["name"], recipe["parameters"]["inference_steps"]) == ("tiny-base", 75)


def test_voice_cloning(attach: Attach, tmp_path: Path) -> None:
    output = replicate.run(
        "your-username/ace-step",
        input={
            "task": "audio2audio",
            "input_audio": attach("my_vocals.wav"),
            "reference_audio": attach("target_voice.wav"),
            "audio2audio_strength": 0.6,
            "prompt": "Maintain emotional expression, smooth vocal style",
            "preserve_vocals": True,
        },
    )
    samples, recipe = opened(output, tmp_path)
    assert len(samples) == len(recorded("my_vocals.wav"))
    heard = {role: used["duration_s"] for role, used in recipe["sources"].items()}
    assert heard == {"source": SECONDS["my_vocals"], "reference": SECONDS["target_voice"]}


def test_vocal_accompaniment(attach: Attach, tmp_path: Path) -> None:
    output = replicate.run(
        "your-username/ace-step",
        input={
            "task": "vocal_accompaniment",
            "input_audio": attach("acapella_vocals.wav"),
            "accompaniment_style": "jazz",
            "prompt": "Rich jazz accompaniment with piano, bass, and light drums",
            "infer_steps": 70,
        },
    )
    samples, recipe = opened(output, tmp_path)
    assert len(samples) == len(recorded("acapella_vocals.wav"))
    assert recipe["models"]["dit"]["name"] == "tiny-base"


def test_rap_with_an_adapter_says_which_models_it_goes_with() -> None:
    sentence = "LoRA' does not go with model 'tiny', which takes no adapters yet; choose one of: v1-3.5B, tiny-v1."
    with pytest.raises(ModelError, match=sentence):
        replicate.run(
            "your-username/ace-step",
            input={
                "task": "text2music",
                "prompt": "Hip-hop beat, hard hitting bass, trap style",
                "lyrics": """[verse]
Started from the bottom now we here
Every single day we persevere
[chorus]
This is how we rise up
Never gonna give up
[verse]
Dreams become reality
Nothing can stop our energy""",
                "lora_name_or_path": "ACE-Step/ACE-Step-v1-chinese-rap-LoRA",
                "lora_weight": 1.0,
                "audio_duration": 120,
                "infer_steps": 60,
            },
        )


def test_quick_variations(tmp_path: Path) -> None:
    output = replicate.run(
        "your-username/ace-step",
        input={
            "task": "text2music",
            "prompt": "Ambient electronic, atmospheric",
            "seed": 12345,
            "variation_seed": 67890,
            "variation_strength": 0.3,  # Subtle variation
            "audio_duration": 60,
        },
    )
    samples, recipe = opened(output, tmp_path)
    assert len(samples) == 60 * SAMPLE_RATE
    made = {name: recipe["parameters"][name] for name in ("seed", "variation_seed", "variation_strength")}
    assert made == {"seed": 12345, "variation_seed": 67890, "variation_strength": 0.3}
