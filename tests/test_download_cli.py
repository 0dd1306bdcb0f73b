"""The doors ``acestep-download`` and ``acestep models``: what they list, choose, refuse, and how they exit."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import pty
import subprocess
from pathlib import Path

import pytest

from acestep import models_cli
from acestep.checkpoints.choose import choose
from acestep.checkpoints.overview import choice_rows, fits, model_rows
from acestep.checkpoints.registry import COMPONENTS, LANGUAGE_MODELS, MODELS, parts_of, published
from acestep.checkpoints.rows import HubFolder
from acestep.devices import DeviceFacts
from acestep.download_cli import main
from acestep.tasks import TASKS

from download_support import command, download, environment
from fake_hub import UNPINNED_COMMIT, content, serving

TURBO, XL = MODELS["acestep-v15-turbo"], MODELS["acestep-v15-xl-turbo"]


def table(text: str) -> list[list[str]]:
    """Cells of each line; columns are two spaces apart."""
    return [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in text.splitlines()]


def copied_by_hand(row: HubFolder, root: Path) -> None:
    folder = root / row.folder
    folder.mkdir(parents=True)
    for name in content(row):
        (folder / name).write_bytes(b"1234")


def test_the_list_shows_every_row(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copied_by_hand(COMPONENTS["vae"], tmp_path)
    assert main(["--list", "--dir", str(tmp_path)]) == 0
    header, *lines = table(capsys.readouterr().out)
    assert header == ["NAME", "REPOSITORY", "REVISION", "SIZE", "STATE"]
    assert [line[0] for line in lines] == [
        row.name for row in (*MODELS.values(), *LANGUAGE_MODELS.values(), *COMPONENTS.values())
    ]
    shown = {line[0]: line[1:] for line in reversed(lines)}
    assert shown["acestep-v15-turbo"] == ["ACE-Step/Ace-Step1.5/acestep-v15-turbo", "19671f40", "~4.79 GB", "absent"]
    assert shown["acestep-v15-base"][1] == "unpinned"
    assert shown["acestep-v15-turbo-rl"][-1] == "never published"
    assert shown["tiny"][-1] == "shipped"
    assert shown["vae"][-2:] == ["0.00 GB", "by hand"]


def test_an_unpinned_row_tells_the_commit_it_was_resolved_to(tmp_path: Path) -> None:
    row = LANGUAGE_MODELS["acestep-5Hz-lm-4B"]
    with serving() as hub:
        hub.add(row)
        done = download(hub, tmp_path, "--model", row.name)
        assert done.stdout.endswith(f"unpinned ({UNPINNED_COMMIT[:8]} here)\n"), done.stderr
        listed = download(hub, tmp_path, "--list")
    assert f"unpinned ({UNPINNED_COMMIT[:8]} here)" in listed.stdout


@pytest.mark.parametrize(
    ("arguments", "rows"),
    [
        ([], [*parts_of(TURBO), LANGUAGE_MODELS["acestep-5Hz-lm-1.7B"]]),
        (["--all"], list(published())),
        (["--model", XL.name, "--model", "acestep-5Hz-lm-4B"], [*parts_of(XL), LANGUAGE_MODELS["acestep-5Hz-lm-4B"]]),
        (["--model", TURBO.name, "--model", XL.name], [TURBO, *parts_of(XL)]),
    ],
    ids=["default", "all", "two", "shared once"],
)
def test_what_is_asked_for(
    arguments: list[str], rows: list[HubFolder], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments, "--dir", str(tmp_path)]) == 1  # offline, as all tests are
    needed = capsys.readouterr().err.partition(" needs: ")[2].strip().removesuffix(".")
    assert sorted(needed.split(", ")) == sorted(f"{row.folder} (absent)" for row in rows)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "says"), [("acestep-v16", "is unknown"), ("acestep-v15-turbo-rl", "never published")]
)
def test_names_that_do_not_exist(name: str, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--model", name, "--dir", str(tmp_path)]) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"acestep-download: model {name!r}")
    assert says in told
    assert told.count("\n") == 1


def test_arguments_that_exclude_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--all", "--list"])
    assert caught.value.code == 2
    assert "not allowed with" in capsys.readouterr().err


def test_the_weights_folder_can_come_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ACESTEP_WEIGHTS", str(tmp_path))
    copied_by_hand(COMPONENTS["vae"], tmp_path)
    assert main(["--model", "vae"]) == 0
    assert capsys.readouterr().out.startswith(f"{tmp_path}/vae  by hand")


def machine(device: str, gigabytes: float, capability: tuple[int, int] = (8, 0)) -> DeviceFacts:
    size = int(gigabytes * 1e9)
    return DeviceFacts(device, "test", size, size, capability if device == "cuda" else None)


@pytest.mark.parametrize(
    ("name", "device", "gigabytes", "verdict"),
    [
        ("acestep-v15-turbo", "cuda", 3.9, "no"),
        ("acestep-v15-turbo", "cuda", 4, "with offload"),
        ("acestep-v15-turbo", "cuda", 8, "yes"),
        ("acestep-v15-xl-turbo", "cuda", 11, "no"),
        ("acestep-v15-xl-turbo", "cuda", 16, "with offload"),
        ("acestep-v15-xl-turbo", "cuda", 24, "yes"),
        ("acestep-v15-turbo", "cpu", 24, "slow"),
        ("acestep-v15-turbo", "cpu", 12, "no"),
        ("tiny", "cpu", 0.5, "yes"),
    ],
)
def test_what_fits(name: str, device: str, gigabytes: float, verdict: str) -> None:
    assert fits(MODELS[name], machine(device, gigabytes)) == verdict


def test_a_gpu_that_computes_in_fp32_fits_half_as_much() -> None:
    assert fits(TURBO, machine("cuda", 8, (7, 5))) == "with offload"
    assert fits(TURBO, machine("cuda", 16, (7, 5))) == "yes"


def test_a_bigger_machine_never_fits_less() -> None:
    order = ["no", "with offload", "yes"]
    for row in published():
        verdicts = [order.index(fits(row, machine("cuda", size))) for size in range(1, 141)]
        assert verdicts == sorted(verdicts)
        assert verdicts[-1] == 2


def test_a_model_is_only_as_ready_as_what_it_shares(tmp_path: Path) -> None:
    def state() -> str:
        rows = {row.name: row for row in model_rows(machine("cpu", 24), [tmp_path / "none", tmp_path])}
        return rows[TURBO.name].state

    assert state() == "absent"
    copied_by_hand(TURBO, tmp_path)
    assert state() == "absent"
    for part in parts_of(TURBO)[1:]:
        copied_by_hand(part, tmp_path)
    assert state() == "by hand"


@pytest.mark.parametrize("facts", [machine("cpu", 24), *(machine("cuda", size) for size in (3, 5, 7, 24))], ids=str)
def test_auto_is_what_choose_says(facts: DeviceFacts, tmp_path: Path) -> None:
    rows = choice_rows(facts, [tmp_path])
    assert sorted(task for row in rows for task in row.tasks) == sorted(TASKS)
    for row in rows:
        assert row.reason
        assert row.here == (facts.kind == "cpu")
        if row.model:
            choices = [choose("auto", facts, task) for task in row.tasks]
            assert {choice.model.name for choice in choices} == {row.model}
            assert {choice.language_model.name if choice.language_model else "" for choice in choices} == {
                row.language_model
            }
            assert {choice.offload for choice in choices} == {row.offload}
        else:
            assert facts.memory < 4e9


def overview(*arguments: str) -> None:
    parser = argparse.ArgumentParser()
    models_cli.add_arguments(parser)
    models_cli.run(parser.parse_args(arguments))


def test_models_as_tables_and_as_facts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    overview("--device", "cpu", "--dir", str(tmp_path))
    text = capsys.readouterr().out
    overview("--device", "cpu", "--dir", str(tmp_path), "--json")
    facts = json.loads(capsys.readouterr().out)
    assert facts["machine"]["device"] == "cpu"
    assert facts["machine"]["memory"] > 1e9
    names = [row["name"] for row in facts["models"]]
    assert names == [row.name for row in (*MODELS.values(), *LANGUAGE_MODELS.values()) if row.released]
    shown = {line[0] for line in table(text) if line}
    assert {*names, *(row["model"] for row in facts["auto"])} <= shown


def test_json_answers_like_a_prediction(tmp_path: Path) -> None:
    row = COMPONENTS["vae"]
    with serving() as hub:
        hub.add(row)
        answer = json.loads(download(hub, tmp_path, "--model", "vae", "--json").stdout)
        assert (answer["status"], answer["error"]) == ("succeeded", None)
        [folder] = answer["output"]
        assert folder == {
            "name": "vae",
            "folder": str(tmp_path / "vae"),
            "state": "ready",
            "bytes": sum(path.stat().st_size for path in (tmp_path / "vae").iterdir() if path.suffix != ".json")
            + (tmp_path / "vae" / "config.json").stat().st_size,
            "commit": row.revision,
        }
        failed = download(hub, tmp_path, "--model", "nope", "--json")
    answer = json.loads(failed.stdout)
    assert (failed.returncode, answer["status"], answer["output"]) == (2, "failed", None)
    assert answer["error"].startswith("model 'nope' is unknown")


def test_a_terminal_sees_a_bar_per_file(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    with serving() as hub:
        hub.add(COMPONENTS["vae"])
        process = subprocess.Popen(
            command(tmp_path),
            env=environment(hub.endpoint, TERM="xterm", COLUMNS="120"),
            stdout=subprocess.DEVNULL,
            stderr=theirs,
        )
        os.close(theirs)
        seen = b""
        with contextlib.suppress(OSError):  # a terminal whose other end has gone
            while piece := os.read(ours, 1 << 16):
                seen += piece
        assert process.wait(30) == 0
    os.close(ours)
    assert b"diffusion_pytorch_model.safetensors" in seen
    assert b"3.0/3.0 MB" in seen
