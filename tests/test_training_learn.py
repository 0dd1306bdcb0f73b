"""The loop, the losses and the starting point: what they promise, on networks of a few weights."""

from __future__ import annotations

import csv
import math
import os
import resource
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from acestep.constants import AUDIO_CHANNELS, SAMPLE_RATE
from acestep.errors import GenerationError, InputError, WeightsError
from acestep.models.oobleck import Oobleck
from acestep.models.vae_config import OobleckConfig
from acestep.training.learn.curve import CURVE, read_curve
from acestep.training.learn.lapped import lapped_basis, start_as_transform
from acestep.training.learn.losses import distortion, log_mel_distance, si_sdr, spectral_distance
from acestep.training.learn.trainer import CHECKPOINT, PREVIOUS, Budget, Settings, Trainer
from acestep.training.learn.weighing import channel_weights

SETTINGS = Settings(learning_rate=1e-2, warmup_steps=5, accumulate=2)
HEAD, ROW = "step,run_seconds,loss,twice,gradient", "1,1,1,1"
RUN = """
import sys, torch
from dataclasses import replace
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_training_learn import new_trainer
from acestep.training.learn.trainer import Budget
trainer = new_trainer(Path(sys.argv[1]), pause_s=0.02, checkpoint_s=0.1)
trainer.run(Budget(steps=1000))
"""


def regression_loss(network: nn.Module, step: int) -> tuple[Tensor, dict[str, float]]:
    x = torch.randn(16, 4)
    target = x.cumsum(1) + 0.1 * torch.randn(16, 4)
    loss = (network(x) - target).square().mean()
    return loss, {"twice": 2 * loss.item()}


def new_trainer(folder: Path, pause_s: float = 0.0, checkpoint_s: float = 1000.0, loss: object = None) -> Trainer:
    torch.manual_seed(3)
    network = nn.Sequential(nn.Linear(4, 8), nn.SiLU(), nn.Linear(8, 4))

    def paced(network: nn.Module, step: int) -> tuple[Tensor, dict[str, float]]:
        time.sleep(pause_s)
        return regression_loss(network, step)

    return Trainer(network, loss or paced, replace(SETTINGS, checkpoint_s=checkpoint_s), folder)


def weights(trainer: Trainer) -> list[Tensor]:
    return [*trainer.network.state_dict().values(), *trainer.averaged.values()]


def assert_equal(one: Trainer, other: Trainer) -> None:
    assert one.step == other.step
    assert all(torch.equal(a, b) for a, b in zip(weights(one), weights(other), strict=True))


# --- The loop -----------------------------------------------------------------------------------------------------


def test_it_learns_and_writes_a_curve(tmp_path: Path) -> None:
    trainer = new_trainer(tmp_path)
    trainer.run(Budget(steps=200))
    with (tmp_path / CURVE).open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == list(range(25, 201, 25))
    assert float(rows[-1]["loss"]) < 0.5 * float(rows[0]["loss"])
    assert float(rows[0]["twice"]) == pytest.approx(2 * float(rows[0]["loss"]), rel=1e-3)


def test_fifty_steps_twice_are_equal_and_equal_with_a_break(tmp_path: Path) -> None:
    once, twice = new_trainer(tmp_path / "once"), new_trainer(tmp_path / "twice")
    once.run(Budget(steps=50))
    twice.run(Budget(steps=50))
    assert_equal(once, twice)
    new_trainer(tmp_path / "broken").run(Budget(steps=20))
    resumed = new_trainer(tmp_path / "broken")
    assert resumed.step == 20
    resumed.run(Budget(steps=50))
    assert_equal(once, resumed)


@pytest.mark.parametrize(
    "torn",
    [
        "",
        "\n\n",
        HEAD[:9],
        HEAD,
        f"{HEAD}\n25,{ROW}\n50,1,0.",
        f"{HEAD}\n25,{ROW}\n50,{ROW[:-1]}",
        f"{HEAD}\n25,{ROW}\n{ROW}\n\ufffd,{ROW}\n",
        f"{HEAD}\n25,{ROW}\n75,{ROW}\n",
    ],
)
def test_a_curve_that_was_torn_or_runs_ahead_of_its_checkpoint_is_mended(tmp_path: Path, torn: str) -> None:
    new_trainer(tmp_path).run(Budget(steps=30))
    (tmp_path / CURVE).write_text(torn)
    new_trainer(tmp_path).run(Budget(steps=80))
    steps = read_curve(tmp_path / CURVE)["step"].tolist()
    assert steps == ([25, 50, 75] if "25" in torn else [50, 75])


@pytest.mark.parametrize("text", ["", "step,loss\n1,2\n", "step,run_seconds\n", "step,run_seconds\n1,\n"])
def test_what_is_no_curve_is_not_read_as_one(tmp_path: Path, text: str) -> None:
    (tmp_path / CURVE).write_text(text)
    with pytest.raises(InputError, match="is no training curve"):
        read_curve(tmp_path / CURVE)


def test_a_run_of_another_network_is_not_taken_up(tmp_path: Path) -> None:
    new_trainer(tmp_path).run(Budget(steps=1))
    with pytest.raises(WeightsError, match="holds a run of another network; name a new folder"):
        Trainer(nn.Linear(4, 4), regression_loss, SETTINGS, tmp_path)


def test_other_figures_begin_another_curve(tmp_path: Path) -> None:
    new_trainer(tmp_path).run(Budget(steps=30))
    new_trainer(tmp_path, loss=lambda network, step: (regression_loss(network, step)[0], {})).run(Budget(steps=60))
    curve = read_curve(tmp_path / CURVE)
    assert "twice" not in curve
    assert curve["step"].tolist() == [50]


def test_a_run_goes_on_as_its_settings_say(tmp_path: Path) -> None:
    new_trainer(tmp_path).run(Budget(steps=5))
    settings = replace(SETTINGS, learning_rate=0.0, weight_decay=0.5, betas=(0.8, 0.9))
    trainer = Trainer(nn.Sequential(nn.Linear(4, 8), nn.SiLU(), nn.Linear(8, 4)), regression_loss, settings, tmp_path)
    matrices, vectors = trainer._optimiser.param_groups
    assert (matrices["weight_decay"], vectors["weight_decay"]) == (0.5, 0.0)
    assert matrices["betas"] == vectors["betas"] == (0.8, 0.9)
    assert len(trainer._optimiser.state) == 4  # what is remembered of the gradients went on


def test_weights_that_are_not_finite_are_never_saved(tmp_path: Path) -> None:
    trainer = new_trainer(tmp_path)
    trainer.run(Budget(steps=5))
    before = (tmp_path / CHECKPOINT).read_bytes()
    with torch.no_grad():
        trainer.network[0].weight[0, 0] = torch.inf
    with pytest.raises(GenerationError, match=r"The network of step 5 is not finite; the last good checkpoint is"):
        trainer.save()
    assert (tmp_path / CHECKPOINT).read_bytes() == before


def test_kill_at_any_point_resumes_to_the_same_weights(tmp_path: Path) -> None:
    folder = tmp_path / "killed"
    here = str(Path(__file__).parent)
    for pause in (0.5, 0.9):
        process = subprocess.Popen([sys.executable, "-c", RUN, str(folder), here], stdout=subprocess.DEVNULL)
        while not (folder / CHECKPOINT).is_file():
            assert process.poll() is None
            time.sleep(0.02)
        time.sleep(pause)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    resumed = new_trainer(folder)
    assert resumed.step > 0
    goal = resumed.step + 10
    resumed.run(Budget(steps=goal))
    straight = new_trainer(tmp_path / "straight")
    straight.run(Budget(steps=goal))
    assert_equal(straight, resumed)


def test_a_full_disk_loses_no_earlier_checkpoint(tmp_path: Path) -> None:
    trainer = new_trainer(tmp_path)
    trainer.run(Budget(steps=5))
    before = (tmp_path / CHECKPOINT).read_bytes()
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limit[1]))
        with pytest.raises((OSError, RuntimeError)):
            trainer.save()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, handler)
    assert (tmp_path / CHECKPOINT).read_bytes() == before
    assert sorted(os.listdir(tmp_path)) == [CHECKPOINT]


def test_the_checkpoint_before_is_kept(tmp_path: Path) -> None:
    trainer = new_trainer(tmp_path)
    trainer.run(Budget(steps=3))
    first = (tmp_path / CHECKPOINT).read_bytes()
    trainer.run(Budget(steps=6))
    assert (tmp_path / PREVIOUS).read_bytes() == first
    assert (tmp_path / CHECKPOINT).read_bytes() != first


def test_a_loss_that_is_not_finite_stops_with_step_and_checkpoint(tmp_path: Path) -> None:
    def broken(network: nn.Module, step: int) -> tuple[Tensor, dict[str, float]]:
        loss, figures = regression_loss(network, step)
        return (loss * math.nan if step >= 14 else loss), figures

    trainer = new_trainer(tmp_path, loss=broken)
    trainer.run(Budget(steps=4))
    with pytest.raises(GenerationError, match=rf"loss of step 7 .*{CHECKPOINT}"):
        trainer.run(Budget(steps=20))
    assert new_trainer(tmp_path).step == 4


def test_the_averaged_weights_lag_behind(tmp_path: Path) -> None:
    trainer = new_trainer(tmp_path)
    start = [value.clone() for value in trainer.network.state_dict().values()]
    trainer.run(Budget(steps=30))
    for begin, now, mean in zip(start, trainer.network.state_dict().values(), trainer.averaged.values(), strict=True):
        assert (mean - now).norm() < (begin - now).norm()
        assert not torch.equal(mean, now)


# --- Losses -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def song() -> Tensor:
    generator = torch.Generator().manual_seed(0)
    time_s = torch.arange(SAMPLE_RATE) / SAMPLE_RATE
    tone = 0.3 * torch.sin(2 * math.pi * 220 * time_s)
    return (tone + 0.02 * torch.randn(2, AUDIO_CHANNELS, SAMPLE_RATE, generator=generator)).clamp(-1, 1)


def test_si_sdr_is_the_ratio_of_signal_to_added_noise(song: Tensor) -> None:
    noise = torch.randn_like(song)
    flat, wanted = noise.flatten(1), song.flatten(1)
    noise = (flat - (flat * wanted).sum(1, keepdim=True) / wanted.square().sum(1, keepdim=True) * wanted).view_as(
        song
    )
    noise = noise * (song.flatten(1).norm(dim=1) / noise.flatten(1).norm(dim=1))[:, None, None] * 10 ** (-6 / 20)
    assert torch.allclose(si_sdr(song + noise, song), torch.full((2,), 6.0), atol=0.01)
    assert torch.allclose(si_sdr(5 * (song + noise), song), torch.full((2,), 6.0), atol=0.01)
    assert distortion(song + noise, song) == pytest.approx(-0.6, abs=0.01)


def test_log_mel_distance_of_half_the_level_is_log_two(song: Tensor) -> None:
    assert torch.allclose(log_mel_distance(0.5 * song, song), torch.full((2,), math.log(2)), atol=0.02)
    assert log_mel_distance(song, song).max() == 0


def test_spectral_distance_is_zero_only_for_the_same_sound(song: Tensor) -> None:
    assert spectral_distance(song, song) == 0
    assert spectral_distance(song.roll(480, dims=2), song) < spectral_distance(torch.randn_like(song), song)
    assert torch.isfinite(
        torch.autograd.grad(spectral_distance(made := torch.zeros_like(song, requires_grad=True), song), made)[0]
    ).all()


# --- The starting point -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [4, 8, 40])
def test_the_lapped_basis_is_orthonormal_and_undone_by_its_transpose(size: int) -> None:
    basis = lapped_basis(size)[:, None]  # [size, 1, 2 size]
    signal_ = torch.randn(1, 1, 20 * size)
    spectrum = torch.nn.functional.conv1d(signal_, basis, stride=size, padding=size // 2)
    again = torch.nn.functional.conv_transpose1d(spectrum, basis, stride=size, padding=size // 2)
    inside = slice(size, -size)  # the first and last half window have no neighbour to cancel their aliases
    assert torch.allclose(again[..., inside], signal_[..., inside], atol=1e-5)


def test_the_untrained_autoencoder_passes_low_sounds_through() -> None:
    config = OobleckConfig(
        encoder_hidden_size=80,
        decoder_channels=80,
        channel_multiples=(2, 5),
        downsampling_ratios=(8, 6),
        outer_stride=40,
    )
    torch.manual_seed(0)
    vae = Oobleck(config)
    rng = np.random.default_rng(0)
    seconds, songs = 4, 4
    time_s = np.arange(seconds * SAMPLE_RATE) / SAMPLE_RATE
    frequencies, phases = rng.uniform(60, 500, (songs, 5, 1)), rng.uniform(0, 6, (songs, 5, 1))
    mono = 0.1 * np.sin(2 * np.pi * frequencies * time_s + phases).sum(1)
    sound = torch.from_numpy(mono.astype(np.float32))[:, None].repeat(1, AUDIO_CHANNELS, 1)
    start_as_transform(vae, sound)
    with torch.no_grad():
        latents = vae.encode(sound)
        made = vae.decode(latents)
    assert si_sdr(made, sound).min() > 8
    assert latents.isfinite().all()


def small_vae() -> Oobleck:
    """Begun as a transform coder, with two channels of envelope and four others."""
    torch.manual_seed(0)
    vae = Oobleck(OobleckConfig(80, (4, 6), (1, 2), 80, 6, outer_stride=40, envelope_channels=2)).requires_grad_(
        False
    )
    sound = torch.randn(4, AUDIO_CHANNELS, 100 * vae.config.hop)
    vae.envelope.fit(sound)
    start_as_transform(vae, sound)
    return vae


def test_what_latents_say_beside_the_envelope_is_linear() -> None:
    """So it stays the same to whatever learns from it, however long the decoder is trained."""
    vae = small_vae()
    one, other = torch.randn(2, 1, AUDIO_CHANNELS, 50 * vae.config.hop)
    apart = (vae.encode(one) - 3 * vae.encode(other))[..., 2:]
    error = vae.encode(one - 3 * other)[..., 2:] - apart
    assert error.std() < 0.02 * apart.std()


@pytest.mark.parametrize("power", [1, 2])
def test_channels_count_by_what_whitening_divided_them_by(power: int) -> None:
    vae = small_vae()
    before = channel_weights(vae, power, 0.7)
    assert before.mean() == pytest.approx(1.0)
    assert before[:2].sum() == pytest.approx(0.7 * 6), "the share of the envelope"
    vae.encoder.conv2.weight_g[3] *= 4.0
    vae.envelope.basis[:, 0] *= 2.0
    after = channel_weights(vae, power, 0.7)
    assert after[3] / after[4] == pytest.approx((before[3] / before[4]).item() / 4**power)
    assert after[0] / after[1] == pytest.approx((before[0] / before[1]).item() / 2**power)
    assert after.mean() == pytest.approx(1.0)
