"""The tables of what was searched: one per data set, edges marked, totals right."""

import pandas as pd

from lmmrec_core.report.searched import EDGE, searched_tables, searched_words


def rows() -> pd.DataFrame:
    base = {"wider": 0, "failed": 0, "minutes": 1.5, "median": 0.2, "lowest": 0.1, "edge": "", "state": "searched"}
    return pd.DataFrame(
        [
            {**base, "dataset": "a", "model": "vbpr", "encoder": "baseline", "paradigm": "none", "trials": 8,
             "wider": 1, "best": 0.3, "settings": "learning_rate 0.02, reg_weight 1", "edge": "learning_rate"},
            {**base, "dataset": "a", "model": "vbpr", "encoder": "clip", "paradigm": "ETE", "trials": 0, "minutes": 0.0,
             "best": float("nan"), "settings": "", "state": "as PT: dear"},
            {**base, "dataset": "a", "model": "bpr", "encoder": "none", "paradigm": "none", "trials": 3, "best": 0.25,
             "settings": "reg_weight 1", "state": "part"},
            {**base, "dataset": "b", "model": "bpr", "encoder": "none", "paradigm": "none", "trials": 0, "minutes": 0.0,
             "best": float("nan"), "settings": "", "state": "not searched"},
        ]
    )  # fmt: skip


def test_each_searched_data_set_has_a_table_and_the_edges_are_marked() -> None:
    ((title, table),) = searched_tables(rows(), {"a": "Data A"})
    assert title == "Data A"
    assert table["model and features"].tolist() == ["VBPR baseline", "VBPR CLIP-ETE", "BPR"]
    assert table["settings"].tolist() == [f"learning_rate 0.02 {EDGE}, reg_weight 1", "as PT: dear", "reg_weight 1"]
    assert table["trials"].tolist() == ["8 + 1", "0", "3"] and table["best"].tolist()[::2] == [0.3, 0.25]


def test_the_words_add_up() -> None:
    words = searched_words(rows())
    assert words.startswith("12 trainings in 3 minutes; 1 of 4 cells are searched in full; winners at the end of a")
    assert "1 are searched in part" in words and "1 have the settings found under PT." in words
    assert "Nothing of this track has been searched" in searched_words(rows().iloc[3:])
