"""What was trained and is asked for again: a stored run whose encoder or model is not there, or damaged, runs again."""

import pytest

from lmmrec_core.errors import FeatureError
from lmmrec_core.study.cases import Case
from lmmrec_core.study.joint.attach import encoder_file, trained_encoder_of
from lmmrec_core.study.run import is_done, plan, run_case
from lmmrec_core.study.schedule import run_cases

CELL = {"track": "controls", "dataset": "complementary", "seed": 1, "model": "vbpr", "encoder": "clip"}
CASE = Case.build({**CELL, "paradigm": "ETE", "modalities": "V&T"}, "case")


def test_a_track_runs_cases_again_whose_encoder_is_asked_for_and_not_there(workspace):
    none, kept = workspace.keeping_encoders(False), workspace.keeping_encoders(True)
    todo = plan(CASE, workspace)
    first = run_case(todo, none)
    assert encoder_file(workspace, first) is None
    with pytest.raises(FeatureError, match=r"reproduce --track controls .*--encoder clip .*--seeds 1 --keep"):
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
