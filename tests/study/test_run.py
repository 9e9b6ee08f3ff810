import json

import pytest

from lmmrec_core.errors import ConfigError
from lmmrec_core.results.store import ResultStore
from lmmrec_core.study.cases import Case
from lmmrec_core.study.datasets import prepare_dataset
from lmmrec_core.study.run import plan, resolve, run_case


def case_of(model="bpr", **fields):
    return Case.build({"track": "controls", "dataset": "complementary", "model": model, **fields}, "case")


@pytest.fixture(scope="module")
def prepared(tiny_places):
    from tests.study.conftest import tiny_track

    return prepare_dataset(tiny_track().dataset("complementary"), "complementary", tiny_places, None)


def test_settings_go_to_the_class_that_has_them(track):
    model, training = resolve(track, "bpr", {"reg_weight": 0.5, "epochs": 3})
    assert model.reg_weight == 0.5
    assert training.epochs == 3


def test_misspelt_setting_names_the_nearest_of_model_and_training(track):
    with pytest.raises(ConfigError, match="unknown setting 'learning_rat'; did you mean 'learning_rate'"):
        resolve(track, "bpr", {"learning_rat": 1})
    with pytest.raises(ConfigError, match="unknown model 'latice'; did you mean 'lattice'"):
        resolve(track, "latice")


def test_key_depends_on_what_determines_the_result_only(track, prepared, tiny_places):
    def key(case, **overrides):
        return plan(case, track, prepared, tiny_places, overrides).key

    base = key(case_of())
    assert key(case_of(), threads=1) == base
    assert key(case_of(), checkpoint_seconds=5.0) == base
    assert key(case_of(), reg_weight=0.7) != base
    assert key(case_of(seed=2)) != base
    content = key(case_of("vbpr", encoder="baseline", modalities="V&T"))
    assert key(case_of("vbpr", encoder="baseline", modalities="V")) != content
    assert key(case_of("vbpr", encoder="baseline", modalities="V&T", control="shuffled")) != content


def test_content_model_without_encoder_is_refused(track, prepared, tiny_places):
    with pytest.raises(ConfigError, match="needs content"):
        plan(case_of("vbpr"), track, prepared, tiny_places)


@pytest.mark.parametrize(
    "case",
    [
        case_of("popularity"),
        case_of("lightgcn"),
        case_of("vbpr", encoder="baseline", modalities="V&T"),
        case_of("lattice", encoder="baseline", modalities="T"),
        case_of("lattice", encoder="baseline", modalities="V&T", control="zero"),
    ],
    ids=lambda case: case.slug,
)
def test_run_is_stored_with_its_identity_and_returned_when_asked_again(case, track, prepared, tiny_places):
    todo = plan(case, track, prepared, tiny_places)
    result = run_case(todo, track, prepared, tiny_places, progress=False)
    assert 0 < result.mean("recall@20") < 1
    folder = ResultStore(tiny_places.results).path_of(todo.key, "controls", "complementary", case.slug)
    before = (folder / "run.json").stat().st_mtime_ns
    again = run_case(todo, track, prepared, tiny_places, progress=False)
    assert (folder / "run.json").stat().st_mtime_ns == before
    assert again.mean("ndcg@20") == result.mean("ndcg@20")
    record = json.loads((folder / "run.json").read_text())
    assert record["data"]["split"] == prepared.split.fingerprint
    assert record["metrics"]["test"]["recall@20"] == pytest.approx(result.mean("recall@20"), abs=1e-12)
    assert len(result.per_user) == len(set(prepared.split.test.user))


def test_the_same_case_computed_twice_gives_the_same_lists(track, prepared, tiny_places, tmp_path):
    from lmmrec_core.study.workspace import Places

    todo = plan(case_of("lattice", encoder="baseline", modalities="V&T", seed=5), track, prepared, tiny_places)
    first = run_case(todo, track, prepared, tiny_places, progress=False)
    elsewhere = Places(results=tmp_path / "results", cache=tiny_places.cache)
    second = run_case(todo, track, prepared, elsewhere, progress=False)
    numbers = [c for c in first.per_user.columns if "@" in c]
    assert first.per_user[numbers].equals(second.per_user[numbers])


def test_statistics_tell_counts_and_feature_widths_of_what_was_run(track, prepared, tiny_places):
    from lmmrec_core.study import Study
    from lmmrec_core.study.statistics import store_statistics

    store_statistics(prepared, track, tiny_places)
    todo = plan(case_of("vbpr", encoder="baseline", modalities="V&T"), track, prepared, tiny_places)
    run_case(todo, track, prepared, tiny_places, progress=False)
    statistics = Study(track, (1,), None, tiny_places).statistics()
    assert statistics.loc["complementary", "users"] == prepared.catalogue.n_users
    assert statistics.loc["complementary", "interactions"] == len(prepared.catalogue.user)
    assert statistics.loc["complementary", ["visual_dim", "textual_dim"]].tolist() == [64, 64]
