"""Everything that one server owns while it runs: folders, the queue, the models. Opened once, closed once.

In: ``Options``. Out: orders taken and worked off. Nothing here speaks HTTP.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from acestep.checkpoints.files import search_roots
from acestep.devices import device_facts
from acestep.errors import CancelledError
from acestep.net.data_uri import MIB
from acestep.server.checkpoints import Checkpoints
from acestep.server.counter import Counter, machine_of
from acestep.server.engine import Engine
from acestep.server.fields import Own
from acestep.server.jobs import Job, JobQueue
from acestep.server.options import Options
from acestep.server.outputs import OutputFolder
from acestep.server.uploads import Inbox, Uploads
from acestep.server.work import work_off
from acestep.tasks import DEFAULT_TASK, task_named

PROJECT = Path()
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Station:
    """A server without its HTTP; made by ``opened``.

    Attributes:
        options: it was started with.
        outputs, uploads: files it keeps.
        counter: takes orders.
        queue: of the orders taken.
        engine: the models; the queue's thread alone uses them.
    """

    options: Options
    outputs: OutputFolder
    uploads: Uploads
    counter: Counter
    queue: JobQueue
    engine: Engine

    @classmethod
    @contextmanager
    def opened(cls, options: Options, project: Path = PROJECT) -> Iterator[Station]:
        """A station that works inside the block; at its end every job is given up and received files are gone.

        Args:
            project: folder with the weights; see ``checkpoints.files.search_roots``.

        Raises:
            InputError: the default checkpoint is none, or the device is unknown.
            DeviceError: the device is not there.
            OutputError: the output folder cannot be written, or another server works in it.
        """
        facts = device_facts(options.device)
        checkpoints = Checkpoints.of(project, options.checkpoint)
        with ExitStack() as stack:
            outputs = stack.enter_context(OutputFolder.opened(options.output_folder, options.expire_s))
            scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="acestep-server-")))
            orders, sent = (scratch / name for name in ("orders", "uploads"))
            orders.mkdir()
            sent.mkdir()
            max_bytes = options.max_upload_mib * MIB
            uploads = Uploads(sent, max_bytes, options.expire_s)
            folders = options.input_folders or (outputs.path,)
            inbox = Inbox(uploads, folders, max_bytes, allow_private=options.allow_private)
            adapters = (*search_roots(project), *folders)
            counter = Counter(project, facts, checkpoints, adapters, outputs, inbox, orders, options.download)
            engine = Engine(project, options.device, options.backend, download=options.download)
            queue = JobQueue(options.queue)
            stack.callback(queue.close)
            yield cls(options, outputs, uploads, counter, queue, engine)

    def submit(self, body: bytes, left: Callable[[], bool] = lambda: False) -> Job:
        """Take an order and queue it.

        Args:
            body: of ``POST /generate``.
            left: whether the client has hung up, which ends it.

        Raises:
            AceStepError: what ``Counter.order`` and ``JobQueue.submit`` raise.
        """

        def wanted() -> None:
            self.queue.check_open()
            if left():
                raise CancelledError("The client hung up.")

        wanted()
        self.queue.check_room()  # before anything is downloaded for it
        order = self.counter.order(body, wanted)
        with ExitStack() as undo:
            undo.callback(order.leave)
            job = self.queue.submit(lambda job: work_off(order, self.engine, self.outputs, job.report), order.leave)
            undo.pop_all()
        return job

    def preload(self) -> float:
        """Load the default model before anybody asks for it; seconds that it took.

        Raises:
            AceStepError: what ``Engine.load`` and ``Counter.cast`` raise.
        """
        machine, _ = machine_of(Own(), self.counter.facts)
        cast, _ = self.counter.cast(Own(), task_named(DEFAULT_TASK), machine)
        return self.engine.load(cast)

    def expire(self) -> None:
        """Delete files that have grown old."""
        for name in self.outputs.expire():
            logger.info("Deleted %s, which had grown old.", name)
        self.uploads.expire()
