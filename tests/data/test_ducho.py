"""Ducho's folders, by hand: one file per item, below backend, model and layer."""

import numpy as np
import pytest

from lmmrec_core.data import recognise
from lmmrec_core.data.ducho import DuchoSettings, read_ducho
from lmmrec_core.errors import DataError
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
        DataError, match=r"visual features of 2 models or layers: torch/ResNet50/avgpool, torch/VGG19/fc"
    ):
        read_ducho(folder)
    chosen = read_ducho(folder, DuchoSettings(visual="torch/VGG19/fc"))
    assert chosen.ready_features["visual"].shape == (3, 5)
    with pytest.raises(DataError, match=r"no visual features 'torch/VGG/fc'; there are torch/ResNet50/avgpool, "):
        read_ducho(folder, DuchoSettings(visual="torch/VGG/fc"))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (("ann\tB1\tgood",), r"reviews\.tsv line 1: rating 'good' is not a number.*this file has no header: remove"),
        (("ann B1",), r"reviews\.tsv line 1: 1 cells; write user, item and"),
        (("ann\t7\t3", "\t7\t3"), r"reviews\.tsv line 2: user is empty"),
        ((), r"reviews\.tsv: no interactions; add some"),
        (("ann\tnobody\t3",), r"no vector of 1 of 1 items in reviews\.tsv, for instance 'nobody'"),
        (("ann\t../../../secret\t3",), r"no vector of 1 of 1 items in reviews\.tsv, for instance '\.\./"),
    ],
)
def test_what_cannot_be_read_is_named_with_its_place(tmp_path, rows, message):
    with pytest.raises(DataError, match=message):
        read_ducho(layout(tmp_path / "toy", rows))


def test_vectors_must_be_numbers_of_one_length(tmp_path):
    folder = layout(tmp_path / "toy")
    write(folder, "visual_embeddings_1", VISUAL, "7", np.ones((1, 4)))
    with pytest.raises(DataError, match=r"7\.npy: 4 numbers, 10\.npy has 3|10\.npy: 3 numbers, 7\.npy has 4"):
        read_ducho(folder)
    write(folder, "visual_embeddings_1", VISUAL, "7", np.full((1, 3), np.nan))
    with pytest.raises(DataError, match="NaN or infinity"):
        read_ducho(folder)
    np.save(folder / "visual_embeddings_1" / VISUAL / "7.npy", np.array([{"a": 1}]), allow_pickle=True)
    with pytest.raises(DataError, match=r"7\.npy"):
        read_ducho(folder)


def test_no_file_outside_the_folder_is_read(tmp_path):
    folder = layout(tmp_path / "toy")
    link_outside(folder / "visual_embeddings_1" / VISUAL / "7.npy", tmp_path / "outside.npy")
    with pytest.raises(DataError, match="a link out of the folder"):
        read_ducho(folder)
