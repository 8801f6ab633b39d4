"""Terms are what the parties do: computed from algorithm, shapes and settings, they equal what a learner has."""

import pytest
import torch

from heron.algorithms import ALGORITHMS
from heron.arrays import dtype_name
from heron.engines.agreement import travelling
from heron.wire.terms import decode_terms, encode_terms
from tests.conformance.test_algorithms import federation

CASES = [
    *((name, {}) for name in ALGORITHMS),
    ("heron", {"update": "scalars", "client": {"keep_state": False}}),
    ("heron", {"update": "scalars", "client": {"keep_state": False, "exact": 1}}),
    ("heron", {"client": {"exact": 1}}),
    ("heron", {"client": {"exact": 2}}),
    ("heron", {"client": {"exact": "all"}}),
    ("heron", {"client": {"exact": 1}, "estimator": {"probes": 0}}),
]


@pytest.mark.parametrize(("name", "changes"), CASES)
def test_terms_equal_the_learner(name: str, changes: dict) -> None:
    parties = federation(name, **changes)
    terms, learner = parties.servers.terms, parties.clients.learner
    model = learner.model()
    travels = [term for term in terms.tensors if term.role != "downlink_only"]
    assert [term.name for term in travels] == list(model)
    assert terms.replayed == learner.replayed()
    assert set(terms.names("buffer")) == set(parties.clients.runtime.buffers())
    for term in travels:
        assert (term.shape, term.dtype) == (tuple(model[term.name].shape), dtype_name(model[term.name]))
    # A server alone changes the rest.
    only_down = terms.names("downlink_only")
    assert bool(only_down) == (ALGORITHMS[name].downlink_only is not None)
    assert not set(only_down) & set(model)
    broadcast = parties.servers.fed_server.broadcast(0, 0)
    assert set(broadcast.model) == {term.name for term in terms.tensors}


@pytest.mark.parametrize("name", ALGORITHMS)
def test_a_reply_holds_what_the_terms_say(name: str) -> None:
    parties = federation(name)
    replies = []
    accept = parties.servers.fed_server.accept
    parties.servers.fed_server.accept = lambda reply: (replies.append(reply), accept(reply))[1]
    parties.run_round()
    assert replies
    for reply in replies:
        assert tuple(reply.model) == parties.servers.terms.sent_back


def test_what_travels_is_the_network_s_own() -> None:
    parties = federation("heron")
    tensors = travelling(parties.servers.terms, parties.split)
    named = dict(parties.split.named_parameters()) | dict(parties.split.named_buffers())
    for name, tensor in tensors.items():
        assert tensor.data_ptr() == named[name].data_ptr()
        assert not tensor.requires_grad


@pytest.mark.parametrize(("name", "changes"), CASES)
def test_terms_travel(name: str, changes: dict) -> None:
    terms = federation(name, **changes).servers.terms
    assert decode_terms(encode_terms(terms)) == terms


def test_the_global_model_is_in_place_for_evaluation_and_clients_start_from_it() -> None:
    parties = federation("heron")
    parties.run_round()
    split = parties.servers.load_global_model()
    for name, tensor in parties.servers.fed_server.global_model().items():
        part, _, own = name.partition(".")
        found = dict(getattr(split, part).state_dict())[own]
        assert torch.equal(found, tensor)
