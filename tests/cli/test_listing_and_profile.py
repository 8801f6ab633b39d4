"""`heron recipes`, `heron algorithms` and `heron profile`: nothing is trained."""

import json

import pytest

from heron.algorithms import ALGORITHMS, OTHER_NAMES
from heron.cli.main import main
from heron.cli.parser import make_parser
from heron.config import RECIPES, from_toml, recipe_config

COST_KEYS = {
    "algorithm",
    "peak_memory_bytes",
    "memory_breakdown_bytes",
    "flops_per_step",
    "forwards_per_step",
    "smashed_bytes_per_step",
    "seconds_per_step",
}


@pytest.mark.parametrize(("command", "known"), [("recipes", RECIPES), ("algorithms", ALGORITHMS | OTHER_NAMES)])
def test_lists_have_one_line_each(capsys, command, known):
    assert main([command]) == 0
    output = capsys.readouterr()
    assert output.err == ""
    assert [line.split()[0] for line in output.out.splitlines()] == list(known)


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_is_shown_as_a_file_that_can_be_read_back(capsys, recipe):
    assert main(["recipes", recipe]) == 0
    assert from_toml(capsys.readouterr().out) == recipe_config(recipe, "heron", [])


def test_costs_hold_the_documented_keys_and_add_up(tmp_path, capsys):
    path = tmp_path / "costs.json"
    assert main(["profile", "digits-published", "--algorithms", "heron,cse_fsl,frozen", "--json", str(path)]) == 0
    output = capsys.readouterr()
    assert output.err == ""
    costs = json.loads(path.read_text())
    assert [cost["algorithm"] for cost in costs] == ["heron", "cse_fsl", "frozen"]
    for cost in costs:
        assert cost.keys() == COST_KEYS
        assert sum(cost["memory_breakdown_bytes"].values()) == cost["peak_memory_bytes"] > 0
        assert cost["seconds_per_step"] > 0
        assert cost["algorithm"] in output.out
    heron, first_order, _ = costs
    assert heron["forwards_per_step"] == 2
    assert heron["peak_memory_bytes"] < first_order["peak_memory_bytes"]
    assert [path.name for path in tmp_path.iterdir()] == ["costs.json"]


@pytest.mark.parametrize(("scheme", "forwards"), [("one_sided", 4), ("central", 7)])
def test_clients_of_the_hybrid_relatives_cost_what_their_files_say(tmp_path, capsys, scheme, forwards):
    """(1 + q) F_c, central (1 + 2 q) F_c; HOSL uploads every pass, HO-SFL one."""
    path = tmp_path / "costs.json"
    changes = ["--set", "estimator.probes=3", "--set", f"estimator.scheme={scheme}"]
    assert main(["profile", "digits", "--algorithms", "frozen,ho_sfl,hosl", *changes, "--json", str(path)]) == 0
    assert "hosl" in capsys.readouterr().out
    forward, ho_sfl, hosl = json.loads(path.read_text())
    assert ho_sfl["forwards_per_step"] == hosl["forwards_per_step"] == forwards
    assert hosl["flops_per_step"] == forwards * forward["flops_per_step"]
    # The surrogate is one multiply-add for each float of z, in the clean pass and in each probe.
    pairings = forwards * 2 * forward["smashed_bytes_per_step"] // 4
    assert ho_sfl["flops_per_step"] == forwards * forward["flops_per_step"] + pairings
    assert ho_sfl["smashed_bytes_per_step"] == forward["smashed_bytes_per_step"]
    assert hosl["smashed_bytes_per_step"] == forwards * forward["smashed_bytes_per_step"]
    assert ho_sfl["memory_breakdown_bytes"]["gradients"] == hosl["memory_breakdown_bytes"]["gradients"] == 0


@pytest.mark.parametrize("command", [[], ["train"], ["compare"], ["profile"], ["plan"]])
def test_help_ends_well(capsys, command):
    with pytest.raises(SystemExit) as ended:
        main([*command, "--help"])
    assert ended.value.code == 0
    assert "usage: heron" in capsys.readouterr().out


def test_the_memory_of_numba_is_named_where_it_is_asked_for(capsys):
    for kernel, named in (("numba", True), ("numpy", False)):
        assert main(["profile", "digits", "--algorithms", "heron", "--set", f"client.kernel={kernel}"]) == 0
        assert ("numba takes 130 MiB" in capsys.readouterr().out) == named


def test_all_names_every_algorithm():
    options = make_parser().parse_args(["compare", "digits", "--algorithms", "all"])
    assert options.algorithms == list(ALGORITHMS)
