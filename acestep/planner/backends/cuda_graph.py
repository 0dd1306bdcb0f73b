"""A step of codes as a CUDA graph: recorded once for each window, played back without asking Python.

In: a run of codes and how many steps. Out: the run, that many steps further. A recording that fails is an error, not
half a graph. Refuses to know what a step computes.
"""

from __future__ import annotations

import torch

from acestep.errors import GenerationError
from acestep.planner.backends.codes_run import CodesRun


class Recording:
    """Takes the steps of one `CodesRun`, whose tensors the graph reads and writes."""

    def __init__(self) -> None:
        self._graph: torch.cuda.CUDAGraph | None = None
        self._window = 0

    def __call__(self, run: CodesRun, count: int) -> None:
        """Take so many steps.

        Raises:
            GenerationError: a step could not be recorded; says why.
        """
        if self._graph is None or self._window != run.window:
            self._graph = None  # its memory goes first
            _warm_up(run)
            count -= 1
            self._graph, self._window = _recorded(run), run.window
        for _ in range(count):
            self._graph.replay()


def _warm_up(run: CodesRun) -> None:
    """Take one step as it is, where a recording will be made, so that every library has what it allocates."""
    aside, usual = torch.cuda.Stream(), torch.cuda.current_stream()
    aside.wait_stream(usual)
    with torch.cuda.stream(aside):
        run.step()
    usual.wait_stream(aside)


def _recorded(run: CodesRun) -> torch.cuda.CUDAGraph:
    """One step, written down without being taken."""
    graph = torch.cuda.CUDAGraph()
    try:
        with torch.cuda.graph(graph):
            run.step()
    except RuntimeError as error:
        reason = str(error).partition("\n")[0]
        raise GenerationError(
            f"A step could not be recorded as a CUDA graph ({reason}); turn cuda_graphs off."
        ) from error
    return graph
