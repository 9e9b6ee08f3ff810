"""Binder and Colab: links to what the repository holds if its address is known, and none if it is not."""

import importlib
import os
import sys
import tomllib
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlparse

import pytest
import yaml
from bs4 import BeautifulSoup

from tests.book.rendered import declared_pages
from tests.book.source import ROOT

ADDRESS = "https://github.com/someone/a-study"
CONFIG = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))["sphinx"]["config"]


@pytest.fixture
def launch(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(ROOT / "book" / "_ext"))
    monkeypatch.delitem(sys.modules, "launch", raising=False)
    return importlib.import_module("launch")


def shown(launch: Any, page: str, address: str) -> str:
    app = SimpleNamespace(config=SimpleNamespace(study_repository=address, study_branch="main"))
    context = {"body": "<h1>Title</h1><p>Text</p>"}
    launch.add_links(app, page, "", context, None)
    return context["body"]


def test_without_an_address_there_is_no_link(launch: Any) -> None:
    assert shown(launch, "book/_generated/controls/00_data", "") == "<h1>Title</h1><p>Text</p>"


def test_links_lead_to_files_that_the_repository_holds(launch: Any) -> None:
    for page in declared_pages(ROOT):
        name = page.target.relative_to(ROOT).with_suffix("").as_posix()
        binder, colab = BeautifulSoup(shown(launch, name, ADDRESS), "lxml").select("h1 + .launch a")
        place = parse_qs(urlparse(binder["href"]).query)["urlpath"][0]
        assert binder["href"].startswith("https://mybinder.org/v2/gh/someone/a-study/main?")
        assert (ROOT / place.removeprefix("lab/tree/")).is_file()
        start = "https://colab.research.google.com/github/someone/a-study/blob/main/"
        assert colab["href"].startswith(start) and (ROOT / colab["href"].removeprefix(start)).is_file()


def test_prose_has_no_link(launch: Any) -> None:
    assert "launch" not in shown(launch, "book/chapters/run", ADDRESS)


@pytest.mark.parametrize("address", ["github.com/a/b", "https://example.org/a/b", "https://github.com/a"])
def test_a_wrong_address_is_told_with_the_cure(launch: Any, address: str) -> None:
    with pytest.raises(ValueError, match=r"write https://github\.com/OWNER/NAME, or leave it empty"):
        launch.links("book/_generated/controls/00_data", address, "main")
    assert shown(launch, "book/_generated/controls/00_data", address) == "<h1>Title</h1><p>Text</p>"


def test_the_setting_is_an_address_of_the_right_form_or_empty(launch: Any) -> None:
    launch.links("book/_generated/controls/00_data", CONFIG["study_repository"] or "", "main")


def test_what_colab_installs_and_binder_builds_is_there(launch: Any) -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    assert "./study[book]" in shown(launch, "book/_generated/controls/00_data", ADDRESS) and "book" in extras
    folder = ROOT / ".binder"
    lines = (folder / "requirements.txt").read_text(encoding="utf-8").splitlines()
    assert lines[-1] == "-r ../requirements.txt" and (folder / lines[-1].split()[1]).resolve().is_file()
    assert (folder / "runtime.txt").read_text(encoding="utf-8").strip() == "python-3.11"
    assert os.access(folder / "postBuild", os.X_OK)
