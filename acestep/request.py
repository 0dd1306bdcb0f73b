"""``Request``: one call's parameters, judged and completed before any model moves.

In: ``GenerationParams``, ``GenerationConfig`` and the row of the model that will play. Out: a frozen value on which
nothing is left to check. Everything that can be wrong about a call is wrong here, as one sentence. Imports no torch.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from acestep.checkpoints.registry import ModelSpec
from acestep.clauses import (
    Variation,
    asked_of_planner,
    check_duration,
    check_edit,
    effective_lyrics,
    judged_adapter,
    judged_metadata,
    judged_sampling,
    judged_seeds,
    judged_task,
    judged_variation,
)
from acestep.constants import CODE_RATE
from acestep.editing.order import EditOrder, order_edit, target_words
from acestep.fields import check_fields
from acestep.judge import plain
from acestep.lyrics import estimate_duration
from acestep.output.formats import AudioFormat, check_sample_rate, format_named
from acestep.params import GenerationConfig, GenerationParams
from acestep.planner.order import PlanOrder
from acestep.planner.plan import Metadata, Plan, Sheet, code_count, parse_codes
from acestep.remarks import remarks
from acestep.sampling.choice import SamplingChoice
from acestep.tasks import Task, instruction_for
from acestep.v1.adapter_source import AdapterOrder
from acestep.v1.choice import V1Choice


@dataclass(frozen=True, slots=True)
class Request:
    """What will be made, with every value effective.

    Attributes:
        task: row of the task table.
        instruction: the caller's first line of the text prompt, or the default.
        caption, lyrics: the caller's; ``lyrics`` is ``[Instrumental]`` when nobody sings, "" when the planner shall
            write them.
        metadata: what the caller fixed; ``duration`` is None when it is left to the planner or the lyrics.
        audio_codes: semantic codes as text, or "".
        reference_audio: path of the timbre reference, or None.
        sampling: how the denoising runs; of either generation of models.
        seeds: one per song.
        variation: a second noise that is mixed in, or None.
        edit: what shall be done with a recording, or None.
        order: what the planner shall do, or None when it does not plan the song.
        listens: how it hears what is open in a recording, or None when it is not asked.
        adapter: a LoRA to play with, or None.
        lyric_detection: how v1 models find the language of a line of lyrics.
        audio_format: row of the format table.
        sample_rate: of the files, Hz.
        limit_true_peak: keep the files below the true-peak ceiling.
        scored: judge what was made.
        warnings: one sentence each, for the log and the recipe.
    """

    task: Task
    instruction: str
    caption: str
    lyrics: str
    metadata: Metadata
    audio_codes: str
    reference_audio: str | None
    sampling: SamplingChoice | V1Choice
    seeds: tuple[int, ...]
    variation: Variation | None
    edit: EditOrder | None
    order: PlanOrder | None
    listens: PlanOrder | None
    adapter: AdapterOrder | None
    lyric_detection: str
    audio_format: AudioFormat
    sample_rate: int
    limit_true_peak: bool
    scored: bool
    warnings: tuple[str, ...]

    @property
    def batch_size(self) -> int:
        """Number of songs."""
        return len(self.seeds)

    @classmethod
    def from_params(cls, params: GenerationParams, config: GenerationConfig, model: ModelSpec) -> Request:
        """Judge a call.

        Raises:
            InputError: a value that is not allowed.
            UnsupportedError: values that do not go together, or a task the model was not trained for.
        """
        params, config = plain(params), plain(config)
        check_fields(params)
        task = judged_task(params, model)
        variant = model.variant
        adapter = judged_adapter(params, model)
        sampling, warnings = judged_sampling(params, task, model)
        audio_format = format_named(config.audio_format)
        check_sample_rate(audio_format, params.sample_rate)
        edit = order_edit(params, task, variant.longest_s)
        seeds = judged_seeds(params, config)
        metadata = judged_metadata(params, edit, model, seeds)
        check_edit(params, task, edit, sampling)
        asked = asked_of_planner(params, config, model)
        order = None if task.needs_source else asked
        listens = asked if edit is not None and edit.source_audio and params.use_cot_metas else None
        words = target_words(params, task)
        return cls(
            task=task,
            instruction=params.instruction,
            caption=words.caption,
            lyrics=effective_lyrics(params, words.lyrics, edit, order),
            metadata=metadata,
            audio_codes=params.audio_codes.strip() if task.plays_codes else "",
            reference_audio=(params.reference_audio or None) if variant.generation.hears_reference else None,
            sampling=sampling,
            seeds=seeds,
            variation=judged_variation(params, task, len(seeds)),
            edit=edit,
            order=order,
            listens=listens,
            adapter=adapter,
            lyric_detection=params.lyric_detection,
            audio_format=audio_format,
            sample_rate=params.sample_rate,
            limit_true_peak=params.limit_true_peak,
            scored=config.score,
            warnings=(
                *warnings,
                *remarks(
                    params,
                    config,
                    task,
                    metadata,
                    variant.generation,
                    asks_planner=(order or listens) is not None,
                ),
            ),
        )

    def lasting(self, seconds: float) -> Request:
        """The same request for music as long as a recording, whatever length was asked for."""
        return replace(self, metadata=replace(self.metadata, duration=seconds))

    @property
    def sheet(self) -> Sheet:
        """What the planner starts from."""
        return Sheet(self.caption, self.lyrics, self.metadata)

    def plan(self, codebook_size: int) -> Plan:
        """The plan that takes the caller at their word: no planner, length estimated from the lyrics if open.

        Raises:
            InputError: ``audio_codes`` is malformed or beyond the model's ``codebook_size``, or spells a song
                outside the allowed length.
        """
        codes = parse_codes(self.audio_codes, codebook_size)
        seconds = self._seconds_of(len(codes)) or estimate_duration(self.lyrics)
        return Plan(self.caption, self.lyrics, replace(self.metadata, duration=seconds), codes)

    def _seconds_of(self, codes: int) -> float | None:
        """How long the song is: what was asked for, unless there are codes that do not take as long as that."""
        asked = self.metadata.duration
        if not codes or (asked is not None and code_count(asked) == codes):
            return asked
        return check_duration("audio_codes", codes / CODE_RATE)

    def instruction_for(self, plan: Plan) -> str:
        """First line of the text prompt of ``plan``: the caller's, else the task's; codes are played as a cover.

        Where every track is a song of its own, that of the first.
        """
        tracks = () if self.edit is None else self.edit.tracks[: 1 if self.task.tracks_apart else None]
        return instruction_for(self.task, self.instruction, tracks, played_from_codes=bool(plan.audio_codes))
