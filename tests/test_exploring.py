"""Exploring: batches from new seeds, the best stay, what was begun goes on, what is stopped leaves no half song."""

from __future__ import annotations

import json
import logging
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from acestep.cli import main
from acestep.cogrun.schema import PROJECT
from acestep.constants import SEED_MAX
from acestep.errors import AceStepError, GenerationError, InputError, OutputError
from acestep.exploring.explore import Exploration, Make
from acestep.exploring.folder import SongFolder
from acestep.exploring.standing import FILE, Candidate, Standing, read_standing
from acestep.exploring.told import told_once
from acestep.inference import explore
from acestep.llm_inference import LLMHandler
from acestep.output.manifest_reader import read_credentials
from acestep.output.tags import read_recipe
from acestep.params import GenerationConfig, GenerationParams
from acestep.progress import Progress
from acestep.result import GenerationResult

from signing_support import identity

PARAMS = GenerationParams(caption="a march", seed=100)
CONFIG = GenerationConfig(batch_size=2)


def quality(seed: int) -> float | None:
    """Of the songs of ``made``: no order in it, and some have none."""
    return None if seed % 7 == 0 else seed * 37 % 101 / 101


def made(params: GenerationParams, config: GenerationConfig, folder: Path, progress: Progress) -> GenerationResult:
    """A batch of "songs" that hold their seed."""
    progress(0.5, "writing")
    audios = []
    for seed in config.seeds:
        path = folder / f"{seed:x}.flac"
        path.write_text(f"{params.caption} {seed}")
        scores = {"overall": quality(seed)}
        audios.append({"path": str(path), "params": {"seed": seed}, "track": "", "scores": scores})
    return GenerationResult(audios)


def telling_of(second: threading.Event) -> Make:
    """Makes songs, and tells when the second batch is begun."""

    def make(params: GenerationParams, config: GenerationConfig, folder: Path, progress: Progress):
        if config.seeds[0] == 102:
            second.set()
        return made(params, config, folder, progress)

    return make


def best(seeds: range, keep: int) -> list[int]:
    order = sorted(seeds, key=lambda seed: -1.0 if quality(seed) is None else quality(seed), reverse=True)
    return order[:keep]


def seeds_of(standing: Standing) -> list[int]:
    return [candidate.seed for candidate in standing.best]


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if not path.name.startswith(".")}


def test_the_best_of_all_batches_stay(tmp_path: Path) -> None:
    with Exploration(made, PARAMS, CONFIG, tmp_path / "ideas", keep=3, batches=5) as exploration:
        standings = list(exploration)
    assert [standing.made for standing in standings] == [2, 4, 6, 8, 10]
    for standing in standings:
        assert seeds_of(standing) == best(range(100, 100 + standing.made), 3)
    last = standings[-1]
    assert files(tmp_path / "ideas") == {FILE, *(candidate.file for candidate in last.best)}
    assert (tmp_path / "ideas" / last.best[0].file).read_text() == f"a march {last.best[0].seed}"
    assert exploration.standing == last


def test_it_goes_on_where_it_stopped(tmp_path: Path) -> None:
    with Exploration(made, PARAMS, CONFIG, tmp_path, keep=4, batches=3) as first:
        list(first)
    with Exploration(made, replace(PARAMS, seed=-1), CONFIG, tmp_path, keep=2, batches=2) as second:
        standings = list(second)
    assert [standing.made for standing in standings] == [8, 10]
    assert seeds_of(standings[-1]) == best(range(100, 110), 2)
    assert len(files(tmp_path)) == 3


def test_without_a_seed_every_folder_explores_something_new(tmp_path: Path) -> None:
    firsts = set()
    for name in "ab":
        with Exploration(made, replace(PARAMS, seed=-1), CONFIG, tmp_path / name, batches=1) as exploration:
            firsts.add(next(exploration).first_seed)
    assert len(firsts) == 2


def test_seeds_begin_again_behind_the_last() -> None:
    assert Standing("", SEED_MAX, made=0).next_seeds(3) == [SEED_MAX, 0, 1]


def test_the_next_batch_is_made_while_the_last_is_listened_to(tmp_path: Path) -> None:
    second = threading.Event()
    with Exploration(telling_of(second), PARAMS, CONFIG, tmp_path) as exploration:
        assert next(exploration).made == 2
        assert second.wait(10), "nobody asked for the second batch, and it is made all the same"


def test_a_slow_listener_is_waited_for(tmp_path: Path) -> None:
    counted: list[int] = []

    def counting(params: GenerationParams, config: GenerationConfig, folder: Path, progress: Progress):
        counted.append(config.seeds[0])
        return made(params, config, folder, progress)

    with Exploration(counting, PARAMS, CONFIG, tmp_path) as exploration:
        next(exploration)
        for _ in range(50):
            threading.Event().wait(0.01)
        assert len(counted) <= 3, "one batch waits, one is ready; a disk is not filled while nobody listens"


@pytest.mark.parametrize("moment", ["at once", "in a batch"])
def test_stopping_keeps_what_was_made_and_nothing_half(tmp_path: Path, moment: str) -> None:
    begun = threading.Event()

    def endless(params: GenerationParams, config: GenerationConfig, folder: Path, progress: Progress):
        if config.seeds[0] == 100:
            return made(params, config, folder, progress)
        (folder / "half.flac").write_text("half")
        begun.set()
        while True:
            progress(0.1, "denoising")
            threading.Event().wait(0.005)

    with Exploration(endless, PARAMS, CONFIG, tmp_path, keep=1) as exploration:
        standing = next(exploration)
        if moment == "in a batch":
            assert begun.wait(10)
    assert files(tmp_path) == {FILE, standing.best[0].file}
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".batch-")]
    assert read_standing(tmp_path) == standing
    assert list(exploration) == [], "what is stopped tells nothing more"


def test_what_goes_wrong_is_raised_where_somebody_waits(tmp_path: Path) -> None:
    def failing(params: GenerationParams, config: GenerationConfig, folder: Path, progress: Progress):
        if config.seeds[0] == 102:
            return GenerationResult.failed(GenerationError("The networks produced NaN."))
        return made(params, config, folder, progress)

    with Exploration(failing, PARAMS, CONFIG, tmp_path) as exploration:
        first = next(exploration)
        with pytest.raises(GenerationError, match="NaN"):
            next(exploration)
    assert read_standing(tmp_path) == first


def test_songs_without_a_score_come_last(tmp_path: Path) -> None:
    with Exploration(made, replace(PARAMS, seed=105), CONFIG, tmp_path, keep=2, batches=1) as exploration:
        assert seeds_of(next(exploration)) == [106, 105]
    standing = read_standing(tmp_path)
    assert standing is not None
    assert standing.best[1].overall is None


def test_a_song_that_somebody_took_away_is_forgotten(tmp_path: Path) -> None:
    with Exploration(made, PARAMS, CONFIG, tmp_path, keep=2, batches=1) as exploration:
        [standing] = list(exploration)
    (tmp_path / standing.best[0].file).unlink()
    found = read_standing(tmp_path)
    assert found is not None
    assert found.best == standing.best[1:]
    assert found.made == 2


@pytest.mark.parametrize(
    ("differs", "sentence"),
    [
        ({"keep": 0}, "keep must be a whole number from 1 to 100, not 0."),
        ({"keep": 101}, "keep must be a whole number from 1 to 100, not 101."),
        ({"keep": True}, "keep must be a whole number from 1 to 100, not True."),
        ({"batches": 0}, "batches must be a whole number from 1 on, or None, not 0."),
        ({"config": GenerationConfig(batch_size=9)}, "batch_size must be a whole number from 1 to 8, not 9."),
        ({"config": GenerationConfig(seeds=[1])}, "seeds does not go with an exploration"),
        ({"params": GenerationParams(seed=-2)}, "seed must be -1"),
        ({"params": GenerationParams(src_audio="nowhere.wav")}, "src_audio cannot be read: No such file"),
    ],
)
def test_bad_values_are_told_before_anything_is_made(tmp_path: Path, differs: dict, sentence: str) -> None:
    given = {"params": PARAMS, "config": CONFIG, "folder": tmp_path / "new", **differs}
    with pytest.raises(InputError, match=sentence.replace("(", r"\(")):
        Exploration(made, **given)
    assert not (tmp_path / "new" / FILE).exists()


@pytest.mark.parametrize(
    ("params", "same"),
    [
        (replace(PARAMS, caption="a waltz"), False),
        (replace(PARAMS, seed=101), False),
        (replace(PARAMS, bpm=120), False),
        (replace(PARAMS, seed=-1), True),
    ],
)
def test_a_folder_holds_one_exploration(tmp_path: Path, params: GenerationParams, same: bool) -> None:
    with Exploration(made, PARAMS, CONFIG, tmp_path, batches=1) as exploration:
        list(exploration)
    before = (tmp_path / FILE).read_text()
    if same:
        Exploration(made, params, CONFIG, tmp_path, batches=1).stop()
        return
    with pytest.raises(InputError, match="holds an exploration of something else"):
        Exploration(made, params, CONFIG, tmp_path)
    assert (tmp_path / FILE).read_text() == before


def test_two_at_once_do_not_mix(tmp_path: Path) -> None:
    with Exploration(made, PARAMS, CONFIG, tmp_path), pytest.raises(OutputError, match="another exploration"):
        Exploration(made, PARAMS, CONFIG, tmp_path)
    Exploration(made, PARAMS, CONFIG, tmp_path).stop()


def test_a_folder_that_takes_nothing_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write into the folder 'file'"):
        Exploration(made, PARAMS, CONFIG, tmp_path / "file")


CONTENT = {"schema": 1, "asked": "a", "first_seed": 1, "made": 2, "best": []}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "cannot be read as JSON"),
        ("[]", "is not what an exploration writes"),
        (json.dumps({**CONTENT, "schema": 2}), "has version 2; this program reads up to 1: update it"),
        (json.dumps({**CONTENT, "made": -1}), "is not what an exploration writes"),
        (json.dumps({**CONTENT, "made": None}), "is not what an exploration writes"),
        (
            json.dumps({**CONTENT, "best": [{"seed": 1, "file": "../x.flac", "overall": 1, "scores": {}}]}),
            "is not what an exploration writes",
        ),
        (json.dumps({**CONTENT, "best": [{"seed": 1}]}), "is not what an exploration writes"),
        (json.dumps({**CONTENT, "loose": ["../song-1.flac"]}), "is not what an exploration writes"),
        (json.dumps({**CONTENT, "loose": ["thesis.txt"]}), "is not what an exploration writes"),
        (json.dumps({**CONTENT, "loose": "song-1.flac"}), "is not what an exploration writes"),
        (json.dumps({**CONTENT, "loose": None}), "is not what an exploration writes"),
    ],
)
def test_a_garbled_standing_is_told_and_left_alone(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / FILE).write_text(text)
    with pytest.raises(InputError, match=sentence):
        Exploration(made, PARAMS, CONFIG, tmp_path)
    assert (tmp_path / FILE).read_text() == text


def test_a_standing_comes_back_as_it_was_written(tmp_path: Path) -> None:
    song = Candidate(7, "song-7.flac", 0.5, {"overall": 0.5, "sound": {"key": "C♯ minor"}})
    (tmp_path / song.file).write_text("")
    standing = Standing("digest", 7, 3, (song,))
    standing.write(tmp_path)
    assert read_standing(tmp_path) == standing


def test_real_songs_are_explored(tiny: Callable, tmp_path: Path) -> None:
    params = GenerationParams(caption="calm piano", duration=10, seed=3, thinking=False, inference_steps=1)
    with explore(tiny, None, params, GenerationConfig(batch_size=2), tmp_path, keep=1, batches=2) as exploration:
        *_, standing = exploration
    [song] = standing.best
    recipe = read_recipe(tmp_path / song.file)
    assert recipe["seeds"] == [song.seed]
    assert recipe["scores"] == {**song.scores, "lines": []}
    assert 3 <= song.seed <= 6


def test_what_a_request_says_is_said_at_once(tiny: Callable, tmp_path: Path) -> None:
    with pytest.raises(AceStepError, match="bpm must be"):
        explore(tiny, None, GenerationParams(caption="x", bpm=7, thinking=False), CONFIG, tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("seed", [100, 101])
def test_a_file_of_somebody_else_is_in_the_way_of_the_first_songs(tmp_path: Path, seed: int) -> None:
    foreign = tmp_path / f"song-{seed}.flac"
    foreign.write_text("recorded for years")
    with pytest.raises(InputError, match=f"holds a 'song-{seed}.flac' that this exploration did not make; move it"):
        Exploration(made, PARAMS, CONFIG, tmp_path)
    assert foreign.read_text() == "recorded for years"
    assert files(tmp_path) == {foreign.name}
    foreign.unlink()
    Exploration(made, PARAMS, CONFIG, tmp_path).stop()


def test_a_file_of_somebody_else_is_in_the_way_of_a_later_batch(tmp_path: Path) -> None:
    (tmp_path / "song-103.flac").symlink_to("nowhere")
    asked: list[int] = []

    def counting(params: GenerationParams, config: GenerationConfig, folder: Path, progress: Progress):
        asked.extend(config.seeds)
        return made(params, config, folder, progress)

    with Exploration(counting, PARAMS, CONFIG, tmp_path) as exploration:
        first = next(exploration)
        with pytest.raises(InputError, match="'song-103.flac' that this exploration did not make"):
            next(exploration)
    assert asked == [100, 101], "a batch that cannot be kept is not made"
    assert (tmp_path / "song-103.flac").is_symlink()
    assert read_standing(tmp_path) == first


def test_a_file_that_came_to_lie_there_during_a_batch_stays(tmp_path: Path) -> None:
    def slow(params: GenerationParams, config: GenerationConfig, folder: Path, progress: Progress):
        result = made(params, config, folder, progress)
        (tmp_path / "song-101-drums.flac").write_text("mine")
        return GenerationResult([{**audio, "track": "drums"} for audio in result.audios])

    with (
        Exploration(slow, PARAMS, CONFIG, tmp_path) as exploration,
        pytest.raises(InputError, match=r"'song-101-drums\.flac' that this exploration did not make"),
    ):
        next(exploration)
    assert (tmp_path / "song-101-drums.flac").read_text() == "mine"
    assert files(tmp_path) == {"song-101-drums.flac"}


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path[:0] = sys.argv[2:]
from test_exploring import CONFIG, PARAMS, made
from acestep.exploring.explore import Exploration, Make

def killed(params, config, folder, progress):
    result = made(params, config, folder, progress)
    if config.seeds[0] == 102:
        os.kill(os.getpid(), signal.SIGKILL)
    return result

with Exploration(killed, PARAMS, CONFIG, sys.argv[1]) as exploration:
    list(exploration)
"""


def test_what_a_kill_leaves_is_cleared_away(tmp_path: Path) -> None:
    command = [sys.executable, "-c", KILLED, str(tmp_path), str(PROJECT), str(PROJECT / "tests")]
    ended = subprocess.run(command, timeout=60, check=False, capture_output=True, text=True)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert len(list(tmp_path.glob(".batch-*/*.flac"))) == 2
    for name in (".batch-", ".batch-of-mine"):
        (tmp_path / name).mkdir()
    with Exploration(made, PARAMS, CONFIG, tmp_path, batches=1) as exploration:
        assert [standing.made for standing in exploration] == [4]
    assert {path.name for path in tmp_path.glob(".batch-*")} == {".batch-", ".batch-of-mine"}


@pytest.mark.parametrize("moment", ["before it is counted", "when it is dropped"])
def test_a_kill_between_two_steps_leaves_songs_that_are_still_ours(tmp_path: Path, moment: str) -> None:
    with Exploration(made, PARAMS, CONFIG, tmp_path, batches=2, keep=2) as exploration:
        *_, standing = exploration
    loose = "song-104.flac" if moment == "before it is counted" else "song-101.flac"
    assert loose not in standing.files
    (tmp_path / loose).write_text("ours")
    replace(standing, loose=(loose,)).write(tmp_path)
    with Exploration(made, PARAMS, CONFIG, tmp_path, batches=1, keep=3) as exploration:
        assert next(exploration).made == 6
    assert files(tmp_path) == {FILE, *exploration.standing.files}
    assert exploration.standing.loose == ()
    assert read_standing(tmp_path) == exploration.standing


def test_every_song_is_announced_before_it_comes_and_before_it_goes(tmp_path: Path) -> None:
    """Whatever of ours lies in the folder when a step fails, the standing there lists."""
    with SongFolder.locked(tmp_path / "ideas") as place, place.workbench() as bench:
        song = bench / "a.flac"
        song.write_text("a")
        first = Candidate(1, "song-1.flac", 0.5, {})
        gone = bench / "never made.flac"
        after = Standing("x", 1, 2, (first, Candidate(2, "song-2.flac", 0.4, {})))
        with pytest.raises(OutputError, match=r"cannot write 'song-2\.flac': No such file"):
            place.take(Standing("x", 1), after, {"song-1.flac": song, "song-2.flac": gone})
        found = read_standing(place.path)
        assert found == Standing("x", 1, loose=("song-1.flac", "song-2.flac"))
        assert (place.path / "song-1.flac").is_file()
        assert place.settle(found) == read_standing(place.path) == Standing("x", 1)
        assert files(place.path) == {FILE}


def test_a_song_that_cannot_be_removed_is_told(tmp_path: Path) -> None:
    with SongFolder.locked(tmp_path) as place:
        (tmp_path / "song-9.flac").mkdir()
        with pytest.raises(OutputError, match=r"^cannot remove 'song-9\.flac': .+\.$"):
            place.settle(Standing("x", 1, loose=("song-9.flac",)))


@pytest.mark.parametrize("what", ["deleted", "moved", "replaced"])
@pytest.mark.parametrize("made_again", [True, False])
def test_a_folder_that_goes_away_is_not_made_again(tmp_path: Path, what: str, made_again: bool) -> None:
    ideas, elsewhere = tmp_path / "ideas", tmp_path / "elsewhere"

    def rearranging(params: GenerationParams, config: GenerationConfig, folder: Path, progress: Progress):
        result = made(params, config, folder, progress)
        if config.seeds[0] != 102:
            return result
        shutil.rmtree(ideas) if what == "deleted" else ideas.rename(elsewhere)
        if what == "replaced":
            ideas.mkdir()
            (ideas / "letter.txt").write_text("Dear")
        if made_again:
            folder.mkdir(parents=True)
            return made(params, config, folder, progress)
        return result

    with Exploration(rearranging, PARAMS, CONFIG, ideas) as exploration:
        first = next(exploration)
        with pytest.raises(OutputError, match="^the folder 'ideas' was moved or deleted while it was explored.$"):
            next(exploration)
    assert (files(ideas) == {"letter.txt"}) if what == "replaced" else not ideas.exists()
    if what != "deleted":
        assert read_standing(elsewhere) == first


def test_a_folder_that_went_away_between_batches_is_told(tmp_path: Path) -> None:
    with SongFolder.locked(tmp_path / "ideas") as place:
        shutil.rmtree(tmp_path / "ideas")
        with (
            pytest.raises(OutputError, match="cannot write into the folder 'ideas': No such file"),
            place.workbench(),
        ):
            raise AssertionError("there is no place for a workbench")
        with pytest.raises(OutputError, match="was moved or deleted"):
            place.check(Standing("x", 1))
    assert not (tmp_path / "ideas").exists()


def test_a_song_that_goes_away_while_others_are_made_is_told(tmp_path: Path) -> None:
    def taking(params: GenerationParams, config: GenerationConfig, folder: Path, progress: Progress):
        if config.seeds[0] == 102:
            (tmp_path / "song-100.flac").unlink()
        return made(params, config, folder, progress)

    with Exploration(taking, PARAMS, CONFIG, tmp_path) as exploration:
        assert 100 in seeds_of(next(exploration))
        with pytest.raises(OutputError, match="^'song-100.flac' was taken away from .* goes on without it.$"):
            next(exploration)
    with Exploration(made, PARAMS, CONFIG, tmp_path, batches=1) as exploration:
        assert set(seeds_of(next(exploration))) == {101, 102, 103}


def test_stopping_knows_of_songs_that_nobody_asked_for(tmp_path: Path) -> None:
    second = threading.Event()
    with Exploration(telling_of(second), PARAMS, CONFIG, tmp_path) as exploration:
        assert second.wait(10)
    assert exploration.standing.made >= 2
    assert exploration.standing == read_standing(tmp_path)


def test_other_models_do_not_go_on(tmp_path: Path) -> None:
    Exploration(made, PARAMS, CONFIG, tmp_path, models=("tiny", None), batches=1).stop()
    with Exploration(made, PARAMS, CONFIG, tmp_path, models=("tiny", None), batches=1) as exploration:
        list(exploration)
    for models in (("tiny", "planner"), ("other", None), ()):
        with pytest.raises(InputError, match="holds an exploration of something else, or by other models; name"):
            Exploration(made, PARAMS, CONFIG, tmp_path, models=models)


def test_the_models_of_a_call_are_part_of_what_is_explored(
    tiny: Callable, tiny_base: Callable, planner: LLMHandler, tmp_path: Path
) -> None:
    params = GenerationParams(caption="calm piano", duration=10, seed=3, thinking=False, inference_steps=1)
    config = GenerationConfig(batch_size=1)
    with explore(tiny, LLMHandler(), params, config, tmp_path, batches=1) as exploration:
        list(exploration)
    for handlers in ((tiny_base, None), (tiny, planner)):
        with pytest.raises(InputError, match="or by other models"):
            explore(*handlers, params, config, tmp_path)
    explore(tiny, None, params, config, tmp_path).stop()


def test_what_every_batch_would_warn_of_is_told_once(
    tiny: Callable, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    params = GenerationParams(
        caption="calm piano", lyrics="[Verse]\nla la", duration=10, seed=3, thinking=False, inference_steps=1
    )
    params = replace(params, variation_seed=9)
    for begun in (1, 2):
        with explore(tiny, None, params, GenerationConfig(batch_size=1), tmp_path, batches=3) as exploration:
            assert len(list(exploration)) == 3
        told = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
        assert told.count("variation_seed has no effect: variation_strength is 0.") == begun
        assert {told.count(text) for text in told} == {begun}
    [song, *_] = exploration.standing.best
    assert any("variation_seed" in text for text in read_recipe(tmp_path / song.file)["warnings"])


def test_others_are_told_as_often_as_they_like(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("acestep.inference")
    caplog.set_level(logging.INFO, logger.name)
    with told_once(logger.name):
        for _ in range(2):
            logger.warning("%s %s", "twice", "warned")
            logger.info("noted")
            thread = threading.Thread(target=logger.warning, args=("elsewhere",))
            thread.start()
            thread.join()
    logger.warning("twice warned")
    assert sorted(caplog.messages) == ["elsewhere"] * 2 + ["noted"] * 2 + ["twice warned"] * 2


def test_the_command_warns_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    command = ["explore", "calm piano", "--duration", "10", "--steps", "1", "--lm", "none"]
    said = ["--batch-size", "1", "--batches", "2", "--temperature", "0.5", "-o", str(tmp_path / "ideas")]
    assert main([*command, *said]) == 0
    capsys.readouterr()
    told = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert sum("temperature" in text for text in told) == 1, told
    assert len(set(told)) == len(told)


def test_explored_songs_are_signed(tiny: Callable, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    singer = identity(tmp_path / "singer")
    certificate, key = map(str, singer.files)
    command = ["explore", "calm piano", "--duration", "10", "--steps", "1", "--lm", "none", "--batch-size", "1"]
    command += ["--batches", "1", "--sign-cert", certificate, "--sign-key", key, "-o", str(tmp_path / "ideas")]
    assert main(command) == 2
    assert capsys.readouterr().err.startswith("acestep: --format flac cannot be signed; choose one of:")
    assert not (tmp_path / "ideas").exists()
    assert main([*command, "--format", "wav"]) == 0
    [song] = (tmp_path / "ideas").glob("*.wav")
    found = read_credentials(song)
    assert found is not None
    assert (found["state"], found["signer"]) == ("valid", "A. Singer")
    params = GenerationParams(caption="calm piano", duration=10, thinking=False)
    with pytest.raises(InputError, match="audio_format flac cannot be signed"):
        explore(tiny, None, params, CONFIG, tmp_path / "other", credentials=singer.load())
    assert not (tmp_path / "other").exists()
