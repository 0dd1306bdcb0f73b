"""The real Cog runtime on loopback, with predictors that need no networks: start, answers, errors, no leftovers."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from acestep.cogrun.errors import CogServerError, SchemaError
from acestep.cogrun.schema import SCHEMA_FILE, openapi_document
from acestep.cogrun.server import CogRuntime, LogLine
from acestep.cogrun.static import read_signature
from acestep.errors import InputError

from cog_server import FIXTURES, CogServer, WebhookSink, alive, data_uri, decoded, project


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CogServer]:
    folder = project(tmp_path_factory.mktemp("cog"), "echo")
    with CogServer(folder, {"ECHO_GREETING": "hello"}, setup_timeout=60.0) as running:
        yield running


def test_is_ready_and_serves_our_schema(server: CogServer) -> None:
    assert server.health()["status"] == "READY"
    assert server.openapi() == openapi_document(read_signature(FIXTURES / "echo" / "predict.py"))
    assert any("Input validation enabled (1 required fields)" in line.text for line in server.runtime.log)
    assert "loading the echo" in server.printed


def test_the_accepted_old_names_do_not_warn(server: CogServer) -> None:
    assert not [line for line in server.printed if "DeprecationWarning" in line]


def test_sync_prediction_returns_the_file(server: CogServer) -> None:
    answer = server.predict({"text": "héllo", "steps": 3, "seed": 7, "gain": 0.5, "loud": True})
    assert answer["status"] == "succeeded"
    assert decoded(answer["output"]) == "héllo".encode()
    assert answer["logs"].splitlines()[:3] == ["33%|#| 1/3", "66%|#| 2/3", "100%|#| 3/3"]
    assert answer["logs"].splitlines()[3] == "seed=7 gain=0.5 loud=True greeting=hello"


def test_omitted_inputs_arrive_as_the_defaults_of_the_schema(server: CogServer) -> None:
    assert "seed=None gain=1.0 loud=False" in server.predict({"text": "x"})["logs"]


def test_a_file_as_data_uri_arrives_whole(server: CogServer) -> None:
    data = bytes(range(256)) * 400
    assert decoded(server.predict({"text": "x", "audio": data_uri(data)})["output"]) == data


def test_async_prediction_reports_to_the_webhook(server: CogServer) -> None:
    with WebhookSink() as sink:
        identifier = server.predict_async({"text": "later", "steps": 2}, sink.url)
        last = sink.wait_terminal()
    assert (last["id"], last["status"]) == (identifier, "succeeded")
    assert decoded(last["output"]) == b"later"
    assert "100%|#| 2/2" in last["logs"]


def test_cancel_frees_the_slot(server: CogServer) -> None:
    with WebhookSink() as sink:
        identifier = server.predict_async({"text": "/no/such/file", "mode": "wait"}, sink.url)
        server.wait_printed("seed=None")
        assert server.health()["status"] == "BUSY"
        assert server.cancel(identifier)
        assert sink.wait_terminal()["status"] == "canceled"
    assert server.predict({"text": "next"})["status"] == "succeeded"
    assert not server.cancel(identifier)


def test_a_busy_slot_is_asked_again(server: CogServer, tmp_path: Path) -> None:
    go = tmp_path / "go"
    with WebhookSink() as sink:
        server.predict_async({"text": str(go), "mode": "wait"}, sink.url)
        assert server.runtime.client.request("POST", "/predictions", {"input": {"text": "x"}}).status == 409
        release = threading.Timer(0.3, go.touch)
        release.start()
        assert server.predict({"text": "after"})["status"] == "succeeded"
        release.join()
        assert sink.wait_terminal()["status"] == "succeeded"


@pytest.mark.parametrize(
    ("inputs", "field", "message"),
    [
        ({"text": "x", "steps": "3"}, "steps", 'is not of type "integer"'),
        ({"text": "x", "steps": 8.5}, "steps", 'is not of type "integer"'),
        ({"text": "x", "steps": 10}, "steps", "10 is greater than the maximum of 9"),
        ({"text": "x", "steps": 0}, "steps", "0 is less than the minimum of 1"),
        ({"text": "x", "gain": 2.6}, "gain", "2.6 is greater than the maximum of 2.5"),
        ({"text": "x", "seed": -2}, "seed", "-2 is less than the minimum of -1"),
        ({"text": "x", "seed": None}, "seed", 'null is not of type "integer"'),
        ({"text": "x", "loud": 1}, "loud", 'is not of type "boolean"'),
        ({"text": "x", "mode": "nonsense"}, "mode", "is not one of"),
        ({"text": "x" * 201}, "text", "longer than 200 characters"),
        ({"text": "x", "audio": 5}, "audio", 'is not of type "string"'),
        ({}, "text", "Field required"),
    ],
)
def test_the_schema_refuses_with_422(server: CogServer, inputs: dict, field: str, message: str) -> None:
    reply = server.post(inputs)
    assert reply.status == 422
    assert [(fault["loc"][-1], message in fault["msg"]) for fault in reply.body["detail"]] == [(field, True)]
    with pytest.raises(InputError, match=f"{field}: "):
        server.predict(inputs)


def test_a_missing_output_file_is_a_success_without_output(server: CogServer) -> None:
    """Cog's own behaviour, which the command line turns into an error."""
    answer = server.predict({"text": "x", "mode": "missing"})
    assert (answer["status"], answer["output"]) == ("succeeded", None)


def test_a_failing_prediction_names_its_error(server: CogServer) -> None:
    answer = server.predict({"text": "x", "mode": "fail"})
    assert answer["status"] == "failed"
    assert answer["error"].endswith("RuntimeError: the echo is broken")


def test_failed_setup_tells_why_and_what_was_printed(tmp_path: Path) -> None:
    with pytest.raises(CogServerError) as caught, CogRuntime(project(tmp_path, "broken_setup")):
        raise AssertionError("a broken setup was reported as ready")
    assert str(caught.value) == "the model's setup failed: ValueError: no weights here"
    assert "looking for weights" in caught.value.log


def test_a_worker_that_dies_at_import_is_an_error(tmp_path: Path) -> None:
    with (
        pytest.raises(CogServerError, match="setup failed: worker crashed"),
        CogRuntime(project(tmp_path, "dies_at_import")),
    ):
        raise AssertionError("a dead worker was reported as ready")


def test_a_worker_that_never_connects_is_an_error(tmp_path: Path) -> None:
    """Cog itself stays STARTING for ever: its worker is `python` from PATH, here one that cannot import it."""
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.write_text(f'#!/bin/sh\n[ "$1" = -c ] && exec sleep 60\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    runtime = CogRuntime(project(tmp_path, "echo"), python=python, worker_timeout=1.0)
    with pytest.raises(CogServerError, match="worker process did not start within 1 s"), runtime:
        raise AssertionError("a missing worker was reported as ready")
    assert not alive(runtime.pid)


def test_a_server_that_ends_gives_its_last_words(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho No module named cog\nexit 4\n")
    python.chmod(0o755)
    with (
        pytest.raises(CogServerError, match="ended with code 4: No module named cog"),
        CogRuntime(project(tmp_path, "echo"), python=python),
    ):
        raise AssertionError("no server was reported as ready")


def test_python_must_be_there_under_that_name(tmp_path: Path) -> None:
    with (
        pytest.raises(CogServerError, match="no such file"),
        CogRuntime(project(tmp_path, "echo"), python=tmp_path / "py"),
    ):
        raise AssertionError("started without python")


def test_slow_setup_is_bounded_and_leaves_no_process(tmp_path: Path) -> None:
    """A server stopped during setup leaves its worker behind; ours may not."""
    runtime = CogRuntime(project(tmp_path, "slow_setup"), setup_timeout=2.0)
    with pytest.raises(CogServerError, match="not ready within 2 s") as caught, runtime:
        raise AssertionError("an endless setup was reported as ready")
    pids = [int(word) for word in caught.value.log[-1].split()[1:]]
    assert len(pids) == 2
    assert runtime.pid in pids
    assert not [pid for pid in pids if alive(pid)]


def test_a_predictor_cog_cannot_read_is_refused_before_it_starts(tmp_path: Path) -> None:
    (tmp_path / "predict.py").write_text("from cog import BasePredictor\n")
    with pytest.raises(SchemaError, match="no class Predictor"), CogRuntime(tmp_path):
        raise AssertionError("started without a predictor")
    assert not (tmp_path / SCHEMA_FILE).exists()


def test_stopping_ends_what_the_model_started(tmp_path: Path) -> None:
    with CogServer(project(tmp_path, "echo")) as server, WebhookSink() as sink:
        server.predict_async({"text": "x", "mode": "spawn"}, sink.url)
        pids = [int(word) for word in server.wait_printed("processes").split()[1:]]
        assert all(alive(pid) for pid in pids)
    assert len(pids) == 3
    assert not [pid for pid in pids if alive(pid)]


def test_a_crashed_worker_fails_the_prediction(tmp_path: Path) -> None:
    with CogServer(project(tmp_path, "echo")) as server:
        answer = server.predict({"text": "x", "mode": "crash"})
    assert (answer["status"], answer["error"]) == ("failed", "Worker crashed")


def test_a_deaf_listener_does_not_stall_the_runtime(tmp_path: Path) -> None:
    heard = []

    def closed_pipe(text: str) -> None:
        heard.append(text)
        raise BrokenPipeError

    with CogServer(project(tmp_path, "echo"), on_print=closed_pipe) as server:
        answer = server.predict({"text": "x", "steps": 9}, timeout=30.0)
    assert answer["status"] == "succeeded"
    assert heard == ["loading the echo"]


def test_two_runtimes_of_one_project(tmp_path: Path) -> None:
    folder = project(tmp_path, "echo")
    with CogServer(folder) as first, CogServer(folder) as second:
        assert first.runtime.pid != second.runtime.pid
        outputs = [
            decoded(server.predict({"text": text})["output"]) for server, text in ((first, "a"), (second, "b"))
        ]
    assert outputs == [b"a", b"b"]
    assert json.loads((folder / SCHEMA_FILE).read_text(encoding="utf-8"))["openapi"] == "3.0.2"


def test_temporary_files_of_the_model_end_with_the_runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    with CogServer(project(tmp_path, "echo")) as server:
        for _ in range(3):
            server.predict({"text": "x", "audio": data_uri(b"sound")})
        assert len(list(scratch.rglob("*"))) >= 3
    assert list(scratch.iterdir()) == []


def test_log_lines() -> None:
    printed = '{"fields":{"message":"50%","source":"Stdout"},"target":"coglet::prediction"}\n'
    own = '{"fields":{"message":"Starting prediction"},"target":"coglet::prediction"}\n'
    child = '{"fields":{"message":"from ffmpeg"},"target":"coglet::user"}\n'
    assert LogLine.parse(printed) == LogLine("coglet::prediction", "50%", True)
    assert LogLine.parse(own) == LogLine("coglet::prediction", "Starting prediction", False)
    assert LogLine.parse(child) == LogLine("coglet::user", "from ffmpeg", True)
    for text in ("Traceback (most recent call last):", '{"a": 1}', "[1]", "3", "null"):
        assert LogLine.parse(f"{text}\n") == LogLine("", text, True)


def test_stopping_takes_seconds_not_minutes(tmp_path: Path) -> None:
    with CogServer(project(tmp_path, "echo")) as server:
        server.predict({"text": "x"})
        started = time.monotonic()
    assert time.monotonic() - started < 10.0
