"""Ducho's folders, by hand: one file per item, below backend, model and layer."""

import shutil

import numpy as np
import pytest

from lmmrec_core.data import recognise
from lmmrec_core.data.ducho import DuchoSettings, read_ducho
from lmmrec_core.errors import ConfigError, DataError
from tests.data.made import link_outside

ROWS = ("ann\tB1\t4.0", "ann\t7\t5.0", "bob\t7\t3.0", "bob\t10\t2.0")
VISUAL = "torch/ResNet50/avgpool"
TEXTUAL = "sentence_transformers/sentence-transformers/all-mpnet-base-v2/1"  # the model's name has a slash


def layout(folder, rows=ROWS):
    folder.mkdir()
    (folder / "reviews.tsv").write_text("\n".join(rows), encoding="utf-8")
    for number, item in enumerate(("10", "7", "B1", "left-over")):
        write(folder, "visual_embeddings_1", VISUAL, item, np.full((1, 3), number, dtype=np.float32))
        write(folder, "textual_embeddings", TEXTUAL, item, np.full((1, 2), -number, dtype=np.float32))
    return folder


def write(folder, name, layer, item, array):
    (folder / name / layer).mkdir(parents=True, exist_ok=True)
    np.save(folder / name / layer / f"{item}.npy", array)


def test_each_item_gets_its_own_vector(tmp_path):
    folder = layout(tmp_path / "toy")
    assert recognise(folder) == "ducho"
    catalogue = read_ducho(folder)
    assert catalogue.user_ids == ("ann", "bob") and set(catalogue.item_ids) == {"7", "10", "B1"}
    pairs = {
        (catalogue.user_ids[u], catalogue.item_ids[i]) for u, i in zip(catalogue.user, catalogue.item, strict=True)
    }
    assert pairs == {("ann", "B1"), ("ann", "7"), ("bob", "7"), ("bob", "10")}
    number = {"10": 0, "7": 1, "B1": 2}
    for item_id, visual, textual in zip(
        catalogue.item_ids, catalogue.ready_features["visual"], catalogue.ready_features["textual"], strict=True
    ):
        assert visual.tolist() == [number[item_id]] * 3 and textual.tolist() == [-number[item_id]] * 2


def test_ratings_and_modalities_as_asked(tmp_path):
    folder = layout(tmp_path / "toy")
    catalogue = read_ducho(folder, DuchoSettings(min_rating=3, content=("textual",)))
    assert catalogue.counts["rows_below_min_rating"] == 1 and set(catalogue.item_ids) == {"7", "B1"}
    assert set(catalogue.ready_features) == {"textual"}


def test_one_of_several_layers_is_named(tmp_path):
    folder = layout(tmp_path / "toy")
    for item in ("10", "7", "B1"):
        write(folder, "visual_embeddings_1", "torch/VGG19/fc", item, np.ones((1, 5)))
    with pytest.raises(
        DataError, match=r"visual features of 2 models or layers: 'torch/ResNet50/avgpool', 'torch/VGG19/fc'"
    ):
        read_ducho(folder)
    chosen = read_ducho(folder, DuchoSettings(visual="torch/VGG19/fc"))
    assert chosen.ready_features["visual"].shape == (3, 5)
    with pytest.raises(DataError, match=r"no visual features 'torch/VGG/fc'; there are 'torch/ResNet50/avgpool', "):
        read_ducho(folder, DuchoSettings(visual="torch/VGG/fc"))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (("ann\tB1\tgood",), r"reviews\.tsv line 1: rating 'good' is not a number"),
        (("user\titem", "ann\t7"), r"reviews\.tsv line 1: names its columns, and this file has no header; remove the"),
        (("User_ID\tasin\trating", "ann\t7\t1"), r"reviews\.tsv line 1: names its columns"),
        (("ann B1",), r"reviews\.tsv line 1: no tab in it; write user, item and"),
        (("smith, ann,B1,4.0",), r"reviews\.tsv line 1: no tab in it; write user, item and"),
        (("ann\tB1\t4\t1\t2",), r"reviews\.tsv line 1: 5 cells; write user, item and"),
        (("ann\t7\t3", "\t7\t3"), r"reviews\.tsv line 2: user is empty"),
        ((), r"reviews\.tsv: no interactions; add some"),
        (("ann\tnobody\t3", "ann\t7\t3", "ann\tx\t3"), r"no vector of 2 of 3 items in reviews\.tsv: 'nobody', 'x'; e"),
        (("ann\t../../../secret\t3",), r"no vector of 1 of 1 items in reviews\.tsv: '\.\./"),
        (("ann\tB1.jpg\t3",), r"Ducho names a file by what stands before the first dot: write 'B1' there, or"),
    ],
)
def test_what_cannot_be_read_is_named_with_its_place(tmp_path, rows, message):
    with pytest.raises(DataError, match=message):
        read_ducho(layout(tmp_path / "toy", rows))


def test_all_vectors_that_cannot_be_used_are_named_by_their_files_and_once(tmp_path):
    folder = layout(tmp_path / "toy", (*ROWS, "bob\tlong\t1", "ann\twide\t1", "ann\tnan\t1"))
    for item, array in {
        "7": np.ones((1, 4)), "long": np.ones((1, 4)), "wide": np.ones((7, 3)), "nan": np.full((1, 3), np.nan)
    }.items():  # fmt: skip
        write(folder, "visual_embeddings_1", VISUAL, item, array)
        write(folder, "textual_embeddings", TEXTUAL, item, np.ones((1, 2)))
    np.save(folder / "visual_embeddings_1" / VISUAL / "10.npy", np.array([{"a": 1}]), allow_pickle=True)
    write(folder, "visual_embeddings_1", VISUAL, "B1", np.ones((1, 4)))
    write(folder, "visual_embeddings_1", VISUAL, "7", np.ones((1, 3)))
    with pytest.raises(DataError) as told:
        read_ducho(folder)
    first, *faults = str(told.value).splitlines()
    assert first == "4 faults" and len(faults) == 4
    place = f"  {folder / 'visual_embeddings_1' / VISUAL}"
    assert f"{place}/7.npy: 3 numbers, B1.npy has 4; extract both by one layer" in faults  # most have 4
    assert any(fault.startswith(f"{place}/nan.npy: NaN or infinity") for fault in faults)
    assert any(fault.startswith(f"{place}/wide.npy: shape (7, 3) of float64; save one vector") for fault in faults)
    broken = next(fault for fault in faults if fault.startswith(f"{place}/10.npy: not a plain NumPy array file"))
    assert "Python objects, which are never read" in broken and "allow_pickle" not in broken


@pytest.mark.parametrize("shape", [(3,), (1, 3), (1, 3, 1, 1)])
def test_axes_of_length_one_are_no_further_vectors(tmp_path, shape):
    folder = layout(tmp_path / "toy")
    write(folder, "visual_embeddings_1", VISUAL, "7", np.arange(3.0).reshape(shape))
    catalogue = read_ducho(folder)
    assert catalogue.ready_features["visual"][catalogue.item_ids.index("7")].tolist() == [0, 1, 2]


def test_two_folders_of_one_modality_are_told_apart_by_name(tmp_path):
    folder = layout(tmp_path / "toy")
    for item in ("10", "7", "B1"):
        write(folder, "visual_embeddings_2", VISUAL, item, np.ones((1, 5)))
        write(folder, "visual_embeddings_2", "torch/VGG19/fc, 2", item, np.ones((1, 6)))
    one, two = (f"visual_embeddings_{number}/{VISUAL}" for number in (1, 2))
    with pytest.raises(DataError) as told:
        read_ducho(folder)
    assert f"3 models or layers: '{one}', '{two}', 'torch/VGG19/fc, 2'; choose one, as --visual '{one}'" in str(
        told.value
    )
    for wanted, width in ((one, 3), (two, 5), ("torch/VGG19/fc, 2", 6)):
        assert read_ducho(folder, DuchoSettings(visual=wanted)).ready_features["visual"].shape == (3, width)
    with pytest.raises(
        DataError, match=r"no visual features 'torch/ResNet50/avgpool'; there are 'visual_embeddings_1/t"
    ):
        read_ducho(folder, DuchoSettings(visual=VISUAL))


@pytest.mark.parametrize(
    "name", ["visual_embedding", "visual_emb", "image_embeddings", "visual_features", "visaul_embeddings", "embeddings",
             "visual", "visual.npy", "visual_textual_embeddings"],
)  # fmt: skip
def test_a_folder_that_looks_meant_for_features_is_never_passed_over(tmp_path, name):
    folder = layout(tmp_path / "toy")
    (folder / "visual_embeddings_1").rename(folder / "aside")
    if name.endswith(".npy"):
        np.save(folder / name, np.ones((3, 3)))
    else:
        write(folder, name, VISUAL, "7", np.ones((1, 3)))
    with pytest.raises(DataError, match=rf"{name}: is not read; did you mean visual_embeddings\? Give it that name"):
        read_ducho(folder)
    if name != "visual_textual_embeddings":  # which is told whichever of the two is read
        assert set(read_ducho(folder, DuchoSettings(content=("textual",))).ready_features) == {"textual"}
    shutil.rmtree(folder / "textual_embeddings")
    with pytest.raises(DataError, match=rf"did you mean {name} as visual_embeddings\? Give it that name"):
        recognise(folder)


def test_what_is_no_near_miss_is_left_alone(tmp_path):
    folder = layout(tmp_path / "toy")
    (folder / "images").mkdir()
    write(folder, "audio_embeddings", "torchaudio/wav2vec/1", "7", np.ones((1, 3)))
    (folder / "visual_embeddings_1").rename(folder / "Visual-Embeddings")
    assert set(read_ducho(folder).ready_features) == {"visual", "textual"}


def test_features_that_are_asked_for_and_not_there_are_refused(tmp_path):
    folder = layout(tmp_path / "toy")
    shutil.rmtree(folder / "visual_embeddings_1")
    with pytest.raises(DataError, match=r"no folder visual_embeddings, and visual features 'a/b/c' are asked for"):
        read_ducho(folder, DuchoSettings(visual="a/b/c"))
    with pytest.raises(ConfigError, match=r"visual names features, and content has no visual"):
        DuchoSettings.build({"visual": "a/b/c", "content": ["textual"]})


def test_features_without_their_interactions_are_known_for_what_they_are(tmp_path):
    folder = layout(tmp_path / "toy")
    (folder / "reviews.tsv").rename(folder / "Reviews.csv")
    with pytest.raises(
        DataError, match=r"there is no reviews\.tsv; did you mean Reviews\.csv\? Give it that name, and"
    ):
        recognise(folder)


def test_a_line_separator_may_be_in_an_id(tmp_path):
    folder = layout(tmp_path / "toy", ("a\u2028nn\t7\t1", "b,ob\x85\t10\t2"))
    assert set(read_ducho(folder).user_ids) == {"a\u2028nn", "b,ob"}


def test_no_file_outside_the_folder_is_read(tmp_path):
    folder = layout(tmp_path / "toy")
    link_outside(folder / "visual_embeddings_1" / VISUAL / "7.npy", tmp_path / "outside.npy")
    with pytest.raises(DataError, match="a link out of the folder"):
        read_ducho(folder)
