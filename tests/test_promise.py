"""What the book calls stable is there: names, commands, entry points, numbers of file formats."""

import ast
import importlib
import inspect
import re
from pathlib import Path

import pytest

from lmmrec_core import __version__
from lmmrec_core.cli.arguments import parser
from lmmrec_core.data import SOURCES
from lmmrec_core.disk import check_schema, read_sealed, write_sealed
from lmmrec_core.encoders import ENCODERS
from lmmrec_core.errors import ResultError
from lmmrec_core.metrics import METRICS
from lmmrec_core.metrics.diagnose import VERSION
from lmmrec_core.recommenders import RECOMMENDERS
from lmmrec_core.results import archive, crate, store
from lmmrec_core.study import datasets
from lmmrec_core.study.declared.track_file import read_track
from lmmrec_core.study.own import kept
from lmmrec_core.study.search import record, summary
from lmmrec_core.study.weights import records
from tests.book.source import chapter, table_under
from tests.guides import BLOCKS

PAGES = ("api_values", "api_parts", "api_study")
DIRECTIVE = re.compile(
    r"^\.\. auto(?P<kind>module|class):: (?P<name>\S+)\n(?:   :members: (?P<members>.+)\n)", re.MULTILINE
)
TEXT = chapter("stability")


def documented() -> dict[str, list[str]]:
    """Module or class → its members in the reference."""
    found: dict[str, list[str]] = {}
    for page in PAGES:
        for match in DIRECTIVE.finditer(chapter(page)):
            found[match["name"]] = match["members"].split(", ")
    return found


DOCUMENTED = documented()


def named(place: str) -> object:
    """A module, or a class of one."""
    try:
        return importlib.import_module(place)
    except ModuleNotFoundError:
        module, _, name = place.rpartition(".")
        return getattr(importlib.import_module(module), name)


@pytest.mark.parametrize("place", DOCUMENTED)
def test_every_stable_name_is_there_and_says_what_it_is(place: str) -> None:
    holder = named(place)
    for name in DOCUMENTED[place]:
        member = inspect.getattr_static(holder, name)
        member = member.__func__ if isinstance(member, classmethod) else member
        assert inspect.getdoc(member), f"{place}.{name}"


def test_what_the_guides_import_is_stable() -> None:
    """It is what others build on."""
    imported = set()
    for block in BLOCKS:
        if block.language == "python" and block.guide.startswith(("add_", "own_")):
            for node in ast.walk(ast.parse(block.text)):
                if isinstance(node, ast.ImportFrom) and str(node.module).startswith("lmmrec_core"):
                    imported |= {(str(node.module), alias.name) for alias in node.names}
    stable = {(place, name) for place, names in DOCUMENTED.items() for name in names}
    stable |= {tuple(place.rsplit(".", 1)) for place in DOCUMENTED if inspect.isclass(named(place))}
    types = {("lmmrec_core.flow", name) for name in ("BoolArray", "FloatArray", "IntArray")}  # without a docstring
    types |= {("lmmrec_core.roles", "Scorer")}
    assert imported and imported - stable - types == set()


def test_the_commands_are_those_of_the_parser() -> None:
    (choices,) = (action.choices for action in parser()._actions if action.dest == "command")
    assert [row[0] for row in table_under(TEXT, "command")] == [f"`lmmrec {name}`" for name in choices]


def test_the_groups_are_those_of_the_registries() -> None:
    groups = {registry.group for registry in (RECOMMENDERS, ENCODERS, METRICS, SOURCES)}
    assert set(re.findall(r"`(lmmrec\.\w+)`", TEXT)) == groups


#: First file of each row → the number in the code.
NUMBERS = {
    "run.json": store._SCHEMA,
    "per_user.parquet": store._SCHEMA,
    "<data set>.records.jsonl": archive._FORMAT,
    "model.safetensors": kept._SCHEMA,
    "dataset.json": datasets._SCHEMA,
    "encoders/*.json": records._SCHEMA,
    "features/*.json": VERSION,
    "search/*.json": summary._SCHEMA,
    "ro-crate-metadata.json": crate._SPECIFICATION.rpartition("/")[2],
}


def test_every_format_has_the_number_that_the_page_states() -> None:
    shown = {}
    for file, number, where in table_under(TEXT, "file"):
        name = re.findall(r"`([^`]+)`", file) or re.findall(r"in `([^`]+)`", where)
        shown[name[0]] = number
    assert shown == {name: str(number) for name, number in NUMBERS.items()}
    assert record._SCHEMA == summary._SCHEMA  # both are below search/


def test_a_file_of_another_format_is_refused_and_one_without_a_number_is_of_the_first(tmp_path: Path) -> None:
    place = tmp_path / "controls" / "null" / "dataset.json"
    for content in ({"title": "Null"}, {"schema": 1, "title": "Null"}):
        write_sealed(place, content)
        assert datasets.stored_statistics(read_track("controls"), tmp_path).loc["null"].to_dict() == {"title": "Null"}
    write_sealed(place, {"schema": 2, "title": "Null"})
    with pytest.raises(
        ResultError, match=r"dataset\.json: written with schema 2, this version reads 1; use the version"
    ):
        datasets.stored_statistics(read_track("controls"), tmp_path)
    path = records.write_encoder_record(tmp_path, "controls", None, "clip", "PT", "ab" * 32, {})
    assert read_sealed(path)["schema"] == 1
    write_sealed(path, {**read_sealed(path), "schema": 2})
    with pytest.raises(ResultError, match="written with schema 2"):
        records.read_encoder_records(read_track("controls"), tmp_path)
    check_schema({}, 1, path)


def test_the_keys_of_every_track_are_pinned() -> None:
    pinned = Path(__file__).parent / "study" / "pinned.json"
    assert '"controls"' in pinned.read_text(encoding="utf-8") and "compared with a\nstored list by a test" in TEXT


def test_versions_are_of_three_numbers_and_the_changelog_is_kept() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", __version__)
    log = (Path(__file__).parents[1] / "CHANGELOG.md").read_text(encoding="utf-8")
    assert all(f"### {kind}" in log for kind in ("Added", "Changed", "Fixed", "Removed"))
