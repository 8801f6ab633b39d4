"""The command line where PyTorch is not installed: what needs it says in one line which extra to install."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
# An import of it fails as that of a package that is not installed.
ABSENT = "import sys; sys.modules['torch'] = sys.modules['sklearn'] = None\n"
HINT = "heron: this needs the library 'torch', which is not installed; run: pip install 'heron-sfl[train]'\n"
NEED_IT = [
    "train digits",
    "train --resume runs/none",
    "compare digits",
    "report runs/none",
    "profile digits",
    "plan digits --memory 1MiB",
    "analyze digits",
    "audit digits",
    "export-client digits --out bundle",
    "split-model gpt2 --cut 1 --out parts",
]
COMMANDS = (
    "from heron.cli.main import main\n"
    "for words in sys.argv[1:]:\n"
    "    code = main(words.split())\n"
    "    assert code == {code}, (words, code)\n"
)


def run(code: str, *words: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", ABSENT + code, *words]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False, timeout=120)


def test_what_trains_names_the_extra(tmp_path) -> None:
    done = run(COMMANDS.format(code=2), *NEED_IT, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, HINT * len(NEED_IT))
    assert not any(tmp_path.iterdir())


def test_what_does_not_train_works() -> None:
    done = run(COMMANDS.format(code=0), "recipes", "algorithms")
    assert (done.returncode, done.stderr) == (0, "")
    assert "digits" in done.stdout
    assert "cse_fsl" in done.stdout


def test_public_names_name_the_extra() -> None:
    """Of every room, the names of its face: they are there, or say what they need."""
    code = (
        "import pkgutil, importlib, heron; from heron.errors import MissingExtraError; hinted = 0\n"
        "names = [each.name for each in pkgutil.iter_modules(heron.__path__) if each.ispkg]\n"
        "for name in {*names} - {'apps', 'cli'}:\n"
        "    try: room = importlib.import_module(f'heron.{name}')\n"
        "    except MissingExtraError as error: hinted += 'heron-sfl[train]' in str(error); continue\n"
        "    for name in dir(room):\n"
        "        try: getattr(room, name)\n"
        "        except MissingExtraError as error: hinted += 'heron-sfl[train]' in str(error)\n"
        "assert hinted > 40, hinted\n"
    )
    done = run(code)
    assert done.returncode == 0, done.stderr
