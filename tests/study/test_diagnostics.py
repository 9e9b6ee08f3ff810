"""Diagnostics of a tiny data set: computed once, stored whole, read back as one row each."""

import json
from dataclasses import replace

import numpy as np
import pytest

from lmmrec_core.encoders.features.content import make_features
from lmmrec_core.encoders.features.transforms import keep_modalities, rotate
from lmmrec_core.errors import ConfigError, FeatureError, ResultError
from lmmrec_core.results.store import ResultStore
from lmmrec_core.study import diagnostics
from lmmrec_core.study.diagnostics import content_keys, diagnostics_of, has_shared_space, read_diagnostics
from tests.results.samples import save


@pytest.fixture(scope="module")
def features(dataset):
    """Of two encoders, so without a shared space; made here, because training encoders takes longer than all tests."""
    generator, n = np.random.default_rng(0), dataset.catalogue.n_items
    matrices = {m: generator.standard_normal((n, dim), dtype=np.float32) for m, dim in (("visual", 8), ("textual", 6))}
    present = {m: np.arange(n) > 0 if m == "visual" else np.ones(n, dtype=bool) for m in matrices}
    return make_features(matrices, present, {"catalogue": dataset.name})


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(diagnostics, "_SETTINGS", {"k": 10, "seed": 0, "bootstrap": 50})


@pytest.fixture
def calls(monkeypatch):
    """How often the diagnostics were really computed."""
    made = []
    compute = diagnostics.diagnose
    monkeypatch.setattr(diagnostics, "diagnose", lambda *a, **k: made.append(1) or compute(*a, **k))
    return made


def stored(workspace):
    return sorted((workspace.results / "controls" / "complementary" / "features").iterdir())


def test_computed_once_and_read_back(dataset, features, workspace, quick, calls):
    found = diagnostics_of(workspace, dataset, features, "baseline")
    again = diagnostics_of(workspace, dataset, features, "baseline")
    assert again == found and len(calls) == 1
    (path,) = stored(workspace)
    assert path.name == f"baseline-{features.digest[:8]}.json"
    assert path.stat().st_size < 60_000
    record = json.loads(path.read_text())
    assert record["identity"]["split"] == dataset.split.fingerprint and record["filled"] == {"visual": 1, "textual": 0}
    assert found["items"] == dataset.catalogue.n_items and "shared" not in found and "cca" in found
    assert found["graph"]["union"]["reachable"]["value"] > 0


def test_anything_that_determines_the_outcome_makes_it_new(dataset, features, workspace, quick, calls, monkeypatch):
    diagnostics_of(workspace, dataset, features, "baseline")
    other_split = replace(dataset, split=replace(dataset.split, fingerprint="another"))
    diagnostics_of(workspace, other_split, features, "baseline")
    assert len(calls) == 2 and len(stored(workspace)) == 1
    monkeypatch.setattr(diagnostics, "VERSION", 999)
    diagnostics_of(workspace, dataset, features, "baseline")
    assert len(calls) == 3


def test_two_encoders_of_one_data_set_have_two_files(dataset, features, workspace, quick):
    """Nothing is keyed by the data set alone."""
    turned = rotate(features, "visual", 1)
    diagnostics_of(workspace, dataset, features, "baseline")
    diagnostics_of(workspace, dataset, turned, "baseline")
    diagnostics_of(workspace, dataset, features, "clip", paradigm="PT")
    names = [path.name for path in stored(workspace)]
    assert len(names) == 3 and f"clip-PT-{features.digest[:8]}.json" in names
    frame = read_diagnostics(workspace.track, workspace.results)
    assert list(zip(frame["encoder"], frame["paradigm"], strict=True)) == [
        ("baseline", "none"), ("baseline", "none"), ("clip", "PT"),
    ]  # fmt: skip
    assert frame["digest"].tolist() == [features.digest, turned.digest, features.digest]
    same = frame.loc[[0, 1], "graph.union.edges"]
    assert same.nunique() == 1  # a rotation


def test_the_result_store_does_not_see_them(dataset, features, workspace, quick):
    diagnostics_of(workspace, dataset, features, "baseline")
    store = ResultStore(workspace.results)
    assert store.find_records() == []
    save(workspace.results)
    assert len(store.find_records()) == 1
    assert store.find_records(track="controls", dataset="complementary") == []


def test_reading_gives_one_row_each_with_intervals(dataset, features, workspace, quick):
    found = diagnostics_of(workspace, dataset, features, "baseline")
    frame = read_diagnostics(workspace.track, workspace.results)
    assert list(frame.columns[:6]) == ["dataset", "encoder", "paradigm", "digest", "time", "items"]
    row = frame.iloc[0]
    cka = found["pair"]["cka"]
    assert (row["pair.cka"], row["pair.cka.low"], row["pair.cka.high"]) == (cka["value"], cka["low"], cka["high"])
    assert row["graph.visual.edges"] == 10 * dataset.catalogue.n_items
    assert row["dims.visual"] == features.matrices["visual"].shape[1]
    assert row["graph.visual.above_baseline_p99"] == pytest.approx(0.01)  # the baseline against itself
    assert not any("cosine_counts" in name for name in frame.columns)


def test_density_above_the_99th_percentile_of_the_baseline(dataset, features, workspace, quick):
    narrow = replace(features, matrices={m: x + 50 for m, x in features.matrices.items()}, digest="ab" * 32)
    diagnostics_of(workspace, dataset, features, "baseline")
    diagnostics_of(workspace, dataset, narrow, "clip", paradigm="PT")
    frame = read_diagnostics(workspace.track, workspace.results).set_index("encoder")
    assert frame.loc["clip", "graph.visual.above_baseline_p99"] > 0.9


def test_nothing_stored_gives_no_rows(workspace):
    frame = read_diagnostics(workspace.track, workspace.results)
    assert frame.empty and list(frame.columns) == ["dataset", "encoder", "paradigm", "digest", "time", "items"]


def test_a_changed_file_is_named_with_the_cure(dataset, features, workspace, quick):
    diagnostics_of(workspace, dataset, features, "baseline")
    (path,) = stored(workspace)
    path.write_text(path.read_text().replace('"items": 60', '"items": 61'))
    for read in (
        lambda: read_diagnostics(workspace.track, workspace.results),
        lambda: diagnostics_of(workspace, dataset, features, "baseline"),
    ):
        with pytest.raises(ResultError, match=r"baseline-.*\.json: damaged .*delete it"):
            read()
    path.write_text("{")
    with pytest.raises(ResultError, match="damaged"):
        read_diagnostics(workspace.track, workspace.results)


def test_another_version_is_left_out_with_a_warning(dataset, features, workspace, quick, monkeypatch):
    diagnostics_of(workspace, dataset, features, "baseline")
    monkeypatch.setattr(diagnostics, "VERSION", 999)
    with pytest.warns(UserWarning, match="of another version"):
        assert read_diagnostics(workspace.track, workspace.results).empty


def test_nothing_half_written_stays(dataset, features, workspace, quick, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(ResultError, match=r"could not be written \(No space left"):
        diagnostics_of(workspace, dataset, features, "baseline")
    assert stored(workspace) == []


def test_names_and_features_are_checked(dataset, features, workspace):
    with pytest.raises(ConfigError, match="cannot be part of a file name"):
        diagnostics_of(workspace, dataset, features, "../x")
    fewer = replace(features, matrices={m: x[:5] for m, x in features.matrices.items()})
    with pytest.raises(FeatureError, match="pass the features of this data set"):
        diagnostics_of(workspace, dataset, fewer, "baseline")


def test_a_shared_space_is_one_encoder_with_a_vector_meant_to_be_compared(features):
    def spec(vector, weights="w"):
        return {"weights": {"name": weights}, "architecture": {"vector": vector}}

    def judged(visual, textual, **changes):
        card = {"spec": {"encoders": {"visual": visual, "textual": textual}}}
        matrices = {m: np.ones((3, 4), dtype=np.float32) for m in ("visual", "textual")}
        return has_shared_space(replace(features, card=card, **{"matrices": matrices, **changes}))

    assert judged(spec("joint"), spec("joint")) and judged(spec("itc"), spec("itc"))
    assert not judged(spec("cls"), spec("cls"))
    assert not judged(spec("joint"), spec("itc"))
    assert not judged(spec("joint", "a"), spec("joint", "b"))
    uneven = {"visual": np.ones((3, 4), dtype=np.float32), "textual": np.ones((3, 5), dtype=np.float32)}
    assert not judged(spec("joint"), spec("joint"), matrices=uneven)
    assert not has_shared_space(features) and not has_shared_space(keep_modalities(features, ["visual"]))


def test_equal_content_has_equal_keys(dataset):
    catalogue = dataset.catalogue
    texts = ("same", "same", *catalogue.texts[2:])
    images = (catalogue.images[0], None, catalogue.images[0], *catalogue.images[3:])
    text_keys, image_keys = content_keys(replace(catalogue, texts=texts, images=images))
    assert text_keys[0] == text_keys[1] != text_keys[2]
    assert image_keys[1] is None and image_keys[0] == image_keys[2] != image_keys[3]
    gone = replace(catalogue, images=(catalogue.images[0].with_name("gone.png"), *catalogue.images[1:]))
    with pytest.raises(FeatureError, match=r"gone\.png: cannot be read"):
        content_keys(gone)


def test_one_modality_is_diagnosed_alone(dataset, features, workspace, quick):
    found = diagnostics_of(workspace, dataset, keep_modalities(features, ["textual"]), "baseline")
    assert set(found["graph"]) == {"textual"}
    assert read_diagnostics(workspace.track, workspace.results)["graph.textual.reciprocity"].notna().all()
