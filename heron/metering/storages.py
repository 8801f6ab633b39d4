"""Lives of storages: how many bytes were alive at every instant, and what they were at the largest.

Time is a count of births and deaths. Every storage leaves a record of its life, so a storage can be told what it
is after the fact: a gradient is known for one only when it has been accumulated, often after the peak.
"""

import weakref
from dataclasses import dataclass
from functools import partial

from torch import UntypedStorage

CATEGORIES = ("parameters", "buffers", "inputs", "activations", "gradients", "optimizer_state", "temporaries")


@dataclass(slots=True)
class _Life:
    num_bytes: int
    category: str
    birth: int
    death: int | None = None


class StorageLedger:
    """Live bytes, their peak, and the lives that made it up. Holds no storage alive.

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
        # Alive at every instant so far: all of them grow alike, and the peak stays where it is.
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
        """Say what a storage has been since its birth; those that existed keep their category."""
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
        # The Python object of a storage lives as long as its memory, so its id names it and its end is the end.
        key = id(storage)
        self._alive[key] = (life, weakref.ref(storage, partial(self._end, key)))
        self._live_bytes += life.num_bytes
        return life

    # Called by whatever drops the last reference: a thread of autograd's, or a collection of garbage. CPython switches
    # threads at calls and jumps only, so an augmented assignment of plain numbers is not torn.
    def _end(self, key: int, _: object = None) -> None:
        life, _ = self._alive.pop(key)
        self._clock += 1
        life.death = self._clock
        self._live_bytes -= life.num_bytes
