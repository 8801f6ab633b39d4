"""Fresh environments, and the Pythons that this machine has."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parents[2]
SMOKE = Path(__file__).with_name("smoke.py")
LEAN = Path(__file__).with_name("lean.py")


@contextmanager
def environment(python: Path) -> Iterator[Path]:
    """Make an empty environment of this Python; yields its interpreter, and removes the environment at the end."""
    with TemporaryDirectory(prefix="heron-") as folder:
        call([python, "-m", "venv", folder])
        yield Path(folder) / ("Scripts" if os.name == "nt" else "bin") / "python"


def install(python: Path, *words: str | Path) -> None:
    """Install with pip, and say how long it took. Files are compiled when they are imported, which is faster."""
    start = time.monotonic()
    call([python, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-compile", *words])
    print(f"installed in {time.monotonic() - start:.0f} s", flush=True)


def smoke(python: Path, program: Path = SMOKE, *words: str | Path) -> None:
    """Run a smoke test outside the checkout, so that the installed package is imported."""
    start = time.monotonic()
    with TemporaryDirectory(prefix="heron-smoke-") as folder:
        call([python, "-I", program, *words], cwd=Path(folder))
    print(f"{program.name} passed in {time.monotonic() - start:.0f} s", flush=True)


def call(command: Sequence[str | Path], cwd: Path = ROOT) -> None:
    """Run a command; a failure ends this program."""
    words = [str(word) for word in command]
    done = subprocess.run(words, cwd=cwd, check=False)
    if done.returncode != 0:
        sys.exit(f"failed with {done.returncode}: {' '.join(words)}")


def find_python(version: str, *, download: bool) -> Path | str:
    """The interpreter of a version, or why there is none.

    Args:
        version: e.g. `3.12`.
        download: let uv install it if it is not here.
    """
    if version == f"{sys.version_info.major}.{sys.version_info.minor}":
        return Path(sys.executable)
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    kept = sorted(root.glob(f"versions/{version}.*/bin/python"), key=lambda path: path.parts[-3])
    for path in [*(Path(name) for name in [shutil.which(f"python{version}")] if name), *reversed(kept)]:
        if _runs(path, version):
            return path
    uv = shutil.which("uv") or shutil.which("uv", path=str(ROOT / ".venv" / "bin"))
    if uv is None:
        return "not on this machine, and uv, which could fetch it, is not installed"
    if download:
        fetched = subprocess.run([uv, "python", "install", version], capture_output=True, text=True, check=False)
        if fetched.returncode != 0:
            lines = [line for line in fetched.stderr.splitlines() if line.strip()]
            return f"not on this machine, and uv cannot fetch it: {' '.join(lines[-1:]).strip()}"
    found = subprocess.run([uv, "python", "find", version], capture_output=True, text=True, check=False)
    path = Path(found.stdout.strip())
    return path if found.returncode == 0 and _runs(path, version) else "not on this machine"


def _runs(python: Path, version: str) -> bool:
    """Return whether it is this version, with venv: a shim may be there without its Python."""
    code = "import sys, venv, ensurepip; print('{}.{}'.format(*sys.version_info))"
    done = subprocess.run([str(python), "-c", code], capture_output=True, text=True, check=False)
    return done.returncode == 0 and done.stdout.strip() == version
