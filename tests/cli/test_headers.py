"""Which columns and files of a catalogue are read: the header is judged once, by the reader."""

import gzip

import pytest

from lmmrec_core.data.folder import FolderSettings, read_folder
from tests.cli.shops import mmrec, record, rows_of, told, with_split, write_rows


@pytest.mark.parametrize(
    "header",
    [
        '"user_id","item_id","split"',
        "user_id, item_id, split",
        '"user_id", "item_id", "split"',
        "\ufeffuser_id,item_id,split",
    ],
)
def test_a_split_is_used_however_its_header_is_quoted_or_spaced(shop, capsys, header):
    with_split(shop, header)
    found = record(capsys, "--data", shop, "--model", "popularity")["data"]
    assert (found["rule"], found["train"], found["valid"], found["test"]) == ("given", 120, 30, 30)


@pytest.mark.parametrize(
    "column",
    ["Split", "SPLIT", "x_label", "splits", "spilt", "subset", "fold", "set", "data_split", "split_type", "fold_id",
     "is_test", "isTest", "train_valid_test", "tvt", "holdout", "held_out", "is_eval", "validation", "Training",
     "is_val"],
)  # fmt: skip
def test_a_near_miss_of_the_column_of_parts_is_refused(shop, capsys, column):
    with_split(shop, f"user_id,item_id,{column}")
    for command in (("data", shop), ("run", "--data", shop, "--model", "popularity")):
        assert f"column {column!r} is not read; did you mean 'split'?" in told(capsys, *command, rc=1)


@pytest.mark.parametrize("column", ["phase", "dataset", "type", "mode", "usage"])
@pytest.mark.parametrize(
    "words",
    [
        {}, {"valid": "dev"}, {"train": "Training", "valid": "val"}, {"train": ""}, {"train": "train_set"},
        {"train": "Train set", "test": "TestSet"}, {"train": "0-train", "valid": "1-valid"}, {"train": "is_train"},
        {"train": "trainset", "valid": "validset", "test": "testset"}, {"train": "training data"},
    ],
)  # fmt: skip
def test_a_column_whose_cells_are_parts_is_refused_whatever_its_name(shop, capsys, column, words):
    with_split(shop, f"user_id,item_id,{column}")
    text = (shop / "interactions.csv").read_text()
    for part, word in words.items():
        text = text.replace(f",{part}\n", f",{word}\n")
    (shop / "interactions.csv").write_text(text)
    for command in (("data", shop), ("run", "--data", shop, "--model", "popularity")):
        assert f"column {column!r} is not read, but its cells name parts" in told(capsys, *command, rc=1)


def coded(shop, column, codes, dot=""):
    with_split(shop, f"user_id,item_id,{column}")
    text = (shop / "interactions.csv").read_text()
    for part, code in zip(("train", "valid", "test"), codes, strict=True):
        text = text.replace(f",{part}\n", f",{code}{dot}\n")
    (shop / "interactions.csv").write_text(text)


@pytest.mark.parametrize("column", ["phase", "part_id", "whichSet", "Usage", "kfold", "dataset"])
@pytest.mark.parametrize(("codes", "dot"), [("012", ""), ("123", ""), ("011", ""), ("012", ".0"), ("210", "")])
def test_codes_of_parts_are_refused_under_a_name_that_tells_of_parts(shop, capsys, column, codes, dot):
    coded(shop, column, codes, dot)
    for command in (("data", shop), ("run", "--data", shop, "--model", "popularity")):
        error = told(capsys, *command, rc=1)
        assert f"column {column!r} is not read, but its cells name parts of a split" in error
        assert "rename it 'split' and write train, valid or test" in error


@pytest.mark.parametrize("codes", ["012", "123", "210"])
def test_codes_that_may_be_parts_are_told_under_any_name(shop, codes):
    coded(shop, "kind", codes)
    told_of = r"column 'kind' is not read; if its {} are parts of a split, rename it 'split'"
    with pytest.warns(UserWarning, match=told_of.format(", ".join(sorted(codes)))):
        read_folder(shop, FolderSettings(content=()))


@pytest.mark.parametrize(("column", "codes"), [("flag", "011"), ("price", "013"), ("phase", "019"), ("stage", "000")])
def test_other_numbers_are_no_codes_of_parts(shop, column, codes, recwarn):
    coded(shop, column, codes)
    read_folder(shop, FolderSettings(content=()))
    assert not recwarn


def test_codes_of_parts_in_the_layouts_of_other_toolboxes(tmp_path, capsys):
    folder = mmrec(tmp_path / "toy")
    text = (folder / "toy.inter").read_text()
    (folder / "toy.inter").write_text(text.replace("x_label", "phase", 1))
    assert "rename it 'x_label' and write 0, 1 or 2" in told(capsys, "data", folder, rc=1)
    (tmp_path / "shop").mkdir()
    rows = [f"u{n}\ti{m}\t{(0, 0, 1, 2)[m]}" for n in range(5) for m in range(4)]
    (tmp_path / "shop" / "shop.inter").write_text("\n".join(["user_id:token\titem_id:token\tphase:float", *rows]))
    assert "column 'phase:float' seems to name the parts" in told(capsys, "data", tmp_path / "shop", rc=1)


def test_other_words_beside_parts_are_no_parts(shop, capsys):
    with_split(shop, "user_id,item_id,kind")
    for change in ((",test\n", ",toy\n"), (",valid\n", ",train\n"), (",toy\n", ",train\n")):  # at last train alone
        (shop / "interactions.csv").write_text((shop / "interactions.csv").read_text().replace(*change))
        assert "mmrec" in told(capsys, "data", shop)


def test_an_mmrec_column_whose_cells_are_parts_is_refused(tmp_path, capsys):
    folder = mmrec(tmp_path / "toy")
    text = (folder / "toy.inter").read_text().replace("x_label", "phase", 1)
    for number, part in enumerate(("train", "valid", "test")):
        text = text.replace(f"\t{number}\n", f"\t{part}\n")
    (folder / "toy.inter").write_text(text)
    assert "rename it 'x_label'" in told(capsys, "data", folder, rc=1)


@pytest.mark.parametrize(
    ("column", "wanted"), [("Rating", "rating"), ("ratings", "rating"), ("time_stamp", "timestamp")]
)
def test_a_near_miss_of_another_optional_column_is_refused(shop, capsys, column, wanted):
    write_rows(shop, f"user_id,item_id,{column}", [",".join(line.split(",")[:3]) for line in rows_of(shop)])
    assert f"did you mean {wanted!r}?" in told(capsys, "data", shop, rc=1)


def test_columns_of_other_names_do_no_harm(shop, capsys):
    write_rows(
        shop, "user_id,item_id,device,price", [",".join(line.split(",")[:2]) + ",phone,3" for line in rows_of(shop)]
    )
    assert "mmrec" in told(capsys, "data", shop)


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16", "utf-16-be"])
def test_interactions_in_another_encoding_are_refused_by_every_command(shop, capsys, encoding):
    text = (shop / "interactions.csv").read_text().replace("u0,", "josé,")
    (shop / "interactions.csv").write_bytes(text.encode(encoding))
    for command in (
        ("data", shop), ("run", "--data", shop, "--model", "ease"), ("features", "--catalogue", shop),
        ("search", "--catalogue", shop, "--model", "itemknn"), ("export-mmrec", shop, shop / "out"),
    ):  # fmt: skip
        error = told(capsys, *command, rc=1)
        assert "interactions.csv" in error and "save the file as UTF-8" in error and len(error.splitlines()) == 1


@pytest.mark.parametrize(
    ("encoding", "words"), [("utf-16-le", "UTF-16"), ("utf-16-be", "UTF-16"), ("utf-32", "UTF-32")]
)
def test_wide_letters_are_told_as_such_with_or_without_a_mark(shop, capsys, encoding, words):
    (shop / "interactions.csv").write_bytes((shop / "interactions.csv").read_text().encode(encoding))
    error = told(capsys, "data", shop, rc=1)
    assert words in error and "save the file as UTF-8" in error and len(error.splitlines()) == 1


def test_compressed_tables_are_read(shop, capsys):
    plain = record(capsys, "--data", shop, "--model", "ease")["metrics"]
    (shop / "interactions.csv.gz").write_bytes(gzip.compress((shop / "interactions.csv").read_bytes()))
    assert "interactions.csv and interactions.csv.gz; keep one" in told(capsys, "data", shop, rc=1)
    (shop / "interactions.csv").unlink()
    assert record(capsys, "--data", shop, "--model", "ease")["metrics"] == plain
    (shop / "interactions.csv.gz").rename(shop / "rows.csv.gz")
    assert record(capsys, "--data", shop, "--model", "ease", "--interactions", "rows.csv.gz")["metrics"] == plain


def test_an_mmrec_folder_comes_without_its_column_of_parts(tmp_path, capsys):
    folder = mmrec(tmp_path / "toy", labelled=False)
    assert record(capsys, "--data", folder, "--model", "ease")["data"]["rule"] == "mmrec"
    (folder / "toy.inter").write_text((folder / "toy.inter").read_text().replace("timestamp", "label", 1))
    assert "did you mean 'x_label'?" in told(capsys, "data", folder, rc=1)
