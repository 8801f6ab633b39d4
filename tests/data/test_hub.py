"""A hub that is out of reach is not waited for."""

import socket
import time
from pathlib import Path

import pytest

from heron.data import Cifar10
from heron.data.hub import only_cached
from heron.errors import DataError, SplitError
from heron.lm.pretrained import causal_lm_config, load_tokenizer


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Addresses that were tried; nothing answers."""
    tried: list[tuple[str, int]] = []

    def refused(address: tuple[str, int], timeout: float) -> socket.socket:
        assert timeout <= 3
        tried.append(address)
        raise TimeoutError("nothing answers")

    monkeypatch.setattr(socket, "create_connection", refused)
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "HF_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    return tried


def test_a_name_can_only_be_cached_where_nothing_answers(calls, monkeypatch, tmp_path) -> None:
    assert only_cached(Path("some-model"))
    monkeypatch.setenv("HF_ENDPOINT", "http://mirror.example:8080")
    assert only_cached(Path("some-model"))
    assert calls == [("huggingface.co", 443), ("mirror.example", 8080)]
    assert not only_cached(tmp_path), "a directory needs no hub"
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    assert not only_cached(Path("some-model")), "a proxy may reach it"
    assert len(calls) == 2


@pytest.mark.parametrize(
    "load", [causal_lm_config, lambda name: load_tokenizer(name, 100)], ids=["config", "tokenizer"]
)
@pytest.mark.usefixtures("calls")
def test_an_absent_model_is_refused_at_once(load, capfd) -> None:
    pytest.importorskip("transformers").AutoConfig  # noqa: B018 - its import takes longer than the refusal
    started = time.perf_counter()
    with pytest.raises(SplitError, match=r"^expected a language model 'no-such-model'[^\n]*$"):
        load("no-such-model")
    assert time.perf_counter() - started < 10  # the hub's client would wait 25 s
    assert "Retrying" not in capfd.readouterr().err


@pytest.mark.usefixtures("calls")
def test_absent_images_are_refused_at_once(tmp_path, capfd) -> None:
    constants = pytest.importorskip("huggingface_hub").constants
    pytest.importorskip("datasets")
    before, started = constants.HF_HUB_OFFLINE, time.perf_counter()
    with pytest.raises(DataError, match="no usable hub"):
        Cifar10().load(0, root=tmp_path)
    assert time.perf_counter() - started < 10
    assert "Retrying" not in capfd.readouterr().err
    assert before == constants.HF_HUB_OFFLINE
