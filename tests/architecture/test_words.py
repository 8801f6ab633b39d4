"""The words of the house, enforced: docstrings open with a verb or a noun, and long calls name their arguments.

A headless docstring opens with a relative clause, a question or a preposition ("What a client sends", "Of a round") and
leaves the reader to find the noun that it belongs to. A call with many positional arguments has the same fault.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "heron"
# Words that open a clause without its head: relative and question words, pointers, prepositions, verbs of a question.
HEADLESS = {
    *("what", "who", "whom", "whose", "where", "when", "which", "why", "how", "whether"),
    *("those", "these", "this", "that", "its", "elsewhere", "so", "then"),
    *("as", "of", "by", "in", "on", "to", "with", "from", "like"),
    *("is", "are", "does", "can", "will"),
}
# The share of headless docstrings that may be left, in percent.
HEADLESS_LIMIT = 2.0
MAX_POSITIONAL = 7
LISTED = 40


def nodes() -> Iterator[tuple[str, ast.AST]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            yield str(path.relative_to(ROOT)), node


def docstrings() -> Iterator[tuple[str, str]]:
    """Every docstring of `heron` under its place, `file:line`."""
    for path, node in nodes():
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            if text:
                yield f"{path}:{node.body[0].lineno}", text


def opening(text: str) -> str:
    """The first word, in lower case and without what surrounds it."""
    return text.split(maxsplit=1)[0].strip("`'\"(),.:;").lower()


def test_docstrings_open_with_a_verb_or_a_noun() -> None:
    texts = list(docstrings())
    headless = [f"{place}: {text.splitlines()[0]}" for place, text in texts if opening(text) in HEADLESS]
    share = 100 * len(headless) / len(texts)
    listed = "\n".join(headless[:LISTED])
    assert share <= HEADLESS_LIMIT, (
        f"{len(headless)} of {len(texts)} docstrings ({share:.1f}%) open headless, at most {HEADLESS_LIMIT}% may; "
        f"open them with a verb or a noun:\n{listed}"
    )


def test_the_check_knows_headless_openings() -> None:
    assert opening("What a client sends.") in HEADLESS
    assert opening("`Whether` it fits.") in HEADLESS
    assert opening("Return whether it fits.") not in HEADLESS


def test_long_calls_name_their_arguments() -> None:
    """A starred argument counts as one: its length is not known here."""
    long = [
        f"{path}:{node.lineno}: {ast.unparse(node.func)}, {len(node.args)}"
        for path, node in nodes()
        if isinstance(node, ast.Call) and len(node.args) > MAX_POSITIONAL
    ]
    listed = "\n".join(long)
    assert not long, f"calls with more than {MAX_POSITIONAL} positional arguments; name the arguments:\n{listed}"
