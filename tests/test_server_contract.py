"""The documents of ACE-Step v1's server, run as they are written, only with this machine's paths and ports."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import soundfile as sf

from acestep.checkpoints.files import PACKAGED
from acestep.constants import SAMPLE_RATE
from acestep.output.tags import read_recipe
from acestep.server.fields import FIELDS

from server_support import REQUIRED, SERVED, Live, detail, serving, song

OWN = {"checkpoint_path", "audio_duration", "prompt", "lyrics", "actual_seeds"}  # what every example says anew
SAME = {name: value for name, value in REQUIRED.items() if name not in OWN}
EXAMPLES: dict[str, dict[str, Any]] = {
    "basic": SAME
    | {
        "audio_duration": 60.0,
        "prompt": "pop, rock, electronic, upbeat, energetic",
        "lyrics": "[verse]\nWalking through the city streets at night\nLights are shining bright\n\n"
        "[chorus]\nThis is our time to shine\nTogether we'll make it fine",
        "actual_seeds": [1234567890],
    },
    "rap": SAME
    | {
        "audio_duration": 70.0,
        "prompt": "rap, hip hop, trap-pop, fast-paced, emotional, melodic, passionate, high energy",
        "lyrics": "[intro]\nYeah, this one's for Meena...\nLet's go.\n\n"
        "[verse 1]\nLate nights, city lights, I remember that glow,\nEvery dream got your name in the flow,\n\n"
        "[chorus]\nMeena, I miss you, no disguise,\nEvery bar I spit got your vibe inside",
        "actual_seeds": [135792468],
    },
    "high quality": SAME
    | {
        "audio_duration": 120.0,
        "prompt": "jazz, smooth, relaxing, instrumental",
        "lyrics": "[verse]\nIn the quiet of the evening\nWhen the world slows down",
        "infer_step": 100,
        "guidance_scale": 18.0,
        "scheduler_type": "heun",
        "actual_seeds": [987654321],
        "guidance_interval": 0.6,
        "guidance_interval_decay": 0.2,
        "min_guidance_scale": 5.0,
        "use_erg_lyric": False,
    },
    "fast": SAME
    | {
        "audio_duration": 30.0,
        "prompt": "electronic, dance, upbeat",
        "lyrics": "[verse]\nQuick test\nFast generation",
        "infer_step": 27,
        "actual_seeds": [11111],
    },
}
QUICK = {"audio_duration": 10.0, "infer_step": 2}
CLIENT = """
import requests
import json

url = "http://localhost:8000/generate"

payload = {
    "checkpoint_path": "/workspace/ace-step-api/checkpoints/ACE-Step-v1-3.5B",
    "audio_duration": 60.0,
    "prompt": "pop, rock, electronic",
    "lyrics": "[verse]\\nTest lyrics\\n\\n[chorus]\\nChorus here",
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
    "oss_steps": []
}

response = requests.post(url, json=payload)

if response.status_code == 200:
    # Save audio file
    with open("output.wav", "wb") as f:
        f.write(response.content)

    # Get timing information
    print(f"Generation time: {response.headers.get('X-Generation-Time')}s")
    print(f"Output path: {response.headers.get('X-Output-Path')}")
else:
    print(f"Error: {response.json()}")
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with serving(tmp_path_factory.mktemp("contract")) as live:
        yield live


@pytest.mark.parametrize(
    ("name", "model", "changes"),
    [
        *((name, "tiny-v1", {}) for name in EXAMPLES),
        *((name, "tiny", {} if name == "fast" else QUICK) for name in EXAMPLES),
    ],
)
def test_the_example_requests_run_as_written(server: Live, name: str, model: str, changes: dict[str, Any]) -> None:
    """All of them on the generation that they were written for; on the other the shortest, and the rest in brief."""
    example = EXAMPLES[name] | changes
    answer = server.post("/generate", json={"checkpoint_path": str(PACKAGED / model), **example})
    assert answer.status_code == 200, answer.text
    info = sf.info(io.BytesIO(answer.content))
    assert (info.samplerate, info.frames) == (SAMPLE_RATE, example["audio_duration"] * SAMPLE_RATE)
    recipe = read_recipe(Path(answer.headers["X-Output-Path"]))
    assert recipe["seeds"] == example["actual_seeds"]
    assert recipe["models"]["dit"]["name"] == model


def test_the_python_client_runs_as_written(server: Live, tmp_path: Path) -> None:
    program = CLIENT.replace("localhost:8000", f"localhost:{server.port}").replace(
        "/workspace/ace-step-api/checkpoints/ACE-Step-v1-3.5B", str(PACKAGED / SERVED[-1])
    )
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=120
    )
    told, path = run.stdout.splitlines()
    assert float(told.removeprefix("Generation time: ").removesuffix("s")) > 0
    assert Path(path.removeprefix("Output path: ")).read_bytes() == (tmp_path / "output.wav").read_bytes()


def test_parameters_that_upstream_saved_can_be_sent_again(server: Live) -> None:
    saved = {name: value for name, value in song().items() if name != "checkpoint_path"}
    saved |= {"timecosts": {"diffusion": 17.4}, "audio_path": "x.wav", "retake_seeds": [3], "retake_variance": 0.5}
    saved |= {"task": "text2music", "lora_name_or_path": "none", "src_audio_path": None, "ref_audio_input": None}
    answer = server.post("/generate", json=saved)
    assert answer.status_code == 200, answer.text
    assert "retake_variance has no effect" in answer.headers["X-Warnings"]
    assert read_recipe(Path(answer.headers["X-Output-Path"]))["parameters"]["variation_strength"] == 0


def test_all_fields_of_the_contract_are_published(server: Live) -> None:
    document = server.get("/openapi.json").json()
    body = document["paths"]["/generate"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    optional = {"bf16", "torch_compile", "device_id", "output_path", "guidance_scale_text", "guidance_scale_lyric"}
    assert set(REQUIRED) | optional <= set(body["properties"])
    for name, shape in body["properties"].items():
        assert shape["description"], name
    assert {row.name for row in FIELDS.values() if row.listed} == set(body["properties"])
    answers = document["paths"]["/jobs/{job_id}"]["get"]["responses"]
    assert set(answers) == {"200", "default"}  # no other shape of error than {"detail": sentence}
    assert server.get("/docs").status_code == 200


# --- what the contract says about errors ---------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"actual_seeds": 5}, "actual_seeds must be a list of numbers, not 5."),
        ({"actual_seeds": ["a"]}, "actual_seeds must be a whole number, not 'a'."),
        ({"oss_steps": 60}, "oss_steps must be a list of numbers, not 60."),
        ({"scheduler_type": "dpm"}, "scheduler_type 'dpm' is unknown; choose one of: euler, heun, pingpong"),
        ({"cfg_type": "none"}, "cfg_type 'none' is unknown; choose one of:"),
        ({"audio_duration": 5}, "Invalid audio duration: audio_duration must be 10 to 600 seconds, not 5."),
        ({"audio_duration": "long"}, "audio_duration must be a number, not 'long'."),
        ({"infer_step": 0}, "infer_step must be"),
        ({"infer_step": 1.5}, "infer_step must be a whole number, not 1.5."),
        ({"omega_scale": 1000}, "omega_scale must be a number from"),
        ({"guidance_interval": 2}, "guidance_interval must be a number from 0 to 1, not 2"),
        ({"use_erg_tag": "yes"}, "use_erg_tag must be true or false, not 'yes'."),
        ({"prompt": 5}, "prompt must be text, not 5."),
        ({"prompt": "", "lyrics": ""}, "prompt and lyrics are both empty"),
        ({"prompt": "x" * 3000}, "prompt must have at most 2048 characters, not 'xxx"),
        ({"output_path": "../x.wav"}, "output_path must be a name or a relative path below the server's folder"),
        ({"output_path": "/etc/x.wav"}, "output_path must be a name or a relative path below the server's folder"),
        ({"output_path": "song.mp3"}, "output_path must end in .wav, the suffix of the format, not 'song.mp3'."),
        ({"output_path": "a\nb.wav"}, "output_path must be a plain path"),
        ({"checkpoint_path": "/tmp"}, "checkpoint_path '/tmp' is no checkpoint: it must be a model ("),
        ({"checkpoint_path": "v2"}, "checkpoint_path 'v2' is no checkpoint"),
        ({"checkpoint_path": "/etc/tiny"}, "checkpoint_path '/etc/tiny' is no checkpoint"),
        ({"checkpoint_path": 3}, "checkpoint_path must be text, not 3."),
        ({"device_id": 3}, "device_id must be 0, not 3"),
        ({"format": "aiff"}, "format is 'aiff'; allowed are wav"),
        ({"format": "opus", "sample_rate": 44100}, "sample_rate is 44100; the format opus allows"),
        ({"batch_size": 9}, "batch_size must be from 1 to 8, not 9."),
        ({"audio_duraton": 10}, "'audio_duraton' is no field of this request; did you mean audio_duration?"),
        ({"xyzzy": 1}, "'xyzzy' is no field of this request; the fields are listed at /docs."),
        ({"duration": 10}, "audio_duration and duration say the same; send one of them."),
        ({"task": "remix"}, "task 'remix' is unknown; choose one of:"),
        ({"task": "lego"}, "task 'lego' needs a model that was trained for it, and tiny was not"),
        ({"task": "repaint"}, "src_audio_path is needed for task 'repaint'."),
        ({"src_audio_path": "a.wav"}, "src_audio_path does not go with task 'text2music'."),
        ({"audio2audio_enable": True}, "audio2audio_enable needs ref_audio_input."),
        ({"audio2audio_enable": True, "task": "repaint"}, "audio2audio_enable does not go with task 'repaint'."),
        ({"ref_audio_strength": 1.5}, "ref_audio_strength must be a number from 0 to 1, not 1.5."),
        ({"retake_seeds": [1, 5]}, "retake_seeds must count upwards from the first"),
        ({"lm_model": "gpt"}, "lm_model 'gpt' is unknown"),
        ({"thinking": True, "lm_model": "none"}, "thinking=true needs a language model"),
        ({"lora_name_or_path": "/etc/passwd"}, "lora_name_or_path must be a hub id such as"),
    ],
)
def test_bad_values_are_400_with_one_sentence(server: Live, change: dict[str, Any], sentence: str) -> None:
    assert sentence in detail(server.post("/generate", json=song(**change)), 400)


def test_a_model_whose_weights_are_not_here_is_404(server: Live) -> None:
    said = detail(server.post("/generate", json=song(checkpoint_path="acestep-v15-xl-base")), 404)
    assert said == (
        "Model not loaded: the weights of acestep-v15-xl-base are not on this server, or not whole. Fetch them there "
        "with `acestep-download --model acestep-v15-xl-base`."
    )


@pytest.mark.parametrize(
    ("field", "value", "status", "sentence"),
    [
        ("src_audio_path", "/etc/hostname", 400, "src_audio_path '/etc/hostname' must be an id of POST /files"),
        ("src_audio_path", "../../etc/hostname", 400, "must be an id of POST /files"),
        ("src_audio_path", "file:///etc/hostname", 404, "src_audio_path: file not found"),
        ("src_audio_path", "missing.wav", 404, "src_audio_path: file not found: 'missing.wav'."),
        ("src_audio_path", "upload-" + "0" * 32, 404, "is no upload of this server, or not any more."),
        ("src_audio_path", "x" * 5000, 404, "file not found"),
        ("src_audio_path", "http://127.0.0.1:9/a.wav", 400, "is not an address on the public internet"),
        (
            "src_audio_path",
            "data:audio/wav;base64,!!!!",
            400,
            "src_audio_path: the URL is a data: URI that is not valid",
        ),
        ("src_audio_path", "data:audio/wav;base64,AAAA", 400, "src_audio_path"),
        ("reference_audio", "missing.wav", 404, "reference_audio: file not found: 'missing.wav'."),
    ],
)
def test_recordings_come_from_allowed_places(
    server: Live, field: str, value: str, status: int, sentence: str
) -> None:
    fields = {"task": "cover", "src_audio_path": "data:,x", field: value}
    assert sentence in detail(server.post("/generate", json=song(**fields)), status)


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"{", "The body is not valid JSON (line 1: "),
        (b"\xff\xfe", "The body is not valid JSON"),
        (b"[" * 100_000, "The body is not valid JSON (unreadable)."),
        (b'{"bpm": ' + b"9" * 5000 + b"}", "The body is not valid JSON (unreadable)."),
        (b"[1]", "The body must be a JSON object"),
        (b"", "The body is not valid JSON"),
        (b'{"audio_duration": NaN, "prompt": "x"}', "audio_duration must be 10 to 600 seconds, not nan."),
        (b'{"prompt": "\\ud800"}', "prompt holds half a character"),
    ],
)
def test_what_is_no_json_object_is_400(server: Live, body: bytes, sentence: str) -> None:
    answer = server.post("/generate", content=body, headers={"Content-Type": "application/json"})
    assert sentence in detail(answer, 400)


def test_json_must_be_called_json(server: Live) -> None:
    answer = server.post("/generate", content=json.dumps(song()), headers={"Content-Type": "text/plain"})
    assert "Content-Type: application/json" in detail(answer, 400)


def test_the_address_is_judged_in_a_sentence_too(server: Live) -> None:
    said = detail(server.post("/generate", params={"wait": "perhaps"}, json=song()), 400)
    assert said.startswith("wait: input should be a valid boolean")


def test_no_seeds_are_random_seeds(server: Live) -> None:
    seeds = [json.loads(server.post("/generate", json=song(actual_seeds=[])).headers["X-Seeds"])[0] for _ in range(2)]
    assert seeds[0] != seeds[1]
