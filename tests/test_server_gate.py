"""Who may ask: keys, hosts, origins, lengths. The application runs in this process; no model is loaded."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from acestep.cogrun.schema import PROJECT
from acestep.server.app import create_app
from acestep.server.options import Options
from acestep.server.station import Station

LOCAL = "http://127.0.0.1"
KEY = "a-secret"
MULTIPART = {"Content-Type": "multipart/form-data; boundary=b"}


@contextmanager
def client(folder: Path, **options: Any) -> Iterator[TestClient]:
    with (
        Station.opened(Options(output_folder=folder, **options), PROJECT) as station,
        TestClient(create_app(station), base_url=LOCAL) as running,
    ):
        yield running


def test_without_a_key_everybody_may_ask(tmp_path: Path) -> None:
    with client(tmp_path) as asked:
        assert asked.get("/jobs").status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"X-API-Key": "wrong"}, 401),
        ({"X-API-Key": KEY + "x"}, 401),
        ({"Authorization": f"Basic {KEY}"}, 401),
        ({"Authorization": "Bearer"}, 401),
        ({"Authorization": "Bearer \xe9".encode("latin-1")}, 401),
        ({"X-API-Key": KEY}, 200),
        ({"Authorization": f"Bearer {KEY}"}, 200),
        ({"Authorization": f"bearer  {KEY}"}, 200),
    ],
)
def test_with_a_key_only_those_who_send_it(tmp_path: Path, headers: dict[str, Any], status: int) -> None:
    with client(tmp_path, api_key=KEY) as asked:
        answer = asked.get("/jobs", headers=headers)
    assert answer.status_code == status
    if status == 401:
        assert "An API key is needed" in answer.json()["detail"]
        assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_health_and_documents_are_open_and_nothing_else(tmp_path: Path) -> None:
    with client(tmp_path, api_key=KEY) as asked:
        for path in ("/health", "/docs", "/openapi.json"):
            assert asked.get(path).status_code == 200
        calls = [
            *(
                asked.get(path)
                for path in ("/jobs", "/jobs/x", "/jobs/x/result", "/jobs/x/events", "/download/a.wav")
            ),
            asked.post("/generate", json={}),
            asked.post("/files", files={"file": b"x"}),
            asked.delete("/jobs/x"),
            asked.delete("/files/x"),
        ]
    assert [answer.status_code for answer in calls] == [401] * len(calls)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:8000", "localhost:8000", "[::1]:8000", "LOCALHOST"])
def test_a_local_server_answers_to_local_names(tmp_path: Path, host: str) -> None:
    with client(tmp_path) as asked:
        assert asked.get("/health", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8000", "[::1", "127.0.0.1.evil.example", "", "127.0.0.1@evil"]
)
def test_a_name_that_somebody_points_at_this_machine_is_refused(tmp_path: Path, host: str) -> None:
    with client(tmp_path) as asked:
        answer = asked.get("/health", headers={"Host": host})
        assert answer.status_code == 403
        assert "--allowed-host" in answer.json()["detail"]


def test_other_names_can_be_allowed(tmp_path: Path) -> None:
    with client(tmp_path / "1", allowed_hosts=("music.example",)) as asked:
        assert asked.get("/health", headers={"Host": "music.example"}).status_code == 200
        assert asked.get("/health", headers={"Host": "evil.example"}).status_code == 403
    with client(tmp_path / "2", host="0.0.0.0") as asked:
        assert asked.get("/health", headers={"Host": "any.example"}).status_code == 200


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        (LOCAL, 204),
        ("https://app.example", 204),
        ("https://evil.example", 403),
        ("null", 403),
        ("http://127.0.0.1:9999", 403),
    ],
)
def test_web_pages_of_other_origins_may_not_change_anything(tmp_path: Path, origin: str, status: int) -> None:
    with client(tmp_path, cors_origins=("https://app.example",)) as asked:
        sent = asked.post("/files", files={"file": ("a.wav", b"x")}).json()["file"]
        assert asked.delete(f"/files/{sent}", headers={"Origin": origin}).status_code == status
        assert asked.get("/health", headers={"Origin": origin}).status_code == 200


def test_browsers_are_told_what_they_may(tmp_path: Path) -> None:
    asking = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type,x-api-key"}
    with client(tmp_path, cors_origins=("https://app.example",), api_key=KEY) as asked:
        allowed = asked.options("/generate", headers={"Origin": "https://app.example", **asking})
        assert allowed.headers["Access-Control-Allow-Origin"] == "https://app.example"
        assert (
            "X-Output-Path"
            in asked.get("/health", headers={"Origin": "https://app.example"}).headers[
                "Access-Control-Expose-Headers"
            ]
        )
        refused = asked.options("/generate", headers={"Origin": "https://evil.example", **asking})
        assert "Access-Control-Allow-Origin" not in refused.headers
    with client(tmp_path) as asked:
        assert "Access-Control-Allow-Origin" not in asked.get("/health", headers={"Origin": "https://x"}).headers


def test_bodies_are_bounded_whether_they_say_their_length_or_not(tmp_path: Path) -> None:
    large, json = b"x" * ((1 << 20) + 1), {"Content-Type": "application/json"}
    with client(tmp_path, max_body_mib=1) as asked:
        for body in (large, iter([large[:1000], large])):
            answer = asked.post("/generate", content=body, headers=json)
            assert answer.status_code == 413
            assert answer.json() == {"detail": "The request has more than 1 MiB."}


def test_uploads_are_bounded_whether_they_say_their_length_or_not(tmp_path: Path) -> None:
    large, form = b"x" * ((1 << 20) + 1), io.BytesIO()
    with client(tmp_path, max_body_mib=1, max_upload_mib=2) as asked:
        assert asked.post("/files", files={"file": ("a.wav", large)}).status_code == 200
        assert asked.post("/files", files={"file": ("a.wav", large * 2)}).status_code == 413
        form.write(b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n')
        pieces = iter([form.getvalue(), *[large] * 4])
        assert asked.post("/files", content=pieces, headers=MULTIPART).status_code == 413
        assert asked.post("/jobs", content=large).status_code == 413


@pytest.mark.parametrize(
    "sent",
    [
        {"content": b"x"},
        {"json": {"file": "x"}},
        {"data": {"file": "text"}},
        {"files": {"other": ("a.wav", b"x")}},
        {"files": [("file", ("a.wav", b"x")), ("file", ("b.wav", b"x"))]},
        {"files": {"file": ("a.wav", b"")}},
        {"content": b"--b\r\nbroken", "headers": MULTIPART},
    ],
)
def test_an_upload_is_one_file_in_a_form(tmp_path: Path, sent: dict[str, Any]) -> None:
    with client(tmp_path) as asked:
        answer = asked.post("/files", **sent)
    assert answer.status_code == 400, answer.text
    assert isinstance(answer.json()["detail"], str)


def test_what_is_not_there_is_404_and_what_is_not_done_405(tmp_path: Path) -> None:
    with client(tmp_path) as asked:
        assert asked.get("/nothing").status_code == 404
        assert asked.get("/generate").status_code == 405
        assert asked.delete("/files/nothing").status_code == 404
