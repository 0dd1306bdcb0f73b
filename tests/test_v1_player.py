"""Songs of the embedded v1 model: the same from the same seed, alone or in a batch, exactly as long as asked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import torch

from acestep.audio.resample import resample, resampled_length
from acestep.cogrun.schema import PROJECT
from acestep.constants import SAMPLE_RATE
from acestep.errors import CancelledError, UnsupportedError
from acestep.handler import AceStepHandler
from acestep.inference import GenerationConfig, GenerationParams, warm_up
from acestep.output.tags import read_recipe
from acestep.planner.plan import Plan
from acestep.playing import Rendering, new_songs
from acestep.request import Request
from acestep.v1.length import NATIVE_RATE, SAMPLES_PER_FRAME, drawn_duration, frames_covering
from acestep.v1.player import V1Player, frames_of, latents_in, v1_frames

from v1_road_support import NAME, QUICK, make, new_handler, sound, tiny_v1, warnings_of

CLOSE = 1e-4


@pytest.fixture(scope="module")
def handler() -> AceStepHandler:
    return tiny_v1()


@pytest.fixture(scope="module")
def song(handler: AceStepHandler) -> np.ndarray:
    """The song of ``QUICK``."""
    return sound(make(handler))


@pytest.fixture(scope="module")
def usual(handler: AceStepHandler) -> torch.Tensor:
    """What ``QUICK`` asks for, two seconds long, as the networks play it."""
    return brief(handler)[0]


def asked(handler: AceStepHandler, **said: object) -> Request:
    params = GenerationParams(**{**QUICK, **said})
    return Request.from_params(params, GenerationConfig(batch_size=1), handler.model)


def rendered(handler: AceStepHandler, plans: list[Plan], seeds: tuple[int, ...], **said: object) -> Rendering:
    request = replace(asked(handler, **said), seeds=seeds)
    return handler.renderer.play(request, new_songs(request, plans))


def brief(handler: AceStepHandler, seeds: tuple[int, ...] = (1,), **said: object) -> list[torch.Tensor]:
    """Two seconds of the songs of these seeds, as the networks play them: waveforms ``[2, S]``."""
    request = asked(handler, **said)
    plan = request.lasting(2.0).plan(0)
    request = replace(request, seeds=seeds)
    if request.variation is not None:
        request = replace(request, variation=replace(request.variation, seeds=request.variation.seeds * len(seeds)))
    songs = handler.renderer.play(request, new_songs(request, [plan] * len(seeds))).songs
    return [song.waveform for song in songs]


# --- Sameness -------------------------------------------------------------------------------------------------------


def test_the_same_seed_makes_the_same_song_to_the_bit(handler: AceStepHandler, song: np.ndarray) -> None:
    np.testing.assert_array_equal(sound(make(handler)), song)
    other = sound(make(handler, seed=2))
    assert np.abs(other - song).max() > 0.01


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"scheduler_type": "pingpong"},
        {"scheduler_type": "heun", "omega_scale": 20.0},
        {"variation_strength": 0.5},
    ],
    ids=["euler", "pingpong", "heun", "variation"],
)
def test_a_song_of_a_batch_is_the_song_made_alone(handler: AceStepHandler, said: dict[str, object]) -> None:
    said = {**said, "variation_seed": 7} if said.get("variation_strength") else said
    seeds = (1, 2, 3)
    for seed, together in zip(seeds, brief(handler, seeds, **said), strict=True):
        torch.testing.assert_close(together, brief(handler, (seed,), **said)[0], rtol=0, atol=CLOSE)


def test_so_it_is_in_the_files(handler: AceStepHandler, song: np.ndarray, tmp_path: Path) -> None:
    together = make(handler, tmp_path, batch_size=2)
    files = {read_recipe(audio["path"])["seeds"][0]: audio["path"] for audio in together.audios}
    assert list(files) == [1, 2]
    written, rate = sf.read(files[1])
    assert rate == SAMPLE_RATE
    np.testing.assert_allclose(written.T, song, rtol=0, atol=CLOSE)


@pytest.mark.parametrize(
    "said",
    [
        {"scheduler_type": "heun"},
        {"cfg_type": "cfg"},
        {"cfg_type": "cfg_star", "inference_steps": 4},
        {"guidance_scale": 1.0},
        {"guidance_scale_text": 5.0, "guidance_scale_lyric": 1.5},
        {"omega_scale": 20.0},
        {"use_erg_lyric": False, "use_erg_tag": False},
        {"use_erg_diffusion": False},
        {"oss_steps": [1, 3]},
        {"inference_steps": 3},
        {"caption": "slow jazz"},
        {"lyrics": "[verse]\ngoodbye moon"},
        {"instrumental": True},
        {"vocal_language": "de"},
        {"variation_strength": 0.3, "variation_seed": 5},
    ],
    ids=lambda said: ", ".join(f"{name} {value}" for name, value in said.items()),
)
def test_what_can_be_asked_for_can_be_heard(
    handler: AceStepHandler, usual: torch.Tensor, said: dict[str, object]
) -> None:
    assert (brief(handler, **said)[0] - usual).abs().max() > 1e-3
    assert not any(told.startswith(f"{name} has") for told in asked(handler, **said).warnings for name in said)


def test_a_variation_of_nothing_is_the_song_and_a_whole_one_is_the_other_song(
    handler: AceStepHandler, usual: torch.Tensor
) -> None:
    torch.testing.assert_close(brief(handler, variation_strength=0.0)[0], usual, rtol=0, atol=0)
    whole = brief(handler, variation_seed=9, variation_strength=1.0)[0]
    torch.testing.assert_close(whole, brief(handler, (9,))[0], rtol=0, atol=CLOSE)


def test_songs_of_other_words_or_lengths_are_played_apart_and_come_back_in_order(handler: AceStepHandler) -> None:
    base = asked(handler).plan(0)
    short = replace(base, metadata=replace(base.metadata, duration=2.0))
    long = replace(base, metadata=replace(base.metadata, duration=3.0))
    plans, seeds = [short, long, replace(short, caption="jazz"), long, short], (5, 6, 5, 7, 8)
    shares: list[float] = []
    request = replace(asked(handler), seeds=seeds)
    mixed = handler.renderer.play(request, new_songs(request, plans), lambda share, _: shares.append(share))
    assert [v1_frames(one.piece) for one in mixed.songs] == [22, 33, 22, 33, 22]
    assert shares == sorted(shares)
    for number, (plan, seed) in enumerate(zip(plans, seeds, strict=True)):
        alone = rendered(handler, [plan], (seed,)).songs[0]
        assert (mixed.songs[number].plan, mixed.songs[number].seed) == (plan, seed)
        torch.testing.assert_close(mixed.songs[number].waveform, alone.waveform, rtol=0, atol=CLOSE)
        torch.testing.assert_close(mixed.songs[number].latents, alone.latents, rtol=0, atol=CLOSE)


def test_latents_and_frames_are_two_layouts_of_the_same() -> None:
    latents = torch.randn(2, 8, 16, 5)
    assert frames_of(latents).shape == (2, 5, 128)
    assert torch.equal(latents_in(frames_of(latents)), latents)


# --- Length ---------------------------------------------------------------------------------------------------------


def test_frames_are_enough_for_every_length_at_both_rates_and_never_two_too_many() -> None:
    generator = np.random.default_rng(0)
    lengths = [10, 240, 30.0, *generator.uniform(10, 240, 3000), *(n / NATIVE_RATE for n in range(441_000, 449_000))]
    for seconds in lengths:
        frames = frames_covering(seconds)
        samples = frames * SAMPLES_PER_FRAME
        assert samples >= round(seconds * NATIVE_RATE)
        assert resampled_length(samples, NATIVE_RATE, SAMPLE_RATE) >= round(seconds * SAMPLE_RATE)
        assert (frames - 1) * SAMPLES_PER_FRAME <= seconds * NATIVE_RATE + 2


@pytest.mark.parametrize("seconds", [10.0001, 12.345_678])
@pytest.mark.parametrize("rate", [48_000, 44_100])
def test_a_song_is_as_long_as_asked_to_the_sample(
    handler: AceStepHandler, tmp_path: Path, seconds: float, rate: int
) -> None:
    result = make(handler, tmp_path, duration=seconds, sample_rate=rate, inference_steps=1)
    (file,) = tmp_path.iterdir()
    info = sf.info(file)
    assert (info.frames, info.samplerate, info.channels) == (round(seconds * rate), rate, 2)
    assert sound(result).shape == (2, info.frames)


def test_the_rate_of_the_networks_is_not_resampled(handler: AceStepHandler) -> None:
    native = rendered(handler, [asked(handler).plan(0)], (1,)).songs[0].waveform.numpy()
    assert np.abs(native).max() <= 1.0
    made = sound(make(handler, sample_rate=NATIVE_RATE, limit_true_peak=False))
    np.testing.assert_array_equal(made, native[:, : 10 * NATIVE_RATE])
    other = sound(make(handler, sample_rate=SAMPLE_RATE, limit_true_peak=False))
    np.testing.assert_array_equal(other, resample(native, NATIVE_RATE, SAMPLE_RATE)[:, : 10 * SAMPLE_RATE])


def test_a_length_nobody_said_is_that_of_the_seed(handler: AceStepHandler) -> None:
    seed = next(seed for seed in range(1000) if drawn_duration(seed) < 32)
    result = make(handler, seed=seed, duration=-1, inference_steps=1, guidance_scale=1.0)
    assert sound(result).shape[1] == round(drawn_duration(seed) * SAMPLE_RATE)
    assert result.audios[0]["params"]["duration"] == drawn_duration(seed)


# --- What the player tells, and what becomes of it when it is stopped -----------------------------------------------


def test_progress_rises_to_the_end_and_names_every_stage(handler: AceStepHandler) -> None:
    seen: list[tuple[float, str]] = []
    make(handler, batch_size=2, score=True, progress=lambda share, stage: seen.append((share, stage)))
    shares, stages = zip(*seen, strict=True)
    assert list(shares) == sorted(shares)
    assert (min(shares) >= 0, shares[-1], stages[-1]) == (True, 1.0, "finished")
    steps = [stage for stage in stages if stage.startswith("denoising")]
    assert steps == ["denoising step 1/2", "denoising step 2/2"]
    assert stages.index("conditioning") < stages.index(steps[0])
    for stage in ("decoding 1/2", "decoding 2/2", "judging"):
        assert stages.index(stage) > stages.index(steps[-1])


@pytest.mark.parametrize("stage", ["conditioning", "denoising step 1", "decoding 1"])
def test_a_song_that_is_stopped_leaves_nothing_and_the_next_is_as_always(
    handler: AceStepHandler, song: np.ndarray, tmp_path: Path, stage: str
) -> None:
    def stop(_: float, now: str) -> None:
        if now.startswith(stage):
            raise CancelledError("Enough.")

    with pytest.raises(CancelledError, match="Enough"):
        make(handler, tmp_path / "songs", stop)
    assert not any(path.is_file() for path in tmp_path.rglob("*"))
    assert handler.renderer.busy is False
    np.testing.assert_array_equal(sound(make(handler)), song)


def test_songs_are_judged_without_what_only_the_other_generation_can_tell(
    handler: AceStepHandler, tmp_path: Path
) -> None:
    result = make(handler, tmp_path, batch_size=2, score=True)
    assert sorted(result.ranking) == [0, 1]
    for audio in result.audios:
        assert audio["timed_lyrics"] == ()
        scores = audio["scores"]
        assert scores["overall"] is not None
        assert read_recipe(audio["path"])["scores"]["sound"] == scores["sound"]
    assert "planner" not in " ".join(warnings_of(result))


def test_there_are_no_semantic_codes(handler: AceStepHandler) -> None:
    with pytest.raises(UnsupportedError, match="tiny-v1 has no semantic codes"):
        handler.renderer.codes_of(torch.zeros(2, SAMPLE_RATE))
    assert handler.renderer.reader.codebook_size == 0


def test_what_is_given_back_beside_the_songs(handler: AceStepHandler) -> None:
    outputs = make(handler, batch_size=2).extra_outputs
    assert outputs["pred_latents"].shape == (2, frames_covering(10), 128)
    assert bool(outputs["latent_masks"].all())
    assert outputs["spans"][0][0] == "full"
    assert outputs["seed_value"] == "1, 2"
    assert outputs["time_costs"]["dit_total_time_cost"] > 0
    assert outputs["lm_metadata"] is None
    assert outputs["peak_memory"]


# --- Beside other models --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("weights_bytes", [0, 1 << 30], ids=["alone", "side by side"])
def test_out_of_the_shelf_and_back_it_plays_as_before(song: np.ndarray, weights_bytes: int) -> None:
    handler = new_handler(weights_bytes=weights_bytes)
    assert isinstance(handler.renderer, V1Player)
    for name in ("tiny", NAME):
        spec, reason = handler.choose(name, "text2music")
        handler.use(spec, reason)
        assert handler.model.name == name
        assert handler.loaded[-1] == name
        assert len(handler.loaded) == (2 if weights_bytes else 1)
        made = sound(make(handler))
        assert made.shape == song.shape
        assert np.array_equal(made, song) == (name == NAME)


def test_it_is_warmed_up_like_any_model(handler: AceStepHandler) -> None:
    assert warm_up(handler) > 0


def test_no_planner_goes_with_it(handler: AceStepHandler) -> None:
    assert handler.planner_for(handler.model) is None


def test_the_model_is_found_beside_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACESTEP_WEIGHTS", str(tmp_path / "nothing here"))
    handler = AceStepHandler()
    status, started = handler.initialize_service(str(tmp_path), NAME, "cpu")
    assert started
    assert status.startswith(
        "tiny-v1 (asked for by name, an embedded model for trying the road, not for music) on cpu"
    )
    assert (PROJECT / "weights" / "tiny-v1").is_dir()


def test_a_player_says_whether_it_is_at_work(handler: AceStepHandler) -> None:
    busy: list[bool] = []
    make(handler, progress=lambda _share, _stage: busy.append(handler.renderer.busy), inference_steps=1)
    assert busy[0] is True
    assert handler.renderer.busy is False
