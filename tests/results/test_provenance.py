"""Provenance says which code and packages, and nothing about who or where."""

import getpass
import json
import os
import platform
import subprocess
from datetime import datetime, timedelta
from importlib.metadata import version
from pathlib import Path

import pytest

from lmmrec_core.results import provenance as module
from lmmrec_core.results.plain import plain_values
from lmmrec_core.results.provenance import provenance


def test_packages_machine_and_time() -> None:
    made = provenance(device="cuda: some card")
    assert made["versions"]["numpy"] == version("numpy") and made["versions"]["python"] == platform.python_version()
    assert {"torch", "pandas", "scipy"} <= set(made["versions"])
    assert made["machine"]["device"] == "cuda: some card" and made["machine"]["cpus"] == os.cpu_count()
    assert datetime.fromisoformat(made["time"]).utcoffset() == timedelta(0)
    assert plain_values(made) == json.loads(json.dumps(made))
    assert provenance()["time"] > made["time"]


def test_no_host_no_user_no_folder() -> None:
    text = json.dumps({name: value for name, value in provenance().items() if name != "time"})
    for secret in (platform.node(), os.sep + "home", str(Path.home()), str(Path.cwd()), getpass.getuser()):
        if len(secret) > 1:
            assert secret not in text.replace("/s ", "")


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", *identity, *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_commit_and_dirty_flag(tmp_path: Path) -> None:
    assert module._commit(tmp_path) == (None, None)
    git(tmp_path, "init")
    assert module._commit(tmp_path) == (None, None)  # no commit yet
    for name in ("lmmrec_core/a.py", "pyproject.toml", "notebooks/01.ipynb", "results/run.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("1")
    (tmp_path / ".gitignore").write_text("__pycache__/\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "first")
    (tmp_path / "untracked").write_text("new results do not make the code dirty")
    (tmp_path / "notebooks" / "01.ipynb").write_text("neither do pages")
    (tmp_path / "results" / "run.json").write_text("nor results made again")
    (tmp_path / "lmmrec_core" / "__pycache__").mkdir()
    (tmp_path / "lmmrec_core" / "__pycache__" / "a.pyc").write_text("nor what is ignored")
    assert module._commit(tmp_path) == (git(tmp_path, "rev-parse", "HEAD"), False)
    for name in ("lmmrec_core/a.py", "pyproject.toml", "lmmrec_core/new.py", "requirements.txt"):
        file = tmp_path / name
        before = file.read_text() if file.is_file() else None
        file.write_text("2")
        assert module._commit(tmp_path)[1] is True, name
        file.unlink() if before is None else file.write_text(before)
    assert module._commit(tmp_path)[1] is False
    inside = tmp_path / "site-packages"
    inside.mkdir()
    assert module._commit(inside) == (None, None)  # somebody else's repository


def test_without_git_there_is_no_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    made = provenance()
    assert made["commit"] is None and made["dirty"] is None
