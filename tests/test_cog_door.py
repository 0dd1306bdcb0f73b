"""What the Cog door does beside the mapping."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from acestep.cog_door import OutputFolder, ProgressPrinter, local_file, numbers
from acestep.errors import InputError, NotLoadedError, OutputError
from acestep.result import GenerationResult


def finished(*paths: Path) -> GenerationResult:
    audios = [{"path": str(path)} for path in paths]
    return GenerationResult(audios, "done", {"time_costs": {"dit_total_time_cost": 1.5}})


def deliver(folder: OutputFolder, result: GenerationResult, **options: bool) -> tuple[Path, dict[str, float]]:
    metrics: dict[str, float] = {}
    options = {"return_all": False, "score": True, **options}
    return folder.deliver(result, record=metrics.__setitem__, **options), metrics


def song(folder: OutputFolder, name: str = "a.wav", data: bytes = b"RIFF") -> Path:
    path = folder.fresh() / name
    path.write_bytes(data)
    return path


def test_only_the_last_two_predictions_stay_on_disk() -> None:
    folder = OutputFolder()
    songs = [song(folder) for _ in range(5)]
    assert [path.exists() for path in songs] == [False, False, False, True, True]


def test_the_first_song_and_its_metrics_are_delivered() -> None:
    folder = OutputFolder()
    path = song(folder)
    assert deliver(folder, finished(path)) == (path, {"timing.dit_total_time_cost": 1.5})


def test_a_batch_says_that_it_is_not_scored(capsys: pytest.CaptureFixture[str]) -> None:
    folder = OutputFolder()
    path = song(folder)
    assert deliver(folder, finished(path, path))[0] == path
    assert "not scored in this version; song 0" in capsys.readouterr().out


def test_everything_is_one_zip() -> None:
    folder = OutputFolder()
    first = song(folder)
    second = first.with_name("b.wav")
    second.write_bytes(b"more")
    bundle, _ = deliver(folder, finished(first, second), return_all=True)
    with zipfile.ZipFile(bundle) as archive:
        assert archive.namelist() == ["00-a.wav", "01-b.wav"]
        assert archive.read("01-b.wav") == b"more"


@pytest.mark.parametrize("data", [None, b""])
def test_a_missing_or_empty_file_is_an_error_not_an_empty_success(data: bytes | None) -> None:
    folder = OutputFolder()
    path = song(folder, data=data or b"")
    if data is None:
        path.unlink()
    with pytest.raises(OutputError, match=r"a\.wav is missing or empty"):
        deliver(folder, finished(path))


def test_a_failed_result_raises_its_own_error() -> None:
    cause = NotLoadedError("Model not loaded: x.")
    with pytest.raises(NotLoadedError) as caught:
        deliver(OutputFolder(), GenerationResult.failed(cause))
    assert caught.value is cause


def test_only_delivered_files_are_read() -> None:
    assert local_file("input_audio", None, Path) is None
    assert local_file("input_audio", Path("/tmp/x"), Path) == "/tmp/x"
    for text in ("/etc/hostname", "file:///etc/hostname", "HTTP://127.0.0.1/"):
        with pytest.raises(InputError, match="input_audio must be sent as a data: URI or an https: URL"):
            local_file("input_audio", text, Path)


def test_numbers_in_text() -> None:
    assert numbers("seeds", "42, 123,,456", int) == [42, 123, 456]
    assert numbers("timesteps", "0.9,0.5", float) == [0.9, 0.5]
    assert numbers("seeds", " ", int) is None
    with pytest.raises(InputError, match="seeds must be numbers separated by commas, not '1.5'"):
        numbers("seeds", "1.5", int)


def test_progress_lines_are_what_clients_parse(capsys: pytest.CaptureFixture[str]) -> None:
    report = ProgressPrinter()
    for share in (0.02, 0.45, 1.0):
        report(share, "denoising step 4/8")
    assert capsys.readouterr().out == (
        "  2%|          | 2/100 [denoising step 4/8]\n"
        " 45%|####      | 45/100 [denoising step 4/8]\n"
        "100%|##########| 100/100 [denoising step 4/8]\n"
    )
