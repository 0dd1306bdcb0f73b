"""Teaches a copy of the trained transformer to take few steps without guidance where its teacher takes many with it.

    python -m acestep.training.distill .cache/latents runs/vae runs/dit runs/turbo --minutes 30

In: the runs of the autoencoder and the transformer. Out: checkpoints of the few-step model. From a random level of
the few-step schedule the teacher walks to the next one in small guided steps; the student learns the straight line
there (progressive distillation, Salimans and Ho, 2022, with the guided teacher of Meng et al., 2023). The text
encoder is shared, so it stays as it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from acestep.checkpoints.registry import EMBEDDED_MODEL
from acestep.sampling.schedule import make_schedule
from acestep.training.claims import NETWORK, claim, digest_of_tensors
from acestep.training.embedded import EmbeddedModel, digest_of_model
from acestep.training.latents import LatentSongs
from acestep.training.learn.command import budget_of, run_command, settings_of, trainer_parser
from acestep.training.learn.flow import FlowBatch, frame_mask, masked_error, noisy, velocity
from acestep.training.learn.trainer import CHECKPOINT, Budget, Figures, Settings, Trainer, averaged_weights
from acestep.training.train_dit import Lessons, make_lessons

TEACHER = "teacher"  # whose student a run is, and how that is led
SUBSTEPS = 3
GUIDANCE = 4.0


@dataclass(frozen=True, slots=True)
class DistillLoss:
    """Error of the student's step from one level of the few-step schedule to the next.

    Args:
        teacher: frozen.
        lessons: batches.
        guidance: scale of classifier-free guidance.
    """

    teacher: EmbeddedModel
    lessons: Lessons
    guidance: float

    def __call__(self, student: EmbeddedModel, step: int) -> tuple[Tensor, Figures]:
        batch = self.lessons.batch(student, step)
        device = batch.target.device
        levels = torch.tensor(
            make_schedule(EMBEDDED_MODEL.variant.steps, EMBEDDED_MODEL.variant.shift), device=device
        )
        index = torch.randint(len(levels) - 1, (len(batch.target),), device=device)
        start, end = levels[index], levels[index + 1]
        x = noisy(batch.target, start, torch.randn_like(batch.target))
        with torch.no_grad():
            there = self._walk(x, start, end, self.lessons.batch(self.teacher, step))
        wanted = (x - there) / (start - end)[:, None, None]
        mask = frame_mask(batch) * self.lessons.weights.to(device)
        return masked_error(velocity(student.model, x, start, batch, batch.states), wanted, mask), {}

    def _walk(self, x: Tensor, start: Tensor, end: Tensor, told: FlowBatch) -> Tensor:
        """Where the guided teacher gets from ``x`` between two levels, by Euler's method."""
        length = (end - start) / SUBSTEPS
        null = self.teacher.model.null_conditions(told.states)
        for number in range(SUBSTEPS):
            level = start + number * length
            free = velocity(self.teacher.model, x, level, told, null)
            led = velocity(self.teacher.model, x, level, told, told.states)
            x = x + length[:, None, None] * (free + self.guidance * (led - free))
        return x


def new_student(vocabulary: int) -> EmbeddedModel:
    """The few-step model, to be filled; its text encoder and what codes say to it stay as they are."""
    student = EmbeddedModel(vocabulary, distilled=True)
    student.text.requires_grad_(False)
    student.model.detokenizer.requires_grad_(False)
    return student


def distill(
    lessons: Lessons, dit_run: Path, folder: Path, settings: Settings, budget: Budget, device: str, guidance: float
) -> None:
    """Train the few-step model, or go on.

    Raises:
        WeightsError: the run is of another network, or began with another teacher or guidance.
    """
    weights = averaged_weights(dit_run)
    claim(folder, NETWORK, digest_of_model())
    claim(folder, TEACHER, digest_of_tensors({**weights, "guidance": torch.tensor(guidance)}))
    teacher, student = EmbeddedModel(lessons.tokenizer.size), new_student(lessons.tokenizer.size)
    teacher.load_state_dict(weights)
    teacher.requires_grad_(False).eval().to(device)
    if not (folder / CHECKPOINT).is_file():
        student.load_state_dict(weights)
    Trainer(student.to(device), DistillLoss(teacher, lessons, guidance), settings, folder).run(budget)


def main(argv: list[str] | None = None) -> None:
    """Distil the few-step model."""
    parser = trainer_parser("distill", main.__doc__, ("latents", "vae", "dit", "folder"), batch=16, rate=3e-4)
    parser.add_argument("--guidance", type=float, default=GUIDANCE)
    arguments = parser.parse_args(argv)
    settings, budget = settings_of(arguments), budget_of(arguments)
    lessons = make_lessons(LatentSongs(arguments.latents), arguments.vae, arguments.batch, settings.seed)
    distill(lessons, arguments.dit, arguments.folder, settings, budget, arguments.device, arguments.guidance)


if __name__ == "__main__":
    run_command("distill", main)
