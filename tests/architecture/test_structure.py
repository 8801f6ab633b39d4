"""The plan of the house, enforced: imports go down, optional libraries have one home, files stay small."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "heron"
FLOORS = {
    "errors": 0,
    "seeds": 0,
    "files": 0,
    "ranges": 0,
    "cores": 0,
    "checked": 1,
    "arrays": 0,
    "tensors": 1,
    "randomness": 1,
    "faces": 0,
    "zo": 2,
    "metering": 2,
    "privacy": 2,
    "data": 2,
    "wire": 3,
    "split": 3,
    "lm": 4,
    "client": 4,
    "server": 5,
    "algorithms": 6,
    "costs": 7,
    "curvature": 7,
    "export": 7,
    "engines": 8,
    "runs": 9,
    "flower": 10,
    "analysis": 10,
    "audit": 11,
    "config": 11,
    "report": 12,
    "cli": 12,
    "training": 12,
    "__main__": 13,
    "apps": 12,
    "deploy": 12,
}
# Optional libraries and the one folder that may import each, or two.
HOMES = {
    "datasets": "data",
    "flwr_datasets": "data",
    "sklearn": "data",
    "PIL": "data",
    "pyarrow": "data",
    "matplotlib": "report",
    "tensorboard": "report",
    "transformers": "lm",
    "peft": "lm",
    "flwr": "flower",
    "sacrebleu": "analysis",
    "rouge_score": "analysis",
    "numba": "zo",
    "llvmlite": "zo",
    "triton": "zo",
    "cryptography": ("deploy", "privacy"),
    "onnxruntime": "client",
    "dp_accounting": "privacy",
    "onnxscript": "export",
}
OPTIONAL = (*HOMES, "pandas", "pydantic", "rich", "tomli_w")
# Files that are nothing without such a library; they are imported late themselves.
LATE = {
    "heron.lm.mean_pooling",
    "heron.zo.numba_loops",
    "heron.zo.triton_loops",
    "heron.deploy.certificates",
    "heron.deploy.check_keys",
    "heron.deploy.node_keys",
    "heron.deploy.trust",
    "heron.export.attention",
    "heron.export.translations",
}
SOURCES = sorted(PACKAGE.rglob("*.py"))


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> list[tuple[str, int]]:
    """Modules that a file imports, with the column of the statement (0 = at import time)."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [(alias.name, node.col_offset) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            assert node.module is not None
            found.append((node.module, node.col_offset))
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_down(path: Path) -> None:
    here = room(path)
    if here == "__init__":
        return
    assert here in FLOORS, f"{here} has no floor: add it to FLOORS and to docs/ARCHITECTURE.md"
    for module, _ in imports(path):
        if not module.startswith("heron."):
            continue
        there = module.split(".")[1]
        # Errors are below the ground floor: every room may raise them.
        allowed = there in {here, "errors"} or FLOORS[there] < FLOORS[here]
        assert allowed or (here == "cli" and there in {"report", "deploy"}), (
            f"{path.relative_to(ROOT)} imports {module}: floor {FLOORS[here]} may import lower floors only"
        )


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_optional_libraries_are_imported_late_and_in_one_folder(path: Path) -> None:
    late = ".".join(path.relative_to(ROOT).with_suffix("").parts) in LATE
    for module, column in imports(path):
        top = module.split(".")[0]
        if top in HOMES:
            homes = (HOMES[top],) if isinstance(HOMES[top], str) else HOMES[top]
            assert room(path) in homes, f"{path.relative_to(ROOT)}: {top} belongs in {homes}"
        if top in HOMES or module in LATE:
            assert column > 0 or late, f"{path.relative_to(ROOT)}: import {module} inside the function that needs it"


def test_algorithms_do_not_import_each_other() -> None:
    """A file that puts a row into the registry is imported by the registry alone; the others are shared."""
    files = sorted((PACKAGE / "algorithms").rglob("*.py"))
    rows = {path.stem for path in files if " = Algorithm(\n" in path.read_text()}
    assert len(rows) >= 14
    others = {path.stem for path in files if path.stem not in {"__init__", *rows}}
    assert others == {"algorithm", "decoupled", "coupled"}, "rows, what a row is, and the two protocols only"
    for path in files:
        for module, _ in imports(path):
            if module.startswith("heron.algorithms.") and path.stem != "__init__":
                assert module.split(".")[-1] not in rows, f"{path.name} imports {module}"


def test_a_folder_of_algorithms_is_read_at_a_glance() -> None:
    for folder in {path.parent for path in (PACKAGE / "algorithms").rglob("*.py")}:
        assert len(list(folder.glob("*.py"))) <= 14, f"{folder.name}: group its rows, as whole_network does"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_and_functions_are_small(path: Path) -> None:
    source = path.read_text()
    limit = 200 if room(path) == "algorithms" else 250
    assert len(source.splitlines()) <= limit, f"{path.relative_to(ROOT)} has more than {limit} lines: split it"
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef):
            docstring = ast.get_docstring(node)
            length = (
                (node.end_lineno or 0) - node.body[0].lineno + 1 - (len(docstring.splitlines()) if docstring else 0)
            )
            assert length <= 50, f"{path.relative_to(ROOT)}: {node.name} has {length} lines without its docstring"


@pytest.mark.parametrize("face", [path for path in SOURCES if path.name == "__init__.py"], ids=lambda p: p.parent.name)
def test_no_name_of_a_lazy_face_is_a_module_of_its_package(face: Path) -> None:
    """Importing the module would set the package's attribute, and the name would then be the module."""
    modules = {path.stem for path in face.parent.iterdir()}
    for node in ast.walk(ast.parse(face.read_text())):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "lazy_face":
            assert isinstance(node.args[1], ast.Dict)
            names = {key.value for key in node.args[1].keys if isinstance(key, ast.Constant)}
            assert not names & modules, f"{face.relative_to(ROOT)}: rename the module"


def test_median_file_is_short() -> None:
    lengths = sorted(len(path.read_text().splitlines()) for path in SOURCES)
    assert lengths[len(lengths) // 2] <= 110


def test_import_heron_is_light() -> None:
    """No optional library, and nothing that takes time beyond torch and numpy."""
    code = (
        "import sys, time, torch, numpy; start = time.perf_counter(); import heron, heron.zo; "
        "spent = time.perf_counter() - start; "
        f"loaded = [name for name in {OPTIONAL!r} if name in sys.modules]; "
        "assert not loaded, loaded; assert spent < 1.0, spent"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
