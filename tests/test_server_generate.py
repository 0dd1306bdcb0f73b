"""``POST /generate`` and ``GET /download`` of a real server: the contract of ACE-Step v1's server, and beyond it."""

from __future__ import annotations

import base64
import http.client
import io
import json
import zipfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf

from acestep.output.formats import FORMATS
from acestep.output.tags import read_recipe
from acestep.server.outputs import MEDIA_TYPES

from hardening_support import answering, disk_with_room_for, hosting, tone
from server_support import REQUIRED, SERVED, Live, detail, serving, song

TIMES = ("X-Generation-Time", "X-Init-Time", "X-Prep-Time", "X-Generation-Time-Detailed")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with serving(tmp_path_factory.mktemp("server"), allow_private=True) as live:
        yield live


def outputs(server: Live) -> Path:
    return server.station.outputs.path


def samples(body: bytes) -> np.ndarray:
    return sf.read(io.BytesIO(body))[0]


def upload(server: Live, seconds: float = 12.0) -> str:
    answer = server.post("/files", files={"file": ("a.wav", tone(seconds), "audio/wav")})
    assert answer.status_code == 200, answer.text
    return answer.json()["file"]


def test_the_server_is_healthy(server: Live) -> None:
    answer = server.get("/health")
    assert (answer.status_code, answer.json()) == (200, {"status": "healthy"})


@pytest.mark.parametrize("model", SERVED)
def test_every_field_of_the_contract_makes_a_song(server: Live, model: str) -> None:
    optional = {
        "bf16": True,
        "torch_compile": False,
        "device_id": 0,
        "output_path": f"{model}.wav",
        "guidance_scale_text": 0.0,
        "guidance_scale_lyric": 0.0,
    }
    answer = server.post("/generate", json=song(checkpoint_path=model, infer_step=4, **optional))
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"] == "audio/wav"
    path = Path(answer.headers["X-Output-Path"])
    assert path == outputs(server) / f"{model}.wav"
    assert path.read_bytes() == answer.content
    info = sf.info(io.BytesIO(answer.content))
    assert (info.frames, info.samplerate, info.channels, info.subtype) == (480_000, 48_000, 2, "PCM_16")
    recipe = read_recipe(path)
    assert recipe["seeds"] == [12345]
    assert recipe["models"]["dit"]["name"] == model
    assert recipe["parameters"]["caption"] == REQUIRED["prompt"]


def test_the_headers_tell_seconds_with_two_digits(server: Live) -> None:
    first = server.post("/generate", json=song())
    again = server.post("/generate", json=song())
    for name in TIMES:
        whole, _, digits = again.headers[name].partition(".")
        assert whole.isdecimal()
        assert len(digits) == 2
    total, init, prep, music = (float(again.headers[name]) for name in TIMES)
    assert init == 0.0  # models stay loaded
    assert total == pytest.approx(init + prep + music, abs=0.02)
    np.testing.assert_array_equal(samples(first.content), samples(again.content))  # the same seed, the same song


def test_a_song_can_be_downloaded_later(server: Live) -> None:
    made = server.post("/generate", json=song())
    path = Path(made.headers["X-Output-Path"])
    assert path.name.startswith("output_")
    answer = server.get(f"/download/{path.name}")
    assert answer.content == made.content
    assert answer.headers["Content-Type"] == "audio/wav"
    assert answer.headers["X-File-Path"] == str(path)
    assert float(answer.headers["X-Download-Time"]) >= 0
    assert answer.headers["Content-Disposition"] == f'attachment; filename="{path.name}"'


@pytest.mark.parametrize(
    ("name", "status", "sentence"),
    [
        ("missing.wav", 404, "File not found: 'missing.wav'."),
        ("..%2f..%2fetc%2fpasswd", 400, "filename must be a name or a relative path below"),
        ("%2fetc%2fpasswd", 400, "filename must be a name or a relative path below"),
        ("..%5csecret.wav", 400, "filename must be a plain path, without backslashes"),
        ("a%00.wav", 400, "filename must be a plain path"),
        (".acestep-server.json", 400, "filename must name a file, without a dot at its beginning"),
        ("sub/../../x.wav", 400, "filename must be a name"),
        ("x" * 300 + ".wav", 400, "by at most 255 bytes"),
    ],
)
def test_downloads_do_not_leave_the_folder(server: Live, name: str, status: int, sentence: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port)  # sends the path as it is; others tidy it up
    with closing(connection):
        connection.request("GET", f"/download/{name}")
        answer = connection.getresponse()
        assert sentence in json.loads(answer.read())["detail"]
    assert answer.status == status


def test_a_link_out_of_the_folder_is_not_followed(server: Live, tmp_path: Path) -> None:
    secret = tmp_path / "secret.wav"
    secret.write_bytes(tone())
    (outputs(server) / "link.wav").symlink_to(secret)
    assert "below the server's folder" in detail(server.get("/download/link.wav"), 400)


def test_what_is_no_song_cannot_be_downloaded(server: Live) -> None:
    (outputs(server) / "notes.txt").write_text("private")
    assert "File not found" in detail(server.get("/download/notes.txt"), 404)


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_every_format_has_its_type_and_suffix(server: Live, name: str) -> None:
    answer = server.post("/generate", json=song(format=name))
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"] == FORMATS[name].mime
    assert Path(answer.headers["X-Output-Path"]).suffix == FORMATS[name].extension
    assert (
        server.get(f"/download/{Path(answer.headers['X-Output-Path']).name}").headers["Content-Type"]
        == FORMATS[name].mime
    )


def test_a_batch_answers_with_its_first_song_and_names_all(server: Live) -> None:
    answer = server.post("/generate", json=song(batch_size=2, actual_seeds=[5, 9], output_path="pair.wav"))
    paths = json.loads(answer.headers["X-Output-Paths"])
    assert [Path(path).name for path in paths] == ["pair.wav", "pair_2.wav"]
    assert answer.headers["X-Output-Path"] == paths[0]
    assert json.loads(answer.headers["X-Seeds"]) == [5, 9]
    assert [read_recipe(Path(path))["seeds"] for path in paths] == [[5], [9]]
    assert Path(paths[0]).read_bytes() == answer.content


def test_a_judged_batch_answers_with_its_best_song(server: Live) -> None:
    job = server.start(batch_size=2, score=True, lyrics="")
    ended = server.wait_for(job, "succeeded", "failed")
    answer = server.get(f"/jobs/{job}/result")
    files, scores = ended["result"]["files"], ended["result"]["scores"]
    overall = [score["overall"] for score in scores]
    best = max(range(2), key=lambda index: (overall[index] is not None, overall[index] or 0, -index))
    assert answer.content == (outputs(server) / files[best]).read_bytes()


def test_a_batch_can_come_back_whole(server: Live) -> None:
    answer = server.post(
        "/generate", json=song(batch_size=2, actual_seeds=[5], return_all=True, output_path="all.wav")
    )
    assert answer.headers["Content-Type"] == MEDIA_TYPES[".zip"]
    assert Path(answer.headers["X-Output-Path"]).name == "all.zip"
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert {"song-1.wav", "song-1.json", "song-2.wav", "song-2.json"} <= set(archive.namelist())
    assert server.get("/download/all.zip").content == answer.content


def test_a_name_in_a_folder_of_any_script_is_kept(server: Live) -> None:
    answer = server.post("/generate", json=song(output_path="今日/歌 1.wav"))
    assert answer.status_code == 200, answer.text
    assert answer.headers["X-Output-Path"].endswith("/%E4%BB%8A%E6%97%A5/%E6%AD%8C 1.wav")
    assert (outputs(server) / "今日" / "歌 1.wav").read_bytes() == answer.content
    assert server.get("/download/今日/歌 1.wav").content == answer.content


def test_a_file_is_only_replaced_when_asked_for_and_ours(server: Live) -> None:
    assert server.post("/generate", json=song(output_path="mine.wav")).status_code == 200
    assert "there already; choose another" in detail(server.post("/generate", json=song(output_path="mine.wav")), 400)
    again = server.post("/generate", json=song(output_path="mine.wav", overwrite=True, actual_seeds=[2]))
    assert again.status_code == 200
    assert (outputs(server) / "mine.wav").read_bytes() == again.content
    theirs = outputs(server) / "theirs.wav"
    theirs.write_bytes(b"theirs")
    refused = server.post("/generate", json=song(output_path="theirs.wav", overwrite=True))
    assert "this server did not write it" in detail(refused, 400)
    assert theirs.read_bytes() == b"theirs"


def test_what_has_no_effect_is_told(server: Live) -> None:
    wishes = {"bf16": True, "torch_compile": True, "cpu_offload": True, "overlapped_decode": True}
    answer = server.post("/generate", json=song(**wishes))
    warnings = json.loads(answer.headers["X-Warnings"])
    for name in wishes:
        assert any(sentence.startswith(f"{name} has no effect") for sentence in warnings)
    assert any(sentence.startswith("guidance_scale has no effect") for sentence in warnings)


def test_parameters_of_the_python_api_are_fields(server: Live) -> None:
    answer = server.post("/generate", json=song(bpm=96, keyscale="am", duration=11, audio_duration=None))
    recipe = read_recipe(Path(answer.headers["X-Output-Path"]))
    assert (recipe["parameters"]["bpm"], recipe["parameters"]["keyscale"]) == (96, "A minor")
    assert sf.info(io.BytesIO(answer.content)).duration == 11.0


def test_the_planner_plans_when_it_is_asked(server: Live) -> None:
    answer = server.post("/generate", json=song(thinking=True, use_cot_caption=False))
    assert answer.status_code == 200, answer.text
    assert read_recipe(Path(answer.headers["X-Output-Path"]))["models"]["lm"]["name"] == "tiny"


def test_a_full_disk_is_the_servers_fault_and_leaves_nothing(server: Live) -> None:
    before = set(outputs(server).rglob("*"))
    with disk_with_room_for(100_000):
        said = detail(server.post("/generate", json=song()), 500)
    assert said.startswith("cannot write '")
    assert str(outputs(server)) not in said
    assert set(outputs(server).rglob("*")) == before
    assert server.post("/generate", json=song()).status_code == 200


# --- tasks -------------------------------------------------------------------------------------------------------
def recipe_of(answer: Any) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    return read_recipe(Path(answer.headers["X-Output-Path"]))


def test_a_retake_is_another_song_half_way(server: Live) -> None:
    plain, retake, same = (
        server.post("/generate", json=song(**change))
        for change in ({}, {"task": "retake", "retake_seeds": [7]}, {"task": "retake", "retake_variance": 0.0})
    )
    assert recipe_of(retake)["parameters"]["variation_strength"] == 0.5
    assert recipe_of(retake)["parameters"]["variation_seed"] == 7
    assert not np.array_equal(samples(plain.content), samples(retake.content))
    np.testing.assert_array_equal(samples(plain.content), samples(same.content))


def test_a_region_of_an_upload_is_repainted(server: Live) -> None:
    source = upload(server)
    region = {"src_audio_path": source, "repaint_start": 4, "repaint_end": 8}
    answer = server.post("/generate", json=song(task="repaint", **region))
    assert recipe_of(answer)["task"] == "repaint"
    made, given = samples(answer.content), samples(tone(12.0))
    assert made.shape[0] == 12 * 48_000
    np.testing.assert_array_equal(made[: 3 * 48_000, 0], given[: 3 * 48_000])
    assert not np.array_equal(made[5 * 48_000 : 7 * 48_000, 0], given[5 * 48_000 : 7 * 48_000])


@pytest.mark.parametrize(
    ("fields", "before", "behind"),
    [
        ({"repaint_start": -4, "repaint_end": 12}, 4, 0),
        ({"repaint_end": 17}, 0, 5),
        ({"repaint_start": -2, "repaint_end": 15}, 2, 3),
        ({"continuation_mode": "extend_end", "extend_duration": 3}, 0, 3),
    ],
)
def test_a_recording_grows_where_upstream_says(
    server: Live, fields: dict[str, Any], before: int, behind: int
) -> None:
    answer = server.post("/generate", json=song(task="extend", src_audio_path=upload(server), **fields))
    assert recipe_of(answer)["task"] == "extend"
    made, given = samples(answer.content), samples(tone(12.0))
    assert made.shape[0] == (12 + before + behind) * 48_000
    middle = slice((before + 1) * 48_000, (before + 11) * 48_000)
    np.testing.assert_array_equal(made[middle, 0], given[48_000 : 11 * 48_000])


def test_audio2audio_follows_a_recording(server: Live) -> None:
    uri = f"data:audio/wav;base64,{base64.b64encode(tone(12.0)).decode()}"
    fields = {"audio2audio_enable": True, "ref_audio_input": uri, "ref_audio_strength": 0.7}
    recipe = recipe_of(server.post("/generate", json=song(**fields)))
    assert recipe["task"] == "audio2audio"
    assert recipe["parameters"]["audio2audio_strength"] == 0.3
    assert recipe["sources"]["source"]["duration_s"] == pytest.approx(12.0)


def test_other_words_for_the_same_music(server: Live) -> None:
    fields = {
        "task": "edit",
        "src_audio_path": upload(server),
        "edit_target_prompt": "jazz, smooth",
        "edit_target_lyrics": "[verse]\nHello moon",
        "edit_n_min": 0.6,
        "edit_n_max": 1.0,
        "checkpoint_path": "tiny-base",
        "infer_step": 2,
    }
    recipe = recipe_of(server.post("/generate", json=song(**fields)))
    assert recipe["task"] == "edit"
    assert recipe["parameters"]["style_prompt"] == "jazz, smooth"


def test_several_tracks_come_in_a_zip(server: Live) -> None:
    fields = {"task": "extract", "src_audio_path": upload(server), "track_name": "vocals,drums", "infer_step": 2}
    answer = server.post("/generate", json=song(checkpoint_path="tiny-base", output_path="stems.wav", **fields))
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"] == MEDIA_TYPES[".zip"]
    paths = [Path(path) for path in json.loads(answer.headers["X-Output-Paths"])]
    assert [path.name for path in paths] == ["stems_vocals.wav", "stems_drums.wav"]
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.read("drums.wav") == paths[1].read_bytes()


def test_a_recording_may_lie_in_the_output_folder_or_on_the_web(server: Live) -> None:
    (outputs(server) / "given.wav").write_bytes(tone(12.0))
    with hosting({"/song.wav": answering(body=tone(12.0))}) as host:
        for source in (str(outputs(server) / "given.wav"), host.url("/song.wav")):
            answer = server.post("/generate", json=song(task="cover", src_audio=source))
            assert recipe_of(answer)["sources"]["source"]["duration_s"] == pytest.approx(12.0)
