"""A classifier of texts on Flower, from a table of the user's own: bit for bit the run in one process."""

from pathlib import Path

import pytest

pytest.importorskip("transformers", reason="language models come from transformers")
pytest.importorskip("peft", reason="LoRA comes from peft")

from heron.config import build_run, recipe_config
from tests.apps.test_apps import nodes, rows_of, run_server
from tests.flower.grid import task_identity  # noqa: F401 - a fixture
from tests.lm.text_world import SETTINGS, make_world
from tests.tiers import rows

_CUT = ("split.cut=3", "client.groups=2")
CASES: dict[str, tuple[str, tuple[str, ...]]] = {
    "heron": ("heron", ()),
    "heron, two groups": ("heron", (*_CUT, "client.learning=local_zeroth_order")),
    "heron, local zeroth order": ("heron", ("client.learning=local_zeroth_order",)),
    "heron, local, exact heads": ("heron", ("client.learning=local_zeroth_order", "client.exact=1")),
    "heron, local exact": ("heron", ("client.learning=local_exact",)),
    "local": ("local", ()),
    "local, two groups": ("local", _CUT),
    "sflv2": ("sflv2", ()),
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_world(tmp_path_factory.mktemp("world"), dropout=0.1)  # a model is loaded without it


@pytest.mark.parametrize("name", rows(CASES, {"local, two groups"}))
def test_a_classifier_of_texts_on_flower_is_the_recipe(name: str, data: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("HERON_DATA", str(data))
    algorithm, own = CASES[name]
    settings = [*SETTINGS, "rounds=2", *own]
    found, expected = tmp_path / "found", tmp_path / "expected"
    run_server(nodes(), recipe="sst2-minilm", algorithm=algorithm, set=" ".join(settings), out=str(found))
    run = build_run(recipe_config("sst2-minilm", algorithm, settings), expected)
    run.train()
    assert rows_of(found) == rows_of(expected)
    checkpoint = Path("checkpoint") / "state.safetensors"
    assert (found / checkpoint).read_bytes() == (expected / checkpoint).read_bytes()
    if "local" in algorithm or "learning" in str(own):
        assert any(key.startswith("local_heads.") for key in run.federation.fed_server.global_model())
