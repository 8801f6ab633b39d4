"""Rounds of a federation that is stopped and continued by another one."""

from pathlib import Path

from heron.engines.in_process import Federation


def stop_and_continue(first: Federation, second: Federation, folder: Path) -> None:
    """Run a round in one, and the next in another, which takes its state and the files of its clients."""
    first.keep_states_in(folder)
    first.run_round()
    tensors, facts = first.state()
    second.keep_states_in(folder)
    second.load_state({key: tensor.clone() for key, tensor in tensors.items()}, facts)
    second.run_round()
