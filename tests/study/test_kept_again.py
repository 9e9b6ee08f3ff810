"""What was trained and is asked for again: a stored run whose encoder or model is not there, or damaged, runs again."""

from types import SimpleNamespace

import pytest

from lmmrec_core.errors import FeatureError
from lmmrec_core.results import provenance as states
from lmmrec_core.results.provenance import ALLOW
from lmmrec_core.study.cases import Case
from lmmrec_core.study.joint import attach
from lmmrec_core.study.joint.attach import encoder_file, trained_encoder_of, why_not_kept
from lmmrec_core.study.preview.outlook import outlook
from lmmrec_core.study.run import is_done, plan, run_case
from lmmrec_core.study.schedule import run_cases
from lmmrec_core.study.study import Study
from lmmrec_core.study.weights.recipes import read_entry

# a seed of its own: the home is shared with tests that keep such an encoder
CELL = {"track": "controls", "dataset": "complementary", "seed": 61, "model": "vbpr", "encoder": "clip"}
CASE = Case.build({**CELL, "paradigm": "ETE", "modalities": "V&T"}, "case")


def test_a_track_runs_cases_again_whose_encoder_is_asked_for_and_not_there(workspace):
    none, kept = workspace.keeping_encoders(False), workspace.keeping_encoders(True)
    todo = plan(CASE, workspace)
    first = run_case(todo, none)
    assert encoder_file(workspace, first) is None
    with pytest.raises(
        FeatureError, match=r"reproduce --track controls .*--encoder clip .*--modalities 'V&T' --seeds 61 --k"
    ):
        trained_encoder_of(workspace, first)
    assert is_done(todo, workspace) and is_done(todo, none) and not is_done(todo, kept)
    assert run_cases([CASE], workspace, 1).computed == 0
    assert run_cases([CASE], kept, 1).computed == 1
    again = workspace.store.load(workspace.store.find_records(key=todo.key)[0].path)
    assert again.record["metrics"] == first.record["metrics"]
    assert is_done(todo, kept)
    file = encoder_file(workspace, again)
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.warns(UserWarning, match="--keep-encoder` trains it again"):
        assert not is_done(todo, kept)
    assert is_done(todo, workspace)  # nobody asked for it
    file.unlink()


def test_a_result_that_counts_is_not_replaced_by_one_that_would_not(workspace, monkeypatch):
    def code(dirty):
        monkeypatch.setattr(states, "_commit", lambda root: ("c0ffee00" * 5, dirty))

    monkeypatch.delenv(ALLOW)
    code(dirty=False)
    todo, kept = plan(CASE, workspace), workspace.keeping_encoders(True)
    run_case(todo, workspace.keeping_encoders(False))
    seen = outlook(Study(kept, (61,)), [CASE])
    assert (seen.stored, seen.ready, seen.lacking) == ((), (CASE,), (CASE,)) and not is_done(todo, kept)
    assert outlook(Study(workspace, (61,)), [CASE]).stored == (CASE,)  # nobody asks for the encoder
    code(dirty=True)
    seen = outlook(Study(kept, (61,)), [CASE])
    assert (seen.stored, seen.ready, seen.lacking) == ((CASE,), (), (CASE,))
    with pytest.warns(
        UserWarning, match=f"not made again by uncommitted code.*commit the code first, or set {ALLOW}=1"
    ):
        assert run_cases([CASE], kept, 1).computed == 0
    monkeypatch.setenv(ALLOW, "1")
    assert not is_done(todo, kept)


def test_an_encoder_that_cannot_be_kept_is_not_lacking(workspace, monkeypatch):
    name = read_entry(workspace.track, "clip").encoder
    todo, kept = plan(CASE, workspace), workspace.keeping_encoders(True)
    run_case(todo, workspace.keeping_encoders(False))
    assert why_not_kept(CASE, todo.end_to_end, workspace.track) is None and not is_done(todo, kept)

    class Guests(dict):
        guests = (name,)

    monkeypatch.setattr(attach, "ENCODERS", Guests({name: SimpleNamespace()}))
    assert why_not_kept(CASE, todo.end_to_end, workspace.track) == f"encoder {name!r} has no method `save`"
    assert is_done(todo, kept) and outlook(Study(kept, (61,)), [CASE]).lacking == ()
