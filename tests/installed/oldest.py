"""Install the oldest versions that `pyproject.toml` allows into a fresh environment, and run a part of the tests.

    python -m tests.installed.oldest [--torch VERSION]

What the named dependencies need themselves is as new as possible.
"""

import argparse
import re
import sys
import tomllib
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.installed.environments import ROOT, call, environment, install, smoke

# Each room that calls a library, by its quicker tests.
TESTS = (
    "tests/zo",
    "tests/wire",
    "tests/split",
    "tests/client",
    "tests/conformance",
    "tests/config",
    "tests/report",
    "tests/data",
    "tests/deploy",
    "tests/apps",
    "tests/lm/test_families.py",
    "tests/test_training.py",
)
_LOWEST = re.compile(r"^(?P<name>[\w.-]+)(?:\[[\w,]+\])?\s*(?:>=|==)\s*(?P<version>[\w.]+)")


def oldest(project: dict[str, object]) -> dict[str, str]:
    """Lowest allowed version of each dependency by name, extras included.

    Args:
        project: the table `[project]` of `pyproject.toml`.

    Raises:
        ValueError: if a dependency has no lowest version.
    """
    extras: dict[str, list[str]] = project["optional-dependencies"]  # type: ignore[assignment]
    named: list[str] = [*project["dependencies"]]  # type: ignore[misc]
    for extra, requirements in extras.items():
        named += requirements if extra != "dev" else []
    found = {}
    for requirement in named:
        if requirement.startswith(f"{project['name']}["):
            continue
        lowest = _LOWEST.match(requirement)
        if lowest is None:
            raise ValueError(f"expected a lowest version of {requirement!r}, found none")
        found[lowest["name"].lower()] = lowest["version"]
    return found


def main() -> None:
    """Run the tests; a failure ends the program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--torch", metavar="VERSION", help="another PyTorch, such as a build that is at hand")
    options = parser.parse_args()
    versions = oldest(tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"])
    if options.torch:
        versions["torch"] = options.torch
    with TemporaryDirectory(prefix="heron-oldest-") as folder, environment(Path(sys.executable)) as python:
        pins = Path(folder) / "oldest.txt"
        pins.write_text("".join(f"{name}=={version}\n" for name, version in sorted(versions.items())))
        print(f"oldest versions: {', '.join(pins.read_text().split())}", flush=True)
        install(python, "-c", pins, f"{ROOT}[test]")
        smoke(python)
        call([python, "-m", "pytest", "-n", "auto", "-p", "no:cacheprovider", *TESTS])


if __name__ == "__main__":
    main()
