"""Names and shapes of every tensor in the published v1 autoencoder and vocoder.

Written down from the description of the published files, not from the networks: a test that compares the two can
fail. Refuses to know files and what tensors are for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

Shapes = dict[str, tuple[int, ...]]

AUTOENCODER_TENSORS, AUTOENCODER_PARAMETERS = 192, 156_812_426
ENCODER_PARAMETERS, DECODER_PARAMETERS = 77_668_232, 79_144_194
VOCODER_TENSORS, VOCODER_VALUES = 713, 103_138_386

# Letters in the tables are sizes: C channels. A "+" is a bias as long as the first size.
_RESIDUAL_BLOCK = """
    conv1   C C 3 3   +
    conv2   C C 3 3
    norm    C         +
"""
_ATTENTION_BLOCK = """
    attn.to_q                           C C
    attn.to_k                           C C
    attn.to_v                           C C
    attn.to_qkv_multiscale.0.proj_in    3C 1 5 5
    attn.to_qkv_multiscale.0.proj_out   3C 32 1 1
    attn.to_out                         C 2C
    attn.norm_out                       C            +
    conv_out.conv_inverted              8C C 1 1     +
    conv_out.conv_depth                 8C 1 3 3     +
    conv_out.conv_point                 C 4C 1 1
    conv_out.norm                       C            +
"""
_AUTOENCODER_ENDS = """
    encoder.conv_in    128 2 3 3    +
    encoder.conv_out   8 1024 3 3   +
    decoder.conv_in    1024 8 3 3   +
    decoder.norm_out   128          +
    decoder.conv_out   2 128 3 3    +
"""
_WIDTHS = (128, 256, 512, 1024)

_CONVNEXT_BLOCK = """
    dwconv    C 1 7   +
    norm      C       +
    pwconv1   4C C    +
    pwconv2   C 4C    +
"""
_BACKBONE_ENDS = """
    channel_layers.0.0   128 128 7   +
    channel_layers.0.1   128         +
    norm                 512         +
"""
_BACKBONE = ((128, 3), (256, 3), (384, 9), (512, 3))  # width and number of the blocks of a stage
_RATES = (4, 4, 2, 2, 2, 2, 2)
_KERNELS = (3, 7, 11, 13)


def autoencoder_shapes() -> Shapes:
    """Every tensor of the autoencoder between log-mel pictures and latents."""
    found = _shapes(_AUTOENCODER_ENDS, "", {})
    for level, (width, blocks) in enumerate(zip(_WIDTHS, (2, 2, 3, 3), strict=True)):
        here = f"encoder.down_blocks.{level}."
        found |= _blocks(here, level, range(blocks))
        if level < 3:
            found |= _shapes(f"{blocks}.conv {2 * width} C 3 3 +", here, {"C": width})
    for level, width in enumerate(_WIDTHS):
        here = f"decoder.up_blocks.{level}."
        found |= _blocks(here, level, range(1, 4) if level < 3 else range(3))
        if level < 3:
            found |= _shapes(f"0.conv C {2 * width} 3 3 +", here, {"C": width})
    return found


def vocoder_shapes() -> Shapes:
    """Every tensor of the vocoder, the two buffers of its spectrogram included."""
    found: Shapes = {"mel_transform.spectrogram.window": (2048,), "mel_transform.mel_scale.fb": (1025, 128)}
    return found | dict(_backbone()) | dict(_head())


def _blocks(prefix: str, level: int, numbers: range) -> Shapes:
    table = _ATTENTION_BLOCK if level == 3 else _RESIDUAL_BLOCK
    found: Shapes = {}
    for number in numbers:
        found |= _shapes(table, f"{prefix}{number}.", {"C": _WIDTHS[level]})
    return found


def _backbone() -> Iterator[tuple[str, tuple[int, ...]]]:
    yield from _shapes(_BACKBONE_ENDS, "backbone.", {}).items()
    for stage in (1, 2, 3):
        before, after = _BACKBONE[stage - 1][0], _BACKBONE[stage][0]
        table = f"0 {before} +\n1 {after} {before} 1 +"
        yield from _shapes(table, f"backbone.channel_layers.{stage}.", {}).items()
    for stage, (width, blocks) in enumerate(_BACKBONE):
        for block in range(blocks):
            here = f"backbone.stages.{stage}.{block}."
            yield f"{here}gamma", (width,)
            yield from _shapes(_CONVNEXT_BLOCK, here, {"C": width}).items()


def _head() -> Iterator[tuple[str, tuple[int, ...]]]:
    yield from _convolution("head.conv_pre", 1024, 512, 13)
    for stage, rate in enumerate(_RATES):
        before, after = 1024 >> stage, 512 >> stage
        yield from _convolution(f"head.ups.{stage}", before, after, 2 * rate, bias=after)
        for stack, kernel in enumerate(_KERNELS):
            for part in ("convs1.0", "convs1.1", "convs1.2", "convs2.0", "convs2.1", "convs2.2"):
                yield from _convolution(f"head.resblocks.{4 * stage + stack}.{part}", after, after, kernel)
    yield from _convolution("head.conv_post", 1, 8, 13)


def _convolution(
    name: str, first: int, second: int, kernel: int, bias: int | None = None
) -> Iterator[tuple[str, tuple[int, ...]]]:
    """A weight-normed convolution: ``first`` is the output channels, or the input ones of a transposed one."""
    yield f"{name}.weight_g", (first, 1, 1)
    yield f"{name}.weight_v", (first, second, kernel)
    yield f"{name}.bias", (first if bias is None else bias,)


def _shapes(table: str, prefix: str, sizes: Mapping[str, int]) -> Shapes:
    found: Shapes = {}
    for name, *words in map(str.split, filter(str.strip, table.splitlines())):
        shape = tuple(_dimension(word, sizes) for word in words if word != "+")
        found[f"{prefix}{name}.weight"] = shape
        if words[-1] == "+":
            found[f"{prefix}{name}.bias"] = shape[:1]
    return found


def _dimension(word: str, sizes: Mapping[str, int]) -> int:
    """``192``, ``C`` or ``6C``."""
    return int(word) if word.isdigit() else int(word[:-1] or 1) * sizes[word[-1]]
