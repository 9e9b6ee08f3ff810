"""Small catalogues for tests of the command line, and what it says of them."""

import json

import numpy as np

from lmmrec_core.cli import main

QUICK = ("--quiet", "--set", "epochs=1", "--set", "embedding_dim=4")
HEAD = "item_id,title,brand,categories,description,image\n"


def write_rows(folder, header, rows):
    (folder / "interactions.csv").write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")


def rows_of(folder):
    return (folder / "interactions.csv").read_text(encoding="utf-8").splitlines()[1:]


def write_items(folder, images):
    lines = [f"i{i},Thing {i},Maker,Things,A thing,{image}" for i, image in images.items()]
    (folder / "items.csv").write_text(HEAD + "\n".join(lines) + "\n", encoding="utf-8")


def with_split(folder, header):
    """The rows with a part each, under ``header``: of each user's six, four are train."""
    parts = ("train", "train", "train", "train", "valid", "test")
    cells = [line.split(",")[:2] for line in rows_of(folder)]
    write_rows(folder, header, [f"{user},{item},{parts[n % 6]}" for n, (user, item) in enumerate(cells)])


def mmrec(folder, labelled=True, rng_seed=1):
    folder.mkdir()
    rng = np.random.default_rng(rng_seed)
    lines = ["userID\titemID\trating\ttimestamp" + ("\tx_label" if labelled else "")]
    for u in range(20):
        for n, i in enumerate(rng.choice(10, 6, replace=False)):
            lines.append(f"{u}\t{i}\t{1 if n < 2 else 4}.0\t{n}" + (f"\t{max(0, n - 3)}" if labelled else ""))
    (folder / "toy.inter").write_text("\n".join(lines) + "\n")
    for name in ("image_feat", "text_feat"):
        np.save(folder / f"{name}.npy", rng.normal(size=(10, 3)).astype("float32"))
    return folder


def told(capsys, *call, rc=0):
    """What a command says, on stdout if it went well and on stderr if it did not."""
    assert main([str(word) for word in call]) == rc, capsys.readouterr()
    out, err = capsys.readouterr()
    return out if rc == 0 else err


def record(capsys, *call):
    return json.loads(told(capsys, "run", *call, "--json", "--quiet"))
