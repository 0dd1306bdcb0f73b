"""Folders of v1 networks: each one's configuration, weights and vocabulary, read into what plays.

In: a folder, a number format. Out: one network with its weights, in eval mode on the CPU, or one tokenizer. Refuses
to know the registry, which networks play together and where folders come from. What only v1 needs of other packages
is imported when it is needed.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from tokenizers import Tokenizer
from transformers import UMT5Config, UMT5EncoderModel

from acestep.checkpoints.family import load_all, naming_file, read_config
from acestep.checkpoints.files import read_json
from acestep.checkpoints.load import load_strict
from acestep.checkpoints.tensors import weight_files
from acestep.errors import UnsupportedError, WeightsError
from acestep.v1.codec import MusicCodec
from acestep.v1.config import TransformerConfig
from acestep.v1.text import TagEncoder, TagTokenizer
from acestep.v1.transformer import DEAD, Transformer
from acestep.v1.vocoder import Vocoder
from acestep.v1.vocoder_config import VocoderConfig

if TYPE_CHECKING:
    from diffusers import AutoencoderDC

_WEIGHTS = "diffusion_pytorch_model"
_UMT5_SIZES = ("d_model", "d_kv", "d_ff", "num_layers", "num_heads", "vocab_size")
_UMT5_DETAILS = ("relative_attention_num_buckets", "relative_attention_max_distance", "layer_norm_epsilon")
_UMT5_GATE = "gated-gelu"
_HOLDERS = {tuple: list, str: str | list, float: int | float}  # what a setting of that type is in JSON
_TABLE = {"shared.weight": "embed_tokens.weight"}  # the one embedding table: its name in files, and in the encoder


def load_transformer(folder: Path, dtype: torch.dtype) -> Transformer:
    """The diffusion transformer with its lyric encoder; what inference never reads stays in the file.

    Raises:
        WeightsError: files are missing or broken, or of another architecture.
    """
    config = read_transformer_config(folder)
    with torch.device("meta"):
        network = Transformer(config)
    return load_strict(network, weight_files(folder, _WEIGHTS), dtype, ignore=DEAD)


def read_transformer_config(folder: Path) -> TransformerConfig:
    """Sizes of the transformer in ``folder``.

    Raises:
        WeightsError: ``config.json`` is missing or broken, or of another architecture.
    """
    raw = read_config(folder, "_class_name", "ACEStepTransformer2DModel")
    with naming_file(folder / "config.json"):
        return TransformerConfig.from_dict(raw)


def load_codec(autoencoder: Path, vocoder: Path, dtype: torch.dtype) -> MusicCodec:
    """Sound to latents and back: two networks as one, the weight norm of the vocoder folded.

    Raises:
        UnsupportedError: diffusers is not installed.
        WeightsError: files of either folder are missing or broken; the problems of both in one text.
    """
    halves: dict[str, Callable[[], object]] = {
        "autoencoder": lambda: load_autoencoder(autoencoder, dtype),
        "vocoder": lambda: load_vocoder(vocoder, dtype).fold(),
    }
    return MusicCodec(*load_all(halves, None).values()).eval()


def load_vocoder(folder: Path, dtype: torch.dtype) -> Vocoder:
    """Spectrograms to sound, and sound to spectrograms.

    Raises:
        WeightsError: files are missing or broken, or of another architecture.
    """
    raw = read_config(folder, "_class_name", "ADaMoSHiFiGANV1")
    with naming_file(folder / "config.json"):
        config = VocoderConfig.from_dict(raw)
    with torch.device("meta"):
        network = Vocoder(config)
    return load_strict(network, weight_files(folder, _WEIGHTS), dtype)


def load_autoencoder(folder: Path, dtype: torch.dtype) -> AutoencoderDC:
    """Spectrograms to latents and back.

    Raises:
        UnsupportedError: diffusers is not installed.
        WeightsError: files are missing or broken, or of another architecture.
    """
    try:
        from diffusers import AutoencoderDC
    except ImportError as error:
        raise UnsupportedError(
            "ACE-Step v1 needs the package diffusers; install it with `pip install 'acestep-cog[v1]'`."
        ) from error
    raw = read_config(folder, "_class_name", AutoencoderDC.__name__)
    with naming_file(folder / "config.json"):
        sizes = _autoencoder_sizes(raw, inspect.signature(AutoencoderDC).parameters)
        with torch.device("meta"):
            network = _built(AutoencoderDC, sizes)
    return load_strict(network, weight_files(folder, _WEIGHTS), dtype)


def load_tag_encoder(folder: Path, dtype: torch.dtype, transformer: Path) -> TagEncoder:
    """The encoder half of UMT5; its attention is written out, which is nearest to how the checkpoint was made.

    Args:
        transformer: folder whose configuration says which layers a weakened pass blurs.

    Raises:
        WeightsError: files are missing or broken, or of another architecture.
    """
    config = read_umt5_config(folder)
    with torch.device("meta"):
        network = UMT5EncoderModel(config)
    load_strict(network.encoder, weight_files(folder, "model"), dtype, rename=_inside_encoder)
    network.shared = network.encoder.embed_tokens
    layers = read_transformer_config(transformer).erg_tag_layers
    with naming_file(transformer / "config.json"):
        return TagEncoder(network, layers).eval()


def read_umt5_config(folder: Path) -> UMT5Config:
    """Sizes of the UMT5 network in ``folder``.

    Raises:
        WeightsError: ``config.json`` is not there, or describes another architecture or no network at all.
    """
    raw = read_config(folder, "model_type", UMT5Config.model_type)
    problems = list(_umt5_problems(raw))
    if problems:
        raise WeightsError(
            f"Model not loaded: {folder / 'config.json'} does not describe a UMT5 encoder: {'; '.join(problems)}."
        )
    given = {key: raw[key] for key in (*_UMT5_SIZES, *_UMT5_DETAILS) if key in raw}
    return UMT5Config(**given, feed_forward_proj=_UMT5_GATE, attn_implementation="eager")


def read_tag_tokenizer(folder: Path) -> TagTokenizer:
    """The vocabulary in ``folder``, as its ``tokenizer.json`` has it; other files of tokenizers are not looked at.

    Raises:
        WeightsError: it is not there, or not a unigram vocabulary.
    """
    path = folder / "tokenizer.json"
    match read_json(path).get("model"):
        case {"type": "Unigram", "vocab": [_, *_] as pieces, "unk_id": int() as unknown} if 0 <= unknown < len(
            pieces
        ) and all(map(_is_piece, pieces)):
            with naming_file(path):
                return TagTokenizer(Tokenizer.from_file(str(path)))
    raise WeightsError(f"Model not loaded: {path} holds no unigram vocabulary.")


def _autoencoder_sizes(raw: Mapping[str, object], known: Mapping[str, inspect.Parameter]) -> dict[str, object]:
    """What of a ``config.json`` the autoencoder is built from; keys that begin with "_" are its writer's notes."""
    sizes = {key: value for key, value in raw.items() if not key.startswith("_")}
    problems = [f"{key} is unknown" for key in sorted(sizes.keys() - known)]
    problems += [
        f"{key}={sizes[key]!r} is not a value like {known[key].default!r}"
        for key in sorted(sizes.keys() & known)
        if not _is_alike(sizes[key], known[key].default)
    ]
    if problems:
        raise WeightsError(f"The autoencoder configuration cannot be used: {'; '.join(problems)}.")
    return sizes


def _is_alike(value: object, example: object) -> bool:
    """Made of the same types; a list stands for a tuple, and may for a word; a whole number may for a real one."""
    types = {int, float} if isinstance(example, float) else set(_types_in(example))
    holder = _HOLDERS.get(type(example), type(example))
    return isinstance(value, holder) and types.issuperset(_types_in(value))


def _types_in(value: object) -> Iterator[type]:
    """Types of ``value``, or of everything in it."""
    if isinstance(value, list | tuple):
        for item in value:
            yield from _types_in(item)
    else:
        yield type(value)


def _built(kind: type[AutoencoderDC], sizes: Mapping[str, object]) -> AutoencoderDC:
    try:
        return kind(**sizes)
    except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise WeightsError(f"The autoencoder configuration does not fit together ({error}).") from error


def _umt5_problems(raw: Mapping[str, object]) -> Iterator[str]:
    sizes = [f"{key}={raw.get(key)!r}" for key in _UMT5_SIZES if not _is_size(raw.get(key))]
    sizes += [f"{key}={raw[key]!r}" for key in _UMT5_DETAILS[:2] if key in raw and not _is_size(raw[key])]
    if sizes:
        yield f"{', '.join(sizes)} should be whole numbers above 0"
    epsilon = raw.get("layer_norm_epsilon", 1e-6)
    if type(epsilon) is not float or not 0 < epsilon < 1:
        yield f"layer_norm_epsilon={epsilon!r} should be between 0 and 1"
    gate = raw.get("feed_forward_proj", _UMT5_GATE)
    if gate != _UMT5_GATE:
        yield f"feed_forward_proj={gate!r} is not supported, only {_UMT5_GATE!r}"


def _is_size(value: object) -> bool:
    return type(value) is int and value > 0


def _is_piece(piece: object) -> bool:
    """One entry of a unigram vocabulary: its text and the logarithm of how likely it is."""
    match piece:
        case [str(), int() | float()]:
            return True
    return False


def _inside_encoder(name: str) -> str:
    return _TABLE.get(name, name.removeprefix("encoder."))
