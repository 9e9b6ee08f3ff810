"""A study from packed runs says what it says from run folders; its state is counted."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lmmrec_core.cli import main
from lmmrec_core.flow import Table
from lmmrec_core.metrics.evaluate import evaluate_lists
from lmmrec_core.report.tables import ablation, floor, table3, table4, table5
from lmmrec_core.results.packing import pack
from lmmrec_core.results.store import key_of
from lmmrec_core.study.cases import Case, declared_digest, left_out
from lmmrec_core.study.run import is_done, plan, run_case
from lmmrec_core.study.shown.receipt import STATES
from lmmrec_core.study.study import Study
from lmmrec_core.study.workspace import Workspace
from tests.metrics.splits import random_lists, random_split
from tests.study.conftest import tiny_workspace

METRICS = ["recall@10", "recall@20", "ndcg@20", "map@10", "ndcg_lattice@20", "recall@5"]


@pytest.fixture
def study(tmp_path: Path) -> Study:
    """Every VBPR, LATTICE and BPR run of the controls' null data set, with random lists; one is not trained."""
    opened = Study.open("controls", seeds=[1, 2], home=tmp_path)
    draw = np.random.default_rng(5)
    split = random_split(draw)
    cases = [c for c in opened.cases() if c.dataset == "null" and c.model in ("vbpr", "lattice", "bpr")]
    cases = [c for c in cases if left_out(c, opened.track) is None]
    ete = next(c for c in cases if c.paradigm == "ETE")
    for case in cases:
        frame, overall = evaluate_lists(random_lists(split, draw), np.arange(split.n_users), split, "test")
        means = {name: float(frame[name].mean()) for name in frame if "@" in name}
        described = {
            "case": case.model_dump(), "declared": declared_digest(opened.track, case.model_dump()), "overall": overall,
            "settings": {"evaluation": {"k": 50}}, "metrics": {"test": means}, "features": None,
            "data": {"catalogue": "c", "split": "s", "rule": "mmrec"},
            "training": {"features": {"trained": case != ete}}, "cost": {"seconds": 36.0},
            "provenance": {"time": "2026-01-01", "commit": "c0ffee", "dirty": False},
        }  # fmt: skip
        key = key_of(described["case"])
        opened.workspace.store.save("controls", "null", case.slug, key, described, frame)
    return opened


def pack_away(workspace: Workspace, dataset: str) -> None:
    pack(workspace.store, "controls", dataset)
    for folder in workspace.store.folders("controls", dataset):
        shutil.rmtree(folder)


def told(study: Study) -> tuple[list[Table], list[pd.DataFrame]]:
    """The tables of the paper, of the ablation and of the floor, and the planned comparisons."""
    results, where = study.results(), ["null"]
    tables = [table(results, where, ["vbpr", "lattice"], METRICS) for table in (table3, table4)]
    tables += [table(results, where, ["vbpr", "lattice"], name) for table in (table5, ablation) for name in METRICS]
    tables.append(floor(results, where, ["bpr"], METRICS))
    return tables, [study.comparisons(question, ["ndcg@20", "recall@10"]) for question in ("rq1", "rq2", "rq3")]


def test_every_table_and_comparison_is_the_same_from_an_archive(study: Study) -> None:
    before, state = told(study), study.status()
    pack_away(study.workspace, "null")
    assert not list((study.workspace.results / "controls").glob("null/*"))
    after = told(study)
    assert any((table.origin == "measured").to_numpy().any() for table in before[0])
    for one, other in zip(before[0], after[0], strict=True):
        pd.testing.assert_frame_equal(one.values, other.values, check_exact=True)
        pd.testing.assert_frame_equal(one.origin, other.origin)
        assert one.caption == other.caption
    for some, others in zip(before[1], after[1], strict=True):
        assert len(some) > 0
        pd.testing.assert_frame_equal(some, others, check_exact=True)
    assert study.status() == state


def test_real_runs_are_packed_without_metrics_and_not_made_again(tmp_path: Path) -> None:
    workspace = tiny_workspace(tmp_path / "results", tmp_path / "cache")
    plans = [
        plan(Case(track="controls", dataset="complementary", model=model, seed=1), workspace)
        for model in ("popularity", "itemknn", "bpr")
    ]
    before = [run_case(todo, workspace) for todo in plans]
    pack_away(workspace, "complementary")
    for record in workspace.store.find_records():
        assert record.archived is not None
        assert set(record.archived.measured) == {name for name in before[0].per_user if "@" in name}
    assert all(is_done(todo, workspace) for todo in plans)
    for todo, one in zip(plans, before, strict=True):
        again = run_case(todo, workspace)
        pd.testing.assert_frame_equal(again.per_user, one.per_user, check_exact=True)
        assert again.record == one.record
    assert workspace.store.folders("controls", "complementary") == []


def test_each_planned_case_is_in_one_state(study: Study) -> None:
    found = study.status()
    assert list(found["datasets"]) == list(study.datasets)
    for entry in (*found["datasets"].values(), found["total"]):
        assert entry["planned"] == sum(entry[state] for state in STATES)
    assert found["total"]["planned"] == len(study.cases())
    null, runs = found["datasets"]["null"], len(study.workspace.store.find_records())
    assert (null["not trained"], null["uncommitted"]) == (1, 0)
    assert null["run"] + 1 >= runs > 0  # an arm that changes nothing is the run of its cell
    assert null["training hours"] == pytest.approx(runs * 0.01, abs=1e-3)
    assert found["datasets"]["redundant"]["run"] == 0 < found["datasets"]["redundant"]["not run"]
    assert found["commits"] == {"c0ffee": runs}


def test_the_command_packs_unpacks_and_counts(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LMMREC_HOME", str(tmp_path))
    store = study.workspace.store
    runs = len(store.find_records())
    assert main(["results", "pack"]) == 0
    assert f"controls/null: {runs} runs packed, {runs} of them new, " in (shown := capsys.readouterr().out)
    assert shown.rstrip().endswith("MB")
    for folder in store.folders("controls", "null"):
        shutil.rmtree(folder)
    assert main(["results", "unpack", "--dataset", "null"]) == 0
    assert len(store.folders("controls", "null")) == runs
    capsys.readouterr()
    assert main(["results", "status", "--json"]) == 0
    track = Study.open("controls", home=tmp_path)
    assert json.loads(capsys.readouterr().out) == track.status()
    assert main(["results", "status"]) == 0
    assert f"{runs} runs by c0ffee" in (shown := capsys.readouterr().out) and "not trained" in shown
    assert main(["results", "crate", "--out", str(tmp_path / "crate")]) == 0
    assert "ro-crate-metadata.json" in capsys.readouterr().out and (tmp_path / "crate" / "controls" / "null").is_dir()
    assert main(["results", "crate", "--out", str(tmp_path / "crate")]) == 1
    assert "exists already" in capsys.readouterr().err
    assert main(["results", "pack", "--track", "films"]) == 0
    assert "no run is stored" in capsys.readouterr().out
    assert main(["results", "pack", "--dataset", "nul"]) == 1
    assert "did you mean 'null'" in capsys.readouterr().err
