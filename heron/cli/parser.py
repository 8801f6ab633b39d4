"""Parser of the `heron` command: its words, their help texts, and the values read from them."""

import argparse
from pathlib import Path
from typing import NoReturn

from heron import __version__
from heron.cli.audit_options import add_audit
from heron.cli.deploy import add_deploy
from heron.cli.options import a_file, add_algorithms, add_set, add_target, add_vary, some_seeds
from heron.errors import ConfigError

_EXAMPLES = """examples:
  heron compare digits --seeds 0,1,2
  heron compare digits --algorithms heron --vary estimator.mu=1e-4,1e-3,1e-2 --vary estimator.probes=1,4
  heron train digits --set rounds=20 --set client.learning_rate=3e-3 --out runs/mine
  heron train --resume runs/mine
  heron train --resume runs/mine --set rounds=40
  heron report runs/mine runs/other
  heron profile cifar10-resnet18 --algorithms heron,cse_fsl,frozen --json costs.json
  heron plan cifar10-resnet18 --memory 200MiB
  heron analyze digits --rounds 0,10,40
  heron audit runs/mine
  heron audit digits --seeds 0,1,2 --vary smashed.codec=fp32,int4
  heron split-model gpt2-medium --cut 6 --auxiliary-blocks 3 --out parts
  heron export runs/mine --out exported
  heron export-client digits --out bundle
  heron client --bundle bundle --data mine.npz --dry-run
  heron deploy init mydeployment --clients 3
"""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message}; see `{self.prog} --help`")


def make_parser() -> argparse.ArgumentParser:
    """Make the parser of the whole command line; it raises `ConfigError` where argparse would exit."""
    parser = _Parser(
        prog="heron",
        description="Split federated learning with backprop-free clients.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"heron {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=_Parser)
    train = commands.add_parser("train", help="train one algorithm on a recipe")
    train.add_argument("recipe", nargs="?", metavar="RECIPE", help="see `heron recipes`")
    train.add_argument("--algorithm", metavar="NAME", help="see `heron algorithms`; default heron")
    add_set(train)
    train.add_argument("--out", type=Path, metavar="DIR", help="run directory; default: a new one in runs/")
    train.add_argument(
        "--resume", type=Path, metavar="DIR", help="continue an interrupted run, or with --set rounds=N a finished one"
    )
    train.add_argument("--save-model", action="store_true", help="write the joined model as model.safetensors")
    train.add_argument("--tensorboard", action="store_true", help="write TensorBoard events into the run directory")

    compare = commands.add_parser("compare", help="train algorithms and settings on the same data, in one table")
    compare.add_argument("recipe", metavar="RECIPE", help="see `heron recipes`")
    add_algorithms(compare)
    compare.add_argument("--seeds", type=some_seeds, default=[0], metavar="0,1,2", help="one run per seed; default 0")
    add_set(compare)
    add_target(compare)
    add_vary(compare)
    compare.add_argument("--out", type=Path, metavar="DIR", help="folder of the runs; finished runs in it are kept")

    report = commands.add_parser("report", help="show saved runs as one HTML page that needs no network")
    report.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="run directories, or folders of them")
    report.add_argument(
        "--out", type=a_file, metavar="FILE", help="default: report.html in the folder, or here for several folders"
    )

    _add_measuring(commands)
    _add_language(commands)
    _add_lean(commands)
    add_deploy(commands)
    recipes = commands.add_parser("recipes", help="list the recipes, or show one with all its keys")
    recipes.add_argument("recipe", nargs="?", metavar="RECIPE", help="show this one as TOML")
    commands.add_parser("algorithms", help="list the algorithms")
    return parser


def _add_measuring(commands: "argparse._SubParsersAction[_Parser]") -> None:
    """Add the commands that measure without training."""
    profile = commands.add_parser("profile", help="measure the cost of one client step; trains nothing")
    profile.add_argument("recipe", metavar="RECIPE", help="see `heron recipes`")
    add_algorithms(profile)
    add_set(profile)
    profile.add_argument("--json", type=a_file, metavar="FILE", help="write the costs as JSON, too")

    plan = commands.add_parser("plan", help="show which clients fit into a memory budget; no training, no data")
    plan.add_argument("recipe", metavar="RECIPE", help="see `heron recipes`")
    plan.add_argument(
        "--memory",
        required=True,
        metavar="SIZE",
        help="of one client step, e.g. 64MiB, 1.5GB or bytes; `device` for those of the classes in link.profile",
    )
    plan.add_argument(
        "--algorithm", metavar="NAME", default="heron", help="with `device`: heron or ho_fl; default heron"
    )
    add_set(plan)
    plan.add_argument("--json", type=a_file, metavar="FILE", help="write all variants as JSON, too")

    analyze = commands.add_parser("analyze", help="measure curvature, noise and probe quality of a client's loss")
    analyze.add_argument("source", metavar="RECIPE_OR_RUN", help="see `heron recipes`; or a run directory")
    analyze.add_argument("--algorithm", metavar="NAME", help="of a recipe; default heron")
    add_set(analyze)
    analyze.add_argument(
        "--rounds", type=some_seeds, default=[0], metavar="0,10,40", help="train a recipe, look after these; default 0"
    )
    analyze.add_argument("--examples", type=int, default=256, metavar="N", help="training examples; default 256")
    analyze.add_argument("--out", type=Path, default=Path("analysis"), metavar="DIR", help="default: analysis")

    add_audit(commands)


def _add_language(commands: "argparse._SubParsersAction[_Parser]") -> None:
    """Add the commands for language models."""
    split = commands.add_parser("split-model", help="write a language model's parts, so that clients load only theirs")
    split.add_argument("source", metavar="NAME_OR_DIR", help="a directory of transformers, or a name on the hub")
    split.add_argument("--cut", type=int, required=True, metavar="B", help="blocks on the client")
    split.add_argument(
        "--auxiliary-blocks", type=int, default=1, metavar="A", help="blocks of the auxiliary network; default 1"
    )
    split.add_argument("--out", type=Path, required=True, metavar="DIR", help="target directory")

    export = commands.add_parser(
        "export", help="write a run's model and a model card; for transformers if it is a language model"
    )
    export.add_argument("run", type=Path, metavar="RUN", help="run directory")
    export.add_argument("--out", type=Path, required=True, metavar="DIR", help="target directory")

    generate = commands.add_parser("generate", help="generate texts with a run's language model; BLEU and ROUGE-L")
    generate.add_argument("run", type=Path, metavar="RUN", help="run directory")
    generate.add_argument("--prompts", type=int, default=100, metavar="N", help="distinct test prompts; default 100")
    generate.add_argument("--json", type=a_file, metavar="FILE", help="write texts and scores as JSON, too")


def _add_lean(commands: "argparse._SubParsersAction[_Parser]") -> None:
    """Add the commands for clients without PyTorch."""
    export = commands.add_parser(
        "export-client", help="write the clients of a recipe or run for devices without PyTorch"
    )
    export.add_argument("source", metavar="RECIPE_OR_RUN", help="see `heron recipes`; or a run directory")
    export.add_argument("--algorithm", metavar="NAME", help="of a recipe; default heron")
    add_set(export)
    export.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the bundle")

    client = commands.add_parser("client", help="try such a bundle on this device; needs no PyTorch, sends nothing")
    client.add_argument("--bundle", type=Path, required=True, metavar="DIR", help="folder of `heron export-client`")
    client.add_argument("--data", type=Path, required=True, metavar="FILE", help="examples, .npz, .csv or .parquet")
    client.add_argument("--dry-run", action="store_true", required=True, help="take a few steps and say what they cost")
