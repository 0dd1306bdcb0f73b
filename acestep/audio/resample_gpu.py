"""Change the sample rate of a waveform where it is, on the GPU: windowed-sinc interpolation by torchaudio.

In: a tensor ``[..., S]``. Out: a tensor on the same device of exactly ``round(S * to / from)`` samples, as many as
``resample`` makes on the CPU. Refuses to know files and which rates are musical. torchaudio is imported when it is
needed: its wheel wants CUDA libraries that a CPU machine lacks.
"""

from __future__ import annotations

from torch import Tensor

from acestep.audio.resample import resampled_length
from acestep.errors import DeviceError

# A Kaiser window over 64 zero crossings: flat to 0.88 of the lower rate's Nyquist frequency, 140 dB down beyond it.
_ZERO_CROSSINGS = 64
_CUTOFF = 0.9475937167399596  # of the Nyquist frequency
_BETA = 14.769656459379492


def resample_on_device(waveform: Tensor, from_rate: int, to_rate: int) -> Tensor:
    """Resample a waveform without moving it.

    Args:
        waveform: floating point ``[..., S]``.
        from_rate: its rate in Hz.
        to_rate: the wanted rate in Hz.

    Returns:
        ``[..., round(S * to_rate / from_rate)]`` in the same format; ``waveform`` itself when the rates agree.

    Raises:
        DeviceError: torchaudio is not installed.
    """
    if from_rate == to_rate:
        return waveform
    try:
        from torchaudio.functional import resample
    except ImportError as error:
        raise DeviceError(
            "Resampling on the GPU needs torchaudio; install it with `pip install 'acestep-cog[gpu]'`."
        ) from error
    longer = resample(
        waveform,
        from_rate,
        to_rate,
        lowpass_filter_width=_ZERO_CROSSINGS,
        rolloff=_CUTOFF,
        resampling_method="sinc_interp_kaiser",
        beta=_BETA,
    )
    return longer[..., : resampled_length(waveform.shape[-1], from_rate, to_rate)]
