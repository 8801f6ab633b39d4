"""Files of text are UTF-8, whatever the locale: no call leaves the encoding to the system."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "heron"
_TEXT = {"read_text", "write_text"}
_OPENING = {"open", "fdopen"}


def leaves_the_encoding_open(call: ast.Call) -> bool:
    """Return whether a call reads or writes text in the encoding of the system."""
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    options = {keyword.arg: keyword.value for keyword in call.keywords}
    if "encoding" in options:
        return False
    texts = [value.value for value in [*call.args, *options.values()] if isinstance(value, ast.Constant)]
    if name in _TEXT:
        return True
    if name == "run" or name == "Popen":
        return "text" in options or "universal_newlines" in options
    modes = [text for text in texts if isinstance(text, str) and text and set(text) <= set("rwaxbt+")]
    is_file = isinstance(call.func, ast.Name) or not call.args or bool(modes)
    return name in _OPENING and is_file and not any("b" in mode for mode in modes)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("path.read_text()", True),
        ("path.read_text(encoding='utf-8')", False),
        ("path.write_text(text, 'utf-8')", True),  # by its name, so that a reader sees it
        ("path.open()", True),
        ("path.open('a')", True),
        ("path.open('rb')", False),
        ("open(path)", True),
        ("open(path, 'w', encoding='utf-8')", False),
        ("os.open(path, flags)", False),
        ("os.fdopen(handle, 'wb')", False),
        ("Image.open(content)", False),
        ("subprocess.run(words, text=True)", True),
    ],
)
def test_the_search_itself(source, expected):
    (call,) = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call))
    assert leaves_the_encoding_open(call) is expected


def test_text_is_utf_8():
    found = [
        f"{path.relative_to(PACKAGE.parent)}:{node.lineno}"
        for path in sorted(PACKAGE.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and leaves_the_encoding_open(node)
    ]
    assert not found, f"give encoding='utf-8': {found}"
