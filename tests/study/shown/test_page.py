"""The page of recommendations shows the stored lists, takes a score apart, and says in words what is not there."""

import re
import shutil

import numpy as np
import pytest
from bs4 import BeautifulSoup

from lmmrec_core.errors import ConfigError
from lmmrec_core.report.gallery import Gallery
from lmmrec_core.report.html import Sentence, ShownTable
from lmmrec_core.study.cases import Case
from lmmrec_core.study.own.kept import MODEL
from lmmrec_core.study.run import plan, run_case
from lmmrec_core.study.schedule import run_cases
from lmmrec_core.study.shown.cards import title_of
from lmmrec_core.study.shown.page import RecommendationsPage
from lmmrec_core.study.study import Study
from tests.study.conftest import tiny_workspace

CELL = {"track": "controls", "dataset": "complementary", "seed": 1}
VBPR = {**CELL, "model": "vbpr", "encoder": "baseline", "modalities": "V&T"}
KEPT = ({"datasets": ["complementary"], "models": ["vbpr"], "controls": ["none"], "modalities": ["V&T"]},)


@pytest.fixture(scope="module")
def ran(shared_cache, tmp_path_factory):
    """VBPR, whose model the track keeps, and BPR, whose it does not."""
    workspace = tiny_workspace(tmp_path_factory.mktemp("shown"), shared_cache, kept_models=KEPT)
    cases = [Case.build(VBPR, "case"), Case.build({**CELL, "model": "bpr"}, "case")]
    assert not run_cases(cases, workspace, 1).failures
    return workspace


def page(workspace, user="cu0001", item="C0001", models=("vbpr", "bpr"), encoder="baseline", paradigm="none", k=10):
    study = Study(workspace, (1,))
    return RecommendationsPage.open(study, "complementary", user, item, models, encoder, paradigm, k)


def shown_ids(gallery):
    """Ids by heading."""
    return {heading: [card.item_id for card in cards] for heading, cards in gallery.rows}


def test_a_track_keeps_the_models_that_it_names(ran):
    kept = {path.parent.name.split("-")[0] for path in ran.results.glob(f"controls/*/*/{MODEL}")}
    assert kept == {"vbpr"}


def test_a_result_without_the_model_that_its_track_keeps_is_made_again(ran, tmp_path):
    copied = tmp_path / "results"
    shutil.copytree(ran.results, copied)
    workspace = tiny_workspace(copied, ran.cache, kept_models=KEPT)
    (model,) = copied.glob(f"controls/*/*/{MODEL}")
    before = (model.parent / "top50.parquet").read_bytes()
    model.unlink()
    again = run_cases([Case.build(VBPR, "case"), Case.build({**CELL, "model": "bpr"}, "case")], workspace, 1)
    assert (again.done_before, again.computed) == (1, 1)
    assert model.is_file() and (model.parent / "top50.parquet").read_bytes() == before


def test_history_is_the_users_own_by_part(ran):
    opened = page(ran)
    rows = shown_ids(opened.history())
    catalogue, split = opened.dataset.catalogue, opened.dataset.split
    assert [int(heading.rpartition(": ")[2]) for heading in rows] == [len(ids) for ids in rows.values()]
    mine = {catalogue.item_ids[i] for i in catalogue.item[catalogue.user == opened.user]}
    assert set().union(*rows.values()) == mine and sum(map(len, rows.values())) == len(mine)
    held = [catalogue.item_ids[i] for i in split.test.item[split.test.user == opened.user]]
    assert next(ids for heading, ids in rows.items() if "for the test" in heading) == held


def test_lists_are_those_that_were_stored(ran):
    opened = page(ran)
    rows = shown_ids(opened.lists())
    assert [heading.partition(":")[0] for heading in rows] == ["VBPR with baseline", "BPR (reads no content)"]
    for model, ids in zip(("vbpr", "bpr"), rows.values(), strict=True):
        (record,) = ran.store.find_records(model=model)
        users, items = ran.store.top_items(record)
        stored = items[np.flatnonzero(users == opened.user)[0]][:10]
        assert ids == [opened.dataset.catalogue.item_ids[i] for i in stored]
    both = set.intersection(*map(set, rows.values()))
    marked = {card.item_id for _, cards in opened.lists().rows for card in cards if "in both lists" in card.notes}
    assert marked == both


def test_parts_are_of_the_first_list_and_add_up(ran):
    opened = page(ran, k=7)
    table = opened.parts()
    assert isinstance(table, ShownTable)
    numbers = table.numbers
    assert list(numbers.columns) == ["item", "id", "picture", "text", "score"] and len(numbers) == 7
    ids = next(iter(shown_ids(opened.lists()).values()))
    assert [re.search(r"\((\w+)\)$", name)[1] for name in numbers["item"]] == ids
    np.testing.assert_allclose(numbers[["id", "picture", "text"]].sum(axis=1), numbers["score"])
    assert (np.diff(numbers["score"]) < 1e-5).all(), "a stored list is ranked by the kept model's scores"
    told = opened.parts_in_words()
    total, *parts = [float(n) for n in re.findall(r"[+-]\d+\.\d\d", told.replace("−", "-"))]
    assert told.startswith("Over all ") and sum(parts) == pytest.approx(total, abs=0.02)


def test_neighbours_of_an_item_are_others(ran):
    rows = shown_ids(page(ran, item="C0007").neighbours())
    assert rows.pop("the item itself") == ["C0007"]
    assert set(rows) == {"baseline, pictures", "baseline, texts"}
    assert all(len(set(ids)) == 5 and "C0007" not in ids for ids in rows.values())


def test_nothing_is_fetched_and_a_picture_is_small(ran):
    html = page(ran).lists().to_html()
    sources = [img["src"] for img in BeautifulSoup(html, "lxml").select("img")]
    assert len(sources) == 20 and all(source.startswith("data:image/webp;base64,") for source in sources)
    assert max(map(len, sources)) < 6000


def test_without_results_every_part_says_so_and_trains_nothing(shared_cache, tmp_path):
    workspace = tiny_workspace(tmp_path / "none", shared_cache)
    opened = page(workspace)
    assert isinstance(opened.history(), Gallery)
    for found in (opened.lists(), opened.parts(), opened.neighbours()):
        assert isinstance(found, Sentence) and "run = True" in found.text
    assert opened.parts_in_words() == ""
    assert not (tmp_path / "none" / "controls").exists()


def test_what_is_missing_is_run_where_that_is_asked(shared_cache, tmp_path):
    workspace = tiny_workspace(tmp_path / "asked", shared_cache)
    opened = page(workspace, models=("vbpr",))
    opened.run_missing()
    assert isinstance(opened.lists(), Gallery) and isinstance(opened.parts(), ShownTable)


def test_a_list_without_a_model_is_shown_without_its_parts(shared_cache, tmp_path):
    workspace = tiny_workspace(tmp_path / "plain", shared_cache, kept_models=())
    run_case(plan(Case.build(VBPR, "case"), workspace), workspace)
    opened = page(workspace)
    headings = list(shown_ids(opened.lists()))
    assert headings[1] == "BPR (reads no content): its lists are not on this machine"
    assert "No model that can be taken apart" in opened.parts().text


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"user": "cu001"}, r"user = 'cu001' is none of the \d+ users .* write for instance user = 'cu\d+'"),
        ({"item": "C1"}, r"item = 'C1' is none of the 60 items .* write for instance item = 'C\d+'"),
        ({"models": ()}, r"models = \[\] names no model"),
        ({"models": ("vbrp",)}, "vbrp"),
        ({"encoder": "base"}, r"unknown encoder 'base'; did you mean 'baseline'"),
        ({"k": 51}, r"k = 51: runs store the first 50 items"),
        ({"k": 0}, "k = 0"),
    ],
)
def test_a_wrong_value_is_refused_with_the_cure(ran, given, message):
    with pytest.raises(ConfigError, match=message):
        page(ran, **given)


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("Merry bygone jar. Dunlin. Home", "Merry bygone jar"),
        ("one line", "one line"),
        ("", ""),
        ("No. 5 is a scent", "No"),
        ("word " * 30, "word word word word word word word word word wo…"),
    ],
)
def test_a_title_is_the_first_sentence(text, title):
    assert title_of(text) == title
