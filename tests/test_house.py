"""How the house is kept: one word per idea, one place per fact, nothing that a reader cannot open."""

import ast
import re
from collections import defaultdict
from pathlib import Path

import pytest

from lmmrec_core.encoders import ENCODERS
from lmmrec_core.names import MODEL_TITLES, TRACKS
from lmmrec_core.recommenders import RECOMMENDERS

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "lmmrec_core"
MODULES = sorted(PACKAGE.rglob("*.py"))
TEXTS = sorted(
    path
    for folder in ("lmmrec_core", "tests", "book", "notebooks", "benchmarks")
    for path in (ROOT / folder).rglob("*")
    if path.suffix in {".py", ".md", ".yaml", ".ipynb"} and "_generated" not in path.parts
)


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def public_names(path: Path) -> set[str]:
    """What a module defines at its top, without what it only imports."""
    names: set[str] = set()
    for node in tree(path).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.add(node.target.id)
    return {name for name in names if not name.startswith("_")}


def test_a_public_name_is_defined_in_one_module() -> None:
    defined = defaultdict(list)
    for path in MODULES:
        for name in public_names(path):
            defined[name].append(relative(path))
    assert {name: places for name, places in defined.items() if len(places) > 1} == {}


#: Ways of pointing to documents that are not in the repository.
POINTERS = re.compile(
    r"\bspec(?:ification)?s?,? (?:section )?\d+(?:\.\d+)*\b"  # "spec 6.2"
    r"|\bspec(?:ification)? [A-Z]-?\d"  # "spec M-2"
    r"|\b(?:encoders|recommenders|book) spec\b"
    r"|\bquestions? \d+\b"  # "question 63"; research questions are RQ1 to RQ3
    r"|\bT-\d{2}\b"
    r"|\bclaims audit\b",
    re.IGNORECASE,
)
ALLOWED = re.compile(r"research questions? \d", re.IGNORECASE)


@pytest.mark.parametrize("path", TEXTS, ids=relative)
def test_nothing_points_to_a_document_that_a_reader_cannot_open(path: Path) -> None:
    if path == Path(__file__):
        return
    text = ALLOWED.sub("", path.read_text(encoding="utf-8"))
    assert [match.group(0) for match in POINTERS.finditer(text)] == []


def literal_names(node: ast.AST) -> set[str]:
    """The texts of a literal list, tuple or set, or the keys of a literal dict."""
    if isinstance(node, ast.List | ast.Tuple | ast.Set):
        parts = node.elts
    elif isinstance(node, ast.Dict):
        parts = [key for key in node.keys if key is not None]
    else:
        return set()
    return {part.value for part in parts if isinstance(part, ast.Constant) and isinstance(part.value, str)}


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_models_and_tracks_are_listed_in_one_place(path: Path) -> None:
    if relative(path) in {"lmmrec_core/names.py", "lmmrec_core/recommenders/__init__.py"}:
        return
    for node in ast.walk(tree(path)):
        names = literal_names(node)
        assert len(names & set(MODEL_TITLES)) < 3, f"line {node.lineno} lists models; names.py does"
        assert not set(TRACKS) <= names, f"line {node.lineno} lists tracks; names.py does"


@pytest.mark.parametrize("path", sorted((PACKAGE / "study").rglob("*.py")), ids=relative)
def test_the_study_knows_no_member_by_name(path: Path) -> None:
    members = {place.partition(":")[0] for registry in (RECOMMENDERS, ENCODERS) for place in registry.own.values()}
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.ImportFrom):
            assert node.module not in members, f"{relative(path)} imports {node.module}; use the registry"


THREADED = {"track", "places", "data", "prepared", "dataset", "progress", "results", "cache"}


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_what_a_workspace_holds_is_not_threaded_beside_it(path: Path) -> None:
    """A function that takes a workspace takes none of its parts, and none takes three of them instead."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef) and node.name not in {"open", "__init__"}:
            names = {argument.arg for argument in (*node.args.args, *node.args.kwonlyargs)}
            parts = names & (THREADED - {"dataset"})
            assert not ("workspace" in names and parts), f"{relative(path)}: {node.name} takes {sorted(parts)} too"
            alone = parts - {"results", "cache"}
            assert len(alone) < 3, f"{relative(path)}: {node.name} takes {sorted(alone)}"


#: Modules that write into a folder or file which ``disk`` puts in place afterwards; process.py writes to /proc.
FILL = {"results/store.py", "data/writing.py", "data/controls.py", "encoders/clip/build.py", "process.py"}


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_files_are_written_whole_by_one_module(path: Path) -> None:
    """Everything that is read again is written through ``disk``: beside its place, flushed, renamed."""
    place = path.relative_to(PACKAGE).as_posix()
    if place == "disk.py":
        return
    calls = [node for node in ast.walk(tree(path)) if isinstance(node, ast.Call)]
    named = {node.func.attr: node for node in calls if isinstance(node.func, ast.Attribute)}
    assert not {"mkstemp", "mkdtemp", "fsync"} & named.keys(), place
    if place not in FILL:
        assert not {"write_text", "write_bytes"} & named.keys(), f"{place}: write through disk.write_file"
    for node in calls:
        if isinstance(node.func, ast.Attribute) and node.func.attr in {"replace", "rename"} and len(node.args) == 1:
            renamed = ast.unparse(node)  # a column (pandas), fields (dataclasses), or a damaged file put aside
            assert node.keywords or "aside" in renamed or "metric" in renamed, f"{place}: {renamed}"


REFERENCE = re.compile(r"``([\w/]+\.py)``")


@pytest.mark.parametrize("path", [*MODULES, *sorted((ROOT / "book").rglob("*.md"))], ids=relative)
def test_files_that_a_docstring_names_exist(path: Path) -> None:
    for name in REFERENCE.findall(path.read_text(encoding="utf-8")):
        first = name.partition("/")[0]
        if "/" in name and not any((folder / first).is_dir() for folder in (ROOT, PACKAGE, path.parent)):
            continue  # a file of another project, named with it
        places = (ROOT / name, PACKAGE / name, path.parent / name)
        assert any(place.is_file() for place in places), f"{relative(path)} names {name}"


ROLE = re.compile(r":(?:func|class|data):`~?(?:lmmrec_core\.)?([\w.]+)`")


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_names_that_a_docstring_refers_to_exist(path: Path) -> None:
    """``:func:`name``` is defined or imported in the same module, or is a full name in the package."""
    text, known = path.read_text(encoding="utf-8"), set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            known.add(node.name)
        elif isinstance(node, ast.ImportFrom | ast.Import):
            known |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            known.add(node.id)
    for name in ROLE.findall(text):
        module, _, last = name.lstrip(".").rpartition(".")
        homes = [folder / (module.replace(".", "/") + ".py") for folder in (PACKAGE, path.parent)]
        home = next((place for place in homes if module and place.is_file()), None)
        if home is not None:
            assert last in public_names(home), f"{relative(path)}: {name}"
        else:
            assert {*name.split(".")} & known, f"{relative(path)}: {name}"


def test_a_folder_fits_on_one_screen() -> None:
    flat = {folder: len(list((PACKAGE / folder).glob("[!_]*.py"))) for folder in ("study", "encoders")}
    assert flat["study"] <= 14 and flat["encoders"] <= 8, flat


def test_the_checks_see_what_they_look_for() -> None:
    assert POINTERS.search("see spec 6.2") and POINTERS.search("as question 63 asks") and POINTERS.search("T-31")
    assert not POINTERS.search("this specification of features") and not POINTERS.search("RQ2")
    assert literal_names(ast.parse("('vbpr', 'bpr', x)").body[0].value) == {"vbpr", "bpr"}
