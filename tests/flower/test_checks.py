"""Checks of a client's messages that need no servers: who sent them, and in which order they come."""

from types import SimpleNamespace

import pytest
import torch

from heron.flower.checks import RoundCheck
from heron.flower.faults import RefusedError
from heron.wire import LossAnswer, Message, SnapshotRequest


def check(*, may_ask: bool = True) -> RoundCheck:
    servers = SimpleNamespace(terms=SimpleNamespace(upload_period=None))
    return RoundCheck(servers, SimpleNamespace(), 3, 1, may_ask=may_ask)


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        (LossAnswer(3, 1, 0, torch.zeros(())), "malformed"),
        (SnapshotRequest(2, 1), "stale"),
        (SnapshotRequest(3, 0), "stale"),
    ],
)
def test_messages_of_others_are_refused(message: Message, kind: str) -> None:
    with pytest.raises(RefusedError, match="expected") as caught:
        check().take(message)
    assert caught.value.fault == kind


def test_a_request_for_a_snapshot_stands_alone() -> None:
    checked = check()
    checked.take(SnapshotRequest(3, 1))
    assert checked.asks
    with pytest.raises(RefusedError, match="nothing after the reply"):
        checked.take(SnapshotRequest(3, 1))
    with pytest.raises(RefusedError, match="expected a request for a snapshot before anything else, if none was sent"):
        check(may_ask=False).take(SnapshotRequest(3, 1))
