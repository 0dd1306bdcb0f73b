"""The nine published examples for Replicate as they are written, and what they need around them.

with replicate_service(folder, settings):
    samples, recipe = run_example("audio continuation", folder)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import replicate
import soundfile as sf
from replicate.helpers import FileOutput

from acestep.cogrun.schema import PROJECT
from acestep.constants import SAMPLE_RATE
from acestep.net.url import ALLOW_PRIVATE_URLS
from acestep.output.tags import read_recipe

from cog_server import CogServer
from hardening_support import tone
from replicate_facade import ReplicateFacade

ADAPTER = "ACE-Step/ACE-Step-v1-chinese-rap-LoRA"
SECONDS = {
    "my_song": 6,
    "original_song": 6.2,
    "pop_song": 7.3,
    "my_vocals": 5,
    "target_voice": 3,
    "acapella_vocals": 6,
}


EXAMPLES: dict[str, dict[str, Any]] = {  # a path is a file that is opened for reading
    "basic text to music": {
        "task": "text2music",
        "prompt": "Electronic dance music, upbeat, energetic",
        "audio_duration": 30,
        "infer_steps": 60,
        "guidance_scale": 15.0,
    },
    "full song with lyrics": {
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
    "audio continuation": {
        "task": "continuation",
        "input_audio": Path("my_song.wav"),
        "continuation_mode": "extend_end",
        "extend_duration": 60,
        "prompt": "Continue with same style, add guitar solo",
        "infer_steps": 60,
    },
    "audio inpainting": {
        "task": "inpainting",
        "input_audio": Path("original_song.wav"),
        "inpaint_start_time": 30.0,  # Start editing at 30 seconds
        "inpaint_end_time": 60.0,  # End editing at 60 seconds
        "prompt": "Add dramatic orchestral strings",
        "lyrics": "[bridge]\nEverything changes now\nNothing will be the same",
        "infer_steps": 70,
    },
    "style transfer": {
        "task": "style_transfer",
        "input_audio": Path("pop_song.wav"),
        "style_prompt": "Jazz arrangement, swing rhythm, saxophone lead",
        "style_strength": 0.8,  # High transformation
        "preserve_vocals": True,
        "infer_steps": 75,
    },
    "voice cloning": {
        "task": "audio2audio",
        "input_audio": Path("my_vocals.wav"),
        "reference_audio": Path("target_voice.wav"),
        "audio2audio_strength": 0.6,
        "prompt": "Maintain emotional expression, smooth vocal style",
        "preserve_vocals": True,
    },
    "vocal accompaniment": {
        "task": "vocal_accompaniment",
        "input_audio": Path("acapella_vocals.wav"),
        "accompaniment_style": "jazz",
        "prompt": "Rich jazz accompaniment with piano, bass, and light drums",
        "infer_steps": 70,
    },
    "rap with an adapter": {
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
        "lora_name_or_path": ADAPTER,
        "lora_weight": 1.0,
        "audio_duration": 120,
        "infer_steps": 60,
    },
    "quick variations": {
        "task": "text2music",
        "prompt": "Ambient electronic, atmospheric",
        "seed": 12345,
        "variation_seed": 67890,
        "variation_strength": 0.3,  # Subtle variation
        "audio_duration": 60,
    },
}


@contextmanager
def replicate_service(
    folder: Path, settings: Mapping[str, str], seconds: Mapping[str, float] = SECONDS
) -> Iterator[None]:
    """The service that `replicate.run` talks to; its caller is in ``folder``, where the recordings lie."""
    for name, length in seconds.items():
        (folder / f"{name}.wav").write_bytes(tone(length))
    with (
        CogServer(PROJECT, {ALLOW_PRIVATE_URLS: "1", **settings}) as server,
        ReplicateFacade(server) as facade,
        pytest.MonkeyPatch.context() as patch,
    ):
        facade.tell_client(patch)
        patch.chdir(folder)
        yield


def run_example(name: str, folder: Path, **changes: Any) -> tuple[np.ndarray, dict[str, Any]]:
    """Samples ``[S, 2]`` of 16 bits and the recipe of an example; the file is left in ``folder``."""
    with ExitStack() as stack:
        sent = {
            field: stack.enter_context(value.open("rb")) if isinstance(value, Path) else value
            for field, value in {**EXAMPLES[name], **changes}.items()
        }
        output = replicate.run("your-username/ace-step", input=sent)
    assert isinstance(output, FileOutput)
    song = folder / "output.wav"
    song.write_bytes(output.read())
    samples, rate = sf.read(song, dtype="int16")
    assert rate == SAMPLE_RATE
    return samples, read_recipe(song)


def recorded(name: str) -> np.ndarray:
    """Samples ``[S, 2]`` of 16 bits of one of the recordings."""
    samples, _ = sf.read(f"{name}.wav", dtype="int16")
    return np.stack([samples, samples], axis=1)
