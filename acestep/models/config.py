"""Sizes of the ACE-Step 1.5 networks: a checkpoint's ``config.json`` in, one frozen value out.

Refuses to know where the file came from, what a model is called in the registry, and anything of torch. A key nobody
has heard of stops the load: a checkpoint that needs it would otherwise run and sound wrong.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from math import isfinite, prod

from acestep.constants import FRAMES_PER_CODE, LATENT_CHANNELS
from acestep.errors import WeightsError

WINDOWED, FULL = "sliding_attention", "full_attention"

# Keys of published files that change nothing at inference: training settings, bookkeeping of transformers, and sizes
# of modules that do not exist in the released networks.
UNUSED_KEYS = frozenset(
    """
    _name_or_path architectures attention_dropout auto_map bos_token_id chunk_size_feed_forward data_proportion dtype
    eos_token_id id2label initializer_range is_encoder_decoder label2id max_position_embeddings model_type
    num_audio_decoder_hidden_layers output_attentions output_hidden_states pad_token_id problem_type return_dict
    tie_word_embeddings timbre_fix_frame timestep_mu timestep_sigma torch_dtype transformers_version use_cache
    vocab_size
    """.split()
)
# Keys whose only supported value is what every released checkpoint says.
FIXED_KEYS: dict[str, object] = {
    "hidden_act": "silu",
    "rope_scaling": None,
    "attention_bias": False,
    "use_sliding_window": True,
    "fsq_input_num_quantizers": 1,
    "is_lego_sft": False,  # such a checkpoint is prompted in another form
}


@dataclass(frozen=True, slots=True)
class AceStepConfig:
    """Sizes of one checkpoint; the defaults are those of the 2B models. Names are the ones of ``config.json``.

    Widths are in channels, ``sliding_window`` in tokens to each side, ``pool_window_size`` in latent frames per code.
    The five ``encoder_*`` fields are None where the file lacks them: then the condition side shares the DiT's sizes.
    No published file has ``encoder_rope_theta``; the embedded models do.

    Raises:
        WeightsError: the sizes do not fit together.
    """

    hidden_size: int = 2048
    intermediate_size: int = 6144
    num_hidden_layers: int = 24
    num_attention_heads: int = 16
    num_key_value_heads: int = 8
    head_dim: int = 128
    rms_norm_eps: float = 1e-6
    rope_theta: float = 1_000_000.0
    sliding_window: int = 128
    layer_types: tuple[str, ...] = (WINDOWED, FULL) * 12
    in_channels: int = 3 * LATENT_CHANNELS
    patch_size: int = 2
    audio_acoustic_hidden_dim: int = LATENT_CHANNELS
    text_hidden_dim: int = 1024
    timbre_hidden_dim: int = LATENT_CHANNELS
    num_lyric_encoder_hidden_layers: int = 8
    num_timbre_encoder_hidden_layers: int = 4
    num_attention_pooler_hidden_layers: int = 2
    pool_window_size: int = FRAMES_PER_CODE
    fsq_dim: int = 2048
    fsq_input_levels: tuple[int, ...] = (8, 8, 8, 5, 5, 5)
    encoder_hidden_size: int | None = None
    encoder_intermediate_size: int | None = None
    encoder_num_attention_heads: int | None = None
    encoder_num_key_value_heads: int | None = None
    encoder_rope_theta: float | None = None
    is_turbo: bool = False
    model_version: str = ""

    def __post_init__(self) -> None:
        problems = list(self._problems())
        if problems:
            raise WeightsError(f"The model configuration does not fit together: {'; '.join(problems)}.")

    def _problems(self) -> Iterator[str]:
        for heads, groups in {(self.num_attention_heads, self.num_key_value_heads), self._encoder_heads}:
            if groups < 1 or heads % groups:
                yield f"{heads} attention heads are not a multiple of {groups} key/value heads"
        for theta in (self.rope_theta, self.encoder_rope_theta):
            if theta is not None and not (isfinite(theta) and theta > 0):
                yield f"rope_theta={theta} is not above 0"
        if self.head_dim % 2:
            yield f"head_dim={self.head_dim} is not even"
        if len(self.layer_types) < self._deepest:
            yield f"layer_types has {len(self.layer_types)} entries for {self._deepest} layers"
        if not set(self.layer_types) <= {WINDOWED, FULL}:
            yield f"layer_types holds something other than {WINDOWED!r} and {FULL!r}"
        if self.sliding_window < 1:
            yield f"sliding_window={self.sliding_window} is below 1"
        if self.in_channels != 3 * self.audio_acoustic_hidden_dim:
            yield f"in_channels={self.in_channels} is not 3 x audio_acoustic_hidden_dim"
        if self.fsq_dim != self.encoder_width:
            yield f"fsq_dim={self.fsq_dim} is not the encoder width {self.encoder_width}"

    @classmethod
    def from_dict(cls, raw: Mapping[str, object]) -> AceStepConfig:
        """The sizes in a parsed ``config.json``.

        Raises:
            WeightsError: a key is unknown, or a value is of the wrong type, unsupported or inconsistent.
        """
        known = {field.name for field in fields(cls)}
        unknown = sorted(set(raw) - known - UNUSED_KEYS - set(FIXED_KEYS))
        if unknown:
            raise WeightsError(f"The model configuration has keys this version does not know: {', '.join(unknown)}.")
        for key, supported in FIXED_KEYS.items():
            if raw.get(key, supported) != supported:
                raise WeightsError(
                    f"The model configuration has {key}={raw[key]!r}; only {supported!r} is supported."
                )
        return cls(**{key: _typed(key, raw[key]) for key in raw if key in known})  # type: ignore[arg-type]

    @property
    def encoder_width(self) -> int:
        """Width of the condition sequence the cross-attention reads."""
        return self.encoder_hidden_size or self.hidden_size

    @property
    def _encoder_heads(self) -> tuple[int, int]:
        return (
            self.encoder_num_attention_heads or self.num_attention_heads,
            self.encoder_num_key_value_heads or self.num_key_value_heads,
        )

    @property
    def _deepest(self) -> int:
        return max(
            self.num_hidden_layers,
            self.num_lyric_encoder_hidden_layers,
            self.num_timbre_encoder_hidden_layers,
            self.num_attention_pooler_hidden_layers,
        )

    @property
    def encoder(self) -> AceStepConfig:
        """Sizes of the condition encoder, tokenizer and detokenizer: the ``encoder_*`` ones where they are given."""
        heads, groups = self._encoder_heads
        return replace(
            self,
            hidden_size=self.encoder_width,
            intermediate_size=self.encoder_intermediate_size or self.intermediate_size,
            num_attention_heads=heads,
            num_key_value_heads=groups,
            rope_theta=self.rope_theta if self.encoder_rope_theta is None else self.encoder_rope_theta,
        )

    @property
    def prepends_timbre_token(self) -> bool:
        """Whether the timbre encoder reads its learned token in front of the audio: the XL checkpoints, and no other.

        Upstream ships two modelling files; the one for XL is the one whose configuration names an encoder width.
        """
        return self.encoder_hidden_size is not None

    @property
    def codebook_size(self) -> int:
        """How many different audio codes exist."""
        return prod(self.fsq_input_levels)

    def is_windowed(self, layer: int) -> bool:
        """Whether layer ``layer`` of any of the stacks attends within ``sliding_window`` tokens only."""
        return self.layer_types[layer] == WINDOWED


_KINDS = {field.name: str(field.type) for field in fields(AceStepConfig)}
_ACCEPTED: dict[str, tuple[type, ...]] = {
    "int": (int,),
    "int | None": (int, type(None)),
    "float": (float, int),
    "float | None": (float, int, type(None)),
    "bool": (bool,),
    "str": (str,),
    "tuple[int, ...]": (int,),
    "tuple[str, ...]": (str,),
}


def _typed(key: str, value: object) -> object:
    """``value`` if the field ``key`` can hold it (a list becomes a tuple)."""
    kind = _KINDS[key]
    several = kind.startswith("tuple")
    items = value if several and isinstance(value, list | tuple) else (value,)
    plain = all(isinstance(item, _ACCEPTED[kind]) and isinstance(item, bool) == (kind == "bool") for item in items)
    if not plain or several != isinstance(value, list | tuple):
        raise WeightsError(f"The model configuration has {key}={value!r}; expected {kind}.")
    return tuple(items) if several else value
