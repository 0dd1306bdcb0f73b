"""Sizes of the trained embedded family: what fits into 24 MiB of 16-bit weights and two CPU cores. Pure data.

The keys are those of the networks' ``config.json``. What the semantic codes are is decided by ``fsq_input_levels``.
"""

from __future__ import annotations

VOCABULARY = 960
TEXT_WIDTH = 128
AUTOENCODER = {
    "encoder_hidden_size": 80,
    "decoder_channels": 80,
    "channel_multiples": [2, 5],
    "downsampling_ratios": [8, 6],
    "outer_stride": 40,
    "envelope_channels": 12,
}
TRANSFORMER = {
    "hidden_size": 128,
    "intermediate_size": 384,
    "num_hidden_layers": 6,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "rope_theta": 1_000.0,  # of few frequencies, most tell a beat or a bar from its neighbours
    "encoder_rope_theta": 1_000_000.0,
    "patch_size": 1,  # so narrow a token has no room for two frames of noise beside what it knows
    "text_hidden_dim": TEXT_WIDTH,
    "num_lyric_encoder_hidden_layers": 1,
    "num_timbre_encoder_hidden_layers": 1,
    "num_attention_pooler_hidden_layers": 1,
    "fsq_dim": 128,
    "fsq_input_levels": [2] * 12,  # a few many-valued digits learn worse than many bits
}
LANGUAGE_MODEL = {
    "hidden_size": TEXT_WIDTH,
    "intermediate_size": 3 * TEXT_WIDTH,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "tie_word_embeddings": True,
    "max_position_embeddings": 8192,
    "rope_theta": 1_000_000.0,
}
PLANNER = {
    **LANGUAGE_MODEL,
    "num_hidden_layers": 4,
    "intermediate_size": 2 * TEXT_WIDTH,
    "rope_theta": 1_000.0,  # of few frequencies, none is slower than a song: a beat is one to five codes long
}
