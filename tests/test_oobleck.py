"""The autoencoder against diffusers on small random weights: values, gradients, names, folding, tiles."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import asdict

import pytest
import torch
from diffusers import AutoencoderOobleck
from torch import Tensor

from acestep.constants import AUDIO_CHANNELS
from acestep.models.oobleck import TILE_BYTES, Oobleck
from acestep.models.oobleck_layers import WeightNormConv, overlapped
from acestep.models.vae_config import OobleckConfig

TOLERANCE = 1e-5
SMALL = OobleckConfig(
    encoder_hidden_size=8, decoder_channels=4, decoder_input_channels=4
)  # real strides and multiples
SMALL_TILES = 1 << 17  # a dozen tiles and more in the longer songs


def reference_network(config: OobleckConfig) -> AutoencoderOobleck:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # diffusers builds on torch's first weight norm
        sizes = {name: list(size) if isinstance(size, tuple) else size for name, size in asdict(config).items()}
        del sizes["outer_stride"], sizes["envelope_channels"]  # ours
        return AutoencoderOobleck(**sizes).eval()


@pytest.fixture(scope="module", autouse=True)
def _one_thread_and_a_seed() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def reference() -> AutoencoderOobleck:
    """Every tensor takes part: norms differ from those of the directions, no bias, alpha or beta is zero."""
    torch.manual_seed(1)
    network = reference_network(SMALL)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            noise = torch.randn_like(parameter)
            parameter.copy_(parameter * (1 + 0.1 * noise) if name.endswith(("_g", "_v")) else 0.3 * noise)
    return network


@pytest.fixture(params=["weight norm", "folded"])
def network(request: pytest.FixtureRequest, reference: AutoencoderOobleck) -> Oobleck:
    loaded = load(reference).requires_grad_(False)
    return loaded.fold() if request.param == "folded" else loaded


def load(reference: AutoencoderOobleck, tile_bytes: int = SMALL_TILES) -> Oobleck:
    network = Oobleck(SMALL, tile_bytes=tile_bytes)
    network.load_state_dict(reference.state_dict(), strict=True)
    return network.eval()


def mode(whole: bool) -> AbstractContextManager[None]:
    """The network runs whole under autograd, and in tiles without."""
    return torch.enable_grad() if whole else torch.no_grad()


def assert_close(ours: Tensor, theirs: Tensor, tolerance: float = TOLERANCE) -> None:
    assert ours.shape == theirs.shape
    assert (ours - theirs).abs().max() <= tolerance * max(1.0, theirs.abs().max().item())


# --- Parity with diffusers ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("whole", [True, False], ids=["whole", "tiled"])
@pytest.mark.parametrize("frames", [1, 2, 129, 257])
def test_decode_equals_diffusers(network: Oobleck, reference: AutoencoderOobleck, frames: int, whole: bool) -> None:
    latents = torch.randn(2 if frames < 100 else 1, frames, SMALL.latent_channels)
    with torch.no_grad():
        theirs = reference.decode(latents.mT).sample
    with mode(whole):
        ours = network.decode(latents)
    assert ours.shape == (len(latents), AUDIO_CHANNELS, frames * SMALL.hop)
    assert_close(ours, theirs)


@pytest.mark.parametrize("whole", [True, False], ids=["whole", "tiled"])
@pytest.mark.parametrize(("frames", "extra"), [(1, 0), (1, 1919), (2, 1), (129, 0), (257, 1919)])
def test_encode_equals_diffusers_mean(
    network: Oobleck, reference: AutoencoderOobleck, frames: int, extra: int, whole: bool
) -> None:
    audio = torch.randn(2 if frames < 100 else 1, AUDIO_CHANNELS, frames * SMALL.hop + extra)
    with torch.no_grad():
        theirs = reference.encode(audio).latent_dist
    with mode(whole):
        mean, scale = network.moments(audio)
        latents = network.encode(audio)
    assert latents.shape == (len(audio), frames, SMALL.latent_channels)
    assert_close(latents, theirs.mean.mT)
    assert torch.equal(latents, mean.mT)
    assert_close(torch.nn.functional.softplus(scale) + 1e-4, theirs.std)


def test_gradients_equal_diffusers(reference: AutoencoderOobleck) -> None:
    network = load(reference)
    audio = torch.randn(1, AUDIO_CHANNELS, 3 * SMALL.hop)
    target = torch.randn_like(audio)
    mean, scale = network.moments(audio)
    ((network.decode(mean.mT) - target).square().mean() + scale.square().mean()).backward()
    reference.zero_grad()
    theirs = reference.encode(audio).latent_dist
    ((reference.decode(theirs.mean).sample - target).square().mean() + theirs.scale.square().mean()).backward()
    expected = dict(reference.named_parameters())
    for name, parameter in network.named_parameters():
        assert expected[name].grad.any(), name
        assert_close(parameter.grad, expected[name].grad)


def test_bf16_is_as_near_to_fp32_as_diffusers(reference: AutoencoderOobleck) -> None:
    latents = torch.randn(1, 20, SMALL.latent_channels)
    exact = reference.decode(latents.mT).sample.detach()
    rough = reference_network(SMALL)
    rough.load_state_dict(reference.state_dict())
    with torch.no_grad():
        ours = load(reference).bfloat16().fold().decode(latents.bfloat16()).float()
        for parameter in rough.parameters():
            parameter.data = parameter.data.bfloat16()
        theirs = rough.decode(latents.mT.bfloat16()).sample.float()
    assert (ours - exact).square().mean() <= 1.1 * (theirs - exact).square().mean()


# --- Names, shapes, loading ---------------------------------------------------------------------------------------


def published_shapes() -> dict[str, tuple[int, ...]]:
    """Tensors of the published file, written down from its description and not from the code."""
    shapes: dict[str, tuple[int, ...]] = {}

    def add_conv(name: str, first: int, second: int, kernel: int, bias: int | None) -> None:
        shapes[f"{name}.weight_g"] = (first, 1, 1)
        shapes[f"{name}.weight_v"] = (first, second, kernel)
        if bias is not None:
            shapes[f"{name}.bias"] = (bias,)

    def add_snake(name: str, width: int) -> None:
        shapes[f"{name}.alpha"] = shapes[f"{name}.beta"] = (1, width, 1)

    def add_units(block: str, width: int) -> None:
        for unit in ("res_unit1", "res_unit2", "res_unit3"):
            add_snake(f"{block}.{unit}.snake1", width)
            add_conv(f"{block}.{unit}.conv1", width, width, 7, width)
            add_snake(f"{block}.{unit}.snake2", width)
            add_conv(f"{block}.{unit}.conv2", width, width, 1, width)

    add_conv("encoder.conv1", 128, 2, 7, 128)
    downs = [(128, 128, 2), (128, 256, 4), (256, 512, 4), (512, 1024, 6), (1024, 2048, 10)]
    for index, (width_in, width_out, stride) in enumerate(downs):
        add_units(f"encoder.block.{index}", width_in)
        add_snake(f"encoder.block.{index}.snake1", width_in)
        add_conv(f"encoder.block.{index}.conv1", width_out, width_in, 2 * stride, width_out)
    add_snake("encoder.snake1", 2048)
    add_conv("encoder.conv2", 128, 2048, 3, 128)
    add_conv("decoder.conv1", 2048, 64, 7, 2048)
    ups = [(2048, 1024, 10), (1024, 512, 6), (512, 256, 4), (256, 128, 4), (128, 128, 2)]
    for index, (width_in, width_out, stride) in enumerate(ups):
        add_snake(f"decoder.block.{index}.snake1", width_in)
        add_conv(f"decoder.block.{index}.conv_t1", width_in, width_out, 2 * stride, width_out)
        add_units(f"decoder.block.{index}", width_out)
    add_snake("decoder.snake1", 128)
    add_conv("decoder.conv2", 2, 128, 7, None)
    return shapes


def test_full_size_names_and_shapes_are_the_published_ones() -> None:
    with torch.device("meta"):
        network = Oobleck(OobleckConfig())
        theirs = reference_network(OobleckConfig())
    shapes = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    assert shapes == published_shapes()
    assert shapes == {name: tuple(tensor.shape) for name, tensor in theirs.state_dict().items()}
    assert sum(parameter.numel() for parameter in network.parameters()) == 168_695_426


def test_meta_network_takes_weights_without_a_copy(reference: AutoencoderOobleck) -> None:
    with torch.device("meta"):
        network = Oobleck(SMALL)
    state = {name: tensor.clone() for name, tensor in reference.state_dict().items()}
    network.load_state_dict(state, strict=True, assign=True)
    assert network.decoder.conv1.weight_v.data_ptr() == state["decoder.conv1.weight_v"].data_ptr()
    latents = torch.randn(1, 3, SMALL.latent_channels)
    with torch.no_grad():
        assert torch.equal(network.fold().decode(latents), load(reference).fold().decode(latents))


def test_incomplete_weights_are_refused(reference: AutoencoderOobleck) -> None:
    state = reference.state_dict()
    del state["decoder.block.2.res_unit1.snake2.beta"]
    with pytest.raises(RuntimeError, match="decoder.block.2.res_unit1.snake2.beta"):
        Oobleck(SMALL).load_state_dict(state)


# --- Folding ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_folding_changes_no_bit_and_frees_the_parameters(reference: AutoencoderOobleck, dtype: torch.dtype) -> None:
    network = load(reference).to(dtype)
    before = sum(parameter.nbytes for parameter in network.parameters())
    latents = torch.randn(1, 5, SMALL.latent_channels, dtype=dtype)
    audio = torch.randn(1, AUDIO_CHANNELS, 5 * SMALL.hop, dtype=dtype)
    with torch.no_grad():
        unfolded = network.decode(latents), network.encode(audio)
        assert network.fold() is network
        folded = network.fold().decode(latents), network.encode(audio)
    assert torch.equal(unfolded[0], folded[0])
    assert torch.equal(unfolded[1], folded[1])
    assert not [name for name in network.state_dict() if name.endswith(("weight_g", "weight_v", "alpha", "beta"))]
    assert sum(parameter.nbytes for parameter in network.parameters()) < before
    assert not any(parameter.requires_grad for name, parameter in network.named_parameters() if "bias" not in name)


def test_weights_are_folded_in_fp32() -> None:
    torch.manual_seed(2)
    layer = WeightNormConv((64, 64, 7), 0, torch.nn.functional.conv2d).bfloat16()
    gain, direction = layer.weight_g.double(), layer.weight_v.double()
    exact = gain * direction / direction.square().sum(dim=(1, 2), keepdim=True).sqrt()
    layer.fold()
    assert layer.weight.dtype == torch.bfloat16
    wrong = layer.weight[:, :, 0] != exact.bfloat16()
    assert wrong.float().mean() < 1e-3  # only where fp32 itself sits on a rounding boundary


def test_a_new_network_starts_with_unit_gain_of_its_directions() -> None:
    layer = Oobleck(SMALL).decoder.block[0].conv_t1
    assert_close(layer._weight()[:, :, 0].detach(), layer.weight_v.detach())


# --- Inference leaves its input alone -----------------------------------------------------------------------------


def test_inference_does_not_touch_its_input(network: Oobleck) -> None:
    latents = torch.randn(1, 4, SMALL.latent_channels)
    audio = torch.randn(1, AUDIO_CHANNELS, 4 * SMALL.hop)
    kept = latents.clone(), audio.clone()
    with torch.inference_mode():
        first = network.decode(latents), network.encode(audio)
        second = network.decode(latents), network.encode(audio)
    assert torch.equal(latents, kept[0])
    assert torch.equal(audio, kept[1])
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])


@pytest.mark.parametrize("outer_stride", [1, 10])
@pytest.mark.parametrize("tile_bytes", [1, 1 << 8, 1 << 11, TILE_BYTES])
def test_tiles_of_any_size_give_the_whole_result(tile_bytes: int, outer_stride: int) -> None:
    config = OobleckConfig(8, (2, 4), (1, 2), 4, 4, outer_stride=outer_stride)
    network = Oobleck(config, tile_bytes=tile_bytes).eval().fold()
    latents = torch.randn(2, 13, config.latent_channels)
    audio = torch.randn(2, AUDIO_CHANNELS, 13 * config.hop + 5)
    with torch.no_grad():
        tiled = network.decode(latents), network.encode(audio)
    assert_close(tiled[0], network.decode(latents).detach())
    assert_close(tiled[1], network.encode(audio).detach())


def test_batch_items_do_not_depend_on_their_neighbours(network: Oobleck) -> None:
    latents = torch.randn(3, 7, SMALL.latent_channels)
    with torch.no_grad():
        assert torch.equal(network.decode(latents)[1:2], network.decode(latents[1:2]))


# --- Errors -------------------------------------------------------------------------------------------------------


def test_audio_shorter_than_a_hop_is_refused(network: Oobleck) -> None:
    with pytest.raises(ValueError, match=r"S=1919.*1920"):
        network.encode(torch.zeros(1, AUDIO_CHANNELS, SMALL.hop - 1))


@pytest.mark.parametrize("shape", [(1, 1, 4000), (2, 4000)])
def test_audio_of_another_shape_is_refused(network: Oobleck, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"audio has shape .*expected \[B, 2, S\]"):
        network.moments(torch.zeros(shape))


@pytest.mark.parametrize("shape", [(1, 4, 9), (4, 4), (1, 0, 4)])
def test_latents_of_another_shape_are_refused(network: Oobleck, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"latents have shape .*expected \[B, T, 4\]"):
        network.decode(torch.zeros(shape))


@pytest.mark.parametrize(("batch", "channels", "stride", "frames"), [(1, 16, 40, 7), (2, 3, 2, 5), (1, 1, 6, 1)])
def test_the_outermost_layer_is_a_transposed_convolution(batch: int, channels: int, stride: int, frames: int) -> None:
    x, weight = torch.randn(batch, channels, 1, frames), torch.randn(channels, 2, 1, 2 * stride)
    bias = torch.randn(2)
    exact = torch.nn.functional.conv_transpose2d(x, weight, bias, stride=(1, stride), padding=(0, stride // 2))
    torch.testing.assert_close(overlapped(x, weight, bias), exact, atol=1e-5, rtol=1e-5)
