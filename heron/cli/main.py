"""The `heron` command: parse, dispatch, and report every mistake as one line with exit code 2."""

import argparse
import io
import sys
import warnings
from collections.abc import Sequence
from typing import Any

from heron.cli.parser import make_parser
from heron.errors import ConfigError, HeronError, MissingExtraError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: words after `heron`; those of the process by default.

    Returns:
        Exit code: 0, 2 for a caller's mistake, 130 for Ctrl-C.
    """
    _replace_what_a_terminal_lacks()
    try:
        options = make_parser().parse_args(arguments)
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            _dispatch(options)
    except HeronError as error:
        _say(f"heron: {' '.join(str(error).split())}")
        return 2
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        _say(f"heron: {MissingExtraError('torch', 'train')}")
        return 2
    except KeyboardInterrupt as interrupt:
        _say(f"heron: interrupted{f'; {interrupt}' if str(interrupt) else ''}")
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 0
    except OSError as error:
        reason = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        _say(f"heron: a file could not be used ({' '.join(reason.split())}); check its rights and the space left")
        return 2
    except UnicodeEncodeError as error:
        _say(
            f"heron: expected names of files as {error.encoding}, found {error.object!a:.80}; set LC_ALL to a UTF-8 one"
        )
        return 2
    return 0


def _show_warning(message: Warning | str, category: type[Warning], *place: Any, **_: Any) -> None:
    """Show a warning for the caller as one line, without the place in the code that it came from."""
    if issubclass(category, UserWarning):
        _say(f"heron: warning: {' '.join(str(message).split())}")
    else:
        filename, line = place[:2]
        sys.stderr.write(warnings.formatwarning(message, category, filename, line))


def _dispatch(options: argparse.Namespace) -> None:
    # Each command imports what it needs: so `heron --help` and typing errors do not wait for torch.
    family = {
        "train": _dispatch_train,
        "split-model": _dispatch_language,
        "generate": _dispatch_language,
        "export-client": _dispatch_lean,
        "client": _dispatch_lean,
        "profile": _dispatch_measuring,
        "plan": _dispatch_measuring,
        "analyze": _dispatch_measuring,
        "audit": _dispatch_measuring,
    }.get(options.command)
    if family is not None:
        family(options)
    elif options.command == "compare":
        from heron.cli.compare import compare_command

        compare_command(
            options.recipe, options.algorithms, options.seeds, options.set, options.vary, options.out, options.target
        )
    elif options.command == "report":
        from heron.cli.report import report_command

        report_command(options.runs, options.out)
    elif options.command == "export":
        from heron.cli.export import export_command

        export_command(options.run, options.out)
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
        if options.recipe is not None or options.out is not None or options.algorithm is not None:
            raise ConfigError("--resume takes everything but rounds from the run's config.toml; drop the others")
        resume_command(options.resume, options.set, save_model=options.save_model, tensorboard=options.tensorboard)
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


def _dispatch_measuring(options: argparse.Namespace) -> None:
    if options.command == "profile":
        from heron.cli.profile import profile_command

        profile_command(options.recipe, options.algorithms, options.set, options.json)
    elif options.command == "plan":
        from heron.cli.plan import plan_command

        plan_command(options.recipe, options.memory, options.algorithm, options.set, options.json)
    elif options.command == "analyze":
        from heron.cli.analyze import analyze_command

        analyze_command(options.source, options.algorithm, options.set, options.rounds, options.examples, options.out)
    else:
        from heron.cli.audit import audit_command

        audit_command(
            options.sources,
            options.algorithms,
            options.seeds,
            options.set,
            options.vary,
            options.attacks,
            examples=options.examples,
            out=options.out,
        )


def _dispatch_lean(options: argparse.Namespace) -> None:
    if options.command == "export-client":
        from heron.cli.export_client import export_client_command

        export_client_command(options.source, options.algorithm, options.set, options.out)
    else:
        from heron.cli.client import client_command

        client_command(options.bundle, options.data)


def _dispatch_language(options: argparse.Namespace) -> None:
    from heron.cli.language import generate_command, split_model_command

    if options.command == "split-model":
        split_model_command(options.source, options.cut, options.auxiliary_blocks, options.out)
    else:
        generate_command(options.run, options.prompts, options.json)


def _replace_what_a_terminal_lacks() -> None:
    """Write a question mark for a character that the terminal's encoding lacks, such as the sign before an error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


if __name__ == "__main__":
    sys.exit(main())
