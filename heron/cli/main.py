"""The `heron` command: parse, dispatch, and turn every mistake into one line and exit code 2."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from heron.cli.deploy import add_deploy
from heron.errors import ConfigError, HeronError

_EXAMPLES = """examples:
  heron compare digits --algorithms heron,cse_fsl,frozen --seeds 0,1,2
  heron compare digits --algorithms heron --vary estimator.mu=1e-4,1e-3,1e-2 --vary estimator.probes=1,4
  heron train digits --set rounds=20 --set client.learning_rate=3e-3 --out runs/mine
  heron train --resume runs/mine
  heron report runs/mine runs/other
  heron profile cifar10-resnet18 --algorithms heron,cse_fsl,frozen --json costs.json
  heron plan cifar10-resnet18 --memory 200MiB
  heron split-model gpt2-medium --cut 6 --auxiliary-blocks 3 --out parts
  heron export runs/mine --out exported
  heron deploy init mydeployment --clients 3
"""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message}; see `{self.prog} --help`")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: words after `heron`; those of the process by default.

    Returns:
        Exit code: 0, 2 for a caller's mistake, 130 for Ctrl-C.
    """
    try:
        options = _parser().parse_args(arguments)
        _dispatch(options)
    except HeronError as error:
        _say(f"heron: {' '.join(str(error).split())}")
        return 2
    except KeyboardInterrupt as interrupt:
        _say(f"heron: interrupted{f'; {interrupt}' if str(interrupt) else ''}")
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 0
    return 0


def _dispatch(options: argparse.Namespace) -> None:
    # Each command imports what it needs: `heron --help` and typing mistakes do not wait for torch.
    if options.command == "train":
        _dispatch_train(options)
    elif options.command == "compare":
        from heron.cli.compare import compare_command

        compare_command(
            options.recipe, options.algorithms, options.seeds, options.set, options.vary, options.out, options.target
        )
    elif options.command == "report":
        from heron.cli.report import report_command

        report_command(options.runs, options.out)
    elif options.command == "profile":
        from heron.cli.profile import profile_command

        profile_command(options.recipe, options.algorithms, options.set, options.json)
    elif options.command == "plan":
        from heron.cli.plan import plan_command

        plan_command(options.recipe, options.memory, options.set, options.json)
    elif options.command in {"split-model", "export", "generate"}:
        _dispatch_language(options)
    elif options.command == "deploy":
        from heron.cli.deploy import deploy_command

        deploy_command(options)
    elif options.command == "recipes":
        from heron.cli.listing import list_recipes, show_recipe

        list_recipes() if options.recipe is None else show_recipe(options.recipe)
    else:
        from heron.cli.listing import list_algorithms

        list_algorithms()


def _dispatch_train(options: argparse.Namespace) -> None:
    from heron.cli.train import resume_command, train_command

    if options.resume is not None:
        if options.recipe is not None or options.set or options.out is not None or options.algorithm is not None:
            raise ConfigError("--resume takes everything from the run's config.toml; drop the other arguments")
        resume_command(options.resume, save_model=options.save_model, tensorboard=options.tensorboard)
    elif options.recipe is None:
        raise ConfigError("expected a recipe or --resume DIR; `heron recipes` lists the recipes")
    else:
        train_command(
            options.recipe,
            options.algorithm or "heron",
            options.set,
            options.out,
            save_model=options.save_model,
            tensorboard=options.tensorboard,
        )


def _dispatch_language(options: argparse.Namespace) -> None:
    from heron.cli.language import export_command, generate_command, split_model_command

    if options.command == "split-model":
        split_model_command(options.source, options.cut, options.auxiliary_blocks, options.out)
    elif options.command == "export":
        export_command(options.run, options.out)
    else:
        generate_command(options.run, options.prompts, options.json)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="heron",
        description="Split federated learning with backprop-free clients.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=_Parser)
    train = commands.add_parser("train", help="train one algorithm on a recipe")
    train.add_argument("recipe", nargs="?", metavar="RECIPE", help="see `heron recipes`")
    train.add_argument("--algorithm", metavar="NAME", help="see `heron algorithms`; default heron")
    _add_set(train)
    train.add_argument("--out", type=Path, metavar="DIR", help="run directory; default below runs/")
    train.add_argument("--resume", type=Path, metavar="DIR", help="continue an interrupted run")
    train.add_argument("--save-model", action="store_true", help="write the joined model as model.safetensors")
    train.add_argument("--tensorboard", action="store_true", help="write TensorBoard events into the run directory")

    compare = commands.add_parser("compare", help="train algorithms and settings on the same data, in one table")
    compare.add_argument("recipe", metavar="RECIPE", help="see `heron recipes`")
    _add_algorithms(compare)
    compare.add_argument("--seeds", type=_seeds, default=[0], metavar="0,1,2", help="one run per seed; default 0")
    _add_set(compare)
    _add_target(compare)
    compare.add_argument(
        "--vary",
        action="append",
        default=[],
        metavar="KEY=A,B,C",
        help="run every value of one key, e.g. estimator.mu=1e-4,1e-3; repeated: every combination",
    )
    compare.add_argument(
        "--out", type=Path, metavar="DIR", help="folder of the runs; given again, finished runs are kept"
    )

    report = commands.add_parser("report", help="show saved runs as one HTML page that needs no network")
    report.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="run directories, or folders of them")
    report.add_argument(
        "--out", type=Path, metavar="FILE", help="default report.html in the folder, or here for several folders"
    )

    _add_measuring(commands)
    _add_language(commands)
    add_deploy(commands)
    recipes = commands.add_parser("recipes", help="list the recipes, or show one complete with all its keys")
    recipes.add_argument("recipe", nargs="?", metavar="RECIPE", help="show this one as TOML")
    commands.add_parser("algorithms", help="list the algorithms")
    return parser


def _add_measuring(commands: "argparse._SubParsersAction[_Parser]") -> None:
    """The commands that train nothing."""
    profile = commands.add_parser("profile", help="measure the cost of one client step; trains nothing")
    profile.add_argument("recipe", metavar="RECIPE", help="see `heron recipes`")
    _add_algorithms(profile)
    _add_set(profile)
    profile.add_argument("--json", type=Path, metavar="FILE", help="write the costs as JSON, too")

    plan = commands.add_parser("plan", help="show which clients fit into a memory; trains nothing, reads no data")
    plan.add_argument("recipe", metavar="RECIPE", help="see `heron recipes`")
    plan.add_argument("--memory", required=True, metavar="SIZE", help="for one client step, e.g. 64MiB, 1.5GB or bytes")
    _add_set(plan)
    plan.add_argument("--json", type=Path, metavar="FILE", help="write all variants as JSON, too")


def _add_language(commands: "argparse._SubParsersAction[_Parser]") -> None:
    """The commands for language models."""
    split = commands.add_parser("split-model", help="write a language model's parts, so that clients load theirs alone")
    split.add_argument("source", metavar="NAME_OR_DIR", help="a directory of transformers, or a name on the hub")
    split.add_argument("--cut", type=int, required=True, metavar="B", help="blocks on the client")
    split.add_argument(
        "--auxiliary-blocks", type=int, default=1, metavar="A", help="blocks of the auxiliary network; default 1"
    )
    split.add_argument("--out", type=Path, required=True, metavar="DIR", help="where to")

    export = commands.add_parser("export", help="write a run's language model as transformers loads it, LoRA merged")
    export.add_argument("run", type=Path, metavar="RUN", help="run directory")
    export.add_argument("--out", type=Path, required=True, metavar="DIR", help="where to")

    generate = commands.add_parser("generate", help="let a run's language model write; BLEU and ROUGE-L")
    generate.add_argument("run", type=Path, metavar="RUN", help="run directory")
    generate.add_argument("--prompts", type=int, default=100, metavar="N", help="distinct test prompts; default 100")
    generate.add_argument("--json", type=Path, metavar="FILE", help="write texts and scores as JSON, too")


def _add_set(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change one key of the recipe, e.g. client.learning_rate=3e-3; may be repeated",
    )


def _add_target(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--target",
        type=float,
        metavar="QUALITY",
        help="show what it takes to reach this test accuracy in %% (or perplexity); where time is simulated, it is "
        "by default the best that every run reaches",
    )


def _add_algorithms(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--algorithms", type=_names, required=True, metavar="A,B,C", help="comma-separated; see `heron algorithms`"
    )


def _names(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names or len(set(names)) < len(names):
        raise argparse.ArgumentTypeError(f"expected different names separated by commas, found {text!r}")
    return names


def _seeds(text: str) -> list[int]:
    names = _names(text)
    seeds = [int(name) for name in names if name.isdecimal() and len(name) < 20]
    if len(set(seeds)) < len(names):
        raise argparse.ArgumentTypeError(
            f"expected different whole numbers from 0, separated by commas, found {text!r}"
        )
    return seeds


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


if __name__ == "__main__":
    sys.exit(main())
