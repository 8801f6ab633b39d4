"""Cut classifiers of texts compute what `transformers` does under padding; what trains, and what a client holds."""

import pytest
import torch
from torch import nn

pytest.importorskip("transformers", reason="language models come from transformers")
pytest.importorskip("peft", reason="LoRA comes from peft")

from heron.errors import SplitError
from heron.lm import TextClassifier, save_classifier
from heron.lm.encoders import ENCODERS
from heron.split import check_disjoint, check_trainable
from heron.wire import pack_tensor, unpack_tensor
from heron.wire.payload import LEVELS
from tests.lm.classifiers import CLASSES, LENGTHS, NUM_BLOCKS, PAD, ROWS, WIDTH, save, texts

EVERY = pytest.mark.parametrize(("family", "how"), ROWS)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    made = {}

    def path(family):
        if family not in made:
            made[family] = save(family, tmp_path_factory.mktemp(family))
        return made[family]

    return path


def settings(source, how, **changes):
    return TextClassifier(**{"pretrained": source, "pooling": how, "num_classes": CLASSES, "cut": 2} | changes)


def literal(source, how, dtype):
    """Scores by the library alone, each text by itself and without padding: no mask can be wrong."""
    from transformers import AutoModelForSequenceClassification

    model = AutoModelForSequenceClassification.from_pretrained(source, dtype=dtype).eval()
    ids, _ = texts()
    rows = []
    with torch.no_grad():
        for row, length in zip(ids, LENGTHS, strict=True):
            alone = row[None, :length]
            if how != "mean":
                rows.append(model(alone).logits[0])
                continue
            mean = model.base_model(alone).last_hidden_state[0].mean(dim=0)
            last = getattr(model.classifier, "out_proj", model.classifier)
            rows.append(last(mean))
    return torch.stack(rows)


def test_every_encoder_is_tried():
    assert set(ENCODERS) <= {family for family, _ in ROWS}


@EVERY
@pytest.mark.parametrize("cut", [2, 5])
@pytest.mark.parametrize("lora_rank", [0, 2])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 2e-6)])
def test_scores_are_those_of_the_uncut_model_whatever_the_padding(family, how, cut, lora_rank, dtype, tolerance, saved):
    """To the last digits in float64; in float32 up to its rounding, at most 6e-7 of scores near 1 when measured."""
    split = settings(saved(family), how, cut=cut, lora_rank=lora_rank).build(0).eval().to(dtype)
    assert len(list(split.client.children())) == cut + 1
    ids, _ = texts()
    longer = torch.cat([ids, torch.full((len(ids), 4), PAD)], dim=1)
    expected = literal(saved(family), how, dtype)
    near = {"atol": tolerance * float(expected.abs().max()), "rtol": 0.0}
    with torch.no_grad():
        for inputs in (ids, longer):
            smashed = split.client(inputs)
            assert smashed.shape == (*inputs.shape, WIDTH + 1)
            assert smashed.dtype == dtype
            torch.testing.assert_close(split.server(smashed), expected, **near)
        auxiliary = split.auxiliary(split.client(longer))
        torch.testing.assert_close(auxiliary, split.auxiliary(split.client(ids)), **near)
    assert auxiliary.shape == (len(ids), CLASSES)
    assert expected.std() > 0.1, "scores that say something"


@EVERY
@pytest.mark.parametrize("codec", [*LEVELS, "fp16"])
def test_every_codec_keeps_which_positions_count(family, how, codec, saved):
    split = settings(saved(family), how).build(0).eval()
    ids, mask = texts()
    with torch.no_grad():
        sent = unpack_tensor(pack_tensor(split.client(ids), codec, seed=3))
    assert torch.equal(torch.as_tensor(sent)[..., -1] > 0.5, mask.bool())


@EVERY
@pytest.mark.parametrize("changes", [{}, {"lora_rank": 0}, {"lora_layers": "all", "base": "int8"}], ids=str)
def test_a_client_part_has_the_values_of_the_whole(family, how, changes, saved):
    family_settings = settings(saved(family), how, **changes)
    split, part = family_settings.build(5), family_settings.build_client(5)
    for name in ("client", "auxiliary"):
        expected, found = getattr(split, name).state_dict(), getattr(part, name).state_dict()
        assert list(found) == list(expected)
        assert all(torch.equal(found[key], tensor) for key, tensor in expected.items())
    held = nn.ModuleDict({"client": split.client, "auxiliary": split.auxiliary})
    check_disjoint("client", held, "server", split.server)
    check_trainable(split, texts()[0], micro_batch=2)
    trained = {name for name, tensor in split.named_parameters() if tensor.requires_grad}
    if changes.get("lora_rank") != 0:
        assert all("lora_" in name for name in trained if name.startswith("client."))
        assert any(name.endswith(("classifier.weight", "out_proj.weight", "score.weight")) for name in trained)
    else:
        assert trained == {name for name, _ in split.named_parameters()}
    assert family_settings.build_client(5, with_auxiliary=False).auxiliary is None


@EVERY
@pytest.mark.parametrize("options", [{}, {"base": "bfloat16", "lora_layers": "all"}, {"lora_rank": 0}], ids=str)
def test_exports_load_by_the_library_alone_with_the_same_scores(family, how, options, saved, tmp_path, monkeypatch):
    from transformers import AutoModelForSequenceClassification, dynamic_module_utils

    monkeypatch.setattr(dynamic_module_utils, "HF_MODULES_CACHE", str(tmp_path / "cache"))
    split = settings(saved(family), how, **options).build(0).eval()
    generator = torch.Generator().manual_seed(5)
    for name, parameter in split.named_parameters():
        if "lora_B" in name:
            parameter.data.copy_(0.2 * torch.randn(parameter.shape, generator=generator))
    save_classifier(split, Tokens(), tmp_path / "out")
    if how == "mean":
        with pytest.raises((ValueError, KeyError), match=r"trust_remote_code|heron_"):
            AutoModelForSequenceClassification.from_pretrained(tmp_path / "out", trust_remote_code=False)
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "out", trust_remote_code=how == "mean")
    ids, mask = texts()
    with torch.no_grad():
        torch.testing.assert_close(model.eval()(ids, attention_mask=mask).logits, split(ids), atol=1e-5, rtol=1e-5)


class Tokens:
    """A tokenizer as far as an export needs it."""

    pad_token_id = PAD

    def save_pretrained(self, directory):
        """Write nothing."""


@pytest.mark.parametrize(("family", "how"), [("bert", "last"), ("gpt2", "mean"), ("opt", "first")])
def test_a_pooling_that_a_family_has_not_is_refused(family, how, saved):
    with pytest.raises(SplitError, match=r"^expected split\.pooling=[^\n]* model, found [^\n]*; set it$"):
        settings(saved(family), how).build(0)


@pytest.mark.parametrize("cut", [NUM_BLOCKS, 9])
def test_a_cut_that_the_model_has_not_is_refused(cut, saved):
    for build in (TextClassifier.build, TextClassifier.build_client):
        with pytest.raises(SplitError, match=rf"^expected split\.cut from 1 to 5, [^\n]*found {cut}$"):
            build(settings(saved("bert"), "mean", cut=cut), 0)


def test_a_family_without_an_adapter_is_refused(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "albert"}')
    with pytest.raises(SplitError, match=r"^expected a model of bert, roberta, distilbert, gpt2, [^\n]*'albert'"):
        settings(str(tmp_path), "mean").build(0)
