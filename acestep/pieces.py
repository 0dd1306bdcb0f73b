"""One row of a batch: what is played, from which noise, over which recording.

In: values of earlier stages. Out: a ``Piece``. Refuses to know networks and tasks.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from acestep.constants import SAMPLE_RATE, SAMPLES_PER_FRAME
from acestep.planner.plan import Plan
from acestep.sampling.noise import pass_seed
from acestep.tasks import Source


@dataclass(frozen=True, slots=True, eq=False)
class Ground:
    """A recording under a piece.

    Attributes:
        latents: of the recording, ``[1, T, C]``; they decide the length.
        heard: what the transformer hears of it.
        region: latent frames (start, stop) where music is made; None is everywhere.
        erased: within the region the recording is not heard, and outside it stays as it is while sampling.
    """

    latents: Tensor
    heard: Source
    region: tuple[int, int] | None = None
    erased: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """What one row of a batch plays.

    Attributes:
        plan: the song on paper.
        instruction: first line of the text prompt.
        seed: of the song: its noise, and the excerpts of its reference.
        track: name of the one track it is, or "".
        ground: the recording under it, or None.
        variation_seed: of a second noise; None is none.
        decoded: latent frames (low, high) that are wanted as sound; None is all.
        number: of the pass, where a song is made in several; each has noise of its own.
    """

    plan: Plan
    instruction: str
    seed: int
    track: str = ""
    ground: Ground | None = None
    variation_seed: int | None = None
    decoded: tuple[int, int] | None = None
    number: int = 0

    @property
    def noise_seed(self) -> int:
        """Seed of its noise."""
        return pass_seed(self.seed, self.number)

    @property
    def frames(self) -> int:
        """Its length in latent frames."""
        return latent_frames(self.plan.duration_s) if self.ground is None else self.ground.latents.shape[1]

    @property
    def region(self) -> tuple[int, int]:
        """Latent frames (start, stop) where music is made."""
        region = None if self.ground is None else self.ground.region
        return (0, self.frames) if region is None else region


def latent_frames(seconds: float) -> int:
    """Latent frames that cover ``seconds``; the waveform is cut to the exact sample afterwards."""
    return -(-round(seconds * SAMPLE_RATE) // SAMPLES_PER_FRAME)
