"""The v1 codec: the published formulas, windows against the whole, songs apart, progress, memory, refusals."""

from __future__ import annotations

from dataclasses import replace
from math import prod

import numpy as np
import pytest
import torch
from diffusers import AutoencoderDC
from torch import Tensor

from acestep.errors import CancelledError, WeightsError
from acestep.v1.codec import CONTEXT_FRAMES, HOP, MusicCodec
from acestep.v1.length import NATIVE_RATE
from acestep.v1.mel import periodic_hann, slaney_filterbank

from v1_codec_support import (
    BRISK,
    MINIATURE,
    rms,
    slow_log_mel,
    small_autoencoder,
    small_codec,
    small_vocoder,
)
from v1_published_codec_shapes import (
    AUTOENCODER_PARAMETERS,
    AUTOENCODER_TENSORS,
    DECODER_PARAMETERS,
    ENCODER_PARAMETERS,
    autoencoder_shapes,
)

TOLERANCE = 1e-6  # 1e-4 is what the real networks are allowed; a wrong border costs more than this


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def codec() -> MusicCodec:
    return small_codec()


@pytest.fixture(scope="module")
def convolutional() -> MusicCodec:
    """Its autoencoder has a bounded reach, so that its windows equal the whole."""
    return small_codec(attention=False)


def random_latents(frames: int, batch: int = 1) -> Tensor:
    torch.manual_seed(frames)
    return torch.randn(batch, 8, 16, frames) * 0.3


def random_waveform(samples: int, batch: int = 1) -> Tensor:
    torch.manual_seed(samples)
    return torch.randn(batch, 2, samples) * 0.1


# --- The formulas -------------------------------------------------------------------------------------------------


def test_the_rates_are_the_published_ones(codec: MusicCodec) -> None:
    assert (NATIVE_RATE, HOP) == (codec.sample_rate, codec.hop) == (44_100, 4096)
    assert codec.frame_rate == pytest.approx(10.7666, abs=1e-4)


def test_decoding_follows_the_formula(codec: MusicCodec) -> None:
    latents = random_latents(3)
    with torch.no_grad():
        picture = codec.dcae.decode(latents / 0.1786 - 1.9091).sample.double()  # [1, 2, 128, 24]
        log_mel = ((picture * 0.5 + 0.5) * 14 - 11).float()
        expected = torch.cat([codec.vocoder(log_mel[:, channel]) for channel in (0, 1)], dim=1)  # [1, 2, S]
    found = codec.decode(latents)
    assert found.shape == (1, 2, 3 * 4096)
    assert found.dtype == torch.float32
    assert rms(expected) > 0.01
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=0)


def test_encoding_follows_the_formula(codec: MusicCodec) -> None:
    waveform = random_waveform(2 * 4096 + 100)
    padded = np.pad(waveform[0].double().numpy(), ((0, 0), (0, 3996)))
    window, filterbank = periodic_hann(2048).double().numpy(), slaney_filterbank(BRISK).double().numpy()
    log_mel = np.stack([slow_log_mel(channel, window, filterbank, 512) for channel in padded])  # [2, 128, 24]
    picture = torch.from_numpy(((log_mel + 11) / 14 - 0.5) / 0.5).float()[None]
    with torch.no_grad():
        expected = (codec.dcae.encode(picture).latent + 1.9091) * 0.1786
    found = codec.encode(waveform)
    assert found.shape == (1, 8, 16, 3)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=0)


def test_every_tensor_of_the_autoencoder_is_the_published_one() -> None:
    with torch.device("meta"):
        network = AutoencoderDC(**published_autoencoder())
    shapes = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    assert shapes == autoencoder_shapes()
    assert (len(shapes), sum(map(prod, shapes.values()))) == (AUTOENCODER_TENSORS, AUTOENCODER_PARAMETERS)
    halves = [sum(p.numel() for p in half.parameters()) for half in (network.encoder, network.decoder)]
    assert halves == [ENCODER_PARAMETERS, DECODER_PARAMETERS]


def published_autoencoder() -> dict[str, object]:
    types = ("ResBlock", "ResBlock", "ResBlock", "EfficientViTBlock")
    widths, multiscales = (128, 256, 512, 1024), ((), (), (5,), (5,))
    return {
        "in_channels": 2,
        "latent_channels": 8,
        "attention_head_dim": 32,
        "encoder_block_types": types,
        "decoder_block_types": types,
        "encoder_block_out_channels": widths,
        "decoder_block_out_channels": widths,
        "encoder_layers_per_block": (2, 2, 3, 3),
        "decoder_layers_per_block": (3, 3, 3, 3),
        "encoder_qkv_multiscales": multiscales,
        "decoder_qkv_multiscales": multiscales,
        "decoder_act_fns": "silu",
        "decoder_norm_types": "rms_norm",
        "downsample_block_type": "Conv",
        "upsample_block_type": "interpolate",
        "scaling_factor": 0.41407,
    }


@pytest.mark.parametrize(("samples", "frames"), [(1, 1), (4095, 1), (4096, 1), (4097, 2), (44_100, 11)])
def test_encoding_covers_every_sample(codec: MusicCodec, samples: int, frames: int) -> None:
    assert codec.encode(random_waveform(samples)).shape == (1, 8, 16, frames)


def test_a_song_comes_back_as_long_as_its_frames(codec: MusicCodec) -> None:
    assert codec.decode(codec.encode(random_waveform(10_000))).shape == (1, 2, 3 * 4096)


def test_bf16_networks_hand_out_fp32(codec: MusicCodec) -> None:
    rounded = small_codec().bfloat16()
    latents, waveform = random_latents(2), random_waveform(5000)
    decoded, encoded = rounded.decode(latents), rounded.encode(waveform)
    assert decoded.dtype == encoded.dtype == torch.float32
    expected = codec.encode(waveform)
    assert 0 < rms(encoded - expected) < 0.05 * rms(expected)
    assert rms(decoded) == pytest.approx(rms(codec.decode(latents)), rel=0.2)


# --- Songs and channels keep apart --------------------------------------------------------------------------------


def test_neighbours_do_not_change_a_song(codec: MusicCodec) -> None:
    latents, waveform = random_latents(4, batch=2), random_waveform(9000, batch=2)
    assert torch.equal(codec.decode(latents), torch.cat([codec.decode(song) for song in latents.split(1)]))
    assert torch.equal(codec.encode(waveform), torch.cat([codec.encode(song) for song in waveform.split(1)]))


def test_the_input_is_left_alone(codec: MusicCodec) -> None:
    latents, waveform = random_latents(2), random_waveform(5000)
    copies = latents.clone(), waveform.clone()
    codec.decode(latents)
    codec.encode(waveform)
    assert torch.equal(latents, copies[0])
    assert torch.equal(waveform, copies[1])


# --- Windows ------------------------------------------------------------------------------------------------------

LONG = CONTEXT_FRAMES + 72  # the first window does not see the end, nor the last the beginning


def test_decoding_in_windows_equals_the_whole_without_attention(convolutional: MusicCodec) -> None:
    latents = random_latents(LONG)
    whole = convolutional.decode(latents, window_frames=LONG)
    assert rms(whole) > 0.01
    found = convolutional.decode(latents, window_frames=60)
    torch.testing.assert_close(found, whole, atol=TOLERANCE, rtol=0)


def test_encoding_in_windows_equals_the_whole_without_attention(convolutional: MusicCodec) -> None:
    waveform = random_waveform(LONG * HOP - 1000)
    whole = convolutional.encode(waveform, window_frames=LONG)
    found = convolutional.encode(waveform, window_frames=60)
    torch.testing.assert_close(found, whole, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("window", [1, 3, 5, 8])
def test_the_vocoder_in_windows_equals_the_whole(codec: MusicCodec, window: int) -> None:
    """In so short a song every window of the autoencoder sees all of it; only those of the vocoder are cut."""
    latents = random_latents(13)
    whole = codec.decode(latents, window_frames=13)
    torch.testing.assert_close(codec.decode(latents, window_frames=window), whole, atol=TOLERANCE, rtol=0)


def test_attention_makes_windows_differ_but_little(codec: MusicCodec) -> None:
    """It averages over the time it is shown: half a percent here, above rounding and far below the music."""
    waveform = random_waveform(LONG * HOP)
    whole = codec.encode(waveform, window_frames=LONG)
    difference = rms(codec.encode(waveform, window_frames=60) - whole) / rms(whole - whole.mean())
    assert 1e-4 < difference < 0.03


# --- Memory and progress ------------------------------------------------------------------------------------------


def windows_of(codec: MusicCodec, frames: int, **options: int) -> int:
    """In how many steps a song of silence is decoded."""
    calls: list[tuple[int, int]] = []
    codec.decode(torch.zeros(1, 8, 16, frames), on_chunk=lambda *call: calls.append(call), **options)
    assert calls == [(done, len(calls)) for done in range(1, len(calls) + 1)]
    return len(calls)


PICTURE_BYTES = 5 * 8 * 128 * 8 * 4  # of the small autoencoder per latent frame
SAMPLE_BYTES = 2 * 1024 * 8 * 4  # of the small vocoder per latent frame


def test_a_song_is_whole_as_far_as_the_budget_goes() -> None:
    """16 budgets of the vocoder are one of the autoencoder; neither cuts windows below 64 frames."""
    fits = small_codec(budget_bytes=160 * PICTURE_BYTES)
    tight = small_codec(budget_bytes=160 * PICTURE_BYTES - 1)
    assert 160 * PICTURE_BYTES // 16 < 64 * SAMPLE_BYTES
    assert windows_of(fits, 160) == 1 + 3
    assert windows_of(tight, 160) == 3 + 3


def test_without_a_budget_short_songs_are_whole(codec: MusicCodec) -> None:
    assert windows_of(codec, 65) == 2


def test_progress_counts_both_networks_and_all_songs(codec: MusicCodec) -> None:
    decoded: list[tuple[int, int]] = []
    encoded: list[tuple[int, int]] = []
    codec.decode(random_latents(5, batch=2), window_frames=2, on_chunk=lambda *call: decoded.append(call))
    codec.encode(random_waveform(5 * HOP, batch=2), window_frames=2, on_chunk=lambda *call: encoded.append(call))
    assert decoded == [(done, 12) for done in range(1, 13)]
    assert encoded == [(done, 6) for done in range(1, 7)]


def test_a_listener_may_cancel(codec: MusicCodec) -> None:
    calls: list[int] = []

    def cancel(done: int, total: int) -> None:
        calls.append(done)
        if done == 2:
            raise CancelledError("Cancelled.")

    for work, signal in ((codec.decode, random_latents(6)), (codec.encode, random_waveform(6 * HOP))):
        calls.clear()
        with pytest.raises(CancelledError):
            work(signal, window_frames=2, on_chunk=cancel)
        assert calls == [1, 2]


# --- Refusals -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(1, 8, 16, 0), (1, 16, 8, 3), (8, 16, 3), (1, 8, 15, 3)])
def test_impossible_latents_are_refused(codec: MusicCodec, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"expected \[B, 8, 16, F\] with F >= 1"):
        codec.decode(torch.zeros(shape))


@pytest.mark.parametrize("shape", [(1, 2, 0), (1, 1, 5000), (2, 5000)])
def test_impossible_waveforms_are_refused(codec: MusicCodec, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"expected \[B, 2, S\] with S >= 1"):
        codec.encode(torch.zeros(shape))


@pytest.mark.parametrize("window", [0, -3])
def test_impossible_windows_are_refused(codec: MusicCodec, window: int) -> None:
    with pytest.raises(ValueError, match=f"window_frames={window}; expected at least 1"):
        codec.decode(random_latents(2), window_frames=window)
    with pytest.raises(ValueError, match=f"window_frames={window}; expected at least 1"):
        codec.encode(random_waveform(5000), window_frames=window)


def test_networks_of_another_codec_are_refused() -> None:
    with pytest.raises(WeightsError, match="hop_length of the vocoder is 16, not 512; n_mels of the vocoder is 5"):
        MusicCodec(small_autoencoder(), small_vocoder(MINIATURE))
    with pytest.raises(WeightsError, match="sampling_rate of the vocoder is 48000, not 44100"):
        MusicCodec(small_autoencoder(), small_vocoder(replace(BRISK, sampling_rate=48_000)))
    shallow = AutoencoderDC(
        in_channels=3,
        latent_channels=4,
        encoder_block_out_channels=(8, 8),
        decoder_block_out_channels=(8, 8),
        encoder_layers_per_block=(1, 1),
        decoder_layers_per_block=(1, 1),
        encoder_qkv_multiscales=((), ()),
        decoder_qkv_multiscales=((), ()),
    )
    with pytest.raises(
        WeightsError, match="channels of the autoencoder is 3, not 2.*compression of the decoder is 2"
    ):
        MusicCodec(shallow, small_vocoder(BRISK))
