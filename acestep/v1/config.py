"""Sizes of the ACE-Step v1 transformer: the checkpoint's ``config.json`` in, one frozen value out.

Refuses to know files, torch, the codec, the vocoder and the tag encoder, which have configurations of their own. A
key that is unknown stops the load, and so does one that is missing: nothing about a checkpoint is guessed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, fields
from math import isfinite
from typing import TypeGuard

from acestep.errors import WeightsError

LATENT_HEIGHT = 16  # rows of a latent frame; one frame is one token
_PATCH = (LATENT_HEIGHT, 1)
# Keys that change nothing at inference: bookkeeping of diffusers, and sizes of the training-only projectors.
_UNUSED = frozenset({"_class_name", "_diffusers_version"})
_UNUSED_PREFIX = "ssl_"
_EXPECTED = {
    "int": "a whole number above 0",
    "float": "a number above 0",
    "tuple[int, ...]": "a list of whole numbers from 0",
}


@dataclass(frozen=True, slots=True)
class TransformerConfig:
    """Sizes of one checkpoint, under the names of its ``config.json``.

    ``inner_dim`` is the width of a token, ``speaker_embedding_dim`` and ``text_embedding_dim`` those of the
    conditions before projection; ``max_position`` and ``max_width`` only size tables that we never build. The fields
    with a default are fixed numbers of the published network that its file does not mention; a file of a smaller
    network names its own. The ``erg_*_layers`` are those whose attention a weakened pass blurs (entropy-rectifying
    guidance): of the transformer, of the lyric encoder and of the tag encoder.

    Raises:
        WeightsError: the sizes do not fit together.
    """

    attention_head_dim: int
    in_channels: int
    inner_dim: int
    lyric_encoder_vocab_size: int
    lyric_hidden_size: int
    max_height: int
    max_position: int
    max_width: int
    mlp_ratio: float
    num_attention_heads: int
    num_layers: int
    out_channels: int
    patch_size: tuple[int, ...]
    rope_theta: float
    speaker_embedding_dim: int
    text_embedding_dim: int
    lyric_layers: int = 6
    lyric_heads: int = 16
    lyric_intermediate: int = 4096
    patch_channels: int = 2048
    patch_groups: int = 32
    erg_diffusion_layers: tuple[int, ...] = (15, 16, 17, 18, 19)
    erg_lyric_layers: tuple[int, ...] = (4, 5)
    erg_tag_layers: tuple[int, ...] = (8, 9)

    def __post_init__(self) -> None:
        _refuse("does not fit together:", "; ".join(self._problems()))

    def _problems(self) -> Iterator[str]:
        if self.inner_dim != self.num_attention_heads * self.attention_head_dim:
            yield f"inner_dim={self.inner_dim} is not num_attention_heads x attention_head_dim"
        if self.attention_head_dim % 4:
            yield f"attention_head_dim={self.attention_head_dim} is not a multiple of 4"
        if self.patch_size != _PATCH or self.max_height != LATENT_HEIGHT:
            yield f"patch_size={list(self.patch_size)} and max_height={self.max_height} are not [16, 1] and 16"
        if self.in_channels != self.out_channels:
            yield f"in_channels={self.in_channels} is not out_channels={self.out_channels}"
        if self.patch_channels % self.patch_groups:
            yield f"patch_channels={self.patch_channels} is not a multiple of patch_groups={self.patch_groups}"
        if self.lyric_hidden_size % 2 or self.lyric_hidden_size % self.lyric_heads:
            yield f"lyric_hidden_size={self.lyric_hidden_size} is odd or no multiple of lyric_heads"
        for name, depth in (("erg_diffusion_layers", self.num_layers), ("erg_lyric_layers", self.lyric_layers)):
            layers = getattr(self, name)
            if any(not 0 <= layer < depth for layer in layers):
                yield f"{name}={list(layers)} are not all among layers 0 to {depth - 1}"

    @classmethod
    def from_dict(cls, raw: Mapping[str, object]) -> TransformerConfig:
        """The sizes in a parsed ``config.json``.

        Raises:
            WeightsError: keys are unknown or missing, or a value is of the wrong type or does not fit the others.
        """
        known = {field.name: field for field in fields(cls)}
        given = {key for key in raw if key not in _UNUSED and not key.startswith(_UNUSED_PREFIX)}
        required = {name for name, field in known.items() if field.default is MISSING}
        _refuse("has keys this version does not know:", ", ".join(sorted(given - known.keys())))
        _refuse("lacks keys:", ", ".join(sorted(required - given)))
        return cls(**{key: _typed(key, raw[key], str(known[key].type)) for key in given})  # type: ignore[arg-type]

    @classmethod
    def published(cls) -> TransformerConfig:
        """The sizes of ACE-Step-v1-3.5B."""
        return cls(
            attention_head_dim=128,
            in_channels=8,
            inner_dim=2560,
            lyric_encoder_vocab_size=6693,
            lyric_hidden_size=1024,
            max_height=LATENT_HEIGHT,
            max_position=32768,
            max_width=32768,
            mlp_ratio=2.5,
            num_attention_heads=20,
            num_layers=24,
            out_channels=8,
            patch_size=_PATCH,
            rope_theta=1_000_000.0,
            speaker_embedding_dim=512,
            text_embedding_dim=768,
        )

    @property
    def mlp_width(self) -> int:
        """Channels of the feed-forward after its gate; before the gate there are twice as many."""
        return int(self.inner_dim * self.mlp_ratio)


def _refuse(what: str, told: str) -> None:
    if told:
        raise WeightsError(f"The configuration of the v1 transformer {what} {told}.")


def _typed(key: str, value: object, kind: str) -> object:
    """``value`` if a field of type ``kind`` can hold it; a list becomes a tuple, a float may be a whole number."""
    if kind == "tuple[int, ...]":
        if isinstance(value, list | tuple) and all(_is_whole(item) and item >= 0 for item in value):
            return tuple(value)
    elif (_is_whole(value) or (kind == "float" and isinstance(value, float) and isfinite(value))) and value > 0:
        return value
    raise WeightsError(f"The configuration of the v1 transformer has {key}={value!r}; expected {_EXPECTED[kind]}.")


def _is_whole(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)
