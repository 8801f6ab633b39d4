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

# Extras whose oldest versions go together. Flower's is pinned, and says itself what it needs.
EXTRAS = ("train", "plots", "tensorboard", "language", "images", "tables", "fast")
TOOLS = ("pytest", "pytest-xdist", "hypothesis", "psutil")
# What calls these libraries, by quick tests.
TESTS = (
    "tests/zo/test_rules.py",
    "tests/zo/test_fast_kernels.py",
    "tests/wire/test_codec.py",
    "tests/split",
    "tests/config/test_recipes.py",
    "tests/report/test_plots.py",
    "tests/report/test_report.py",
    "tests/lm/test_families.py",
    "tests/data/test_parquet_file.py",
)
_LOWEST = re.compile(r"^(?P<name>[\w.-]+)(?:\[[\w,]+\])?\s*(?:>=|==)\s*(?P<version>[\w.]+)")


def oldest(project: dict[str, object]) -> dict[str, str]:
    """Lowest allowed version of each dependency of the base and of `EXTRAS`, by name; of several, the highest.

    Args:
        project: the table `[project]` of `pyproject.toml`.

    Raises:
        ValueError: if a dependency has no lowest version.
    """
    extras: dict[str, list[str]] = project["optional-dependencies"]  # type: ignore[assignment]
    named: list[str] = [*project["dependencies"]]  # type: ignore[misc]
    for extra in EXTRAS:
        named += extras.get(extra, [])
    found = {}
    for requirement in named:
        if requirement.startswith(f"{project['name']}["):  # another extra of the package
            continue
        lowest = _LOWEST.match(requirement)
        if lowest is None:
            raise ValueError(f"expected a lowest version of {requirement!r}, found none")
        name = lowest["name"].lower()
        found[name] = max(found.get(name, "0"), lowest["version"], key=_parts)
    return found


def _parts(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"[0-9]+", version))


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
        install(python, "-c", pins, f"{ROOT}[{','.join(EXTRAS)}]", *TOOLS)
        smoke(python)
        # An old library may call what a newer one that it needs has deprecated.
        old = ["-W", "ignore::DeprecationWarning"]
        call([python, "-m", "pytest", "-n", "auto", "-p", "no:cacheprovider", *old, *TESTS])


if __name__ == "__main__":
    main()
