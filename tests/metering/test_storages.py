"""The ledger against a simulation that keeps every instant."""

from hypothesis import given
from hypothesis import strategies as st
from torch import UntypedStorage

from heron.metering.storages import CATEGORIES, StorageLedger

SIZE = st.integers(0, 50)
EVENT = st.one_of(
    st.tuples(st.sampled_from(["existed", "created"]), SIZE),
    st.tuples(st.just("resized"), SIZE),
    st.tuples(st.just("freed"), st.just(0)),
)


@given(events=st.lists(st.tuples(EVENT, st.integers(0, 100)), max_size=30))
def test_peak_and_breakdown_are_those_of_every_instant(events: list[tuple[tuple[str, int], int]]) -> None:
    ledger = StorageLedger()
    alive: list[tuple[UntypedStorage, list[int]]] = []  # a storage and its size at every instant
    histories: list[list[int]] = []
    for instant, ((kind, size), choice) in enumerate(events, start=1):
        if kind in {"existed", "created"}:
            storage = UntypedStorage(size)
            history = [size if kind == "existed" else 0] * instant
            getattr(ledger, kind)(storage, CATEGORIES[choice % len(CATEGORIES)])
            alive.append((storage, history))
            histories.append(history)
            del storage
        elif alive and kind == "resized":
            storage, _ = alive[choice % len(alive)]
            storage.resize_(size)
            ledger.created(storage, "a new name is ignored")
            del storage, _
        elif alive:
            del alive[choice % len(alive)]
        for storage, history in alive:
            history.append(storage.nbytes())
        for history in histories:
            history += [0] * (instant + 1 - len(history))
        storage = None
    totals = [sum(sizes) for sizes in zip(*histories, strict=True)]
    assert ledger.peak_bytes == max(totals, default=0)
    assert sum(ledger.breakdown().values()) == ledger.peak_bytes


def test_names_are_those_of_the_first_peak() -> None:
    ledger = StorageLedger()
    first, held = UntypedStorage(10), UntypedStorage(1)
    ledger.existed(held, "parameters")
    ledger.created(first, "activations")
    ledger.rename(first, "gradients")
    ledger.rename(held, "gradients")
    del first
    again = UntypedStorage(10)
    ledger.created(again, "temporaries")
    sizes = {category: size for category, size in ledger.breakdown().items() if size}
    assert sizes == {"parameters": 1, "gradients": 10}
