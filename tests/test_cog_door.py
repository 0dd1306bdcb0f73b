"""What the Cog door does beside the mapping."""

from __future__ import annotations

import gc
import json
import shutil
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import get_type_hints

import pytest

from acestep.cog_door import (
    deliver,
    fetched,
    file_url,
    keep_text,
    memory_returned,
    numbers,
    progress_printer,
)
from acestep.cog_output import OutputFolder, record_result
from acestep.cog_words import COG
from acestep.cogrun.schema import PROJECT, openapi_document
from acestep.cogrun.static import read_signature
from acestep.devices import trim_host
from acestep.errors import DeviceMemoryError, InputError, NotLoadedError, OutputError
from acestep.handler import AceStepHandler
from acestep.inference import GenerationConfig, GenerationParams, generate_music
from acestep.output.tags import read_recipe
from acestep.result import GenerationResult, rank_songs

from predict import Predictor


def finished(*paths: Path, overall: Sequence[float | None] = ()) -> GenerationResult:
    scores = [{"overall": value} for value in overall] or [None] * len(paths)
    audios = [
        {"path": str(path), "track": "", "params": {"seed": seed}, "scores": score, "timed_lyrics": ()}
        for seed, (path, score) in enumerate(zip(paths, scores, strict=True))
    ]
    seconds = {"time_costs": {"dit_total_time_cost": 1.5}}
    return GenerationResult(audios, "done", seconds, ranking=rank_songs(audios))


def song(folder: OutputFolder, name: str = "a.wav", data: bytes = b"RIFF") -> Path:
    path = folder.fresh() / name
    path.write_bytes(data)
    return path


def test_only_the_last_two_predictions_stay_on_disk() -> None:
    folder = OutputFolder()
    songs = [song(folder) for _ in range(5)]
    assert [path.exists() for path in songs] == [False, False, False, True, True]


def test_nothing_stays_when_the_process_ends() -> None:
    folder = OutputFolder()
    path = song(folder)
    del folder
    gc.collect()
    assert not path.parent.parent.exists()


def test_a_folder_that_somebody_cleaned_up_is_no_error() -> None:
    folder = OutputFolder()
    shutil.rmtree(folder.fresh())
    assert all(folder.fresh().is_dir() for _ in range(3))


def test_a_root_that_somebody_cleaned_up_is_made_again() -> None:
    folder = OutputFolder()
    first = folder.fresh()
    shutil.rmtree(first.parent)
    songs = [song(folder) for _ in range(3)]
    assert [path.exists() for path in songs] == [False, True, True]
    del folder
    gc.collect()
    assert not any(path.parent.parent.exists() for path in songs)


def test_the_first_song_is_delivered() -> None:
    folder = OutputFolder()
    path = song(folder)
    assert deliver(finished(path), return_all=False) == path


def test_seconds_seeds_and_scores_become_metrics() -> None:
    metrics: dict[str, object] = {}
    record_result(finished(Path("a.wav")), metrics.__setitem__)
    assert metrics == {"timing.dit_total_time_cost": 1.5, "seeds": [0]}
    record_result(finished(Path("a.wav"), Path("b.wav"), overall=(0.25, 0.5)), metrics.__setitem__)
    assert metrics["seeds"] == [0, 1]
    assert metrics["best"] == 1
    assert metrics["scores"] == [{"overall": 0.25}, {"overall": 0.5}]
    untouched: dict[str, object] = {}
    record_result(GenerationResult.failed(NotLoadedError("x")), untouched.__setitem__)
    assert untouched == {}


def test_errors_speak_of_the_inputs_of_this_door() -> None:
    with pytest.raises(InputError, match="^audio_duration must be long, not 3") as caught, COG.errors():
        raise InputError.must("duration", "be long", 3)
    assert caught.value.field == "audio_duration"
    with pytest.raises(InputError, match="^bpm must"), COG.errors():
        raise InputError.must("bpm", "be fast", 3)


@pytest.mark.parametrize(
    ("overall", "best"),
    [((0.2, 0.8, 0.5), 1), ((0.5, 0.5, 0.1), 0), ((None, None, 0.1), 2), ((), 0), ((None,) * 3, 0)],
)
def test_the_best_song_is_delivered(overall: Sequence[float | None], best: int) -> None:
    outputs = OutputFolder()
    folder = outputs.fresh()
    paths = [folder / name for name in ("a.wav", "b.wav", "c.wav")]
    for path in paths:
        path.write_bytes(b"RIFF")
    assert deliver(finished(*paths, overall=overall), return_all=False) == paths[best]


def test_everything_is_one_zip(tiny: AceStepHandler, tmp_path: Path) -> None:
    params = GenerationParams(caption="piano", duration=10, thinking=False, inference_steps=1)
    made = generate_music(tiny, None, params, GenerationConfig(batch_size=2, audio_format="wav"), tmp_path)
    bundle = deliver(made, return_all=True)
    songs = [Path(audio["path"]) for audio in made.audios]
    numbered = [f"song-{number}.wav" for number in (1, 2)]
    with zipfile.ZipFile(bundle) as archive:
        assert archive.namelist()[::2] == numbered
        assert archive.namelist()[1::2] == [name.replace(".wav", ".json") for name in numbered]
        assert archive.read(numbered[1]) == songs[1].read_bytes()
        assert json.loads(archive.read(archive.namelist()[3])) == read_recipe(songs[1])


@pytest.mark.parametrize("data", [None, b""])
def test_a_missing_or_empty_file_is_an_error_not_an_empty_success(data: bytes | None) -> None:
    folder = OutputFolder()
    path = song(folder, data=data or b"")
    if data is None:
        path.unlink()
    with pytest.raises(OutputError, match=r"a\.wav is missing or empty"):
        deliver(finished(path), return_all=False)


def test_a_failed_result_raises_its_own_error() -> None:
    cause = NotLoadedError("Model not loaded: x.")
    with pytest.raises(NotLoadedError) as caught:
        deliver(GenerationResult.failed(cause), return_all=False)
    assert caught.value is cause


def test_only_urls_are_files() -> None:
    assert file_url("input_audio", None) is None
    for text in ("data:audio/wav;base64,AA==", "https://example.com/a.wav", "http://example.com/a.wav"):
        assert file_url("input_audio", text) == text
    for value in ("/etc/hostname", "file:///etc/hostname", "HTTP://127.0.0.1/", "ftp://x/y", "", "x", Path("/tmp/x")):
        with pytest.raises(
            InputError, match=r"^input_audio must be sent as a data: URI or an https: URL \(http: works too\)\.$"
        ):
            file_url("input_audio", value)


def test_a_file_lives_as_long_as_the_block() -> None:
    params = GenerationParams(reference_audio="data:audio/wav;base64,YWJj", src_audio="data:,xyz")
    with fetched(params, allow_private=False) as local:
        reference, source = Path(local.reference_audio), Path(local.src_audio)
        assert (reference.read_bytes(), source.read_bytes()) == (b"abc", b"xyz")
    assert not reference.parent.exists()
    assert not source.parent.exists()


def test_a_file_that_cannot_be_had_names_the_input_of_this_door() -> None:
    params = GenerationParams(src_audio="data:audio/wav;base64,***")
    with (
        pytest.raises(InputError, match="^input_audio: the URL is a data: URI that is not valid base64"),
        fetched(params, allow_private=False),
    ):
        pass


def test_a_failed_prediction_leaves_no_folder() -> None:
    folder = OutputFolder()
    with pytest.raises(KeyboardInterrupt), folder.filling() as filling:
        filling.joinpath("half.wav").touch()
        raise KeyboardInterrupt
    assert not filling.exists()
    with folder.filling() as filled:
        pass
    assert filled.exists()


def resident_mb() -> float:
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


def test_memory_below_something_that_stays_is_returned() -> None:
    trim_host()  # what other tests freed would be used again, and nothing would grow
    before = resident_mb()
    with memory_returned():
        blocks = [b"x" * 100_000 for _ in range(6000)]  # freeing alone returns none of it
        stays = b"x" * 100_000
        held = resident_mb()
        del blocks
    assert held - before > 150
    assert resident_mb() - before < 50
    assert len(stays) == 100_000


def test_the_running_function_asks_for_text_where_the_schema_says_file() -> None:
    def predict(self: object, text: str, song: Path) -> Path: ...

    keep_text(predict, "song")
    assert get_type_hints(predict)["song"] == str | None
    hints = get_type_hints(Predictor.predict)
    assert hints["input_audio"] == hints["reference_audio"] == str | None
    assert issubclass(hints["return"], Path)


def test_numbers_in_text() -> None:
    assert numbers("seeds", "42, 123,,456", int) == [42, 123, 456]
    assert numbers("timesteps", "0.9,0.5", float) == [0.9, 0.5]
    assert numbers("seeds", " ", int) is None
    with pytest.raises(InputError, match="seeds must be numbers separated by commas, not '1.5'"):
        numbers("seeds", "1.5", int)


def test_long_text_is_not_sent_back() -> None:
    assert str(InputError.must("x", "be short", "y" * 80)) == f"x must be short, not '{'y' * 80}'."
    assert str(InputError.must("x", "be short", "y" * 81)) == f"x must be short, not '{'y' * 60}'... (81 characters)."
    assert str(InputError.unknown("x", "y" * 9999, ["a"])) == (
        f"x '{'y' * 60}'... (9999 characters) is unknown; choose one of: a."
    )
    assert (
        str(InputError.must("x", "be short", [1] * 100))
        == f"x must be short, not [{'1, ' * 19}1,... (300 characters)."
    )
    with pytest.raises(InputError, match=r"^seeds must be numbers .*\.\.\. \(100000 characters\)\.$") as caught:
        numbers("seeds", "x" * 100_000, int)
    assert caught.value.value == "x" * 100_000


def test_every_text_has_a_longest_length() -> None:
    document = openapi_document(read_signature(PROJECT / "predict.py"))
    inputs = document["components"]["schemas"]["Input"]["properties"]
    texts = {name: row for name, row in inputs.items() if row.get("type") == "string" and "format" not in row}
    assert "keyscale" in texts
    assert [name for name, row in texts.items() if "maxLength" not in row] == []


def test_progress_lines_are_what_clients_parse(capsys: pytest.CaptureFixture[str]) -> None:
    show = progress_printer()
    for share in (0.02, 0.021, 0.45, 1.0):
        show(share, "denoising step 4/8")
    assert capsys.readouterr().out == (
        "  2%|          | 2/100 [denoising step 4/8]\n"
        " 45%|####      | 45/100 [denoising step 4/8]\n"
        "100%|##########| 100/100 [denoising step 4/8]\n"
    )


def test_memory_advice_is_what_a_caller_of_this_door_can_follow() -> None:
    said = "Memory ran out; try a batch_size below 2, a duration below 600 s or offload_to_cpu=True."
    with pytest.raises(DeviceMemoryError) as caught, COG.errors():
        raise DeviceMemoryError(said)
    wanted = "a batch_size below 2, an audio_duration below 600 s or a server with ACESTEP_OFFLOAD=1."
    assert str(caught.value).endswith(wanted)
