"""The published v1 model as sparse files, and its embedded one in the published folders, to be spoilt by tests.

In: a weights folder. Out: the five folders below it. Refuses to know how weights are read.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from acestep.checkpoints.files import PACKAGED
from acestep.checkpoints.registry import MODELS, ModelSpec

from published_shapes import Shapes
from published_support import write_sparse
from v1_published_codec_shapes import autoencoder_shapes, vocoder_shapes
from v1_published_shapes import transformer_shapes

PUBLISHED, TINY = MODELS["v1-3.5B"], MODELS["tiny-v1"]
UMT5_TENSORS, UMT5_PARAMETERS = 122, 281_861_376
_STEM = "diffusion_pytorch_model"


def umt5_shapes(layers: int = 12) -> Shapes:
    """Every tensor of the tag encoder."""
    shapes: Shapes = {"shared.weight": (256_384, 768), "encoder.final_layer_norm.weight": (768,)}
    for layer in range(layers):
        here = f"encoder.block.{layer}.layer"
        shapes |= {f"{here}.0.SelfAttention.{name}.weight": (768, 768) for name in "qkvo"}
        shapes[f"{here}.0.SelfAttention.relative_attention_bias.weight"] = (32, 12)
        shapes |= {f"{here}.1.DenseReluDense.{name}.weight": (2048, 768) for name in ("wi_0", "wi_1")}
        shapes[f"{here}.1.DenseReluDense.wo.weight"] = (768, 2048)
        shapes |= {f"{here}.{part}.layer_norm.weight": (768,) for part in (0, 1)}
    return shapes


def folders_of(spec: ModelSpec) -> tuple[str, ...]:
    """Transformer, autoencoder, tag encoder, vocoder and lyrics, below the weights folder."""
    return spec.folder, spec.vae, spec.text_encoder, *spec.others


def publish(root: Path) -> Path:
    """Everything of the published model, all weights zero; both vocabularies are the embedded model's, smaller."""
    transformer, autoencoder, tags, vocoder, lyrics = (root / folder for folder in folders_of(PUBLISHED))
    for folder, config in ((transformer, TRANSFORMER), (autoencoder, AUTOENCODER), (tags, UMT5), (vocoder, VOCODER)):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text(as_published(config))
    write_sparse(transformer / f"{_STEM}.safetensors", transformer_shapes(), "BF16")
    write_sparse(autoencoder / f"{_STEM}.safetensors", autoencoder_shapes(), "BF16")
    write_sparse(vocoder / f"{_STEM}.safetensors", vocoder_shapes(), "BF16")
    write_sparse(tags / "model.safetensors", umt5_shapes(), "F32")
    shutil.copy(PACKAGED / TINY.text_encoder / "tokenizer.json", tags)
    shutil.copytree(PACKAGED / TINY.others[1], lyrics)
    return root


def as_published(config: dict[str, object]) -> str:
    """A configuration as its library writes it: to the byte what is on the hub."""
    return json.dumps(config, indent=2, sort_keys=True) + "\n"


def fill(root: Path) -> Path:
    """The embedded networks in the folders of the published model, as a person would copy them."""
    for source, target in zip(folders_of(TINY), folders_of(PUBLISHED), strict=True):
        shutil.copytree(PACKAGED / source, root / target)
    return root


TRANSFORMER: dict[str, object] = {
    "_class_name": "ACEStepTransformer2DModel",
    "_diffusers_version": "0.32.2",
    "attention_head_dim": 128,
    "in_channels": 8,
    "inner_dim": 2560,
    "lyric_encoder_vocab_size": 6693,
    "lyric_hidden_size": 1024,
    "max_height": 16,
    "max_position": 32768,
    "max_width": 32768,
    "mlp_ratio": 2.5,
    "num_attention_heads": 20,
    "num_layers": 24,
    "out_channels": 8,
    "patch_size": [16, 1],
    "rope_theta": 1000000.0,
    "speaker_embedding_dim": 512,
    "ssl_encoder_depths": [8, 8],
    "ssl_latent_dims": [1024, 768],
    "ssl_names": ["mert", "m-hubert"],
    "text_embedding_dim": 768,
}
AUTOENCODER: dict[str, object] = {
    "_class_name": "AutoencoderDC",
    "_diffusers_version": "0.32.2",
    "_name_or_path": "checkpoints/music_dcae_f8c8",
    "attention_head_dim": 32,
    "decoder_act_fns": "silu",
    "decoder_block_out_channels": [128, 256, 512, 1024],
    "decoder_block_types": ["ResBlock", "ResBlock", "ResBlock", "EfficientViTBlock"],
    "decoder_layers_per_block": [3, 3, 3, 3],
    "decoder_norm_types": "rms_norm",
    "decoder_qkv_multiscales": [[], [], [5], [5]],
    "downsample_block_type": "Conv",
    "encoder_block_out_channels": [128, 256, 512, 1024],
    "encoder_block_types": ["ResBlock", "ResBlock", "ResBlock", "EfficientViTBlock"],
    "encoder_layers_per_block": [2, 2, 3, 3],
    "encoder_qkv_multiscales": [[], [], [5], [5]],
    "in_channels": 2,
    "latent_channels": 8,
    "scaling_factor": 0.41407,
    "upsample_block_type": "interpolate",
}
VOCODER: dict[str, object] = {
    "_class_name": "ADaMoSHiFiGANV1",
    "_diffusers_version": "0.32.2",
    "depths": [3, 3, 9, 3],
    "dims": [128, 256, 384, 512],
    "drop_path_rate": 0.0,
    "f_max": 16000,
    "f_min": 40,
    "hop_length": 512,
    "input_channels": 128,
    "kernel_sizes": [7],
    "n_fft": 2048,
    "n_mels": 128,
    "num_mels": 512,
    "post_conv_kernel_size": 13,
    "pre_conv_kernel_size": 13,
    "resblock_dilation_sizes": [[1, 3, 5], [1, 3, 5], [1, 3, 5], [1, 3, 5]],
    "resblock_kernel_sizes": [3, 7, 11, 13],
    "sampling_rate": 44100,
    "upsample_initial_channel": 1024,
    "upsample_kernel_sizes": [8, 8, 4, 4, 4, 4, 4],
    "upsample_rates": [4, 4, 2, 2, 2, 2, 2],
    "use_template": False,
    "win_length": 2048,
}
UMT5: dict[str, object] = {
    "_name_or_path": "google/umt5-base",
    "architectures": ["UMT5EncoderModel"],
    "classifier_dropout": 0.0,
    "d_ff": 2048,
    "d_kv": 64,
    "d_model": 768,
    "decoder_start_token_id": 0,
    "dense_act_fn": "gelu_new",
    "dropout_rate": 0.1,
    "eos_token_id": 1,
    "feed_forward_proj": "gated-gelu",
    "initializer_factor": 1.0,
    "is_encoder_decoder": True,
    "is_gated_act": True,
    "layer_norm_epsilon": 1e-06,
    "model_type": "umt5",
    "num_decoder_layers": 12,
    "num_heads": 12,
    "num_layers": 12,
    "output_past": True,
    "pad_token_id": 0,
    "relative_attention_max_distance": 128,
    "relative_attention_num_buckets": 32,
    "scalable_attention": True,
    "tie_word_embeddings": False,
    "tokenizer_class": "T5Tokenizer",
    "torch_dtype": "float32",
    "transformers_version": "4.44.0",
    "use_cache": True,
    "vocab_size": 256384,
}
