"""The one training loop: steps, averaged weights, checkpoints that survive anything, a curve.

In: a network, a function that gives the loss of a step, a folder. Out: a trained network and its averaged weights.
Everything random comes from the step's own seed, so a run that was killed and resumed equals one that was not.
Refuses to know what is learnt.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from acestep.errors import GenerationError, WeightsError
from acestep.training.files import write_beside
from acestep.training.learn.curve import Curve

CHECKPOINT, PREVIOUS = "checkpoint.pt", "previous.pt"
LOGGED_STEPS = 25  # averaged in one row of the curve
SEED_STRIDE = 1_000_003

Figures = dict[str, float]
Loss = Callable[[nn.Module, int], tuple[Tensor, Figures]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a network is trained.

    Attributes:
        learning_rate: after ``warmup_steps`` of linear growth; constant, since the averaged weights are what counts.
        betas, weight_decay: of AdamW; only matrices decay.
        ema_decay: of the averaged weights; smaller early on, (1 + n) / (10 + n) after n steps.
        clip_norm: of the gradient of all weights together.
        accumulate: losses added up per step; ``loss`` is called that often with different micro steps.
        checkpoint_s: seconds between checkpoints.
        seed: of everything random, with the number of the step.
        bf16: autocast.
    """

    learning_rate: float
    warmup_steps: int = 100
    betas: tuple[float, float] = (0.9, 0.95)
    weight_decay: float = 0.0
    ema_decay: float = 0.999
    clip_norm: float = 1.0
    accumulate: int = 1
    checkpoint_s: float = 180.0
    seed: int = 0
    bf16: bool = False


@dataclass(frozen=True, slots=True)
class Budget:
    """When a run stops: at this step of the whole training, or after so many minutes of this run."""

    steps: int | None = None
    minutes: float | None = None


class Trainer:
    """Trains one network in one folder; what the folder holds is taken up again.

    Args:
        network: on its device.
        loss: (network, micro step) -> scalar and figures for the curve. It may draw from torch's generators, which
            are seeded per micro step; whatever else it draws must come from the micro step too.
        settings: how.
        folder: of the checkpoints and the curve.

    Raises:
        WeightsError: the folder holds a run of another network.
    """

    def __init__(self, network: nn.Module, loss: Loss, settings: Settings, folder: Path) -> None:
        self.network, self.settings, self.folder = network, settings, folder
        self._loss = loss
        self.averaged = {name: value.detach().clone() for name, value in network.state_dict().items()}
        self._weights = [weight for weight in network.parameters() if weight.requires_grad]
        self._optimiser = torch.optim.AdamW(
            _groups(self._weights, settings.weight_decay), settings.learning_rate, settings.betas
        )
        self.step = 0
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / CHECKPOINT).is_file():
            self._restore(torch.load(folder / CHECKPOINT, map_location=_device(network), weights_only=True))
        self._curve = Curve(folder, self.step)

    def run(self, budget: Budget) -> None:
        """Train until the budget is spent; ends with a checkpoint.

        Raises:
            GenerationError: the loss is not finite; names the step and the last good checkpoint.
        """
        started, saved, rows = time.monotonic(), time.monotonic(), []
        self.network.train()
        while not self._spent(budget, started):
            rows.append(self._advance())
            if self.step % LOGGED_STEPS == 0:
                self._log(rows, time.monotonic() - started)
                rows = []
            if time.monotonic() - saved > self.settings.checkpoint_s:
                self.save()
                saved = time.monotonic()
        self.save()

    def save(self) -> None:
        """Write the checkpoint; the one before it is kept. A full disk leaves both as they were.

        Raises:
            GenerationError: a weight is not finite; what is on disk stays.
        """
        if not all(weight.isfinite().all() for weight in self._weights):
            raise self._diverged("network")
        state = {
            "network": self.network.state_dict(),
            "averaged": self.averaged,
            "optimiser": self._optimiser.state_dict(),
            "step": self.step,
        }
        path = self.folder / CHECKPOINT
        with write_beside(path) as file:
            torch.save(state, file)
            if path.is_file():
                _keep(path, self.folder / PREVIOUS)

    def _advance(self) -> Figures:
        """One optimiser step."""
        totals: Figures = {}
        for micro in range(self.settings.accumulate):
            number = self.step * self.settings.accumulate + micro
            torch.manual_seed(self.settings.seed * SEED_STRIDE + number)
            device = _device(self.network)
            with torch.autocast(device.type, torch.bfloat16, enabled=self.settings.bf16):
                loss, figures = self._loss(self.network, number)
            if not math.isfinite(loss.item()):
                raise self._diverged("loss")
            (loss / self.settings.accumulate).backward()
            for name, value in {"loss": loss.item(), **figures}.items():
                totals[name] = totals.get(name, 0.0) + value / self.settings.accumulate
        norm = nn.utils.clip_grad_norm_(self._weights, self.settings.clip_norm).item()
        if not math.isfinite(norm):
            raise self._diverged("gradient")
        self._set_rate()
        self._optimiser.step()
        self._optimiser.zero_grad(set_to_none=True)
        self.step += 1
        self._average()
        return {**totals, "gradient": norm}

    def _set_rate(self) -> None:
        share = min(1.0, (self.step + 1) / max(self.settings.warmup_steps, 1))
        for group in self._optimiser.param_groups:
            group["lr"] = self.settings.learning_rate * share

    @torch.no_grad()
    def _average(self) -> None:
        decay = min(self.settings.ema_decay, (1 + self.step) / (10 + self.step))
        for name, value in self.network.state_dict().items():
            if value.is_floating_point():
                self.averaged[name].lerp_(value.to(self.averaged[name].dtype), 1 - decay)
            else:
                self.averaged[name].copy_(value)

    def _restore(self, state: Mapping[str, object]) -> None:
        if state["network"].keys() != self.network.state_dict().keys():
            raise WeightsError(f"{self.folder} holds a run of another network; name a new folder.")
        self.network.load_state_dict(state["network"], strict=True)
        self.averaged = dict(state["averaged"])
        optimiser, ours = state["optimiser"], self._optimiser.state_dict()["param_groups"]
        # What is remembered of the gradients goes on; how it is used is said by this run's settings.
        self._optimiser.load_state_dict({**optimiser, "param_groups": ours})
        self.step = state["step"]

    def _spent(self, budget: Budget, started: float) -> bool:
        late = budget.minutes is not None and time.monotonic() - started >= 60 * budget.minutes
        return late or (budget.steps is not None and self.step >= budget.steps)

    def _log(self, rows: list[Figures], seconds: float) -> None:
        means = {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
        self._curve.add(self.step, seconds, means)
        print(f"step {self.step} {seconds:.0f} s " + " ".join(f"{k} {v:.4g}" for k, v in means.items()), flush=True)

    def _diverged(self, what: str) -> GenerationError:
        path = self.folder / CHECKPOINT
        last = f"the last good checkpoint is {path}" if path.is_file() else "there is no checkpoint yet"
        return GenerationError(f"The {what} of step {self.step} is not finite; {last}.")


def averaged_weights(folder: Path) -> dict[str, Tensor]:
    """The averaged weights of a run, on the CPU.

    Raises:
        WeightsError: the folder holds no checkpoint.
    """
    path = folder / CHECKPOINT
    if not path.is_file():
        raise WeightsError(f"{folder} holds no checkpoint; nothing has been trained there.")
    return torch.load(path, map_location="cpu", weights_only=True)["averaged"]


def _groups(weights: list[nn.Parameter], decay: float) -> list[dict[str, object]]:
    matrices = [weight for weight in weights if weight.dim() > 1]
    vectors = [weight for weight in weights if weight.dim() <= 1]
    return [{"params": matrices, "weight_decay": decay}, {"params": vectors, "weight_decay": 0.0}]


def _device(network: nn.Module) -> torch.device:
    return next(network.parameters()).device


def _keep(path: Path, previous: Path) -> None:
    """``previous`` becomes a second name of ``path``, in one move."""
    link = previous.with_name(f"{previous.name}.new")
    link.unlink(missing_ok=True)
    os.link(path, link)
    link.replace(previous)
