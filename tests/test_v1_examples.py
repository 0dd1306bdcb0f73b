"""The nine published examples for Replicate on a server of the embedded v1 model: official client, real runtime.

What is sent is what the examples say, but for the steps, of which there are three, and for seconds, of which there is
a tenth, but of a new song 10 at least. The recordings have the names of the examples. The adapter comes from a hub on
loopback.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest
import replicate
import soundfile as sf
from replicate.helpers import FileOutput
from safetensors.torch import save

from acestep.cogrun.schema import PROJECT
from acestep.constants import SAMPLE_RATE
from acestep.net.url import ALLOW_PRIVATE_URLS
from acestep.output.tags import read_recipe

from cog_server import CogServer
from fake_hub import UNPINNED_COMMIT, FakeHub, Repository, serving
from hardening_support import tone
from replicate_facade import ReplicateFacade
from v1_adapter_support import random_pairs
from v1_road_support import NAME, ROUGH, tiny_v1

Attach = Callable[[str], BinaryIO]
STEPS, TENTH, SHORTEST_S = 3, 10, 10
TIMES = ("extend_duration", "inpaint_start_time", "inpaint_end_time")
RAP = "ACE-Step/ACE-Step-v1-chinese-rap-LoRA"
SECONDS = {
    "my_song": 6,
    "original_song": 6.2,
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


@pytest.fixture(scope="module")
def hub() -> Iterator[FakeHub]:
    """The hub with an adapter of that name, which fits the embedded model."""
    network = tiny_v1().renderer.family.transformer
    pairs = random_pairs(network, "speaker_embedder", "transformer_blocks.0.cross_attn.to_q")
    halves = {f"{module}.lora_A.weight": down for module, (down, _) in pairs.items()}
    halves |= {f"{module}.lora_B.weight": up for module, (_, up) in pairs.items()}
    with serving() as served:
        served.repositories[RAP] = Repository({"pytorch_lora_weights.safetensors": save(halves)})
        yield served


@pytest.fixture(scope="module", autouse=True)
def service(folder: Path, hub: FakeHub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The service that `replicate.run` talks to, and the folder its caller is in."""
    settings = {
        ALLOW_PRIVATE_URLS: "1",
        "OMP_NUM_THREADS": "1",
        "ACESTEP_MODEL": NAME,
        "ACESTEP_WEIGHTS": str(tmp_path_factory.mktemp("weights")),
        "HF_ENDPOINT": hub.endpoint,
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_XET": "1",
    }
    with (
        CogServer(PROJECT, settings) as server,
        ReplicateFacade(server) as facade,
        pytest.MonkeyPatch.context() as patch,
    ):
        facade.tell_client(patch)
        patch.chdir(folder)
        yield


@pytest.fixture
def attach() -> Iterator[Attach]:
    """`open(name, "rb")` that is closed after the test."""
    with ExitStack() as stack:
        yield lambda name: stack.enter_context(Path(name).open("rb"))


def run(folder: Path, **example: Any) -> tuple[np.ndarray, dict[str, Any]]:
    """Samples ``[S, 2]`` of 16 bits and the recipe of an example that is made quickly."""
    example |= {"infer_steps": STEPS, **{name: example[name] / TENTH for name in TIMES if name in example}}
    if "audio_duration" in example:
        example["audio_duration"] = max(example["audio_duration"] / TENTH, SHORTEST_S)
    output = replicate.run("your-username/ace-step", input=example)
    assert isinstance(output, FileOutput)
    song = folder / "output.wav"
    song.write_bytes(output.read())
    samples, rate = sf.read(song, dtype="int16")
    recipe = read_recipe(song)
    assert (rate, recipe["models"]["dit"]["name"], recipe["models"]["lm"]) == (SAMPLE_RATE, NAME, None)
    assert np.abs(samples).max() > 300
    return samples, recipe


def told(recipe: dict[str, Any]) -> list[str]:
    return [warning for warning in recipe["warnings"] if ROUGH not in warning]


def recorded(name: str) -> np.ndarray:
    """Samples ``[S, 2]`` of 16 bits of one of the recordings."""
    samples, _ = sf.read(f"{name}.wav", dtype="int16")
    return np.stack([samples, samples], axis=1)


def test_basic_text_to_music(tmp_path: Path) -> None:
    samples, recipe = run(
        tmp_path,
        task="text2music",
        prompt="Electronic dance music, upbeat, energetic",
        audio_duration=30,
        infer_steps=60,
        guidance_scale=15.0,
    )
    assert len(samples) == SHORTEST_S * SAMPLE_RATE
    assert told(recipe) == []


def test_full_song_with_lyrics(tmp_path: Path) -> None:
    samples, recipe = run(
        tmp_path,
        task="text2music",
        prompt="Pop ballad, emotional, piano-driven, modern production",
        lyrics="""[verse]
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
        audio_duration=240,  # 4 minutes
        infer_steps=80,
        guidance_scale=18.0,
        scheduler_type="pingpong",  # Best for long coherent generation
        seed=42,
    )
    assert len(samples) == 24 * SAMPLE_RATE
    said = recipe["parameters"]
    assert (recipe["seeds"], said["scheduler_type"], said["guidance_scale"]) == ([42], "pingpong", 18.0)
    assert told(recipe) == []


def test_audio_continuation(attach: Attach, tmp_path: Path) -> None:
    samples, recipe = run(
        tmp_path,
        task="continuation",
        input_audio=attach("my_song.wav"),
        continuation_mode="extend_end",
        extend_duration=60,
        prompt="Continue with same style, add guitar solo",
        infer_steps=60,
    )
    source = recorded("my_song")
    assert len(samples) == len(source) + 6 * SAMPLE_RATE
    np.testing.assert_array_equal(samples[: len(source)], source)
    assert told(recipe) == []


def test_audio_inpainting(attach: Attach, tmp_path: Path) -> None:
    samples, recipe = run(
        tmp_path,
        task="inpainting",
        input_audio=attach("original_song.wav"),
        inpaint_start_time=30.0,  # Start editing at 30 seconds
        inpaint_end_time=60.0,  # End editing at 60 seconds
        prompt="Add dramatic orchestral strings",
        lyrics="[bridge]\nEverything changes now\nNothing will be the same",
        infer_steps=70,
    )
    changed = np.flatnonzero((samples != recorded("original_song")).any(axis=1))
    assert 3.0 * SAMPLE_RATE <= changed[0] < 3.1 * SAMPLE_RATE
    assert 5.9 * SAMPLE_RATE < changed[-1] < 6.0 * SAMPLE_RATE
    assert told(recipe) == []


def test_style_transfer(attach: Attach, tmp_path: Path) -> None:
    samples, recipe = run(
        tmp_path,
        task="style_transfer",
        input_audio=attach("pop_song.wav"),
        style_prompt="Jazz arrangement, swing rhythm, saxophone lead",
        style_strength=0.8,  # High transformation
        preserve_vocals=True,
        infer_steps=75,
    )
    assert len(samples) == len(recorded("pop_song"))
    assert told(recipe) == ["preserve_vocals has no effect on task_type 'style_transfer'."]


def test_voice_cloning(attach: Attach, tmp_path: Path) -> None:
    samples, recipe = run(
        tmp_path,
        task="audio2audio",
        input_audio=attach("my_vocals.wav"),
        reference_audio=attach("target_voice.wav"),
        audio2audio_strength=0.6,
        prompt="Maintain emotional expression, smooth vocal style",
        preserve_vocals=True,
    )
    assert len(samples) == len(recorded("my_vocals"))
    assert recipe["sources"]["reference"] is None
    assert told(recipe) == [
        "reference_audio has no effect: it belongs to the ACE-Step 1.5 models.",
        "preserve_vocals has no effect on task_type 'audio2audio'.",
    ]


def test_vocal_accompaniment(attach: Attach, tmp_path: Path) -> None:
    samples, recipe = run(
        tmp_path,
        task="vocal_accompaniment",
        input_audio=attach("acapella_vocals.wav"),
        accompaniment_style="jazz",
        prompt="Rich jazz accompaniment with piano, bass, and light drums",
        infer_steps=70,
    )
    assert len(samples) == len(recorded("acapella_vocals"))
    (warning,) = told(recipe)
    assert warning.startswith("tiny-v1 does not hear the voice it accompanies")


def test_rap_with_an_adapter(tmp_path: Path) -> None:
    samples, recipe = run(
        tmp_path,
        task="text2music",
        prompt="Hip-hop beat, hard hitting bass, trap style",
        lyrics="""[verse]
Started from the bottom now we here
Every single day we persevere
[chorus]
This is how we rise up
Never gonna give up
[verse]
Dreams become reality
Nothing can stop our energy""",
        lora_name_or_path="ACE-Step/ACE-Step-v1-chinese-rap-LoRA",
        lora_weight=1.0,
        audio_duration=120,
        infer_steps=60,
    )
    assert len(samples) == 12 * SAMPLE_RATE
    assert recipe["parameters"]["lora_name_or_path"] == recipe["models"]["lora"]["name"] == f"{RAP}@{UNPINNED_COMMIT}"
    assert told(recipe) == []


def test_quick_variations(tmp_path: Path) -> None:
    samples, recipe = run(
        tmp_path,
        task="text2music",
        prompt="Ambient electronic, atmospheric",
        seed=12345,
        variation_seed=67890,
        variation_strength=0.3,  # Subtle variation
        audio_duration=60,
    )
    assert len(samples) == SHORTEST_S * SAMPLE_RATE
    made = {name: recipe["parameters"][name] for name in ("seed", "variation_seed", "variation_strength")}
    assert made == {"seed": 12345, "variation_seed": 67890, "variation_strength": 0.3}
    assert told(recipe) == []
