"""The autoencoder on the GPU: equal to the CPU, chunked equal to whole, in the published size too."""

from __future__ import annotations

import pytest
import torch
from gpu_support import DEVICE, HOST, Note, assert_near, convolutions_in, difference, draw
from torch import Tensor

from acestep.audio.codec import Codec
from acestep.handler import AceStepHandler
from acestep.models.oobleck import Oobleck
from acestep.models.vae_config import OobleckConfig

SHARE = 1e-4  # of the largest sample: chunked against whole, GPU against CPU
TF32_SHARE = 1e-2  # what PyTorch's default for convolutions in fp32 may cost; 3e-3 when imitated on a CPU
SIZES = [(1, 1), (2, 1), (129, 16), (257, 64), (257, 1000)]


@pytest.fixture(scope="module")
def published() -> Oobleck:
    """The published size with random weights, folded; gains above one, so that a few units of sound come out."""
    torch.manual_seed(3)
    network = Oobleck(OobleckConfig()).eval().requires_grad_(False)
    for name, parameter in network.named_parameters():
        if name.endswith("weight_g"):
            parameter.mul_(1.2)
        elif not name.endswith("weight_v"):
            parameter.normal_(std=0.3)
    return network.fold().to(DEVICE)


@pytest.fixture
def codec(tiny: AceStepHandler) -> Codec:
    return Codec(tiny.renderer.family.vae)


@pytest.fixture
def host_codec(tiny_on_host: AceStepHandler) -> Codec:
    return Codec(tiny_on_host.renderer.family.vae)


def latents(frames: int, batch: int = 1) -> Tensor:
    return draw(batch, frames, OobleckConfig().latent_channels, seed=frames)


def audio(codec: Codec, frames: int) -> Tensor:
    return 0.2 * draw(1, 2, frames * codec.hop + 100, seed=frames)


@pytest.mark.parametrize("frames", [1, 2, 129, 257])
def test_decoding_equals_the_cpu(codec: Codec, host_codec: Codec, frames: int) -> None:
    assert_near(codec.decode(latents(frames)), host_codec.decode(latents(frames)), SHARE)


@pytest.mark.parametrize("frames", [1, 2, 129, 257])
def test_encoding_equals_the_cpu(codec: Codec, host_codec: Codec, frames: int) -> None:
    sound = audio(codec, frames)
    assert_near(codec.encode(sound), host_codec.encode(sound), SHARE)


@pytest.mark.parametrize(("frames", "chunk"), SIZES)
def test_chunks_equal_the_whole(codec: Codec, frames: int, chunk: int) -> None:
    whole = codec.decode(latents(frames), chunk_frames=frames)
    assert_near(codec.decode(latents(frames), chunk_frames=chunk), whole, SHARE)
    sound = audio(codec, frames)
    assert_near(codec.encode(sound, chunk_frames=chunk), codec.encode(sound, chunk_frames=frames), SHARE)


def test_each_song_of_a_padded_batch_is_the_song_alone(codec: Codec) -> None:
    batch = latents(200, batch=2)
    together = codec.decode_each(batch, [200, 77])
    for index, length in enumerate([200, 77]):
        assert_near(together[index], codec.decode(batch[index : index + 1, :length])[0], SHARE)


def test_the_published_size_equals_the_cpu(published: Oobleck) -> None:
    ours = published.to(DEVICE).decode(latents(25).to(DEVICE))
    reference = published.to(HOST).decode(latents(25))
    published.to(DEVICE)
    assert_near(ours, reference, SHARE)


def test_the_published_size_in_chunks_equals_the_whole(published: Oobleck) -> None:
    codec, song = Codec(published.to(DEVICE)), latents(500)
    assert_near(codec.decode(song, chunk_frames=125), codec.decode(song, chunk_frames=500), SHARE)


def test_pytorchs_default_rounding_costs_little(published: Oobleck, note: Note) -> None:
    song = latents(100).to(DEVICE)
    exact = published.to(DEVICE).decode(song)
    with convolutions_in("tf32"):
        rounded = published.decode(song)
    found = difference(rounded, exact)
    note("TF32 in fp32 convolutions", f"samples differ by {found:.1e} of the largest")
    assert found <= TF32_SHARE


def test_decoding_twice_is_the_same_to_the_last_bit(published: Oobleck) -> None:
    codec = Codec(published.to(DEVICE))
    first, second = (codec.decode(latents(250)) for _ in range(2))
    assert torch.equal(first, second)
