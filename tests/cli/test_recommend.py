"""``lmmrec recommend``: a kept model says what the run measured, in the catalogue's own ids, also of new items."""

import csv
import io
import json
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from lmmrec_core.results.store import ResultStore
from tests.cli.shops import HEAD, told, write_items, write_rows

SHORT = ("--quiet", "--set", "steps=60", "--set", "embedding_dim=6")


@pytest.fixture
def wide(tmp_path):
    """60 users, 50 items, ids with zeros and letters; ready features."""
    folder = tmp_path / "wide"
    folder.mkdir()
    rng = np.random.default_rng(7)
    rows = [(u, int(i)) for u in range(60) for i in rng.choice(50, 8, replace=False)]
    write_rows(folder, "user_id,item_id", [f"0{u},i{i}" for u, i in rows])
    write_items(folder, dict.fromkeys(range(50), ""))
    for name, width in (("visual", 5), ("textual", 3)):
        np.save(folder / f"{name}.npy", rng.normal(size=(50, width)).astype("float32"))
    return folder


def kept(capsys, folder, model="vbpr", *more):
    """The run record of a run whose model was kept, and the model's file."""
    call = ("run", "--data", folder, "--model", model, *SHORT, *more, "--keep-model", "--json")
    found = json.loads(told(capsys, *call))
    return found, found["model_file"]


def rows_of(text):
    return list(csv.DictReader(io.StringIO(text)))


@pytest.mark.parametrize("model", ["vbpr", "lightgcn", "mmgcl", "popularity"])
def test_lists_of_a_kept_model_are_those_that_were_measured(wide, tmp_path, capsys, model):
    """Training rows hidden, as the evaluation does, Recall@20 and NDCG@20 of the TREC file are the stored ones.

    They are computed here from the lines of the file alone, sorted by score, as TREC's tools do.
    """
    settings = ("--quiet",) if model == "popularity" else SHORT
    found = json.loads(told(capsys, "run", "--data", wide, "--model", model, *settings, "--keep-model", "--json"))
    out = told(capsys, "recommend", "--model", found["key"], "--hide", "train", "--format", "trec", "--k", "20")
    lines = [line.split(" ") for line in out.splitlines()]
    assert {(len(line), line[1], line[5]) for line in lines} == {(6, "Q0", f"{model}-{found['key']}")}
    store = ResultStore(tmp_path / "home" / "results")
    (record,) = store.find_records(key=found["key"])
    result = store.load_record(record)
    tensors = load_file(found["model_file"])
    users, items = (json.loads(bytes(tensors[f"ids.{side}"].tolist())) for side in ("user", "item"))
    held = {}
    for user, item, part in zip(*(tensors[f"seen.{name}"].tolist() for name in ("user", "item", "part")), strict=True):
        if part == 2:
            held.setdefault(users[user], set()).add(items[item])
    assert sum(map(len, held.values())) == found["data"]["test"]
    for user, wanted in held.items():
        own = sorted(((float(line[4]), line[2], int(line[3])) for line in lines if line[0] == user), reverse=True)
        assert [rank for _, _, rank in own] == list(range(1, 21))  # no tie is left to a tool
        hits = np.array([item in wanted for _, item, _ in own])
        gains = (hits / np.log2(np.arange(20) + 2)).sum() / (1 / np.log2(np.arange(min(len(wanted), 20)) + 2)).sum()
        stored = result.per_user.loc[users.index(user)]
        assert hits.sum() / len(wanted) == pytest.approx(stored["recall@20"], abs=1e-12)
        assert gains == pytest.approx(stored["ndcg@20"], abs=1e-12)


def test_by_default_nothing_that_a_user_knows_is_recommended(wide, capsys):
    found, _ = kept(capsys, wide)
    known = set((wide / "interactions.csv").read_text().splitlines()[1:])
    rows = rows_of(told(capsys, "recommend", "--model", found["key"], "--k", "50"))
    assert {f"{row['user_id']},{row['item_id']}" for row in rows}.isdisjoint(known)
    assert len(rows) == 60 * (50 - 8)  # all others, though 50 were asked for
    assert {row["user_id"] for row in rows} == {f"0{u}" for u in range(60)}
    by_user = pd.DataFrame(rows).astype({"score": float}).groupby("user_id")["score"]
    assert by_user.apply(lambda scores: scores.is_monotonic_decreasing).all()


def test_users_are_named_one_by_one_or_in_a_file(wide, tmp_path, capsys):
    _, file = kept(capsys, wide)
    (tmp_path / "users.txt").write_text("07\n\n03\n")
    call = ("recommend", "--model", file, "--k", "2", "--users")
    rows = rows_of(told(capsys, *call, f"@{tmp_path / 'users.txt'}", "01"))
    assert [row["user_id"] for row in rows] == ["07", "07", "03", "03", "01", "01"]
    assert [row["rank"] for row in rows] == ["1", "2"] * 3
    assert "'7' is not among the 60 users of the run; did you mean '07'?" in told(capsys, *call, "7", rc=1)
    error = told(capsys, *call, "anna", "01", "ben", "anna", rc=1)
    assert "'anna' and 1 more are not among the 60 users of the run; the ids are those of the data" in error
    assert "--k 0" in told(capsys, "recommend", "--model", file, "--k", "0", rc=1)
    assert "neither a run" in told(capsys, "recommend", "--model", "0" * 16, rc=1)


def test_parquet_and_csv_hold_the_same_and_nothing_is_overwritten(wide, tmp_path, capsys):
    found, _ = kept(capsys, wide)
    call = ("recommend", "--model", found["key"], "--k", "5", "--out")
    told(capsys, *call, tmp_path / "lists.csv")
    told(capsys, *call, tmp_path / "lists.parquet", "--format", "parquet")
    text = pd.read_csv(tmp_path / "lists.csv", dtype={"user_id": str, "item_id": str})
    table = pd.read_parquet(tmp_path / "lists.parquet")
    pd.testing.assert_frame_equal(text, table.astype({"score": float}), rtol=1e-8)
    assert "nothing is overwritten" in told(capsys, *call, tmp_path / "lists.csv", rc=1)
    message = told(capsys, "recommend", "--model", found["key"], "--format", "parquet", rc=1)
    assert "name a file with --out" in message


def test_a_result_without_a_model_gets_one_and_stays_what_it_was(wide, capsys):
    call = ("run", "--data", wide, "--model", "vbpr", *SHORT, "--json")
    plain = json.loads(told(capsys, *call))
    message = told(capsys, "recommend", "--model", plain["key"], rc=1)
    assert "the run is stored, but not its model; run it again with --keep-model" in message
    again, file = kept(capsys, wide)
    assert again["metrics"] == plain["metrics"] and again["key"] == plain["key"]
    before = (wide.parent / file).stat().st_mtime_ns
    assert kept(capsys, wide)[0] == again and (wide.parent / file).stat().st_mtime_ns == before  # not trained again


def new_folder(tmp_path, wide, features, items):
    """New items with ready features; the folder has no interactions."""
    folder = tmp_path / "new"
    folder.mkdir()
    (folder / "items.csv").write_text(HEAD + "".join(f"{item},Thing,Maker,Things,A thing,\n" for item in items))
    for name, matrix in features.items():
        np.save(folder / f"{name}.npy", matrix.astype("float32"))
    return folder


@pytest.mark.parametrize("mode", ["reference", "described"])
def test_a_new_item_is_scored_by_its_content_alone(wide, tmp_path, capsys, mode):
    """s(u, new) = q_u · [0; W f + c] (+ w · f as described), with rows of unit length, text first."""
    _, file = kept(capsys, wide, "vbpr", "--set", f"mode={mode}")
    rng = np.random.default_rng(1)
    features = {"visual": rng.normal(size=(3, 5)), "textual": rng.normal(size=(3, 3))}
    new = new_folder(tmp_path, wide, features, ["n1", "i4", "n2"])
    rows = rows_of(told(capsys, "recommend", "--model", file, "--items", new, "--only-new", "--users", "05"))
    assert {row["item_id"] for row in rows} == {"n1", "n2"}  # i4 is known
    tensors = load_file(file)
    unit = [features[m] / np.linalg.norm(features[m], axis=1, keepdims=True) for m in ("textual", "visual")]
    mapped = np.concatenate(unit, axis=1) @ tensors["map.matrix"].numpy().T + tensors["map.offset"].numpy()
    assert (mapped[:, :6] == 0).all()  # no id vector
    scores = dict(zip(["n1", "i4", "n2"], mapped @ tensors["user"][5].numpy(), strict=True))
    assert {row["item_id"]: float(row["score"]) for row in rows} == pytest.approx(
        {item: scores[item] for item in ("n1", "n2")}, rel=1e-4, abs=1e-6
    )
    mixed = rows_of(told(capsys, "recommend", "--model", file, "--items", new, "--users", "05", "--k", "60"))
    assert len(mixed) == 50 - 8 + 2


def test_the_content_part_of_a_known_item_is_what_its_content_maps_to(wide, capsys):
    _, file = kept(capsys, wide)
    tensors = load_file(file)
    rows = [torch.from_numpy(np.load(wide / f"{name}.npy")) for name in ("textual", "visual")]
    order = [int(item[1:]) for item in json.loads(bytes(tensors["ids.item"].tolist()))]
    unit = torch.cat([torch.nn.functional.normalize(matrix[order]) for matrix in rows], dim=1)
    mapped = unit @ tensors["map.matrix"].T + tensors["map.offset"]
    torch.testing.assert_close(mapped[:, 6:], tensors["item"][:, 6:])


def test_a_new_item_without_content_has_the_mean_row_of_the_run(wide, tmp_path, capsys):
    """Encoded, not ready: pictures by one encoder, and one new item has none."""
    from PIL import Image

    for name in ("visual", "textual"):
        (wide / f"{name}.npy").unlink()
    (wide / "images").mkdir()
    for i in range(50):
        Image.new("RGB", (8, 8), (5 * i, 250 - 5 * i, 0)).save(wide / "images" / f"{i}.png")
    write_items(wide, {i: f"images/{i}.png" for i in range(50)})
    _, file = kept(capsys, wide, "vbpr", "--modalities", "V")
    new = tmp_path / "new"
    (new / "images").mkdir(parents=True)
    shutil.copy(wide / "images" / "3.png", new / "images" / "twin.png")
    (new / "items.csv").write_text(HEAD + "twin,T,,,,images/twin.png\nbare,B,,,,\n")
    call = ("recommend", "--model", file, "--items", new, "--only-new", "--users", "05")
    scores = {row["item_id"]: float(row["score"]) for row in rows_of(told(capsys, *call))}
    tensors = load_file(file)
    same = json.loads(bytes(tensors["ids.item"].tolist())).index("i3")  # has the same picture
    content = tensors["user"][5][6:] @ tensors["item"][same][6:]
    assert scores["twin"] == pytest.approx(float(content), rel=1e-3, abs=1e-5)
    row = torch.nn.functional.normalize(tensors["mean.visual"], dim=0)
    expected = tensors["user"][5] @ (tensors["map.matrix"] @ row + tensors["map.offset"])
    assert scores["bare"] == pytest.approx(float(expected), rel=1e-3, abs=1e-5)


def test_models_that_cannot_score_new_items_say_why(wide, tmp_path, capsys):
    new = new_folder(tmp_path, wide, {"visual": np.ones((1, 5)), "textual": np.ones((1, 3))}, ["n1"])
    for model, more, why in (
        ("bpr", (), "reads no content"),
        ("lattice", (), "no function of its own content alone"),
        ("vbpr", ("--control", "noise"), "replaced by a control"),
    ):
        _, file = kept(capsys, wide, model, *more)
        assert why in told(capsys, "recommend", "--model", file, "--items", new, rc=1)
    _, file = kept(capsys, wide)
    assert "--only-new needs new items" in told(capsys, "recommend", "--model", file, "--only-new", rc=1)
    (new / "visual.npy").unlink()
    np.save(new / "visual.npy", np.ones((1, 4), dtype="float32"))
    assert "rows of 4 numbers, the model was trained on 5" in told(
        capsys, "recommend", "--model", file, "--items", new, rc=1
    )


def test_a_changed_file_is_noticed_and_ids_with_blanks_are_no_trec_file(wide, tmp_path, capsys):
    _, file = kept(capsys, wide)
    content = bytearray((tmp_path / file).read_bytes())
    content[-1] ^= 1
    (tmp_path / "changed.safetensors").write_bytes(content)
    message = told(capsys, "recommend", "--model", tmp_path / "changed.safetensors", rc=1)
    assert "damaged" in message and "--keep-model" in message
    (tmp_path / "other.safetensors").write_bytes(b"nothing")
    assert "no kept model" in told(capsys, "recommend", "--model", tmp_path / "other.safetensors", rc=1)
    rows = (wide / "interactions.csv").read_text().replace("05,", "zero five,")
    (wide / "interactions.csv").write_text(rows)
    _, file = kept(capsys, wide)
    assert "'zero five' has blanks" in told(capsys, "recommend", "--model", file, "--format", "trec", rc=1)
