"""Build the wheel, and try it with the extra `train`, and with `lean`, on every Python that is here.

    python -m tests.installed.wheel [--download] [3.11 3.12 ...]

The running Python gets the versions of constraints.txt, every other one what a user gets who installs the wheel today.
"""

import argparse
import sys
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.installed.environments import LEAN, ROOT, call, environment, find_python, install, smoke

PYTHONS = ("3.11", "3.12", "3.13", "3.14")


def build(folder: Path) -> Path:
    """Build the wheel; returns its path."""
    call([sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, ROOT])
    (wheel,) = folder.glob("*.whl")
    return wheel


def check_contents(wheel: Path) -> None:
    """Every file of the package is in the wheel, and nothing else but its metadata."""
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    files = [path for path in (ROOT / "heron").rglob("*") if path.is_file() and path.parent.name != "__pycache__"]
    expected = {path.relative_to(ROOT).as_posix() for path in files}
    if names != expected:
        sys.exit(f"the wheel has other files than the package: {sorted(names ^ expected)}")


def main() -> None:
    """Try the wheel on each Python; a failure ends the program, a Python that is not here is named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pythons", nargs="*", default=PYTHONS)
    parser.add_argument("--download", action="store_true", help="let uv fetch a Python that is not here")
    options = parser.parse_args()
    with TemporaryDirectory(prefix="heron-wheel-") as folder:
        wheel = build(Path(folder))
        check_contents(wheel)
        print(f"{wheel.name}: {wheel.stat().st_size / 1024:.0f} KiB", flush=True)
        for version in options.pythons:
            found = find_python(version, download=options.download)
            if isinstance(found, str):
                print(f"Python {version}: skipped: {found}", flush=True)
                continue
            print(f"Python {version}: {found}", flush=True)
            pins = ["-c", ROOT / "constraints.txt"] if found == Path(sys.executable) else []
            bundle = Path(folder) / version / "bundle"
            with environment(found) as python:
                install(python, f"{wheel}[train]", *pins)
                smoke(python)
                install(python, f"{wheel}[export]", *pins)
                call([python.with_name("heron"), "export-client", "digits", "--out", bundle], cwd=Path(folder))
            with environment(found) as python:
                install(python, f"{wheel}[lean]", *pins)
                smoke(python, LEAN, bundle)


if __name__ == "__main__":
    main()
