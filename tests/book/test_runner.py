"""The notebook runner: parameters checked, results whole or untouched, nothing run twice."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from lmmrec_core.book.crossrefs import labels_of, prefix_labels
from lmmrec_core.book.execution import execute_page
from lmmrec_core.book.pages import inputs_of, package_digest, pages, stored_inputs, unfit
from lmmrec_core.book.runner import checked, faults, parameters_of, publish, read_notebook, run_notebook, tidy
from lmmrec_core.cli import main
from lmmrec_core.cli.book import parse_values
from lmmrec_core.errors import ConfigError, ResultError
from lmmrec_core.names import TRACKS

ROOT = Path(__file__).resolve().parents[2]
RUN = (sys.executable, "-m", "lmmrec_core.cli", "book", "run")
PARAMETERS = (
    'track: str = "controls"  # which track\n'
    "seeds: list = [1, 2]  # seeds\n"
    "rate: float = 0.1\n"
    "run: bool = False\n"
    "data: str | None = None\n"
    "k: int = 20\n"
)
COUNT = "print(track, sum(seeds), object())"


def notebook(*sources: str, parameters: str = PARAMETERS) -> nbformat.NotebookNode:
    cells = [new_markdown_cell("# Title", id="title")]
    cells.append(new_code_cell(parameters, id="parameters", metadata={"tags": ["parameters"]}))
    cells += [new_code_cell(source, id=f"cell-{number}") for number, source in enumerate(sources)]
    spec = {"name": "python3", "language": "python", "display_name": "Python 3"}
    return new_notebook(cells=cells, metadata={"kernelspec": spec})


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "03_example.ipynb"
    nbformat.write(notebook(COUNT), path)
    return path


def declared(text: str = PARAMETERS) -> dict:
    return parameters_of(notebook(parameters=text), "03_example.ipynb")


def test_reads_the_declared_parameters() -> None:
    found = declared("a: int = 3\nb = 'x'\nc: dict[str, int] = {\n    'y': 1,\n}\nimport os\n")
    assert {name: entry.default for name, entry in found.items()} == {"a": "3", "b": "'x'", "c": "{'y': 1}"}


def test_refuses_no_and_two_parameter_cells() -> None:
    none = new_notebook(cells=[new_code_cell("a = 1")])
    with pytest.raises(ConfigError, match=r"x\.ipynb: 0 cells are tagged 'parameters'"):
        parameters_of(none, "x.ipynb")
    two = notebook()
    two.cells.append(two.cells[1])
    with pytest.raises(ConfigError, match="2 cells"):
        parameters_of(two, "x.ipynb")


def test_unknown_parameter_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(ConfigError, match=r"03_example\.ipynb: unknown parameter 'sedes'; did you mean 'seeds'\?"):
        checked({"sedes": [1]}, declared(), "03_example.ipynb")


@pytest.mark.parametrize(
    ("name", "value"),
    [("seeds", 1), ("seeds", "[1]"), ("track", 3), ("run", "y"), ("k", True), ("k", 2.5), ("rate", "no"), ("data", 4)],
)
def test_value_of_another_type_is_refused(name: str, value: object) -> None:
    with pytest.raises(ConfigError, match=f"parameter {name} = .* is not .*; write it like its default"):
        checked({name: value}, declared(), "03_example.ipynb")


def test_values_of_the_declared_types_pass() -> None:
    values = {"seeds": [3], "track": "paper", "run": True, "k": 5, "rate": "1e-3", "data": None}
    assert checked(values, declared(), "x") == values | {"rate": 1e-3}
    whole = checked({"rate": 1}, declared(), "x")["rate"]
    assert whole == 1.0 and isinstance(whole, float)
    assert checked({"data": "folder"}, declared(), "x") == {"data": "folder"}


def test_element_types_of_a_list_are_checked() -> None:
    kinds = declared("seeds: list[int] = [1]")
    assert checked({"seeds": [2, 3]}, kinds, "x") == {"seeds": [2, 3]}
    with pytest.raises(ConfigError, match="is not list\\[int\\]"):
        checked({"seeds": [2, "3"]}, kinds, "x")


def test_command_line_values_are_yaml_and_win_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "values.yaml"
    file.write_text("seeds: [7]\nrun: false\n")
    assert parse_values(["run=true", "track=paper"], file) == {"seeds": [7], "run": True, "track": "paper"}
    for wrong in ("seeds", "=3", "seeds=[1"):
        with pytest.raises(ConfigError, match="-p"):
            parse_values([wrong], None)


def executed(**last: object) -> nbformat.NotebookNode:
    """An executed notebook, with ``last`` laid over its last cell."""
    done = notebook("1 + 1")
    for count, cell in enumerate((cell for cell in done.cells if cell.cell_type == "code"), start=1):
        cell.execution_count = count
    done.cells[-1].update(last)
    return done


def test_whole_means_every_cell_ran_and_none_raised() -> None:
    assert faults(executed()) == []
    assert faults(executed(execution_count=None)) == ["cell 3 was not run"]
    error = new_output("error", ename="ValueError", evalue="no", traceback=[])
    assert faults(executed(outputs=[error])) == ["cell In[2] raised ValueError: no"]
    warning = new_output("stream", name="stderr", text="\nUserWarning: x\nmore")
    assert faults(executed(outputs=[warning])) == ["cell In[2] wrote to stderr: UserWarning: x"]
    allowed = executed(outputs=[warning])
    allowed.cells[-1].metadata["tags"] = ["allow-stderr"]
    assert faults(allowed) == []
    assert faults(executed(source="  ", execution_count=None)) == []


def test_tidy_removes_what_differs_between_runs() -> None:
    done = executed(outputs=[new_output("stream", name="stdout", text="<object at 0x7f01> ok")])
    done.metadata["papermill"] = {"parameters": {}, "version": "2", "duration": 3.2, "input_path": "a"}
    done.cells[-1].metadata["papermill"] = {"start_time": "now"}
    tidy(done)
    assert done.cells[-1].outputs[0].text == "<object> ok"
    assert done.metadata["papermill"] == {"parameters": {}, "version": "2"}
    assert "papermill" not in done.cells[-1].metadata


def test_publish_leaves_no_other_file(tmp_path: Path) -> None:
    publish(executed(), tmp_path / "deep" / "a.ipynb")
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["a.ipynb"]


def test_two_runs_are_byte_identical_and_a_failed_one_changes_nothing(source: Path, tmp_path: Path) -> None:
    target, scratch = tmp_path / "out" / "a.ipynb", tmp_path / "partial"
    run_notebook(source, target, {"seeds": [4, 5]}, scratch=scratch)
    first = target.read_bytes()
    assert "controls 9 <object object>" in read_notebook(target).cells[-1].outputs[0].text
    assert not list(scratch.iterdir())
    run_notebook(source, target, {"seeds": [4, 5]}, scratch=scratch)
    assert target.read_bytes() == first
    nbformat.write(notebook(COUNT, "raise RuntimeError('planted')", "print('later')"), source)
    with pytest.raises(ResultError, match=r"cell In\[3\] raised RuntimeError: planted"):
        run_notebook(source, target, {}, scratch=scratch)
    assert target.read_bytes() == first
    assert [path.name for path in scratch.iterdir()] == ["out-a.ipynb"]


def test_a_killed_run_leaves_the_old_result_and_no_kernel(tmp_path: Path) -> None:
    source, target, marker = tmp_path / "a.ipynb", tmp_path / "out" / "a.ipynb", tmp_path / "kernel"
    wait = f"import os, pathlib, time\npathlib.Path({str(marker)!r}).write_text(str(os.getpid()))\ntime.sleep(60)"
    nbformat.write(notebook(wait), source)
    target.parent.mkdir()
    target.write_text("old")
    process = subprocess.Popen(
        [*RUN, str(source), str(target)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not (marker.is_file() and marker.read_text()) and time.monotonic() < deadline:
        time.sleep(0.1)
    kernel = int(marker.read_text())
    process.send_signal(signal.SIGTERM)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130 and "unchanged" in error
    assert target.read_text() == "old"
    while Path(f"/proc/{kernel}").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not Path(f"/proc/{kernel}").exists()


def test_notebooks_that_run_at_the_same_time_do_not_disturb_each_other(source: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    targets = [tmp_path / f"{name}.ipynb" for name in "ab"]
    running = [subprocess.Popen([*RUN, str(source), str(target)], env=environment, cwd=tmp_path) for target in targets]
    assert [process.wait(timeout=120) for process in running] == [0, 0]
    assert all(faults(read_notebook(target)) == [] for target in targets)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["03_example.ipynb", "a.ipynb", "b.ipynb"]


def test_exit_status_and_one_line_messages(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["book", "run", str(source), str(tmp_path / "b.ipynb"), "-p", "sedes=[1]"]) == 2
    assert "did you mean 'seeds'?" in capsys.readouterr().err
    assert main(["book", "run", str(tmp_path / "none.ipynb"), str(tmp_path / "b.ipynb")]) == 2
    assert "no such notebook" in capsys.readouterr().err
    assert main(["book", "check", str(source)]) == 1
    assert "was not run" in capsys.readouterr().err
    (tmp_path / "torn.ipynb").write_text('{"cells": [')
    assert main(["book", "check", str(tmp_path / "torn.ipynb")]) == 2
    assert "not a Jupyter notebook" in capsys.readouterr().err


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository of one notebook with one stored run."""
    monkeypatch.setenv("LMMREC_HOME", str(tmp_path))
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "lmmrec_core").mkdir()
    (tmp_path / "lmmrec_core" / "a.py").write_text("A = 1\n")
    run = tmp_path / "results" / "controls" / "set" / "bpr-0123"
    run.mkdir(parents=True)
    (run / "run.json").write_text("{}")
    nbformat.write(notebook(), tmp_path / "notebooks" / "01_one.ipynb")
    return tmp_path


def digests(root: Path) -> dict[str, str]:
    package = package_digest(root)
    return {page.track: inputs_of(page, root, package) for page in pages(root)}


def test_a_page_depends_on_the_results_that_its_notebook_reads(
    project: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = digests(project)
    monkeypatch.setenv("LMMREC_HOME", str(tmp_path_factory.mktemp("other")))
    after = digests(project)
    assert after["controls"] != before["controls"] and after["paper"] == before["paper"]


def test_a_page_is_out_of_date_when_any_of_its_inputs_changes(project: Path) -> None:
    before = digests(project)
    assert len(set(before.values())) == len(TRACKS) and digests(project) == before
    stored = project / "results" / "controls" / "set" / "bpr-4567"
    stored.mkdir()
    (stored / "run.json").write_text("{}")
    folder = digests(project)
    (project / "results" / "controls" / "set.records.jsonl").write_text("{}\n")  # packed runs
    after = digests(project)
    assert len({found["controls"] for found in (before, folder, after)}) == 3 and after["paper"] == before["paper"]
    (project / "lmmrec_core" / "a.py").write_text("A = 2\n")
    changed = digests(project)
    assert all(changed[track] != after[track] for track in TRACKS)
    nbformat.write(notebook("print(1)"), project / "notebooks" / "01_one.ipynb")
    assert digests(project)["paper"] != changed["paper"]


def test_a_notebook_without_a_track_is_one_page_that_no_run_touches_unless_listed(project: Path) -> None:
    nbformat.write(notebook(parameters="k: int = 20  # depth"), project / "notebooks" / "02_once.ipynb")
    (once,) = pages(project, ["shared"])
    assert (once.track, once.values, str(once)) == (None, {}, "shared/02_once")
    assert once.target == project / "book" / "_generated" / "shared" / "02_once.ipynb"
    assert [page.source.stem for page in pages(project)] == [*["01_one"] * len(TRACKS), "02_once"]
    package = package_digest(project)
    before = inputs_of(once, project, package)
    (project / "results" / "controls" / "set" / "bpr-0123" / "run.json").write_text('{"a": 1}')
    assert inputs_of(once, project, package) == before
    assert inputs_of(once, project, "another package") != before
    (project / "results" / "calibration").mkdir()
    (project / "results" / "calibration" / "null.jsonl").write_text("{}\n")
    assert inputs_of(once, project, package) != before
    # a listing is held against the runs of its track
    (project / "results" / "calibration" / "mde-controls.csv").write_text("x\n")
    listed = inputs_of(once, project, package)
    (project / "results" / "controls" / "set" / "bpr-0123" / "run.json").write_text('{"a": 2}')
    assert inputs_of(once, project, package) != listed


def test_labels_of_a_page_of_no_track_stay_as_they_are(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "(here)=\n# Title\n\nSee {ref}`here` and [](#there).\n\n(there)=\n## Below"
    for name, parameters in (("01_one", PARAMETERS), ("02_once", "k: int = 20  # depth")):
        made = notebook(parameters=parameters)
        made.cells[0].source = text
        nbformat.write(made, project / "notebooks" / f"{name}.ipynb")
    found = {}

    def keep(source: Path, target: Path, values: dict, *, scratch: Path, finish: Callable) -> None:
        executed = read_notebook(source)
        finish(executed)
        found[source.stem] = (executed.cells[0].source, values, executed.metadata["lmmrec"]["track"])

    monkeypatch.setattr("lmmrec_core.book.execution.run_notebook", keep)
    execute_page(project, "controls", "01_one")
    execute_page(project, "shared", "02_once")
    assert found["02_once"] == (text, {}, None)
    assert "(controls-here)=" in found["01_one"][0] and "{ref}`controls-here`" in found["01_one"][0]
    with pytest.raises(ConfigError, match="unknown notebook '01_one'"):
        execute_page(project, "shared", "01_one")


@pytest.mark.parametrize("name", ["set/features/clip-PT-01234567.json", "encoders/clip-PT-01234567.json"])
def test_what_is_known_of_encoders_is_an_input_too(project: Path, name: str) -> None:
    before = digests(project)
    path = project / "results" / "controls" / name
    path.parent.mkdir(parents=True)
    path.with_name(".partial-clip-PT-01234567.json").write_text("{}")
    assert digests(project) == before
    path.write_text("{}")
    after = digests(project)
    assert after["controls"] != before["controls"] and after["paper"] == before["paper"]


def test_only_a_whole_notebook_counts_as_up_to_date(tmp_path: Path) -> None:
    target = tmp_path / "a.ipynb"
    assert stored_inputs(target) is None
    whole = executed()
    whole.metadata["lmmrec"] = {"inputs": "abc"}
    nbformat.write(whole, target)
    assert stored_inputs(target) == "abc"
    whole.cells[-1].execution_count = None
    nbformat.write(whole, target)
    assert stored_inputs(target) is None
    target.write_text("torn")
    assert stored_inputs(target) is None


def test_missing_and_foreign_results_are_named(project: Path) -> None:
    foreign = executed()
    foreign.metadata["papermill"] = {"parameters": {"track": "paper", "seeds": [1]}}
    target = project / "book" / "_generated" / "controls" / "01_one.ipynb"
    publish(foreign, target)
    found = unfit(project)
    assert any(line.startswith("controls/01_one: run with {'seeds': [1], 'track': 'paper'}") for line in found)
    assert any(line.startswith("films/01_one: not executed yet") for line in found)


def test_labels_get_the_track_in_front_and_references_follow() -> None:
    one = notebook()
    references = "{numref}`tab:x`, {ref}`see <rq1>`, [go](#rq1)"
    one.cells[0].source = f"(rq1)=\n# RQ1\n\n```{{glue-table}} t\n:name: tab:x\n```\n{references}"
    one.cells[-1].metadata["mystnb"] = {"figure": {"name": "fig:a", "caption": "as {numref}`tab:x`, {cite:p}`key`"}}
    labels = labels_of([one])
    assert labels == {"rq1", "tab:x", "fig:a"}
    prefix_labels(one, "controls", labels)
    text = one.cells[0].source
    assert "(controls-rq1)=" in text and ":name: controls-tab:x" in text
    assert "{numref}`controls-tab:x`, {ref}`see <controls-rq1>`, [go](#controls-rq1)" in text
    figure = one.cells[-1].metadata["mystnb"]["figure"]
    assert figure == {"name": "controls-fig:a", "caption": "as {numref}`controls-tab:x`, {cite:p}`key`"}


def test_references_to_other_pages_of_the_book_keep_their_labels() -> None:
    one = notebook()
    one.cells[0].source = "{ref}`splits` and {numref}`tab:other`"
    prefix_labels(one, "paper", {"tab:other"})
    assert one.cells[0].source == "{ref}`splits` and {numref}`paper-tab:other`"
