"""Chunked decoding and encoding: equal to the whole, cancellable, independent of padding and neighbours."""

from __future__ import annotations

import gc

import pytest
import torch
from torch import Tensor

from acestep.audio.codec import CPU_BUDGET_BYTES, SHORTEST_CHUNK_FRAMES, Codec, automatic_chunk
from acestep.errors import CancelledError
from acestep.models.oobleck import Oobleck
from acestep.models.vae_config import OobleckConfig

TOLERANCE = 1e-4
# Real strides, so real receptive fields and hop, with next to no channels.
CONFIG = OobleckConfig(
    encoder_hidden_size=4, decoder_channels=4, decoder_input_channels=4, channel_multiples=(1, 1, 2, 2, 2)
)
CONTEXT = CONFIG.decoder_context_frames


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def autoencoder() -> Oobleck:
    """Gains above one: the waveform is a few units loud, and damage at a chunk boundary far above rounding."""
    torch.manual_seed(3)
    network = Oobleck(CONFIG).eval()
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith("weight_g"):
                parameter.mul_(1.2)
            elif not name.endswith("weight_v"):
                parameter.normal_(std=0.3)
    return network.fold()


@pytest.fixture
def codec(autoencoder: Oobleck) -> Codec:
    return Codec(autoencoder)


@pytest.fixture
def latents() -> Tensor:
    torch.manual_seed(4)
    return torch.randn(2, 40, CONFIG.latent_channels)


def random_latents(frames: int, batch: int = 1) -> Tensor:
    torch.manual_seed(frames)
    return torch.randn(batch, frames, CONFIG.latent_channels)


def random_audio(samples: int, batch: int = 1) -> Tensor:
    torch.manual_seed(samples)
    return torch.randn(batch, CONFIG.audio_channels, samples)


# --- Chunked equals whole -----------------------------------------------------------------------------------------

SIZES = [(1, 1), (2, 1), (129, 16), (129, 128), (257, 64), (257, 256), (257, 1000)]


@pytest.mark.parametrize(("frames", "chunk"), SIZES)
def test_decode_in_chunks_equals_whole(codec: Codec, autoencoder: Oobleck, frames: int, chunk: int) -> None:
    latents = random_latents(frames)
    with torch.no_grad():
        whole = autoencoder.decode(latents)
    assert whole.abs().mean() > 0.01
    chunked = codec.decode(latents, chunk_frames=chunk)
    assert chunked.shape == (1, CONFIG.audio_channels, frames * codec.hop)
    assert (chunked - whole).abs().max() <= TOLERANCE


@pytest.mark.parametrize("extra", [0, 1000])
@pytest.mark.parametrize(("frames", "chunk"), SIZES)
def test_encode_in_chunks_equals_whole(
    codec: Codec, autoencoder: Oobleck, frames: int, chunk: int, extra: int
) -> None:
    audio = random_audio(frames * codec.hop + extra)
    with torch.no_grad():
        whole = autoencoder.encode(audio)
    assert whole.abs().mean() > 0.01
    chunked = codec.encode(audio, chunk_frames=chunk)
    assert chunked.shape == (1, frames, CONFIG.latent_channels)
    assert (chunked - whole).abs().max() <= TOLERANCE


def test_a_shorter_overlap_would_be_heard(codec: Codec, autoencoder: Oobleck) -> None:
    """The tests above can fail: a chunk cut without its context differs by far more than their tolerance."""
    latents = random_latents(40)
    with torch.no_grad():
        alone = autoencoder.decode(latents[:, 20:])
    assert (codec.decode(latents)[..., 20 * codec.hop :] - alone).abs().max() > 100 * TOLERANCE


def test_chunks_of_a_batch(codec: Codec, latents: Tensor) -> None:
    assert (codec.decode(latents, chunk_frames=7) - codec.decode(latents)).abs().max() <= TOLERANCE
    audio = random_audio(9 * codec.hop, batch=3)
    assert (codec.encode(audio, chunk_frames=2) - codec.encode(audio)).abs().max() <= TOLERANCE


# --- Batches of different lengths ---------------------------------------------------------------------------------


@pytest.mark.parametrize("chunk", [None, 8])
def test_each_song_of_a_padded_batch_is_the_song_alone(codec: Codec, chunk: int | None) -> None:
    lengths = (3, 30, 1)
    songs = [random_latents(length) for length in lengths]
    batch = torch.full(
        (3, 30, CONFIG.latent_channels), torch.nan
    )  # padding that would show in every sample it touches
    for row, song in zip(batch, songs, strict=True):
        row[: song.shape[1]] = song[0]
    together = codec.decode_each(batch, lengths, chunk_frames=chunk)
    for song, waveform in zip(songs, together, strict=True):
        assert torch.equal(waveform, codec.decode(song, chunk_frames=chunk)[0])


@pytest.mark.parametrize("lengths", [(40,), (40, 41), (0, 40), (1, 2, 3)])
def test_impossible_lengths_are_refused(codec: Codec, latents: Tensor, lengths: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="expected 2 numbers of frames, each from 1 to 40"):
        codec.decode_each(latents, lengths)


# --- Automatic chunks ---------------------------------------------------------------------------------------------


def test_automatic_chunk_is_everything_when_it_fits() -> None:
    assert automatic_chunk(1000, bytes_per_frame=10, budget_bytes=10_000) == 1000
    assert automatic_chunk(1, bytes_per_frame=10, budget_bytes=10_000) == 1


def test_automatic_chunks_are_even_and_within_the_budget() -> None:
    assert automatic_chunk(1000, bytes_per_frame=1, budget_bytes=400) == 334
    assert automatic_chunk(1001, bytes_per_frame=10, budget_bytes=10_000) == 501
    for total in range(1, 2000, 37):
        size = automatic_chunk(total, bytes_per_frame=3, budget_bytes=900)
        assert 1 <= size <= min(total, 300)
        assert -(-total // size) == -(-total // 300)


@pytest.mark.parametrize("budget", [-1, 0, 10])
def test_automatic_chunk_stays_worth_its_overlap(budget: int) -> None:
    assert automatic_chunk(10 * SHORTEST_CHUNK_FRAMES, bytes_per_frame=100, budget_bytes=budget) == (
        SHORTEST_CHUNK_FRAMES
    )


def test_full_size_chunks_on_the_cpu_are_ten_to_twenty_seconds() -> None:
    config = OobleckConfig()
    needed = config.widest_activation * 4
    budget = CPU_BUDGET_BYTES - 2 * config.decoder_context_frames * needed
    size = automatic_chunk(600 * 25, needed, budget)
    assert 10 <= size / config.frame_rate <= 21


def test_a_small_budget_makes_chunks(autoencoder: Oobleck) -> None:
    latents = random_latents(130)
    counts: list[tuple[int, int]] = []
    chunked = Codec(autoencoder, budget_bytes=1).decode(latents, on_chunk=lambda *done: counts.append(done))
    assert counts == [(1, 3), (2, 3), (3, 3)]
    assert (chunked - Codec(autoencoder).decode(latents)).abs().max() <= TOLERANCE


# --- Progress and cancellation ------------------------------------------------------------------------------------


def test_progress_counts_chunks_over_the_whole_batch(codec: Codec, latents: Tensor) -> None:
    seen: list[tuple[int, int]] = []
    codec.decode_each(latents, (40, 10), chunk_frames=16, on_chunk=lambda *done: seen.append(done))
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]
    seen.clear()
    codec.encode(random_audio(5 * codec.hop), chunk_frames=2, on_chunk=lambda *done: seen.append(done))
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_cancelling_leaves_nothing_behind(codec: Codec, latents: Tensor) -> None:
    before = codec.decode(latents, chunk_frames=16)

    def cancel(done: int, total: int) -> None:
        if done == 2:
            raise CancelledError("stop")

    def cancelled() -> None:
        for work in (codec.decode, lambda it, **kw: codec.decode_each(it, (40, 40), **kw)):
            with pytest.raises(CancelledError, match="stop"):
                work(latents, chunk_frames=16, on_chunk=cancel)

    cancelled()
    alive = count_tensors()
    cancelled()
    assert count_tensors() == alive
    assert torch.is_grad_enabled()
    assert torch.equal(codec.decode(latents, chunk_frames=16), before)


def count_tensors() -> int:
    gc.collect()
    return sum(issubclass(type(thing), Tensor) for thing in gc.get_objects())


# --- What comes out -----------------------------------------------------------------------------------------------


def test_rates_come_from_the_network(codec: Codec) -> None:
    assert (codec.sample_rate, codec.hop, codec.frame_rate) == (48_000, 1920, 25.0)


def test_output_is_fp32_without_history_whatever_the_network_computes_in() -> None:
    codec = Codec(Oobleck(CONFIG).bfloat16())
    waveform = codec.decode(random_latents(3).requires_grad_())
    latents = codec.encode(waveform)
    assert waveform.dtype == latents.dtype == torch.float32
    assert not waveform.requires_grad
    assert not latents.requires_grad


@pytest.mark.parametrize("shape", [(40, 4), (1, 4, 40), (1, 0, 4)])
def test_latents_of_another_shape_are_refused(codec: Codec, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"latents have shape .*expected \[B, T, 4\] with T >= 1"):
        codec.decode(torch.zeros(shape))


@pytest.mark.parametrize("shape", [(2, 4000), (1, 1, 4000), (1, 2, 1919)])
def test_audio_of_another_shape_is_refused(codec: Codec, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"audio has shape .*expected \[B, 2, S\] with S >= 1920 samples"):
        codec.encode(torch.zeros(shape))


@pytest.mark.parametrize("chunk", [0, -5])
def test_impossible_chunks_are_refused(codec: Codec, latents: Tensor, chunk: int) -> None:
    with pytest.raises(ValueError, match=f"chunk_frames={chunk}; expected at least 1"):
        codec.decode(latents, chunk_frames=chunk)
