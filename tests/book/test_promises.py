"""What the chapters promise about pages, tables and numbers is kept."""

import json
import re
from math import log2

import numpy as np
import pytest

from lmmrec_core.audit.quadruples import quadruples
from lmmrec_core.encoders import ENCODERS
from lmmrec_core.encoders.fine_tuning.holdout import ENOUGH, LEAST_SHARE, MOST_SHARE
from lmmrec_core.metrics.ranking import ndcg, recall
from lmmrec_core.names import CONTROL_TITLES, GRIDS, ID_TWINS, PAPER_MODELS, TRACKS
from lmmrec_core.questions import MODALITY_SPECIFIC, trained
from lmmrec_core.report.end_to_end import end_to_end_listing
from lmmrec_core.report.published import read_results
from lmmrec_core.study.declared.settings import resolve
from lmmrec_core.study.declared.track_file import read_track
from lmmrec_core.study.study import Study
from lmmrec_core.study.track import is_multimodal
from lmmrec_core.study.weights.recipes import end_to_end_settings
from lmmrec_core.study.workspace import Workspace
from lmmrec_core.training.joint.updates import EPS, MIN_UPDATES
from tests.book.source import NOTEBOOKS, QUESTION_PAGES, ROOT, cells, chapter, table_under

# --- claims: facts about the printed tables


def test_stars_of_table_3_are_on_rows_that_got_worse_too() -> None:
    frame = read_results(3)
    base = {(r.dataset, r.model, r.metric): r.value for r in frame.itertuples() if r.variant == MODALITY_SPECIFIC}
    starred = [row.value > base[row.dataset, row.model, row.metric] for row in frame.itertuples() if row.starred]
    assert 0 < sum(starred) < len(starred) > 100


def test_tables_1_and_5_differ_in_encoder_and_paradigm() -> None:
    (first,), (fifth,) = ({(v.encoder, v.paradigm) for v in read_results(number)["variant"]} for number in (1, 5))
    assert first[0] != fifth[0] and first[1] != fifth[1]


def test_several_systems_print_what_no_ranking_can_have() -> None:
    assert quadruples(read_results(3), read_results(4))["impossible"].sum() > 3


def test_lattice_trained_end_to_end_is_nearly_the_same_with_both_encoders() -> None:
    frame = read_results(4)
    gaps = {}
    for model, rows in frame.groupby("model"):
        clip, vlmo = (
            rows[rows["variant"] == trained(encoder, "ETE")].set_index(["dataset", "metric"])["value"]
            for encoder in ("clip", "vlmo")
        )
        gaps[model] = (clip / vlmo - 1).abs()
    lattice = gaps.pop("lattice")
    assert lattice.max() < 0.005
    assert all(gap.mean() > 0.1 for gap in gaps.values())


def test_a_page_of_a_question_counts_the_printed_changes() -> None:
    for path in QUESTION_PAGES:
        assert "printed_summary(" in cells(path, "code") and "## Beside the paper" in cells(path, "markdown"), path


# --- numbers and lists in the method chapters


def test_the_worked_example_of_the_metrics_is_right() -> None:
    hits, held_out = np.array([[False, True, False, False, True]]), np.array([3])
    assert recall(hits, held_out, 5)[0] == pytest.approx(2 / 3)
    ideal = 1 + 1 / log2(3) + 1 / log2(4)
    assert ndcg(hits, held_out, 5)[0] == pytest.approx((1 / log2(3) + 1 / log2(6)) / ideal)
    assert "Recall@5 is 2/3" in chapter("evaluation") and r"(1/\log_2 3 + 1/\log_2 6)" in chapter("evaluation")


def test_the_measured_errors_of_the_policies_are_those_of_the_benchmark() -> None:
    models = json.loads((ROOT / "benchmarks" / "policies.json").read_text(encoding="utf-8"))["models"]
    text = chapter("training")
    header = next(line for line in text.splitlines() if line.startswith("| policy | VBPR"))
    order = [cell.partition(":")[0].strip().lower() for cell in header.strip("| ").split("|")[1:]]
    rows = table_under(text, header.strip("| "))
    assert [row[0].replace("`", "") for row in rows] == list(models[order[0]])
    for name, *shown in rows:
        for model, cell in zip(order, shown, strict=True):
            found, exact = models[model][name.replace("`", "")], models[model]["window"]
            if "refused" in found:
                assert cell == "refused"
                continue
            time = found["seconds_per_update"] / exact["seconds_per_update"]
            numbers = (time, found["median_cosine"], found["median_relative_error"])
            assert cell == ", ".join(f"{number:.2f}" for number in numbers), (name, model)


def test_our_propagation_is_the_faster_one_and_agrees() -> None:
    ways = json.loads((ROOT / "benchmarks" / "propagation.json").read_text(encoding="utf-8"))["ways"]
    others = {name: way for name, way in ways.items() if name != "ours"}
    assert len(others) == 3
    for way in others.values():
        assert way["times_ours"] > 1 and way["largest_difference"] < 1e-5


def test_every_track_takes_the_exact_policy() -> None:
    for track in map(read_track, TRACKS):
        for name, entry in track.encoders.items():
            if is_multimodal(entry):
                assert end_to_end_settings(track, name).policy == "window"


@pytest.mark.parametrize("name", [*TRACKS, "user"])
def test_every_track_trains_at_the_pace_that_the_chapter_states(name: str) -> None:
    text = chapter("training")
    assert all(words in text for words in ("Every 60 optimiser steps", "for 1,200 steps", "about 10,000 steps"))
    track = read_track(name)
    pace = {"steps": 10_000, "evaluate_steps": 60, "patience_steps": 1_200}
    for training in (track.training, *(model.get("training", {}) for model in track.models.values())):
        assert not {"epochs", "evaluate_every", "patience"} & set(training)
        assert pace == {**pace, **{key: training[key] for key in pace if key in training}}
    assert {key: track.training[key] for key in pace} == pace


@pytest.mark.parametrize("name", TRACKS)
def test_every_track_reads_unit_rows_and_trains_no_copies_of_them(name: str) -> None:
    workspace = Workspace.open(name)
    for model in workspace.track.models:
        settings, _ = resolve(workspace, model)
        assert getattr(settings, "normalise_features", True) and not getattr(settings, "trainable_features", False)


def test_controls_and_twins_are_those_of_the_chapters() -> None:
    assert [row[0] for row in table_under(chapter("encoders"), "control")] == list(CONTROL_TITLES.values())
    told = "BPR for VBPR, of which nothing else is left without content, and LightGCN for the others"
    assert told in chapter("recommenders").replace("\n", " ")
    assert {ID_TWINS.get(model, "lightgcn") for model in PAPER_MODELS if model != "vbpr"} == {"lightgcn"}
    assert ID_TWINS["vbpr"] == "bpr"


def test_the_rules_of_training_are_those_of_the_code() -> None:
    text = " ".join(chapter("training").split())
    assert "a tenth of the items, or 200 if that is more, but at most a quarter" in text
    assert (LEAST_SHARE, ENOUGH, MOST_SHARE) == (0.1, 200, 0.25)
    assert "updated at least twice before the state that was kept" in text and MIN_UPDATES == 2
    assert r"$\varepsilon = 10^{-5}$" in text and EPS == 1e-5
    assert any(read_track(name).warm_start for name in TRACKS)
    assert "`Study.trained_encoder(result)` returns the encoder" in text and callable(Study.trained_encoder)


def test_pages_of_rq2_list_what_end_to_end_training_did() -> None:
    columns = set(end_to_end_listing([]).columns)
    told = {
        "reading",
        "what trains",
        "gradient",
        "not trained",
        "encoder updates",
        "mean step",
        "picture rows",
        "text rows",
    }
    assert told <= columns
    assert "end_to_end_listing(" in cells(next(path for path in NOTEBOOKS if "rq2" in path.stem), "code")


def test_features_by_themselves_are_on_the_pages_of_rq1_and_drops_on_those_of_the_data() -> None:
    (rq1,) = (path for path in NOTEBOOKS if "rq1" in path.stem)
    assert "alignment_listing(" in cells(rq1, "code") and "dropped(" in cells(NOTEBOOKS[0], "code")


def test_lists_of_names_are_complete() -> None:
    encoders = [row[0] for row in table_under(chapter("encoders"), "name")]
    assert set(re.findall(r"`([\w-]+)`", " ".join(encoders))) == set(ENCODERS.own)
    grids = [row[0] for row in table_under(chapter("run"), "`--grid`")]
    assert re.findall(r"`(\w+)`", " ".join(grids)) == list(GRIDS)
    readme = table_under((ROOT / "README.md").read_text(encoding="utf-8"), "`TRACK=`")
    assert re.findall(r"`(\w+)`", " ".join(row[0] for row in readme)) == list(TRACKS)


def test_threads_beside_a_busy_process_take_as_long_as_is_said() -> None:
    """The chapter on running: of the committed measurement, in every size and model."""
    rows = json.loads((ROOT / "benchmarks" / "threads.json").read_text(encoding="utf-8"))["rows"]
    seconds = {(row["size"], row["model"], row["way"]): row["seconds"] for row in rows if row["busy"]}
    for size, model in {place[:2] for place in seconds}:
        one = seconds[size, model, "one"]
        assert 1.5 < seconds[size, model, "spinning"] / one < 3.5
        assert seconds[size, model, "chosen"] / one < 1.2
