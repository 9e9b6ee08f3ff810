"""Effects of the public code's choices: each is measured beside its opposite, and named as the ledger names it."""

import pytest

from lmmrec_core.audit.ledger import read_ledger
from lmmrec_core.config import Settings
from lmmrec_core.disk import write_sealed
from lmmrec_core.study.cases import left_out
from lmmrec_core.study.evidence.ledger import OTHERWISE, PUBLIC, LedgerPage, _used, side_of
from lmmrec_core.study.further.effects import ARMS, CHOSEN, MASKED, MEASURABLE, Effects, SideArm
from lmmrec_core.study.further.tracks import FURTHER, further_study
from lmmrec_core.study.search.summary import _SCHEMA
from lmmrec_core.study.study import Study
from lmmrec_core.study.track import OF_ENCODER
from tests.study.further.made import BASE, made_run, receipt_of
from tests.study.further.test_sensitivity import hits

DIFFERENCES = {difference.name: difference for difference in read_ledger().differences}


@pytest.fixture
def effects(monkeypatch: pytest.MonkeyPatch, tmp_path):
    monkeypatch.setenv("LMMREC_HOME", str(tmp_path))

    def make(results):
        monkeypatch.setattr(Study, "results", lambda self, question=None: list(results))
        monkeypatch.setattr(Study, "receipt", lambda self: receipt_of(list(results)))
        return Effects.open()

    return make


def test_the_ledger_has_every_difference_that_can_be_measured() -> None:
    assert set(MEASURABLE) <= set(DIFFERENCES)


@pytest.mark.parametrize(("name", "side"), ARMS.items())
def test_an_arm_takes_the_side_that_it_is_said_to_take(name: str, side: SideArm) -> None:
    study = further_study("effects", Study.open("films"))
    assert study is not None
    switch, arm = DIFFERENCES[name].switch, study.track.arms[side.arm]
    assert switch is not None
    own = {key.removeprefix(OF_ENCODER): value for key, value in arm.settings.items()}
    wanted = switch.public if side.public else switch.other
    assert {key: own.get(key) for key in wanted} == wanted
    if "end_to_end" not in switch.of:
        assert own == wanted  # one choice alone
        found = {side_of(settings, switch) for owner in switch.of if owner == "training" or owner in (arm.models or ())
                 for settings in _of_models(owner, switch, study, arm.models)}  # fmt: skip
        assert found == {OTHERWISE if side.public else PUBLIC}


def _of_models(owner: str, switch, study: Study, models) -> list[Settings]:
    chosen = switch.model_copy(update={"models": tuple(models)}) if owner == "training" else switch
    return _used(owner, chosen, study.track)


def test_the_side_track_runs_few_cells_on_sparse_data() -> None:
    for name in FURTHER["effects"]:
        study = further_study("effects", Study.open(name))
        assert study is not None and study.seeds == (1, 2, 3)
        cases = [case for case in study.cases() if left_out(case, study.track) is None]
        own = {case.slug for case in Study.open(name).cases()}
        assert {case.dataset.removesuffix("-lattice") for case in cases} == {"ml-sparse", "mt-sparse"}
        added = [case for case in cases if case.slug not in own or case.dataset.endswith("-lattice")]
        assert 0 < len(added) < 160


def test_an_arm_is_compared_with_its_cell_in_the_direction_of_the_public_code(effects) -> None:
    runs = [made_run(0.1, s, **BASE) for s in (1, 2, 3)]
    runs += [made_run(0.08, s, **{**BASE, "arm": "raw"}) for s in (1, 2, 3)]
    runs += [made_run(0.125, s, **{**BASE, "arm": "squared"}) for s in (1, 2, 3)]
    found = effects(runs)
    lines = found.lines.set_index("difference")
    assert lines.loc["features raw or of unit length", "change"] == pytest.approx(-0.2, abs=0.001)
    assert lines.loc["regulariser that is not squared", "change"] == pytest.approx(-0.2, abs=0.001)
    assert found.in_words["features raw or of unit length"].startswith("Recall@20 −20.0 % in one cell; 1 of them clear")
    html = found.listing().to_html()
    assert html.count('href="#runs-ml-sparse-vbpr-baseline-VT-raw"') == 1
    assert 'id="runs-ml-sparse-vbpr-baseline-VT-squared"' in found.runs()._repr_html_()
    assert found.listing(["ties"])._repr_markdown_().endswith("**not run**.")


def test_validation_items_need_no_training(effects) -> None:
    found = effects([made_run(0.9999, s, more=hits(21, 1), **BASE) for s in (1, 2, 3)])
    row = found.lines.set_index("difference").loc[MASKED]
    assert row["otherwise"] == 1.0  # without the validation item the hit is among the twenty


def test_choosing_on_the_test_part_is_read_from_searches(effects, tmp_path) -> None:
    found = effects([])
    assert "not run" in found.listing()._repr_markdown_() and found.in_words == {}
    assert found.not_run().startswith(f"*Not run*: {CHOSEN}; {MASKED}; rounded")
    leak = {"chosen_on_validation": {"test": 0.1}, "chosen_on_test": {"test": 0.11}}
    path = tmp_path / "results" / "films" / "search" / "ml-sparse-vbpr-baseline-VT-leak.json"
    write_sealed(path, {"schema": _SCHEMA, "leak": leak, "trials": [{}, {}]})
    again = effects([])
    assert again.in_words == {CHOSEN: "Recall@20 +10.0 % in one cell; 0 of them clear"}
    assert "search/ml-sparse-vbpr-baseline-VT-leak.json" in again.listing().to_html()


def test_the_page_of_the_ledger_says_what_is_measured(monkeypatch: pytest.MonkeyPatch, effects) -> None:
    runs = [made_run(0.1, s, **{**BASE, "arm": arm}) for arm in ("none", "raw") for s in (1, 2, 3)]
    effects(runs)
    page = LedgerPage.open()
    assert page.in_words.endswith("1 with a measured effect")
    shown = page.differences("Training").to_html()
    assert "Recall@20 +0.0 % in one cell" in shown or "Recall@20 −0.0 % in one cell" in shown
    assert "not measured yet" in shown and set(page.names) == set(DIFFERENCES)
