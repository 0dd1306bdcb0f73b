"""``LLMHandler``: the facade over the 5Hz planner.

This version plays plans that the caller dictates; the planner that writes them is not part of it yet. The handler
exists so that calls written for the whole product run unchanged with ``thinking=False``.
"""

from __future__ import annotations

from pathlib import Path

from acestep.errors import UnsupportedError


class LLMHandler:
    """Owns one planner; uninitialised until ``initialize`` succeeds."""

    @property
    def initialized(self) -> bool:
        """True when a planner is loaded."""
        return False

    def initialize(
        self,
        checkpoint_dir: str | Path,
        lm_model_path: str,
        backend: str = "native",
        device: str = "auto",
    ) -> tuple[str, bool]:
        """Load a planner.

        Raises:
            UnsupportedError: always in this version.
        """
        raise UnsupportedError(
            f"lm_model_path {lm_model_path!r} cannot be loaded: this version has no planner yet; "
            "leave the LLMHandler uninitialised and pass thinking=False.",
            field="lm_model_path",
            value=(str(checkpoint_dir), backend, device),
        )
