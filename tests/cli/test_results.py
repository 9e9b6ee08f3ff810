"""``lmmrec results`` on the runs of one's own catalogues, and where its files may go."""

import json

import pytest

from tests.cli.shops import QUICK, told


@pytest.fixture
def run(shop, capsys):
    """The record of a run on the shop."""

    def call(*more):
        quick = () if "popularity" in more else QUICK[1:]
        words = ("run", "--data", shop, "--k-core", "1", "--json", "--quiet", *quick, *more)
        return json.loads(told(capsys, *words))

    return call


def test_data_sets_of_the_user_s_track_are_packed_by_name(run, tmp_path, capsys):
    run("--model", "popularity", "--name", "mine")
    packed = told(capsys, "results", "pack", "--track", "user", "--dataset", "mine")
    assert packed.startswith("user/mine: 2 runs packed")  # item-kNN beside it
    (folder,) = (tmp_path / "home" / "results" / "user" / "mine").glob("popularity-*")
    folder.rename(tmp_path / "away")
    assert "1 run folders written" in told(capsys, "results", "unpack", "--track", "user", "--dataset", "mine")
    assert folder.is_dir() and (folder / "run.json").is_file()
    status = told(capsys, "results", "status", "--track", "user")
    assert "plans no cases. Stored runs: mine 2" in status
    assert json.loads(told(capsys, "results", "status", "--track", "user", "--json"))["stored"] == {"mine": 2}
    error = told(capsys, "results", "pack", "--track", "user", "--dataset", "mien", rc=1)
    assert "did you mean 'mine'?" in error
    (folder / "per_user.parquet").write_bytes(b"none")
    assert "these runs are damaged" in told(capsys, "results", "pack", "--track", "user", "--dataset", "mine", rc=1)
    assert "these runs are damaged" in told(capsys, "results", "pack", "--track", "user", rc=1)


def test_a_crate_refuses_damage_of_every_file_of_a_run(run, tmp_path, capsys):
    found = run("--model", "bpr", "--keep-model")
    folder = tmp_path / "home" / "results" / "user"
    (kept,) = folder.glob("shop/bpr-*")
    files = sorted(path for path in kept.iterdir())
    assert [path.name for path in files] == ["model.safetensors", "per_user.parquet", "run.json", "top50.parquet"]
    call = ("results", "crate", "--track", "user", "--out", tmp_path / "crate")
    for file in files:
        content = file.read_bytes()
        file.write_bytes(content[:-9] + bytes([content[-9] ^ 4]) + content[-8:])
        error = told(capsys, *call, rc=1)
        assert file.name in error and "damaged" in error and not (tmp_path / "crate").exists()
        file.write_bytes(content)
    run("--model", "bpr", "--keep-model", "--seed", "2")
    (other,) = (path for path in folder.glob("shop/bpr-*") if path != kept)
    content = files[0].read_bytes()
    files[0].write_bytes((other / "model.safetensors").read_bytes())
    assert "not of the one whose folder it lies in" in told(capsys, *call, rc=1)
    assert "not of the one whose folder" in told(capsys, "recommend", "--model", found["key"], rc=1)
    files[0].write_bytes(content)
    (kept / "notes.txt").write_text("mine")
    told(capsys, *call)
    assert (tmp_path / "crate" / "user" / "shop" / kept.name / "notes.txt").read_text() == "mine"


def test_a_damaged_model_is_made_again_when_it_is_asked_for(run, tmp_path, capsys):
    found = run("--model", "bpr", "--keep-model")
    file = tmp_path / "home" / "results" / "user" / "shop" / f"bpr-s1-{found['key']}" / "model.safetensors"
    file = file if file.exists() else next((tmp_path / "home").rglob("model.safetensors"))
    sound = file.read_bytes()
    file.write_bytes(sound[:-1] + bytes([sound[-1] ^ 1]))
    error = told(capsys, "recommend", "--model", found["key"], rc=1)
    assert "run the case again with --keep-model, which makes another" in error
    with pytest.warns(UserWarning, match="damaged"):
        run("--model", "bpr", "--keep-model")
    told(capsys, "recommend", "--model", found["key"])
    told(capsys, "results", "pack", "--track", "user")
    file.parent.rename(tmp_path / "away")
    error = told(capsys, "recommend", "--model", found["key"], rc=1)
    assert "the run is stored, but not its model" in error
    assert "no run folder" in told(capsys, "recommend", "--model", tmp_path, rc=1)


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("file.txt", "exists already, as a file"), ("full", "exists already, and is not empty"),
        ("link", "exists already, as a link"), ("file.txt/x", "Not a directory"), ("x" * 300, "name too long"),
        ("home/results/user/crate", "where only results may be"),
    ],
)  # fmt: skip
def test_places_where_no_new_folder_can_be_are_told_before_anything_is_done(
    run, tmp_path, capsys, monkeypatch, place, words
):
    run("--model", "popularity")
    (tmp_path / "file.txt").write_text("mine")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "v1.0").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "full")
    monkeypatch.chdir(tmp_path)
    error = told(capsys, "results", "crate", "--track", "user", "--out", place, rc=1)
    assert words in error and "name" in error and len(error) < 400
    if words != "where only results may be":
        for call in (("encode", "--run", "0" * 16, "--items", "."), ("recommend", "--model", "0" * 16)):
            assert "nothing is overwritten" in told(capsys, *call, "--out", place, rc=1)
