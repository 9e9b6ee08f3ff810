"""The listing of end-to-end runs says who was trained, how exactly, and how far the features moved."""

from typing import Any

import pytest

from lmmrec_core.flow import Result
from lmmrec_core.report.end_to_end import end_to_end_listing
from lmmrec_core.report.html import ABSENT, plain_table
from lmmrec_core.training.joint.policies import WHAT
from lmmrec_core.training.joint.settings import EndToEndSettings
from tests.report.conftest import MakeResult


def notes(reading: str = "e2", updates: int = 8, change: float = 0.25, **settings: Any) -> dict[str, Any]:
    """As ``training/joint/e2.py`` leaves them."""
    checked = EndToEndSettings.build({"reading": reading, **settings})
    return {
        "reading": reading, "gradient": WHAT[checked.policy], "settings": checked.model_dump(mode="json"),
        "trained_parameters": 10, "steps_per_update": 3, "updates": updates, "items_encoded": 100, "boundary_bytes": 0,
        "start_difference": {"visual": 0.0, "textual": 0.0},
        "feature_change": {"visual": change, "textual": 2 * change},
    }  # fmt: skip


E1 = {"reading": "e1", "gradient": "exact, to the feature matrices; the encoder is not trained",
      "trained_parameters": 50, "feature_change": {"visual": 0.5, "textual": 0.1}}  # fmt: skip
E0 = {"reading": "e0", "gradient": "none: the encoder is not trained", "settings": {"part": "all"},
      "trained_parameters": 0, "refreshes": 3, "effect": "read as they are"}  # fmt: skip


@pytest.fixture
def ete(make_result: MakeResult):
    def make(found: dict[str, Any] | None, **case: Any) -> Result:
        made = make_result(encoder="clip", paradigm="ETE", **case)
        training = {**made.record["training"], **({} if found is None else {"features": found})}
        return Result(made.case, made.per_user, made.overall, {**made.record, "training": training})

    return make


def only(listing) -> dict[str, Any]:
    assert len(listing) == 1 and str(listing["runs"].iloc[0]).startswith("complementary-vbpr-clip-ETE-V")
    return dict(listing.drop(columns="runs").iloc[0])


def test_means_over_the_seeds_of_one_case(ete) -> None:
    runs = [ete(notes(updates=u, change=c), seed=s) for s, u, c in ((1, 8, 0.1), (2, 24, 0.3))]
    assert only(end_to_end_listing(runs)) == {
        "runs of": "Complementary, VBPR CLIP-ETE", "reading": "E2", "what trains": "the whole encoder",
        "gradient": "exact", "seeds": 2, "not trained": 0, "encoder updates": "16", "mean step": ABSENT,
        "picture rows": "0.2", "text rows": "0.4",
    }  # fmt: skip


def test_updates_up_to_the_kept_state_and_runs_that_were_not_trained(ete) -> None:
    runs = []
    for seed, kept, steps in ((1, 1, [1.0]), (2, 8, [1.0, 0.5, 0.3]), (3, 6, [0.9])):
        more = {"updates_before_kept": kept, "trained": kept >= 2, "update_record": {"mean_step": steps}}
        runs.append(ete({**notes(updates=30), **more}, seed=seed))
    found = only(end_to_end_listing(runs))
    assert (found["seeds"], found["not trained"], found["encoder updates"]) == (3, 1, "5")
    assert found["mean step"] == "0.80"  # of 1, 0.5, 0.9


def test_the_part_that_trains_is_named(ete) -> None:
    parts = {"heads": "its heads", "top-2": "its last blocks and heads (top-2)", "lora": "low-rank factors (LoRA)"}
    for part, words in parts.items():
        found = only(end_to_end_listing([ete(notes("e3", part=part))]))
        assert (found["reading"], found["what trains"], found["gradient"]) == ("E3", words, "exact")


def test_free_rows_and_the_letter_of_the_algorithm(ete) -> None:
    listing = end_to_end_listing([ete(E1, model="vbpr"), ete(E0, model="mmgcn")])
    free, letter = listing.to_dict("records")
    assert (free["what trains"], free["gradient"], free["encoder updates"]) == ("the feature rows", "exact", ABSENT)
    assert (free["picture rows"], free["text rows"]) == ("0.5", "0.1")
    assert letter["what trains"] == "nobody; rows computed again: read as they are"
    assert (letter["gradient"], letter["picture rows"]) == ("none", ABSENT)


def test_an_approximation_is_called_one_and_held_against_the_exact(ete) -> None:
    measured = [{"epoch": 1, "cosine": cosine, "relative_error": 0.1} for cosine in (0.5, 0.9, 0.98)]
    bank = notes(policy="bank", updates_per_epoch="every_step") | {"against_exact": measured}
    first, second = end_to_end_listing([ete(bank), ete(notes(), model="lattice")]).to_dict("records")
    assert first["gradient"] == f"approximate: {WHAT['bank']}" and first["cosine to exact"] == "0.9"
    assert (second["gradient"], second["cosine to exact"]) == ("exact", ABSENT)


def test_other_readings_modalities_and_data_sets_have_lines_of_their_own(ete) -> None:
    runs = [ete(notes()), ete(notes(), modalities="V"), ete(notes(), dataset="null"), ete(notes("e3", part="heads"))]
    assert end_to_end_listing(runs)["runs of"].tolist() == [
        "Complementary, VBPR CLIP-ETE", "Complementary, VBPR CLIP-ETE (V)", "Null, VBPR CLIP-ETE",
        "Complementary, VBPR CLIP-ETE",
    ]  # fmt: skip


def test_a_run_on_one_modality_changes_one(ete) -> None:
    one = notes() | {"feature_change": {"visual": 0.25}}
    found = only(end_to_end_listing([ete(one, modalities="V")]))
    assert (found["picture rows"], found["text rows"]) == ("0.25", ABSENT)


def test_runs_without_notes_have_no_line(ete, make_result: MakeResult) -> None:
    bare = make_result()
    untrained = Result(bare.case, bare.per_user, bare.overall, {**bare.record, "training": None})
    listing = end_to_end_listing([ete(None), bare, untrained])
    assert listing.empty and list(listing.columns)[:3] == ["runs of", "reading", "what trains"]


def test_it_can_be_shown(ete) -> None:
    html = plain_table(end_to_end_listing([ete(notes()), ete(E0, model="mmgcn")]), "end-to-end").to_html()
    assert "the whole encoder" in html and "nan" not in html
