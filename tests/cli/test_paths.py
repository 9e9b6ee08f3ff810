"""Paths that no file can have, and files that are none: told in a line, never opened, never a traceback."""

import os
import subprocess
import sys

import pytest

from lmmrec_core.cli import main
from tests.cli.shops import told

LONG = "/tmp/" + "x" * 5000
on_linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="devices, pipes and names of any bytes")


@pytest.mark.parametrize(
    ("call", "rc"),
    [
        (("data", LONG), 1), (("data", "SHOP", "--interactions", "x" * 5000), 1),
        (("run", "--data", LONG, "--model", "ease"), 1), (("features", "--catalogue", LONG), 1),
        (("run", "--data", "SHOP", "--model", "vbpr", "--encoder", LONG + ".yaml"), 1),
        (("search", "--catalogue", LONG, "--model", "ease"), 1), (("reproduce", "--data", LONG), 1),
        (("reproduce", "--track", LONG + ".yaml"), 1), (("reproduce", "--track", LONG), 1),
        (("export-mmrec", LONG, "out"), 1), (("export-mmrec", "SHOP", LONG), 1),
        (("import-mmrec", LONG, "out"), 1), (("import-mmrec", "SHOP", LONG), 1), (("check-table", LONG), 1),
        (("book", "run", LONG, "out.ipynb"), 2), (("book", "check", LONG), 2),
    ],
)  # fmt: skip
def test_a_path_that_is_too_long_is_told(shop, tmp_path, monkeypatch, capsys, call, rc):
    monkeypatch.chdir(tmp_path)
    assert main([str(shop) if word == "SHOP" else word for word in call]) == rc
    error = capsys.readouterr().err
    assert error.startswith("lmmrec ") and len(error) < 700 and "Traceback" not in error


@pytest.mark.parametrize(
    "call",
    [
        ("features", "--track", "~nobody.here/x.yaml"), ("features", "--data", "~nobody.here/x", "--track", "films"),
        ("recommend", "--model", "~nobody.here/x"), ("recommend", "--model", "m", "--users", "@~nobody.here/x"),
        ("compare", "~nobody.here/x", "~nobody.here/y"), ("data", "~nobody.here/x"),
        ("fetch", "--track", "paper", "--data", "DATA", "--from", "~nobody.here/x", "--offline", "--dry-run"),
    ],
)  # fmt: skip
def test_the_home_of_an_unknown_user_is_a_folder_that_is_not_there(tmp_path, monkeypatch, capsys, call):
    monkeypatch.setenv("LMMREC_HOME", str(tmp_path / "home"))
    assert main([str(tmp_path) if word == "DATA" else word for word in call]) in (0, 1)
    error = capsys.readouterr().err
    assert "Traceback" not in error and "home directory" not in error and len(error) < 700


@on_linux
@pytest.mark.parametrize("kind", ["zero", "pipe", "large", "folder"])
def test_an_encoder_file_that_is_none_is_not_read(shop, tmp_path, capsys, kind):
    file = tmp_path / "own.yaml"
    if kind == "zero":
        file.symlink_to("/dev/zero")
    elif kind == "pipe":
        os.mkfifo(file)
    elif kind == "folder":
        file.mkdir()
    else:
        with file.open("wb") as made:
            made.truncate(4 << 30)  # nothing of it is on disk
    words = {"large": "more than 1,048,576 bytes", "folder": "no such settings file"}.get(kind, "a pipe or device")
    assert words in told(capsys, "run", "--data", shop, "--model", "vbpr", "--encoder", file, rc=1)


@on_linux
@pytest.mark.parametrize("kind", ["zero", "pipe", "folder"])
def test_a_table_that_is_no_file_is_not_read(tmp_path, capsys, kind):
    file = tmp_path / "table.csv"
    if kind == "zero":
        file.symlink_to("/dev/zero")
    elif kind == "pipe":
        os.mkfifo(file)
    else:
        file.mkdir()
    assert "not a file" in told(capsys, "check-table", file, rc=1)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("model;dataset;metric;value\nA;B;recall@20;0.1\n", "separated by semicolons; save the table with commas"),
        ("model\tdataset\tR@20\nA\tB\t0.1\n", "separated by tabs"),
        ('model,dataset,R@20\nA,B,"' + "x" * 140_000, "close the quotes"),
    ],
)
def test_what_keeps_a_table_from_being_read_is_named(tmp_path, capsys, text, words):
    (tmp_path / "table.csv").write_text(text)
    error = told(capsys, "check-table", tmp_path / "table.csv", rc=1)
    assert words in error and len(error) < 500


@on_linux
def test_a_folder_whose_name_is_not_utf8_is_read_under_a_plain_name(shop, capsys):
    folder = shop.rename(shop.parent / os.fsdecode(b"caf\xe9"))
    told(capsys, "run", "--data", folder, "--name", "plain", "--model", "ease", "--quiet")


@on_linux
def test_a_list_of_users_that_has_no_end_is_not_read(shop, tmp_path, capsys):
    call = ("run", "--data", shop, "--model", "popularity", "--quiet", "--keep-model")
    told(capsys, *call)
    (model,) = (tmp_path / "home").rglob("model.safetensors")
    recommend = ("recommend", "--model", model, "--k", "1", "--users")
    assert "a pipe or device, not a file" in told(capsys, *recommend, "@/dev/zero", rc=1)
    (tmp_path / "some").write_text("u1\r\nu2\r\n", encoding="utf-8-sig")
    assert [line.split(",")[0] for line in told(capsys, *recommend, f"@{tmp_path / 'some'}").splitlines()[1:]] == [
        "u1", "u2",
    ]  # fmt: skip


@on_linux
def test_a_command_that_nobody_reads_is_not_called_done(tmp_path, root):
    (tmp_path / "table.csv").write_text("model,dataset,metric,value\nVBPR,baby,recall@10,0.0479\n")
    call = [sys.executable, "-m", "lmmrec_core.cli", "check-table", str(tmp_path / "table.csv")]
    process = subprocess.Popen(call, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    error = process.stderr.read()
    assert (process.wait(timeout=120), error) == (141, "")


def test_a_broken_pipe_that_is_not_ours_is_no_success(monkeypatch):
    def broken(arguments):
        raise BrokenPipeError

    monkeypatch.setattr("lmmrec_core.cli.check_table.check_table", broken)
    with pytest.raises(BrokenPipeError):
        main(["check-table", "table.csv"])
