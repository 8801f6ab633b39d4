"""Options that several commands share, and the values that are read from them."""

import argparse
from pathlib import Path

# The paper's client, and the two ends between which it is judged.
_COMPARED = ["heron", "cse_fsl", "frozen"]


def add_set(parser: argparse.ArgumentParser) -> None:
    """Add `--set`."""
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change one key of the recipe, e.g. client.learning_rate=3e-3; may be repeated",
    )


def add_vary(parser: argparse.ArgumentParser) -> None:
    """Add `--vary`."""
    parser.add_argument(
        "--vary",
        action="append",
        default=[],
        metavar="KEY=A,B,C",
        help="run every value of one key, e.g. estimator.mu=1e-4,1e-3; repeat it for every combination",
    )


def add_target(parser: argparse.ArgumentParser) -> None:
    """Add `--target`."""
    parser.add_argument(
        "--target",
        type=float,
        metavar="QUALITY",
        help="show the cost of reaching this test accuracy in %% (or perplexity); if time is simulated, the default "
        "is the best quality that every run reaches",
    )


def add_algorithms(parser: argparse.ArgumentParser) -> None:
    """Add `--algorithms`, by default the paper's client and its controls."""
    parser.add_argument(
        "--algorithms",
        type=some_algorithms,
        default=_COMPARED,
        metavar="A,B,C",
        help=f"comma-separated, or all; see `heron algorithms`; default {','.join(_COMPARED)}",
    )


def a_file(text: str) -> Path:
    """Read the name of a file to write."""
    path = Path(text)
    if not path.name or path.is_dir():
        raise argparse.ArgumentTypeError(f"expected the name of a file to write, found the folder {path}")
    return path


def some_names(text: str) -> list[str]:
    """Read different names."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names or len(set(names)) < len(names):
        raise argparse.ArgumentTypeError(f"expected different names separated by commas, found {text!r}")
    return names


def some_algorithms(text: str) -> list[str]:
    """Read names of algorithms, or `all`."""
    if text.strip() != "all":
        return some_names(text)
    from heron.algorithms import ALGORITHMS

    return list(ALGORITHMS)


def some_seeds(text: str) -> list[int]:
    """Read different whole numbers from 0."""
    names = some_names(text)
    seeds = [int(name) for name in names if name.isdecimal() and len(name) < 20]
    if len(set(seeds)) < len(names):
        raise argparse.ArgumentTypeError(
            f"expected different whole numbers from 0, separated by commas, found {text!r}"
        )
    return seeds
