"""Facts of the algorithms' pages, read from the registry and from the plan of a client's step.

The rest of a page is written by hand. Facts are between two marks, and nothing else of a page is changed.
"""

import re
from pathlib import Path

from heron.algorithms import ALGORITHMS, Algorithm
from heron.algorithms.decoupled import decoupled_round
from heron.config import plan_cost, recipe_config
from heron.report.units import bytes_text, flops_text
from heron.wire.groups import Settings
from pages.users import fixed_settings

RECIPE = "cifar10-resnet18"
BEGIN, END = "<!-- facts -->", "<!-- end of facts -->"

_HEADS = {
    "auxiliary": "the loss of an auxiliary network",
    "server": "the loss of the whole network, which the client holds",
}
_ANSWERS = {"cut_gradient": "the gradient at the cut", "loss": "a loss, one float32", None: "nothing"}
_UPLOADS = {
    "periodic": "smashed data and labels of every `client.upload_period`-th step",
    "every_step": "smashed data and labels of every step",
    "never": "nothing; there is no Main Server",
}


_ROUNDS = {True: "decoupled: one exchange for each client", False: "coupled: every step waits for its answer"}


def algorithm_pages(folder: Path) -> dict[Path, str]:
    """Put present facts into the pages.

    Args:
        folder: the folder of the pages; `index.md` and one for each row of the registry.

    Returns:
        Content by path.

    Raises:
        FileNotFoundError: if a row has no page.
        ValueError: if a page lacks the marks.
    """
    contents = {"index.md": _overview()} | {f"{name}.md": _facts(row) for name, row in ALGORITHMS.items()}
    return {folder / name: _with_facts(folder / name, facts) for name, facts in contents.items()}


def _with_facts(path: Path, facts: str) -> str:
    before, begin, rest = path.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{path.name}: expected the marks {BEGIN} and {END}, found none; put them where facts belong")
    return f"{before}{BEGIN}\n{facts}\n{END}{after}"


def _overview() -> str:
    rows = [
        f"| [`{name}`]({name}.md) | {_order(row)} | {_ANSWERS[row.answers]} | {_citation(row)} |"
        for name, row in ALGORITHMS.items()
    ]
    head = ["| algorithm | clients learn by | answer to an upload | source |", "|---|---|---|---|"]
    return "\n".join(["", *head, *rows, ""])


def _facts(row: Algorithm) -> str:
    cost = plan_cost(recipe_config(RECIPE, row.name, []))
    peak, compute = bytes_text(cost.peak_memory_bytes), flops_text(cost.flops_per_step)
    facts = {
        "Clients learn by": _order(row),
        "They descend": _loss(row),
        "They upload": _UPLOADS[row.uploads],
        "They receive for it": _ANSWERS[row.answers],
        "A round is": _ROUNDS[row.run_round is decoupled_round],
        "Update rules": ", ".join(f"`{name}`" for name in row.optimizers) if _order(row) != "nothing" else "none",
        "Fixed settings": ", ".join(f"`{key}={str(value).lower()}`" for key, value in fixed_settings(row).items())
        or "none",
        "A step costs a client": f"{peak} and {compute} (`heron profile {RECIPE} --algorithms {row.name}`)",
        "Source": _citation(row),
    }
    lines = [f"- **{name}**: {text}" for name, text in facts.items()]
    return "\n".join(["", *lines, ""])


def _order(row: Algorithm) -> str:
    orders = row.orders(row.learning(Settings()))
    if orders.groups is not None:
        return "exact gradients within a group of layers"
    if orders.probes:
        return "probes; the last modules exactly with `client.exact`" if row.has_boundary else "probes"
    return "exact gradients" if orders.exact else "nothing"


def _loss(row: Algorithm) -> str:
    if row.orders(row.learning(Settings())).groups is not None:
        return "for each group of layers the loss of a head of its own"
    if row.head is not None:
        return _HEADS[row.head]
    return {"cut_gradient": "the gradient at the cut", "loss": "the loss of the whole network", None: "nothing"}[
        row.answers
    ]


def _citation(row: Algorithm) -> str:
    """The citation, with a link where it names a preprint."""
    found = re.search(r"arXiv (\d{4}\.\d{5})", row.citation)
    return row.citation.replace(found[0], f"[{found[0]}](https://arxiv.org/abs/{found[1]})") if found else row.citation
