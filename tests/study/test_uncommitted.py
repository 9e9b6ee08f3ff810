"""Results of code that differs from its commit: withheld, counted, allowed on request, made again once committed."""

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from lmmrec_core.errors import ConfigError, ResultError
from lmmrec_core.report.figures import NOTHING, seed_strip
from lmmrec_core.report.html import results_table
from lmmrec_core.report.layout import is_uncommitted
from lmmrec_core.report.receipt import absent, receipt_verdict, weights_note
from lmmrec_core.report.tables import floor
from lmmrec_core.results import provenance as states
from lmmrec_core.results.provenance import ALLOW, allows_uncommitted, code_state
from lmmrec_core.study import run as running
from lmmrec_core.study import study as module
from lmmrec_core.study.cases import Case
from lmmrec_core.study.inputs import prepare_cases
from lmmrec_core.study.run import plan, run_case
from lmmrec_core.study.schedule import run_cases
from lmmrec_core.study.study import Study
from lmmrec_core.study.weights.making import make_shared_weights
from lmmrec_core.study.weights.records import suspect_weights, write_encoder_record
from lmmrec_core.study.workspace import Workspace

COMMIT = "c0ffee00" * 5
CASE = Case.build({"track": "controls", "dataset": "complementary", "model": "popularity"}, "case")
WHERE = ["complementary"]


@pytest.fixture
def code(monkeypatch: pytest.MonkeyPatch):
    """Sets what git would say: the commit, and whether files differ from it."""
    monkeypatch.delenv(ALLOW)

    def say(dirty: bool | None, commit: str | None = COMMIT) -> None:
        monkeypatch.setattr(states, "_commit", lambda root: (commit, dirty))

    return say


def study_of(workspace: Workspace) -> Study:
    return Study(workspace, (1,))


def test_a_result_of_changed_code_stands_in_no_table(workspace, code):
    code(dirty=True)
    run_case(plan(CASE, workspace), workspace)
    study = study_of(workspace)
    results = study.results()
    assert len(results) == 0 and len(results.withheld) == 1
    table = floor(results, WHERE, ["popularity", "bpr"], ["ndcg@20"])
    assert table.origin.iloc[:, 0].tolist() == ["uncommitted", "not run"] and table.values.isna().all().all()
    html = results_table(table).to_html()
    assert ">uncommitted<" in html and ">not run<" in html
    assert seed_strip(results).axes[0].texts[0].get_text() == NOTHING
    reasons = absent(study.not_run()).set_index("reason")["cases"]
    assert reasons[module.BY_UNCOMMITTED_CODE] == 1
    for text in (study.describe(), module.BY_UNCOMMITTED_CODE):
        assert "uncommitted code" in text and "commit the code" in text and ALLOW in text
    assert "1 results are of uncommitted code" in study.describe() and "stored: 0 of" in study.describe()


def test_the_receipt_names_it(workspace, code):
    code(dirty=True)
    key = plan(CASE, workspace).key
    run_case(plan(CASE, workspace), workspace)
    receipt = study_of(workspace).receipt()
    assert receipt["code"].tolist() == ["uncommitted"] and receipt["in tables"].tolist() == ["no"]
    assert receipt["commit"].tolist() == ["c0ffee00+"]
    assert f"1 of them stand in no table: {key}." in receipt_verdict(receipt)


def test_allowed_it_counts_and_the_table_says_so(workspace, code, monkeypatch):
    code(dirty=True)
    run_case(plan(CASE, workspace), workspace)
    monkeypatch.setenv(ALLOW, "1")
    study = study_of(workspace)
    results = study.results()
    assert len(results) == 1 and not results.withheld
    table = floor(results, WHERE, ["popularity"], ["ndcg@20"])
    assert table.origin.iat[0, 0] == "measured" and table.caption.endswith("1 hold runs of **uncommitted code**.")
    assert "allowed" in study.describe() and ALLOW in study.describe()
    assert study.receipt()["in tables"].tolist() == ["yes"]


@pytest.mark.parametrize(("dirty", "commit"), [(False, COMMIT), (None, None), (None, COMMIT)])
def test_committed_and_unknown_code_counts(workspace, code, dirty, commit):
    code(dirty, commit)
    run_case(plan(CASE, workspace), workspace)
    study = study_of(workspace)
    assert len(study.results()) == 1 and "uncommitted" not in study.describe()
    caption = floor(study.results(), WHERE, ["popularity"], ["ndcg@20"]).caption
    assert "uncommitted" not in caption
    assert study.receipt()["code"].tolist() == ["committed" if dirty is False else "unknown"]


def test_once_the_code_is_committed_it_is_made_again(workspace, code):
    code(dirty=True)
    first = run_case(plan(CASE, workspace), workspace)
    assert run_cases([CASE], workspace, jobs=1).done_before == 1  # nothing is gained by doing it again
    code(dirty=None, commit=None)
    assert running.is_done(plan(CASE, workspace), workspace)
    code(dirty=False)
    assert not running.is_done(plan(CASE, workspace), workspace)
    again = run_case(plan(CASE, workspace), workspace)
    assert again.record["provenance"]["dirty"] is False and again.record["key"] == first.record["key"]
    assert again.mean("ndcg@20") == first.mean("ndcg@20")
    assert len(study_of(workspace).results()) == 1
    folders = [path for path in (workspace.results / "controls" / "complementary").iterdir() if path.is_dir()]
    assert len(folders) == 1


def test_a_result_that_counts_is_not_replaced_for_the_sake_of_its_model(workspace, code, monkeypatch):
    todo = plan(Case.build({**CASE.model_dump(), "model": "bpr"}, "case"), workspace, {"embedding_dim": 4, "steps": 2})
    code(dirty=False)
    run_case(todo, workspace)
    code(dirty=True)
    with pytest.raises(ResultError, match=r"without the model that is asked for, by committed code.*commit the code"):
        run_case(todo, workspace, keep_model=True)
    assert running.folder_of(todo, workspace).is_dir()
    code(dirty=False)
    assert run_case(todo, workspace, keep_model=True).record["provenance"]["dirty"] is False
    code(dirty=True)
    run_case(todo, workspace, keep_model=True)  # it is there already


def test_code_that_was_committed_while_it_ran_stays_uncommitted(workspace, code, monkeypatch):
    code(dirty=True)
    real = running._measure

    def commit_now(*arguments):
        code(dirty=False)
        return real(*arguments)

    monkeypatch.setattr(running, "_measure", commit_now)
    assert run_case(plan(CASE, workspace), workspace).record["provenance"]["dirty"] is True


def test_an_older_result_of_committed_code_goes_before_a_newer_of_changed_code(workspace, code):
    code(dirty=False)
    todo = plan(CASE, workspace)
    run_case(todo, workspace)
    code(dirty=True)
    other = replace(todo, key="f" * 16)  # the same case, for instance of other data
    run_case(other, workspace)
    study = study_of(workspace)
    assert [result.record["key"] for result in study.results()] == [todo.key]
    assert not study.results().withheld


def test_records_of_encoders_are_withheld_too(workspace, code):
    note = {"tuning": {"history": []}}
    made = {"time": "2026-01-01T00:00:00", "commit": COMMIT, "dirty": True}
    write_encoder_record(workspace.results, "controls", None, "clip", "PT", "ab" * 32, note, made=made)
    write_encoder_record(
        workspace.results, "controls", None, "vlmo", "PT", "cd" * 32, note, made={**made, "dirty": False}
    )
    records = study_of(workspace).encoder_records()
    assert {record["encoder"]: "withheld" in record for record in records} == {"clip": True, "vlmo": False}
    allowed = replace(study_of(workspace), allow_uncommitted=True)
    assert not any("withheld" in record for record in allowed.encoder_records())


CONTENT = CASE.model_copy(update={"model": "vbpr", "encoder": "baseline", "modalities": "V&T"})


@pytest.fixture
def suspect(workspace, code):
    """A run of committed code, whose picture encoder's weights are recorded as made by uncommitted code."""
    code(dirty=False)
    run = run_case(plan(CONTENT, workspace), workspace)
    weights = run.record["features"]["card"]["spec"]["encoders"]["visual"]["weights"]["state_sha256"]

    def say(dirty: bool) -> None:
        made = {"time": "2026-01-01T00:00:00", "commit": COMMIT, "dirty": dirty}
        write_encoder_record(workspace.results, "controls", None, "light-cnn", "PT", weights, {}, made=made)

    say(dirty=True)
    return say


def test_a_run_that_read_weights_of_changed_code_stands_in_no_table(workspace, suspect, monkeypatch):
    study = study_of(workspace)
    results = study.results()
    assert len(results) == 0 and len(results.withheld) == 1
    assert "**1 results read encoder weights of uncommitted code** and stand in no table" in study.describe()
    assert absent(study.not_run()).set_index("reason")["cases"][module.BY_UNCOMMITTED_CODE] == 1
    receipt = study.receipt()
    assert receipt["code"].tolist() == ["uncommitted weights"] and receipt["in tables"].tolist() == ["no"]
    assert not running.is_done(plan(CONTENT, workspace), workspace)
    monkeypatch.setenv(ALLOW, "1")
    study = study_of(workspace)
    assert len(study.results()) == 1 and running.is_done(plan(CONTENT, workspace), workspace)
    assert "allowed" in study.describe() and study.receipt()["code"].tolist() == ["uncommitted weights"]
    assert is_uncommitted(study.results()[0])  # which captions count


def test_the_same_weights_made_by_committed_code_clear_the_run(workspace, suspect):
    suspect(dirty=False)
    assert len(study_of(workspace).results()) == 1 and running.is_done(plan(CONTENT, workspace), workspace)


def test_running_again_makes_the_weights_and_the_run_anew(workspace, code):
    here = replace(workspace, cache=workspace.results.parent / "cache")  # weights of its own
    code(dirty=True)
    make_shared_weights(here, "baseline", here.dataset("complementary"))
    code(dirty=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(ALLOW, "1")
        run_cases([CONTENT], here, jobs=1)
    assert len(study_of(here).results()) == 0 and len(study_of(here).results().withheld) == 1
    prepare_cases([CONTENT], here)  # in this process, where the state of the code is the test's
    run_case(plan(CONTENT, here), here)
    assert len(study_of(here).results()) == 1
    assert not any("withheld" in record for record in study_of(here).encoder_records())


def test_weights_tuned_from_suspect_ones_are_suspect(workspace, code):
    def told(encoder, paradigm, weights, dirty, note):
        made = {"time": "2026-01-01T00:00:00", "commit": COMMIT, "dirty": dirty}
        dataset, seed = (None, None) if paradigm == "PT" else ("complementary", 1)
        write_encoder_record(workspace.results, "controls", dataset, encoder, paradigm, weights, note, seed, made)

    told("clip", "PT", "ab" * 32, True, {})
    told("clip", "FT", "cd" * 32, False, {"parent": "ab" * 32})
    told("vlmo", "PT", "ef" * 32, False, {})
    assert suspect_weights(workspace.track, workspace.results) == {"ab" * 32, "cd" * 32}


def test_a_state_of_the_code_needs_both_facts() -> None:
    assert code_state({"commit": COMMIT, "dirty": False}) == "committed"
    assert code_state({"commit": COMMIT, "dirty": True}) == "uncommitted"
    assert code_state({"commit": COMMIT}) == code_state({}) == code_state({"dirty": False}) == "unknown"


def test_a_flag_that_is_neither_is_refused(monkeypatch):
    monkeypatch.setenv(ALLOW, "yes")
    with pytest.raises(ConfigError, match=f"{ALLOW}='yes': write {ALLOW}=1"):
        allows_uncommitted()


def test_the_receipt_names_the_weights_of_changed_code(workspace, suspect):
    study = study_of(workspace)
    (record,) = (r for r in study.encoder_records() if code_state(r["provenance"]) == "uncommitted")
    assert "withheld" in record
    named = study.sources()
    named = named[(named["what"] == "weights") & (named["made by"] == "uncommitted")]
    assert named["digest"].tolist() == [str(record["weights"])[:16]] and named["runs"].tolist() == [1]
    assert str(record["weights"])[:8] in weights_note(study.sources())
    suspect(dirty=False)
    assert weights_note(study.sources()) == ""


def test_sources_are_the_digests_that_the_records_hold(workspace, code):
    code(dirty=False)
    content = CASE.model_copy(update={"model": "vbpr", "encoder": "baseline", "modalities": "V&T"})
    for case in (CASE, content):
        run_case(plan(case, workspace), workspace)
    sources = study_of(workspace).sources()
    assert sources["what"].tolist() == ["catalogue", "split", "features", "weights", "weights"]
    folder = Path(workspace.results) / "controls" / "complementary"
    (file,) = folder.glob("vbpr-*/run.json")
    record = json.loads(file.read_text())
    held = [record["data"]["catalogue"], record["data"]["split"], record["features"]["digest"]]
    assert sources["digest"].tolist()[:3] == [found[:16] for found in held]
    states = [entry["weights"]["state_sha256"] for entry in record["features"]["card"]["spec"]["encoders"].values()]
    assert sorted(sources["digest"].tolist()[3:]) == sorted(found[:16] for found in states)
    assert sources["runs"].tolist()[:3] == [2, 2, 1]
    row = study_of(workspace).receipt().set_index("model").loc["vbpr"]
    assert isinstance(row, pd.Series)
    assert [row["catalogue"], row["split"], row["features"]] == [found[:8] for found in held]
    assert set(row["weights"].split(", ")) == {found[:8] for found in states}
