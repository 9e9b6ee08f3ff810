"""A further research question, with its table and its page, opens four files: tried in a copy of the repository."""

import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

pytestmark = pytest.mark.slow  # a notebook is executed

ENTRY = """        Question(
            "rq4",
            "Pictures alone against texts alone",
            lambda variant: variant.encoder == BASELINE and variant.modalities in ("V", "T"),
            planned=(Pair(Variant(BASELINE, modalities="V"), Variant(BASELINE, modalities="T")),),
        ),
    )
}
"""
TABLE = '''

def table_alone(results: Sequence[Result], datasets: Sequence[str], comparisons: pd.DataFrame | None = None) -> Table:
    """RQ4: pictures alone and texts alone."""
    rows = [
        TableRow(model_name(model), f"{model_name(model)} {only}", model, replace(MODALITY_SPECIFIC, modalities=only))
        for model in PAPER_MODELS
        for only in _SINGLE
    ]
    layout = Layout(tuple(rows), metric_columns(datasets, ["ndcg@20"]))
    return fill_measured("alone", _caption("rq4"), layout, results, comparisons)
'''
CELLS = (
    """from lmmrec_core.report.quote import show
from lmmrec_core.report.tables import table_alone
from lmmrec_core.study import Study

study = Study.open(track=track)""",
    'show("alone", table_alone(study.results("rq4"), study.datasets, study.comparisons("rq4")))',
)


@pytest.fixture(scope="module")
def copy(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The repository with the four files opened."""
    target = tmp_path_factory.mktemp("copy") / "repository"
    left_out = shutil.ignore_patterns(".*", "_build", "_generated", "*.egg-info", "__pycache__")

    def ignored(folder: str, names: list[str]) -> set[str]:
        return left_out(folder, names) | ({"results"} if Path(folder) == root else set())

    shutil.copytree(root, target, ignore=ignored)
    questions = target / "lmmrec_core" / "questions.py"
    text = questions.read_text(encoding="utf-8")
    assert text.count("    )\n}\n") == 1
    questions.write_text(text.replace("    )\n}\n", ENTRY), encoding="utf-8")
    tables = target / "lmmrec_core" / "report" / "tables.py"
    tables.write_text(tables.read_text(encoding="utf-8") + TABLE, encoding="utf-8")
    parameters = nbformat.v4.new_code_cell('track: str = "controls"', metadata={"tags": ["parameters"]})
    cells = [nbformat.v4.new_markdown_cell("(rq4)=\n# RQ4: pictures or texts?"), parameters]
    notebook = nbformat.v4.new_notebook(cells=[*cells, *map(nbformat.v4.new_code_cell, CELLS)])
    nbformat.write(notebook, target / "notebooks" / "06_rq4_alone.ipynb")
    contents = (target / "_toc.yml").read_text(encoding="utf-8")
    for track in ("controls", "films", "paper"):
        last = f"      - file: book/_generated/{track}/05_receipt\n"
        contents = contents.replace(last, last + last.replace("05_receipt", "06_rq4_alone"))
    (target / "_toc.yml").write_text(contents, encoding="utf-8")
    return target


def python(copy: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {"PYTHONPATH": str(copy), "PATH": str(Path(sys.executable).parent), "HOME": str(copy)}
    return subprocess.run(
        [sys.executable, *arguments], cwd=copy, env=environment, capture_output=True, text=True, check=False
    )


def test_the_command_line_knows_it(copy: Path) -> None:
    done = python(copy, "-m", "lmmrec_core.cli", "reproduce", "--rq", "4", "--dry-run")
    assert done.returncode == 0, done.stderr
    # 2 modalities: VBPR with 3 seeds on 3 data sets; on one of them LATTICE with 3
    assert "24 can run now, 0 wait for what is not here, 102 are left out by the track" in done.stdout


def test_its_page_shows_its_table(copy: Path) -> None:
    done = python(copy, "-m", "lmmrec_core.cli", "book", "page", "controls", "06_rq4_alone")
    assert done.returncode == 0, done.stdout + done.stderr
    page = (copy / "book" / "_generated" / "controls" / "06_rq4_alone.ipynb").read_text(encoding="utf-8")
    assert "LATTICE" in page and "MMGCN" in page and "not run" in page


def test_the_book_has_a_place_for_it(copy: Path) -> None:
    chosen = "tests/book/test_sources.py::test_the_table_of_contents_names_every_notebook_once_per_track_or_once"
    done = python(copy, "-m", "pytest", "-p", "no:cacheprovider", chosen)
    assert done.returncode == 0, done.stdout + done.stderr
