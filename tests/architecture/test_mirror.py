"""Every file of the package is near a test: one that is named after it, or imports it, or imports what imports it.

It is no measure of coverage: it shows a file that no test could reach but by going through two others.
"""

import ast
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "heron"
TESTS = sorted((ROOT / "tests").rglob("*.py"))


def dotted(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


MODULES = {dotted(path): path for path in sorted(PACKAGE.rglob("*.py")) if path.stem != "__init__"}


@cache
def defined(module: str) -> frozenset[str]:
    """Names that a module makes; a package's face hands these on."""
    names = set()
    for node in ast.parse(MODULES[module].read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.add(node.target.id)
    return frozenset(names)


@cache
def imported(path: Path) -> frozenset[str]:
    """Modules that a file imports, those that a package's face stands for included."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("heron"):
            room = str(node.module)
            names = {alias.name for alias in node.names}
            found |= {room, *(f"{room}.{name}" for name in names)}
            found |= {module for module in MODULES if module.startswith(f"{room}.") and names & defined(module)}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.add(node.value.partition(":")[0])  # a row of the registry names its Main Server
    return frozenset(found & MODULES.keys())


def is_named_after(module: str) -> bool:
    """Return whether a file of tests has the module's name, or a test names it, e.g. for a process of its own."""
    _, *rooms, name = module.split(".")
    folder = ROOT.joinpath("tests", *rooms[:1])
    return any(folder.rglob(f"test_{name}*.py")) or any(module in path.read_text() for path in TESTS)


def test_every_room_has_a_folder_of_tests() -> None:
    rooms = {path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__"}
    missing = sorted(name for name in rooms if not (ROOT / "tests" / name).is_dir())
    assert not missing, f"no tests for {missing}"


def test_every_file_is_near_a_test() -> None:
    tested = {module for path in TESTS for module in imported(path)}
    tested |= {module for module in MODULES if module not in tested and is_named_after(module)}
    # Rows of the registry are imported by it alone; the conformance suite runs over all of them.
    tested |= {module for module, path in MODULES.items() if " = Algorithm(\n" in path.read_text()}
    near = tested | {module for user in tested for module in imported(MODULES[user])}
    far = sorted(MODULES.keys() - near)
    assert not far, f"no test imports these, nor a module that does: {far}"
