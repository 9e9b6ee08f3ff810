"""Random damage to catalogues: every command ends well or with a message, and never with a traceback.

``LMMREC_FUZZ=3000`` tries that many cases; by default there are as many as a test run has time for.
"""

import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from lmmrec_core.cli import main

CASES = int(os.environ.get("LMMREC_FUZZ", "300"))
WORDS = (
    "", " ", "user_id", "item_id", "split", "Split", "x_label", "train", "test", "valid", "0", "-1", "1e999", "nan",
    "9" * 400, "u1", "i1", "../i1", "/etc/passwd", "\x00", "\ufeff", "\u2028", '"', "'", ";", "\t", "=1+1", "é",
    "images/0.png", "images", ".", "x" * 6000, "{}", "{'asin': 'a'}", "None", "\ud800",
)  # fmt: skip
TEXT = st.one_of(st.sampled_from(WORDS), st.text(max_size=12))
BYTES = st.one_of(
    st.binary(max_size=30),
    st.sampled_from([b"\xff\xfe", b"\x1f\x8b", b"PK\x03\x04", b"\x93NUMPY", b"\r", b"\n\n", b'"', b"\x00" * 20]),
)
ORIGINALS = {
    "folder": ["interactions.csv", "items.csv", "visual.npy", "textual.npy"],
    "mmrec": ["toy.inter", "image_feat.npy", "text_feat.npy", "u_id_mapping.csv"],
    "amazon": ["reviews_X_5.json", "meta_X.json"],
}
OPTIONS = st.sampled_from(
    (
        (), ("--k-core", "1"), ("--k-core", "3"), ("--min-rating", "3"), ("--split", "given"), ("--split-seed", "4"),
        ("--split", "global_time"), ("--missing-image", "keep"), ("--missing-text", "drop"), ("--unreadable", "drop"),
    )
)  # fmt: skip
CHANGE = st.one_of(
    st.tuples(st.just("cell"), st.integers(0, 400), TEXT),
    st.tuples(st.just("line"), st.integers(0, 60), TEXT),
    st.tuples(st.just("bytes"), st.integers(0, 3000), BYTES),
    st.tuples(st.just("cut"), st.integers(0, 3000), st.just("")),
    st.tuples(
        st.just("swap"), st.sampled_from([(",", ";"), (",", "\t"), ("\n", "\r"), ("\t", ","), (",", ", ")]), st.just("")
    ),
    st.tuples(st.just("gone"), st.just(0), st.just("")),
)


@pytest.fixture(scope="module")
def originals(tmp_path_factory) -> Path:
    """One sound catalogue of each format."""
    root = tmp_path_factory.mktemp("sound")
    rng = np.random.default_rng(0)
    rows = [(u, int(i), n) for u in range(9) for n, i in enumerate(rng.choice(8, 5, replace=False))]
    for name in ORIGINALS:
        (root / name).mkdir()
    lines = [f"u{u},i{i},{n + 1},{n},{('train', 'train', 'train', 'valid', 'test')[n]}" for u, i, n in rows]
    text = "\n".join(["user_id,item_id,rating,timestamp,split", *lines])
    (root / "folder" / "interactions.csv").write_text(text + "\n")
    items = [f"i{i},Thing {i},Maker,Things,A thing," for i in range(8)]
    (root / "folder" / "items.csv").write_text("\n".join(["item_id,title,brand,categories,description,image", *items]))
    lines = [f"{u}\t{i}\t{n}\t{n}\t{max(0, n - 2)}" for u, i, n in rows]
    (root / "mmrec" / "toy.inter").write_text("\n".join(["userID\titemID\trating\ttimestamp\tx_label", *lines]))
    (root / "mmrec" / "u_id_mapping.csv").write_text("user_id\tuserID\n" + "".join(f"A{u}\t{u}\n" for u in range(9)))
    for folder, names in (("folder", ("visual", "textual")), ("mmrec", ("image_feat", "text_feat"))):
        for name in names:
            np.save(root / folder / f"{name}.npy", rng.normal(size=(8, 3)).astype("float32"))
    review = '{{"reviewerID": "A{}", "asin": "B0000000{}X", "overall": {}.0, "unixReviewTime": {}}}'
    (root / "amazon" / "reviews_X_5.json").write_text("\n".join(review.format(u, i, n, n) for u, i, n in rows))
    (root / "amazon" / "meta_X.json").write_text(
        "\n".join(f"{{'asin': 'B0000000{i}X', 'title': 'T'}}" for i in range(8))
    )
    return root


def damaged(content: bytes, change) -> bytes | None:
    kind, place, what = change
    if kind == "gone":
        return None
    if kind == "cut":
        return content[: place % (len(content) + 1)]
    if kind == "bytes":
        place %= len(content) + 1
        return content[:place] + what + content[place + len(what) :]
    text = content.decode("latin-1")
    if kind == "swap":
        return text.replace(*place).encode("latin-1")
    what = what.encode("utf-8", "surrogatepass").decode("latin-1")
    if kind == "line":
        lines = text.split("\n")
        lines[place % len(lines)] = what
        return "\n".join(lines).encode("latin-1")
    separator = "\t" if "\t" in text.split("\n")[0] else ","
    lines = [line.split(separator) for line in text.split("\n")]
    line = lines[(place // 8) % len(lines)]
    line[place % len(line)] = what
    return "\n".join(separator.join(cells) for cells in lines).encode("latin-1")


@pytest.mark.timeout(300 + 2 * CASES)
@seed(16)
@settings(max_examples=CASES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(data=st.data(), name=st.sampled_from(sorted(ORIGINALS)), options=OPTIONS)
def test_damage_never_gives_a_traceback(originals, data, name, options):
    changes = data.draw(st.lists(st.tuples(st.sampled_from(ORIGINALS[name]), CHANGE), min_size=1, max_size=3))
    command = data.draw(st.sampled_from(["data", "popularity", "ease", "vbpr"]))
    with tempfile.TemporaryDirectory() as place, pytest.MonkeyPatch.context() as patch:
        patch.setenv("LMMREC_HOME", f"{place}/home")
        folder = shutil.copytree(originals / name, Path(place) / "shop")
        for file, change in changes:
            if (folder / file).is_file():
                content = damaged((folder / file).read_bytes(), change)
                (folder / file).unlink() if content is None else (folder / file).write_bytes(content)
        call = ["data", str(folder)]
        if command != "data":
            call = ["run", "--data", str(folder), "--model", command, "--quiet"]
            call += ["--set", "epochs=1", "--set", "embedding_dim=2"] if command == "vbpr" else []
        assert main([*call, *options]) in (0, 1)
