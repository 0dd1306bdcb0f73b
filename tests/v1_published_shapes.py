"""Names and shapes of every tensor in the published v1 transformer, those that inference never reads included.

Written down from the description of the published file, not from our networks: a test that compares the two can fail.
Refuses to know files and what tensors are for.
"""

from __future__ import annotations

from collections.abc import Mapping

Shapes = dict[str, tuple[int, ...]]

TENSORS, DEAD_TENSORS = 874, 204
PARAMETERS, LIVE_PARAMETERS = 3_305_659_264, 2_588_427_392
BLOCKS, LYRIC_LAYERS = 24, 6

# Letters in the tables are sizes: D width of a token, G channels before the gate, M after it, E width of the lyric
# encoder, I of its feed-forward, P channels of the patches, V vocabulary. A "+" is a bias as long as the first size.
_SIZES = {"D": 2560, "G": 12800, "M": 6400, "E": 1024, "I": 4096, "P": 2048, "V": 6693}
_TOP = """
    timestep_embedder.linear_1     D 256      +
    timestep_embedder.linear_2     D D        +
    t_block.1                      15360 D    +
    speaker_embedder               D 512      +
    genre_embedder                 D 768      +
    lyric_embs                     V E
    lyric_proj                     D E        +
    proj_in.early_conv_layers.0    P 8 16 1   +
    proj_in.early_conv_layers.1    P          +
    proj_in.early_conv_layers.2    D P 1 1    +
    final_layer.scale_shift_table= 2 D
    final_layer.linear             128 D      +
    lyric_encoder.embed.out.0      E E        +
    lyric_encoder.embed.out.1      E          +
    lyric_encoder.after_norm       E          +
"""
_BLOCK = """
    scale_shift_table=         6 D
    attn.to_q                  D D       +
    attn.to_k                  D D       +
    attn.to_v                  D D       +
    attn.to_out.0              D D       +
    cross_attn.to_q            D D       +
    cross_attn.to_k            D D       +
    cross_attn.to_v            D D       +
    cross_attn.to_out.0        D D       +
    ff.inverted_conv.conv      G D 1     +
    ff.depth_conv.conv         G 1 3     +
    ff.point_conv.conv         D M 1
"""
_DEAD_BLOCK = """
    cross_attn.add_q_proj      D D       +
    cross_attn.add_k_proj      D D       +
    cross_attn.add_v_proj      D D       +
    cross_attn.to_add_out      D D       +
"""
_LYRIC_LAYER = """
    self_attn.linear_q         E E       +
    self_attn.linear_k         E E       +
    self_attn.linear_v         E E       +
    self_attn.linear_out       E E       +
    self_attn.linear_pos       E E
    self_attn.pos_bias_u=      16 64
    self_attn.pos_bias_v=      16 64
    feed_forward.w_1           I E       +
    feed_forward.w_2           E I       +
    norm_ff                    E         +
    norm_mha                   E         +
"""
_PROJECTOR = """
    0    5120 D      +
    2    5120 5120   +
    4    {}   5120   +
"""
_PROJECTED = (1024, 768)


def live_shapes() -> Shapes:
    """Every tensor that inference reads."""
    found = _shapes(_TOP)
    for block in range(BLOCKS):
        found |= _shapes(_BLOCK, f"transformer_blocks.{block}.")
    for layer in range(LYRIC_LAYERS):
        found |= _shapes(_LYRIC_LAYER, f"lyric_encoder.encoders.{layer}.")
    return found


def dead_shapes() -> Shapes:
    """Every tensor that only training read."""
    found: Shapes = {}
    for block in range(BLOCKS):
        found |= _shapes(_DEAD_BLOCK, f"transformer_blocks.{block}.")
    for number, width in enumerate(_PROJECTED):
        found |= _shapes(_PROJECTOR.format(width), f"projectors.{number}.")
    return found


def transformer_shapes() -> Shapes:
    """Every tensor of the file."""
    return live_shapes() | dead_shapes()


def _shapes(table: str, prefix: str = "", sizes: Mapping[str, int] = _SIZES) -> Shapes:
    """Lines of a module and its weight's sizes, or of a tensor that is no module's (``=``) and its sizes."""
    found: Shapes = {}
    for name, *words in map(str.split, filter(str.strip, table.splitlines())):
        shape = tuple(sizes.get(word) or int(word) for word in words if word != "+")
        found[f"{prefix}{name[:-1]}" if name.endswith("=") else f"{prefix}{name}.weight"] = shape
        if "+" in words:
            found[f"{prefix}{name}.bias"] = shape[:1]
    return found
