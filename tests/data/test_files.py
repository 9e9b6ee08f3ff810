"""Hostile or clumsy files: refused before they take memory or time."""

import gzip
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

from lmmrec_core.data import files
from lmmrec_core.data.files import load_arrays, load_matrix, read_rows, read_text
from lmmrec_core.errors import DataError
from tests.limits import run_within

on_linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="sets a limit of memory as Linux does")
REFUSED = """
try:
    {call}
except DataError as error:
    print(error)
"""


def zeros_as_archive(path: Path, gibibytes: int) -> None:
    """An archive of zeros as numpy.savez_compressed writes it; a thousandth of their size."""
    piece = bytes(2**24)
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("visual.npy", "w", force_zip64=True) as member,
    ):
        np.lib.format.write_array_header_1_0(
            member, {"descr": "<f4", "fortran_order": False, "shape": (gibibytes * 2**18, 1024)}
        )
        for _ in range(gibibytes * 2**30 // len(piece)):
            member.write(piece)


@on_linux
def test_an_archive_named_like_a_matrix_is_refused_unread(tmp_path):
    zeros_as_archive(tmp_path / "visual.npy", gibibytes=1)
    start = time.perf_counter()
    with pytest.raises(DataError, match=r"visual\.npy: an \.npz archive; save one matrix with numpy\.save"):
        load_matrix(tmp_path / "visual.npy", 10)
    assert time.perf_counter() - start < 1
    imports = "from lmmrec_core.data.files import load_matrix\nfrom lmmrec_core.errors import DataError"
    told = run_within(64, imports, REFUSED.format(call="load_matrix(Path(sys.argv[1]), 10)"), tmp_path / "visual.npy")
    assert "an .npz archive" in told


@on_linux
def test_a_matrix_of_the_wrong_size_is_refused_without_being_read(tmp_path):
    shape = (2**20, 512)  # 2 GiB, of which nothing is on disk
    with (tmp_path / "visual.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})
        file.truncate(file.tell() + 4 * shape[0] * shape[1])
    imports = "from lmmrec_core.data.files import load_matrix\nfrom lmmrec_core.errors import DataError"
    call = REFUSED.format(call="load_matrix(Path(sys.argv[1]), 10)")
    assert "1048576 rows for 10 items" in run_within(4096, imports, call, tmp_path / "visual.npy")  # mapped, not read


@on_linux
@pytest.mark.parametrize("tail", [b"", bytes(100_000)])
def test_a_matrix_that_claims_more_than_its_file_holds_takes_no_memory(tmp_path, tail):
    with (tmp_path / "visual.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": (10, 2**40)})
        file.write(tail)
    imports = "from lmmrec_core.data.files import load_matrix\nfrom lmmrec_core.errors import DataError"
    call = REFUSED.format(call="load_matrix(Path(sys.argv[1]), 10)")
    assert "not a plain NumPy array file" in run_within(64, imports, call, tmp_path / "visual.npy")


def test_archives_are_told_by_their_first_bytes_and_bounded(tmp_path, monkeypatch):
    np.savez(tmp_path / "two.npz", a=np.arange(3), b=np.eye(2))
    (tmp_path / "two.npz").rename(tmp_path / "two.npy")
    assert {name: array.shape for name, array in load_arrays(tmp_path / "two.npy").items()} == {"a": (3,), "b": (2, 2)}
    np.save(tmp_path / "one.npy", np.eye(3))
    (tmp_path / "one.npy").rename(tmp_path / "one.npz")
    assert np.array_equal(load_arrays(tmp_path / "one.npz")[""], np.eye(3))
    monkeypatch.setattr(files, "ARCHIVE_LIMIT", 100)
    with pytest.raises(DataError, match="take 312 bytes, more than 100"):
        load_arrays(tmp_path / "two.npy")


def test_an_archive_of_zeros_is_refused_unread(tmp_path):
    np.savez_compressed(tmp_path / "interactions.npz", user=np.zeros(2**27, dtype=np.uint8))
    assert (tmp_path / "interactions.npz").stat().st_size < 2**18
    with pytest.raises(DataError, match=r"take 134,217,8.. bytes, more than 67,108,864"):
        load_arrays(tmp_path / "interactions.npz")


def test_a_matrix_stays_as_it_was_read(tmp_path):
    rows = np.random.default_rng(0).standard_normal((300, 300)).astype(np.float32)
    np.save(tmp_path / "visual.npy", rows)
    read = load_matrix(tmp_path / "visual.npy", 300)
    np.save(tmp_path / "visual.npy", np.zeros_like(rows))
    assert np.array_equal(read, rows) and not isinstance(read, np.memmap)


@on_linux
def test_a_compressed_file_of_zeros_is_refused_before_memory_is_full(tmp_path):
    with gzip.open(tmp_path / "reviews.json.gz", "wb", compresslevel=9) as file:
        for _ in range(64):
            file.write(bytes(2**24))  # one GiB
    imports = "from lmmrec_core.data.files import read_text\nfrom lmmrec_core.errors import DataError"
    told = run_within(512, imports, REFUSED.format(call="read_text(Path(sys.argv[1]))"), tmp_path / "reviews.json.gz")
    assert "as no table does; fetch the file again" in told


def test_regular_tables_are_read_compressed_or_not(tmp_path):
    table = "user_id,item_id\n" + "1,2\n" * 1_000_000
    with gzip.open(tmp_path / "table.csv.gz", "wt", encoding="utf-8") as file:
        file.write(table)
    assert read_text(tmp_path / "table.csv.gz") == table
    assert len(table) > 200 * (tmp_path / "table.csv.gz").stat().st_size  # more regular than any real one


@pytest.mark.parametrize("rows", [3, 30_000])
def test_bytes_after_an_array_are_refused(tmp_path, rows):
    with (tmp_path / "visual.npy").open("wb") as file:
        np.save(file, np.zeros((rows, 2), np.float32))
        np.save(file, np.ones((2, 2), np.float32))
    with pytest.raises(DataError, match=r"visual\.npy: 144 bytes after its one array; save one matrix"):
        load_matrix(tmp_path / "visual.npy", rows)


@pytest.mark.parametrize("array", [np.zeros((0, 3)), np.asfortranarray(np.ones((9, 4))), np.ones((300, 300))])
def test_whole_arrays_are_read(tmp_path, array):
    np.save(tmp_path / "a.npy", array)
    assert np.array_equal(load_arrays(tmp_path / "a.npy")[""], array)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 9\n", "Git LFS, .*git lfs pull"),
        (b"\n<!DOCTYPE html>\n<html></html>", "a page of HTML, not the file; fetch the file again"),
        (b'[{"user_id": 1}]', "line 1: JSON, not a table"),
        (b"user_id,item_id\nu1,i1\nu\x002,i1\n", "line 3: damaged .a null character."),
        (b"PAR1\x15\x04\xff", "Parquet, not UTF-8 text"),
        (b"\x93NUMPY\x01\x00", "a NumPy array, not UTF-8 text"),
        (b"BZh91AY\xff", "bzip2, not UTF-8 text"),
    ],
)
def test_what_is_no_table_is_told_as_what_it_is(tmp_path, content, message):
    (tmp_path / "interactions.csv").write_bytes(content)
    with pytest.raises(DataError, match=rf"interactions\.csv.*{message}"):
        list(read_rows(tmp_path / "interactions.csv", ("user_id", "item_id"))[1])
