"""The v1 vocoder: against a slow restatement in float64, published names and sizes, weight norm, tiles, reach."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import asdict, replace
from math import prod

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from acestep.errors import WeightsError
from acestep.models.oobleck_layers import WeightNormConv
from acestep.v1.vocoder import Vocoder
from acestep.v1.vocoder_config import VocoderConfig
from acestep.v1.vocoder_layers import ConvNeXtBlock

from v1_codec_support import (
    MINIATURE,
    SMALL,
    normed,
    slow_backbone,
    slow_convnext,
    slow_head,
    slow_vocoder,
    small_vocoder,
    weights_of,
)
from v1_published_codec_shapes import VOCODER_TENSORS, VOCODER_VALUES, vocoder_shapes

TOLERANCE = 1e-5
PUBLISHED = VocoderConfig()
SMALL_TILES = 1 << 12


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(params=["weight norm", "folded"])
def vocoder(request: pytest.FixtureRequest) -> Vocoder:
    network = small_vocoder(MINIATURE)
    return network.fold() if request.param == "folded" else network


def random_mel(frames: int, batch: int = 1, config: VocoderConfig = MINIATURE) -> Tensor:
    torch.manual_seed(frames)
    return torch.randn(batch, config.n_mels, frames) * 2 - 4


def mode(whole: bool) -> AbstractContextManager[None]:
    """The head runs whole under autograd, and in tiles without."""
    return torch.enable_grad() if whole else torch.no_grad()


# --- Names and sizes ----------------------------------------------------------------------------------------------


def test_tensors_are_the_published_ones() -> None:
    with torch.device("meta"):
        network = Vocoder(PUBLISHED)
    shapes = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    assert shapes == vocoder_shapes()
    assert (len(shapes), sum(map(prod, shapes.values()))) == (VOCODER_TENSORS, VOCODER_VALUES)


# --- Against the restatement --------------------------------------------------------------------------------------


@pytest.mark.parametrize("whole", [True, False], ids=["whole", "tiles"])
@pytest.mark.parametrize("frames", [1, 2, 23])
def test_samples_are_those_of_the_restatement(vocoder: Vocoder, frames: int, whole: bool) -> None:
    vocoder.tile_bytes = SMALL_TILES
    mel = random_mel(frames)
    with mode(whole):
        found = vocoder(mel).detach()
    assert found.shape == (1, 1, frames * MINIATURE.hop_length)
    expected = slow_vocoder(mel[0].double().numpy(), weights_of(small_vocoder(MINIATURE)), MINIATURE)
    assert 0.01 < np.abs(expected).mean() < 0.9
    np.testing.assert_allclose(found[0, 0].numpy(), expected, atol=TOLERANCE)


def test_published_rates_and_kernels_follow_the_restatement() -> None:
    network = small_vocoder(SMALL)
    mel = random_mel(2, config=SMALL)
    with torch.no_grad():
        found = network(mel)
    expected = slow_vocoder(mel[0].double().numpy(), weights_of(network), SMALL)
    assert found.shape == (1, 1, 2 * 512)
    np.testing.assert_allclose(found[0, 0].numpy(), expected, atol=TOLERANCE)


def test_backbone_and_head_each_follow_the_restatement() -> None:
    network = small_vocoder(MINIATURE)
    weights, mel = weights_of(network), random_mel(9)
    with torch.no_grad():
        features = network.features(mel)
        samples = network.samples(features)
    expected = slow_backbone(mel[0].double().numpy(), weights, MINIATURE)
    np.testing.assert_allclose(features[0].numpy(), expected, atol=TOLERANCE)
    heard = slow_head(features[0].double().numpy(), weights, MINIATURE)
    np.testing.assert_allclose(samples[0, 0].numpy(), heard, atol=TOLERANCE)


def test_a_convnext_block_follows_the_restatement() -> None:
    torch.manual_seed(1)
    block = ConvNeXtBlock(4, 7).requires_grad_(False)
    for parameter in block.parameters():
        parameter.normal_()
    x = torch.randn(1, 4, 10)
    expected = slow_convnext(x[0].double().numpy(), {f"b.{k}": v for k, v in weights_of(block).items()}, "b")
    assert np.abs(expected - x[0].numpy()).max() > 1
    np.testing.assert_allclose(block(x)[0].numpy(), expected, atol=TOLERANCE)


def test_rows_of_a_batch_do_not_meet() -> None:
    network = small_vocoder(SMALL).fold()
    mel = random_mel(11, batch=2, config=SMALL)
    with torch.no_grad():
        torch.testing.assert_close(network(mel), torch.cat([network(row) for row in mel.split(1)]), atol=1e-6, rtol=0)


def test_samples_stay_between_the_rails() -> None:
    network = small_vocoder(MINIATURE)
    with torch.no_grad():
        network.head.conv_post.weight_g.mul_(1e3)
        assert network(random_mel(6)).abs().max() == 1


# --- Weight norm --------------------------------------------------------------------------------------------------


def test_folding_keeps_the_weights_and_the_samples() -> None:
    plain, folded = small_vocoder(SMALL), small_vocoder(SMALL)
    assert folded.fold() is folded
    weights, mel = weights_of(plain), random_mel(4, config=SMALL)
    layers = {name: module for name, module in folded.named_modules() if isinstance(module, WeightNormConv)}
    assert len(layers) == 2 + 7 + 7 * 4 * 6
    for name, layer in layers.items():
        expected, _ = normed(weights, name)
        np.testing.assert_allclose(layer.weight[:, :, 0].numpy(), expected, atol=1e-6)
    with torch.no_grad():
        torch.testing.assert_close(folded(mel), plain(mel), atol=1e-6, rtol=0)


def test_folding_frees_both_parameters_and_can_be_repeated() -> None:
    network = small_vocoder(SMALL)
    before = sum(tensor.numel() for tensor in network.state_dict().values())
    lengths = sum(t.numel() for name, t in network.state_dict().items() if name.endswith("weight_g"))
    names = network.fold().fold().state_dict()
    assert not any(name.endswith(("weight_g", "weight_v")) for name in names)
    assert sum(tensor.numel() for tensor in names.values()) == before - lengths


def test_the_norm_of_a_transposed_layer_is_per_input_channel() -> None:
    network = small_vocoder(SMALL).fold()
    lengths = small_vocoder(SMALL).head.ups[0].weight_g
    assert lengths.shape == (256, 1, 1)
    found = network.head.ups[0].weight.flatten(1).norm(dim=1)
    torch.testing.assert_close(found, lengths.flatten().abs(), atol=1e-6, rtol=1e-6)


def test_every_parameter_can_learn() -> None:
    network = small_vocoder(MINIATURE).requires_grad_(True)
    network(random_mel(7)).square().mean().backward()
    idle = [name for name, parameter in network.named_parameters() if not parameter.grad.abs().max() > 0]
    assert not idle


# --- Reach --------------------------------------------------------------------------------------------------------


def heard_frames(network: Vocoder, frames: int, frame: int) -> range:
    """Frames of features that samples of one frame depend on; gradients, unlike differences, do not round away."""
    torch.manual_seed(0)
    features = torch.randn(1, network.config.num_mels, frames, dtype=torch.float64, requires_grad=True)
    network.samples(features).unflatten(-1, (frames, -1))[..., frame, :].sum().backward()
    heard = features.grad.abs().amax(dim=(0, 1)).nonzero().flatten()
    return range(int(heard.min()), int(heard.max()) + 1)


@pytest.mark.parametrize(
    ("config", "expected"), [(SMALL, 34), (MINIATURE, 39)], ids=["published kernels", "miniature"]
)
def test_the_head_hears_exactly_as_far_as_it_says(config: VocoderConfig, expected: int) -> None:
    assert config.head_context_frames == expected
    middle = expected + 4
    heard = heard_frames(small_vocoder(config).double().fold(), 2 * middle + 1, middle)
    assert max(middle - heard.start, heard.stop - 1 - middle) == expected


def test_published_sizes_derive_from_the_configuration() -> None:
    assert PUBLISHED.head_widths == (1024, 512, 256, 128, 64, 32, 16, 8)
    assert PUBLISHED.widest_activation == 4096
    assert PUBLISHED.stack_reach == 13 // 2 * (1 + 3 + 5 + 3)
    assert PUBLISHED.head_context_frames == 34


# --- Refusals -----------------------------------------------------------------------------------------------------

RAW = asdict(PUBLISHED) | {"_class_name": "ADaMoSHiFiGANV1", "_diffusers_version": "0.32.2"}


def test_the_published_file_is_the_default() -> None:
    lists = {key: list(value) if isinstance(value, tuple) else value for key, value in RAW.items()}
    lists["resblock_dilation_sizes"] = [[1, 3, 5]] * 4
    assert VocoderConfig.from_dict(lists) == PUBLISHED


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"speaker": 1}, "unknown keys: speaker"),
        ({"n_mels": 128.0}, r"n_mels=128.0; expected a value like 128"),
        ({"depths": 3}, r"depths=3; expected a value like \(3, 3, 9, 3\)"),
        ({"depths": [3, "3", 9, 3]}, "depths='3'; expected a value like 3"),
        ({"use_template": 1}, "use_template=1"),
        ({"f_max": "16k"}, "f_max='16k'"),
        ({"use_template": True}, "use_template=True is not supported"),
        ({"hop_length": 256}, "multiply to hop_length=256"),
        ({"hop_length": 4096}, "hop_length=4096 for n_fft=2048"),
        ({"win_length": 1024}, "win_length=1024"),
        ({"f_min": 20_000}, "f_min=20000 and f_max=16000"),
        ({"input_channels": 100}, "n_mels=128 bands for input_channels=100"),
        ({"dims": [128, 256, 384]}, "depths=.* for dims="),
        ({"dims": []}, "dims="),
        ({"num_mels": 128}, "num_mels=128 behind a backbone that ends in 512"),
        ({"kernel_sizes": [3, 7]}, "one odd kernel"),
        ({"kernel_sizes": [8]}, "one odd kernel"),
        ({"upsample_rates": [4, 4, 2, 2, 2, 4, 1]}, "even numbers"),
        ({"upsample_kernel_sizes": [8, 8, 4, 4, 4, 4, 6]}, "twice the upsample_rates"),
        ({"upsample_initial_channel": 64}, "cannot be halved 7 times"),
        ({"resblock_kernel_sizes": [3, 7]}, "for resblock_kernel_sizes"),
        ({"resblock_dilation_sizes": [[1, 3, 5]] * 3 + [[]]}, "resblock_dilation_sizes"),
        ({"resblock_kernel_sizes": [3, 7, 11, 12]}, "not all odd"),
        ({"pre_conv_kernel_size": 12}, "not all odd"),
    ],
)
def test_what_cannot_be_built_is_refused(change: dict[str, object], complaint: str) -> None:
    with pytest.raises(WeightsError, match=complaint):
        VocoderConfig.from_dict(RAW | change)


def test_missing_keys_are_named() -> None:
    with pytest.raises(WeightsError, match="missing keys: dims, n_fft"):
        VocoderConfig.from_dict({key: value for key, value in RAW.items() if key not in {"n_fft", "dims"}})


def test_all_problems_come_together() -> None:
    with pytest.raises(WeightsError, match="num_mels=3.*use_template"):
        replace(PUBLISHED, num_mels=3, use_template=True)


@pytest.mark.parametrize("shape", [(1, 5, 0), (1, 4, 3), (5, 3)])
def test_impossible_spectrograms_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"expected \[B, 5, M\]"):
        small_vocoder(MINIATURE)(torch.zeros(shape))


def test_modules_without_weight_norm_stay() -> None:
    network = small_vocoder(MINIATURE).fold()
    assert isinstance(network.backbone.stages[0][0].dwconv, nn.Conv1d)
