"""`heron plan`, and runs whose boundary comes from a budget."""

import json

import pytest

import heron.config.build
from heron.cli.main import main
from heron.config import from_toml

KEYS = {
    "algorithm",
    "cut",
    "exact",
    "learning",
    "micro_batch",
    "checkpointing",
    "peak_memory_bytes",
    "memory_breakdown_bytes",
    "flops_per_step",
    "forwards_per_step",
    "smashed_bytes_per_step",
    "fits",
    "chosen",
    "default",
}
BUDGET = 150_000  # between the peaks of client.exact = 1 and 2
OWN = ("heron", "relu3", 0, False)


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plan")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(heron.config.build, "load_splits", lambda _: pytest.fail("a plan reads no data"))
        assert main(["plan", "digits", "--memory", f"{BUDGET}B", "--json", str(folder / "plan.json")]) == 0
    assert [path.name for path in folder.iterdir()] == ["plan.json"]
    return json.loads((folder / "plan.json").read_text())


def way(row):
    return row["algorithm"], row["cut"], row["micro_batch"], row["checkpointing"]


def test_every_row_is_complete_and_adds_up(plan):
    assert (plan["recipe"], plan["set"], plan["memory_bytes"]) == ("digits", [], BUDGET)
    for row in plan["rows"]:
        assert row.keys() == KEYS
        assert sum(row["memory_breakdown_bytes"].values()) == row["peak_memory_bytes"] > 0
        assert row["fits"] == (row["peak_memory_bytes"] <= BUDGET)
        assert row["flops_per_step"] > 0
    assert len({(way(row), row["exact"], row["learning"]) for row in plan["rows"]}) == len(plan["rows"])


def test_the_largest_boundary_that_fits_is_chosen(plan):
    own = [row for row in plan["rows"] if way(row) == OWN and row["learning"] == "zeroth_order"]
    assert [row["exact"] for row in own] == [0, 1, 2, 3, 4]
    assert [row["fits"] for row in own] == [True, True, False, False, False]
    (chosen,) = [row for row in plan["rows"] if row["chosen"]]
    assert chosen == own[1]


def test_the_recipes_own_choice_is_marked(plan):
    own = [row for row in plan["rows"] if way(row) == OWN and row["learning"] == "zeroth_order"]
    assert [row for row in plan["rows"] if row["default"]] == [own[2]]


def test_the_alternatives_are_there(plan):
    ways = {way(row) for row in plan["rows"]}
    assert ways >= {("heron", "relu3", size, recompute) for size in (0, 16, 8, 4) for recompute in (False, True)}
    cuts = {cut for _, cut, _, _ in ways}
    assert cuts == {"relu1", "conv2", "relu2", "conv3", "relu3", "flatten", "fc1", "relu4"}
    assert ways >= {(name, "relu3", 0, False) for name in ("frozen", "cse_fsl", "sflv2")}
    one_conv_less = [row for row in plan["rows"] if row["cut"] == "relu2"]
    assert [row["exact"] for row in one_conv_less] == [0, 1, 2, 3]
    assert {row["smashed_bytes_per_step"] for row in one_conv_less} == {32 * 16 * 4 * 4 * 4}


def test_layer_groups_are_shown(plan):
    local = [row for row in plan["rows"] if row["learning"] not in (None, "zeroth_order")]
    assert [(row["learning"], row["exact"]) for row in local] == [
        ("local_zeroth_order", 0),
        ("local_zeroth_order", 1),
        ("local_exact", 0),
    ]
    (first_order,) = [row for row in plan["rows"] if row["algorithm"] == "cse_fsl"]
    assert local[-1]["flops_per_step"] < first_order["flops_per_step"]


def test_the_other_clients_cost_what_they_are_equal_to(plan):
    rows = [row for row in plan["rows"] if row["learning"] in (None, "zeroth_order")]
    peaks = {(way(row), row["exact"]): row["peak_memory_bytes"] for row in rows}
    assert peaks[("cse_fsl", "relu3", 0, False), None] == peaks[OWN, 4]
    assert peaks[("frozen", "relu3", 0, False), None] < peaks[OWN, 0]


@pytest.mark.slow
def test_with_privacy_a_plan_has_what_can_be_private(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr("heron.config.variants._NEIGHBOURS", 0)
    monkeypatch.setattr("heron.config.variants._HALVINGS", 0)
    path = tmp_path / "plan.json"
    private = ["--set", "privacy.noise=2", "--set", "client.local_steps=4"]
    assert main(["plan", "digits", "--memory", "1MiB", *private, "--json", str(path)]) == 0
    rows = json.loads(path.read_text())["rows"]
    assert [(row["algorithm"], row["exact"], row["learning"]) for row in rows] == [
        ("heron", 0, "zeroth_order"),
        ("heron", 1, "zeroth_order"),
        ("heron", 0, "local_zeroth_order"),
        ("heron", 0, "local_exact"),
        ("cse_fsl", None, None),
    ]
    assert "chosen: client.exact=1" in capsys.readouterr().out


@pytest.mark.parametrize("command", [["plan", "--memory", "10MiB"], ["profile", "--algorithms", "heron,cse_fsl"]])
@pytest.mark.parametrize(
    ("recipe", "assignments", "expected"),
    [
        ("cifar10-resnet18-small", ["client.exact=1"], "expected no BatchNorm on a client with privacy, found 'norm1'"),
        (
            "digits",
            ["client.exact=0", "client.local_steps=0"],
            "expected client.local_steps of at least 1 with privacy",
        ),
        ("digits", ["client.exact=0", "clients.weighting=examples"], "expected clients.weighting=equal with privacy"),
    ],
)
def test_what_could_not_be_trained_is_refused(capsys, command, recipe, assignments, expected):
    if command[0] == "plan":
        assignments = [one for one in assignments if not one.startswith("client.exact")]
    changes = ["privacy.noise=2", "client.local_steps=4", *assignments]
    assert main([command[0], recipe, *command[1:], *(word for one in changes for word in ("--set", one))]) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("heron: ")]
    assert line.startswith(f"heron: {expected}")


def test_a_plan_tries_layer_groups_by_itself(capsys):
    assert main(["plan", "digits", "--memory", "1MiB", "--set", "client.learning=local_exact"]) == 2
    assert "plan tries every client.learning, found local_exact; drop it from --set" in capsys.readouterr().err


def test_a_variant_that_has_no_export_is_left_out(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr("heron.config.variants._NEIGHBOURS", 0)
    monkeypatch.setattr("heron.config.variants._HALVINGS", 0)
    path, changes = tmp_path / "plan.json", ["privacy.noise=2", "client.local_steps=4", "client.runtime=onnx"]
    words = [word for one in changes for word in ("--set", one)]
    assert main(["plan", "digits", "--memory", "1MiB", *words, "--json", str(path)]) == 0
    rows = json.loads(path.read_text())["rows"]
    assert {(row["algorithm"], row["learning"]) for row in rows} == {("heron", "zeroth_order")}


@pytest.mark.slow
def test_batch_norm_leaves_no_micro_batches(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr("heron.config.variants._NEIGHBOURS", 1)
    path = tmp_path / "plan.json"
    assert main(["plan", "cifar10-resnet18-small", "--memory", "20MB", "--json", str(path)]) == 0
    rows = json.loads(path.read_text())["rows"]
    assert {row["micro_batch"] for row in rows} == {0}
    assert {row["cut"] for row in rows} == {"conv2", "norm2", "block1"}
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 40
    (marked,) = [line for line in lines if ">" in line]
    assert [line for line in lines if line.startswith("* ")] == ["* the recipe without a budget: client.exact=2"]
    (chosen,) = [row for row in rows if row["chosen"]]
    assert f"{chosen['exact']} of 6" in marked  # the bottleneck is a module of its own
    assert any(line.startswith(f"chosen: client.exact={chosen['exact']}") for line in lines)


@pytest.mark.slow
def test_a_budget_that_nothing_fits_is_answered_too(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr("heron.config.variants._NEIGHBOURS", 0)
    path = tmp_path / "plan.json"
    assert main(["plan", "digits", "--memory", "100KiB", "--json", str(path)]) == 0
    assert not any(row["chosen"] for row in json.loads(path.read_text())["rows"])
    assert "at least 138,728 bytes" in capsys.readouterr().out


def test_a_run_with_a_budget_is_the_run_with_its_boundary(tmp_path, capsys):
    quick = ["train", "digits", "--set", "rounds=2", "--out"]
    assert main([*quick, str(tmp_path / "budget"), "--set", f"client.memory_budget={BUDGET}B"]) == 0
    assert "client.exact=1" in capsys.readouterr().out
    assert main([*quick, str(tmp_path / "exact"), "--set", "client.exact=1"]) == 0
    for name in ("config.toml", "checkpoint/state.safetensors"):
        assert (tmp_path / "budget" / name).read_bytes() == (tmp_path / "exact" / name).read_bytes()
    client = from_toml((tmp_path / "budget" / "config.toml").read_text()).client
    assert (client.exact, client.memory_budget) == (1, 0)
    assert json.loads((tmp_path / "budget" / "summary.json").read_text())["client_exact"] == 1
    assert json.loads((tmp_path / "budget" / "cost.json").read_text())["peak_memory_bytes"] <= BUDGET
    (tmp_path / "budget" / "summary.json").unlink()
    assert main(["train", "--resume", str(tmp_path / "budget")]) == 0


@pytest.mark.slow
def test_a_comparison_chooses_once_for_every_budget(tmp_path):
    out = tmp_path / "compare"
    command = ["compare", "digits", "--algorithms", "heron,frozen", "--seeds", "0,1", "--set", "rounds=1"]
    assert main([*command, "--vary", f"client.memory_budget={BUDGET}B,1MiB", "--out", str(out)]) == 0
    for algorithm, expected in (("heron", {BUDGET: 1, 2**20: 4}), ("frozen", {BUDGET: 0, 2**20: 0})):
        for budget, exact in expected.items():
            files = list((out / algorithm / f"client.memory_budget={budget}").rglob("config.toml"))
            assert [from_toml(path.read_text()).client.exact for path in files] == [exact, exact]
    assert main([*command, "--vary", f"client.memory_budget={BUDGET}B,1MiB", "--out", str(out)]) == 0
