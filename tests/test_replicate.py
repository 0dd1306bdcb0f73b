"""The official `replicate` client plays our model: the real server behind a stand-in for Replicate's API."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import replicate
import soundfile as sf
from replicate.exceptions import ModelError, ReplicateError
from replicate.helpers import FileOutput

from acestep.cogrun.schema import PROJECT
from acestep.output.tags import read_recipe

from cog_server import CogServer
from hardening_support import terse_tiny, tone
from replicate_facade import ReplicateFacade

MODEL = "somebody/music"
SONG = {"prompt": "calm piano", "audio_duration": 10, "seed": 3, "infer_steps": 2}
LONG = {"prompt": "x", "audio_duration": 600, "model": "tiny-base", "infer_steps": 100}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[replicate.Client]:
    """A client made as a user makes one, from the environment; `replicate.run` uses one just like it."""
    with (
        CogServer(PROJECT, terse_tiny(tmp_path_factory.mktemp("weights"))) as server,
        ReplicateFacade(server) as facade,
        pytest.MonkeyPatch.context() as patch,
    ):
        facade.tell_client(patch)
        yield replicate.Client()


def seconds(output: FileOutput) -> float:
    return sf.info(io.BytesIO(output.read())).duration


def test_run_gives_a_file_to_read(client: replicate.Client) -> None:
    assert os.environ["REPLICATE_BASE_URL"].startswith("http://127.0.0.1:")
    output = replicate.run(MODEL, input=SONG)
    assert isinstance(output, FileOutput)
    assert seconds(output) == 10
    assert b"".join(output) == output.read()


def test_run_of_a_version(client: replicate.Client) -> None:
    output = client.run(f"{MODEL}:{'ab' * 32}", input={**SONG, "output_format": "flac"})
    assert seconds(output) == 10


def test_run_by_polling(client: replicate.Client) -> None:
    assert seconds(client.run(MODEL, input=SONG, wait=False)) == 10


@pytest.mark.parametrize("encoding", ["url", "base64"])
def test_a_local_file_is_uploaded(client: replicate.Client, tmp_path: Path, encoding: str) -> None:
    source = tmp_path / "my tone.wav"
    source.write_bytes(tone(3))
    with source.open("rb") as file:
        inputs = {**SONG, "reference_audio": file, "output_format": "flac"}
        output = client.run(MODEL, input=inputs, file_encoding_strategy=encoding)
    song = tmp_path / "song.flac"
    song.write_bytes(output.read())
    assert read_recipe(song)["sources"]["reference"]["duration_s"] == pytest.approx(3)


def test_a_failure_is_a_model_error_with_our_sentence(client: replicate.Client) -> None:
    with pytest.raises(ModelError, match="keyscale 'H minor' is not a key") as caught:
        client.run(MODEL, input={**SONG, "keyscale": "H minor"})
    assert caught.value.prediction.status == "failed"
    assert caught.value.prediction.output is None


def test_what_the_schema_refuses_names_the_input(client: replicate.Client) -> None:
    with pytest.raises(ReplicateError, match="bpm: 999 is greater than the maximum of 300") as caught:
        client.run(MODEL, input={**SONG, "bpm": 999})
    assert caught.value.status == 422


def test_create_wait_and_look(client: replicate.Client) -> None:
    prediction = client.models.predictions.create(MODEL, input=SONG, wait=False)
    assert prediction.status in {"starting", "processing"}
    prediction.wait()
    assert prediction.status == "succeeded"
    assert prediction.metrics["predict_time"] > 0
    assert prediction.metrics["timing"]["dit_total_time_cost"] > 0
    assert "Seeds: 3" in prediction.logs
    assert (prediction.progress.percentage, prediction.progress.total) == (1.0, 100)
    assert prediction.completed_at >= prediction.started_at >= prediction.created_at


def test_progress_moves_while_the_song_is_made_and_cancel_ends_it(client: replicate.Client) -> None:
    prediction = client.models.predictions.create(MODEL, input=LONG, wait=False)
    while prediction.progress is None:
        assert prediction.status in {"starting", "processing"}
        prediction.reload()
    assert 0 <= prediction.progress.percentage < 1
    prediction.cancel()
    prediction.wait()
    assert prediction.status == "canceled"
    assert prediction.output is None
    assert seconds(client.run(MODEL, input={**SONG, "model": "tiny"})) == 10


def test_a_second_prediction_waits_for_the_slot(client: replicate.Client) -> None:
    first = client.models.predictions.create(MODEL, input=SONG, wait=False)
    second = client.models.predictions.create(MODEL, input=SONG, wait=False)
    for prediction in (first, second):
        prediction.wait()
        assert prediction.status == "succeeded"
