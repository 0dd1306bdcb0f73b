"""The planner through the doors: ``generate_music`` with files and recipes, and the real Cog server."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import soundfile as sf
import torch

from acestep.cogrun.schema import PROJECT
from acestep.errors import CancelledError, InputError
from acestep.handler import AceStepHandler
from acestep.inference import GenerationConfig, GenerationParams, GenerationResult, generate_music
from acestep.llm_inference import LLMHandler
from acestep.output.tags import read_recipe
from acestep.planner.plan import codes_text

from cog_server import CogServer, WebhookSink, decoded, recipe_of
from terse_planner import planned, terse_weights

USUAL = {"caption": "calm piano", "duration": 10, "seed": 1, "use_cot_caption": False}
ONE = GenerationConfig(batch_size=1)


def play(
    dit: AceStepHandler,
    planner: LLMHandler,
    folder: Path | None = None,
    config: GenerationConfig = ONE,
    **fields: object,
) -> GenerationResult:
    result = generate_music(dit, planner, GenerationParams(**{**USUAL, **fields}), config, folder)
    result.check()
    return result


def test_the_plan_is_played_reported_and_written_down(
    tiny: AceStepHandler, planner: LLMHandler, tmp_path: Path
) -> None:
    fixed = {"bpm": 77, "keyscale": "am", "duration": 11.117, "lyrics": "[Verse]\nla"}
    result = play(tiny, planner, tmp_path, **fixed)
    made = planned(planner, **fixed)
    [plan], [chain], [audio] = made.plans, made.chains, result.audios
    assert audio["tensor"].shape == (2, round(11.117 * 48_000))
    params, extra = audio["params"], result.extra_outputs
    assert params["audio_codes"] == codes_text(plan.audio_codes)
    assert (params["bpm"], params["keyscale"], params["duration"]) == (77, "A minor", 11.117)
    assert params["vocal_language"] == params["cot_vocal_language"] == chain.language
    assert params["timesignature"] == params["cot_timesignature"] == chain.timesignature
    assert (params["cot_bpm"], params["cot_keyscale"], params["cot_duration"]) == (None, "", None)
    assert (params["cot_caption"], params["cot_lyrics"]) == ("", "")
    assert extra["lm_metadata"] == extra["lm_metadatas"][0] == chain.decided()
    assert extra["lm_metadata"]["bpm"] == 77
    costs = extra["time_costs"]
    assert costs["lm_total_time"] == pytest.approx(costs["lm_phase1_time"] + costs["lm_phase2_time"])
    assert min(costs["lm_phase1_time"], costs["lm_phase2_time"]) > 0
    recipe = read_recipe(audio["path"])
    assert recipe["plan"] == json.loads(plan.to_json())
    assert recipe["models"]["lm"]["name"] == "tiny"
    assert recipe["parameters"]["instruction"].startswith("Generate audio semantic tokens")


def test_the_planners_caption_is_played_and_the_users_stays(
    tiny: AceStepHandler, terse: LLMHandler, tmp_path: Path
) -> None:
    result = play(tiny, terse, tmp_path, use_cot_caption=True)
    [audio] = result.audios
    recipe = read_recipe(audio["path"])
    rewritten = result.extra_outputs["lm_metadata"]["caption"]
    assert audio["params"]["caption"] == recipe["parameters"]["caption"] == "calm piano"
    assert audio["params"]["cot_caption"] == recipe["plan"]["caption"] == rewritten


def test_songs_of_a_batch_have_plans_of_their_own(tiny: AceStepHandler, planner: LLMHandler) -> None:
    result = play(tiny, planner, config=GenerationConfig(batch_size=2, allow_lm_batch=True))
    alone = play(tiny, planner, seed=2)
    metadatas = result.extra_outputs["lm_metadatas"]
    assert metadatas[0] != metadatas[1] == alone.extra_outputs["lm_metadata"]
    assert result.audios[1]["params"]["audio_codes"] == alone.audios[0]["params"]["audio_codes"]
    torch.testing.assert_close(result.extra_outputs["latents"][1:], alone.extra_outputs["latents"], atol=1e-4, rtol=0)


def test_a_retake_plays_the_same_codes_anew(tiny: AceStepHandler, planner: LLMHandler, tmp_path: Path) -> None:
    first = play(tiny, planner, tmp_path / "first").audios[0]
    codes = first["params"]["audio_codes"]
    retake = play(tiny, planner, tmp_path / "second", audio_codes=codes, seed=9).audios[0]
    recipes = [read_recipe(audio["path"]) for audio in (first, retake)]
    assert recipes[0]["plan"]["audio_codes"] == recipes[1]["plan"]["audio_codes"]
    assert not torch.allclose(first["tensor"], retake["tensor"], atol=1e-2)


def test_two_songs_are_mixed_by_their_codes(tiny: AceStepHandler, planner: LLMHandler) -> None:
    codes = [planned(planner, seed=seed).plans[0].audio_codes for seed in (1, 2)]
    mixed = play(tiny, planner, audio_codes="".join(map(codes_text, codes)), duration=-1, thinking=False)
    assert mixed.audios[0]["tensor"].shape == (2, 20 * 48_000)


def test_a_wish_becomes_a_song(tiny: AceStepHandler, terse: LLMHandler) -> None:
    result = play(tiny, terse, caption="", simple_query="a soft love song", bpm=66)
    params = result.audios[0]["params"]
    assert (params["caption"], params["bpm"]) == ("", 66)
    assert params["cot_caption"] == result.extra_outputs["lm_metadata"]["caption"] != ""
    assert (params["lyrics"], bool(params["cot_lyrics"])) == ("", True)


def test_nul_characters_vanish_and_control_tokens_stay(
    tiny: AceStepHandler, planner: LLMHandler, tmp_path: Path
) -> None:
    typed = {"caption": "calm\0 <|im_end|> </think>", "lyrics": "[Verse]\n<|im_end|>\0la </think>"}
    recipe = read_recipe(play(tiny, planner, tmp_path, **typed).audios[0]["path"])
    for place in (recipe["plan"], recipe["parameters"]):
        assert (place["caption"], place["lyrics"]) == tuple(text.replace("\0", "") for text in typed.values())
    assert len(recipe["plan"]["audio_codes"]) == 50


def test_progress_rises_to_the_end(tiny: AceStepHandler, planner: LLMHandler) -> None:
    told: list[tuple[float, str]] = []
    generate_music(tiny, planner, GenerationParams(**USUAL), ONE, None, lambda *step: told.append(step)).check()
    shares = [share for share, _ in told]
    assert shares == sorted(shares)
    assert (told[0], told[-1]) == ((0.0, "thinking"), (1.0, "finished"))
    planning = [share for share, stage in told if stage.startswith("planning code")]
    assert planning[-1] == pytest.approx(0.4)


@pytest.mark.parametrize("stage", ["thinking", "planning code"])
def test_stopping_while_planning_leaves_nothing(
    tiny: AceStepHandler, planner: LLMHandler, tmp_path: Path, stage: str
) -> None:
    def stop(_: float, now: str) -> None:
        if now.startswith(stage):
            raise CancelledError("enough")

    result = generate_music(tiny, planner, GenerationParams(**USUAL), ONE, tmp_path / "out", stop)
    assert result.error == "enough"
    assert list(tmp_path.iterdir()) == []


BAD = (
    ({"lm_temperature": -0.5}, "lm_temperature must be a number from 0 to 2, not -0.5."),
    ({"lm_top_p": 0.0}, "lm_top_p must be a number from 0.01 to 1, not 0"),
    ({"lm_cfg_scale": 0.5}, "lm_cfg_scale must be a number from 1 to 10, not 0.5."),
    ({"vocal_language": "xx"}, "vocal_language 'xx' is unknown"),
    ({"audio_codes": "codes"}, "audio_codes holds 'codes'; write only <|audio_code_N|> tokens."),
    (
        {"audio_codes": codes_text([0] * 50 + [4096])},
        "audio_codes holds code 4096, but this model's codes are 0 to 4095.",
    ),
    (
        {"audio_codes": codes_text([0] * 49)},
        "Invalid audio duration: audio_codes must be 10 to 600 seconds, not 9.8.",
    ),
    ({"caption": "", "simple_query": " "}, "caption and lyrics are both empty"),
    ({"simple_query": "a song"}, "caption does not go with simple_query 'a song', which writes it"),
    (
        {"lyrics": "雨" * 4096},
        "Tokenization error: lyrics makes a prompt of 12299 tokens, the model reads at most 2048",
    ),
)


@pytest.mark.parametrize(("fields", "sentence"), BAD, ids=lambda value: str(value)[:40])
def test_bad_input_is_one_sentence(
    tiny: AceStepHandler, planner: LLMHandler, tmp_path: Path, fields: dict[str, object], sentence: str
) -> None:
    params = GenerationParams(**{**USUAL, "duration": -1, **fields})
    result = generate_music(tiny, planner, params, ONE, tmp_path / "out")
    assert not result.success
    assert result.error.startswith(sentence)
    assert "\n" not in result.error
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CogServer]:
    """Nothing is said about the planner; the embedded one is terse."""
    weights = terse_weights(tmp_path_factory.mktemp("weights"))
    settings = {"ACESTEP_MODEL": "tiny", "ACESTEP_WEIGHTS": str(weights), "OMP_NUM_THREADS": "1"}
    with CogServer(PROJECT, settings) as running:
        yield running


def test_setup_says_which_planner_it_loaded(server: CogServer) -> None:
    assert "Loaded planner tiny on cpu, float32 by native" in server.printed


def test_a_prediction_is_planned_by_default(server: CogServer, tmp_path: Path) -> None:
    answer = server.predict({"prompt": "calm piano", "audio_duration": 10, "seed": 3, "bpm": 77})
    recipe = recipe_of(answer, tmp_path)
    assert recipe["models"]["lm"]["name"] == "tiny"
    assert len(recipe["plan"]["audio_codes"]) == 50
    assert recipe["plan"]["caption"] != recipe["parameters"]["caption"] == "calm piano"
    lines = re.findall(r"^plan 1: (\w+): (.*)$", answer["logs"], flags=re.MULTILINE)
    assert [name for name, _ in lines] == ["bpm", "caption", "duration", "keyscale", "language", "timesignature"]
    assert dict(lines)["bpm"] == "77"
    assert dict(lines)["keyscale"] == recipe["plan"]["metadata"]["keyscale"]
    assert answer["metrics"]["timing"]["lm_phase1_time"] > 0
    assert "planning code 50/50" in answer["logs"]


@pytest.mark.parametrize("change", [{"lm_model": "none"}, {"thinking": False}], ids=str)
def test_without_a_planner_words_are_played_as_they_are(
    server: CogServer, tmp_path: Path, change: dict[str, object]
) -> None:
    answer = server.predict({"prompt": "calm piano", "audio_duration": 10, **change})
    recipe = recipe_of(answer, tmp_path)
    assert (recipe["models"]["lm"], recipe["plan"]["audio_codes"]) == (None, [])
    assert recipe["plan"]["caption"] == "calm piano"
    assert "plan 1:" not in answer["logs"]


def test_a_simple_query(server: CogServer, tmp_path: Path) -> None:
    wish = {"simple_query": "a soft love song", "audio_duration": 10, "vocal_language": "bn", "seed": 4}
    recipe = recipe_of(server.predict(wish), tmp_path)
    assert recipe["parameters"]["simple_query"] == "a soft love song"
    assert recipe["plan"]["metadata"]["language"] == "bn"
    assert recipe["plan"]["caption"]
    assert recipe["plan"]["lyrics"]


def test_the_same_seed_is_the_same_song(server: CogServer) -> None:
    request = {"prompt": "x", "audio_duration": 10, "seed": 8}
    first, second = (sf.read(io.BytesIO(decoded(server.predict(request)["output"])))[0] for _ in range(2))
    assert (first == second).all()


def test_the_plan_is_in_the_log_before_the_song_is_made(server: CogServer) -> None:
    with WebhookSink() as sink:
        server.predict_async({"prompt": "x", "audio_duration": 40, "use_cot_caption": False}, sink.url)
        sink.wait_for(lambda event: "plan 1: bpm" in event.get("logs", "") and event["status"] == "processing", 60)
        logs = sink.wait_terminal(120)["logs"]
    places = [logs.index(text) for text in ("plan 1: bpm", "planning code 200/200", "denoising step 1/8")]
    assert places == sorted(places)


SCHEMA = ("lm_temperature", "lm_top_p", "lm_cfg_scale", "vocal_language")


@pytest.mark.parametrize(("fields", "sentence"), BAD, ids=lambda value: str(value)[:40])
def test_bad_input_fails_at_the_server_too(server: CogServer, fields: dict[str, object], sentence: str) -> None:
    inputs = {"prompt": "calm piano", "audio_duration": -1, **fields}
    if "caption" in inputs:
        inputs["prompt"] = inputs.pop("caption")
    if set(fields) & set(SCHEMA):
        with pytest.raises(InputError):
            server.predict(inputs)
        return
    answer = server.predict(inputs)
    assert answer["status"] == "failed"
    assert sentence.replace("caption", "prompt") in answer["error"]
    assert "Traceback" not in answer["error"]


def test_after_bad_input_the_server_plans_on(server: CogServer) -> None:
    assert server.predict({"prompt": "x", "audio_duration": 10, "seed": 1})["status"] == "succeeded"
