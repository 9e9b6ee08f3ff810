"""What a reader takes home: unrounded numbers as CSV, the shown table as LaTeX."""

import io
import math

import pandas as pd
from bs4 import BeautifulSoup

from lmmrec_core.flow import Table
from lmmrec_core.questions import MODALITY_SPECIFIC
from lmmrec_core.report import tables
from lmmrec_core.report.beside import Beside, beside
from lmmrec_core.report.export import csv_of, numbers_of
from lmmrec_core.report.html import TABLES_KEPT, ShownTable, plain_table, results_table
from lmmrec_core.report.published import read_results
from tests.report.conftest import MakeResult


def trial() -> Table:
    index = pd.MultiIndex.from_tuples([("M", "M & co"), ("M", "b_1"), ("M", "c")], names=["group", "label"])
    columns = pd.MultiIndex.from_tuples([("Null", "NDCG@20"), ("Null", "Recall@20")])
    values = pd.DataFrame([[1 / 3, 0.5], [0.25, math.nan], [0.125, 0.1]], index=index, columns=columns)
    origin = values.isna().map(lambda absent: "not run" if absent else "measured")
    marks = pd.DataFrame([["↑", ""]] + [["", ""]] * 2, index=index, columns=columns)
    spread = pd.DataFrame([[0.0123, math.nan]] + [[math.nan] * 2] * 2, index=index, columns=columns)
    return Table("trial", "", values, origin, marks, spread)


def test_csv_holds_every_number_unrounded_and_the_reason_where_there_is_none() -> None:
    found = pd.read_csv(io.StringIO(csv_of(numbers_of(trial()))))
    assert list(found) == ["group", "row", "Null NDCG@20", "Null NDCG@20 ±", "Null Recall@20"]
    assert found["Null NDCG@20"].tolist() == [1 / 3, 0.25, 0.125] and found["Null NDCG@20 ±"][0] == 0.0123
    assert found["Null Recall@20"].tolist() == ["0.5", "not run", "0.1"]


def test_latex_shows_what_the_page_shows() -> None:
    lines = results_table(trial()).latex.splitlines()
    assert lines[0] == r"\begin{tabular}{lrr}" and lines[-1] == r"\end{tabular}"
    assert lines[2] == r" & \multicolumn{2}{c}{Null} \\" and lines[3] == r" & NDCG@20 & Recall@20 \\"
    assert lines[5] == r"M \& co & \textbf{0.3333}\textsuperscript{$\uparrow$} $\pm$0.0123 & \textbf{0.5000} \\"
    assert lines[6] == r"b\_1 & \underline{0.2500} & not run \\"


def test_a_notebook_keeps_the_files_under_the_id_of_the_table() -> None:
    frame = pd.DataFrame({"name": ["x"], "change": [0.0512345]})
    shown, kept = plain_table(frame, "my list", percent=("change",))._repr_mimebundle_()
    ((name, files),) = kept[TABLES_KEPT].items()
    assert f'<table id="{name}"' in shown["text/html"] and name == "T_my-list"
    assert files["csv"] == "name,change\nx,0.0512345\n" and r"x & +5.1 \% \\" in files["tex"]


def test_printed_and_measured_share_a_table_on_the_papers_data_sets(make_result: MakeResult) -> None:
    measured = tables.table3([make_result(0.5, dataset="baby")], ["clothing", "baby"], ["vbpr", "bm3"])
    shown = beside(tables.printed_table3(), measured)
    assert isinstance(shown, ShownTable)
    soup = BeautifulSoup(shown.to_html(), "html.parser")
    head = [[cell.text for cell in row.find_all("th")] for row in soup.select("thead tr")]
    assert head == [["Printed", "Measured"], ["Recall@10", "Recall@20", "NDCG@10", "NDCG@20"] * 2]
    rows = soup.select("tbody tr")
    assert [row.th.text for row in rows][0::5] == ["Amazon Clothing", "Amazon Baby"]
    assert [cell.text for cell in rows[0].find_all("td")] == [""] * 8
    by_name = {row.th.text: [cell.text for cell in row.find_all("td")] for row in rows[5:]}
    frame = read_results(3)
    of_paper = frame[
        (frame["dataset"] == "baby") & (frame["model"] == "vbpr") & (frame["variant"] == MODALITY_SPECIFIC)
    ]
    assert [float(text[:6]) for text in by_name["VBPR"][:4]] == of_paper["value"].tolist()
    assert by_name["VBPR"][4:] == ["0.5000"] * 4 and by_name["VBPR CLIP"][4:] == ["not run"] * 4
    assert by_name["BM3"][:4] == ["not printed"] * 4
    printed = {cell.text for cell in soup.select("td.printed")}
    assert printed and "0.5000" not in printed
    assert len(shown.numbers) == len(measured.values) * 2
    assert "heading" not in shown.numbers.astype(str).to_numpy().ravel()


def test_one_metric_gives_a_column_for_each_data_set(make_result: MakeResult) -> None:
    measured = tables.table5([make_result(0.5, dataset="baby")], ["sports", "baby"])
    soup = BeautifulSoup(beside(tables.printed_table5(), measured).to_html(), "html.parser")
    head = [[cell.text for cell in row.find_all("th")] for row in soup.select("thead tr")]
    assert head == [["Printed", "Measured"], ["Amazon Sports", "Amazon Baby"] * 2]


def test_on_other_data_sets_the_two_stay_apart_with_the_same_heads(make_result: MakeResult) -> None:
    shown = beside(tables.printed_table3(), tables.table3([make_result(dataset="null")], ["null"]))
    assert isinstance(shown, Beside)
    soup = BeautifulSoup(shown.to_html(), "html.parser")
    first, second = soup.find_all("table")
    assert [first.caption.text, second.caption.text] == ["Printed in the paper", "Measured here"]
    heads = [{cell.text for cell in table.select("th.level1.col_heading")} for table in (first, second)]
    assert heads[0] == heads[1] == {"Recall@10", "Recall@20", "NDCG@10", "NDCG@20"}
    assert set(shown._repr_mimebundle_()[1][TABLES_KEPT]) == {"T_printed3", "T_table3"}
