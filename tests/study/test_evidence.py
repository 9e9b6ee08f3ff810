"""The ledger of the public code: its switches exist here, take both sides, and what the tracks have is told."""

import pytest

from lmmrec_core.audit.ledger import (
    Difference,
    Ledger,
    Switch,
    differences_frame,
    evidence_frame,
    parts_of,
    read_ledger,
)
from lmmrec_core.errors import ConfigError
from lmmrec_core.names import TRACKS
from lmmrec_core.recommenders import RECOMMENDERS
from lmmrec_core.study.evidence.ledger import OTHERWISE, PUBLIC, LedgerPage, settings_class, side_of, sides_in_tracks
from lmmrec_core.study.evidence.printed import PrintedAudit
from lmmrec_core.training.loop import TrainingSettings

LEDGER = read_ledger()
SWITCHES = [
    pytest.param(owner, difference.switch, id=f"{difference.name} ({owner})")
    for difference in LEDGER.differences
    if difference.switch
    for owner in difference.switch.of
]


@pytest.mark.parametrize(("owner", "switch"), SWITCHES)
def test_every_switch_exists_and_takes_both_sides(owner: str, switch: Switch) -> None:
    for side, word in ((switch.public, PUBLIC), (switch.other, OTHERWISE)):
        settings = settings_class(owner).build(side, owner)
        assert {name: getattr(settings, name) for name in side} == side
        assert side_of(settings, switch) == word


def test_the_ledger_names_each_difference_once_and_where_it_is() -> None:
    names = [difference.name for difference in LEDGER.differences]
    assert len(set(names)) == len(names) > 40
    assert set(RECOMMENDERS.own) >= {m for d in LEDGER.differences if d.switch for m in d.switch.models}
    for difference in LEDGER.differences:
        assert difference.public and difference.study and difference.where
    assert set(LEDGER.commits) >= {place.repository for d in LEDGER.differences for place in d.where}


def test_frames_of_the_ledger() -> None:
    frame = differences_frame(LEDGER.differences, {})
    assert (frame["effect"] == "not measured yet").all() and (frame != "").all(axis=None)
    used = sides_in_tracks(LEDGER.differences)
    evidence = evidence_frame(LEDGER, LEDGER.differences, used).set_index("difference")
    row = evidence.loc["rounded validation score"]
    assert row["read in"] == "enoche/MMRec at e775373: src/utils/topk_evaluator.py (evaluate, line 101)"
    assert (row["as the public code"], row["otherwise"]) == (
        "training: stop_rounding=4",
        "training: stop_rounding=null",
    )
    assert evidence.loc["ties", "as the public code"] == "none" and evidence.loc["ties", "tracks"] == ""


def test_what_the_tracks_have_is_read_from_their_files() -> None:
    assert set(sides_in_tracks(LEDGER.differences)) == {d.name for d in LEDGER.differences if d.switch}
    never = Switch(of=("training",), public={"patience": 123456}, other={"patience": 123457})
    made_up = [
        Difference(name="x", part="p", public="a", study="b", where=LEDGER.differences[0].where, switch=never, run="r")
    ]
    assert all("patience" in side for side in sides_in_tracks(made_up).values())
    assert sides_in_tracks(made_up, tracks=TRACKS[:1]).keys() == {"x"}


def test_a_setting_left_to_the_mode_takes_the_side_of_the_mode() -> None:
    (switch,) = (d.switch for d in LEDGER.differences if d.name == "ranking by a sigmoid")
    settings = RECOMMENDERS["slmrec"].Settings
    assert side_of(settings.build({}), switch) == PUBLIC
    assert side_of(settings.build({"mode": "described"}), switch) == OTHERWISE
    assert (
        side_of(
            TrainingSettings.build({"patience": 7}),
            Switch(of=("training",), public={"patience": 1}, other={"patience": 2}),
        )
        == "patience 7"
    )


def test_a_pace_in_steps_is_told_in_steps() -> None:
    switch = Switch(of=("training",), public={"patience": 20}, other={"patience": 50})
    told = [
        side_of(TrainingSettings.build(given), switch) for given in ({"patience_steps": 1200}, {}, {"patience": 20})
    ]
    assert told == ["patience 1200 steps", "patience by default", PUBLIC]
    used = sides_in_tracks(LEDGER.differences)
    assert used["stopping rule"] == "all: patience 1200 steps"
    assert not any("None" in side for side in used.values())
    assert used["features raw or of unit length"] == "all: otherwise"  # said once for a whole track


def test_a_ledger_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ConfigError, match="the two sides of a switch are the same"):
        Switch.build({"of": ["vbpr"], "public": {"a": 1}, "other": {"a": 1}})
    plain = LEDGER.model_dump(mode="json")
    with pytest.raises(ConfigError, match="run 'guess' is not one of"):
        Ledger.build({**plain, "differences": [{**plain["differences"][0], "run": "guess"}]})
    with pytest.raises(ConfigError, match="no commit is given for a/b"):
        Ledger.build(
            {**plain, "differences": [{**plain["differences"][0], "where": [{"repository": "a/b", "file": "c"}]}]}
        )
    with pytest.raises(ConfigError):
        settings_class("trainings")


def test_the_page_shows_one_part_or_all() -> None:
    page = LedgerPage.open("VBPR")
    assert "Shown here: VBPR (1)" in page.summary()
    assert all(f"*{kind}*" in page.runs() for kind in LEDGER.runs)
    assert all(f"{name} (" in LedgerPage.open().summary() for name in parts_of(LEDGER.differences))


def test_the_audit_holds_baselines_against_their_bands() -> None:
    outside = PrintedAudit().outside()
    assert set(zip(outside["model"], outside["data set"], outside["where"], strict=True)) == {
        ("VBPR", "Amazon Baby", "above"), ("VBPR", "Amazon Clothing", "above"), ("MMGCN", "Amazon Sports", "below"),
        ("MMGCN", "Amazon Clothing", "below"),
    }  # fmt: skip
    assert len(PrintedAudit().banded()) > len(outside)
