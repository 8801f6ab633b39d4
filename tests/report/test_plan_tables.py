"""The table of a plan keeps to a screen and puts what is useful on top."""

from heron.metering.storages import CATEGORIES
from heron.report import print_plan

MEMORY = 100


def row(cut, exact, peak, *, algorithm="heron", chosen=False, default=False):
    return {
        "algorithm": algorithm,
        "learning": "zeroth_order",
        "cut": cut,
        "exact": exact,
        "micro_batch": 0,
        "checkpointing": False,
        "peak_memory_bytes": peak,
        "memory_breakdown_bytes": dict.fromkeys(CATEGORIES, 0) | {"activations": peak},
        "flops_per_step": 10 * peak,
        "forwards_per_step": 2,
        "smashed_bytes_per_step": 1,
        "fits": peak <= MEMORY,
        "chosen": chosen,
        "default": default,
    }


def test_rows_in_order_and_the_rest_counted(capsys):
    own = [row("own", 0, 70, chosen=True), row("own", 1, 110, default=True)]
    ways = [row("far", 0, 300), row("far", 1, 310), row("near", 0, 150), row("all", 0, 20), row("all", 1, 30)]
    ways += [row("half", 0, 40), row("half", 1, 180), *(row(f"other{count}", 0, 400 + count) for count in range(20))]
    print_plan("name", MEMORY, [*own, *ways, row("own", None, 60, algorithm="frozen")], own, None)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 30
    cells = [line.replace("│", " ").split() for line in lines if "heron" in line or "frozen" in line]
    assert cells[0][:6] == [">", "heron", "own", "0", "of", "1"]
    assert cells[1][:2] == ["*", "heron"]
    shown = [(line[1], line[2]) for line in cells[2:6]]
    # The way that leaves nothing to zeroth order, the one that leaves a module, then the nearest to fitting.
    assert shown == [("all", "1"), ("half", "0"), ("near", "0"), ("far", "0")]
    assert cells[-1][0] == "frozen"
    assert len(cells) == len(own) + 12 + 1
    assert lines[-3] == "* the recipe without a budget: client.exact=1"
    assert "client.exact=0, 70 B" in lines[-2]
    assert f"{len(ways) - 12} more" in lines[-1]
