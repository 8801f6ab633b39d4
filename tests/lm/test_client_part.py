"""A client's part of a language model, built without the server's: the values of the whole, and nothing else."""

import gc
from types import SimpleNamespace

import pytest
import torch

pytest.importorskip("transformers", reason="language models come from transformers")
pytest.importorskip("peft", reason="LoRA comes from peft")

import heron.lm.build
import heron.lm.parts
from heron.errors import ConfigError, SplitError
from heron.lm import CausalLm, write_parts
from heron.lm.pretrained import load_causal_lm
from heron.split import check_client
from tests.lm.models import MODELS, NUM_TOKENS, save

CHANGES = (
    {},
    {"lora_rank": 0},
    {"lora_layers": "all", "base": "bfloat16", "cut": 2},
    {"base": "int8", "lora_rank": 3},
    {"auxiliary_blocks": 0},
    {"auxiliary_blocks": 2},
)


@pytest.fixture(scope="module", params=MODELS)
def source(request, tmp_path_factory):
    return save(request.param, tmp_path_factory.mktemp("whole"))


def family(source, **changes):
    return CausalLm(pretrained=source, **{"cut": 1} | changes)


def assert_same(part, split, names=("client", "auxiliary")):
    for name in names:
        own, whole = getattr(part, name), getattr(split, name)
        expected, found = whole.state_dict(), own.state_dict()
        assert list(found) == list(expected)
        for key, tensor in expected.items():
            assert found[key].dtype == tensor.dtype, key
            assert torch.equal(found[key], tensor), key
        trained = [key for key, parameter in whole.named_parameters() if parameter.requires_grad]
        assert [key for key, parameter in own.named_parameters() if parameter.requires_grad] == trained


@pytest.mark.parametrize("changes", CHANGES, ids=str)
def test_the_part_has_the_values_of_the_whole(source, changes):
    settings = family(source, **changes)
    state = torch.get_rng_state()
    part, split = settings.build_client(5), settings.build(5)
    assert torch.equal(torch.get_rng_state(), state)
    assert_same(part, split)
    ids = torch.randint(0, NUM_TOKENS, (2, 7))
    with torch.no_grad():
        smashed = part.eval().client(ids)
        assert torch.equal(smashed, split.eval().client(ids))
        assert torch.equal(part.auxiliary(smashed).scores(), split.auxiliary(smashed).scores())
    if "dropout" not in source:
        check_client(part.train(), ids)


@pytest.mark.parametrize("changes", CHANGES, ids=str)
def test_a_tied_head_is_the_embedding_itself(source, changes):
    settings = family(source, **changes)
    part, split = settings.build_client(0), settings.build(0)
    shared = split.auxiliary.unembedding.weight is split.client.embedding.tokens.weight
    assert (part.auxiliary.unembedding.weight is part.client.embedding.tokens.weight) == shared


def test_a_client_without_auxiliary_network_has_the_same_values(source):
    settings = family(source, cut=2, lora_layers="all")
    part = settings.build_client(3, with_auxiliary=False)
    assert part.auxiliary is None
    assert_same(part, settings.build(3), names=("client",))


def tensors_alive():
    gc.collect()
    return {id(found): found for found in gc.get_objects() if type(found) in (torch.Tensor, torch.nn.Parameter)}


def test_nothing_of_the_server_is_loaded_or_alive(source, monkeypatch):
    """One of the model's three blocks belongs to the server alone."""
    asked = []

    def watched(name, **options):
        asked.append(options["num_blocks"])
        return load_causal_lm(name, **options)

    monkeypatch.setattr(heron.lm.build, "load_causal_lm", watched)
    settings = family(source)
    settings.build_client(0)  # libraries keep constants
    before = tensors_alive()
    part = settings.build_client(0)
    own = {tensor.data_ptr() for tensor in (*part.parameters(), *part.buffers())}
    strangers = [tensor for key, tensor in tensors_alive().items() if key not in before and tensor.numel()]
    assert {tensor.data_ptr() for tensor in strangers} <= own
    assert asked == [2, 2]


@pytest.mark.parametrize("changes", CHANGES, ids=str)
def test_a_directory_of_parts_gives_the_same_part(source, changes, tmp_path, monkeypatch):
    settings = family(source, **changes)
    no_tokenizer = SimpleNamespace(save_pretrained=lambda _: None)
    monkeypatch.setattr(heron.lm.parts, "load_tokenizer", lambda *_: no_tokenizer)
    write_parts(source, tmp_path, num_client_blocks=settings.cut, num_auxiliary_blocks=settings.auxiliary_blocks)
    (tmp_path / "server.safetensors").unlink()
    own = family(str(tmp_path), **changes)
    part, split = own.build_client(7), settings.build(7)
    assert_same(part, split)
    own.build_client(7, with_auxiliary=False)
    with pytest.raises(SplitError, match=r"^expected parts with split\.cut=1 and split\.auxiliary_blocks=[^\n]*$"):
        family(str(tmp_path), cut=1, auxiliary_blocks=settings.auxiliary_blocks + 1).build_client(7)


@pytest.mark.parametrize("cut", [0, 3])
def test_a_cut_that_the_model_does_not_have_is_refused(source, cut):
    with pytest.raises((ConfigError, SplitError), match=r"^expected split\.cut from 1 to 2|^split\.cut: .* at least 1"):
        family(source, cut=cut).build_client(0)
