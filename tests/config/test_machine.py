"""Settings of the whole process are as before after a training, also where several run in threads."""

import threading

import pytest
import torch

from heron.config.machine import process_set_for
from heron.errors import ConfigError
from heron.wire.groups import Settings


def test_threads_are_as_before_also_after_an_error() -> None:
    before = torch.get_num_threads()
    with process_set_for(Settings(threads=before + 1)):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before
    with pytest.raises(KeyboardInterrupt), process_set_for(Settings(threads=before + 1)):
        raise KeyboardInterrupt
    assert torch.get_num_threads() == before


def test_a_device_that_is_absent_leaves_nothing_behind() -> None:
    before = torch.get_num_threads()
    with pytest.raises(ConfigError, match="device 'gpu' cannot be used"), process_set_for(Settings(device="gpu")):
        pass
    assert torch.get_num_threads() == before
    with process_set_for(Settings(threads=before + 1)):  # nobody has another number
        pass


def test_bodies_nest_in_one_thread() -> None:
    with process_set_for(Settings(threads=1)):
        with process_set_for(Settings(threads=2)):
            assert torch.get_num_threads() == 2
        assert torch.get_num_threads() == 1


def test_two_threads_of_a_process_need_one_number() -> None:
    before = torch.get_num_threads()
    told: list[str] = []

    def other(threads: int) -> None:
        try:
            with process_set_for(Settings(threads=threads)):
                told.append("runs")
        except ConfigError as error:
            told.append(str(error))

    with process_set_for(Settings(threads=1)):
        for threads in (2, 1):
            thread = threading.Thread(target=other, args=(threads,))
            thread.start()
            thread.join()
    assert told[0].startswith("threads: expected 1, as another training in this process has now, found 2; ")
    assert told[1] == "runs"
    assert torch.get_num_threads() == before
