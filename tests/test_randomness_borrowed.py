"""The process's generators are borrowed by one thread at a time, and given back as they were."""

import multiprocessing
import random
import threading
import time

import numpy as np
import pytest
import torch

from heron.randomness import one_thread_at_a_time, seeded_process, seeded_randomness


def drawn() -> tuple:
    return torch.rand(3).tolist(), np.random.rand(3).tolist(), random.random()  # noqa: NPY002 - as data sets do


def states() -> tuple:
    return torch.get_rng_state().tolist(), str(np.random.get_state()), random.getstate()  # noqa: NPY002


def test_all_three_generators_are_seeded_and_given_back():
    np.random.randn(1)  # noqa: NPY002 - leaves a second number behind, which is part of the state
    before = states()
    with seeded_process(5):
        first = drawn()
    assert states() == before
    drawn()
    with seeded_process(5):
        assert drawn() == first
    with seeded_process(6):
        assert not any(a == b for a, b in zip(drawn(), first, strict=True))
    with seeded_process(2**64 - 1):
        assert drawn() != first


def test_the_three_do_not_draw_the_same_numbers():
    with seeded_process(0):
        torch_bits = torch.empty(64, dtype=torch.int32).random_(2).tolist()
        numpy_bits = np.random.randint(0, 2, 64).tolist()  # noqa: NPY002
        python_bits = [random.getrandbits(1) for _ in range(64)]
    assert torch_bits != numpy_bits != python_bits != torch_bits


def interrupted() -> None:
    with seeded_process(1):
        drawn()
        raise KeyboardInterrupt


def test_they_are_given_back_when_the_body_raises():
    before = states()
    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert states() == before


def test_a_generator_of_numpy_that_cannot_be_seeded_is_left_alone():
    own = np.random.get_bit_generator()
    np.random.set_bit_generator(np.random.PCG64(1))
    try:
        before = str(np.random.get_state(legacy=False))  # noqa: NPY002
        with seeded_process(1):
            drawn()
        assert str(np.random.get_state(legacy=False)) == before  # noqa: NPY002
    finally:
        np.random.set_bit_generator(own)


def work(seed, found):
    """Borrow for a moment, many times; the pauses make others want the generators meanwhile."""
    for _ in range(10):
        with seeded_process(seed):
            first = drawn()
            time.sleep(0.001)
            found.append((first, drawn()))


def test_threads_draw_what_they_draw_alone():
    alone, together = {}, {}
    for seed in range(4):
        work(seed, alone.setdefault(seed, []))
    before = states()
    threads = [threading.Thread(target=work, args=(seed, together.setdefault(seed, []))) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert together == alone
    assert states() == before


def in_child(queue):
    with one_thread_at_a_time(), seeded_randomness(1):
        queue.put(torch.rand(1).item())


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_forked_worker_is_not_held_up_by_a_thread_of_its_parent():
    """The workers of a DataLoader are forked, maybe while another thread has the generators."""
    context = multiprocessing.get_context("fork")
    taken, done = threading.Event(), threading.Event()

    def hold():
        with one_thread_at_a_time():
            taken.set()
            done.wait(30)

    thread = threading.Thread(target=hold)
    thread.start()
    taken.wait(30)
    queue = context.SimpleQueue()
    worker = context.Process(target=in_child, args=(queue,))
    worker.start()
    worker.join(20)
    done.set()
    thread.join()
    alive, code = worker.is_alive(), worker.exitcode
    worker.kill()
    assert (alive, code) == (False, 0)
