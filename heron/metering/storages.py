"""Lifetimes of storages: the number of live bytes at every instant, and their categories at the peak.

Time is a count of births and deaths. Every storage leaves a record of its life, so its category can be set after the
fact: a storage is known to be a gradient only when it has been accumulated, often after the peak.
"""

import weakref
from dataclasses import dataclass
from functools import partial

from torch import UntypedStorage

CATEGORIES = ("parameters", "buffers", "inputs", "activations", "gradients", "optimizer_state", "temporaries")
"""Categories of memory, in the order in which they are listed."""


@dataclass(slots=True)
class _Life:
    num_bytes: int
    category: str
    birth: int
    death: int | None = None


class StorageLedger:
    """Record of live bytes, their peak, and the storages alive at it; keeps no storage alive itself.

    Attributes:
        peak_bytes: the largest sum of live bytes so far.
    """

    def __init__(self) -> None:
        self.peak_bytes = 0
        self._live_bytes = 0
        self._clock = 0
        self._peak_time = 0
        self._lives: list[_Life] = []
        self._alive: dict[int, tuple[_Life, weakref.ref[UntypedStorage]]] = {}

    def existed(self, storage: UntypedStorage, category: str) -> None:
        """Record a storage that was there before the first instant; one already known keeps its category."""
        if id(storage) in self._alive:
            return
        # Alive at every instant so far, so all sums grow by the same amount and the peak stays at its instant.
        life = self._begin(storage, category, birth=0)
        self.peak_bytes += life.num_bytes

    def created(self, storage: UntypedStorage, category: str) -> None:
        """Record a storage made, or resized, just now; one already known keeps its category."""
        key = id(storage)
        if key in self._alive:
            life, _ = self._alive[key]
            if life.num_bytes == storage.nbytes():
                return
            category = life.category
            self._end(key)
        self._clock += 1
        self._begin(storage, category, birth=self._clock)
        if self._live_bytes > self.peak_bytes:
            self.peak_bytes = self._live_bytes
            self._peak_time = self._clock

    def rename(self, storage: UntypedStorage, category: str) -> None:
        """Set the category of a storage for its whole life; storages that existed before the step keep theirs."""
        if id(storage) in self._alive:
            life, _ = self._alive[id(storage)]
            if life.birth > 0:
                life.category = category

    def breakdown(self) -> dict[str, int]:
        """Bytes by category at the peak; they sum to `peak_bytes`."""
        sizes = dict.fromkeys(CATEGORIES, 0)
        for life in self._lives:
            if life.birth <= self._peak_time and (life.death is None or life.death > self._peak_time):
                sizes[life.category] += life.num_bytes
        return sizes

    def _begin(self, storage: UntypedStorage, category: str, birth: int) -> _Life:
        life = _Life(storage.nbytes(), category, birth)
        self._lives.append(life)
        # The Python object of a storage lives as long as its memory, so its id identifies it and its end frees it.
        key = id(storage)
        self._alive[key] = (life, weakref.ref(storage, partial(self._end, key)))
        self._live_bytes += life.num_bytes
        return life

    # Called by whichever thread drops the last reference: one of autograd's, or a garbage collection. CPython switches
    # threads at calls and jumps only, so an augmented assignment of plain numbers is never interrupted.
    def _end(self, key: int, _: object = None) -> None:
        life, _ = self._alive.pop(key)
        self._clock += 1
        life.death = self._clock
        self._live_bytes -= life.num_bytes
