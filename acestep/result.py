"""What ``generate_music`` gives back: the published result value, and how a finished batch becomes one.

In: a request, a rendering, finished waveforms. Out: ``GenerationResult``. Refuses to know files and networks.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch

from acestep.conditioning.conditions import Conditions
from acestep.conditioning.text import PromptTokens
from acestep.errors import AceStepError
from acestep.params import GenerationParams
from acestep.pieces import Piece
from acestep.planner.plan import NOTHING_FIXED, Plan
from acestep.planning import PlannedBatch
from acestep.playing import Rendering
from acestep.request import Request
from acestep.scoring.rank import Row, ranked, together
from acestep.takes import Take

SUCCESS = "✅ Generation completed successfully!"


@dataclass
class GenerationResult:
    """The outcome of one call.

    Attributes:
        audios: one dictionary per song, or per track of a song: ``path`` ("" when not saved), ``tensor`` ``[2, S]``
            fp32 on the CPU, ``key`` (UUID of the parameters), ``sample_rate``, ``params`` (effective, with ``seed``),
            ``track`` (the one track it is, or what it lacks, or ""), ``silent``; ``scores`` (as in the recipe) and
            ``timed_lyrics`` (``scoring.timestamps.TimedLine``, one per sung line) where songs are judged, else None
            and ().
        status_message: lines for a person.
        extra_outputs: tensors of the run on the CPU, ``time_costs``, ``peak_memory``, ``lm_metadata``,
            ``seed_value``.
        success: False when ``error`` says why not.
        error: one sentence, or None.
        cause: the exception behind ``error``.
        ranking: numbers of the songs, best first; of songs that are not judged, in the order they were made.
    """

    audios: list[dict[str, Any]] = field(default_factory=list)
    status_message: str = ""
    extra_outputs: dict[str, Any] = field(default_factory=dict)
    success: bool = True
    error: str | None = None
    cause: AceStepError | None = field(default=None, repr=False)
    ranking: tuple[int, ...] = ()

    @classmethod
    def failed(cls, error: AceStepError) -> GenerationResult:
        """A result that holds nothing but the reason."""
        return cls(status_message=f"Error: {error}", success=False, error=str(error), cause=error)

    @property
    def song_numbers(self) -> list[int]:
        """Of every file, which song it is or belongs to."""
        return song_numbers(self.audios)

    @property
    def is_judged(self) -> bool:
        """Whether its songs have scores."""
        return any(audio["scores"] is not None for audio in self.audios)

    def check(self) -> None:
        """Raise what made the call fail; nothing when it succeeded.

        Raises:
            AceStepError: the original error, for doors that speak in exceptions and exit codes.
        """
        if self.cause is not None:
            raise self.cause


def song_numbers(audios: Sequence[Mapping[str, Any]]) -> list[int]:
    """Of every file of a result, which song it is or belongs to, from 0 on; tracks of a song follow each other.

    A track that a recording has not is missing, and two songs may have one seed.
    """
    numbers: list[int] = []
    seen: set[str] = set()
    for index, audio in enumerate(audios):
        other = index > 0 and audio["params"]["seed"] != audios[index - 1]["params"]["seed"]
        if other or audio["track"] in seen:
            seen = set()
        numbers.append((numbers[-1] if numbers else -1) + (not seen))
        seen.add(audio["track"])
    return numbers


def rank_songs(audios: Sequence[Mapping[str, Any]]) -> tuple[int, ...]:
    """Numbers of the songs of a result, best first: by the overall score, of several tracks by their mean.

    Songs that lack a part which others have come behind those, and songs without a valid score last; of equals, and
    where nothing is judged, the earlier comes first.
    """
    songs: dict[int, list[Any]] = {}
    for number, audio in zip(song_numbers(audios), audios, strict=True):
        songs.setdefault(number, []).append(audio["scores"])
    return ranked([together(found) for found in songs.values()])


def score_rows(result: GenerationResult) -> list[Row]:
    """Every file of a result as a row of the table of scores: its song, from 1 on, and which track it is."""
    return [
        Row(f"{song + 1} {audio['track']}".strip(), audio["params"]["seed"], audio["scores"])
        for song, audio in zip(result.song_numbers, result.audios, strict=True)
    ]


def effective_params(
    params: GenerationParams, request: Request, take: Take, batch: PlannedBatch, model: str
) -> dict[str, Any]:
    """The parameters a take was really made with; the caller's object is left alone.

    What the planner decided stands where it acts (``bpm``, ``keyscale``...) and, where the caller had left it open,
    in ``cot_*`` too. The words it wrote stand in ``cot_caption`` and ``cot_lyrics`` alone, beside the caller's.
    """
    plan, piece, edit = take.plan, take.song.piece, request.edit
    words = request if edit is None else params  # a task that works on a recording takes them as they are
    filled = replace(
        params,
        task_type=request.task.name,
        instruction=params.instruction if take.parts else piece.instruction,
        caption=words.caption,
        lyrics="" if request.order is not None and request.order.query else words.lyrics,
        vocal_language=plan.metadata.language,
        bpm=plan.metadata.bpm,
        keyscale=plan.metadata.keyscale,
        timesignature=plan.metadata.timesignature,
        duration=plan.duration_s,
        inference_steps=request.sampling.steps,
        guidance_scale=request.sampling.guidance_scale,
        shift=request.sampling.shift,
        seed=take.seed,
        **{} if piece.variation_seed is None else {"variation_seed": piece.variation_seed},
        **_decided(request, plan) if batch.chains else {},
    )
    tracks = ",".join(take.parts) or take.track or params.track_name
    return {**asdict(filled), "track_name": tracks, "model": model}


def _decided(request: Request, plan: Plan) -> dict[str, Any]:
    """``cot_*`` of a planned song: what the caller had left open."""
    asked, made = request.metadata, plan.metadata
    return {
        "cot_bpm": made.bpm if asked.bpm is None else None,
        "cot_keyscale": made.keyscale if not asked.keyscale else "",
        "cot_timesignature": made.timesignature if not asked.timesignature else "",
        "cot_duration": plan.duration_s if asked.duration is None else None,
        "cot_vocal_language": made.language if asked.language == NOTHING_FIXED.language else NOTHING_FIXED.language,
        "cot_caption": plan.caption if plan.caption != request.caption else "",
        "cot_lyrics": plan.lyrics if plan.lyrics != request.lyrics else "",
    }


def params_key(params: dict[str, Any]) -> str:
    """A UUID-shaped name that is the same for the same parameters: SHA-256 of their sorted JSON, first 128 bits."""
    digest = hashlib.sha256(json.dumps(params, sort_keys=True, ensure_ascii=False).encode()).hexdigest()
    return "-".join((digest[:8], digest[8:12], digest[12:16], digest[16:20], digest[20:32]))


def time_costs(seconds: Mapping[str, float], steps: int) -> dict[str, float]:
    """Seconds per stage under the published names."""
    encoder, diffusion, decode = (seconds.get(stage, 0.0) for stage in ("encoder", "diffusion", "vae_decode"))
    words, codes, scoring = (seconds.get(stage, 0.0) for stage in ("words", "codes", "scoring"))
    total = encoder + diffusion + decode
    return {
        "lm_phase1_time": words,
        "lm_phase2_time": codes,
        "lm_total_time": words + codes,
        "dit_encoder_time_cost": encoder,
        "dit_diffusion_time_cost": diffusion,
        "dit_diffusion_per_step_time_cost": diffusion / steps,
        "dit_vae_decode_time_cost": decode,
        "dit_total_time_cost": total,
        "scoring_time": scoring,
        "pipeline_total_time": words + codes + total + scoring,
    }


def extra_outputs(
    request: Request, rendering: Rendering, batch: PlannedBatch, timings: Mapping[str, float]
) -> dict[str, Any]:
    """The run's tensors, padded ``[B, T, ...]`` and on the CPU, and what else there is, under the published names.

    Of a run of several batches (passes of a long region, more tracks than fit in one) they are the last batch's.
    ``lm_metadata`` is what the planner decided for the first song, ``lm_metadatas`` for each.

    Args:
        timings: seconds per stage of playing and judging.
    """
    latents = _padded([song.latents.clone() for song in rendering.songs])  # [B, T, C]
    lengths = torch.tensor([song.latents.shape[0] for song in rendering.songs])
    frames = torch.arange(latents.shape[1])[None] < lengths[:, None]  # [B, T]
    return {
        "pred_latents": latents,
        "latents": latents.clone(),
        "masks": frames,
        "latent_masks": frames,
        "spans": [_span(song.piece) for song in rendering.songs],
        **({} if rendering.conditions is None else _heard(rendering.conditions, rendering.tokens)),
        "seed_value": ", ".join(map(str, request.seeds)),
        "time_costs": time_costs({**timings, **batch.seconds}, request.sampling.steps),
        "lm_metadata": dict(batch.chains[0].decided()) if batch.chains else None,
        "lm_metadatas": [dict(chain.decided()) for chain in batch.chains],
        "warnings": list(request.warnings),
    }


def _heard(conditions: Conditions, tokens: Sequence[PromptTokens]) -> dict[str, torch.Tensor]:
    """What the transformer of the 1.5 models was told."""
    source, mask = (part.clone() for part in conditions.context.cpu().chunk(2, dim=-1))  # [B, T, C] each
    return {
        "target_latents": source.clone(),
        "src_latents": source,
        "chunk_masks": mask,
        "context_latents": conditions.context.cpu().clone(),
        "encoder_hidden_states": conditions.encoder_states.cpu(),
        "encoder_attention_mask": conditions.encoder_mask.cpu(),
        "lyric_token_idss": _padded([torch.tensor(ids.lyric) for ids in tokens]),
    }


def _span(piece: Piece) -> tuple[str, int, int]:
    """Where a piece is made, in latent frames."""
    in_part = piece.ground is not None and piece.ground.region is not None
    return ("repainting" if in_part else "full", *piece.region)


def _padded(items: Sequence[torch.Tensor]) -> torch.Tensor:
    return torch.nn.utils.rnn.pad_sequence(list(items), batch_first=True)
