"""``lmmrec compare``: two stored results, by hand and by scipy."""

import json

import numpy as np
import pytest
from scipy import stats

from lmmrec_core.results.store import ResultStore
from tests.cli.shops import told, write_rows


@pytest.fixture
def plain(tmp_path):
    """50 users, 40 items, without content."""
    folder = tmp_path / "plain"
    folder.mkdir()
    rng = np.random.default_rng(3)
    rows = [(u, int(i)) for u in range(50) for i in np.flatnonzero(rng.random(40) < np.linspace(0.4, 0.1, 40))]
    write_rows(folder, "user_id,item_id", [f"u{u},i{i}" for u, i in rows])
    return folder


def key_of_run(capsys, folder, model, *more):
    return json.loads(told(capsys, "run", "--data", folder, "--model", model, "--quiet", "--json", *more))["key"]


def bpr(capsys, folder, seed=1):
    more = ("--set", "steps=30", "--set", "embedding_dim=4", "--seed", seed)
    return key_of_run(capsys, folder, "bpr", *more)


def test_two_runs_are_compared_over_users(plain, tmp_path, capsys):
    one, two = bpr(capsys, plain), key_of_run(capsys, plain, "popularity")
    found = json.loads(told(capsys, "compare", one, two, "--metrics", "ndcg@20,recall@5", "--json"))
    store = ResultStore(tmp_path / "home" / "results")
    a, b = (store.load_record(store.find_records(key=key)[0]).values("ndcg@20") for key in (one, two))
    row = found["metrics"][0]
    expected = stats.ttest_rel(a, b)
    assert row["p"] == pytest.approx(expected.pvalue, rel=1e-9) and row["test"] == "users"
    assert (row["ci_low"], row["ci_high"]) == pytest.approx(tuple(expected.confidence_interval()), rel=1e-9)
    assert [row["wins"], row["losses"], row["ties"]] == [(a > b).sum(), (a < b).sum(), (a == b).sum()]
    assert found["metrics"][1]["metric"] == "recall@5"
    out = told(capsys, "compare", one, two)
    assert "is not\ntestable here" in out and "users gained" in out


def test_a_folder_of_a_run_is_as_good_as_its_key(plain, tmp_path, capsys):
    one, two = bpr(capsys, plain), key_of_run(capsys, plain, "popularity")
    folders = [next((tmp_path / "home" / "results" / "user" / "plain").glob(f"*-{key}")) for key in (one, two)]
    assert told(capsys, "compare", *folders) == told(capsys, "compare", one, two)


def test_several_seeds_make_it_a_test_of_users_and_seeds(plain, capsys):
    ours = ",".join(bpr(capsys, plain, seed) for seed in (1, 2, 3))
    theirs = key_of_run(capsys, plain, "popularity")  # every seed gives the same lists
    found = json.loads(told(capsys, "compare", ours, theirs, "--json"))["metrics"][0]
    alone = json.loads(told(capsys, "compare", ours.split(",")[0], theirs, "--json"))["metrics"][0]
    assert found["test"] == "users and seeds" and found["seeds"] == 3 and alone["test"] == "users"
    assert found["mean_b"] == pytest.approx(alone["mean_b"])


def test_what_cannot_be_compared_is_refused(plain, capsys):
    one, two = bpr(capsys, plain), key_of_run(capsys, plain, "popularity")
    other = key_of_run(capsys, plain, "popularity", "--split-seed", "7")
    assert "of different splits" in told(capsys, "compare", one, other, rc=1)
    assert "is on both sides" in told(capsys, "compare", one, one, rc=1)
    assert "no such run" in told(capsys, "compare", one, "0" * 16, rc=1)
    assert "these do in model" in told(capsys, "compare", f"{one},{two}", two, rc=1)
    assert "names no result" in told(capsys, "compare", ",", two, rc=1)
    assert "--metrics ',' names nothing" in told(capsys, "compare", one, two, "--metrics", ",", rc=1)
    twice = told(capsys, "compare", one, two, "--metrics", "recall@20, recall@20")
    assert twice.count("recall@20 ") == 1  # asked twice, told once
    assert "metric 'recal@20'" in told(capsys, "compare", one, two, "--metrics", "recal@20", rc=1)


def test_each_side_is_shown_as_what_it_is(shop, capsys):
    call = ("--set", "epochs=1", "--set", "threads=1")
    real = key_of_run(capsys, shop, "vbpr", *call, "--set", "embedding_dim=4")
    moved = key_of_run(capsys, shop, "vbpr", *call, "--set", "embedding_dim=4", "--control", "shuffled")
    wide = key_of_run(capsys, shop, "vbpr", *call, "--set", "embedding_dim=8")
    a, b = told(capsys, "compare", real, moved).splitlines()[:2]
    assert a.endswith(f"vbpr on shop, baseline, V&T, seed 1 ({real})")
    assert b.endswith(f"vbpr on shop, baseline, V&T, control shuffled, seed 1 ({moved})")
    a, b = told(capsys, "compare", real, wide).splitlines()[:2]
    assert a.endswith(f"({real}); where they differ: embedding_dim=4") and b.endswith(
        "; where they differ: embedding_dim=8"
    )
    assert "control shuffled" in json.loads(told(capsys, "compare", real, moved, "--json"))["b"]
