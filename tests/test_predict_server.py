"""``predict.py`` on the real Cog runtime over loopback, with the embedded model."""

from __future__ import annotations

import base64
import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from acestep.cogrun.schema import PROJECT
from acestep.errors import InputError
from acestep.output.tags import read_recipe

from cog_server import CogServer, WebhookSink, decoded
from hardening_support import FileHost, answering, hosting, tone


@pytest.fixture(scope="module")
def server() -> Iterator[CogServer]:
    settings = {"ACESTEP_MODEL": "tiny", "ACESTEP_LM_MODEL": "none", "OMP_NUM_THREADS": "2"}
    with CogServer(PROJECT, settings) as running:  # with a planner: test_planner_doors
        yield running


def saved(output: str, folder: Path, name: str) -> Path:
    path = folder / name
    path.write_bytes(decoded(output))
    return path


def test_setup_says_what_it_loaded_with_seconds_and_bytes(server: CogServer) -> None:
    text = "\n".join(server.printed)
    for stage in ("transformer", "vae", "text encoder"):
        assert f"setup: {stage} " in text
    assert "bytes" in text
    assert "setup: warm-up" in text
    assert (
        "Loaded tiny (asked for by name, an embedded model for trying the road, not for music) on cpu, float32"
        in text
    )


def test_a_prediction_returns_a_song(server: CogServer, tmp_path: Path) -> None:
    answer = server.predict({"prompt": "calm piano", "audio_duration": 10, "seed": 3, "keyscale": "am"})
    assert answer["status"] == "succeeded"
    path = saved(answer["output"], tmp_path, "song.wav")
    info = sf.info(path)
    assert (info.frames, info.samplerate, info.channels, info.subtype) == (480_000, 48_000, 2, "PCM_16")
    recipe = read_recipe(path)
    assert recipe["seeds"] == [3]
    assert recipe["parameters"]["keyscale"] == "A minor"
    lines = [line for line in answer["logs"].splitlines() if "|" in line]
    assert any(line.lstrip().startswith("45%|") or "denoising step 4/8" in line for line in lines)
    assert answer["metrics"]["timing"]["dit_total_time_cost"] > 0
    assert "Seeds: 3" in answer["logs"]


def test_the_same_seed_is_the_same_file_content(server: CogServer, tmp_path: Path) -> None:
    request = {"prompt": "x", "audio_duration": 10, "seed": 8}
    first, second = (sf.read(io.BytesIO(decoded(server.predict(request)["output"])))[0] for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_a_batch_can_come_back_whole(server: CogServer) -> None:
    answer = server.predict({"prompt": "x", "audio_duration": 10, "batch_size": 2, "seeds": "5", "return_all": True})
    with zipfile.ZipFile(io.BytesIO(decoded(answer["output"]))) as archive:
        names = archive.namelist()
    songs = ["song-1.wav", "song-1.json", "song-2.wav", "song-2.json"]
    assert names == [*songs, "scores.json", "contact-sheet.png"]


def test_a_reference_can_be_sent_as_data(server: CogServer, tmp_path: Path) -> None:
    tone = io.BytesIO()
    sf.write(tone, 0.2 * np.sin(np.arange(96_000) / 20), 48_000, format="WAV")
    uri = "data:audio/wav;base64," + base64.b64encode(tone.getvalue()).decode()
    answer = server.predict({"prompt": "x", "audio_duration": 10, "reference_audio": uri, "output_format": "flac"})
    recipe = read_recipe(saved(answer["output"], tmp_path, "song.flac"))
    assert recipe["sources"]["reference"]["duration_s"] == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"prompt": ""}, "prompt and lyrics are both empty"),
        ({"audio_duration": 5}, "Invalid audio duration: audio_duration must be 10 to 600"),
        ({"keyscale": "H minor"}, "keyscale 'H minor' is not a key"),
        ({"task": "lego", "model": "tiny"}, "task 'lego' needs a model that was trained for it, and tiny was not"),
        ({"thinking": True, "lm_model": "none"}, "thinking=True needs a language model: lm_model is 'none'"),
        ({"model": "acestep-v15-xl-base", "keyscale": "H"}, "keyscale 'H' is not a key"),
        ({"model": "acestep-v15-xl-base"}, "Model not loaded: acestep-v15-xl-base needs the folders"),
        ({"seeds": "1,x"}, "seeds must be numbers separated by commas, not '1,x'"),
        ({"reference_audio": "/etc/hostname"}, "reference_audio must be sent as a data: URI or an https: URL"),
        ({"lm_model": "acestep-5Hz-lm-4B"}, "lm_model 'acestep-5Hz-lm-4B' does not go with model 'tiny'"),
        ({"simple_query": "a song"}, "prompt does not go with simple_query 'a song', which writes it"),
        ({"simple_query": "a song", "prompt": "", "lm_model": "none"}, "simple_query needs the planner"),
        ({"output_format": "opus", "sample_rate": 44100}, "sample_rate"),
    ],
)
def test_bad_input_fails_with_the_one_sentence(server: CogServer, change: dict[str, object], sentence: str) -> None:
    answer = server.predict({"prompt": "x", "audio_duration": 10, **change})
    assert answer["status"] == "failed"
    assert sentence in answer["error"]
    assert "Traceback" not in answer["error"]


@pytest.fixture(scope="module")
def host() -> Iterator[FileHost]:
    with hosting({"/song.wav": answering(body=tone())}) as running:
        yield running


@pytest.mark.parametrize(
    ("spelling", "sentence"),
    [
        ("http://127.0.0.1:{port}/song.wav", "leads to '127.0.0.1', which is not an address on the public internet"),
        ("http://localhost:{port}/song.wav", "leads to 'localhost'"),
        ("http://[::ffff:127.0.0.1]:{port}/song.wav", "leads to '::ffff:127.0.0.1'"),
        ("http://2130706433:{port}/song.wav", "leads to '2130706433'"),
        ("http://0177.0.0.1:{port}/song.wav", "leads to '0177.0.0.1'"),
        ("https://127.0.0.1:{port}/song.wav", "leads to '127.0.0.1'"),
        ("http://example.com@127.0.0.1:{port}/song.wav", "must not carry a user name"),
        ("HTTP://127.0.0.1:{port}/song.wav", "must be sent as a data: URI or an https: URL"),
        ("FILE:///etc/hostname", "must be sent as a data: URI or an https: URL"),
        ("file:///etc/hostname", "must be sent as a data: URI or an https: URL"),
        ("ftp://127.0.0.1:{port}/song.wav", "must be sent as a data: URI or an https: URL"),
        (" http://127.0.0.1:{port}/song.wav", "must be sent as a data: URI or an https: URL"),
    ],
)
def test_no_url_leads_into_our_own_network(server: CogServer, host: FileHost, spelling: str, sentence: str) -> None:
    url = spelling.format(port=host.server_port)
    answer = server.predict({"prompt": "x", "audio_duration": 10, "reference_audio": url})
    assert answer["status"] == "failed"
    assert "InputError: reference_audio" in answer["error"]
    assert sentence in answer["error"]
    assert host.connections == 0


@pytest.mark.parametrize(
    "change",
    [{"bpm": 29}, {"bpm": 301}, {"audio_duration": 601}, {"output_format": "aiff"}, {"seed": -2}, {"model": "x"}],
)
def test_the_schema_refuses_what_is_out_of_bounds(server: CogServer, change: dict[str, object]) -> None:
    with pytest.raises(InputError):
        server.predict({"prompt": "x", **change})


def test_webhooks_carry_the_progress(server: CogServer) -> None:
    with WebhookSink() as sink:
        server.predict_async({"prompt": "x", "audio_duration": 10}, sink.url)
        last = sink.wait_terminal(60)
    assert last["status"] == "succeeded"
    assert "denoising step 8/8" in last["logs"]


def test_cancelling_frees_the_slot(server: CogServer) -> None:
    with WebhookSink() as sink:
        started = {"prompt": "x", "audio_duration": 600, "model": "tiny-base", "infer_steps": 100}
        identifier = server.predict_async(started, sink.url)
        sink.wait_for(lambda event: "denoising step" in event.get("logs", ""), 60)
        assert server.cancel(identifier)
        assert sink.wait_terminal(60)["status"] == "canceled"
    assert server.predict({"prompt": "x", "audio_duration": 10, "model": "tiny"})["status"] == "succeeded"


def test_auto_means_the_same_after_another_model_was_named(server: CogServer, tmp_path: Path) -> None:
    request = {"prompt": "x", "audio_duration": 10, "seed": 1, "infer_steps": 2, "output_format": "flac"}
    ran = []
    for index, model in enumerate(("auto", "tiny-base", "auto")):
        answer = server.predict({**request, "model": model})
        ran.append(read_recipe(saved(answer["output"], tmp_path, f"{index}.flac"))["models"]["dit"]["name"])
    assert ran == ["tiny", "tiny-base", "tiny"]
