"""Half-written files: each writer's own, gone with a process that was killed, kept while their process lives."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lmmrec_core import disk
from lmmrec_core.disk import remove_abandoned, whole_file, whole_folder, write_file


def dead_process() -> int:
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_two_writers_of_one_file_never_share_a_partial(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    with whole_file(path) as first, whole_file(path) as second:
        assert first != second
        first.write_text("first")
        second.write_text("second")
    assert path.read_text() == "first" and list(tmp_path.iterdir()) == [path]


def test_what_a_killed_process_left_goes_with_the_next_write_and_the_rest_stays(tmp_path: Path) -> None:
    with whole_folder(tmp_path / "run") as partial:
        name = partial.name
        assert name.startswith(f"{disk.PARTIAL}{os.getpid()}@")
        dead = name.replace(str(os.getpid()), str(dead_process()), 1)
        (tmp_path / dead).mkdir()
        elsewhere = tmp_path / f"{disk.PARTIAL}{dead_process()}@000000-of-another-machine"
        elsewhere.touch()
        write_file(tmp_path / "other.json", "{}")
        assert not (tmp_path / dead).exists() and partial.is_dir() and elsewhere.exists()
        (partial / "file").touch()
    assert (tmp_path / "run" / "file").exists()
    os.utime(elsewhere, (time.time() - 90_000,) * 2)
    remove_abandoned(tmp_path)
    assert not elsewhere.exists()


def test_looking_goes_as_deep_as_asked(tmp_path: Path) -> None:
    left = [tmp_path / "/".join("ab"[:level]) / f".partial-{dead_process()}@{disk._place()}-x" for level in range(3)]
    for folder in left:
        folder.mkdir(parents=True)
    remove_abandoned(tmp_path, depth=1)
    assert [folder.exists() for folder in left] == [False, False, True]
    remove_abandoned(tmp_path / "none", depth=2)


def test_a_long_name_can_be_written(tmp_path: Path) -> None:
    write_file(tmp_path / f"{'ü' * 110}.json", "{}")
    assert len(list(tmp_path.iterdir())) == 1


def test_a_name_that_no_disk_takes_is_refused_with_its_reason(tmp_path: Path) -> None:
    with pytest.raises(disk.ResultError, match=r"could not be written .*name too long"):
        write_file(tmp_path / ("x" * 400), "{}")


def test_what_cannot_be_replaced_stays(tmp_path: Path, monkeypatch) -> None:
    """An older folder leaves its place whole, and takes it again where the new one cannot."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "old").touch()
    rename = Path.rename

    def failing(path: Path, target: Path) -> Path:
        if (path / "new").exists():
            raise OSError(28, "No space left on device")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", failing)
    with (
        pytest.raises(disk.ResultError, match="No space left"),
        whole_folder(tmp_path / "run", replace=True) as partial,
    ):
        (partial / "new").touch()
    assert [path.name for path in tmp_path.iterdir()] == ["run"] and (tmp_path / "run" / "old").exists()
    monkeypatch.undo()
    with whole_folder(tmp_path / "run", replace=True) as partial:
        (partial / "new").touch()
    assert [path.name for path in tmp_path.rglob("*")] == ["run", "new"]


@pytest.mark.parametrize("before", ["the new one", "the old one", "nothing"])
def test_a_kill_while_a_folder_is_replaced_loses_none(tmp_path: Path, before: str) -> None:
    """Whatever step comes last, either folder is there whole at the next start, and nothing beside it."""
    name = "run-" + "x" * 200
    write_file(tmp_path / name / "run.json", "old")
    script = f"""
import os, signal, sys
from pathlib import Path
from lmmrec_core import disk
rename = Path.rename
def killing(path, target):
    if {before == "the old one"} and path.name == {name!r}:
        os.kill(os.getpid(), signal.SIGKILL)
    if {before == "the new one"} and Path(target).name == {name!r}:
        os.kill(os.getpid(), signal.SIGKILL)
    return rename(path, target)
Path.rename = killing
if {before == "nothing"}:
    disk.shutil.rmtree = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
with disk.whole_folder(Path({str(tmp_path / name)!r}), replace=True) as partial:
    (partial / "run.json").write_text("new")
"""
    ended = subprocess.run([sys.executable, "-c", script], cwd=Path(__file__).parents[2], check=False)
    assert ended.returncode == -9 and len(list(tmp_path.iterdir())) > 1
    remove_abandoned(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name / "run.json").read_text() == ("new" if before == "nothing" else "old")
