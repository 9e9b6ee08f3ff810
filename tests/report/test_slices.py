"""Tables of slices: one per data set, columns that all its runs have, nothing invented without runs."""

import pandas as pd

from lmmrec_core.flow import Result
from lmmrec_core.report.html import Sentence
from lmmrec_core.report.slices import TablePerDataset, lists_tables, slices_tables
from tests.report.conftest import MakeResult


def test_a_table_for_each_data_set_that_was_run(make_result: MakeResult) -> None:
    def run(dataset: str, encoder: str, seed: int, **overall: float) -> Result:
        paradigm = "none" if encoder == "baseline" else "PT"
        made = make_result(0.1, dataset=dataset, encoder=encoder, paradigm=paradigm, seed=seed)
        return Result(made.case, made.per_user, {"coverage@20": 0.5, "novelty@20": 6.25, **overall}, made.record)

    runs = [run("null", name, s, **{"cold_recall@20": 0.2}) for name in ("baseline", "clip") for s in (1, 2)]
    runs += [run("redundant", "baseline", 1)]
    tables = slices_tables(runs, ["null", "complementary", "redundant"], ["vbpr"])
    assert isinstance(tables, TablePerDataset) and len(tables.tables) == 2
    first, second = (pd.DataFrame(table.numbers) for table in tables.tables)
    assert list(first.columns) == ["group", "row", "Null all", "Null all ±", "Null cold", "Null cold ±"]
    assert first["Null cold"].tolist() == [0.2, 0.2] and list(second.columns) == ["group", "row", "Redundant all"]
    shown = lists_tables(runs, ["null"], ["vbpr"])._repr_html_()
    assert "6.25" in shown and "Gini" not in shown and "#runs-null-vbpr-clip-PT-VT" in shown


def test_without_runs_there_are_words(make_result: MakeResult) -> None:
    assert isinstance(slices_tables([], ["null"]), Sentence)
    assert "not run" in lists_tables([make_result(dataset="other")], ["null"])._repr_markdown_()
