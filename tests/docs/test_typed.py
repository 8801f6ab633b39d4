"""Blocks of documents are taken as a reader takes them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.typed import ROOT, Block, blocks, script_of

TEXT = """# Title

```sh
heron train digits \\
    --set rounds=1   # a comment
```

1. A list

   ```console
   $ heron recipes
   digits
   $ echo one \\
   > two
   ```

<!-- not run: needs a second
machine -->

```bash title="on the server"
scp here there
```

```python title="mine.py"
print("'x'")
```

```python title="heron/client/round.py"
learner.load(model)
```

<!-- not run: far above -->
Some prose.

```sh
echo 1
```

```
heron/
```

```python
word = "seven"
print(word, 7.5)
```

```text title="Output"
seven 8
```

```python
print(word)
```
"""


@pytest.fixture
def document(tmp_path: Path) -> list[Block]:
    path = tmp_path / "text.md"
    path.write_text(TEXT)
    return blocks(path, tmp_path)


def test_blocks_are_found_with_their_marks(document: list[Block]) -> None:
    assert [(block.place, block.language, block.saved_as, block.skip) for block in document] == [
        ("text.md:3", "sh", "", None),
        ("text.md:10", "console", "", None),
        ("text.md:20", "bash", "", "needs a second\nmachine"),
        ("text.md:24", "python", "mine.py", None),
        ("text.md:28", "python", "", None),
        ("text.md:35", "sh", "", None),
        ("text.md:39", "", "", None),
        ("text.md:43", "python", "", None),
        ("text.md:48", "text", "", None),
        ("text.md:52", "python", "", None),
    ]
    assert [block.is_typed for block in document] == [True, True, True, False, False, True, False, False, False, False]
    assert [block.place for block in document if block.is_program] == ["text.md:43", "text.md:52"]


def test_what_is_typed(document: list[Block]) -> None:
    train, recipes, *_ = document
    assert train.commands == [["heron", "train", "digits", "--set", "rounds=1"]]
    assert recipes.script == "heron recipes\necho one \\\ntwo"
    assert recipes.commands == [["heron", "recipes"], ["echo", "one", "two"]]


def test_the_script_has_files_and_commands_but_no_marked_block(document: list[Block]) -> None:
    script = script_of(document)
    assert "scp" not in script
    assert "learner" not in script
    assert "cat > mine.py <<'END OF BLOCK'\nprint(\"'x'\")\nEND OF BLOCK\n" in script
    assert script.index("heron train digits") < script.index("heron recipes") < script.index("mine.py")
    assert "BLOCK=text.md:35" in script


def typed(text: str, folder: Path) -> subprocess.CompletedProcess[str]:
    path = folder / "text.md"
    path.write_text(text)
    script = script_of(blocks(path, folder))
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-c", script], cwd=folder, env={"PATH": path}, capture_output=True, text=True, check=False, timeout=60
    )


def test_programs_are_one_session(tmp_path: Path) -> None:
    programs = TEXT[TEXT.index("```python\nword") :] + "\n```sh\necho done\n```\n"
    done = typed(programs, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert [line for line in done.stdout.splitlines() if line[0] != "#"] == ["seven 7.5", "seven", "done"]


@pytest.mark.parametrize(
    ("old", "new"), [("seven 8", "eight 8"), ("print(word)", "print(wrod)"), ("print(word)", "raise SystemExit(3)")]
)
def test_a_wrong_program_or_output_fails(old: str, new: str, tmp_path: Path) -> None:
    done = typed(TEXT[TEXT.index("```python\nword") :].replace(old, new), tmp_path)
    assert done.returncode != 0
    assert "failed: the block at text.md" in done.stdout


def test_the_readme_has_blocks() -> None:
    assert blocks(ROOT / "README.md")
