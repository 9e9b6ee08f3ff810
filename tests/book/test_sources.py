"""The sources of the book: every page listed, no number typed, worked examples that work."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from lmmrec_core.book.pages import pages
from lmmrec_core.encoders import ENCODERS
from lmmrec_core.roles import Recommender, TrainingData
from lmmrec_core.study.track import is_multimodal
from lmmrec_core.study.weights.recipes import MultimodalSettings
from tests.book.rendered import declared_pages, prose, toc_files

ROOT = Path(__file__).resolve().parents[2]
PROSE = prose(ROOT)


def test_the_table_of_contents_names_every_notebook_once_per_track_or_once() -> None:
    files = toc_files(ROOT)
    assert len(files) == len(set(files))
    assert {page.target for page in pages(ROOT)} == {page.target for page in declared_pages(ROOT)}
    shared = [page for page in pages(ROOT) if page.track is None]
    assert {page.source.stem for page in shared} == {
        "06_audit",
        "07_public_code",
        "08_calibration",
        "09_verdicts",
        "10_abstract",
        "14_speed",
    }
    assert all(page.values == {} and page.target.parent.name == "shared" for page in shared)


def test_every_chapter_is_in_the_table_of_contents() -> None:
    assert set((ROOT / "book").glob("**/*.md")) == set(PROSE)


def test_the_configuration_keeps_the_rest_of_the_repository_out() -> None:
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    assert {".*", "**/.*"} <= set(config["exclude_patterns"])
    assert config["execute"]["execute_notebooks"] == "off"
    assert not (ROOT / "_static").exists(), "a _static folder in the root puts every script on every page"
    assert not (ROOT / "conf.py").exists()


@pytest.mark.parametrize("path", PROSE, ids=lambda path: path.stem)
def test_no_measured_number_is_typed(path: Path) -> None:
    """Metric values, p-values and percentages of ours come from notebooks; prose holds definitions only."""
    text = re.sub(r"```.*?```|`[^`]*`|\$[^$]*\$", " ", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    typed = re.findall(r"(?<![\w.])0?\.\d{3,}|[+±-]\s?\d+(?:\.\d+)?\s?%|\bp\s?[=<]\s?0?\.\d+", text)
    assert typed == []


@pytest.mark.parametrize("path", PROSE, ids=lambda path: path.stem)
def test_prose_names_only_what_the_package_has(path: Path) -> None:
    """Files, modules and make targets that a chapter names exist."""
    text = path.read_text(encoding="utf-8")
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert set(re.findall(r"(?:^|`)make ([a-z]+)", text, flags=re.MULTILINE)) <= set(targets)
    allowed = {"lmmrec_core/recommenders/centroid.py", "notebooks/20_costs.ipynb"}  # worked examples create them
    for name in set(re.findall(r"(?:lmmrec_core|notebooks|tests)/[\w/]+\.(?:py|ipynb|yaml)", text)) - allowed:
        assert (ROOT / name).is_file(), name


def worked_example() -> str:
    text = (ROOT / "book" / "chapters" / "add_recommender.md").read_text(encoding="utf-8")
    return re.search(r"```python\n(.*?)```", text, flags=re.DOTALL)[1]


def test_the_worked_example_of_a_recommender_works() -> None:
    space: dict[str, Any] = {"__name__": "centroid"}
    exec(compile(worked_example(), "add_recommender.md", "exec"), space)  # our own text, as a reader would run it
    visual = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.0, 2.0]])
    data = TrainingData(2, 4, torch.tensor([0, 1]), torch.tensor([0, 2]), {"visual": visual})
    centroid = space["Centroid"]
    model = centroid(data, centroid.Settings.build({}), torch.Generator())
    assert isinstance(model, Recommender) and centroid.name == "centroid"
    scores = model.scorer()(torch.tensor([0, 1]))
    assert scores.shape == (2, 4)
    assert scores[0].argsort(descending=True)[:2].tolist() == [0, 1]
    torch.testing.assert_close(scores[1, 2:], torch.ones(2))
    weighted = centroid(data, centroid.Settings.build({"popularity": 1.0}), torch.Generator())
    bonus = weighted.scorer()(torch.tensor([0]))[0] - scores[0]
    torch.testing.assert_close(bonus, torch.tensor([2.0, 1.0, 2.0, 1.0]).log())
    assert len(worked_example().splitlines()) < 50


def test_the_worked_entries_of_encoders_are_valid_settings() -> None:
    text = (ROOT / "book" / "chapters" / "add_encoder.md").read_text(encoding="utf-8")
    blocks = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", text, flags=re.DOTALL)]
    entries = [block.get("encoders", {"own": block}) for block in blocks]  # one block is a file with a single entry
    checked = []
    for entry in (entry for block in entries for entry in block.values()):
        members = [entry] if is_multimodal(entry) else list(entry.values())
        for member in members:
            settings = MultimodalSettings.build(member, "add_encoder.md")
            cls = ENCODERS[settings.encoder]
            checked.append(cls.Settings.build(settings.settings, "add_encoder.md"))
    assert len(entries) == 4 and len(checked) == 5
