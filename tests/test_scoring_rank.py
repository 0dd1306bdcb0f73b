"""The overall score, its JSON, the order of candidates, and the lines that show them."""

from __future__ import annotations

import json
import math
import random
from dataclasses import dataclass, replace
from typing import Any

import pytest

from acestep.scoring.alignment import Alignment
from acestep.scoring.likelihood import Likelihood
from acestep.scoring.rank import COLUMNS, Row, caption, overall_of, ranked, standing_table, table, together
from acestep.scoring.scores import WEIGHTS, Scores
from acestep.scoring.sound import Sound

SOUND = Sound(120.04, 1.0, "C# minor", 0.5, -14.123456, -1.0, 0.01, 0.3, 0.0)
UNASKED = replace(SOUND, tempo_agreement=None, key_agreement=None)
ALIGNMENT, LIKELIHOOD = Alignment(0.8, 0.9, 1.0, 0.95), Likelihood(0.7, 0.6, 0.9)
FULL = Scores(SOUND, ALIGNMENT, LIKELIHOOD)
WIDEST = 100


def scored(quality: float) -> Scores:
    """Scores whose overall is their quality."""
    return Scores(replace(UNASKED, spectral_outliers=0.3 * (1 - quality)))


def test_weights_are_shares_of_one() -> None:
    assert math.fsum(WEIGHTS.values()) == pytest.approx(1)
    assert all(weight > 0 for weight in WEIGHTS.values())


def test_overall_is_the_weighted_mean_of_all_parts() -> None:
    expected = {"lyrics": 0.8, "planner": LIKELIHOOD.reward, "quality": 1.0, "tempo": 1.0, "key": 0.5}
    assert FULL.parts == pytest.approx(expected)
    assert FULL.overall == pytest.approx(0.35 * 0.8 + 0.25 * 0.71 + 0.2 + 0.1 + 0.1 * 0.5)


@pytest.mark.parametrize(
    ("scores", "overall"),
    [
        (Scores(UNASKED), 1.0),
        (Scores(SOUND), (0.2 + 0.1 + 0.05) / 0.4),
        (Scores(UNASKED, ALIGNMENT), (0.35 * 0.8 + 0.2) / 0.55),
        (Scores(SOUND, None, LIKELIHOOD), (0.25 * 0.71 + 0.35) / 0.65),
        (Scores(UNASKED, None, Likelihood()), 1.0),
        (Scores(replace(SOUND, tempo_agreement=None)), (0.2 + 0.05) / 0.3),
    ],
    ids=["sound", "asked", "sung", "instrumental", "planner that knows nothing", "only the key"],
)
def test_parts_that_are_missing_do_not_count(scores: Scores, overall: float) -> None:
    assert scores.overall == pytest.approx(overall)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_part_that_is_no_number_is_left_out_and_written_as_none(bad: float) -> None:
    broken = Scores(replace(SOUND, tempo_agreement=bad), replace(ALIGNMENT, score=bad), LIKELIHOOD)
    assert set(broken.parts) == {"planner", "quality", "key"}
    assert 0 <= broken.overall <= 1
    written = json.loads(json.dumps(broken.to_dict(), allow_nan=False))
    assert written["alignment"]["score"] is None
    assert written["sound"]["tempo_agreement"] is None
    assert written["overall"] is not None


@pytest.mark.parametrize("name", ["loudness_lufs", "true_peak_dbtp", "longest_silence_s", "spectral_outliers"])
def test_nothing_valid_is_no_overall(name: str) -> None:
    hopeless = Scores(replace(UNASKED, **{name: math.nan}))
    assert hopeless.overall is None
    written = json.loads(json.dumps(hopeless.to_dict(), allow_nan=False))
    assert written["overall"] is written["sound"]["quality"] is written["sound"][name] is None
    assert ranked([hopeless, scored(0.0)]) == (1, 0)


def test_every_part_raises_the_overall() -> None:
    rng = random.Random(5)
    for _ in range(200):
        low, high = sorted(rng.random() for _ in range(2))
        base = Scores(replace(SOUND, tempo_agreement=rng.random(), key_agreement=rng.random()), ALIGNMENT, LIKELIHOOD)
        worse, better = (
            [
                replace(base, alignment=replace(ALIGNMENT, score=value)),
                replace(base, likelihood=Likelihood(value, value, value)),
                replace(base, sound=replace(base.sound, tempo_agreement=value)),
                replace(base, sound=replace(base.sound, key_agreement=value)),
                replace(base, sound=replace(base.sound, spectral_outliers=0.3 * (1 - value))),
            ]
            for value in (low, high)
        )
        assert all(0 <= b.overall <= g.overall <= 1 for b, g in zip(worse, better, strict=True))


def test_the_json_of_scores() -> None:
    written = FULL.to_dict()
    assert json.loads(json.dumps(written, allow_nan=False)) == written
    assert list(written) == ["overall", "parts", "alignment", "likelihood", "sound"]
    assert written["parts"] == {name: round(value, 4) for name, value in FULL.parts.items()}
    assert written["sound"]["is_track"] is False
    assert written["overall"] == round(FULL.overall, 4)
    assert written["alignment"] == {"score": 0.8, "coverage": 0.9, "monotonicity": 1.0, "confidence": 0.95}
    assert written["likelihood"] == {"caption": 0.7, "lyrics": 0.6, "metadata": 0.9, "reward": 0.71}
    assert written["sound"]["loudness_lufs"] == -14.1235
    assert written["sound"]["key"] == "C# minor"
    assert written["sound"]["quality"] == 1.0
    assert Scores(UNASKED).to_dict() | {"sound": None, "overall": None, "parts": None} == dict.fromkeys(written)


def test_numbers_of_silence_are_none() -> None:
    silent = Sound(None, None, None, None, -math.inf, -math.inf, 1.0, 12.0, 0.0)
    written = Scores(silent).to_dict()["sound"]
    assert written["loudness_lufs"] is written["true_peak_dbtp"] is written["tempo"] is written["key"] is None
    assert (written["silence_share"], written["quality"]) == (1.0, 0.0)


def test_best_first_then_the_lower_index_then_the_invalid() -> None:
    broken: dict[str, Any] = {"overall": None}
    given = [None, scored(0.2), scored(0.9), broken, scored(0.9), {"overall": 0.5}, {"overall": math.nan}, {}]
    assert ranked(given) == (2, 4, 5, 1, 0, 3, 6, 7)
    assert ranked([]) == ()
    assert ranked([None, None]) == (0, 1)


UNHEARD = Scores(SOUND, Alignment(0.9, 1.0, 1.0, 0.95), Likelihood())


def test_a_song_that_the_planner_could_not_hear_does_not_win_by_that() -> None:
    heard = replace(UNHEARD, likelihood=Likelihood(0.4, 0.4, 0.4))
    assert UNHEARD.overall > heard.overall
    for given in ([UNHEARD, heard], [UNHEARD.to_dict(), heard.to_dict()], [UNHEARD, heard.to_dict()]):
        assert ranked(given) == (1, 0)
    assert ranked([UNHEARD, replace(UNHEARD, sound=SOUND)]) == (0, 1), "what nobody has is missing nowhere"


def test_the_more_is_missing_the_later_and_the_invalid_is_last() -> None:
    without_words = replace(UNHEARD, alignment=None)
    broken = Scores(replace(UNASKED, spectral_outliers=math.nan))
    poor = Scores(
        replace(SOUND, tempo_agreement=0.0, key_agreement=0.0), Alignment(0.0, 0.0, 0.0, 0.0), Likelihood(0, 0, 0)
    )
    assert ranked([broken, without_words, UNHEARD, poor]) == (3, 2, 1, 0)


def test_scores_that_do_not_say_their_parts_lack_none() -> None:
    assert ranked([{"overall": 0.5}, FULL, UNHEARD, {"overall": 0.9}]) == (3, 1, 0, 2)


def test_tracks_together_are_a_song_with_the_parts_that_all_have() -> None:
    first, second = scored(0.2), Scores(SOUND)
    whole = together([first.to_dict(), second, None, {"overall": None}])
    assert whole["overall"] == pytest.approx((first.overall + second.overall) / 2, abs=1e-4)
    assert whole["parts"] == {"quality": pytest.approx(0.6)}
    assert together([{"overall": 0.25}, {"overall": 0.75}]) == {"overall": 0.5}
    assert together([None, {}]) == together([]) == {"overall": None}
    assert ranked([together([UNHEARD, UNHEARD]), together([FULL, FULL])]) == (1, 0)


def test_written_scores_rank_as_the_scores_themselves() -> None:
    rng = random.Random(1)
    scores = [scored(rng.randrange(100) / 100) for _ in range(50)]
    assert ranked(scores) == ranked([one.to_dict() for one in scores])
    order = [overall_of(scores[index]) for index in ranked(scores)]
    assert order == sorted(order, reverse=True)


def test_the_table() -> None:
    rows = [Row("0", 42, None), Row("1", 7, scored(0.5)), Row("2", 4294967295, FULL), Row("3", 9, FULL.to_dict())]
    head, *lines = table(rows).splitlines()
    assert head.split() == list(COLUMNS)
    assert [line.split()[:2] for line in lines] == [["2", "4294967295"], ["3", "9"], ["1", "7"], ["0", "42"]]
    assert lines[0].split()[2:] == ["0.807", "0.80", "0.71", "120.0", "1.00", "C#", "minor", "0.50", "-14.1", "-1.0"]
    assert lines[2].split()[2:] == ["0.500", "-", "-", "120.0", "C#", "minor", "-14.1", "-1.0"]
    assert lines[3].split()[2:] == ["-"] * 7


def test_the_table_is_aligned_and_narrow() -> None:
    widest = replace(SOUND, tempo=219.96, key="G# minor", tempo_agreement=1.0, key_agreement=1.0, loudness_lufs=-70.0)
    rows = [Row("8 backing_vocals", 2**32 - 1, Scores(replace(widest, true_peak_dbtp=-70.0), ALIGNMENT, LIKELIHOOD)),
            Row("1", 1, None)]  # fmt: skip
    lines = table(rows).splitlines()
    assert {len(line) for line in lines} == {len(lines[0])}
    assert len(lines[0]) <= WIDEST
    assert all(line[0] != " " for line in lines), "logs may lose the space before a line"
    ends = [lines[0].index(name) + len(name) for name in COLUMNS[1:]]
    assert all(line[end : end + 1] in ("", " ") and line[end - 1] != " " for line in lines for end in ends)


def test_a_table_of_none_is_its_head() -> None:
    assert table([]).split() == list(COLUMNS)


def test_a_standing_has_places_for_names() -> None:
    @dataclass(frozen=True)
    class Candidate:
        seed: int
        scores: dict[str, Any]

    kept = [
        Candidate(5, scored(0.75).to_dict()),
        Candidate(3, scored(0.75).to_dict()),
        Candidate(9, {"overall": None}),
    ]
    lines = standing_table(kept).splitlines()[1:]
    assert [line.split()[:3] for line in lines] == [["1", "5", "0.750"], ["2", "3", "0.750"], ["3", "9", "-"]]


def test_captions_tell_what_there_is() -> None:
    text = caption(1, Row("3", 42, FULL))
    assert text.split("   ") == [
        "#1", "song 3", "seed 42", "overall 0.807", "lyrics 0.80", "planner 0.71", "120.0 BPM (1.00)",
        "C# minor (0.50)", "-14.1 LUFS", "-1.0 dBTP",
    ]  # fmt: skip
    assert caption(2, Row("0", 7, None)) == "#2   song 0   seed 7"
    assert "120.0 BPM   C# minor   " in caption(1, Row("0", 7, scored(0.5)))
    assert "-0.0" not in caption(1, Row("0", 7, Scores(replace(SOUND, true_peak_dbtp=-0.04))))
