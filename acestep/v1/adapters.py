"""Which adapter a network plays with: none, or one; never half of one, never the one before it.

In: a network, then an ``AdapterFile`` and a weight per request. Out: the network with exactly that adapter merged.
Refuses to know where files come from and how pairs are added.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Mapping

from torch import Tensor, nn

from acestep.devices import trim_host
from acestep.v1.adapter_source import AdapterFile
from acestep.v1.lora import Merged, merge, restore
from acestep.v1.lora_file import read_adapter

logger = logging.getLogger(__name__)


class Adapters:
    """Switches the adapter of one network; that of the last request stays until another is wanted.

    Not for two threads at once, and not while the network computes or is on its way to another device.

    Args:
        network: that plays with no adapter yet.
        dead: patterns of tensors that checkpoints hold and the network leaves out.

    Attributes:
        current: the adapter that is merged; None while the weights are those of the checkpoint.
    """

    def __init__(self, network: nn.Module, *, dead: Collection[str] = ()) -> None:
        self._network = network
        self._dead = dead
        self._originals: Mapping[str, Tensor] = {}  # of what was merged last; empty when all of it has been put back
        self.current: Merged | None = None

    def use(self, file: AdapterFile | None, weight: float = 1.0) -> Merged | None:
        """Play with this adapter from now on; None takes it out. What is merged already is left alone.

        Raises:
            InputError, UnsupportedError: as `read_adapter` and `merge`; then the network plays with no adapter, or,
                where the file cannot be read, with the one before.
        """
        if self._is_current(file, weight):
            return self.current
        start = time.perf_counter()
        adapter = None if file is None else read_adapter(file)
        self.current = None  # first: a restoring that is cancelled is begun again by the next call
        restore(self._network, self._originals)
        self._originals = {}
        if adapter is not None:
            self.current = merge(self._network, adapter, weight, dead=self._dead)
            self._originals = self.current.originals
            seconds = time.perf_counter() - start
            told = "%s at %g changes %d modules: %.2f s"
            logger.info(told, adapter.file.source, weight, self.current.matched, seconds)
        trim_host()  # of weights and sums that are gone
        return self.current

    def _is_current(self, file: AdapterFile | None, weight: float) -> bool:
        if file is None or self.current is None:
            return file is self.current and not self._originals
        return (self.current.file.sha256, self.current.weight) == (file.sha256, weight)
