"""Words and help of `heron audit`. The attacks are named here once more, so that help does not wait for torch."""

import argparse
from pathlib import Path
from typing import Any

from heron.cli.options import add_set, add_vary, some_algorithms, some_names, some_seeds

_AUDIT = """Train attacks on what leaves the clients of runs, and write one table.

The attacker receives what the Main Server and the Fed Server receive, knows the client's part, and has data of its
own: the validation and test examples, on which no client trained. The first row is what others are compared with; a
defence that changes nothing is said to be none.

attacks, as far as they apply to a run:
  decoder     a decoder, trained on other images, rebuilds inputs from smashed data
  inversion   a search for inputs with these smashed data, the client's part being known
  tokens      a linear map to the embeddings reads texts from smashed data
  labels      a linear classifier, trained on other data, reads labels from smashed data
  membership  the loss of the trained model tells which examples it was trained on
  dependence  distance correlation of inputs and smashed data, no attack but a figure
  scalars     walks of update=scalars tell a client's share of each label
  canaries    steps with and without an example bound epsilon from below, with privacy on

The folder of the result has audit.html (table, reconstructions beside originals), audit.json and audit.png."""


def add_audit(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add the command.

    Args:
        commands: of the parser of the whole command line.
    """
    audit = commands.add_parser(
        "audit",
        help="attack what leaves the clients of runs, and measure what can be read from it",
        description=_AUDIT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    audit.add_argument(
        "sources",
        nargs="+",
        metavar="RUN_OR_RECIPE",
        help="run directories or folders of them; or one recipe, which is trained first",
    )
    audit.add_argument("--algorithms", type=some_algorithms, metavar="A,B,C", help="of a recipe; default heron")
    audit.add_argument("--seeds", type=some_seeds, metavar="0,1,2", help="of a recipe, one run per seed; default 0")
    add_set(audit)
    add_vary(audit)
    audit.add_argument("--attacks", type=some_names, metavar="A,B,C", help="default: all that apply")
    audit.add_argument(
        "--examples", type=int, default=256, metavar="N", help="examples of clients that are attacked; default 256"
    )
    audit.add_argument(
        "--out", type=Path, metavar="DIR", help="folder of the result, and of a recipe's runs; finished runs are kept"
    )
