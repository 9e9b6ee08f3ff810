"""A listing counts while all that it was made from is what is there now; each kind of change is told in words."""

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from lmmrec_core.cli.calibrate import renew_listings
from lmmrec_core.questions import QUESTIONS
from lmmrec_core.results.provenance import code_now
from lmmrec_core.study.calibration import listings
from lmmrec_core.study.calibration.listings import code_of_tests, read_listing
from lmmrec_core.study.calibration.page import CalibrationPage
from lmmrec_core.study.calibration.reading import read_calibration
from lmmrec_core.study.calibration.stored_runs import calibrate_stored
from lmmrec_core.study.calibration.summary import write_summary_of
from lmmrec_core.study.cases import Case
from lmmrec_core.study.run import plan, run_case
from lmmrec_core.study.study import Study
from tests.study.calibration.conftest import keep_listing

PAIR = pd.DataFrame(
    [{"dataset": "null", "model": "vbpr", "cell": "x", "metric": "ndcg@20", "seed_a": 1, "seed_b": 2, "difference": 0.0,
      "ci_low": -1.0, "ci_high": 1.0, "p": 0.5, "p_users": 0.5}]
)  # fmt: skip


def train(workspace, *seeds: int, **changes) -> None:
    for seed in seeds:
        case = {"track": "controls", "dataset": "complementary", "model": "bpr", "seed": seed}
        run_case(plan(Case.build(case, "case"), workspace, changes), workspace)


@pytest.fixture
def study(workspace, code) -> Study:
    """Two runs and both listings of them."""
    made = Study(workspace, workspace.track.seeds)
    train(workspace, 1, 2)
    for part in ("against-itself", "mde"):
        calibrate_stored(part, made)
    return made


def parts_that_count(study: Study) -> list[str]:
    stored = read_calibration(study.workspace.results, study.track)
    return [*("against-itself" for _ in stored.against_itself), *("mde" for _ in stored.detectable)]


def test_listings_of_todays_runs_count_without_a_word(study) -> None:
    stored = read_calibration(study.workspace.results, study.track)
    assert parts_that_count(study) == ["against-itself", "mde"] and stored.remarks() == ()


def test_reproduce_ends_with_listings_of_the_runs_that_are_there_now(study, capsys) -> None:
    train(study.workspace, 3)
    renew_listings(study)
    assert parts_that_count(study) == ["against-itself", "mde"] and "against itself" in capsys.readouterr().out
    assert (study.workspace.results / "calibration" / "summary.json").is_file()


def test_a_further_run_makes_both_listings_outdated_and_making_them_again_cures_it(study) -> None:
    train(study.workspace, 3)
    stored = read_calibration(study.workspace.results, study.track)
    assert stored.outdated_listings == {"against-itself controls": ("runs",), "mde controls": ("runs",)}
    assert parts_that_count(study) == []
    said = CalibrationPage(stored).summary()
    assert "against-itself controls is outdated and does not count: the stored runs changed" in said
    assert "`lmmrec calibrate --parts mde`" in said
    for part in ("against-itself", "mde"):
        calibrate_stored(part, study)
    assert parts_that_count(study) == ["against-itself", "mde"]


def test_the_summary_has_no_figure_of_an_outdated_listing(study) -> None:
    results = study.workspace.results
    whole = write_summary_of(read_calibration(results, study.track), results)
    assert whole["computed_from"]["mde"] and whole["computed_from"]["against-itself"]
    keep_listing(results, "against-itself-controls", PAIR)  # with a p; of another track's settings, so outdated here
    train(study.workspace, 3)
    write_summary_of(read_calibration(results, study.track), results)
    kept = json.loads((results / "calibration" / "summary.json").read_text(encoding="utf-8"))
    assert (kept["aa_rate"], kept["aa_rate_interval"], kept["aa_pairs"], kept["mde"]) == (None, None, 0, None)
    assert kept["computed_from"]["mde"] == kept["computed_from"]["against-itself"] == {}


def test_other_questions_touch_only_what_could_be_found(study, monkeypatch) -> None:
    asked = QUESTIONS["rq3"]
    monkeypatch.setitem(QUESTIONS, "rq3", replace(asked, planned=asked.planned[1:], claimed=(), shown=()))
    assert parts_that_count(study) == ["against-itself"]
    monkeypatch.setitem(QUESTIONS, "rq3", asked)
    assert parts_that_count(study) == ["against-itself", "mde"]
    monkeypatch.setitem(QUESTIONS, "rq3", replace(asked, reads=lambda variant: False))
    assert parts_that_count(study) == ["against-itself"]


def test_other_settings_of_the_track_are_noticed_also_where_no_run_is(study) -> None:
    other = study.track.model_copy(update={"training": {**study.track.training, "learning_rate": 0.5}})
    stored = read_calibration(study.workspace.results, other)  # no run was made under these
    assert stored.outdated_listings == {"against-itself controls": ("settings",), "mde controls": ("settings",)}
    assert "what is planned or declared changed" in " ".join(stored.remarks())


@pytest.mark.parametrize(
    ("path", "outdated"),
    [
        ("significance/crossed.py", {"against-itself controls", "mde controls", "coverage"}),
        ("results/pooling.py", {"against-itself controls", "mde controls"}),
        ("study/comparisons.py", {"mde controls"}),
    ],
)
def test_other_code_is_noticed(study, monkeypatch, path, outdated) -> None:
    results = study.workspace.results
    keep_listing(results, "coverage", PAIR)
    assert read_calibration(results, study.track).coverage is not None
    plain = listings._deeds
    monkeypatch.setattr(listings, "_deeds", lambda file: "other" if file.as_posix().endswith(path) else plain(file))
    stored = read_calibration(results, study.track)
    assert set(stored.outdated_listings) == outdated and {*stored.outdated_listings.values()} == {("code",)}
    assert "the code of the tests changed" in stored.remarks()[0]


def test_comments_docstrings_and_layout_are_not_code(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(listings, "_PACKAGE", tmp_path)
    (tmp_path / "significance").mkdir()
    file = tmp_path / "significance" / "one.py"

    def digest_of(text: str) -> str:
        file.write_text(text, encoding="utf-8")
        listings._deeds.cache_clear()
        return code_of_tests()

    first = digest_of('"""Module."""\n\ndef f(x):\n    """Docstring."""\n    return x + 1  # why\n')
    assert digest_of("def f(x):\n    'Other words.'\n\n    return (x\n        + 1)\n") == first
    assert digest_of("def f(x):\n    return x + 2\n") != first
    assert digest_of("def f(x):\n    return x - 1\n") != first
    assert digest_of("def f(x):\n    return x + 1.0\n") != first
    assert digest_of("def f(y):\n    return y + 1\n") != first
    file.rename(file.with_name("two.py"))
    assert code_of_tests() != first
    listings._deeds.cache_clear()


def test_without_runs_a_listing_counts_and_the_page_says_that_they_are_not_there(tmp_path, code, monkeypatch) -> None:
    keep_listing(tmp_path, "against-itself-controls", PAIR)
    stored = read_calibration(tmp_path)
    assert len(stored.against_itself["controls"].rows) == 1 and stored.not_compared == ("controls",)
    assert "The runs of controls are not stored here" in CalibrationPage(stored).summary()
    # what can be compared is
    monkeypatch.setattr(listings, "_deeds", lambda file: "other")
    stored = read_calibration(tmp_path)
    assert stored.outdated_listings == {"against-itself controls": ("code",)} and stored.not_compared == ()


def test_a_listing_from_before_there_were_several_digests_is_outdated(tmp_path, code) -> None:
    listings.write_listing(tmp_path, "coverage", PAIR, {}, code_now())
    made = read_listing(tmp_path, "coverage")
    old = replace(made, made={**made.made, "made_from": "51647bdf82b20c6b"})
    assert old.differs_in({"code": "x", "settings": "y"}) == ("code", "settings")


def test_opening_the_page_reads_no_value_of_any_user(study, monkeypatch) -> None:
    def never(*_: object) -> None:
        raise AssertionError("read the values of a run")

    monkeypatch.setattr(type(study.workspace.store), "load_record", never)
    assert parts_that_count(study) == ["against-itself", "mde"]
