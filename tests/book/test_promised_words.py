"""What the chapters promise about verdicts, marks of doubt and the second modality is kept."""

from pathlib import Path

import pandas as pd

from lmmrec_core.audit.anchors import read_anchors
from lmmrec_core.audit.cells import paper_cells, where
from lmmrec_core.audit.pretraining import OTHERS
from lmmrec_core.names import TRACKS
from lmmrec_core.report.abstract import ABSTRACT
from lmmrec_core.report.labels import dataset_name
from lmmrec_core.report.marks import AT_CAP, DISAGREE, DISAGREEMENT
from lmmrec_core.report.published import read_results
from lmmrec_core.report.rule import read_rule
from lmmrec_core.report.verdict import verdict
from lmmrec_core.study.declared.track_file import read_track
from lmmrec_core.study.evidence.abstract import AbstractPage
from tests.book.source import QUESTION_PAGES, ROOT, cells, chapter, table_under


def test_the_chapter_on_claims_gives_the_words_of_the_rule() -> None:
    text, rule = chapter("claims"), read_rule()
    rows = table_under(text, "the paper's data")
    assert [row[0] for row in rows] == list(rule.words["paper"])
    assert [row[1] for row in rows] == list(rule.words["elsewhere"])
    assert f"{rule.level:.0%}".replace("%", " % interval") in text
    assert f"all changes of {rule.margin:.0%}".replace("%", " % or more") in text
    assert rule.least_run == 0.5 and "fewer than half of its" in text
    assert rule.rounding == 1e-4 and "no further apart than their last digit" in text


def test_every_page_of_a_question_has_words_evidence_and_chances() -> None:
    for path in QUESTION_PAGES:
        code = cells(path, "code")
        for name in ("judged_listing", "claims_listing", "characteristics_listing", "conclude"):
            assert f"{name}(" in code, (path, name)
        assert "quote_all(answer.quoted)" in code  # the front page shows each word with what it rests on


def test_the_front_page_has_a_column_for_each_data_set_of_films_in_the_order_of_the_track(tmp_path: Path) -> None:
    trial = AbstractPage.open(home=tmp_path).trial
    films, names = trial.tracks[1], [dataset_name(name) for name in read_track("films").datasets]
    assert films.name == "films" and trial.places(films) == names
    assert all([found.place for found in trial.at(claim, films)] == names for claim in ABSTRACT)
    assert [track.name for track in trial.tracks] == list(TRACKS)


def test_no_claim_is_judged_over_data_sets_that_are_not_the_papers() -> None:
    assert "a claim is judged on each of the four data sets by itself" in chapter("data").replace("\n", " ")
    assert "by itself, and never over several" in chapter("claims")
    for question in ("motivation", "rq1", "rq2", "rq3"):
        films = list(read_track("films").datasets)
        assert list(verdict(question, pd.DataFrame(), films).apart) == [dataset_name(name) for name in films]
        assert not verdict(question, pd.DataFrame(), list(read_track("paper").datasets)).apart


def test_marks_of_doubt_are_those_that_the_chapter_explains() -> None:
    text = chapter("reading")
    assert f"{DISAGREE} marks a cell whose seeds disagree" in text and f"more than {DISAGREEMENT:g} times" in text
    assert f"*{AT_CAP}* marks a cell with a run that ended at" in text
    receipt = cells(ROOT / "notebooks" / "05_receipt.ipynb", "code")
    assert "training_note(receipt)" in receipt


def test_the_second_modality_is_read_at_equal_size() -> None:
    for path in QUESTION_PAGES:
        assert ("second_modality(" in cells(path, "code")) == ("motivation" in path.stem or "rq3" in path.stem)
    assert "references(" in cells(next(path for path in QUESTION_PAGES if "rq1" in path.stem), "code")


def test_the_page_of_the_audit_names_the_one_share_that_is_79_per_cent() -> None:
    table = paper_cells(read_results(3), read_results(4))
    others = where(table, model=OTHERS)
    starred, of_others = int(table["star"].sum()), int(others["star"].sum())
    fell = int((others["star"] & (others["PT"] < others["none"])).sum())
    text = " ".join(cells(ROOT / "notebooks" / "06_audit.ipynb", "markdown").split())
    assert f"of the {starred} starred cells, {of_others} are of the four models other than LATTICE" in text
    assert f"not by the {len(table)} cases, and {fell} of the {of_others} cells fell" in text
    assert len(OTHERS) == 4 and round(100 * of_others / starred) == 79


def test_the_page_that_shows_the_bands_says_that_no_source_tells_how_settings_were_selected() -> None:
    assert set(read_anchors()["selection"]) == {"not stated"}
    text = " ".join(cells(ROOT / "notebooks" / "06_audit.ipynb", "markdown").split())
    assert "No source says on which part of the data its settings were selected." in text


def test_readme_and_front_page_say_as_the_track_files_what_two_cores_need() -> None:
    readme = table_under((ROOT / "README.md").read_text(encoding="utf-8"), "`TRACK=`")
    front = table_under((ROOT / "book" / "index.md").read_text(encoding="utf-8"), "track")
    for at, (track, time) in enumerate([("controls", "minutes"), ("films", "days")]):
        assert f"two CPU cores need {time}" in read_track(track).where
        assert all(rows[at][-1].endswith(f"{time} on two CPU cores") for rows in (readme, front))


def test_readme_and_the_chapter_on_running_show_how_to_calibrate_and_to_check_a_table() -> None:
    for text in ((ROOT / "README.md").read_text(encoding="utf-8"), chapter("run")):
        assert "\nmake calibrate " in text and "\n.venv/bin/lmmrec check-table their-table.csv " in text
    assert "\n.venv/bin/lmmrec calibrate --dry-run " in chapter("run")
