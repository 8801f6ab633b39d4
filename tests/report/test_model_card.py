"""The card of an exported model: a front matter that hubs accept, and what a reader must know."""

from dataclasses import replace
from pathlib import Path

import pytest

from heron.config import RECIPES, RunConfig
from heron.lm import CausalLm
from heron.report import ExportedModel, model_card

yaml = pytest.importorskip("yaml", reason="PyYAML comes with the libraries of language models")

ROW = {"round": 3, "uplink_bytes": 2048, "downlink_bytes": 1024}


def exported(config: RunConfig, *, base_model: str | None = None, base_is_on_hub: bool = False, **row) -> ExportedModel:
    cost = {"peak_memory_bytes": 1024, "flops_per_step": 5e6}
    return ExportedModel(config, 1234, [ROW | row], cost, base_model, base_is_on_hub)


def parts(card: str) -> tuple[dict, str]:
    _, front, body = card.split("---\n", 2)
    return yaml.safe_load(front), body


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_has_a_valid_card(recipe):
    hub = pytest.importorskip("huggingface_hub")
    config = RECIPES[recipe].build("heron")
    name = "perplexity" if config.split.reads_text else "accuracy"
    model = exported(config, base_model=config.split.pretrained_source, base_is_on_hub=True, **{f"test_{name}": 0.5})
    card = hub.ModelCard(model_card(model), ignore_metadata_errors=False)
    (result,) = card.data.eval_results
    assert (result.metric_type, result.metric_value) == (name, 0.5)
    assert card.data.license == "unknown"
    assert card.data.base_model == config.split.pretrained_source
    for heading in ("Model", "Training", "Results", "Limits", "Licence", "Load"):
        assert f"\n## {heading}\n" in card.text


def test_a_local_base_model_is_named_without_its_path():
    config = replace(RECIPES["e2e-gpt2"].build("heron"), split=CausalLm(pretrained="/home/me/models/mine"))
    card = model_card(exported(config, base_model="/home/me/models/mine"))
    assert "/home/me" not in card
    assert "`mine`, a local folder" in card
    assert "base_model" not in parts(card)[0]


def test_a_run_that_diverged_claims_nothing():
    front, body = parts(model_card(exported(RECIPES["digits"].build("heron"), test_accuracy=None)))
    assert "model-index" not in front
    assert "not evaluated" in body


def test_figures_and_limits_are_told():
    config = replace(RECIPES["digits"].build("heron"), rounds=20, seed=7)
    _, body = parts(model_card(exported(config, test_accuracy=0.951, validation_accuracy=0.9)))
    assert "| test | accuracy | 95.1 % |" in body
    assert "| validation | accuracy | 90.0 % |" in body
    assert "after 3 of 20 rounds" in body
    assert "seed, 7" in body
    assert "| uplink of all clients | 2.0 KiB |" in body
    assert "CC BY 4.0" in body


def test_no_file_of_the_machine_is_named():
    config = RECIPES["digits"].build("heron")
    config = replace(config, link=replace(config.link, profile=str(Path.home() / "devices.toml")))
    assert str(Path.home()) not in model_card(exported(config, test_accuracy=0.5))
