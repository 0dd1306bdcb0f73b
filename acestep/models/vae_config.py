"""Numbers of the Oobleck autoencoder: its ``config.json`` in, sizes, rates and receptive fields out. Pure integers.

A *frame* is one latent vector, ``hop`` samples long. ``windows`` cuts a long signal into pieces that overlap by a
receptive field, which is all that tiling inside the network and chunking in the codec have in common.
Refuses to know tensors, devices and where the file came from.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from math import prod

from acestep.constants import AUDIO_CHANNELS, LATENT_CHANNELS, SAMPLE_RATE, VAE_STRIDES
from acestep.errors import WeightsError

EDGE_KERNEL = 7  # first convolution of both halves, last of the decoder
LATENT_KERNEL = 3  # last convolution of the encoder
RESIDUAL_KERNEL = 7
RESIDUAL_DILATIONS = (1, 3, 9)
_EDGE_REACH = EDGE_KERNEL // 2
_LATENT_REACH = LATENT_KERNEL // 2
_RESIDUAL_REACH = sum(dilation * (RESIDUAL_KERNEL // 2) for dilation in RESIDUAL_DILATIONS)


@dataclass(frozen=True, slots=True)
class OobleckConfig:
    """Sizes of one autoencoder; the defaults are the published ones. Field names are those of ``config.json``.

    ``downsampling_ratios`` are the encoder's strides from audio to latents (the decoder walks them backwards);
    level i is ``channel_multiples[i]`` times as wide as the base width of its half. All strides are even, which is
    what makes decoded lengths exact.

    ``outer_stride`` is not published: above 1 it is the stride of the layers next to the audio, which then work like
    the window of a lapped transform, and no residual unit runs at the audio's own rate. Nor is ``envelope_channels``,
    the number of latent channels, the first ones, that say how loud the audio is (``models.envelope``).

    Raises:
        WeightsError: the sizes do not fit together.
    """

    encoder_hidden_size: int = 128
    downsampling_ratios: tuple[int, ...] = VAE_STRIDES
    channel_multiples: tuple[int, ...] = (1, 2, 4, 8, 16)
    decoder_channels: int = 128
    decoder_input_channels: int = LATENT_CHANNELS
    audio_channels: int = AUDIO_CHANNELS
    sampling_rate: int = SAMPLE_RATE
    outer_stride: int = 1
    envelope_channels: int = 0

    def __post_init__(self) -> None:
        problems = list(self._problems())
        if problems:
            raise WeightsError(f"The autoencoder configuration does not fit together: {'; '.join(problems)}.")

    def _problems(self) -> Iterator[str]:
        for name in _WHOLE_NUMBERS:
            if getattr(self, name) < 1 and name != "envelope_channels":
                yield f"{name}={getattr(self, name)} is below 1"
        if len(self.downsampling_ratios) != len(self.channel_multiples) or not self.downsampling_ratios:
            yield f"{len(self.downsampling_ratios)} strides for {len(self.channel_multiples)} channel multiples"
        if any(stride < 2 or stride % 2 for stride in self.downsampling_ratios):
            yield f"downsampling_ratios={list(self.downsampling_ratios)} are not all even and positive"
        if not 0 <= self.envelope_channels < self.decoder_input_channels:
            yield f"envelope_channels={self.envelope_channels} of {self.decoder_input_channels} latent channels"
        if self.outer_stride > 1 and self.outer_stride % 2:
            yield f"outer_stride={self.outer_stride} is neither 1 nor even"
        if any(multiple < 1 for multiple in self.channel_multiples):
            yield f"channel_multiples={list(self.channel_multiples)} are not all positive"

    @classmethod
    def from_dict(cls, raw: Mapping[str, object]) -> OobleckConfig:
        """The sizes in a parsed ``config.json``; keys that begin with "_" are the writer's own notes.

        Raises:
            WeightsError: a key is unknown, or a value is of the wrong type or inconsistent.
        """
        sizes = {key: value for key, value in raw.items() if not key.startswith("_")}
        unknown = sorted(sizes.keys() - {field.name for field in fields(cls)})
        if unknown:
            raise WeightsError(
                f"The autoencoder configuration has keys this version does not know: {', '.join(unknown)}."
            )
        return cls(**{key: _typed(key, value) for key, value in sizes.items()})  # type: ignore[arg-type]

    @property
    def sample_rate(self) -> int:
        """Hz."""
        return self.sampling_rate

    @property
    def hop(self) -> int:
        """Samples per latent frame."""
        return self.outer_stride * prod(self.downsampling_ratios)

    @property
    def frame_rate(self) -> float:
        """Latent frames per second."""
        return self.sampling_rate / self.hop

    @property
    def latent_channels(self) -> int:
        """Channels of a latent frame."""
        return self.decoder_input_channels

    @property
    def encoder_widths(self) -> tuple[int, ...]:
        """Channels before, between and after the encoder's blocks, from audio to latents."""
        return _widths(self.encoder_hidden_size, self.channel_multiples)

    @property
    def decoder_widths(self) -> tuple[int, ...]:
        """Channels before, between and after the decoder's blocks, from latents to audio."""
        return _widths(self.decoder_channels, self.channel_multiples)[::-1]

    @property
    def widest_activation(self) -> int:
        """Numbers per latent frame in the largest activation of either half."""
        base = max(self.encoder_hidden_size, self.decoder_channels)
        multiples = (1, *self.channel_multiples[:-1])
        strides = (self.outer_stride, *self.downsampling_ratios)
        return max(
            base * multiple * self.hop // prod(strides[: level + 1]) for level, multiple in enumerate(multiples)
        )

    @property
    def decoder_context_frames(self) -> int:
        """How many latent frames to each side of frame t the samples of frame t depend on, at most."""
        reach = _before_last((0, self.hop - 1), self.outer_stride)
        for stride in self.downsampling_ratios:
            reach = _before_upsampling(_widened(reach, _RESIDUAL_REACH), stride)
        low, high = _widened(reach, _EDGE_REACH)
        return max(-low, high)  # the decoder's first layer

    @property
    def encoder_context_frames(self) -> int:
        """How many frames' worth of samples to each side of frame t the latent of frame t depends on, at most."""
        reach = (-_LATENT_REACH, _LATENT_REACH)
        for stride in reversed(self.downsampling_ratios):
            reach = _widened(_before_downsampling(reach, stride), _RESIDUAL_REACH)
        return _whole_steps(_before_first(reach, self.outer_stride), self.hop)


def decoder_block_context(stride: int, outer_stride: int = 1) -> int:
    """Input positions to each side that one position's outputs depend on, in a decoder block and the last layer."""
    reach = _before_last((0, stride * outer_stride - 1), outer_stride)
    low, high = _before_upsampling(_widened(reach, _RESIDUAL_REACH), stride)
    return max(-low, high)


def encoder_block_context(stride: int, outer_stride: int = 1) -> int:
    """Output positions' worth of input to each side that one output depends on, in the first layer and a block."""
    reach = _widened(_before_downsampling((0, 0), stride), _RESIDUAL_REACH)
    return _whole_steps(_before_first(reach, outer_stride), stride * outer_stride)


@dataclass(frozen=True, slots=True)
class Window:
    """One piece of a signal: ``[start, stop)`` is what it contributes, ``[low, high)`` what has to be read for it."""

    start: int
    stop: int
    low: int
    high: int


def windows(total: int, size: int, context: int) -> list[Window]:
    """Cut ``total`` positions into pieces of at most ``size``, each read with ``context`` more to both sides.

    Example: ``windows(5, 2, 1)`` contributes 0-1, 2-3, 4 and reads 0-2, 1-4, 3-4.
    """
    return [
        Window(start, min(start + size, total), max(start - context, 0), min(start + size + context, total))
        for start in range(0, total, size)
    ]


def _widths(base: int, multiples: tuple[int, ...]) -> tuple[int, ...]:
    return (base, *(base * multiple for multiple in multiples))


def _widened(reach: tuple[int, int], by: int) -> tuple[int, int]:
    return reach[0] - by, reach[1] + by


def _before_upsampling(reach: tuple[int, int], stride: int) -> tuple[int, int]:
    """Inputs (inclusive) that a transposed convolution, kernel 2s, stride s, padding s/2, reads for some outputs."""
    half = stride // 2
    return -((2 * stride - 1 - half - reach[0]) // stride), (reach[1] + half) // stride


def _before_downsampling(reach: tuple[int, int], stride: int) -> tuple[int, int]:
    """Inputs (inclusive) that a convolution, kernel 2s, stride s, padding s/2, reads for some outputs."""
    half = stride // 2
    return reach[0] * stride - half, reach[1] * stride - half + 2 * stride - 1


def _before_first(reach: tuple[int, int], outer_stride: int) -> tuple[int, int]:
    """Samples that the encoder's first layer reads for some of its outputs."""
    return _widened(reach, _EDGE_REACH) if outer_stride == 1 else _before_downsampling(reach, outer_stride)


def _before_last(reach: tuple[int, int], outer_stride: int) -> tuple[int, int]:
    """Positions that the decoder's last layer reads for some samples."""
    return _widened(reach, _EDGE_REACH) if outer_stride == 1 else _before_upsampling(reach, outer_stride)


def _whole_steps(reach: tuple[int, int], step: int) -> int:
    """``reach`` around the step [0, step) as a number of whole steps to each side."""
    return max(-(reach[0] // step), -((step - 1 - reach[1]) // step))


_WHOLE_NUMBERS = tuple(field.name for field in fields(OobleckConfig) if field.type == "int")


def _typed(key: str, value: object) -> object:
    """``value`` if the field ``key`` can hold it (lists become tuples)."""
    numbers = [value] if key in _WHOLE_NUMBERS else value
    if not isinstance(numbers, (list, tuple)) or any(type(number) is not int for number in numbers):
        kind = "a whole number" if key in _WHOLE_NUMBERS else "a list of whole numbers"
        raise WeightsError(f"The autoencoder configuration has {key}={value!r}; expected {kind}.")
    return value if key in _WHOLE_NUMBERS else tuple(numbers)
