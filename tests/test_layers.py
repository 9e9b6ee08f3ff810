"""The arrows of the package, read from its source: who may import whom, how long a file may be."""

import ast
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "lmmrec_core"
BASE = {
    "flow", "names", "questions", "roles", "registry", "config", "digests", "disk", "errors",
    "seeds", "source", "losses", "checkpoints", "process", "home", "picture_files", "marks",
}  # fmt: skip
STAGES = (
    "fetching",
    "data",
    "encoders",
    "recommenders",
    "training",
    "metrics",
    "significance",
    "results",
    "report",
    "audit",
)
TORCHLESS = ("fetching", "metrics", "significance", "results", "report", "audit")
MODULES = sorted(PACKAGE.rglob("*.py"))
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def name_of(path: Path) -> str:
    """``lmmrec_core/data/folder.py`` → ``data.folder``; a package's ``__init__`` is the package."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(path: Path, top_level: bool = False) -> set[str]:
    """Full names of everything a file imports; with ``top_level`` only what runs when it is imported."""
    package = ["lmmrec_core", *path.relative_to(PACKAGE).parent.parts]
    return imports_in(path.read_text(encoding="utf-8"), package, top_level)


def imports_in(source: str, package: list[str], top_level: bool) -> set[str]:
    """The same for the text of a module of ``package``; relative imports count as their full names."""
    names, waiting = set(), [ast.parse(source)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            names.update(f"{module}.{alias.name}" for alias in node.names)
        if not (top_level and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)):
            waiting += ast.iter_child_nodes(node)
    return names


def own(path: Path, top_level: bool = False) -> set[str]:
    """Imports from this package, as module names below it."""
    known = {name_of(module) for module in MODULES}
    found = set()
    for name in imported(path, top_level):
        if name == "lmmrec_core" or not name.startswith("lmmrec_core."):
            continue
        inner = name.removeprefix("lmmrec_core.")
        while inner and inner not in known:
            inner = inner.rpartition(".")[0]  # the last part may be a name inside the module
        if inner:
            found.add(inner)
    return found


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_stage_imports_only_the_base_and_itself(path: Path) -> None:
    stage = name_of(path).split(".")[0]
    if stage in STAGES:
        others = {name for name in own(path) if name.split(".")[0] not in {stage, *BASE}}
        assert not others, f"{path.relative_to(ROOT)} imports {sorted(others)}; stages meet in study/"


@pytest.mark.parametrize("name", sorted(BASE))
def test_the_base_imports_no_stage(name: str) -> None:
    path = PACKAGE / f"{name}.py"
    assert path.is_file(), f"{name} is listed as base but is not there"
    assert {other.split(".")[0] for other in own(path)} <= BASE


def test_every_stage_exists_and_introduces_itself() -> None:
    for stage in STAGES:
        text = ast.get_docstring(ast.parse((PACKAGE / stage / "__init__.py").read_text(encoding="utf-8")))
        assert text and text.startswith("Takes ") and " gives " in text, f"{stage}/__init__.py: 'Takes …, gives …'"


def test_the_import_graph_has_no_cycle() -> None:
    graph = {name_of(path): own(path, top_level=True) - {name_of(path)} for path in MODULES}
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " → ".join([*path[path.index(module) :], module])
        if module not in done:
            for other in sorted(graph.get(module, ())):
                visit(other, (*path, module))
            done.add(module)

    for module in graph:
        visit(module, ())


@pytest.mark.parametrize("stage", TORCHLESS)
def test_tables_need_no_torch(stage: str) -> None:
    for path in (PACKAGE / stage).rglob("*.py"):
        assert not {name for name in imported(path) if name.split(".")[0] == "torch"}, path.relative_to(ROOT)


def test_reading_results_loads_no_torch() -> None:
    """What a notebook imports to show tables must start quickly on a machine without a GPU stack."""
    modules = [f"lmmrec_core.{stage}" for stage in TORCHLESS]
    modules += [f"lmmrec_core.{name_of(path)}" for stage in TORCHLESS for path in (PACKAGE / stage).glob("*.py")]
    code = f"import importlib, sys\nfor m in {modules!r}: importlib.import_module(m)\nsys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_no_file_is_longer_than_350_lines() -> None:
    folders = (PACKAGE, *(ROOT / name for name in ("tests", "book", "benchmarks")))
    files = {path: path.read_text(encoding="utf-8") for folder in folders for path in folder.rglob("*.py")}
    long = {str(path.relative_to(ROOT)) for path, text in files.items() if len(text.splitlines()) > 350}
    assert not long, "does it hold two jobs?"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_define_nothing(path: Path) -> None:
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "code":
            kinds = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda
            found = [node for node in ast.walk(ast.parse(cell.source)) if isinstance(node, kinds)]
            assert not found, f"{path.name}: {cell.source[:60]!r} belongs into the package"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_nothing_unsafe_is_loaded_or_evaluated(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in {"eval", "exec", "pickle.load", "pickle.loads", "yaml.load"}, f"{path.name}: {called}"
            given = {word.arg: ast.unparse(word.value) for word in node.keywords if word.arg}
            assert given.get("allow_pickle", "False") == "False", f"{path.name}: {called}"
            assert called != "torch.load" or given.get("weights_only") == "True", f"{path.name}: {called}"


def test_the_checks_see_what_they_look_for() -> None:
    source = "from ..metrics import ranking\ndef f():\n    import torch.nn\n"
    package = ["lmmrec_core", "data"]
    assert imports_in(source, package, top_level=False) == {"lmmrec_core.metrics.ranking", "torch.nn"}
    assert imports_in(source, package, top_level=True) == {"lmmrec_core.metrics.ranking"}
