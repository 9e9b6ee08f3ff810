"""The guide texts taken apart: their code blocks, the commands in them, and the folder in which commands are run."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from lmmrec_core.cli import main
from lmmrec_core.cli.arguments import EXAMPLES

ROOT = Path(__file__).resolve().parents[1]
CHAPTERS = ROOT / "book" / "chapters"
GUIDES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "book" / "index.md", *sorted(CHAPTERS.glob("*.md"))]
_BLOCK = re.compile(r"^(?P<fence>`{3,})(?P<language>[^\n`]*)\n(?P<text>.*?)^(?P=fence)$", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A fenced block of code."""

    guide: str  # the name of its file without ending
    number: int  # among the blocks of its language in that file, from 1
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.guide}-{self.language}-{self.number}"


def blocks_of(guide: Path) -> list[Block]:
    """The code blocks of a guide, in order."""
    found: list[Block] = []
    for match in _BLOCK.finditer(guide.read_text(encoding="utf-8")):
        language = match["language"].strip()
        if language.startswith("{"):  # a directive is no code
            continue
        number = 1 + sum(block.language == language for block in found)
        found.append(Block(guide.stem, number, language, match["text"]))
    return found


BLOCKS = [block for guide in GUIDES for block in blocks_of(guide)]


def block(guide: str, language: str, number: int = 1) -> str:
    """The text of one block."""
    (text,) = (b.text for b in BLOCKS if (b.guide, b.language, b.number) == (guide, language, number))
    return text


def commands_in(text: str) -> list[str]:
    """The commands of a shell block: one a line, lines that end in a backslash joined, comments left out."""
    lines = text.replace("\\\n", " ").splitlines()
    return [shlex.join(words) for line in lines if (words := shlex.split(line, comments=True))]


def all_commands() -> dict[str, str]:
    """Command → the guide that shows it first, those of ``lmmrec --help`` included."""
    found: dict[str, str] = {}
    for item in BLOCKS:
        if item.language == "bash":
            for command in commands_in(item.text):
                found.setdefault(command, item.guide)
    for line in EXAMPLES.splitlines():
        if line.startswith("  lmmrec "):
            found.setdefault(shlex.join(shlex.split(line.strip().split("  ")[0])), "help")
    return found


def make_place(base: Path) -> Path:
    """A folder in which the guides' commands find what they name; a folder ``shared/data`` is beside it."""
    place = base / "repository"
    (base / "shared" / "data").mkdir(parents=True)
    _make_catalogue(place / "my_shop")
    shutil.copytree(place / "my_shop", place / "my-catalogue")
    (place / "downloads").mkdir()
    assert main(["export-mmrec", str(place / "my_shop"), str(place / "downloads" / "baby")]) == 0
    shutil.copytree(ROOT / "notebooks", place / "notebooks", ignore=shutil.ignore_patterns(".ipynb_checkpoints"))
    (place / "my-encoder.yaml").write_text(block("add_encoder", "yaml", 3), encoding="utf-8")
    (place / "shop.yaml").write_text(block("own_catalogue", "yaml"), encoding="utf-8")
    rows = ["model,dataset,metric,value", "Theirs,baby,recall@10,0.0500", "Theirs,baby,recall@20,0.0800", ""]
    (place / "their-table.csv").write_text("\n".join(rows), encoding="utf-8")
    _make_new_items(place / "new_arrivals")
    (place / "users.txt").write_text("u1\nu2\n", encoding="utf-8")
    _make_package(place / "lmmrec-mine")
    return place


def _make_catalogue(folder: Path) -> None:
    """A catalogue as ``own_catalogue`` describes it: 40 users, 20 items in two groups, ready features."""
    (folder / "images").mkdir(parents=True)
    random = np.random.default_rng(0)
    rows = [(u, int(i), 3 + int(i) % 3) for u in range(40) for i in random.choice(10, 8, replace=False) + 10 * (u % 2)]
    lines = [f"u{user},i{item},{rating}" for user, item, rating in rows]
    (folder / "interactions.csv").write_text("\n".join(["user_id,item_id,rating", *lines, ""]), encoding="utf-8")
    table = ["item_id,title,brand,categories,description,image"]
    for item in range(20):
        Image.new("RGB", (8, 8), (10 * item, 0, 0)).save(folder / "images" / f"{item}.jpg")
        table.append(f"i{item},Thing {item},Maker,Things,A thing,images/{item}.jpg")
    (folder / "items.csv").write_text("\n".join([*table, ""]), encoding="utf-8")
    for name, width in (("visual", 5), ("textual", 3)):
        np.save(folder / f"{name}.npy", random.normal(size=(20, width)).astype("float32"))


def _make_new_items(folder: Path) -> None:
    """Items that ``my_shop`` does not have, with features as ready as its own."""
    folder.mkdir()
    (folder / "items.csv").write_text("item_id,title\nn1,New thing\nn2,Newer thing\n", encoding="utf-8")
    for name, width in (("visual", 5), ("textual", 3)):
        np.save(folder / f"{name}.npy", np.ones((2, width), dtype="float32"))


def _make_package(folder: Path) -> None:
    """The package of ``own_package``, with the code of the other chapters as it stands there."""
    module = folder / "lmmrec_mine"
    module.mkdir(parents=True)
    (folder / "pyproject.toml").write_text(block("own_package", "toml"), encoding="utf-8")
    (folder / "mine.yaml").write_text(block("own_package", "yaml"), encoding="utf-8")
    (module / "__init__.py").touch()
    for name, (guide, number) in MODULES.items():
        (module / f"{name}.py").write_text(block(guide, "python", number), encoding="utf-8")


#: Module of ``lmmrec_mine`` → the chapter that holds its code, and the number of the block.
MODULES = {
    "centroid": ("add_recommender", 1),
    "brightness": ("add_encoder", 1),
    "first_hit": ("add_metric", 1),
    "pairs": ("own_catalogue", 2),
}


def install_package(folder: Path, site: Path) -> Path:
    """Build the package in ``folder`` as pip does, and install it into the folder ``site``."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "-q"]
    call = [*pip, "install", "--no-deps", "--no-build-isolation", "--target", str(site), str(folder)]
    done = subprocess.run(call, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return site


def run_with(site: Path, folder: Path, home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A new Python that finds the reader's package, working in ``folder``."""
    known = {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), str(ROOT)]), "LMMREC_HOME": str(home)}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=folder, env=known, capture_output=True, text=True, check=False)
