"""`heron.train` puts everything random under its seed, and leaves the process's generators to their owners."""

import random
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import Dataset

import heron
from tests.conformance.test_algorithms import comparable, examples, split_model
from tests.test_training import START


class Noisy(Dataset):
    """A data set that augments, by generators that belong to the process."""

    def __init__(self, draw: Callable[[], Tensor]) -> None:
        self.inputs, self.labels = examples().tensors
        self.draw = draw

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, position: int) -> tuple[Tensor, int]:
        return self.inputs[position] + self.draw(), int(self.labels[position])


DRAWS: dict[str, Callable[[], Tensor]] = {
    "torch": lambda: torch.randn(1, 4, 4),
    "numpy": lambda: torch.from_numpy(np.random.randn(1, 4, 4)).float(),  # noqa: NPY002 - as many data sets do
    "python": lambda: torch.full((1, 4, 4), random.gauss(0, 1)),
}


def unseed() -> None:
    torch.seed()
    np.random.seed(None)  # noqa: NPY002
    random.seed(None)


@pytest.mark.parametrize("kind", DRAWS)
def test_what_a_data_set_draws_is_under_the_seed(kind: str, tmp_path: Path) -> None:
    data = Noisy(DRAWS[kind])

    def rows(rounds: int, out: Path | None = None, **changes: Any) -> list[dict[str, Any]]:
        split = split_model()
        unseed()
        result = heron.train(split, data, test=data, settings=START, rounds=rounds, out=out, **changes)
        return comparable(result.metrics)

    whole = rows(3)
    assert rows(3) == whole
    assert rows(3, seed=1) != whole
    assert rows(3, wire=True) == whole
    rows(1, tmp_path)
    assert rows(3, tmp_path) == whole


def test_rounds_and_clients_draw_other_numbers() -> None:
    seen: list[float] = []

    def draw() -> Tensor:
        seen.append(float(torch.rand(())))
        return torch.zeros(1, 4, 4)

    heron.train(split_model(), Noisy(draw), settings=START, rounds=2)
    drawn = seen[-2 * 60 :]  # 60 examples in each of two rounds; what was read before is read again
    assert len(set(drawn)) == len(drawn)


def test_the_callers_generators_are_as_before() -> None:
    split, data = split_model(), Noisy(lambda: DRAWS["torch"]() + DRAWS["numpy"]() + DRAWS["python"]())
    before = torch.get_rng_state().tolist(), str(np.random.get_state()), random.getstate()  # noqa: NPY002
    heron.train(split, data, test=data, settings=START)
    after = torch.get_rng_state().tolist(), str(np.random.get_state()), random.getstate()  # noqa: NPY002
    assert after == before


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"algorithm": "cse_fsl", "client": {"batch_size": 8, "checkpointing": True}},
        {"algorithm": "sflv2", "client": {"batch_size": 8, "checkpointing": True}},
        {"estimator": {"scheme": "jvp"}},
        {"server": {"refresh_auxiliary": True}},
    ],
    ids=["heron", "checkpointing", "coupled", "jvp", "refresh"],
)
def test_trainings_in_threads_have_the_results_that_they_have_alone(changes: dict[str, Any]) -> None:
    """Dropout, a data set that augments and forward mode all use what the process has once."""
    data = Noisy(DRAWS["torch"])
    splits = [split_model() for _ in range(4)]
    found: dict[int, Any] = {}

    def work(number: int) -> None:
        try:
            result = heron.train(splits[number], data, settings=START, seed=number % 2, **changes)
            found[number] = comparable(result.metrics)
        except Exception as error:  # noqa: BLE001 - to be seen by the thread that asserts
            found[number] = error

    alone = [
        comparable(heron.train(split_model(), data, settings=START, seed=seed, **changes).metrics) for seed in (0, 1)
    ]
    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[number] for number in range(4)] == alone * 2
