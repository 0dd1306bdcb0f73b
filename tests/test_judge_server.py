"""What comes back through the real Cog runtime: the best song, the zip of all, metrics, the log, signatures."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from acestep.cog_door import signer
from acestep.cogrun.schema import PROJECT
from acestep.errors import InputError
from acestep.output.content_credentials import read_credentials
from acestep.output.tags import read_recipe, read_tags

from cog_server import CogServer, Json, decoded
from signing_support import identity

SUNG = "[Verse]\nOver the hills and far away\nthe river sings to me"
INPUTS = {
    "prompt": "calm piano with soft strings",
    "audio_duration": 10,
    "seed": 7,
    "infer_steps": 1,
    "thinking": False,
}


@pytest.fixture(scope="module")
def server() -> Iterator[CogServer]:
    with CogServer(PROJECT, {"OMP_NUM_THREADS": "1"}) as running:
        yield running


def made(server: CogServer, **inputs: object) -> Json:
    answer = server.predict({**INPUTS, **inputs})
    assert answer["status"] == "succeeded", answer
    return answer


def file_of(answer: Json, path: Path) -> Path:
    path.write_bytes(decoded(answer["output"]))
    return path


def test_one_song_is_judged(server: CogServer, tmp_path: Path) -> None:
    answer = made(server, lyrics=SUNG)
    metrics = answer["metrics"]
    assert metrics["seeds"] == [7]
    assert metrics["best"] == 0
    [scores] = metrics["scores"]
    assert 0 <= scores["overall"] <= 1
    assert metrics["timing"]["scoring_time"] > 0
    recipe = read_recipe(file_of(answer, tmp_path / "song.wav"))
    assert {name: recipe["scores"][name] for name in scores} == scores
    assert [text for _, text in read_tags(tmp_path / "song.wav").synced] == SUNG.splitlines()[1:]


def test_the_best_of_a_batch_is_the_answer(server: CogServer, tmp_path: Path) -> None:
    answer = made(server, batch_size=3)
    overall = [scores["overall"] for scores in answer["metrics"]["scores"]]
    best = int(np.argmax(overall))
    assert answer["metrics"]["best"] == best
    assert read_recipe(file_of(answer, tmp_path / "song.wav"))["seeds"] == [7 + best]
    lines = [line.split() for line in answer["logs"].splitlines()]
    [head] = [number for number, line in enumerate(lines) if line[:3] == ["song", "seed", "overall"]]
    assert [int(line[1]) for line in lines[head + 1 : head + 4]] == [
        7 + number for number in sorted(range(3), key=lambda number: -overall[number])
    ]


def test_without_scores_the_first_song_is_the_answer(server: CogServer, tmp_path: Path) -> None:
    answer = made(server, batch_size=2, score=False)
    assert answer["metrics"]["seeds"] == [7, 8]
    assert {"best", "scores"}.isdisjoint(answer["metrics"])
    recipe = read_recipe(file_of(answer, tmp_path / "song.wav"))
    assert (recipe["seeds"], recipe["scores"]) == ([7], None)


def test_all_songs_are_one_zip(server: CogServer, tmp_path: Path) -> None:
    answer = made(server, batch_size=3, return_all=True, lyrics=SUNG, output_format="mp3")
    with zipfile.ZipFile(io.BytesIO(decoded(answer["output"]))) as archive:
        assert archive.testzip() is None
        names = archive.namelist()
        assert all(name == Path(name).name for name in names)
        by_suffix = {
            suffix: [name for name in names if name.endswith(suffix)] for suffix in (".mp3", ".json", ".lrc", ".png")
        }
        assert {suffix: len(found) for suffix, found in by_suffix.items()} == {
            ".mp3": 3, ".json": 4, ".lrc": 3, ".png": 1,
        }  # fmt: skip
        scores = json.loads(archive.read("scores.json"))
        assert [row["rank"] for row in scores] == [1, 2, 3]
        overall = [row["scores"]["overall"] for row in scores]
        assert overall == sorted(overall, reverse=True)
        for row in scores:
            path = tmp_path / row["file"]
            path.write_bytes(archive.read(row["file"]))
            recipe = read_recipe(path)
            assert recipe["seeds"] == [row["seed"]]
            assert json.loads(archive.read(str(Path(row["file"]).with_suffix(".json")))) == recipe
            assert "Over the hills" in archive.read(str(Path(row["file"]).with_suffix(".lrc"))).decode()
        picture = Image.open(io.BytesIO(archive.read("contact-sheet.png")))
        assert picture.width == 1600
        assert len(np.unique(np.asarray(picture.convert("L")))) > 50


def test_a_server_that_signs_signs_everything_it_can(tmp_path: Path) -> None:
    certificate, key = identity(tmp_path / "singer").files
    settings = {"OMP_NUM_THREADS": "1", "ACESTEP_SIGN_CERT": str(certificate), "ACESTEP_SIGN_KEY": str(key)}
    with CogServer(PROJECT, settings) as server:
        found = read_credentials(file_of(made(server), tmp_path / "song.wav"))
        assert found is not None
        assert (found["state"], found["signer"]) == ("valid", "A. Singer")
        answer = server.predict({**INPUTS, "output_format": "flac"})
        assert answer["status"] == "failed"
        assert "output_format" in answer["error"]
        assert "wav" in answer["error"]


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"ACESTEP_SIGN_CERT": "a.pem"}, "ACESTEP_SIGN_KEY is not set: signing needs a certificate and its key."),
        ({"ACESTEP_SIGN_KEY": "a.pem"}, "ACESTEP_SIGN_CERT is not set: signing needs a certificate and its key."),
        ({"ACESTEP_SIGN_CERT": "no.pem", "ACESTEP_SIGN_KEY": "no.pem"}, "sign_cert"),
    ],
)
def test_half_of_a_signature_is_refused(settings: dict[str, str], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        signer(settings)


def test_without_a_certificate_nothing_is_signed() -> None:
    assert signer({"ACESTEP_SIGN_TIMESTAMP": "http://time"}) is None
