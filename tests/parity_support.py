"""The same song twice: through our renderer, and through diffusers' ``AceStepPipeline`` on the same weights.

Ours is the production road (``Request`` -> ``Renderer.render``) on an embedded family in fp32. Theirs is put together
from diffusers' public classes: the transformer's parts through the key map, VAE and text encoder from the files, read
by diffusers and transformers themselves. Both are given one plan and the noise of one seed.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import pytest
import torch
from diffusers import AceStepPipeline, AutoencoderOobleck, FlowMatchEulerDiscreteScheduler
from diffusers.models.autoencoders.autoencoder_oobleck import OobleckDiagonalGaussianDistribution
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from tokenizers.processors import TemplateProcessing
from torch import Tensor, nn
from torch.nn.utils import weight_norm
from transformers import PreTrainedTokenizerFast, Qwen3Model

from acestep.checkpoints.family import Family, find_weights
from acestep.checkpoints.files import read_json
from acestep.checkpoints.registry import EMBEDDED_BASE_MODEL, EMBEDDED_MODEL, ModelSpec
from acestep.cogrun.schema import PROJECT
from acestep.conditioning.text import END_OF_TEXT
from acestep.constants import AUDIO_CHANNELS, CODE_RATE, LATENT_CHANNELS, SAMPLE_RATE, TIMBRE_SECONDS
from acestep.handler import AceStepHandler
from acestep.models.oobleck import Oobleck
from acestep.models.vae_config import OobleckConfig
from acestep.params import GenerationConfig, GenerationParams
from acestep.pieces import latent_frames
from acestep.planner.plan import Metadata, Plan
from acestep.playing import Rendering
from acestep.request import Request
from acestep.sampling.noise import item_noise

from models_support import diffusers_twin, draw

SEED = 77
PUBLISHED_FORM = {"encoder_hidden_size": 8, "decoder_channels": 8}  # strides as published, which diffusers can run
PATCH = (0.55, 0.45)  # what either frame of a published patch has of our one
OURS = ("outer_stride", "envelope_channels")  # keys of an autoencoder's configuration that were never published
PARTS = ("transformer", "condition_encoder", "audio_tokenizer", "audio_token_detokenizer")
WORDS = "[Verse]\nUnder the river the morning is turning\nhold me and run\n\n[Chorus]\nNever again"


def song(
    seconds: float = 4.0, lyrics: str = WORDS, caption: str = "calm piano, soft rain", codes: Sequence[int] = ()
) -> Plan:
    """A plan with every kind of metadata."""
    return Plan(
        caption,
        lyrics,
        Metadata(96, "F# minor", "3", len(codes) / CODE_RATE if codes else seconds, "en"),
        tuple(codes),
    )


def spelled(codes: Sequence[int]) -> str:
    """Codes as text."""
    return "".join(f"<|audio_code_{code}|>" for code in codes)


# --- Ours -------------------------------------------------------------------------------------------------------


def request_for(handler: AceStepHandler, seeds: Sequence[int], **fields: object) -> Request:
    """A judged request; ``fields`` are those of ``GenerationParams``, of which only the sampling ones matter here."""
    params = GenerationParams(**{"caption": "told by the plan", "thinking": False, **fields})
    return Request.from_params(params, GenerationConfig(batch_size=len(seeds), seeds=list(seeds)), handler.model)


def ours(
    handler: AceStepHandler,
    *plans: Plan,
    seeds: Sequence[int] = (SEED,),
    reference: Tensor | None = None,
    **fields: object,
) -> Rendering:
    """The plans as our renderer plays them."""
    return handler.renderer.render(request_for(handler, seeds, **fields), plans, reference)


def latents_of(rendering: Rendering) -> Tensor:
    """Latents ``[B, T, C]`` of songs that are equally long."""
    return torch.stack([item.latents for item in rendering.songs])


def recording(seconds: float, seed: int = 3) -> Tensor:
    """Noise to listen to, ``[2, S]`` at 48 kHz."""
    return 0.2 * draw(2, round(seconds * SAMPLE_RATE), seed=seed)


def far(a: Tensor, b: Tensor, times: float = 100.0) -> bool:
    """So many times further apart than ``assert_close`` allows."""
    return bool((a - b).abs().max() > times * 1e-5 * max(1.0, float(b.abs().max())))


# --- Theirs -----------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Seen:
    """What diffusers' networks were given in one run; ``latents`` is what came out.

    Attributes:
        ids: of the text prompts, then of the lyric prompts, each ``[B, L]``.
        conditions: encoder states of every step, ``[B, L, E]`` (twice as many rows when guided).
        context: context latents of every step, ``[B, T, 2 * C]``.
        times: of every step, (t, r) of the first song.
        rows: of every step, how many songs and null songs ran.
    """

    ids: list[Tensor] = field(default_factory=list)
    conditions: list[Tensor] = field(default_factory=list)
    context: list[Tensor] = field(default_factory=list)
    times: list[tuple[float, float]] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    latents: Tensor = field(default_factory=lambda: torch.empty(0))

    def note_ids(self, _module: nn.Module, args: tuple[Tensor, ...]) -> None:
        self.ids.append(args[0])

    def note_step(self, _module: nn.Module, _args: tuple[object, ...], given: dict[str, Tensor]) -> None:
        self.conditions.append(given["encoder_hidden_states"])
        self.context.append(given["context_latents"])
        self.times.append((float(given["timestep"][0]), float(given["timestep_r"][0])))
        self.rows.append(len(given["timestep"]))


@contextmanager
def watched(pipe: AceStepPipeline) -> Iterator[Seen]:
    """Note what the networks of ``pipe`` are given inside the block."""
    seen = Seen()
    hooks = (
        pipe.text_encoder.get_input_embeddings().register_forward_pre_hook(seen.note_ids),
        pipe.transformer.register_forward_pre_hook(seen.note_step, with_kwargs=True),
    )
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def theirs(pipe: AceStepPipeline, *plans: Plan, seeds: Sequence[int] = (SEED,), **arguments: object) -> Seen:
    """The plans as diffusers plays them: one duration and one set of metadata for all, from the first plan.

    Args:
        pipe: from ``diffusers_pipeline``.
        plans: the songs.
        seeds: of the initial noise, which is the one our renderer draws.
        arguments: of the pipeline's call, over those the plans say.
    """
    frames = max(latent_frames(plan.duration_s) for plan in plans)
    given = {
        **told(*plans),
        "latents": item_noise(seeds, [frames] * len(seeds), LATENT_CHANNELS),
        "output_type": "latent",
        "guidance_scale": 1.0,
        **arguments,
    }
    with watched(pipe) as seen:
        seen.latents = pipe(**given).audios
    return seen


def their_ids(pipe: AceStepPipeline, plan: Plan, instruction: str | None = None) -> tuple[list[list[int]], ...]:
    """Ids of the text and of the lyric prompt as diffusers tokenises them, one row each."""
    arguments = told(plan)
    del arguments["audio_codes"]
    with watched(pipe) as seen, torch.no_grad():
        pipe.encode_prompt(device=torch.device("cpu"), instruction=instruction, **arguments)
    text, lyric = seen.ids
    return text.tolist(), lyric.tolist()


@contextmanager
def mean_encoding() -> Iterator[None]:
    """diffusers' VAE encodes to the mean inside the block, as ours always does."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(OobleckDiagonalGaussianDistribution, "sample", lambda self, generator=None: self.mode())
        yield


def told(*plans: Plan) -> dict[str, object]:
    """The plans in the vocabulary of the pipeline's call."""
    metadata = plans[0].metadata
    codes = [spelled(plan.audio_codes) for plan in plans]
    return {
        "prompt": [plan.caption for plan in plans],
        "lyrics": [plan.lyrics for plan in plans],
        "vocal_language": [plan.metadata.language for plan in plans],
        "bpm": metadata.bpm,
        "keyscale": metadata.keyscale,
        "timesignature": metadata.timesignature,
        "audio_duration": 0 if any(codes) else plans[0].duration_s,  # 0: as long as the codes
        "audio_codes": codes if any(codes) else None,
    }


def published_form(root: Path) -> Path:
    """A folder of the embedded models in the published form: their transformers have patches of two frames, their
    autoencoder is one that diffusers can be."""
    weights, packaged = root / "weights", PROJECT / "weights"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        vae = write_random_vae(weights / EMBEDDED_MODEL.vae)
    silence = vae.encode(torch.zeros(1, AUDIO_CHANNELS, SAMPLE_RATE * TIMBRE_SECONDS))
    for spec in (EMBEDDED_MODEL, EMBEDDED_BASE_MODEL):
        (weights / spec.folder).mkdir(exist_ok=True)
        write_in_patches(packaged / spec.folder, weights / spec.folder)
        save_file({"silence_latent": silence.half()}, weights / spec.folder / "silence_latent.safetensors")
    (weights / EMBEDDED_MODEL.text_encoder).symlink_to(packaged / EMBEDDED_MODEL.text_encoder)
    return root


def write_in_patches(packaged: Path, folder: Path) -> None:
    """A transformer of patches of one frame as one of patches of ``PATCH``, whose frames differ; all its parts count
    positions alike."""
    config = json.loads((packaged / "config.json").read_text())
    assert config["patch_size"] == 1
    theta = config.pop("encoder_rope_theta")
    (folder / "config.json").write_text(json.dumps({**config, "rope_theta": theta, "patch_size": len(PATCH)}))
    tensors = load_file(packaged / "model.safetensors")
    for name, total in (("decoder.proj_in.1.weight", 1.0), ("decoder.proj_out.1.weight", len(PATCH))):
        tensors[name] = torch.cat([tensors[name] * share * total for share in PATCH], dim=-1)
    save_file(tensors, folder / "model.safetensors")


def write_random_vae(folder: Path) -> Oobleck:
    """A small autoencoder of the published form; of recordings it makes latents of unit variance, of those noise."""
    vae = Oobleck(OobleckConfig.from_dict(PUBLISHED_FORM)).requires_grad_(False).eval()
    for parameter in vae.parameters():
        if not parameter.any():  # as construction left it; every tensor shall take part
            parameter.copy_(0.02 * torch.randn_like(parameter))
    vae.encoder.conv2.weight_g[:LATENT_CHANNELS].div_(vae.encode(recording(2.0)[None]).std(1).mean())
    vae.decoder.conv2.weight_g.mul_(0.1 / vae.decode(torch.randn(1, 50, LATENT_CHANNELS)).std())
    published = {key: value for key, value in asdict(vae.config).items() if key not in OURS}
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(published))
    tensors = {name: tensor.half().contiguous() for name, tensor in vae.state_dict().items()}
    save_file(tensors, folder / "diffusion_pytorch_model.safetensors")
    return vae


def diffusers_pipeline(family: Family, root: Path) -> AceStepPipeline:
    """The pipeline on the weights of ``family``, which were loaded from ``published_form``, in fp32 and silent."""
    twins = {name: diffusers_twin(name, family.model) for name in PARTS}
    config = family.model.config
    twins["transformer"].register_to_config(is_turbo=config.is_turbo, model_version=config.model_version)
    twins["condition_encoder"].silence_latent = family.silence.clone()
    pipe = AceStepPipeline(
        vae=_vae(root / "weights" / family.spec.vae),
        text_encoder=_text_encoder(family.spec),
        tokenizer=_tokenizer(family.spec),
        scheduler=FlowMatchEulerDiscreteScheduler(num_train_timesteps=1, shift=1.0),
        **twins,
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def _vae(folder: Path) -> AutoencoderOobleck:
    """diffusers' encoder has as many moments as its first layer has channels, true of the published sizes only."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*weight_norm. is deprecated", FutureWarning)  # diffusers' own doing
        vae = AutoencoderOobleck(**read_json(folder / "config.json"))
        last = vae.encoder.conv2
        vae.encoder.conv2 = weight_norm(nn.Conv1d(last.in_channels, 2 * LATENT_CHANNELS, 3, padding=1))
    vae.load_state_dict(load_file(folder / "diffusion_pytorch_model.safetensors"))
    return vae.float().eval().requires_grad_(False)


def _text_encoder(spec: ModelSpec) -> Qwen3Model:
    folder = find_weights(spec, PROJECT) / spec.text_encoder
    return Qwen3Model.from_pretrained(folder, dtype=torch.float32).eval().requires_grad_(False)


def _tokenizer(spec: ModelSpec) -> PreTrainedTokenizerFast:
    """Like the published one: every sequence gets one end token, padding (of the same token) on the right."""
    vocabulary = Tokenizer.from_file(str(find_weights(spec, PROJECT) / spec.text_encoder / "tokenizer.json"))
    end = vocabulary.token_to_id(END_OF_TEXT)
    vocabulary.post_processor = TemplateProcessing(single=f"$A {END_OF_TEXT}", special_tokens=[(END_OF_TEXT, end)])
    return PreTrainedTokenizerFast(tokenizer_object=vocabulary, pad_token=END_OF_TEXT, padding_side="right")
