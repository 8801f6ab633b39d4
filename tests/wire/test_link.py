"""What a channel and a link promise, on a toy client."""

import weakref
from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from heron.wire import Channel, ClientReply, Direction, Ledger, Link, Message, ModelBroadcast, SmashedData, encode
from tests.wire.drawing import MESSAGES, contents, one_of_each

DIRECTION = st.sampled_from(["uplink", "downlink"])


class ToyLink:
    """A client that uploads twice and replies."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.smashed: list[weakref.ref[torch.Tensor]] = []

    def exchange(self, broadcast: ModelBroadcast) -> Iterator[SmashedData | ClientReply]:
        received = self.channel.pass_through(broadcast, "downlink")
        assert isinstance(received, ModelBroadcast)
        yield from map(self._receive, self._client(received))

    def _receive(self, message: Message) -> SmashedData | ClientReply:
        received = self.channel.pass_through(message, "uplink")
        assert isinstance(received, SmashedData | ClientReply)
        if isinstance(received, SmashedData):
            self.smashed.append(weakref.ref(received.smashed))
        return received

    def _client(self, broadcast: ModelBroadcast) -> Iterator[SmashedData | ClientReply]:
        where = broadcast.round_index, broadcast.client_id
        for step in range(2):
            assert all(reference() is None for reference in self.smashed)  # one z at a time
            yield SmashedData(*where, step, torch.full((4,), float(step)), torch.tensor([step]))
        yield ClientReply(*where, 4, 2, torch.tensor(0.5), broadcast.model)


@pytest.mark.parametrize("wire", [False, True])
def test_a_link_hands_over_one_upload_at_a_time(wire: bool) -> None:
    ledger = Ledger()
    toy = ToyLink(Channel(ledger, wire=wire))
    link: Link = toy
    opened = ModelBroadcast(3, 1, {"weight": torch.ones(2)})
    seen = []
    messages = link.exchange(opened)
    while (message := next(messages, None)) is not None:
        seen.append((type(message), getattr(message, "local_step", None)))
        del message
    assert seen == [(SmashedData, 0), (SmashedData, 1), (ClientReply, None)]
    assert len(toy.smashed) == 2
    assert (ledger.num_messages("downlink"), ledger.num_messages("uplink")) == (1, 3)
    assert ledger.downlink_bytes == len(encode(opened))


@given(st.lists(st.tuples(MESSAGES, DIRECTION), max_size=3), st.booleans())
@settings(max_examples=30, deadline=None)
def test_every_message_is_counted_once_as_encoded(sent: list[tuple[Message, Direction]], wire: bool) -> None:
    ledger = Ledger()
    channel = Channel(ledger, wire=wire)
    for message, direction in sent:
        assert contents(channel.pass_through(message, direction)) == contents(message)
    for direction in ("uplink", "downlink"):
        expected = [len(encode(message)) for message, way in sent if way == direction]
        assert getattr(ledger, f"{direction}_bytes") == sum(expected)
        assert ledger.num_messages(direction) == len(expected)


@pytest.mark.parametrize("message", one_of_each(), ids=lambda message: type(message).__name__)
def test_without_wire_the_message_itself_is_handed_over(message: Message) -> None:
    assert Channel(Ledger(), wire=False).pass_through(message, "uplink") is message


def test_on_the_wire_a_copy_is_handed_over() -> None:
    weight = torch.ones(2)
    received = Channel(Ledger(), wire=True).pass_through(ModelBroadcast(0, 0, {"weight": weight}), "downlink")
    assert isinstance(received, ModelBroadcast)
    weight.zero_()
    assert received.model["weight"].tolist() == [1, 1]


@pytest.mark.parametrize("wire", [False, True])
def test_a_channel_keeps_no_message(wire: bool) -> None:
    channel = Channel(Ledger(), wire=wire)
    message = SmashedData(0, 0, 0, torch.ones(3), torch.ones(1))
    sent = weakref.ref(message.smashed)
    received = channel.pass_through(message, "uplink")
    assert isinstance(received, SmashedData)
    arrived = weakref.ref(received.smashed)
    del message, received
    assert sent() is None
    assert arrived() is None
