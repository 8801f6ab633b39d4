"""The recursion of simulated time: hand-derived rounds, and a simulation tick by tick."""

import doctest
import math

from hypothesis import given, settings
from hypothesis import strategies as st

import heron.costs.round_time
from heron.costs.round_time import Compute, Device, Receive, Send, Serve, Timeline, round_seconds
from tests.reference.round_time import round_ticks

# Uplink of 10 bytes/s, downlink of 20, latency of 1 s, 5 FLOP/s; the server makes 2 FLOP/s.
SLOW = Device(uplink_bytes_per_s=10.0, downlink_bytes_per_s=20.0, latency_s=1.0, flops_per_s=5.0)
SERVER = 2.0


def seconds(*programs, device=SLOW, server=SERVER) -> float:
    return round_seconds([Timeline(device, list(program)) for program in programs], server)


def test_doctest() -> None:
    assert doctest.testmod(heron.costs.round_time).failed == 0


def test_nothing_takes_no_time() -> None:
    assert seconds() == 0
    assert seconds([]) == 0


def test_each_part_takes_its_time() -> None:
    assert seconds([Receive(40)]) == 3  # 40 / 20 + 1
    assert seconds([Compute(10)]) == 2  # 10 / 5
    assert seconds([Send(30)]) == 4  # 30 / 10 + 1
    assert seconds([Send(30), Serve(6)]) == 7  # 6 / 2 after it


def test_without_limits_nothing_takes_time() -> None:
    free = Device(math.inf, math.inf, 0.0, math.inf)
    assert seconds([Receive(40), Compute(10), Send(30), Serve(6)], device=free, server=math.inf) == 0


def test_a_decoupled_client_uploads_while_it_computes() -> None:
    # Broadcast there at 1 + 1 = 2. Step: 1 s before its upload of 3 s, 2 s after it.
    # Clock 3, line busy 3..6; clock 5, 6, line 6..9; clock 8. Reply of 1 s on the line 9..10, there at 11.
    step = [Compute(5), Send(30), Serve(2), Compute(10)]
    assert seconds([Receive(20), *step, *step, Send(10)]) == 11
    # Arrivals at 7 and 10; a server that takes 5 s for each ends at 17.
    slow = [Compute(5), Send(30), Serve(10), Compute(10)]
    assert seconds([Receive(20), *slow, *slow, Send(10)]) == 17


def test_computing_is_the_bottleneck_where_the_line_is_fast() -> None:
    # Clock 2, +1, line 3..4, +6 = 9, +1, line 10..11, +6 = 16, line 16..17, there at 18.
    step = [Compute(5), Send(10), Serve(2), Compute(30)]
    assert seconds([Receive(20), *step, *step, Send(10)]) == 18


def test_a_coupled_client_waits_for_every_answer() -> None:
    # 2; forward 3; upload there at 3 + 3 + 1 = 7; served at 8; answer there at 8 + 2 + 1 = 11; backward 13.
    # Again 11 s later: 24. Reply there at 24 + 1 + 1 = 26.
    step = [Compute(5), Send(30), Serve(2), Receive(40), Compute(10)]
    assert seconds([Receive(20), *step, *step, Send(10)]) == 26


def test_clients_work_side_by_side_and_the_slowest_counts() -> None:
    assert seconds([Compute(10)], [Compute(50)], [Compute(20)]) == 10


def test_the_server_is_one_machine_with_a_queue() -> None:
    # Three uploads arrive at 2; each takes 3 s.
    program = [Send(10), Serve(6)]
    assert seconds(program, program, program) == 11


def test_the_queue_is_in_order_of_arrival() -> None:
    """Client 1 arrives first, is answered first and continues for long; served last it would end later."""
    late = [Compute(10), Send(10), Serve(8), Receive(20)]  # there at 4
    early = [Send(10), Serve(8), Receive(20), Compute(40)]  # there at 2, served at 6, answer there at 8, ends at 16
    assert seconds(late, early) == 16
    assert seconds(early, late) == 16


def test_equal_arrivals_are_served_client_after_client() -> None:
    first = [Send(10), Serve(8), Receive(20), Compute(40)]  # served at 6, ends at 8 + 8
    second = [Send(10), Serve(8), Receive(20)]
    assert seconds(first, second) == 16
    assert seconds(second, first) == 20  # served at 10


def test_several_uploads_in_one_message_are_served_one_by_one() -> None:
    assert seconds([Send(10), Serve(2), Serve(4)]) == 5  # there at 2, then 1 + 2


def test_an_answer_waits_for_all_that_was_served_before_it() -> None:
    # There at 2, served until 3 and 5, answer there at 5 + 1 + 1.
    assert seconds([Send(10), Serve(2), Serve(4), Receive(20)]) == 7


def test_a_client_that_vanishes_counts_with_what_it_did() -> None:
    assert seconds([Receive(20), Compute(50)], [Receive(20), Compute(5), Send(10)]) == 12
    assert seconds([Receive(20), Compute(5)], [Receive(20), Compute(50), Send(10)]) == 14


def test_a_message_on_the_line_cannot_be_overtaken_and_latency_does_not_occupy_it() -> None:
    far = Device(uplink_bytes_per_s=10.0, downlink_bytes_per_s=20.0, latency_s=100.0, flops_per_s=5.0)
    assert seconds([Send(10), Send(20), Send(30)], device=far) == 106
    assert seconds([Receive(20), Receive(40)], device=far) == 103


RATES = st.sampled_from([1.0, 0.5, 0.25])
SIZES = st.integers(0, 5)
DEVICES = st.builds(Device, RATES, RATES, st.integers(0, 4).map(float), RATES)
LATER = st.lists(
    st.one_of(
        st.builds(Compute, SIZES.map(float)),
        st.builds(Send, SIZES),
        st.builds(Serve, SIZES.map(float)),
        st.builds(Receive, SIZES),
    ),
    max_size=8,
)
PROGRAMS = st.builds(
    lambda first, sent, rest: [first, sent, *rest], st.builds(Receive, SIZES), st.builds(Send, SIZES), LATER
)


@settings(max_examples=400, deadline=None)
@given(st.lists(st.builds(Timeline, DEVICES, PROGRAMS), max_size=4), RATES)
def test_the_recursion_is_what_the_machines_do(timelines: list[Timeline], server: float) -> None:
    assert round_seconds(timelines, server) == round_ticks(timelines, server)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.builds(Timeline, DEVICES, PROGRAMS), min_size=1, max_size=3), RATES)
def test_another_client_never_makes_a_round_of_decoupled_clients_shorter(
    timelines: list[Timeline], server: float
) -> None:
    one_way = [
        Timeline(line.device, [event for event in line.events if not isinstance(event, Receive)]) for line in timelines
    ]
    assert round_seconds(one_way[:-1], server) <= round_seconds(one_way, server)
