"""A metric of another installed package: known by its entry point, and measured on stored runs without training."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lmmrec_core.errors import ConfigError, ResultError
from lmmrec_core.metrics import METRICS
from lmmrec_core.metrics.again import measured_again
from lmmrec_core.metrics.evaluate import evaluate_lists
from lmmrec_core.report.tables import table3
from lmmrec_core.results.store import key_of
from lmmrec_core.study.cases import Case, declared_digest
from lmmrec_core.study.study import Study
from tests.metrics.splits import random_lists, random_split

SOURCE = '''
"""A package of somebody else."""

from lmmrec_core.metrics.ranking import check_hits


def first_hit(hits, n_relevant, k):
    """Reciprocal rank of the first hit among the first k, 0 without one."""
    check_hits(hits, n_relevant, k)
    rank = hits[:, :k].argmax(axis=1) + 1
    return hits[:, :k].any(axis=1) / rank
'''


@pytest.fixture
def guest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Installed as pip would: a module, and a dist-info folder that names it."""
    site = tmp_path / "site"
    info = site / "somebodys_metrics-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "somebodys_metrics.py").write_text(SOURCE, encoding="utf-8")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: somebodys-metrics\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text("[lmmrec.metrics]\nmrr = somebodys_metrics:first_hit\n", encoding="utf-8")
    monkeypatch.syspath_prepend(site)
    monkeypatch.delitem(METRICS.__dict__, "_places", raising=False)  # as in a process that starts now
    yield "mrr"
    METRICS.__dict__.pop("_places", None)
    METRICS._loaded.pop("mrr", None)


@pytest.fixture
def study(tmp_path: Path) -> Study:
    """Two stored runs of the controls: the baseline of two models on the null data set, with random lists."""
    opened = Study.open("controls", seeds=[1], home=tmp_path)
    draw = np.random.default_rng(5)
    split = random_split(draw)
    for control in ("none", "shuffled"):
        case = Case(
            track="controls",
            dataset="null",
            model="vbpr",
            encoder="baseline",
            modalities="V&T",
            control=control,
            seed=1,
        )
        per_user, overall = evaluate_lists(random_lists(split, draw), np.arange(split.n_users), split, "test")
        record = {
            "case": case.model_dump(), "declared": declared_digest(opened.track, case.model_dump()), "overall": overall,
            "settings": {"evaluation": {"k": 50}}, "training": None, "metrics": {}, "features": None, "cost": {},
            "data": {"split": "s"}, "provenance": {"time": "2026-01-01"},
        }  # fmt: skip
        opened.workspace.store.save("controls", "null", case.slug, key_of(record["case"]), record, per_user)
    return opened


def test_it_is_known_by_name_and_by_its_values(guest: str, study: Study) -> None:
    assert METRICS.guests == (guest,)
    result = study.results("rq3")[0]
    assert f"{guest}@10" not in result.per_user
    first = [ranks[0] if len(ranks) and ranks[0] <= 10 else np.inf for ranks in result.per_user["hit_ranks"]]
    assert result.values("mrr@10").tolist() == pytest.approx([1 / rank for rank in first])
    assert result.mean("mrr@10") == pytest.approx(np.mean([1 / rank for rank in first]))


def test_tables_and_comparisons_show_it(guest: str, study: Study) -> None:
    results = study.results("rq3")
    table = table3(results, ["null"], ["vbpr"], ["ndcg@20", "mrr@10"])
    assert table.values.loc[("VBPR", "VBPR"), ("Null", "mrr@10")] == results[0].mean("mrr@10")
    tests = study.comparisons("rq3", ["mrr@10"])
    assert [str(pair) for pair in tests["pair"]] == ["baseline real / shuffled"]
    assert tests["difference"].item() == pytest.approx(results[0].mean("mrr@10") - results[1].mean("mrr@10"))


def test_what_was_stored_is_measured_again_bit_by_bit(study: Study) -> None:
    result = study.results("rq3")[0]
    for name in ("recall@10", "ndcg@20", "precision@10", "map@20"):
        pd.testing.assert_series_equal(measured_again(result, name), result.per_user[name], check_exact=True)
    assert 0 < result.mean("recall@5") < result.mean("recall@50") and result.mean("ndcg_lattice@20") > 0


def test_what_was_not_kept_is_refused(study: Study) -> None:
    result = study.results("rq3")[0]
    with pytest.raises(ResultError, match="recall@51: a run keeps its hits up to rank 50; choose 1 ≤ k ≤ 50"):
        result.mean("recall@51")
    shallow = replace(result, record={**result.record, "settings": {"evaluation": {"k": 20}}})
    with pytest.raises(ResultError, match="up to rank 20"):
        shallow.mean("recall@21")
    for unknown in ("mrr@10", "recall", "recall@x"):
        with pytest.raises(KeyError):
            result.values(unknown)
        with pytest.raises(ResultError, match="no metric"):
            table3([result], ["null"], ["vbpr"], [unknown])
        with pytest.raises(ResultError, match="unknown metric"):
            study.comparisons("rq3", [unknown])


@pytest.mark.slow
def test_the_contract_of_metrics_is_tested_on_it_too(guest: str, tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/contracts/test_metrics.py"]
    known = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (tmp_path / "site", root)))}
    found = subprocess.run([*command, "-k", guest], cwd=root, env=known, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout  # 5 if no test were selected


def test_two_packages_may_not_bring_one_name(guest: str, tmp_path: Path) -> None:
    other = tmp_path / "site" / "rival-1.0.dist-info"
    other.mkdir()
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: rival\nVersion: 1.0\n", encoding="utf-8")
    (other / "entry_points.txt").write_text("[lmmrec.metrics]\nmrr = rival:mrr\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="metric 'mrr' comes from"):
        list(METRICS)
