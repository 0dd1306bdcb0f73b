"""What the registry knows about a model: the columns of its tables.

In: values. Out: frozen rows that compare and hash. Refuses to know any model by name; the rows are in ``registry``.
"""

from __future__ import annotations

from dataclasses import dataclass

from acestep.constants import DURATION_MAX_S


@dataclass(frozen=True, slots=True)
class Generation:
    """A generation of ACE-Step: models of one are loaded and played alike, and can be told the same.

    Attributes:
        name: as people call it.
        planned: a planner writes words and semantic codes for it.
        separates: some of its models take recordings apart.
        corrects: its velocities can be corrected in wavelet bands.
        hears_reference: a recording can set the timbre.
        hears_metadata: tempo, key and meter can be told.
        takes_adapters: LoRAs act on it.
    """

    name: str
    planned: bool = False
    separates: bool = False
    corrects: bool = False
    hears_reference: bool = False
    hears_metadata: bool = False
    takes_adapters: bool = False


FIRST = Generation("ACE-Step v1", takes_adapters=True)
SECOND = Generation(
    "ACE-Step 1.5", planned=True, separates=True, corrects=True, hears_reference=True, hears_metadata=True
)


@dataclass(frozen=True, slots=True)
class Variant:
    """How a kind of checkpoint was trained, so how it is run.

    Attributes:
        steps: denoising steps when the caller names none.
        steps_max: more are cut to this with a warning (``steps_cut``) or refused.
        steps_cut: True for distilled models, whose extra steps would only hurt.
        guidance: default guidance scale; None for models with guidance distilled into them.
        shift: default timestep shift.
        steps_advised: (low, high) range below which the result is known to be rough, or None.
        tasks: names of the tasks it was trained for.
        generation: what it is a model of.
        longest_s: seconds that it plays at once.
    """

    steps: int
    steps_max: int
    steps_cut: bool
    guidance: float | None
    shift: float
    tasks: tuple[str, ...]
    steps_advised: tuple[int, int] | None = None
    generation: Generation = SECOND
    longest_s: float = DURATION_MAX_S


@dataclass(frozen=True, slots=True)
class Layout:
    """Which files a kind of network consists of. Code is never among them.

    Attributes:
        config_class: reads its ``config.json``.
        weights: stem of the safetensors file, or of the index and its shards; "" where there are none.
        required: each entry is one file under one of several names; the first name that exists is taken.
        optional: taken along where they exist.
    """

    config_class: str
    weights: str
    required: tuple[tuple[str, ...], ...]
    optional: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Scale:
    """How big a network is; zeros for embedded ones, which fit everywhere.

    Attributes:
        parameters: number of weights.
        width: bytes per weight in the published file.
        memory: GPU bytes to play with everything resident (users' reports and upstream's tables, not a promise).
        memory_offloaded: the same with one network at a time on the GPU.
    """

    parameters: int = 0
    width: int = 2
    memory: int = 0
    memory_offloaded: int = 0

    @property
    def size(self) -> int:
        """Approximate bytes on disk."""
        return self.parameters * self.width


@dataclass(frozen=True, slots=True, kw_only=True)
class HubFolder:
    """One folder of weights, on the hub and here.

    Attributes:
        name: as callers spell it.
        folder: below the weights folder.
        layout: the files it needs.
        scale: how big it is.
        repository, subfolder: on the model hub; "" for what ships with this project.
        revision: pinned commit on the hub; None is unpinned.
        digests: (file, first digits of its SHA-256) where the published value is known.
        url: of the one file of a folder that is on no hub; its digest is then the whole one.
        embedded: ships with this project.
        released: False for names that documents mention but nobody published.
    """

    name: str
    folder: str
    layout: Layout
    scale: Scale = Scale()
    repository: str = ""
    subfolder: str = ""
    revision: str | None = None
    digests: tuple[tuple[str, str], ...] = ()
    url: str = ""
    embedded: bool = False
    released: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec(HubFolder):
    """One diffusion transformer and the networks it plays with.

    Attributes:
        variant: how it is run.
        vae, text_encoder: folders of the networks it shares, below the weights folder; keys of ``COMPONENTS``.
        others: further folders it needs; keys of ``COMPONENTS`` too.
        alignment_heads: (layer, head) of the cross-attention that follows the lyrics, from 0; () where none is known.
    """

    variant: Variant
    vae: str = "vae"
    text_encoder: str = "Qwen3-Embedding-0.6B"
    others: tuple[str, ...] = ()
    alignment_heads: tuple[tuple[int, int], ...] = ()
