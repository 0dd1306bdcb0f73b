"""How strongly the wavelet correction acts on which band, and when. Imports no torch.

In: what a request asks for. Out: a frozen value, and from it the gains at a noise level. The correction itself is in
``wavelet``.
"""

from __future__ import annotations

from dataclasses import dataclass

CORRECTION_MODES = ("low", "high", "double", "pix")


@dataclass(frozen=True, slots=True)
class WaveletCorrection:
    """Differential correction in the wavelet domain (DCW), as ACE-Step 1.5 has it.

    Attributes:
        mode: ``low`` and ``high`` correct one band, ``double`` both, ``pix`` the state as it is.
        scaler: strength; of the low band in ``double``.
        high_scaler: strength of the high band in ``double``; no other mode reads it.
    """

    mode: str
    scaler: float
    high_scaler: float

    def gains(self, t: float) -> tuple[float, float]:
        """Gains of the low and the high band at noise level ``t``, where the step starts.

        The low band is corrected near noise and the high band near music; ``pix`` corrects alike at every level.

        Raises:
            ValueError: ``mode`` is no row of ``CORRECTION_MODES``.
        """
        match self.mode:
            case "low":
                return t * self.scaler, 0.0
            case "high":
                return 0.0, (1.0 - t) * self.scaler
            case "double":
                return t * self.scaler, (1.0 - t) * self.high_scaler
            case "pix":
                return self.scaler, self.scaler
        raise ValueError(f"correction mode {self.mode!r} is not one of {', '.join(CORRECTION_MODES)}")
