"""A figure gives its numbers as CSV and itself as PDF, twice alike; one that draws nothing gives nothing."""

import base64
import io

import pandas as pd

from lmmrec_core.report import figures
from lmmrec_core.report.calibration import p_value_figure, power_figure
from lmmrec_core.report.changes import change_table
from lmmrec_core.report.encoder_training import loss_curves
from lmmrec_core.report.figure_files import FIGURE_KEPT, bundle_of, files_of, numbers_drawn
from lmmrec_core.report.rule_shown import examples_figure
from tests.report.conftest import MakeResult, comparison
from tests.report.training_records import tuned


def test_the_numbers_are_those_that_are_drawn(make_result: MakeResult) -> None:
    runs = [make_result(0.1 * seed, dataset="null", seed=seed) for seed in (1, 2)]
    table = pd.read_csv(io.StringIO(files_of(figures.seed_strip(runs))["csv"]))
    assert table["seed"].tolist() == [1, 2] and len(set(table["label"])) == 1
    assert table["ndcg@20"].tolist() == [run.mean("ndcg@20") for run in runs]
    pair = pd.DataFrame([comparison(dataset="null", p_holm=0.01)])
    drawn = numbers_drawn(figures.forest(pair))
    assert drawn is not None and drawn["difference"].tolist() == pair["difference"].tolist()


def test_every_figure_with_something_to_draw_has_files(make_result: MakeResult) -> None:
    runs = [make_result(0.1, dataset="null", seed=seed) for seed in (1, 2)]
    curve = pd.DataFrame({"model": "vbpr", "content": [0.0, 1.0], "rate": [0.1, 0.9], "low": 0.0, "high": 1.0})
    made = [
        figures.seed_strip(runs),
        figures.training_curves(runs),
        figures.coverage_and_cost(runs),
        figures.printed_and_measured(change_table("rq1", [], ["null"])),
        p_value_figure({"users": [0.2, 0.9]}),
        power_figure(curve),
        examples_figure(),
        loss_curves([tuned("null")]),
    ]
    for figure in made:
        files = files_of(figure)
        assert set(files) == {"csv", "pdf"}
        assert base64.b64decode(files["pdf"]).startswith(b"%PDF-")
        assert len(pd.read_csv(io.StringIO(files["csv"]))) > 0


def test_a_figure_made_again_is_alike() -> None:
    assert files_of(examples_figure()) == files_of(examples_figure())


def test_nothing_drawn_has_no_files() -> None:
    assert files_of(figures.seed_strip([])) == {}
    assert bundle_of(figures.nothing_drawn()) == ({}, {})


def test_a_notebook_keeps_the_files_and_no_second_picture() -> None:
    data, kept = bundle_of(examples_figure())
    assert data == {} and set(kept) == {FIGURE_KEPT}
