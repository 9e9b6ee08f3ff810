"""Every number of a results page leads to the keys of its runs."""

import itertools
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from bs4 import Tag

from lmmrec_core.digests import digest
from lmmrec_core.flow import Result
from lmmrec_core.names import FLOOR_MODELS, LATER_MODELS, PAPER_METRICS
from lmmrec_core.questions import Variant
from lmmrec_core.report.html import plain_table
from lmmrec_core.report.run_links import CellLinks, cell_anchor, cell_runs
from lmmrec_core.study import Study
from lmmrec_core.study.cases import Case
from tests.book.executing import execute
from tests.book.traces import LINK, OTHER_SOURCES, anchors, soup, untraced
from tests.study.made import SIDE, sides

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("01_motivation", "02_rq1_pretrained", "03_rq2_training", "04_rq3_modalities", "11_slices")


def everything(dataset: str) -> list[Result]:
    """Runs of all that the pages show of a data set, two seeds each, every run with numbers and a key of its own."""
    cases = [dict(zip(SIDE, side, strict=True)) for side in sides()]
    bare = {"encoder": "none", "paradigm": "none", "modalities": "none", "control": "none"}
    cases += [{"model": model, **bare} for model in FLOOR_MODELS if model not in ("bpr", "lightgcn")]
    whole = {"encoder": "baseline", "paradigm": "none", "modalities": "V&T", "control": "none"}
    cases += [{"model": model, **whole} for model in LATER_MODELS]
    cases += [{"model": "vbpr", **whole, "arm": "raw"}]
    notes = {"reading": "e2", "settings": {"part": "all", "policy": "window"}, "updates": 5}
    results = []
    for number, (fields, seed) in enumerate(itertools.product(cases, (1, 2))):
        case = {"track": "films", "dataset": dataset, "arm": "none", "split": 0, **fields, "seed": seed}
        draw = np.random.default_rng(number)
        level = draw.random()
        metrics = {
            name: level * part + 0.01 * draw.random(30) for name, part in zip(PAPER_METRICS, (4, 3, 2, 1), strict=True)
        }
        frame = pd.DataFrame(metrics, index=pd.RangeIndex(30, name="user"))
        record = {
            "key": digest(case, 16), "case": case, "cost": {"seconds": 1.0}, "settings": {}, "features": None,
            "training": {"features": notes, "stopped": "patience"} if fields["paradigm"] == "ETE" else None,
            "data": {"split": "s", "catalogue": "c"},
        }  # fmt: skip
        results.append(Result(case, frame, {"coverage@20": 0.5}, record))
    return results


def receipt_of(results: list[Result]) -> pd.DataFrame:
    known = {"split": "", "split seed": "", "in tables": "yes"}
    return pd.DataFrame([{**run.case, **known, "key": run.record["key"]} for run in results])


def keys_of_rows(receipt: Tag) -> dict[str, list[str]]:
    return {str(row["id"]): re.findall(r"\b[0-9a-f]{16}\b", row.get_text(" ")) for row in receipt.select("tr[id]")}


def test_every_number_of_every_page_leads_to_the_keys_of_its_runs(
    glued: dict, empty_study: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = everything("ml-sparse")
    of_key = {str(run.record["key"]): run for run in runs}
    monkeypatch.setattr(Study, "results", lambda self, question=None: runs)
    listed = keys_of_rows(soup(cell_runs(receipt_of(runs))._repr_html_()))
    assert sorted(key for keys in listed.values() for key in keys) == sorted(of_key)
    seen: set[str] = set()
    for name in PAGES:
        glued.clear()
        space = execute(ROOT / "notebooks" / f"{name}.ipynb", "films", seeds=[1, 2])
        shown = [*space["shown"].values(), *(table.to_html() for table in glued.values() if hasattr(table, "to_html"))]
        page = soup("\n".join(shown))
        assert untraced(page) == [], name
        assert anchors(page) <= set(listed), name
        seen |= anchors(page)
        for table in page.select("table"):  # what is a mean is that of the linked runs
            if str(table.get("id")) in {f"T_{table_name}" for table_name in ("table1", "table3", "table4", "table5")}:
                check_means(table, listed, of_key)
    assert len(seen) > 40 and {"runs-ml-sparse-popularity", "runs-ml-sparse-vbpr-baseline-VT-raw"} <= seen


def check_means(table: Tag, listed: dict[str, list[str]], of_key: dict[str, Result]) -> None:
    metrics = [head.get_text(strip=True) for head in table.select("thead tr:last-of-type th.col_heading")]
    names = {"R@10": "recall@10", "R@20": "recall@20", "N@10": "ndcg@10", "N@20": "ndcg@20"}
    names |= {"Recall@10": "recall@10", "Recall@20": "recall@20", "NDCG@10": "ndcg@10", "NDCG@20": "ndcg@20"}
    checked = 0
    for row in table.select("tbody tr"):
        for cell, head in zip(row.find_all("td"), metrics, strict=True):
            if link := cell.select_one(LINK):
                keys = listed[str(link["href"]).partition("#")[2]]
                mean = np.mean([of_key[key].mean(names[head]) for key in keys])
                assert float(link.get_text()) == pytest.approx(mean, abs=5e-5)
                checked += 1
    assert checked > 0


def test_a_number_without_a_link_is_noticed(glued: dict) -> None:
    bare = plain_table(pd.DataFrame({"cell": ["VBPR"], "change": [0.25]}), "compared").to_html()
    assert untraced(soup(bare)) == ["compared: VBPR 0.2500: 0.2500"]
    ends = pd.DataFrame({"cell": ["VBPR"], "change": [0.25], "runs": [CellLinks(("runs-null-vbpr-baseline-VT",))]})
    assert untraced(soup(plain_table(ends, "compared").to_html())) == []
    other = plain_table(pd.DataFrame({"cell": ["VBPR"], "change": [0.25]}), "claims").to_html()
    assert untraced(soup(other)) == [] and all(OTHER_SOURCES.values())


def test_a_cell_has_one_row_and_no_other_has_its_id() -> None:
    track = Study.open("films")
    cells = {(case.dataset, case.model, Variant.of(case.model_dump())) for case in track.cases()}
    ids = [cell_anchor(*cell) for cell in cells]
    assert len(set(ids)) == len(ids) and all(re.fullmatch(r"runs-[\w.+-]+", one) for one in ids)
    case = Case.build({"track": "films", "dataset": "null", "model": "vbpr", "encoder": "clip", "paradigm": "PT",
                       "modalities": "V&T", "control": "shuffled-T", "seed": 3}, "a test")  # fmt: skip
    assert cell_anchor("null", "vbpr", Variant.of(case.model_dump())) == f"runs-null-{case.slug.removesuffix('-s3')}"


def test_runs_on_further_splits_have_lines_of_their_own_and_uncommitted_ones_none() -> None:
    base = {"dataset": "null", "model": "bpr", "encoder": "none", "paradigm": "none", "modalities": "none"}
    base |= {"control": "none", "arm": "none", "in tables": "yes"}
    rows = [{**base, "split seed": split, "seed": seed, "key": f"{split}{seed}"}
            for split in (2027, 2026) for seed in (2, 1)]  # fmt: skip
    rows.append({**rows[0], "key": "refused", "in tables": "no"})
    html = cell_runs(pd.DataFrame(rows))._repr_html_()
    first, second = (f"split {n}: 1: <code>{n}1</code>, 2: <code>{n}2</code>" for n in (2026, 2027))
    assert f"{first}<br>{second}" in html
    assert html.count("<tr id=") == 1 and "refused" not in html
    assert "has been run" in cell_runs(pd.DataFrame())._repr_html_()
