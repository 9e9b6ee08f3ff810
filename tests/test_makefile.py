"""The make targets in a repository whose path has blanks and other letters, with stand-ins for what they call."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
TARGETS = re.findall(r"^([a-z]+):.*## ", MAKEFILE, flags=re.MULTILINE)
NEEDS_VENV = re.findall(r"^((?!setup)[a-z]+): \$\(READY\)", MAKEFILE, flags=re.MULTILINE)  # and call something then
# a program that notes how it was called, and makes the stand-ins of a new environment
STAND_IN = """#!/bin/sh
for word in "$0" "$@"; do printf '%s\\037' "$word" >> "$CALLS"; done
printf '\\n' >> "$CALLS"
if [ "$2" = venv ]; then
  mkdir -p "$3/bin"
  for name in python lmmrec ruff mypy jupyter; do cp "$0" "$3/bin/$name"; done
fi
"""

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "my répository copy"
    folder.mkdir()
    for name in ("Makefile", "requirements.txt", "pyproject.toml"):
        shutil.copyfile(ROOT / name, folder / name)
    program = folder / "a python"
    program.write_text(STAND_IN, encoding="utf-8")
    program.chmod(0o755)
    return folder


def calls(repository: Path, *words: str) -> list[list[str]]:
    """What one `make` calls, each as its words; programs by their paths in the repository."""
    noted = repository / "calls"
    noted.unlink(missing_ok=True)
    environment = {**os.environ, "CALLS": str(noted), "MAKEFLAGS": ""}
    command = ["make", f"PYTHON={repository / 'a python'}", *words]
    done = subprocess.run(command, cwd=repository, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = noted.read_text(encoding="utf-8").splitlines() if noted.exists() else []
    return [line.split("\037")[:-1] for line in lines]


def test_help_lists_every_target(repository: Path) -> None:
    told = subprocess.run(["make"], cwd=repository, capture_output=True, text=True, check=True).stdout
    assert [line.split()[0] for line in told.splitlines() if line.startswith("  ")] == TARGETS


@pytest.mark.parametrize("venv", [".venv", "an environment"])
@pytest.mark.parametrize("target", NEEDS_VENV)
def test_every_target_sets_up_once_and_calls_what_it_should(repository: Path, target: str, venv: str) -> None:
    first = calls(repository, target, f"VENV={venv}")
    assert first[0] == [str(repository / "a python"), "-m", "venv", venv]
    assert [call[:3] for call in first[1:3]] == [[f"{venv}/bin/python", "-m", "pip"]] * 2
    assert (repository / venv / ".ready").is_file()
    again = calls(repository, target, f"VENV={venv}")
    assert again == first[3:] and again
    assert all(call[0].startswith(f"{venv}/bin/") for call in again)


PINS = re.findall(r"^(?:torch|torchvision)==\S+", (ROOT / "requirements.txt").read_text(encoding="utf-8"), re.MULTILINE)


def from_index(build: str) -> list[str]:
    return [*PINS, "--index-url", f"https://download.pytorch.org/whl/{build}"]


def test_the_build_of_pytorch_is_chosen_at_set_up_and_stays(repository: Path) -> None:
    first = calls(repository, "setup", "TORCH=cu126")
    assert len(PINS) == 2 and first[1][-4:] == from_index("cu126")  # before all others, so that none brings its own
    assert first[2][-2:] == ["-r", "requirements.txt"] and first[3][-2:] == ["-e", "."] and len(first) == 4
    assert calls(repository, "setup") == calls(repository, "setup", "TORCH=cu126") == []
    (repository / "requirements.txt").touch()
    (repository / ".venv" / ".ready").unlink()
    again = calls(repository, "check")  # a set-up taken up again has the build that was chosen
    assert again[0][-4:] == from_index("cu126")


def test_another_build_replaces_the_first(repository: Path) -> None:
    calls(repository, "setup")
    replaced = calls(repository, "setup", "TORCH=cpu")
    assert [call[-4:] for call in replaced] == [from_index("cpu")] * 2
    assert "--force-reinstall" in replaced[0] and "--no-deps" in replaced[0] and "--force-reinstall" not in replaced[1]
    assert calls(repository, "setup", "TORCH=cpu") == []


@pytest.mark.parametrize("prepared", [False, True])
def test_a_build_that_is_none_is_refused(repository: Path, prepared: bool) -> None:
    if prepared:
        calls(repository, "setup")
    command = ["make", f"PYTHON={repository / 'a python'}", "setup", "TORCH=cuda"]
    environment = {**os.environ, "CALLS": str(repository / "calls"), "MAKEFLAGS": ""}
    done = subprocess.run(command, cwd=repository, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode != 0 and "TORCH=cuda: write cpu, or cu126 for CUDA 12.6" in done.stdout + done.stderr


def test_values_with_blanks_stay_one_word(repository: Path) -> None:
    called = calls(repository, "reproduce", "DATA=../my data", "SEEDS=1 2", "TRACK=my track.yaml", "JOBS=1")
    (reproduced,) = [call for call in called if "reproduce" in call]
    expected = "reproduce|--track|my track.yaml|--rq||--seeds|1|2|--jobs|1|--data|../my data"
    assert reproduced[1:] == expected.split("|")
    (submitted,) = [
        call for call in calls(repository, "reproduce", "ENGINE=slurm", "SLURM=mem=64G time=9") if "reproduce" in call
    ]
    assert submitted[-5:] == ["--engine", "slurm", "--slurm", "mem=64G", "time=9"]
    (lab,) = [call for call in calls(repository, "lab") if "lab" in call]
    assert f"--ServerApp.root_dir={repository}" in lab


def test_cleaning_removes_what_was_made_and_nothing_beside_it(repository: Path) -> None:
    calls(repository, "check", "VENV=an environment")
    for kept in ("an", "environment", "results/x"):
        (repository / kept).mkdir(parents=True)
    (repository / ".cache").mkdir()
    calls(repository, "distclean", "VENV=an environment")
    assert not (repository / "an environment").exists() and not (repository / ".cache").exists()
    assert all((repository / kept).is_dir() for kept in ("an", "environment", "results/x"))
