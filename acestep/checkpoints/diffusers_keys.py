"""Names of tensors in a diffusers-format repository -> names in the original checkpoint.

The diffusers conversion splits one file into sub-models and renames some modules; shapes and values stay. Refuses to
know files: it maps one name at a time.
"""

from __future__ import annotations

import re

from acestep.errors import WeightsError

# Sub-model folder of the repository -> where its tensors live in the original state dict.
PREFIXES = {
    "transformer": "decoder.",
    "condition_encoder": "encoder.",
    "audio_tokenizer": "tokenizer.",
    "audio_token_detokenizer": "detokenizer.",
}
# Tensors of ``condition_encoder`` that have no prefix in the original. The silence latent is no weight: originals
# ship it in a file of its own, and a loader takes it out before it fills the network.
SILENCE_KEY = "silence_latent"
UNPREFIXED = frozenset({"null_condition_emb", SILENCE_KEY})
# Module names, each between dots or at the start, as diffusers -> original.
RENAMES = {
    "proj_in_conv": "proj_in.1",
    "proj_out_conv": "proj_out.1",
    "to_q": "q_proj",
    "to_k": "k_proj",
    "to_v": "v_proj",
    "to_out.0": "o_proj",
    "norm_q": "q_norm",
    "norm_k": "k_norm",
}
_RENAMED = re.compile(rf"(?<![^.])({'|'.join(map(re.escape, RENAMES))})(?=\.)")


def to_original(sub_model: str, key: str) -> str:
    """The original name of tensor ``key`` of ``sub_model`` (one of ``PREFIXES``).

    Raises:
        WeightsError: the sub-model is not part of ACE-Step 1.5.
    """
    if sub_model not in PREFIXES:
        raise WeightsError(f"The sub-model {sub_model!r} is unknown; expected one of {', '.join(PREFIXES)}.")
    if sub_model == "condition_encoder" and key in UNPREFIXED:
        return key
    return PREFIXES[sub_model] + _RENAMED.sub(lambda match: RENAMES[match[1]], key)
