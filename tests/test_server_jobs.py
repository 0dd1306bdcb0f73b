"""The queue: alone, with work that tests can hold; and over HTTP, with songs that last if nobody stops them."""

from __future__ import annotations

import gc
import json
import logging
import threading
import time
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest

from acestep.errors import CancelledError, GenerationError
from acestep.server.faults import BusyError, NotHereError
from acestep.server.jobs import Job, JobQueue, State

from hardening_support import wait_until
from server_support import LONG_SONG, Live, detail, serving, song


class Held:
    """Work that lasts until it is let go, and reports all the while."""

    def __init__(self) -> None:
        self.begun, self.let_go, self.after = threading.Event(), threading.Event(), threading.Event()

    def __call__(self, job: Job) -> str:
        self.begun.set()
        while not self.let_go.wait(0.005):
            job.report(0.5, "half way")
        return "done"


@pytest.fixture
def queue() -> Iterator[JobQueue]:
    running = JobQueue(waiting=2)
    yield running
    running.close()


def submit(queue: JobQueue, work: Held) -> Job:
    return queue.submit(work, work.after.set)


def test_a_job_goes_from_queued_to_succeeded(queue: JobQueue) -> None:
    first, second = Held(), Held()
    one, two = submit(queue, first), submit(queue, second)
    assert first.begun.wait(5)
    wait_until(lambda: one.progress == 0.5, 5)
    assert (one.state, one.stage, queue.position(one)) == (State.RUNNING, "half way", 0)
    assert (two.state, two.stage, queue.position(two)) == (State.QUEUED, "waiting", 1)
    assert queue.remaining_s(one) >= 0
    assert queue.remaining_s(two) > 0
    first.let_go.set()
    second.let_go.set()
    assert two.future.result(5) == "done"
    assert [job.state for job in queue.jobs] == [State.SUCCEEDED] * 2
    assert first.after.wait(5)
    assert second.after.wait(5)


def test_only_so_many_may_wait(queue: JobQueue) -> None:
    works = [Held() for _ in range(3)]
    for work in works:
        submit(queue, work)
    refused = Held()
    with pytest.raises(BusyError, match="The queue is full: 3 jobs are not finished") as caught:
        submit(queue, refused)
    assert 1 <= caught.value.retry_after_s <= 3600
    assert not refused.after.is_set()
    for work in works:
        work.let_go.set()
    wait_until(lambda: not any(job.state is not State.SUCCEEDED for job in queue.jobs), 5)
    last = Held()
    last.let_go.set()
    assert submit(queue, last).future.result(5) == "done"


def test_a_job_that_waits_is_cancelled_at_once(queue: JobQueue) -> None:
    first, second = Held(), Held()
    submit(queue, first)
    waiting = submit(queue, second)
    assert queue.cancel(waiting.id).state is State.CANCELLED
    assert isinstance(waiting.error, CancelledError)
    assert second.after.wait(5)
    first.let_go.set()
    assert not second.begun.is_set()


def test_a_job_that_runs_is_cancelled_at_its_next_report(queue: JobQueue) -> None:
    work = Held()
    job = submit(queue, work)
    assert work.begun.wait(5)
    queue.cancel(job.id)
    wait_until(lambda: job.state is State.CANCELLED, 5)
    assert work.after.wait(5)
    assert isinstance(job.error, CancelledError)


def test_an_error_is_kept_without_what_it_came_through(queue: JobQueue) -> None:
    class Tensor:
        """Something large."""

    seen: list[weakref.ref[Tensor]] = []

    def fail(job: Job) -> None:
        large = Tensor()
        seen.append(weakref.ref(large))
        try:
            raise ValueError("inner")
        except ValueError as error:
            raise GenerationError("silence") from error

    job = queue.submit(fail, lambda: None)
    wait_until(lambda: job.state is State.FAILED, 5)
    assert str(job.error) == "silence"
    queue.submit(lambda job: None, lambda: None).future.result(5)
    gc.collect()
    assert seen[0]() is None


def test_a_bug_is_logged_and_the_thread_goes_on(queue: JobQueue, caplog: pytest.LogCaptureFixture) -> None:
    def broken(job: Job) -> None:
        raise ZeroDivisionError("a bug")

    with caplog.at_level(logging.ERROR, "acestep.server.jobs"):
        job = queue.submit(broken, lambda: None)
        wait_until(lambda: job.state is State.FAILED, 5)
        assert queue.submit(lambda job: "done", lambda: None).future.result(5) == "done"
    assert "a bug" in caplog.text


def test_finished_jobs_are_forgotten_by_number_and_age() -> None:
    queue = JobQueue(waiting=9, kept=3, kept_s=1000)
    jobs = [queue.submit(lambda job: None, lambda: None) for _ in range(6)]
    for job in jobs:
        job.future.result(5)
    assert queue.jobs == jobs[3:]
    with pytest.raises(NotHereError, match="is unknown, or forgotten"):
        queue.job(jobs[0].id)
    jobs[-1].ended = time.time() - 2000
    assert queue.jobs == jobs[3:5]
    queue.close()


def test_closing_gives_everything_up(queue: JobQueue) -> None:
    works = [Held(), Held()]
    jobs = [submit(queue, work) for work in works]
    queue.close()
    assert [job.state for job in jobs] == [State.CANCELLED] * 2
    with pytest.raises(CancelledError, match="stopping"):
        submit(queue, Held())


# --- over HTTP ---------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with serving(tmp_path_factory.mktemp("jobs"), queue=2) as live:
        yield live


@pytest.fixture
def long_job(server: Live) -> Iterator[str]:
    """A job that is at work."""
    identifier = server.start(**LONG_SONG)
    server.wait_for(identifier, "running")
    yield identifier
    server.delete(f"/jobs/{identifier}")
    server.wait_for(identifier, "cancelled")


def left_behind(server: Live) -> list[Path]:
    """Whatever unfinished work could have left."""
    outputs, scratch = server.station.outputs.path, server.station.counter.scratch
    return [*outputs.glob(".job-*"), *outputs.glob("**/*.part"), *scratch.iterdir()]


def test_a_job_tells_how_far_it_is(server: Live, long_job: str) -> None:
    wait_until(lambda: "step" in server.job(long_job)["stage"])
    job = server.job(long_job)
    assert job["state"] == "running"
    assert 0 < job["progress"] < 1
    assert job["remaining_s"] > 0
    assert job["result"] is None
    other = server.start()
    assert (server.job(other)["state"], server.job(other)["position"]) == ("queued", 1)
    assert server.get("/jobs").json()[0]["id"] == other
    answer = server.get(f"/jobs/{other}/result")
    assert (answer.status_code, answer.headers["Location"]) == (202, f"/jobs/{other}")
    assert server.delete(f"/jobs/{other}").json()["state"] == "cancelled"
    assert detail(server.get(f"/jobs/{other}/result"), 409) == "The job was cancelled."


def test_a_full_queue_says_when_to_come_again(server: Live, long_job: str) -> None:
    waiting = [server.start() for _ in range(2)]
    answer = server.post("/generate", json=song())
    assert "The queue is full" in detail(answer, 429)
    assert int(answer.headers["Retry-After"]) >= 1
    for identifier in waiting:
        server.delete(f"/jobs/{identifier}")


def test_a_cancelled_song_leaves_nothing(server: Live) -> None:
    identifier = server.start(**LONG_SONG, output_path="long.wav")
    wait_until(lambda: "step" in server.job(identifier)["stage"])
    assert "is what another request is writing" in detail(
        server.post("/generate", json=song(output_path="long.wav")), 400
    )
    server.delete(f"/jobs/{identifier}")
    assert server.wait_for(identifier, "cancelled")["error"] == {"status": 409, "detail": "The job was cancelled."}
    assert not (server.station.outputs.path / "long.wav").exists()
    wait_until(lambda: not left_behind(server), 5)
    assert server.post("/generate", json=song(output_path="long.wav")).status_code == 200  # the name is free again


def test_a_client_that_hangs_up_cancels_its_song(server: Live) -> None:
    before = {job["id"] for job in server.get("/jobs").json()}
    with pytest.raises(httpx2.ReadTimeout):
        server.post("/generate", json=song(**LONG_SONG), timeout=1.0)
    (job,) = [job for job in server.get("/jobs").json() if job["id"] not in before]
    server.wait_for(job["id"], "cancelled")


def test_a_client_may_come_back_for_its_song(server: Live) -> None:
    answer = server.post("/generate", json=song(), headers={"Prefer": "respond-async"})
    assert answer.status_code == 202
    assert answer.headers["Preference-Applied"] == "respond-async"
    where = answer.headers["Location"]
    ended = server.wait_for(where.removeprefix("/jobs/"), "succeeded", "failed")
    assert (ended["state"], ended["progress"], ended["error"]) == ("succeeded", 1.0, None)
    result = server.get(f"{where}/result")
    assert result.headers["Content-Type"] == "audio/wav"
    assert result.content == server.get(f"/download/{ended['result']['file']}").content
    assert result.headers["X-Job-Id"] == ended["id"]
    assert server.delete(where).json()["state"] == "succeeded"  # what has ended stays
    Path(result.headers["X-Output-Path"]).unlink()
    assert "has been deleted" in detail(server.get(f"{where}/result"), 404)


def test_events_follow_a_job_to_its_end(server: Live) -> None:
    identifier = server.start()
    with server.stream("GET", f"/jobs/{identifier}/events") as stream:
        assert stream.headers["Content-Type"].startswith("text/event-stream")
        events = [json.loads(line.removeprefix("data: ")) for line in stream.iter_lines() if line]
    assert events[-1]["state"] == "succeeded"
    assert [event["progress"] for event in events] == sorted(event["progress"] for event in events)
    assert len(events) > 1


def test_unknown_jobs_are_404(server: Live) -> None:
    for call in (server.get, server.delete):
        assert "is unknown, or forgotten" in detail(call("/jobs/nothing"), 404)
    for part in ("result", "events"):
        assert "is unknown, or forgotten" in detail(server.get(f"/jobs/nothing/{part}"), 404)


def test_what_is_wrong_with_a_recording_is_told_when_it_is_heard(server: Live) -> None:
    sent = server.post("/files", files={"file": ("a.wav", b"no music at all", "audio/wav")})
    answer = server.post("/generate", json=song(task="cover", src_audio_path=sent.json()["file"]))
    assert detail(answer, 400).startswith("src_audio_path: ")
    wait_until(lambda: not left_behind(server), 5)


def test_songs_of_many_clients_are_all_made(tmp_path: Path) -> None:
    with serving(tmp_path, queue=8) as server:

        def make(seed: int) -> tuple[int, list[int]]:
            answer = server.post("/generate", json=song(actual_seeds=[seed]))
            return answer.status_code, json.loads(answer.headers["X-Seeds"])

        with ThreadPoolExecutor(6) as clients:
            assert list(clients.map(make, range(8))) == [(200, [seed]) for seed in range(8)]
        assert len(list(server.station.outputs.path.glob("*.wav"))) == 8


def test_a_server_that_stops_answers_those_who_wait(tmp_path: Path) -> None:
    answers: list[httpx2.Response] = []
    with serving(tmp_path) as server:

        def ask() -> None:
            with Live(server.station, server.port) as client:
                answers.append(client.post("/generate", json=song(**LONG_SONG)))

        waiting = threading.Thread(target=ask)
        waiting.start()
        wait_until(lambda: any(job["state"] == "running" for job in server.get("/jobs").json()))
    waiting.join()
    assert detail(answers[0], 409) == "The job was cancelled."
    assert list((tmp_path / "outputs").glob("*.wav")) == []
