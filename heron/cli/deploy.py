"""`heron deploy`: a folder for a deployment on Flower, and checks of it."""

import argparse
import sys
from pathlib import Path
from typing import Any

from heron.errors import DeployError


def add_deploy(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add the parser of `heron deploy` and its actions."""
    deploy = commands.add_parser("deploy", help="certificates, keys, scripts and checks of a deployment on Flower")
    actions = deploy.add_subparsers(dest="action", required=True, metavar="ACTION")

    init = actions.add_parser("init", help="make a folder with everything that a server and its clients need")
    init.add_argument("folder", type=Path, metavar="DIR", help="new or empty")
    init.add_argument("--clients", type=int, required=True, metavar="N", help="number of clients")
    init.add_argument("--host", default="127.0.0.1", help="the server's name or address; default 127.0.0.1")
    init.add_argument("--port", type=int, default=18000, help="the server's port; default 18000")
    init.add_argument("--recipe", default="digits", metavar="RECIPE", help="recipe that is trained; default digits")
    init.add_argument(
        "--runtime",
        choices=["torch", "onnx"],
        default="torch",
        help="onnx: the recipe's client is exported, and clients' hosts need no PyTorch; default torch",
    )

    check = actions.add_parser("check", help="check each host before anything starts")
    check.add_argument("folder", type=Path, metavar="DIR", help="the deployment's folder, or one party's")
    which = check.add_mutually_exclusive_group()
    which.add_argument("--client", type=int, metavar="N", help="check only this client")
    which.add_argument("--server", action="store_true", help="check only the server")

    for name, text in (("renew", "give the server a new certificate"), ("add-client", "make one more client")):
        action = actions.add_parser(name, help=text)
        action.add_argument("folder", type=Path, metavar="DIR", help="the deployment's folder")


def deploy_command(options: argparse.Namespace) -> None:
    """Run an action of `heron deploy`.

    Raises:
        HeronError: if the action fails, or a check found an error.
    """
    if options.action == "check":
        _check(options.folder, options.client, server=options.server)
    elif options.action == "init":
        _init(options)
    elif options.action == "renew":
        from heron.deploy import renew_certificate

        renew_certificate(options.folder)
        _say(f"{options.folder / 'server'}: a new server.crt and server.key; restart the server to use them")
    else:
        from heron.deploy import add_client

        client_id = add_client(options.folder)
        _say(f"{options.folder / f'client-{client_id}'}: copy it to its host; then server/register.sh on the server")


def _init(options: argparse.Namespace) -> None:
    from heron.deploy import DeploymentPlan, init_deployment

    plan = DeploymentPlan(options.clients, options.host, options.port, options.recipe, options.runtime)
    init_deployment(options.folder, plan)
    _say(
        f"{options.folder}: a server at {plan.host} port {plan.port} and {plan.num_clients} clients; see its README.md"
    )


def _check(folder: Path, client: int | None, *, server: bool) -> None:
    from heron.deploy import check_deployment

    findings = check_deployment(folder, client=client, server=server)
    for finding in findings:
        _say(str(finding))
    errors = sum(finding.level == "error" for finding in findings)
    if errors:
        raise DeployError(f"{errors} of {len(findings)} findings are errors; nothing was started")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
