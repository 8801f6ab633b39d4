"""What a fresh install with the extra `lean` can do, which has no PyTorch: `python -I lean.py BUNDLE`."""

import subprocess
import sys
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import numpy as np

import heron
from heron.errors import MissingExtraError

COMMAND = Path(sys.executable).with_name("heron")
HINT = "pip install 'heron-sfl[train]'"


def run(*words: str | Path, code: int = 0) -> str:
    """Call the command; returns what it printed."""
    done = subprocess.run([COMMAND, *words], capture_output=True, text=True, check=False, timeout=600)
    output = done.stdout + done.stderr
    assert done.returncode == code, f"heron {words}: exit code {done.returncode}, expected {code}\n{output}"
    assert "Traceback" not in output, output
    return output


def device(bundle: Path) -> None:
    """Try a client of digits on examples in files of both kinds that base and `lean` read."""
    draw = np.random.default_rng(0)
    pixels, labels = draw.integers(17, size=(40, 64)), draw.integers(10, size=40)
    np.savez("mine.npz", inputs=(pixels / 16).astype(np.float32).reshape(40, 1, 8, 8), labels=labels)
    rows = np.column_stack([labels, pixels])
    header = ",".join(["label", *(f"pixel{place}" for place in range(64))])
    np.savetxt("mine.csv", rows, "%d", delimiter=",", header=header, comments="")
    losses = set()
    for data in ("mine.npz", "mine.csv"):
        said = run("client", "--bundle", bundle, "--data", data, "--dry-run")
        assert "1,998 that learn" in said, said
        losses.add(next(line for line in said.splitlines() if line.startswith("loss")))
    assert len(losses) == 1, losses
    assert "--data" in run("client", "--help")


def refusals() -> None:
    """What trains says in one line which extra does."""
    assert "digits" in run("recipes")
    assert "cse_fsl" in run("algorithms")
    for words in ("train digits", "compare digits", "plan digits --memory 1MiB", "profile digits"):
        output = run(*words.split(), code=2)
        assert HINT in output, output
        assert len(output.splitlines()) == 1, output
    for name in ("train", "TrainResult"):
        try:
            getattr(heron, name)
        except MissingExtraError as error:
            assert HINT in str(error), error  # noqa: PT017 - there is no pytest here
        else:
            raise AssertionError(name)


def main() -> None:
    """Run everything, from an installed package."""
    here = Path(heron.__file__)
    assert Path.cwd() not in here.parents, f"{here} is not installed"
    for absent in ("torch", "sklearn", "scipy", "pandas"):
        assert find_spec(absent) is None, absent
    device(Path(sys.argv[1]))
    refusals()
    print(f"heron-sfl {version('heron-sfl')} without torch on Python {sys.version.split()[0]}: works")


if __name__ == "__main__":
    main()
