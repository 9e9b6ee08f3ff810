"""The other code blocks of the guides: Python, YAML, TOML, and drawings of folders in plain text."""

import re
import shutil
import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from lmmrec_core.book.pages import pages
from lmmrec_core.data import SOURCES
from lmmrec_core.encoders import ENCODERS
from lmmrec_core.flow import Results
from lmmrec_core.metrics import METRICS
from lmmrec_core.names import CALIBRATION_PARTS, PAPER_METRICS
from lmmrec_core.questions import QUESTIONS, parse_question
from lmmrec_core.recommenders import RECOMMENDERS
from lmmrec_core.report import tables
from lmmrec_core.report.planted import conclude
from lmmrec_core.report.rule import read_rule
from lmmrec_core.report.verdict import judge_all
from lmmrec_core.results.store import ResultStore
from lmmrec_core.study import Study
from lmmrec_core.study.declared.track_file import read_track
from lmmrec_core.study.track import is_multimodal
from lmmrec_core.study.weights.recipes import read_entry
from lmmrec_core.study.weights.records import write_encoder_record
from tests.guides import BLOCKS, MODULES, ROOT, Block, block, install_package, make_place, run_with
from tests.study.made import made_result


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_place(tmp_path_factory.mktemp("guides"))


@pytest.fixture(scope="module")
def site(place: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install_package(place / "lmmrec-mine", tmp_path_factory.mktemp("site"))


#: Python blocks that do not stand by themselves, with the test that runs them.
NOT_ALONE = {
    ("add_question", 2): "the function of the table",
    ("add_question", 3): "the cells of the page",
    **dict.fromkeys([("add_chapter", number) for number in (1, 2, 3)], "cells: tests/book/test_own_chapter.py"),
}
ALONE = [b for b in BLOCKS if b.language == "python" and (b.guide, b.number) not in NOT_ALONE]


@pytest.mark.slow
@pytest.mark.parametrize("code", ALONE, ids=str)
def test_a_block_of_python_runs(code: Block, place: Path, site: Path) -> None:
    """In a Python that finds the reader's package, on the results of this repository."""
    done = run_with(site, place, ROOT, "-W", "error::SyntaxWarning", "-c", code.text)
    assert done.returncode == 0, done.stderr


def test_the_example_of_a_question_makes_its_table_and_its_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    space: dict[str, object] = {}
    exec(block("add_question", "python", 1), space)  # our own text, as a reader would run it
    monkeypatch.setitem(QUESTIONS, "rq4", space["RQ4"])
    assert parse_question("4") == "rq4"
    written = dict(vars(tables))
    exec(block("add_question", "python", 2), written)
    sides = [("vbpr", encoder, "PT", "V&T", "none") for encoder in ("vlmo", "clip")]
    made = [made_result(side, seed, "ndcg@20") for side in sides for seed in (1, 2)]
    found = Results(
        replace(
            result,
            case={**result.case, "track": "films", "dataset": dataset},
            per_user=result.per_user.assign(**dict.fromkeys(PAPER_METRICS, result.per_user["ndcg@20"])),
        )
        for result in made
        for dataset in ("ml-sparse", "ml-dense", "mt-sparse", "mt-full")
    )
    monkeypatch.setattr(Study, "results", lambda study, question=None: found)
    shown: dict[str, object] = {}
    cells = {
        "study": Study.open("films"), "models": ["vbpr", "bm3"], "metric": "ndcg@20", "table6": written["table6"],
        "show": shown.__setitem__, "quote_all": shown.update, "judge_all": judge_all, "conclude": conclude,
    }  # fmt: skip
    exec(block("add_question", "python", 3), cells)
    table = shown["table6"]
    assert [label for _, label in table.values.index][:2] == ["VBPR VLMo-small-PT", "VBPR CLIP-small-PT"]
    origins = {name: set(table.origin.loc[name].to_numpy().ravel()) for name in ("VBPR", "BM3")}
    assert origins == {"VBPR": {"measured"}, "BM3": {"not run"}}
    assert len(cells["judged"]) == 4 and shown["verdict"].startswith("ML-sparse: ")
    assert shown["verdict-MT-full"].startswith(tuple(read_rule().words["elsewhere"]))


@pytest.mark.parametrize("code", [b for b in BLOCKS if b.language == "yaml"], ids=str)
def test_a_block_of_yaml_says_what_is_understood(code: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = yaml.safe_load(code.text)
    if isinstance(values, list):  # pages of a table of contents
        (tmp_path / "notebooks").mkdir()
        source = tmp_path / "notebooks" / f"{Path(values[0]['file']).name}.ipynb"
        shutil.copy(ROOT / "notebooks" / "01_motivation.ipynb", source)  # as the chapter says
        assert [f"{page.target.relative_to(tmp_path).with_suffix('')}" for page in pages(tmp_path)] == [
            entry["file"] for entry in values
        ]
        return
    if "encoder" in values:
        values = {"encoders": {"own": values}}
    track = read_track("controls").model_copy(update={"encoders": values.get("encoders", {})})
    for name, entry in track.encoders.items():
        if is_multimodal(entry):
            settings = read_entry(track, name)
            ENCODERS[settings.encoder].Settings.build(settings.settings, name)
    if "extends" in values:
        (tmp_path / "mine.yaml").write_text(code.text, encoding="utf-8")
        for name in values.get("models", {}):  # as if the chapter's package were installed
            monkeypatch.setitem(RECOMMENDERS._places, name, RECOMMENDERS.own["bpr"])
        read = read_track(str(tmp_path / "mine.yaml"))
        for part in ("datasets", "models", "encoders"):
            assert set(values.get(part, {})) <= set(getattr(read, part))
        assert read.name == values.get("name", values["extends"]), "without a name of its own it shares the results"


@pytest.mark.parametrize("code", [b for b in BLOCKS if b.language == "toml"], ids=str)
def test_a_block_of_toml_names_our_groups_and_the_chapters_code(code: Block) -> None:
    project = tomllib.loads(code.text)["project"]
    groups = {registry.group for registry in (RECOMMENDERS, ENCODERS, METRICS, SOURCES)}
    assert set(project["entry-points"]) == groups
    places = [place for members in project["entry-points"].values() for place in members.values()]
    assert {place.split(":")[0].split(".")[1] for place in places} == set(MODULES)


def tree_of_readme(text: str, place: Path) -> None:
    """Every folder and base module of the package is named, and every name is there."""
    package, inside = text.partition("notebooks/ ")[0], ROOT / "lmmrec_core"
    named = set(re.findall(r"(\w+)/", package)) - {"lmmrec_core"}
    folders = {path.parent.name for path in inside.rglob("__init__.py")} | {"tracks", "searched", "grids", "published"}
    assert named == folders - {"lmmrec_core"}
    assert set(re.findall(r"\w+\.py\b", package)) == {path.name for path in inside.glob("[!_]*.py")}
    for name in re.findall(r"^(\w+)/", text, flags=re.MULTILINE):
        assert (ROOT / name).is_dir(), name


def named_files(text: str, folder: Path) -> None:
    """Files at the beginning of a line exist in the folder that the first line names."""
    first, *lines = text.splitlines()
    assert (folder / first.strip()).is_dir()
    below = folder / first.strip()
    for line in lines:
        name = line.split()[0]
        path = below / name if len(line) - len(line.lstrip()) == 2 else below / "lmmrec_mine" / name
        assert path.exists(), path


def results_layout(text: str, place: Path) -> None:
    """Paths with their variable parts in angle brackets are those of files in the repository, or of a search."""
    root = place / "results"
    run = ResultStore(root).path_of("0" * 16, "films", "ml-sparse", "vbpr-clip-PT-VT-s1")
    made = [run / name for name in ("run.json", "per_user.parquet")]
    made += [write_encoder_record(root, "films", where, "clip", "PT", "ab" * 32, {}) for where in (None, "ml-sparse")]
    made.append(root / "films" / "ml-sparse" / "features" / "clip-PT-12345678.json")  # as tests of diagnostics find it
    files = [path.relative_to(place).as_posix() for path in made]
    files += [path.relative_to(ROOT).as_posix() for path in (ROOT / "results" / "films").rglob("*.json")]
    # as the tests of the search find them
    search = ("ml-sparse-vbpr-baseline-VT.json", "cell-ml-sparse-vbpr-clip-PT.json")
    files += [f"results/films/search/{name}" for name in search]
    lines = [line.split("  ")[0].strip() if line[0] != " " else line.split()[0] for line in text.splitlines()]
    if lines[0].endswith("/"):
        lines = [lines[0] + name for name in lines[1:] if name != "top50.parquet"]  # not in version control
    for line in lines:
        pattern = re.sub(r"<[^>]+>", r"[^/]+", re.sub(r"([.+])", r"\\\1", line))
        assert any(re.fullmatch(pattern, file) for file in files), line


def calibration_layout(text: str, place: Path) -> None:
    """Files are named as the calibration writes them."""
    named = set(re.findall(r"(\S+)\.(?:jsonl|csv|json)\b", text))
    assert {"results/calibration/<part>", "results/calibration/<part>-<track>", "coverage", "environments"} <= named
    parts = set(re.findall(r"[a-z-]+", " ".join(re.findall(r"line: ([^;\n]+)", text))))
    assert parts == set(CALIBRATION_PARTS) - {"coverage"}


def amazon_layout(text: str, place: Path) -> None:
    """The names are those that the reader of the Amazon data builds."""
    source = (ROOT / "lmmrec_core" / "data" / "amazon.py").read_text(encoding="utf-8")
    for name in re.findall(r"^  (\S+?)[\s/]", text, flags=re.MULTILINE):
        assert name.replace("<Category>", "{category}").split("_{")[0] in source, name


#: Blocks of plain text, and what holds them to the truth.
TEXTS: dict[tuple[str, int], Callable[[str, Path], None]] = {
    ("README", 1): tree_of_readme,
    ("own_catalogue", 1): named_files,
    ("own_package", 1): named_files,
    ("results", 1): results_layout,
    ("results", 2): results_layout,
    ("results", 3): calibration_layout,
    ("run", 1): amazon_layout,
}


@pytest.mark.parametrize("code", [b for b in BLOCKS if b.language == "text"], ids=str)
def test_a_block_of_text_is_true(code: Block, place: Path) -> None:
    TEXTS[code.guide, code.number](code.text, place)


def test_no_block_is_in_another_language() -> None:
    assert {b.language for b in BLOCKS} == {"bash", "python", "yaml", "toml", "text", "markdown"}
