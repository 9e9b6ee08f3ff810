"""From an entry of a track file to weights, features and end-to-end runs, on a toy track."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from lmmrec_core.data.controls import write_outside_items
from lmmrec_core.disk import read_sealed, write_sealed
from lmmrec_core.encoders.features.store import FeatureStore
from lmmrec_core.encoders.pictures.reading import read_picture
from lmmrec_core.errors import ConfigError, FeatureError
from lmmrec_core.names import TRACKS
from lmmrec_core.recommenders import RECOMMENDERS
from lmmrec_core.study.cases import Case, declared_digest
from lmmrec_core.study.declared.track_file import read_track
from lmmrec_core.study.diagnostics import read_diagnostics
from lmmrec_core.study.features import load_features
from lmmrec_core.study.inputs import prepare_cases
from lmmrec_core.study.run import features_of, plan, run_case
from lmmrec_core.study.study import Study
from lmmrec_core.study.weights import notes
from lmmrec_core.study.weights.making import trained_encoder
from lmmrec_core.study.weights.pretraining_items import outside_items
from lmmrec_core.study.weights.recipes import PretrainSettings, read_entry, recipe_of
from lmmrec_core.study.weights.records import read_encoder_records

E2 = {"reading": "e2", "part": "all", "boundary": "encode", "updates_per_epoch": 1, "encoder_learning_rate": 0.001}


def case_of(model="vbpr", encoder="clip", paradigm="PT", **fields):
    cell = {"track": "controls", "dataset": "complementary", "encoder": encoder, "modalities": "V&T", **fields}
    return Case.build({**cell, "model": model, "paradigm": paradigm}, "case")


def changed(track, encoder="clip", **parts):
    entry = {**track.encoders[encoder], **parts}
    return track.model_copy(update={"encoders": {**track.encoders, encoder: entry}})


@pytest.mark.parametrize("name", [*TRACKS, "user"])
def test_entries_of_the_track_files_are_valid(name):
    track = read_track(name)
    for encoder, entry in track.encoders.items():
        if "encoder" in entry:
            assert read_entry(track, encoder).encoder == entry["encoder"]


def test_misspelt_settings_of_an_entry_are_refused(track):
    with pytest.raises(ConfigError, match=r"encoders, clip.*lerning_rate.*learning_rate"):
        read_entry(changed(track, fine_tune={"lerning_rate": 1}), "clip")
    with pytest.raises(ConfigError, match="clip-tini"):
        read_entry(track.model_copy(update={"encoders": {"clip": {"encoder": "clip-tini"}}}), "clip")


def test_the_declared_digest_counts_the_stages_a_case_goes_through(track):
    tuned = changed(track, fine_tune={"epochs": 7})
    joint = changed(track, end_to_end={"reading": "e1"})
    for paradigm, other, same in (
        ("PT", tuned, True),
        ("PT", joint, True),
        ("FT", tuned, False),
        ("ETE", joint, False),
    ):
        digests = {declared_digest(each, case_of(paradigm=paradigm).model_dump()) for each in (track, other)}
        assert (len(digests) == 1) == same, paradigm


def test_recipes_differ_where_weights_do(track, dataset, workspace):
    def key(paradigm, changes=None, catalogue="a", seed=1):
        mine = replace(workspace, track=changed(track, **(changes or {})))
        return recipe_of(mine, "clip", paradigm, replace(dataset, fingerprint=catalogue), seed).key

    assert (
        key("PT")
        == key("ETE")
        == key("PT", {"fine_tune": {"epochs": 9}})
        == key("PT", catalogue="b")
        == key("PT", seed=2)
    )
    assert key("FT") not in (
        key("PT"),
        key("FT", seed=2),
        key("FT", {"fine_tune": {"epochs": 9}}),
        key("FT", catalogue="b"),
    )
    entry = dict(track.encoders["clip"]["pretrain"])
    assert key("PT", {"pretrain": {**entry, "seed": 8}}) != key("PT")
    # how training is carried out is no part of what comes out
    device = {**track.encoders["clip"]["fine_tune"], "checkpoint_seconds": 1}
    assert key("FT", {"fine_tune": device}) == key("FT")
    with pytest.raises(ConfigError, match=r"'clip', FT: .* of a run's seed"):
        key("FT", seed=None)
    with pytest.raises(ConfigError, match="fine_tune: the seed is that of the run"):
        key("FT", {"fine_tune": {"seed": 3}})


@pytest.mark.parametrize("encoder", ["clip", "vlmo"])
def test_weights_are_made_once_and_told_of(encoder, dataset, workspace):
    first = trained_encoder(workspace, encoder, "PT", dataset)
    again = trained_encoder(workspace, encoder, "ETE", dataset)
    tuned = trained_encoder(workspace, encoder, "FT", dataset, 1)
    assert again is not first and (again.stage, tuned.stage) == ("pt", "ft")
    for name, value in first.module.state_dict().items():
        assert torch.equal(value, again.module.state_dict()[name])
    records = read_encoder_records(workspace.track, workspace.results)
    assert [(r["stage"], r["dataset"]) for r in records] == [("PT", None), ("FT", "complementary")]
    assert records[1]["parent"] == records[0]["weights"]
    assert records[0]["levels"]["accuracy"].keys() >= {"visual_hue", "textual_mood"}
    assert all(0 <= share <= 1 for share in records[0]["levels"]["accuracy"].values())
    assert records[1]["seed"] == records[1]["tuning"]["settings"]["seed"] == 1
    card = load_features(workspace, dataset, encoder, "FT", 1).card
    specs = card["spec"]["encoders"]
    assert specs["visual"]["weights"] == specs["textual"]["weights"]
    assert specs["visual"]["weights"]["stage"] == "ft"


def test_fine_tuning_is_another_for_each_seed_and_pre_training_is_not(dataset, workspace):
    """The features that the runs of two seeds read, and the record of each; a quarter of the few pairs is held out."""
    runs = [case_of(paradigm=paradigm, seed=seed) for paradigm in ("PT", "FT") for seed in (1, 2)]
    read = [features_of(case, workspace).digest for case in runs]
    assert read[0] == read[1] and len(set(read)) == 3
    plans = [plan(case, workspace) for case in runs]
    assert len({todo.key for todo in plans}) == 4
    tuned = [r for r in read_encoder_records(workspace.track, workspace.results) if r["stage"] == "FT"]
    assert [r["seed"] for r in tuned] == [1, 2] and tuned[0]["weights"] != tuned[1]["weights"]
    for record in tuned:
        counts, asked = record["tuning"]["pairs"], record["tuning"]["after"]["held_out"]["queries"]
        assert asked == counts["held_out"] > counts["pairs"] * 0.15
    prepare_cases(runs, workspace)  # diagnoses the features of the first seed alone
    found = read_diagnostics(workspace.track, workspace.results)
    assert set(zip(found["paradigm"], found["digest"], strict=True)) == {("PT", read[0]), ("FT", read[2])}


@pytest.mark.parametrize("model", ["vbpr", "mmgcn", "mmgcl", "slmrec", "lattice"])
@pytest.mark.parametrize("encoder", ["clip", "vlmo"])
def test_end_to_end_reaches_the_encoder_under_every_recommender(model, encoder, dataset, workspace):
    before = load_features(workspace, dataset, encoder, "PT")
    case = case_of(model, encoder, "ETE")
    result = run_case(plan(case, workspace), workspace)
    notes = result.record["training"]["features"]
    assert notes["reading"] == "e3" and notes["updates"] > 0
    assert set(notes["feature_change"]) == {"visual", "textual"}
    assert all(change > 0 for change in notes["feature_change"].values())
    assert max(notes["start_difference"].values()) < 1e-4  # it starts from the stored features of PT
    assert load_features(workspace, dataset, encoder, "PT").digest == before.digest


@pytest.mark.parametrize(("encoder", "reading"), [("clip", "e3"), ("clip", "lora"), ("vlmo", "e3")])
def test_the_trained_encoder_encodes_new_items(encoder, reading, dataset, workspace):
    """Rows of a catalogue's items are those the recommender was kept with; those of a new picture and text come out."""
    more = {"end_to_end.part": "lora", "end_to_end.boundary": "encode"} if reading == "lora" else {}
    result = run_case(plan(case_of("vbpr", encoder, "ETE"), workspace, more), workspace)
    trained = Study(workspace, (1,)).trained_encoder(result)
    started = trained_encoder(workspace, encoder, "ETE", dataset)
    assert trained.stage == "ete" and trained.note["ete"]["run"] == result.record["key"]
    rows = {}
    for made in (trained, started):
        items = [0, 3, 7]
        pictures = [read_picture(dataset.catalogue.images[i], "x") for i in items]
        texts = [dataset.catalogue.texts[i] for i in items]
        with torch.no_grad():
            rows[made.stage] = {
                "visual": made.image_vectors(made.preprocess_images(pictures)),
                "textual": made.text_vectors(made.preprocess_texts(texts)),
            }
    spec = {
        "stage": "ete", "run": result.record["key"], "recommender": "vbpr", "seed": 1, "encoder": encoder,
        "parent": load_features(workspace, dataset, encoder, "PT").digest,
    }  # fmt: skip
    kept = FeatureStore(workspace.features).load(result.record["features"]["trained"]["key"], spec)
    for modality, found in rows["ete"].items():
        np.testing.assert_allclose(found.numpy(), kept.matrices[modality][items], rtol=1e-4, atol=1e-5)
        assert float((found - rows["pt"][modality]).abs().max()) > 1e-4
    new = Image.new("RGB", (80, 50), (200, 30, 90))
    with torch.no_grad():
        picture = trained.image_vectors(trained.preprocess_images([new]))
        text = trained.text_vectors(trained.preprocess_texts(["a lamp that nobody has seen"]))
    assert picture.shape == text.shape and torch.isfinite(picture).all() and torch.isfinite(text).all()


def test_a_run_without_a_trained_encoder_or_without_its_file_is_refused(workspace):
    with pytest.raises(ConfigError, match="trained no encoder"):
        Study(workspace, (1,)).trained_encoder(run_case(plan(case_of("vbpr", "clip", "PT"), workspace), workspace))
    result = run_case(plan(case_of("vbpr", "clip", "ETE", seed=77), workspace), workspace)
    (path,) = workspace.encoders.glob(f"clip-tiny-ETE-{result.record['key']}.safetensors")
    path.unlink()
    with pytest.raises(FeatureError, match=r"not in the cache\..* copy the file from there, or `lmmrec ") as missing:
        Study(workspace, (1,)).trained_encoder(result)
    for told in (str(path), "--track controls --dataset complementary --model vbpr", "--seeds 77 --keep-encoder`"):
        assert told in str(missing.value)


def test_the_readings_can_be_chosen_and_are_other_runs(dataset, workspace):
    case, keys, found = case_of("vbpr", "clip", "ETE"), set(), {}
    off = {"boundary": "encode", "updates_per_epoch": 8, "chunk": 64, "encoder_learning_rate": 1e-5, "part": "all"}
    for reading, values in (("e0", off), ("e1", off), ("e2", E2), ("lora", {**E2, "reading": "e3", "part": "lora"})):
        overrides = {f"end_to_end.{key}": value for key, value in {**values, "reading": reading}.items()}
        if reading == "lora":
            overrides["end_to_end.reading"] = "e3"
        todo = plan(case, workspace, overrides)
        keys.add(todo.key)
        found[reading] = run_case(todo, workspace).record["training"]["features"]
    assert len(keys) == 4
    assert found["e0"]["trained_parameters"] == 0 and "feature_change" not in found["e0"]
    assert found["e2"]["trained_parameters"] > found["lora"]["trained_parameters"] > 0
    with pytest.raises(ConfigError, match="needs paradigm ETE"):
        plan(case_of(paradigm="PT"), workspace, {"end_to_end.chunk": 3})
    with pytest.raises(ConfigError, match="chunck"):
        plan(case, workspace, {"end_to_end.chunck": 3})


def test_the_features_of_the_best_epoch_are_kept_and_diagnosed(dataset, workspace):
    start = load_features(workspace, dataset, "clip", "PT")
    kept = {}
    for model, seed in (("vbpr", workspace.track.seeds[0]), ("vbpr", 99), ("lattice", workspace.track.seeds[0])):
        case = case_of(model, "clip", "ETE", seed=seed)
        todo = plan(case, workspace)
        trained = run_case(todo, workspace).record["features"]
        spec = {
            "stage": "ete", "run": todo.key, "recommender": model, "seed": seed, "encoder": "clip",
            "parent": start.digest,
        }  # fmt: skip
        features = FeatureStore(workspace.features).load(trained["trained"]["key"], spec)
        assert features is not None and features.digest == trained["trained"]["digest"]
        assert {m: f.shape for m, f in features.matrices.items()} == {m: f.shape for m, f in start.matrices.items()}
        kept[model, seed] = features.digest
    assert len({start.digest, *kept.values()}) == 4
    rows = read_diagnostics(workspace.track, workspace.results)
    found = {(row["paradigm"], row["digest"]) for row in rows.to_dict("records")}
    assert found == {(f"ETE+{model}", kept[model, workspace.track.seeds[0]]) for model in ("vbpr", "lattice")}


@pytest.mark.parametrize("name", TRACKS)
def test_one_model_stands_under_all_paradigms(name):
    """Whatever has copies of the features by default has none in a track of the study."""
    track = read_track(name)
    with_copies = [m for m, member in RECOMMENDERS.items() if "trainable_features" in member.Settings.model_fields]
    assert set(with_copies) == {"lattice", "freedom", "bm3"}
    assert all(track.models[model]["trainable_features"] is False for model in with_copies)


def test_a_model_that_would_not_see_the_encoder_is_refused(workspace):
    own = {"trainable_features": True}
    models = [plan(case_of("lattice", paradigm=paradigm), workspace).model for paradigm in ("PT", "FT", "ETE")]
    assert models[0] == models[1] == models[2] and not models[0].trains_features
    assert plan(case_of("lattice", paradigm="PT"), workspace, own).model.trains_features
    with pytest.raises(ConfigError, match=r"'lattice' trains copies .* trainable_features=false"):
        plan(case_of("lattice", paradigm="ETE"), workspace, own)


def test_items_of_a_catalogue_are_refused_for_pre_training(track, workspace, tmp_path):
    """A folder that holds one item of the data set too, under another number."""
    data = tmp_path / "data"
    write_outside_items(data / "outside", 5, 30)
    shop = data / "shop"
    write_outside_items(shop, 6, 30)
    source = next((shop / "images").iterdir())
    target = next((data / "outside" / "images").iterdir())
    target.write_bytes(source.read_bytes())
    mine = track.model_copy(
        update={"datasets": {"shop": track.dataset("complementary").model_copy(update={"path": "shop"})}}
    )
    entry = {"encoder": "clip-tiny", "pretrain": {"source": "folder", "path": "outside"}}
    settings = read_entry(mine.model_copy(update={"encoders": {"clip": entry}}), "clip").pretrain
    with pytest.raises(FeatureError, match=r"is in shop as .*(same|alike)"):
        outside_items(replace(workspace, track=mine, data=data), settings)


def test_a_film_is_known_by_its_imdb_id_wherever_a_folder_tells_it(track, workspace, tmp_path):
    """The catalogue's items are named by IMDb ids; those to pre-train on have numbers, and the ids in another file."""
    data = tmp_path / "data"
    for seed, name in enumerate(("outside", "shop"), 5):
        write_outside_items(data / name, seed, 30)
    shop = pd.read_csv(data / "shop" / "items.csv", dtype=str)
    shop.assign(item_id=[f"tt{number:07}" for number in range(500, 530)]).to_csv(
        data / "shop" / "items.csv", index=False
    )
    items = pd.read_csv(data / "outside" / "items.csv", dtype=str)["item_id"]
    settings = PretrainSettings(source="folder", path="outside")
    shops = {"shop": track.dataset("complementary").model_copy(update={"path": "shop"})}
    place = replace(workspace, track=track.model_copy(update={"datasets": shops}), data=data)

    def provenance(first: int) -> None:
        ids = [f"{number:07}" for number in range(first, first + len(items))]
        pd.DataFrame({"item_id": items, "imdb_id": ids}).to_csv(data / "outside" / "item_provenance.csv", index=False)

    provenance(529)
    with pytest.raises(FeatureError, match=rf"item '{items[0]}' .* the same id"):
        outside_items(place, settings)
    provenance(530)
    assert outside_items(place, settings)[1]["disjoint_from"]["shop"]["ids"]


def test_a_file_of_weights_is_known_by_its_content(track, dataset, workspace, tmp_path):
    def key(folder):
        entry = {"encoder": "vlmo-base-plus", "settings": {"weights": "w.pt"}}
        mine = track.model_copy(update={"encoders": {"vlmo": entry}})
        return recipe_of(replace(workspace, track=mine, data=folder), "vlmo", "PT", dataset).key

    for name, content in (("a", b"1"), ("b", b"1"), ("c", b"2")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "w.pt").write_bytes(content)
    assert key(tmp_path / "a") == key(tmp_path / "b") != key(tmp_path / "c")
    with pytest.raises(ConfigError, match="DATA=FOLDER"):
        key(None)
    with pytest.raises(ConfigError, match=r"weights .*w.pt not found"):
        key(tmp_path)


def test_the_record_is_plain(dataset, workspace):
    trained_encoder(workspace, "vlmo", "FT", dataset, 1)
    for record in read_encoder_records(workspace.track, workspace.results):
        assert json.loads(json.dumps(record)) == record


def test_weights_of_uncommitted_code_are_made_again_once_it_is_committed(dataset, workspace, tmp_path, monkeypatch):
    here = replace(workspace, cache=tmp_path / "cache")
    trained_encoder(here, "clip", "PT", dataset)
    (note,) = here.encoders.glob("clip-tiny-PT-*.json")
    record = read_sealed(note)["made"]
    dirty = {"provenance": {**record["provenance"], "commit": "ab" * 20, "dirty": True}}
    write_sealed(note, {"made": record | dirty})
    made = {"commit": "cd" * 20, "dirty": False}
    trained_encoder(here, "clip", "PT", dataset)
    assert read_sealed(note)["made"]["provenance"]["dirty"] is True  # allowed in tests
    monkeypatch.setattr(notes, "allows_uncommitted", lambda: False)
    monkeypatch.setattr(notes, "code_state_now", lambda: "committed")
    monkeypatch.setattr(notes, "provenance", lambda *_: {**record["provenance"], **made})
    trained_encoder(here, "clip", "PT", dataset)
    again = read_sealed(note)["made"]
    assert again["provenance"]["dirty"] is False and again["weights"] == record["weights"]
