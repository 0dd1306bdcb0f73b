"""How trained weights are measured: the measures on known signals, figures from known scores, files that grow."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from acestep.audio.io import read_audio
from acestep.cogrun.schema import PROJECT
from acestep.constants import LANGUAGES, SAMPLE_RATE
from acestep.errors import InputError, OutputError, WeightsError
from acestep.output.tags import SongTags
from acestep.training.card import _limits, card, write_card
from acestep.training.curves import draw_curve, limits, points
from acestep.training.demo_songs import BYTES_MAX, write_small
from acestep.training.drum_ear import hears_drums
from acestep.training.ears import Heard, key_score, longest_silence_s, tempo_agrees
from acestep.training.evaluate import chosen_rows, evaluate
from acestep.training.evaluate import main as run_evaluate
from acestep.training.evaluation import measures
from acestep.training.evaluation.observe import Observation
from acestep.training.evaluation.report import (
    NOT_ASKED,
    Figure,
    Ledger,
    figures_of,
    markdown,
    read_summary,
)
from acestep.training.evaluation.rows import ROWS, Question, Row
from acestep.training.evaluation.studio import check_folder, digest_of, held_out_song
from acestep.training.pictures import PAPER, WAVE_HEIGHT, picture_of, spectrogram, waveform
from acestep.training.render.bank import SETTING
from acestep.training.songs import HELD_OUT_SEED, record_of

from soundfont_support import write_soundfont

TINY = PROJECT / "weights" / "tiny"
QUICK = "vae,sound,planner"
SECONDS = 12


def tone(hertz: float, seconds: float = SECONDS, level: float = 0.2) -> np.ndarray:
    sine = level * np.sin(2 * np.pi * hertz * np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE)
    return np.stack([sine, sine]).astype(np.float32)


def clicks(bpm: float) -> np.ndarray:
    audio = np.zeros((2, SECONDS * SAMPLE_RATE), np.float32)
    burst = np.random.default_rng(0).normal(0, 0.3, 2000) * np.exp(-np.arange(2000) / 300)
    for start in range(0, audio.shape[1] - len(burst), round(60 / bpm * SAMPLE_RATE)):
        audio[:, start : start + len(burst)] += burst.astype(np.float32)
    return audio


def chords(*roots: int) -> np.ndarray:
    """Major triads, two seconds each, on these semitones above middle C."""
    triads = [sum(tone(261.63 * 2 ** ((root + step) / 12), 2.0) for step in (0, 4, 7)) for root in roots]
    return np.concatenate(triads, axis=1)


# --- measures on signals whose truth is known ---------------------------------------------------------------------


@pytest.mark.parametrize("factor", [0.5, 1.0, 2.0, 3.0])
def test_a_tempo_agrees_whatever_its_octave(factor: float) -> None:
    assert tempo_agrees(120 * factor * 1.03, 120)
    assert not tempo_agrees(120 * factor * 1.05, 120)


@pytest.mark.parametrize("heard", [80, 160, 180, 90])
def test_a_tempo_in_another_metre_does_not_agree(heard: float) -> None:
    assert not tempo_agrees(heard, 120)


def test_the_drum_ear_tells_drums_from_chords() -> None:
    rng = np.random.default_rng(0)
    beat = np.exp(-np.arange(SAMPLE_RATE // 2) / 1500)
    struck = 0.5 * np.tile(beat, 2 * SECONDS) * rng.standard_normal(SECONDS * SAMPLE_RATE)
    drums = np.stack([struck, struck]).astype(np.float32)
    music = chords(0, 5, 7, 0, 9, 5)
    assert not hears_drums(Heard.of(music))
    assert hears_drums(Heard.of(drums))
    assert hears_drums(Heard.of(0.5 * music + drums))


@pytest.mark.parametrize("bpm", [90, 128])
def test_both_ears_hear_the_tempo_of_clicks(bpm: int) -> None:
    heard = Heard.of(clicks(bpm))
    assert tempo_agrees(heard.tempo, bpm)
    assert tempo_agrees(measures.second_tempo(heard), bpm)


def test_the_key_of_a_cadence_is_heard() -> None:
    assert key_score(Heard.of(chords(0, 5, 7, 0)).key, "C major") == 1.0
    assert key_score(Heard.of(chords(3, 8, 10, 3)).key, "Eb major") == 1.0


def test_clipping_counts_samples_at_full_scale() -> None:
    audio = tone(100)
    assert measures.clipped_samples(audio) == 0
    audio[0, 5], audio[1, 7] = 1.0, -1.5
    assert measures.clipped_samples(audio) == 2


def test_silence_inside_is_found_and_at_the_ends_is_not() -> None:
    audio = tone(200)
    audio[:, 5 * SAMPLE_RATE : 7 * SAMPLE_RATE] = 0.0
    assert longest_silence_s(audio) == pytest.approx(2.0, abs=0.051)
    audio[:, : 7 * SAMPLE_RATE] = 0.0
    assert longest_silence_s(audio) == 0.0
    assert longest_silence_s(np.zeros_like(audio)) == SECONDS


def test_reconstruction_measures_noise_of_known_strength() -> None:
    wanted = np.random.default_rng(1).normal(0, 0.1, (2, SAMPLE_RATE)).astype(np.float32)
    noise = np.random.default_rng(2).normal(0, 0.1, wanted.shape).astype(np.float32)
    tenth = wanted + 10 ** (-10 / 20) * noise
    assert measures.reconstruction(tenth, wanted)["si_sdr"] == pytest.approx(10.0, abs=0.2)
    assert measures.reconstruction(wanted, wanted)["log_mel"] == 0.0
    mixture = wanted + noise
    assert measures.si_sdr_gain(tenth, wanted, mixture) == pytest.approx(10.0, abs=0.3)
    assert measures.si_sdr_gain(mixture, wanted, mixture) == 0.0


def test_chroma_tells_the_same_music_from_other_music() -> None:
    song, other = (measures.chroma_of(Heard.of(chords(*roots))) for roots in ((0, 5, 7, 0), (6, 1, 3, 6)))
    assert len(song) == 12
    assert len(song[0]) == 8 * measures.CHROMA_RATE
    assert measures.chroma_correlation(song, song) == pytest.approx(1.0)
    assert measures.chroma_correlation(song, other) < 0.5
    assert measures.chroma_correlation(song, np.ones((12, 16)).tolist()) == 0.0


def test_alignment_forgives_time_but_not_pitch() -> None:
    song, slower, other = (
        measures.chroma_of(Heard.of(chords(*roots))) for roots in ((0, 5, 7), (0, 0, 5, 5, 7, 7), (6, 11, 1))
    )
    assert measures.chroma_alignment(song, slower) > 0.95
    assert measures.chroma_alignment(song, slower) > measures.chroma_alignment(song, other) + 0.3
    assert measures.chroma_alignment(song, np.zeros((12, 4)).tolist()) > 0.0


def test_onsets_are_judged_by_the_nearest_step_of_the_grid() -> None:
    grid = measures.beat_grid([0.0, 1.0, 2.0], 2)
    assert grid == [0.0, 0.5, 1.0, 1.5, 2.0]
    assert measures.share_on_grid([0.04, 0.5, 1.2, 1.97], grid) == 0.75
    assert measures.share_on_grid([], grid) is None
    assert measures.share_on_grid([1.0], []) is None


# --- figures from scores ------------------------------------------------------------------------------------------


def even(asked: dict[str, object], heard: dict[str, object]) -> float | None:
    return None if heard["n"] is None else float(asked["n"] == heard["n"])


def seen(*pairs: tuple[int, int | None]) -> list[Observation]:
    return [Observation({"n": asked}, {"n": heard}, {"n": asked}) for asked, heard in pairs]


def only(question: Question, observations: list[Observation]) -> Figure:
    (figure,) = figures_of(Row("example", lambda studio, song: observations[0], (question,)), observations)
    return figure


def test_a_figure_has_mean_error_chance_and_the_ears_own_score() -> None:
    figure = only(Question("n", even, needed=0.7, aim=0.9), seen((1, 1), (2, 2), (3, 1), (1, None)))
    assert figure.value == pytest.approx(2 / 3)
    assert figure.error == pytest.approx(np.std([1, 1, 0], ddof=1) / np.sqrt(3))
    assert figure.songs == 3
    assert figure.ear == 1.0
    # heard 1 (first): asked 2, 3, 1; heard 2: 1, 3, 1; heard 1 (third): 1, 2, 1
    assert figure.chance == pytest.approx((1 + 0 + 2) / 9)
    assert figure.met is False


def test_less_is_better_where_a_question_says_so() -> None:
    question = Question("error", lambda asked, heard: heard["n"], "", needed=5.0, less=True, shuffled=False)
    assert only(question, seen((0, 4))).met is True
    assert only(question, seen((0, 6))).met is False
    assert only(question, seen((0, 4))).chance is None
    assert only(question, seen((0, 4))).error is None


def test_a_gain_has_to_be_beyond_its_own_error() -> None:
    question = Question("gain", lambda asked, heard: heard["n"], "", shuffled=False, beyond_error=True)
    figure = only(question, seen((0, 1), (0, 0), (0, 1)))
    assert figure.needed == figure.error == pytest.approx(1 / 3)
    assert figure.met is True
    assert only(question, seen((0, 1), (0, 0), (0, 0))).met is False, "as large as its error, no more"
    assert only(question, seen((0, 1))).met is None, "one song has no error"


def test_a_question_nobody_can_answer_has_no_figure() -> None:
    figure = only(Question("n", even, needed=0.5, aim=0.8), seen((1, None)))
    assert (figure.value, figure.needed, figure.aim) == (None, 0.5, 0.8)
    assert figure.note


def test_what_was_not_asked_is_listed_as_such() -> None:
    for row in chosen_rows(""):
        assert {figure.note for figure in figures_of(row, [])} == {NOT_ASKED}


def test_the_table_is_markdown() -> None:
    figures = [
        Figure("tempo", "tempo", "%", 0.7125, 0.05, 64, 0.3, 0.95, 0.7, 0.95, True),
        Figure("vae", "SI-SDR", "dB", 5.66, None, 1),
        Figure("lego", "drums", "%", note=NOT_ASKED, aim=0.85),
    ]
    lines = markdown(figures).splitlines()
    assert lines[2] == "| tempo | 71 ± 5 % | 30 % | 95 % | 70 % | 95 % | 64 |"
    assert lines[3] == "| SI-SDR | 5.7 dB |  |  |  |  | 1 |"
    assert lines[4] == f"| drums | {NOT_ASKED} |  |  |  | 85 % |  |"
    assert len({line.count("|") for line in lines}) == 1


# --- the file that grows ------------------------------------------------------------------------------------------


def test_the_ledger_goes_on_where_it_stopped(tmp_path: Path) -> None:
    path, row = tmp_path / "evaluation.json", ROWS[1]
    facts = {"bpm": 120.0, "second_bpm": 60.0, "drums": True, "key": "C major"}
    ledger = Ledger(path, "abc")
    ledger.add(row, 1, Observation(facts, facts, facts), 2.5)
    ledger.save()
    again = Ledger(path, "abc")
    assert again.missing(row, range(3)) == [0, 2]
    assert again.observations(row) == [Observation(facts, facts, facts)]
    assert read_summary(path).figures == ledger.figures()
    assert [figure.value for figure in read_summary(path).figures if figure.row == row.name] == [1.0, 1.0]
    again.forget(row)
    assert again.missing(row, range(3)) == [0, 1, 2]


def test_a_ledger_of_other_weights_is_refused(tmp_path: Path) -> None:
    Ledger(tmp_path / "one.json", "abc").save()
    with pytest.raises(InputError, match="other weights.*--again"):
        Ledger(tmp_path / "one.json", "def")


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"weights": "abc"}',
        '{"weights": "abc", "figures": [], "rows": {}}',
        '{"weights": "abc", "first_seed": 0, "figures": [{"colour": "red"}], "rows": {}}',
    ],
)
def test_a_file_that_is_no_evaluation_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "bad.json").write_text(text)
    with pytest.raises(InputError, match="evaluation"):
        read_summary(tmp_path / "bad.json")


def test_rows_are_chosen_by_name() -> None:
    assert [row.name for row in chosen_rows("key, vae")] == ["key", "vae"]
    with pytest.raises(InputError, match="only.*tempi"):
        chosen_rows("tempi")


@pytest.mark.parametrize("field", ["songs", "workers"])
def test_counts_are_positive(tmp_path: Path, field: str) -> None:
    counts = {"songs": 1, "workers": 1, field: 0}
    with pytest.raises(InputError, match=field):
        evaluate(TINY, tmp_path / "out.json", counts["songs"], chosen_rows("vae"), counts["workers"])


# --- songs and weights --------------------------------------------------------------------------------------------


def test_held_out_songs_share_nothing_with_training() -> None:
    songs = [held_out_song(number) for number in range(12)]
    assert all(song.seed >= HELD_OUT_SEED for song in songs)
    assert all(12.0 <= song.record.duration <= 20.0 for song in songs)
    assert all(song.caption not in record_of(song.score).captions for song in songs)
    assert all(song.record.language in LANGUAGES for song in songs)
    assert held_out_song(3) == songs[3]
    assert len({song.caption for song in songs}) == len(songs)


def test_only_a_whole_family_is_measured(tmp_path: Path) -> None:
    assert check_folder(TINY) == TINY.parent
    assert digest_of(TINY.parent) == digest_of(TINY.parent)
    with pytest.raises(WeightsError, match="name one"):
        check_folder(tmp_path)
    (tmp_path / "weights" / "tiny").mkdir(parents=True)
    with pytest.raises(WeightsError, match="lacks a part"):
        check_folder(tmp_path / "weights" / "tiny")


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A quick evaluation of the embedded weights on one song, made by the command."""
    root = tmp_path_factory.mktemp("evaluation")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(SETTING, str(write_soundfont(root / "tiny.sf2")))
        run_evaluate([str(TINY), "--songs", "1", "--only", QUICK, "--out", str(root / "evaluation.json")])
    return root / "evaluation.json"


def test_the_command_measures_what_it_is_asked(evaluation: Path) -> None:
    figures = read_summary(evaluation).figures
    measured = {figure.row for figure in figures if figure.value is not None}
    assert measured == set(QUICK.split(","))
    values = {figure.what: figure.value for figure in figures}
    assert values["as long as asked, to the sample"] == 1.0
    assert values["no sample clipped"] == 1.0
    assert values["plans that are valid"] == 1.0
    assert np.isfinite(values["autoencoder, SI-SDR"])
    assert evaluation.with_suffix(".md").read_text() == markdown(figures)


def test_what_is_measured_is_not_measured_again(evaluation: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = evaluation.read_bytes()
    monkeypatch.setenv(SETTING, str(evaluation.parent / "nowhere.sf2"))  # measuring anything would fail
    evaluate(TINY, evaluation, 1, chosen_rows(QUICK), 1)
    assert evaluation.read_bytes() == before
    with pytest.raises(WeightsError, match="nowhere"):
        evaluate(TINY, evaluation, 1, chosen_rows("vae"), 1, again=True)
    assert evaluation.read_bytes() == before


def test_more_songs_add_to_those_measured(evaluation: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    grown = tmp_path / "grown.json"
    grown.write_bytes(evaluation.read_bytes())
    monkeypatch.setenv(SETTING, str(evaluation.parent / "tiny.sf2"))
    evaluate(TINY, grown, 2, chosen_rows("vae"), 1)
    before, after = (json.loads(path.read_bytes())["rows"] for path in (evaluation, grown))
    first, second = str(HELD_OUT_SEED), str(HELD_OUT_SEED + 1)
    assert after["vae"]["songs"][first] == before["vae"]["songs"][first]
    assert set(after["vae"]["songs"]) == {first, second}
    assert after["sound"] == before["sound"]


# --- the card, curves, pictures, examples -------------------------------------------------------------------------


def test_the_card_says_how_it_was_made_and_how_good_it_is(evaluation: Path, tmp_path: Path) -> None:
    (tmp_path / "vae").mkdir()
    (tmp_path / "vae" / "curve.csv").write_text("step,run_seconds,loss\n25,3,1.5\n50,60,1.5\n1050,120,0.5\n")
    text = card(TINY, read_summary(evaluation), tmp_path, "It went on from another one.")
    assert "| autoencoder | 1,050 | 2 |" in text
    assert "\nIt went on from another one.\n" in text
    assert digest_of(TINY.parent) in text
    assert markdown(read_summary(evaluation).figures).rstrip() in text
    assert "MIT licence" in text
    assert f"{HELD_OUT_SEED:,}" in text
    for part in ("vae", "text_encoder", "lm"):
        assert f"tiny/{part}/" in text
    assert "The runs are not here." in card(TINY, read_summary(evaluation), tmp_path / "nowhere")


def test_minutes_of_several_calls_add_up(evaluation: Path, tmp_path: Path) -> None:
    (tmp_path / "lm").mkdir()
    (tmp_path / "lm" / "curve.csv").write_text("step,run_seconds,loss\n25,60,1\n50,120,1\n75,30,1\n100,60,1\n")
    assert "| planner | 100 | 3 |" in card(TINY, read_summary(evaluation), tmp_path)


def test_a_card_says_what_is_no_better_than_chance() -> None:
    good = Figure("a", "what it can", "", value=0.9, error=0.1, chance=0.6)
    blind = Figure("a", "what it cannot", "", value=0.9, error=0.1, chance=0.75)
    assert "standard errors: what it cannot." in _limits([good, blind, Figure("a", "not measured", "")])
    assert "chance" not in _limits([good])


def test_a_card_never_shows_figures_of_other_weights(tmp_path: Path) -> None:
    Ledger(tmp_path / "other.json", "abc").save()
    with pytest.raises(InputError, match="other weights"):
        write_card(TINY, tmp_path / "other.json", tmp_path)


def test_a_curve_is_drawn_beside_its_numbers(tmp_path: Path) -> None:
    path = tmp_path / "curve.csv"
    path.write_text(
        "step,run_seconds,loss,gradient\n" + "".join(f"{n},{n},{9 / n},{n % 5}\n" for n in range(25, 500, 25))
    )
    picture = draw_curve(path)
    pixels = np.asarray(Image.open(picture))
    assert picture == tmp_path / "curve.png"
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 3
    path.write_text("step,run_seconds,loss\n25,1,3.0\n")
    assert draw_curve(path).stat().st_size > 0


def test_a_curve_stays_in_its_box() -> None:
    values = np.array([5.0, 4.0, 1000.0, 3.0] * 50)
    low, high = limits(values)
    box = (10, 20, 110, 70)
    across, down = np.array(points(np.arange(200.0), values, box, low, high)).T
    assert across.min() == 10
    assert across.max() == 110
    assert down.min() >= 20
    assert down.max() <= 70
    assert limits(np.ones(5)) == (0.5, 1.5)


@pytest.mark.parametrize("text", ["", "step,loss\n", "loss\n1\n", "step,loss\n1\n"])
def test_a_file_that_is_no_curve_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "curve.csv").write_text(text)
    with pytest.raises(InputError, match="curve"):
        draw_curve(tmp_path / "curve.csv")


def test_a_picture_shows_where_the_sound_is() -> None:
    audio = np.concatenate([tone(440, 1.0), np.zeros((2, SAMPLE_RATE), np.float32)], axis=1)
    inked = (waveform(audio) != PAPER).any(-1).sum(0)
    assert inked[100:400].min() > 10 * inked[600:900].max()
    light = spectrogram(audio).astype(int).sum(-1)
    assert light[:, 100:400].max(0).min() > light[:, 600:900].max()
    low, high = (spectrogram(tone(hertz, 1.0)).astype(int).sum(-1)[:, 500].argmax() for hertz in (200, 8000))
    assert low > high  # low notes are at the bottom
    assert picture_of(audio).shape[0] > WAVE_HEIGHT
    assert picture_of(np.zeros((2, 100), np.float32)).dtype == np.uint8


def test_an_example_is_small_whole_and_says_what_it_is(tmp_path: Path) -> None:
    path = write_small(chords(0, 5, 7, 0), tmp_path / "song.ogg", SongTags("a cadence"))
    assert path.stat().st_size < BYTES_MAX
    assert read_audio(str(path), field="audio").samples.shape == (2, 8 * SAMPLE_RATE)
    assert SongTags().comment.encode() in path.read_bytes()
    noise = np.random.default_rng(0).uniform(-1, 1, (2, 40 * SAMPLE_RATE)).astype(np.float32)
    with pytest.raises(OutputError, match="bytes"):
        write_small(noise, tmp_path / "noise.ogg", SongTags())
    assert not (tmp_path / "noise.ogg").exists()
