"""``lmmrec run``: what stands beside a run, the search before it, and the warning of a model below popularity."""

import json
import re

import numpy as np
import pytest
from scipy import stats

from lmmrec_core.cli import main
from lmmrec_core.home import default_home
from lmmrec_core.results.store import ResultStore
from tests.cli.shops import QUICK, told, write_items, write_rows

SHORT = ("--set", "steps=40", "--set", "embedding_dim=4")


@pytest.fixture
def wide(tmp_path):
    """80 users, 60 items in two groups, enough to rank; ready features that say which group an item is of."""
    folder = tmp_path / "wide"
    folder.mkdir()
    rng = np.random.default_rng(5)
    rows = [(u, int(i)) for u in range(80) for i in rng.choice(30, 9, replace=False) + 30 * (u % 2)]
    write_rows(folder, "user_id,item_id", [f"u{u},i{i}" for u, i in rows])
    write_items(folder, dict.fromkeys(range(60), ""))
    group = np.repeat([0.0, 1.0], 30)
    for name in ("visual", "textual"):
        noise = rng.normal(size=(60, 4))
        np.save(folder / f"{name}.npy", np.column_stack([3 * group, noise]).astype("float32"))
    return folder


def run_of(capsys, folder, model, *more):
    return json.loads(told(capsys, "run", "--data", folder, "--model", model, *SHORT, *more, "--json", "--quiet"))


def stored(home, dataset, model):
    """The only stored result of a model."""
    store = ResultStore(home / "results")
    (record,) = store.find_records(dataset=dataset, model=model)
    return store.load_record(record)


def test_what_stands_beside_a_run_is_on_its_split_and_tested_over_users(wide, tmp_path, capsys):
    found = run_of(capsys, wide, "vbpr")
    assert [other["model"] for other in found["beside"]] == ["popularity", "itemknn", "bpr"]
    assert found["beside"][2]["key"] is None and "--twin" in found["beside"][2]["why"]
    home = tmp_path / "home"
    vbpr, floor = (stored(home, "wide", model) for model in ("vbpr", "popularity"))
    assert vbpr.record["data"]["split"] == floor.record["data"]["split"]
    pair = vbpr.values("ndcg@20"), floor.values("ndcg@20")
    expected = stats.ttest_rel(*pair)  # each user once: the sandwich is the variance of the mean of the differences
    told_of = found["beside"][0]["metrics"]["ndcg@20"]
    assert told_of["p"] == pytest.approx(expected.pvalue, rel=1e-9)
    low, high = expected.confidence_interval()
    assert (told_of["ci_low"], told_of["ci_high"]) == pytest.approx((low, high), rel=1e-9)
    assert told_of["difference"] == pytest.approx(float((pair[0] - pair[1]).mean()))
    assert told_of["over"] == "users"


def test_the_twin_is_trained_on_demand_as_the_model_is_and_shown_ever_after(wide, tmp_path, capsys):
    first = run_of(capsys, wide, "vbpr", "--twin")
    assert first["beside"][2]["key"] is not None
    twin = stored(tmp_path / "home", "wide", "bpr")
    assert twin.record["settings"]["training"]["steps"] == 40 and twin.record["settings"]["model"]["embedding_dim"] == 4
    assert run_of(capsys, wide, "vbpr")["beside"] == first["beside"]
    assert "--twin has no effect" in told(capsys, "run", "--data", wide, "--model", "bpr", "--twin", rc=1)


def test_a_run_says_where_its_result_lies_and_that_one_seed_is_not_testable(wide, capsys):
    out = told(capsys, "run", "--data", wide, "--model", "vbpr", *SHORT, "--quiet")
    assert "dropped  nothing" in out
    assert "Popularity" in out and "Item-kNN" in out and "95 % interval" in out
    assert "not testable\n  with one seed" in out
    (line,) = (line for line in out.splitlines() if line.startswith("result "))
    assert (line.split()[1] + "/").count("/results/user/wide/vbpr-") == 1
    out = told(capsys, "run", "--data", wide, "--model", "itemknn", "--quiet")
    assert "Popularity" in out and "not testable" not in out  # nothing is drawn


def test_a_model_below_popularity_is_told(wide, capsys):
    call = ["run", "--data", str(wide), "--quiet", "--model"]
    spoilt = ["--set", "learning_rate=0.0000001", "--set", "steps=4", "--set", "embedding_dim=4"]
    assert main([*call, "bpr", *spoilt]) == 0
    assert "warning: bpr is below popularity in recall@20: 0." in capsys.readouterr().err
    assert main([*call, "itemknn"]) == 0
    assert "below popularity" not in capsys.readouterr().err


def test_tune_takes_the_best_on_validation_and_begins_with_the_defaults(wide, tmp_path, capsys):
    found = run_of(capsys, wide, "vbpr", "--tune", "3")
    (file,) = (tmp_path / "home" / "results" / "user" / "search").glob("wide-vbpr*.json")
    summary = json.loads(file.read_text())
    assert len(summary["trials"]) == 3 and summary["order"].startswith("the declared settings, then ")
    plain = run_of(capsys, wide, "vbpr")["settings"]
    first = summary["trials"][0]["settings"]
    assert first == {name: {**plain["training"], **plain["model"]}[name] for name in first}
    best = max(summary["trials"], key=lambda trial: trial["valid"])
    assert summary["best"]["valid"] == best["valid"] >= summary["trials"][0]["valid"]
    used = {**found["settings"]["training"], **found["settings"]["model"]}
    assert {name: used[name] for name in summary["best"]["settings"]} == summary["best"]["settings"]
    assert used["steps"] == 40


def test_a_run_says_how_long_it_trained_and_why_no_longer(wide, capsys):
    call = ("run", "--data", wide, "--quiet", "--model")
    assert "trained" not in told(capsys, *call, "popularity"), "it learns nothing"
    short = re.search(
        r"trained +40 steps in \d+ s; kept is step (\d+), with recall@20 ([\d.]+) (.*)",
        told(capsys, *call, "bpr", *SHORT),
    )
    assert 0 < int(short[1]) <= 40 and "all it may take: --set steps=N" in short[3]
    patient = ("--set", "steps=4000", "--set", "patience_steps=20", "--set", "evaluate_steps=10")
    ended = re.search(
        r"trained +(\d+) steps .* kept is step (\d+), .*; none was better after it",
        told(capsys, *call, "bpr", *patient),
    )
    assert int(ended[2]) < int(ended[1]) < 4000


def test_an_item_that_is_opposed_to_all_others_does_not_end_lattice_on_a_shop(wide, capsys):
    rows = np.ones((60, 5), dtype="float32")
    rows[7] = -1  # its ten largest similarities sum to -8
    np.save(wide / "textual.npy", rows)
    call = ("run", "--data", wide, "--quiet", "--model", "lattice", "--modalities", "T", *SHORT)
    assert "recall@20" in told(capsys, *call)
    kept = told(capsys, *call, "--set", "clip_negatives=false", rc=1)
    assert "item 'i7' sum to -8" in kept and "set clip_negatives=true" in kept


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("popularity", "--tune", "3"), "--tune has no effect: no settings of model 'popularity'"),
        (("vbpr", "--tune", "0"), "--tune 0: at least one training"),
        (("vbpr", "--tune", "2", "--set", "reg_weight=1"), "is searched by grid 'study'"),
        (("itemknn", "--keep-model"), "--keep-model: the scores of model 'itemknn' are no product of two vectors"),
    ],
)
def test_what_means_nothing_is_refused(wide, capsys, arguments, message):
    assert message in told(capsys, "run", "--data", wide, "--quiet", "--model", *arguments, rc=1)


def test_a_split_with_a_single_test_user_is_measured_and_nothing_is_tested(tmp_path, capsys):
    folder = tmp_path / "single"
    folder.mkdir()
    rows = [f"u{u},i{(u + n) % 12},train" for u in range(8) for n in range(4)]
    write_rows(folder, "user_id,item_id,split", [*rows, "u0,i5,valid", "u0,i6,test"])
    out = told(capsys, "run", "--data", folder, "--model", "ease", "--quiet")
    assert "not tested: all test users are one" in out and "result " in out and "key " in out
    found = json.loads(told(capsys, "run", "--data", folder, "--model", "ease", "--quiet", "--json"))
    floor = found["beside"][0]
    assert floor["why"] == "not tested: all test users are one"
    assert floor["metrics"]["ndcg@20"] == {"mean": stored(tmp_path / "home", "single", "popularity").mean("ndcg@20")}


def test_checkpoints_that_no_run_takes_up_are_told(shop, capsys):
    """Of a training that was interrupted and whose settings then changed."""
    call = ("run", "--data", shop, "--model", "bpr", *QUICK)
    assert main([str(word) for word in call]) == 0
    assert "checkpoint" not in capsys.readouterr().err
    folder = default_home() / ".cache" / "checkpoints"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "0123456789abcdef.pt").write_bytes(bytes(2**20))
    assert main([str(word) for word in call]) == 0
    said = capsys.readouterr().err
    assert "1 checkpoints of trainings that did not end, 1.0 MiB" in said and str(folder) in said
    assert (folder / "0123456789abcdef.pt").is_file()
