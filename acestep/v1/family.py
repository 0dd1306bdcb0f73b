"""The networks of v1 that play together: transformer, codec, tag encoder, and both tokenizers. Loaded from a folder.

In: a registry row, the weights folder, a placement. Out: a ``V1Family``. Refuses to know requests and the hub.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from acestep.checkpoints.family import TEXT_ENCODER, TOKENIZER, VAE, Report, load_all, naming_the_remedy
from acestep.checkpoints.integrity import inspect
from acestep.checkpoints.registry_v1 import LYRICS_FILE
from acestep.checkpoints.rows import ModelSpec
from acestep.devices import Placement
from acestep.errors import WeightsError
from acestep.v1.codec import MusicCodec
from acestep.v1.load import load_codec, load_tag_encoder, load_transformer, read_tag_tokenizer
from acestep.v1.lyrics.tokenizer import LyricTokenizer
from acestep.v1.text import TagEncoder, TagTokenizer
from acestep.v1.transformer import Transformer

_TRANSFORMER, LYRIC_TOKENIZER = "transformer", "lyric tokenizer"  # roles beside those of the other generation


@dataclass(frozen=True, slots=True)
class V1Family:
    """Networks in eval mode on the CPU, ready to be placed.

    Attributes:
        spec: registry row of the transformer.
        placement: device of all networks, and dtype of transformer and tag encoder.
        transformer: diffusion transformer with its lyric encoder.
        codec: sound to latents and back, weight norm folded.
        text_encoder: of the tags.
        tag_tokenizer: of the tags.
        lyric_tokenizer: of the lyrics.
        commit: of the transformer on the hub; None when nobody wrote it down, or when it ships with this project.
    """

    spec: ModelSpec
    placement: Placement
    transformer: Transformer
    codec: MusicCodec
    text_encoder: TagEncoder
    tag_tokenizer: TagTokenizer
    lyric_tokenizer: LyricTokenizer
    commit: str | None = None

    @property
    def networks(self) -> dict[str, nn.Module]:
        """The networks by role, for ``devices.Residency``."""
        return {"dit": self.transformer, "vae": self.codec, "text_encoder": self.text_encoder}

    def parts_for(self, spec: ModelSpec) -> dict[str, object]:  # noqa: ARG002 - models of this generation share nothing
        """Parts that another model would load from the very same folders, by role."""
        return {}


def load_v1_family(
    spec: ModelSpec,
    root: Path,
    placement: Placement,
    report: Report | None = None,
    *,
    shared: Mapping[str, object] | None = None,
    codec_dtype: torch.dtype = torch.float32,
) -> V1Family:
    """Load every network of one registry row.

    Args:
        report: called after each network that was loaded with its role, seconds and bytes.
        shared: parts of another family of the same placement, by role; they are taken as they are.
        codec_dtype: of the codec. The published one played in bf16, which rounds every sample to eight bits.

    Raises:
        UnsupportedError: a package that only v1 needs is not installed.
        WeightsError: files are missing or broken; the problems of all networks in one text.
    """
    vocoder, lyrics = (root / folder for folder in spec.others)
    transformer, text_encoder = root / spec.folder, root / spec.text_encoder
    loaders: dict[str, Callable[[], object]] = {  # first the one of which most is in memory twice
        TEXT_ENCODER: lambda: load_tag_encoder(text_encoder, placement.dtype, transformer),
        TOKENIZER: lambda: read_tag_tokenizer(text_encoder),
        VAE: lambda: load_codec(root / spec.vae, vocoder, codec_dtype),
        _TRANSFORMER: lambda: load_transformer(transformer, placement.dtype),
        LYRIC_TOKENIZER: lambda: LyricTokenizer.load(lyrics / LYRICS_FILE),
    }
    with naming_the_remedy(spec):
        parts = dict(shared or {})
        parts |= load_all({role: load for role, load in loaders.items() if role not in parts}, report)
        order = (_TRANSFORMER, VAE, TEXT_ENCODER, TOKENIZER, LYRIC_TOKENIZER)
        family = V1Family(spec, placement, *map(parts.__getitem__, order), commit=inspect(spec, root).commit)
        _check_fit(family)
    return family


def _check_fit(family: V1Family) -> None:
    """Parts that are each whole may still be of different models."""
    problems = "; ".join(_misfits(family))
    if problems:
        raise WeightsError(f"Model not loaded: the parts of {family.spec.name} do not fit together: {problems}.")


def _misfits(family: V1Family) -> Iterator[str]:
    config, tags = family.transformer.config, family.text_encoder.network.config
    if tags.d_model != config.text_embedding_dim:
        yield f"the tag encoder is {tags.d_model} wide, the transformer reads {config.text_embedding_dim}"
    for what, size, rows in (
        ("tag", family.tag_tokenizer.size, tags.vocab_size),
        ("lyric", family.lyric_tokenizer.size, config.lyric_encoder_vocab_size),
    ):
        if size > rows:
            yield f"the {what} tokenizer has {size} tokens, its encoder only {rows} embeddings"
    channels = family.codec.dcae.config.latent_channels
    if channels != config.in_channels:
        yield f"the codec has {channels} latent channels, the transformer {config.in_channels}"
