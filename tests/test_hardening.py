"""The door holds: whatever one prediction does to the real server, the next one finds it as it was."""

from __future__ import annotations

import hashlib
import io
import resource
import secrets
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import soundfile as sf

from acestep.cogrun.schema import PROJECT
from acestep.cogrun.server import LogLine
from acestep.errors import InputError
from acestep.output.tags import read_recipe

from cog_server import TERMINAL, CogServer, Json, WebhookSink, data_uri, decoded
from hardening_support import FileHost, answering, dripping, hosting, limited, terse_tiny, tone, wait_until

SECRETS = {"HF_TOKEN": "hf_marker0", "REPLICATE_API_TOKEN": "r8_marker1", "WEBHOOK_AUTH_TOKEN": "marker2"}
URL_SECRETS = ("marker3", "marker4", "marker5", "marker6")
SONG = {"prompt": "calm piano", "audio_duration": 10, "seed": 3, "infer_steps": 2}
LONG = {"prompt": "x", "audio_duration": 300, "model": "tiny-base", "infer_steps": 60}
MIB = 1 << 20
ANSWERS = {
    "/song": answering(body=tone(3)),
    "/marker3/song.wav": answering(body=tone(2)),
    "/text.wav": answering(body=b"this is no sound" * 100),
    "/missing": answering(404),
    "/slow": dripping(b"HTTP/1.1 200 OK\r\n\r\n", b"x"),
}


@pytest.fixture(scope="module")
def setup_log() -> list[LogLine]:
    """What the server logged until it was ready; it forgets its oldest lines."""
    return []


@pytest.fixture(scope="module")
def server(setup_log: list[LogLine], tmp_path_factory: pytest.TempPathFactory) -> Iterator[CogServer]:
    with CogServer(PROJECT, {**terse_tiny(tmp_path_factory.mktemp("weights")), **SECRETS}) as running:
        setup_log += running.runtime.log
        yield running


@pytest.fixture(scope="module")
def host() -> Iterator[FileHost]:
    with hosting(ANSWERS) as running:
        yield running


@pytest.fixture(scope="module")
def pristine(server: CogServer) -> str:
    """What the fixed request sounds like on a server that has seen nothing else."""
    return heard(server)


@pytest.fixture
def unharmed(server: CogServer, pristine: str) -> Iterator[None]:
    """After the test: the slot is free, nothing new lies about, and the fixed request sounds as at first."""
    before = server.files()
    yield
    assert server.runtime.client.wait_idle(10)
    assert server.files() <= before
    assert heard(server) == pristine


def heard(server: CogServer) -> str:
    """Hash of the samples that the fixed request gives."""
    answer = server.predict({**SONG, "model": "tiny"})
    assert answer["status"] == "succeeded", answer
    samples, _ = sf.read(io.BytesIO(decoded(answer["output"])), dtype="int16")
    return hashlib.sha256(samples.tobytes()).hexdigest()


def failure(server: CogServer, **inputs: object) -> str:
    answer = server.predict({**SONG, **inputs})
    assert answer["status"] == "failed"
    assert answer.get("output") is None
    return answer["error"]


# --- files in ---------------------------------------------------------------------------------------------------


def test_audio_arrives_by_every_road(server: CogServer, host: FileHost, tmp_path: Path) -> None:
    roads = {
        "a data URI with the wrong type": (data_uri(tone(1.0, kind="FLAC"), "text/plain"), 1.0),
        "a data URI without a type": (data_uri(tone(1.5), ""), 1.5),
        "a URL without a suffix": (host.url("/song?x=1"), 3.0),
    }
    for road, (url, seconds) in roads.items():
        answer = server.predict({**SONG, "reference_audio": url, "output_format": "flac"})
        path = tmp_path / "song.flac"
        path.write_bytes(decoded(answer["output"]))
        assert read_recipe(path)["sources"]["reference"]["duration_s"] == pytest.approx(seconds), road
        assert "receiving reference_audio" in answer["logs"], road


@pytest.mark.usefixtures("unharmed")
def test_bad_files_are_one_sentence(server: CogServer, host: FileHost) -> None:
    sentences = {
        data_uri(b"abc") + "*": "reference_audio: the URL is a data: URI that is not valid base64",
        "data:audio/wav;base64,": "reference_audio: the URL is a data: URI without data",
        data_uri(b"no sound at all"): "reference_audio: 'reference_audio' ",
        host.url("/text.wav"): "reference_audio: 'reference_audio.wav' ",
        host.url("/missing"): "reference_audio: the URL was answered with 404 instead of a file.",
        "http://no-such-host.invalid/": "reference_audio: the URL names the host 'no-such-host.invalid', which",
    }
    for url, sentence in sentences.items():
        assert f"Error: {sentence}" in failure(server, reference_audio=url)


def test_nothing_is_downloaded_for_a_request_that_cannot_run(server: CogServer, host: FileHost) -> None:
    before = host.connections
    error = failure(server, input_audio=host.url("/song"), reference_audio=host.url("/song"))
    assert "input_audio does not go with task" in error
    assert host.connections == before


# --- refusals ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("prompt", 3), ("prompt", "x" * 2049), ("prompt", None), ("audio_duration", "10"), ("audio_duration", 600.5),
        ("bpm", 29), ("bpm", 120.5), ("seed", -2), ("seed", 2**32), ("batch_size", 0), ("batch_size", 9),
        ("output_format", "aiff"), ("model", "../etc"), ("task", "Cover"), ("infer_steps", 201),
        ("sample_rate", 96_000), ("instrumental", "yes"), ("reference_audio", 7), ("input_audio", ["a"]),
        ("guidance_scale", 31),
    ],
)  # fmt: skip
def test_the_schema_names_the_bad_field(server: CogServer, field: str, value: object) -> None:
    with pytest.raises(InputError, match=rf"^{field}: "):
        server.predict({**SONG, field: value})


def test_the_schema_names_all_bad_fields_at_once(server: CogServer) -> None:
    with pytest.raises(InputError) as caught:
        server.predict({**SONG, "bpm": 1, "seed": -9})
    assert {part.partition(":")[0] for part in str(caught.value).split("; ")} == {"bpm", "seed"}


@pytest.mark.parametrize(
    ("inputs", "field"),
    [
        ({"keyscale": "H"}, "keyscale"), ({"timesignature": "9/17"}, "timesignature"), ({"seeds": "a"}, "seeds"),
        ({"timesteps": "0.5,0.9"}, "timesteps"), ({"oss_steps": "x"}, "oss_steps"),
        ({"cfg_interval_start": 0.9, "cfg_interval_end": 0.1}, "cfg_interval_start"),
        ({"output_format": "opus", "sample_rate": 44_100}, "sample_rate"), ({"audio_duration": 3}, "audio_duration"),
        ({"input_audio": "/etc/hostname"}, "input_audio"), ({"reference_audio": "file:///x"}, "reference_audio"),
    ],
)  # fmt: skip
def test_our_own_refusals_name_the_field(server: CogServer, inputs: Json, field: str) -> None:
    assert field in failure(server, **inputs)


@pytest.mark.parametrize("identifier", ["../../../tmp/x", "a/b", "a b", "", "a" * 65, "a\n", "ü"])
def test_our_client_sends_no_id_that_is_a_path(server: CogServer, identifier: str) -> None:
    client = server.runtime.client
    for call in (
        lambda: client.predict(SONG, identifier=identifier),
        lambda: client.predict_async(SONG, identifier=identifier, webhook="http://127.0.0.1:1/"),
        lambda: client.cancel(identifier),
    ):
        with pytest.raises(InputError, match="the id of a prediction must be 1 to 64 letters"):
            call()


def test_an_id_that_is_a_path_gets_none_of_our_files(server: CogServer) -> None:
    """Cog makes a folder there (a gateway must refuse such ids); what the model writes stays where it always is."""
    outside = Path("/tmp") / f"acestep-test-{secrets.token_hex(8)}"
    body = {"id": f"../../../tmp/{outside.name}", "input": SONG}
    try:
        assert server.runtime.client.wait_idle(10)
        before = server.files()
        reply = server.runtime.client.request("POST", "/predictions", body, timeout=60)
        assert reply.body["status"] == "succeeded"
        assert outside.is_dir()
        assert [path for path in outside.rglob("*") if not path.is_dir()] == []
        songs = [path for path in server.files() - before if path.is_file()]
        assert [(path.suffix, path.parent.parent.name[:16]) for path in songs] == [(".wav", "acestep-outputs-")]
    finally:
        shutil.rmtree(outside, ignore_errors=True)


# --- webhooks ---------------------------------------------------------------------------------------------------


def test_webhooks_tell_the_story_in_order(server: CogServer) -> None:
    with WebhookSink() as sink:
        server.predict_async(SONG, sink.url)
        last = sink.wait_terminal()
        assert server.runtime.client.wait_idle(10)
    assert [event["status"] for event in sink.events[:-1]] == ["processing"] * (len(sink.events) - 1)
    assert not any(event["status"] in TERMINAL for event in sink.late)
    assert last["status"] == "succeeded"
    assert len(decoded(last["output"])) > 1_920_000
    assert last["metrics"]["predict_time"] > 0
    lengths = [len(event["logs"]) for event in sink.events]
    assert lengths == sorted(lengths)


@pytest.mark.usefixtures("unharmed")
def test_a_failure_is_told_once_with_its_sentence(server: CogServer) -> None:
    with WebhookSink() as sink:
        server.predict_async({**SONG, "keyscale": "H"}, sink.url, events=["completed"])
        last = sink.wait_terminal()
        assert server.runtime.client.wait_idle(10)
    assert (len(sink.events), sink.late) == (1, [])
    assert last["status"] == "failed"
    assert "InputError: keyscale 'H' is not a key" in last["error"]
    assert "Traceback" not in last["error"] + last["logs"]


# --- cancel in every stage --------------------------------------------------------------------------------------


def printing(text: str) -> Callable[[CogServer], Callable[[], bool]]:
    """Reached when the model prints `text` once more than it had before."""

    def begin(server: CogServer) -> Callable[[], bool]:
        before = sum(text in line for line in server.printed)
        return lambda: sum(text in line for line in server.printed) > before

    return begin


def writing(server: CogServer) -> Callable[[], bool]:
    """Reached when a half-written song lies on the disk."""
    return lambda: any(path.suffix == ".part" for path in server.files())


AT_ONCE = {**LONG, "thinking": False}
STAGES = {
    "receiving": ({"reference_audio": "/slow"}, printing("receiving reference_audio")),
    "planning": (LONG, printing("[planning code ")),
    "conditioning": ({**AT_ONCE, "batch_size": 8, "reference_audio": "/song"}, printing("[conditioning]")),
    "denoising": (AT_ONCE, printing("[denoising step 1/")),
    "decoding": ({"audio_duration": 120, "infer_steps": 1, "thinking": False}, printing("[decoding 1/")),
    "saving": ({"audio_duration": 120, "infer_steps": 1, "thinking": False, "output_format": "m4a"}, writing),
}


@pytest.mark.usefixtures("unharmed")
@pytest.mark.parametrize("stage", list(STAGES))
def test_cancel(server: CogServer, host: FileHost, stage: str) -> None:
    inputs, begin = STAGES[stage]
    inputs = {name: host.url(value) if name == "reference_audio" else value for name, value in inputs.items()}
    reached = begin(server)
    with WebhookSink() as sink:
        identifier = server.predict_async({**SONG, **inputs}, sink.url)
        wait_until(reached)
        assert server.cancel(identifier)
        last = sink.wait_terminal(20)
    assert last["status"] == "canceled"
    assert last.get("output") is None


# --- a full disk, an empty memory -------------------------------------------------------------------------------


@pytest.mark.usefixtures("unharmed")
@pytest.mark.parametrize("kind", ["wav", "flac", "ogg", "mp3", "m4a"])
def test_a_full_disk(server: CogServer, kind: str) -> None:
    with limited(server.worker, resource.RLIMIT_FSIZE, 50_000):
        assert "OutputError: cannot write " in failure(server, output_format=kind)


@pytest.mark.usefixtures("unharmed")
def test_a_disk_that_is_full_before_and_after_the_music(server: CogServer, host: FileHost) -> None:
    with limited(server.worker, resource.RLIMIT_FSIZE, 50_000):
        for url in (data_uri(tone(2)), host.url("/song")):
            error = failure(server, reference_audio=url)
            assert error.endswith("OutputError: cannot write a received file: File too large.")
    with limited(server.worker, resource.RLIMIT_FSIZE, 3_000_000):  # one song of 10 s fits, two in one file do not
        error = failure(server, batch_size=2, return_all=True)
    assert error.endswith("OutputError: cannot write 'songs.zip': File too large.")


@pytest.mark.usefixtures("unharmed")
def test_memory_that_runs_out(server: CogServer) -> None:
    status = Path(f"/proc/{server.worker}/status").read_text()
    held = int(status.partition("VmSize:")[2].split()[0]) * 1024
    with limited(server.worker, resource.RLIMIT_AS, held + 200 * MIB):
        error = failure(server, audio_duration=600, batch_size=8, infer_steps=1, thinking=False)
    assert "DeviceMemoryError: Memory ran out while making 8 songs of 600 s" in error


# --- secrets ----------------------------------------------------------------------------------------------------


def test_secrets_stay_secret(server: CogServer, setup_log: list[LogLine], host: FileHost, tmp_path: Path) -> None:
    """No token of the environment or of a URL in anything that left the process, from its start to a song."""
    last = server.runtime.log[-1]
    song = {**SONG, "output_format": "flac", "prompt": "https://marker5:marker6@example.com/ in the rain"}
    good = server.predict({**song, "reference_audio": host.url("/marker3/song.wav?sig=marker4")})
    assert good["status"] == "succeeded"
    path = tmp_path / "song.flac"
    path.write_bytes(decoded(good["output"]))
    bad = [
        server.predict({**SONG, "reference_audio": url})
        for url in (
            host.url("/missing?sig=marker4"),
            "https://marker5:marker6@example.com/marker3/song.wav?sig=marker4",
            "https://no-such-host.invalid/marker3/song.wav?sig=marker4",
            "FTP://marker5:marker6@example.com/marker3",
        )
    ]
    assert [answer["status"] for answer in bad] == ["failed"] * 4
    log = server.runtime.log
    assert any(line is last for line in log), "the log has forgotten the beginning of this test"
    told = [good["logs"], good["metrics"], read_recipe(path), bad, setup_log, log, server.health()]
    for marker in (*SECRETS.values(), *URL_SECRETS):
        assert marker not in repr(told), marker
