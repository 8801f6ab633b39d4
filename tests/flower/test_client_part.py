"""A Flower node builds its own part from the terms, and nothing of the server's."""

import gc

import pytest
import torch

from heron.config import build_clients, build_servers, load_splits, recipe_config
from heron.data.folder import data_folder, model_folder
from heron.errors import ConfigError, MessageError
from heron.lm import CausalLm
from heron.wire.terms import decode_terms, encode_terms

DIGITS = ["clients.total=2", "threads=1"]
E2E = ["clients.total=2", "threads=1", "data.train_limit=8", "data.validation_limit=2", "data.test_limit=2"]


def terms_of(recipe: str, algorithm: str, changes: list[str]):
    """The terms of a run as a node receives them; the server's side is gone when this returns."""
    config = recipe_config(recipe, algorithm, changes)
    return decode_terms(encode_terms(build_servers(config, load_splits(config)).terms))


@pytest.mark.parametrize("algorithm", ["heron", "cse_fsl", "frozen", "sflv2", "ho_sfl"])
def test_no_server_tensor_on_a_node(algorithm: str) -> None:
    terms = terms_of("digits", algorithm, DIGITS)
    clients = build_clients(terms, {})
    parts = set(clients.runtime.local.module.keys())
    assert parts <= {"client", "auxiliary"}
    gc.collect()
    held = sum(tensor.numel() for tensor in clients.runtime.local.module.parameters())
    assert held < 2_500, "1,828 of the client, 170 of the auxiliary network; the server has 1,738"


@pytest.mark.slow
@pytest.mark.skipif(
    not (model_folder("gpt2-mini") / "config.json").exists() or not (data_folder("e2e", None)).exists(),
    reason="needs gpt2-mini and E2E NLG: set HERON_DATA",
)
def test_no_server_tensor_of_a_language_model_on_a_node(monkeypatch: pytest.MonkeyPatch) -> None:
    """No tensor in the process has the shape of one that only the server's blocks have."""
    terms = terms_of("e2e-gpt2-mini", "heron", E2E)
    monkeypatch.setattr(CausalLm, "build", lambda *_, **__: pytest.fail("a node builds its own part alone"))
    gc.collect()
    before = {id(each) for each in gc.get_objects() if issubclass(type(each), torch.Tensor)}
    clients = build_clients(terms, {})
    gc.collect()
    new = [each for each in gc.get_objects() if issubclass(type(each), torch.Tensor) and id(each) not in before]
    mine = {tensor.untyped_storage().data_ptr() for tensor in clients.runtime.local.module.state_dict().values()}
    probed = clients.learner.probed
    mine |= {each.untyped_storage().data_ptr() for each in (probed.theta.theta, *probed.moments())}
    strangers = [each for each in new if each.untyped_storage().data_ptr() not in mine and each.numel() > 10_000]
    assert not strangers, [tuple(each.shape) for each in strangers]


def test_a_node_has_its_own_threads_and_nothing_else_of_its_own() -> None:
    terms = terms_of("digits", "heron", DIGITS)
    clients = build_clients(terms, {"threads": 2, "client.learning_rate": 5.0, "partition-id": 0})
    assert clients.terms.settings.threads == 2
    assert clients.terms.settings.client == terms.settings.client
    torch.set_num_threads(1)
    with pytest.raises(ConfigError, match=r"threads: expected an integer in \[1, 1024\], found 'many'"):
        build_clients(terms, {"threads": "many"})
    with pytest.raises(ConfigError, match="device 'tpu9' cannot be used"):
        build_clients(terms, {"device": "tpu9"})


@pytest.mark.parametrize(
    ("section", "values", "message"),
    [
        ("data", {"name": "secrets"}, "terms.data: expected one of"),
        ("data", {"name": ["digits"]}, "terms.data: expected one of"),
        ("data", {"name": "digits", "validation": 2.0}, r"data.validation: expected a number in \[0, 1\), found 2.0"),
        ("network", {"model": "digits_cnn"}, "'cut' absent"),
        ("network", {"model": "digits_cnn", "cut": "relu3", "code": "x"}, "'code' unknown"),
    ],
)
def test_foreign_sections_are_refused(section: str, values: dict, message: str) -> None:
    import dataclasses

    terms = dataclasses.replace(terms_of("digits", "heron", DIGITS), **{section: values})
    with pytest.raises(MessageError, match=message):
        build_clients(terms, {})
