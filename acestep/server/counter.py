"""Orders are taken here: a body becomes everything that the thread which works has to know, or one sentence.

    body --mapping, upstream--> Said --models, judgement--> recordings, output name --> Order

Everything that can be wrong with a request is told here, before it waits and before a model moves; only what lies in
a recording is heard later. Several threads may take orders at once. Refuses to know the queue and HTTP.
"""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from huggingface_hub import is_offline_mode

from acestep.audio.io import read_audio
from acestep.checkpoints.choose import Choice, choose, planner_named
from acestep.checkpoints.family import find_weights
from acestep.checkpoints.rows import HubFolder
from acestep.cog_output import disk_faults
from acestep.devices import CPU, CUDA, DeviceFacts, natural_dtype, place
from acestep.errors import InputError, UnsupportedError, WeightsError
from acestep.naming import Naming
from acestep.output.formats import format_named
from acestep.params import GenerationConfig, GenerationParams
from acestep.planning import check_pair
from acestep.recordings import LONG
from acestep.request import Request
from acestep.server.checkpoints import Checkpoints
from acestep.server.engine import Cast, Machine
from acestep.server.faults import NotHereError
from acestep.server.fields import AUDIO, Own
from acestep.server.mapping import Said, decoded, understood
from acestep.server.outputs import OutputFolder
from acestep.server.uploads import Inbox
from acestep.server.upstream import grown, grows_by_region, translated
from acestep.strangers import check_adapter
from acestep.tasks import Task, effective_task, task_named

FULL_WIDTH, HALF_WIDTH = "float32", "bfloat16"
_ONE_AT_A_TIME = threading.Lock()  # a recording of an hour takes 1.4 GB while it is measured


@dataclass(frozen=True, slots=True)
class Order:
    """One request, ready to be worked off.

    Attributes:
        params, config: what to make; files are paths of this machine.
        cast: by which models.
        target: the path of the first file, reserved.
        overwrite: it may replace what this server wrote.
        return_all: the answer is a zip.
        naming: parameter to the client's field, for messages.
        remarks: one sentence for each thing that has no effect.
        prep_s: seconds that taking the order took.
        leave: lets go of the target and of received files; called once, when all is over.
    """

    params: GenerationParams
    config: GenerationConfig
    cast: Cast
    target: Path
    overwrite: bool
    return_all: bool
    naming: Naming
    remarks: tuple[str, ...]
    prep_s: float
    leave: Callable[[], None]


@dataclass(frozen=True, slots=True)
class Counter:
    """Takes orders.

    Attributes:
        project: folder with the weights.
        facts: of the device that computes.
        checkpoints: which models may be named.
        adapter_folders: below which adapters may be.
        outputs: where files go.
        inbox: where recordings come from.
        scratch: folder for what belongs to one order.
        download: weights that are not here may be fetched.
    """

    project: Path
    facts: DeviceFacts
    checkpoints: Checkpoints
    adapter_folders: tuple[Path, ...]
    outputs: OutputFolder
    inbox: Inbox
    scratch: Path
    download: bool

    def order(self, body: bytes, wanted: Callable[[], object] = lambda: None) -> Order:
        """Take an order.

        Args:
            body: of ``POST /generate``.
            wanted: asked while it waits for somebody else; what it raises ends it.

        Raises:
            InputError: whatever is wrong with it.
            NotHereError: it names a file or a model that is not here.
            OutputError: this machine's disk does not take what belongs to it.
            BusyError: too many others wait for their recordings.
        """
        start = time.perf_counter()
        said, remarks = translated(understood(decoded(body)))
        check_adapter(said.params.lora_name_or_path, said.params.lora_weight, self.adapter_folders)
        machine, idle = machine_of(said.own, self.facts)
        with said.naming.errors(), ExitStack() as undo:
            cast = self._cast(said, machine)
            _judged(said, cast)
            extension = format_named(said.config.audio_format).extension
            wished = self.outputs.reserved(said.own.output_path, extension, overwrite=said.own.overwrite)
            target = undo.enter_context(wished)
            with disk_faults("make a folder for the received files"):
                folder = Path(undo.enter_context(tempfile.TemporaryDirectory(dir=self.scratch)))
            said = self._with_recordings(said, folder, wanted)
            if grows_by_region(said):
                said = grown(said, _seconds_of)
                _judged(said, cast)
            leave = undo.pop_all().close
        return Order(
            params=said.params,
            config=said.config,
            cast=cast,
            target=target,
            overwrite=said.own.overwrite,
            return_all=said.own.return_all,
            naming=said.naming,
            remarks=(*remarks, *idle),
            prep_s=time.perf_counter() - start,
            leave=leave,
        )

    def cast(
        self, own: Own, task: Task, machine: Machine, *, preserve_vocals: bool = False, adapter: str = ""
    ) -> tuple[Cast, Choice]:
        """Who plays, without a planner, and what it was chosen from.

        Args:
            machine: as it is wished for.
            preserve_vocals: stems will be taken apart.
            adapter: that will be played with.

        Raises:
            InputError: no such model.
            NotHereError: its weights are not here.
        """
        width = place(self.facts, machine.dtype).dtype.itemsize
        name = self.checkpoints.named(own.checkpoint_path)
        choice = choose(name, self.facts, task.name, preserve_vocals=preserve_vocals, adapter=adapter, width=width)
        self._check_here(choice.model, "checkpoint_path")
        machine = replace(machine, offload=self.facts.kind == CUDA and (machine.offload or choice.offload))
        return Cast(choice.model, choice.reason, machine=machine), choice

    def _cast(self, said: Said, machine: Machine) -> Cast:
        params = said.params
        task = task_named(effective_task(params.task_type, generate_accompaniment=params.generate_accompaniment))
        keeps_voice = params.preserve_vocals and task.takes_voice
        adapter = params.lora_name_or_path
        cast, choice = self.cast(said.own, task, machine, preserve_vocals=keeps_voice, adapter=adapter)
        planner = planner_named(said.own.lm_model, choice.language_model)
        if not params.thinking:
            return cast
        if planner is None:
            raise UnsupportedError(
                "thinking=true needs a language model: lm_model is 'none', or 'auto' found none for this machine.",
                field="thinking",
            )
        check_pair(planner, cast.model)
        self._check_here(planner, "lm_model")
        return replace(cast, planner=planner)

    def _check_here(self, row: HubFolder, field: str) -> None:
        """The weights are here, or can be fetched."""
        if self.download and not is_offline_mode():
            return
        try:
            find_weights(row, self.project)
        except WeightsError as error:
            fetch = "" if row.embedded else f" Fetch them there with `acestep-download --model {row.name}`."
            problem = f"Model not loaded: the weights of {row.name} are not on this server, or not whole.{fetch}"
            raise NotHereError(problem, field=field, value=row.name) from error

    def _with_recordings(self, said: Said, folder: Path, wanted: Callable[[], object]) -> Said:
        texts = {parameter: text for parameter in AUDIO if (text := getattr(said.params, parameter))}
        names = {parameter: said.naming.names.get(parameter, parameter) for parameter in texts}
        files = {name: str(self.inbox.collect(names[name], text, folder, wanted)) for name, text in texts.items()}
        return replace(said, params=replace(said.params, **files))


def machine_of(own: Own, facts: DeviceFacts) -> tuple[Machine, tuple[str, ...]]:
    """How to compute, and a sentence for each wish that changes nothing.

    Raises:
        InputError: another device than the one the server was started on.
    """
    if own.device_id:
        raise InputError(
            f"device_id must be 0, not {own.device_id}: the server computes on the device it was started on.",
            field="device_id",
            value=own.device_id,
        )
    natural, on_cpu = natural_dtype(facts), facts.kind == CPU
    idle = (
        (own.torch_compile, "torch_compile has no effect: networks are not compiled here."),
        (own.overlapped_decode, "overlapped_decode has no effect: long songs are decoded in pieces where needed."),
        (own.bf16 and natural != HALF_WIDTH, f"bf16 has no effect: this device computes in {natural}."),
        (own.cpu_offload and on_cpu, "cpu_offload has no effect on the CPU, where the networks are already."),
    )
    dtype = FULL_WIDTH if own.bf16 is False and natural != FULL_WIDTH else None
    return Machine(dtype, own.cpu_offload and not on_cpu), tuple(sentence for is_so, sentence in idle if is_so)


def _judged(said: Said, cast: Cast) -> None:
    Request.from_params(said.params, said.config, cast.model)


def _seconds_of(path: str) -> float:
    with _ONE_AT_A_TIME:
        return read_audio(path, field=AUDIO[0], limits=LONG).duration_s
