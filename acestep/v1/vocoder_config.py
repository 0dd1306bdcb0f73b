"""Sizes of the v1 vocoder: its ``config.json`` in, widths and receptive fields out. Pure integers.

A *frame* here is one column of the mel spectrogram, ``hop_length`` samples long. Refuses to know tensors, devices and
where the file came from.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from math import prod

from acestep.errors import WeightsError


@dataclass(frozen=True, slots=True)
class VocoderConfig:
    """Sizes of one vocoder; the defaults are the published ones. Field names are those of ``config.json``.

    ``dims`` and ``depths`` describe the ConvNeXt backbone, the ``upsample_*`` and ``resblock_*`` fields the HiFi-GAN
    head, the first seven the spectrogram it inverts. ``num_mels`` is, despite its name, the width the head reads.
    ``drop_path_rate`` only ever mattered in training.

    Raises:
        WeightsError: the sizes do not fit together, or ask for a layer that no published vocoder has.
    """

    sampling_rate: int = 44_100
    n_mels: int = 128
    n_fft: int = 2048
    win_length: int = 2048
    hop_length: int = 512
    f_min: float = 40
    f_max: float = 16_000
    input_channels: int = 128
    depths: tuple[int, ...] = (3, 3, 9, 3)
    dims: tuple[int, ...] = (128, 256, 384, 512)
    drop_path_rate: float = 0.0
    kernel_sizes: tuple[int, ...] = (7,)
    num_mels: int = 512
    upsample_initial_channel: int = 1024
    upsample_rates: tuple[int, ...] = (4, 4, 2, 2, 2, 2, 2)
    upsample_kernel_sizes: tuple[int, ...] = (8, 8, 4, 4, 4, 4, 4)
    resblock_kernel_sizes: tuple[int, ...] = (3, 7, 11, 13)
    resblock_dilation_sizes: tuple[tuple[int, ...], ...] = ((1, 3, 5),) * 4
    pre_conv_kernel_size: int = 13
    post_conv_kernel_size: int = 13
    use_template: bool = False

    def __post_init__(self) -> None:
        problems = [*self._spectrogram_problems(), *self._backbone_problems(), *self._head_problems()]
        if problems:
            raise WeightsError(f"The vocoder configuration does not fit together: {'; '.join(problems)}.")

    @classmethod
    def from_dict(cls, raw: Mapping[str, object]) -> VocoderConfig:
        """The sizes in a parsed ``config.json``; keys that begin with "_" are the writer's own notes.

        Raises:
            WeightsError: keys are unknown or missing, or a value is of the wrong type or inconsistent.
        """
        sizes = {key: value for key, value in raw.items() if not key.startswith("_")}
        known = {field.name for field in fields(cls)}
        for kind, names in (("unknown", sizes.keys() - known), ("missing", known - sizes.keys())):
            if names:
                raise WeightsError(f"The vocoder configuration has {kind} keys: {', '.join(sorted(names))}.")
        return cls(**{field.name: _typed(field.name, sizes[field.name], field.default) for field in fields(cls)})

    @property
    def head_widths(self) -> tuple[int, ...]:
        """Channels before, between and after the head's changes of rate, from frames to samples."""
        return tuple(self.upsample_initial_channel >> level for level in range(len(self.upsample_rates) + 1))

    @property
    def stack_reach(self) -> int:
        """Positions to each side that the residual stacks of one rate look at, at most."""
        stacks = zip(self.resblock_kernel_sizes, self.resblock_dilation_sizes, strict=True)
        return max(kernel // 2 * sum(dilation + 1 for dilation in dilations) for kernel, dilations in stacks)

    @property
    def head_context_frames(self) -> int:
        """How many frames to each side of frame m the samples of frame m depend on inside the head, at most."""
        reach = _widened((0, self.hop_length - 1), self.post_conv_kernel_size // 2)
        for rate in reversed(self.upsample_rates):
            reach = _before_upsampling(_widened(reach, self.stack_reach), rate)
        low, high = _widened(reach, self.pre_conv_kernel_size // 2)
        return max(-low, high)

    def stage_context(self, rate: int, reach_after: int = 0) -> int:
        """Positions to each side that one position's outputs depend on in an upsampling stage, at most.

        Args:
            rate: outputs per position.
            reach_after: outputs to each side that a layer behind the stage looks at.
        """
        low, high = _before_upsampling(_widened((0, rate - 1), self.stack_reach + reach_after), rate)
        return max(-low, high)

    @property
    def widest_activation(self) -> int:
        """Numbers per frame in the largest activation of the head."""
        rates = (prod(self.upsample_rates[:level]) for level in range(len(self.head_widths)))
        return max(width * rate for width, rate in zip(self.head_widths, rates, strict=True))

    def _spectrogram_problems(self) -> Iterator[str]:
        if self.win_length != self.n_fft or not 0 < self.hop_length <= self.n_fft:
            yield (
                f"win_length={self.win_length} and hop_length={self.hop_length} for n_fft={self.n_fft} "
                "(the window fills n_fft, the hop is no longer)"
            )
        if not 0 <= self.f_min < self.f_max <= self.sampling_rate / 2:
            yield f"f_min={self.f_min} and f_max={self.f_max} at sampling_rate={self.sampling_rate}"
        if self.n_mels < 1 or self.n_mels != self.input_channels:
            yield f"n_mels={self.n_mels} bands for input_channels={self.input_channels}"

    def _backbone_problems(self) -> Iterator[str]:
        if not self.dims or len(self.dims) != len(self.depths) or min(*self.dims, *self.depths) < 1:
            yield f"depths={list(self.depths)} for dims={list(self.dims)}"
        elif self.num_mels != self.dims[-1]:
            yield f"num_mels={self.num_mels} behind a backbone that ends in {self.dims[-1]}"
        if len(self.kernel_sizes) != 1 or not _are_odd(self.kernel_sizes):
            yield f"kernel_sizes={list(self.kernel_sizes)} (one odd kernel is supported)"

    def _head_problems(self) -> Iterator[str]:
        rates = self.upsample_rates
        if any(rate < 2 or rate % 2 for rate in rates) or prod(rates) != self.hop_length:
            yield f"upsample_rates={list(rates)} are not even numbers that multiply to hop_length={self.hop_length}"
        if self.upsample_kernel_sizes != tuple(2 * rate for rate in rates):
            yield f"upsample_kernel_sizes={list(self.upsample_kernel_sizes)} are not twice the upsample_rates"
        if self.upsample_initial_channel < 1 or self.upsample_initial_channel % 2 ** len(rates):
            yield f"upsample_initial_channel={self.upsample_initial_channel} cannot be halved {len(rates)} times"
        kernels, dilations = self.resblock_kernel_sizes, self.resblock_dilation_sizes
        if not kernels or len(kernels) != len(dilations) or not all(map(_are_positive, dilations)):
            yield f"resblock_dilation_sizes={list(map(list, dilations))} for resblock_kernel_sizes={list(kernels)}"
        odd = (*kernels, self.pre_conv_kernel_size, self.post_conv_kernel_size)
        if not _are_odd(odd):
            yield f"kernels {list(odd)} of the residual stacks and the outer convolutions are not all odd"
        if self.use_template:
            yield "use_template=True is not supported"


def _are_positive(numbers: Sequence[int]) -> bool:
    return bool(numbers) and min(numbers) > 0


def _are_odd(numbers: Sequence[int]) -> bool:
    return all(number > 0 and number % 2 for number in numbers)


def _widened(reach: tuple[int, int], by: int) -> tuple[int, int]:
    return reach[0] - by, reach[1] + by


def _before_upsampling(reach: tuple[int, int], rate: int) -> tuple[int, int]:
    """Inputs (inclusive) that a transposed convolution, kernel 2r, stride r, padding r/2, reads for some outputs."""
    half = rate // 2
    return -((2 * rate - 1 - half - reach[0]) // rate), (reach[1] + half) // rate


def _typed(key: str, value: object, example: object) -> object:
    """``value`` if it is of the kind of ``example`` (lists become tuples, whole numbers may stand for real ones)."""
    if isinstance(example, tuple) and isinstance(value, (list, tuple)):
        return tuple(_typed(key, item, example[0]) for item in value)
    allowed = (int, float) if key in _REAL else (type(example),)
    if type(value) not in allowed:
        raise WeightsError(f"The vocoder configuration has {key}={value!r}; expected a value like {example!r}.")
    return value


_REAL = tuple(field.name for field in fields(VocoderConfig) if field.type == "float")
