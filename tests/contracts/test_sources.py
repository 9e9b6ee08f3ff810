"""What every data format promises; runs on each member of SOURCES, so a new member is tested by being added."""

import importlib
import inspect
import json
import pkgutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import lmmrec_core.data as stage
from lmmrec_core.cli import main
from lmmrec_core.data import SOURCES, recognise
from lmmrec_core.data.controls import Controls, ControlSettings
from lmmrec_core.errors import ConfigError, DataError
from lmmrec_core.source import DrawnSource
from lmmrec_core.study.track import DatasetSettings
from tests.contracts.guests import LMMREC, install, run
from tests.data.made import INTERACTIONS, ITEMS, write_csv

READ_AS_FOLDER = ("controls", "movielens")  # their folders are catalogue folders; a track file names the format
TINY = {"kind": "null", "seed": 3, "users": 80, "items": 40}


def rows_of(rows: list, turned: bool) -> list:
    """A header and its rows, the rows in the other order if asked."""
    return [rows[0], *(reversed(rows[1:]) if turned else rows[1:])]


def pictures(folder, names) -> None:
    (folder / "images").mkdir()
    for number, name in enumerate(names):
        Image.new("RGB", (4, 4), (number * 40, 0, 0)).save(folder / "images" / f"{name}.jpg")


def make_folder(folder, turned):
    pictures(folder, ("10", "2", "7", "B1"))
    write_csv(folder / "items.csv", rows_of(ITEMS, turned))
    write_csv(folder / "interactions.csv", rows_of(INTERACTIONS, turned))


def make_mmrec(folder, turned):
    rows = ["userID itemID timestamp x_label", "1 0 30 0", "0 2 10 0", "0 0 20 1", "1 2 5 2"]
    text = "\n".join(rows_of(rows, turned)).replace(" ", "\t")
    (folder / "toy.inter").write_text(text + "\n", encoding="utf-8")
    np.save(folder / "image_feat.npy", np.arange(6.0).reshape(3, 2))


def make_recbole(folder, turned):
    rows = [
        "user_id:token item_id:token rating:float timestamp:float", "ann 7 4 30.0", "ann 10 2 20.0", "bob 7 5 10.0",
        "bob B1 1 5.0",
    ]  # fmt: skip
    (folder / "toy.inter").write_text("\n".join(rows_of(rows, turned)).replace(" ", "\t") + "\n", encoding="utf-8")
    items = ["item_id:token\ttitle:token_seq\tprice:float", "7\tA jug\t2.5", "10\tA cup\t1.0", "B1\tTea\t3.0"]
    (folder / "toy.item").write_text("\n".join(rows_of(items, turned)) + "\n", encoding="utf-8")


def make_lattice(folder, turned):
    (folder / "5-core").mkdir()
    for part, rows in (("train", {"0": [1, 2], "1": [0]}), ("val", {"0": [0]}), ("test", {"1": [2]})):
        rows = dict(rows_of([("0", rows.get("0", [])), *((u, i) for u, i in rows.items() if u != "0")], turned))
        (folder / "5-core" / f"{part}.json").write_text(json.dumps(rows), encoding="utf-8")
    np.save(folder / "text_feat.npy", np.arange(6.0).reshape(3, 2))


def make_ducho(folder, turned):
    rows = ["ann\tB1\t4.0", "ann\t7\t5.0", "bob\t7\t3.0"]
    (folder / "reviews.tsv").write_text("\n".join(rows[:: -1 if turned else 1]), encoding="utf-8")
    layer = folder / "visual_embeddings" / "torch" / "ResNet50" / "avgpool"
    layer.mkdir(parents=True)
    for number, item in enumerate(("7", "B1")):
        np.save(layer / f"{item}.npy", np.full((1, 3), number + 1.0, dtype=np.float32))


def make_parity(folder, turned):
    columns = {"user": [0, 0, 0, 1], "item": [0, 1, 2, 2], "split": [0, 1, 2, 0]}
    np.savez(folder / "interactions.npz", n_users=2, n_items=4,
             **{name: np.array(values[::-1] if turned else values) for name, values in columns.items()})  # fmt: skip
    np.savez(folder / "features.npz", visual=np.ones((4, 2)), text=np.ones((4, 3)))


def make_amazon(folder, turned):
    reviews = [
        {"reviewerID": user, "asin": item, "overall": 5.0, "unixReviewTime": time}
        for user, item, time in (("A1", "B00000000X", 30), ("A1", "0000000007", 20), ("A2", "0000000007", 10))
    ]
    items = [{"asin": item, "title": f"Toy {item}"} for item in ("B00000000X", "0000000007")]
    step = -1 if turned else 1
    (folder / "reviews_Toy_5.json").write_text("\n".join(map(json.dumps, reviews[::step])), encoding="utf-8")
    (folder / "meta_Toy.json").write_text("\n".join(map(repr, items[::step])), encoding="utf-8")
    pictures(folder, ("B00000000X", "0000000007"))


def make_movielens(folder, turned):
    """Six people who like six films: what is left of a smaller folder after the 5-core is nothing."""
    films = [str(number) for number in range(1, 7)]
    pictures(folder, films)
    liked = [["user_id", "item_id", "rating", "timestamp"], *([u, i, "5", u + i] for u in films for i in films)]
    write_csv(folder / "interactions.csv", rows_of(liked, turned))
    items = [["item_id", "title", "brand", "categories", "description", "image"]]
    items += [[film, f"Film {film}", "", "", "", f"images/{film}.jpg"] for film in films]
    write_csv(folder / "items.csv", rows_of(items, turned))
    write_csv(folder / "item_provenance.csv", [["item_id", "poster_status"], *([film, "right"] for film in films)])


def make_controls(folder, turned):
    Controls.draw(ControlSettings.build(TINY), folder)
    if turned:
        for name in ("items.csv", "interactions.csv"):
            rows = (folder / name).read_text(encoding="utf-8").splitlines()
            (folder / name).write_text("\n".join(rows_of(rows, turned)), encoding="utf-8")


MAKERS = {
    "folder": make_folder,
    "mmrec": make_mmrec,
    "recbole": make_recbole,
    "lattice": make_lattice,
    "ducho": make_ducho,
    "parity": make_parity,
    "amazon": make_amazon,
    "movielens": make_movielens,
    "controls": make_controls,
}
OPTIONS = {"movielens": {"slice_name": "dense"}, "controls": TINY}


def made(name, folder, turned=False):
    """A tiny catalogue of a format in ``folder``, and the settings to read it with."""
    make = MAKERS.get(name) or getattr(SOURCES[name], "example", None)
    if make is None:
        pytest.skip(f"data format {name!r} brings no example(folder, turned); give it one, and it is tested")
    folder.mkdir()
    make(folder, turned)
    return SOURCES[name].Settings.build(OPTIONS.get(name, {}))


def content(catalogue):
    """All that a catalogue says of its interactions and items, by the ids of the source."""
    edges = [catalogue.label, catalogue.timestamp]
    columns = [np.full(len(catalogue.user), -1) if values is None else values for values in edges]
    taken = {
        (catalogue.user_ids[u], catalogue.item_ids[i], *map(int, rest))
        for u, i, *rest in zip(catalogue.user, catalogue.item, *columns, strict=True)
    }
    images = [None if image is None else (image.name, image.read_bytes()) for image in catalogue.images]
    ready = [{m: tuple(rows[i]) for m, rows in catalogue.ready_features.items()} for i in range(catalogue.n_items)]
    items = dict(zip(catalogue.item_ids, zip(catalogue.texts, images, ready, strict=True), strict=True))
    groups = None if catalogue.user_group is None else dict(zip(catalogue.user_ids, catalogue.user_group, strict=True))
    return catalogue.name, set(catalogue.user_ids), taken, items, groups, dict(catalogue.counts)


def test_every_source_class_is_a_member():
    found = set()
    for module in pkgutil.iter_modules(stage.__path__):
        for _, thing in inspect.getmembers(importlib.import_module(f"{stage.__name__}.{module.name}"), inspect.isclass):
            if hasattr(thing, "recognises"):
                found.add(thing)
    assert found == {SOURCES[name] for name in SOURCES.own}
    assert all(name == source.name for name, source in SOURCES.items())


def test_naming_formats_loads_nothing(root):
    code = (
        "import sys; from lmmrec_core.data import SOURCES; assert 'movielens' in SOURCES;"
        "assert not {'torch', 'numpy', 'PIL'} & set(sys.modules), sorted(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=root, check=True)


@pytest.mark.parametrize("name", SOURCES)
def test_its_folder_is_recognised_by_one_format_and_read_without_options(name, tmp_path):
    made(name, tmp_path / "toy")
    recognised = "folder" if name in READ_AS_FOLDER else name
    assert [other for other, source in SOURCES.items() if source.recognises(tmp_path / "toy")] == [recognised]
    assert recognise(tmp_path / "toy") == recognised
    source = SOURCES[recognised]
    assert source.marks and source.read(tmp_path / "toy", source.Settings(), "toy").n_items > 0


@pytest.mark.parametrize("name", SOURCES)
def test_reading_gives_a_valid_catalogue(name, tmp_path):
    settings = made(name, tmp_path / "toy")
    catalogue = SOURCES[name].read(tmp_path / "toy", settings, "mine")
    assert catalogue.name == "mine"
    for ids in (catalogue.user_ids, catalogue.item_ids):
        assert ids and all(type(identifier) is str and identifier for identifier in ids) and len(set(ids)) == len(ids)
    n_edges = len(catalogue.user)
    for positions, n in ((catalogue.user, catalogue.n_users), (catalogue.item, catalogue.n_items)):
        assert positions.dtype == np.int64 and positions.shape == (n_edges,)
        assert positions.min() >= 0 and positions.max() < n
    assert len(np.unique(catalogue.user * catalogue.n_items + catalogue.item)) == n_edges > 0
    assert len(catalogue.texts) == len(catalogue.images) == catalogue.n_items
    assert all(type(text) is str for text in catalogue.texts)
    assert all(image is None or image.is_file() for image in catalogue.images)
    for values in (catalogue.label, catalogue.timestamp):
        assert values is None or (values.shape == (n_edges,) and values.dtype == np.int64)
    assert catalogue.label is None or set(catalogue.label.tolist()) <= {0, 1, 2}
    assert catalogue.user_group is None or catalogue.user_group.shape == (catalogue.n_users,)
    for matrix in catalogue.ready_features.values():
        assert matrix.dtype == np.float32 and matrix.ndim == 2 and len(matrix) == catalogue.n_items
    assert all(type(count) is int and count >= 0 for count in catalogue.counts.values())


@pytest.mark.parametrize("name", SOURCES)
def test_neither_a_second_reading_nor_the_order_of_rows_changes_it(name, tmp_path):
    read = SOURCES[name].read
    settings = made(name, tmp_path / "toy")
    first = content(read(tmp_path / "toy", settings, "toy"))
    assert content(read(tmp_path / "toy", settings, "toy")) == first
    made(name, tmp_path / "turned", turned=True)
    assert content(read(tmp_path / "turned", settings, "toy")) == first


@pytest.mark.parametrize("name", SOURCES)
def test_a_wrong_folder_is_named(name, tmp_path):
    settings = made(name, tmp_path / "toy")
    (tmp_path / "wrong").mkdir()
    for wrong in ("wrong", "absent"):
        with pytest.raises(DataError, match=str(tmp_path / wrong)):
            SOURCES[name].read(tmp_path / wrong, settings, "toy")


@pytest.mark.parametrize("name", SOURCES)
def test_an_option_that_it_does_not_know_is_refused(name):
    with pytest.raises(ConfigError, match="frmat"):
        SOURCES[name].Settings.build({"frmat": 1})


def test_a_drawn_source_draws_the_same_again(tmp_path):
    assert [name for name, source in SOURCES.items() if isinstance(source, DrawnSource)] == ["controls"]
    settings = ControlSettings.build(TINY)
    for folder in ("one", "two"):
        Controls.draw(settings, tmp_path / folder)
    files = sorted(path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*") if path.is_file())
    assert files and all((tmp_path / "one" / f).read_bytes() == (tmp_path / "two" / f).read_bytes() for f in files)
    assert Controls.folder_name(settings) != Controls.folder_name(settings.model_copy(update={"seed": 4}))


def test_a_folder_of_no_format_is_refused_with_all_that_are_known(tmp_path):
    with pytest.raises(DataError, match=r"no known data format.*folder \(interactions\.csv.*mmrec \(\*\.inter\)"):
        recognise(tmp_path)
    with pytest.raises(DataError, match="no such folder"):
        recognise(tmp_path / "absent")


def test_a_track_names_a_known_format():
    with pytest.raises(ConfigError, match=r"sparse: source = 'movielense'.*did you mean 'movielens'"):
        DatasetSettings.build({"title": "T", "source": "movielense"}, "sparse")


@pytest.mark.parametrize("labelled", [True, False])
def test_a_split_is_given_if_the_reader_found_one(labelled, tmp_path, capsys):
    """Not if a header promises one: MMRec's layout comes with and without its column of parts."""
    rows = [f"{u}\t{i}\t{(0, 0, 0, 1, 2)[i]}" for u in range(4) for i in range(5)]
    rows = ["userID\titemID\tx_label", *rows] if labelled else ["userID\titemID", *(row[:3] for row in rows)]
    (tmp_path / "toy.inter").write_text("\n".join(rows) + "\n", encoding="utf-8")
    assert main(["data", str(tmp_path), "--k-core", "1"]) == 0
    shown = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert shown["split"].startswith("given:" if labelled else "mmrec, ")


# neither the name nor the file of the chapter on catalogues: its reader has a package that brings these
GUEST = '''
"""A stranger's format: one line "user item" per interaction."""

import numpy as np

from lmmrec_core.config import Settings
from lmmrec_core.errors import DataError
from lmmrec_core.flow import Catalogue


class PairSettings(Settings):
    separator: str = " "


class Pairs:
    name = "duos"
    marks = "duos.txt"
    Settings = PairSettings

    @staticmethod
    def recognises(folder):
        return (folder / "duos.txt").is_file()

    @staticmethod
    def read(folder, settings, name=None):
        file = folder / "duos.txt"
        if not file.is_file():
            raise DataError(f"{file}: no such file; add it")
        rows = sorted({tuple(line.split(settings.separator)) for line in file.read_text().splitlines()})
        users, items = (tuple(sorted(set(column))) for column in zip(*rows))
        positions = np.array([(users.index(u), items.index(i)) for u, i in rows], dtype=np.int64)
        return Catalogue(name or folder.name, users, items, *positions.T, texts=("",) * len(items),
                         images=(None,) * len(items), counts={"rows_read": len(rows)})

    @staticmethod
    def example(folder, turned):
        rows = [f"u{u} i{i}" for u in range(6) for i in range(6) if u != i]
        (folder / "duos.txt").write_text("\\n".join(reversed(rows) if turned else rows))
'''


@pytest.fixture(scope="module")
def guest(tmp_path_factory):
    return install(tmp_path_factory.mktemp("site"), "pairsformat", GUEST, {"lmmrec.sources": {"duos": "Pairs"}})


def test_a_strangers_format_is_read_by_the_command_line(guest, tmp_path):
    folder = tmp_path / "theirs"
    folder.mkdir()
    (folder / "duos.txt").write_text("\n".join(f"u{u} i{i}" for u in range(9) for i in range(9) if u != i))
    done = run(guest, *LMMREC, "data", str(folder), LMMREC_HOME=str(tmp_path / "home"))
    assert done.returncode == 0, done.stderr
    shown = {line.strip() for line in done.stdout.splitlines()}
    assert {"catalogue  theirs, format duos: 9 users, 9 items", "rows  72 read, 72 kept"} <= shown
    (tmp_path / "empty").mkdir()
    done = run(guest, *LMMREC, "data", str(tmp_path / "empty"))
    assert done.returncode == 1 and "duos (duos.txt)" in done.stderr


def test_a_strangers_format_is_held_to_the_contract(guest):
    done = run(guest, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__, "-k", "duos and not strangers", "-rA")
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("PASSED") == 5
