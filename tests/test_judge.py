"""Whatever a caller puts into a field: a plain value of its type, or one sentence."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest

from acestep.checkpoints.registry import EMBEDDED_MODEL
from acestep.errors import InputError
from acestep.judge import plain
from acestep.params import GenerationConfig, GenerationParams
from acestep.request import Request

NONSENSE = [
    object(),
    math.nan,
    math.inf,
    10**400,
    [object()],
    {},
    True,
    None,
    b"x",
    "x",
    -1,
    np.int64(4),
    np.zeros(3),
]
FIELDS = [(kind, field.name) for kind in (GenerationParams, GenerationConfig) for field in dataclasses.fields(kind)]


@pytest.mark.parametrize(("kind", "name"), FIELDS)
def test_nonsense_is_refused_in_one_sentence_or_becomes_plain(kind: type, name: str) -> None:
    for value in NONSENSE:
        values = {
            GenerationParams: GenerationParams(caption="x", thinking=False),
            GenerationConfig: GenerationConfig(),
        }
        setattr(values[kind], name, value)
        try:
            Request.from_params(values[GenerationParams], values[GenerationConfig], EMBEDDED_MODEL)
        except InputError as error:
            assert "\n" not in str(error)
        else:
            json.dumps(dataclasses.asdict(plain(values[kind])))


def test_numpy_and_paths_become_plain() -> None:
    params = plain(GenerationParams(bpm=np.int64(90), duration=np.float32(12), reference_audio=Path("a.wav")))
    assert (params.bpm, params.duration, params.reference_audio) == (90, 12.0, "a.wav")
    assert [type(value) for value in (params.bpm, params.duration, params.reference_audio)] == [int, float, str]
    assert plain(GenerationParams(bpm=120.0)).bpm == 120
    assert plain(GenerationParams(timesteps=np.array([0.9, 0.5]))).timesteps == [0.9, 0.5]
    assert plain(GenerationConfig(seeds=np.array([1, 2]))).seeds == [1, 2]
    assert plain(GenerationConfig(seeds=np.int32(7))).seeds == 7


def test_text_is_what_will_be_read() -> None:
    assert plain(GenerationParams(lyrics="a\0b\r\nc")).lyrics == "ab\nc"
    with pytest.raises(InputError, match="caption holds half a character"):
        plain(GenerationParams(caption="a\ud800"))


def test_outputs_left_in_the_parameters_are_not_read() -> None:
    params = plain(GenerationParams(cot_bpm=99, cot_caption="old"))
    assert (params.cot_bpm, params.cot_caption) == (None, "")


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"bpm": "fast"}, "bpm must be a whole number, not 'fast'"),
        ({"bpm": 120.5}, "bpm must be a whole number, not 120.5"),
        ({"bpm": True}, "bpm must be a whole number, not True"),
        ({"duration": "long"}, "duration must be a number, not 'long'"),
        ({"guidance_scale": 10**400}, "guidance_scale is too large a number"),
        ({"mix": object()}, "mix must be True or False"),
        ({"reference_audio": 5}, "reference_audio must be the path of a file, not 5"),
        ({"timesteps": "0.9,0.5"}, "timesteps must be a list of numbers"),
        ({"timesteps": 0.5}, "timesteps must be a list of numbers"),
    ],
)
def test_wrong_types_are_named(fields: dict[str, object], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        plain(GenerationParams(**fields))
