"""The explorer of runs: every run is in it, menus and heads and the search work in a browser without a network."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from lmmrec_core.report.explorer import Explorer, explore
from lmmrec_core.report.html import Sentence
from tests.book.accessible import FAULTS
from tests.book.browser import CHROMIUM, DRIVER, browser, remote_requests, severe, show

ROWS = 900  # more than a listing is cut to by default
MODELS, ENCODERS = ("vbpr", "bpr", "lattice"), ("none", "baseline")


def runs() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "dataset": ["null" if n % 2 else "complementary" for n in range(ROWS)],
            "model": [MODELS[n % 3] for n in range(ROWS)],
            "encoder": [ENCODERS[n % 2] for n in range(ROWS)],
            "ndcg@20": [round((7 * n % ROWS) / ROWS, 4) for n in range(ROWS)],
            "key": [f"{n:016x}" for n in range(ROWS)],
        }
    )


def shown(frame: pd.DataFrame) -> str:
    found = explore(frame, "some-runs", filters=("dataset", "model"), best="ndcg@20")
    assert isinstance(found, Explorer)
    return found.html


def test_no_run_is_left_out() -> None:
    html = shown(runs())
    assert "downsampled" not in html
    assert all(key in html for key in runs()["key"])


def test_nothing_is_shown_of_no_runs_and_a_column_must_be_there() -> None:
    assert explore(pd.DataFrame(), "some-runs", filters=("dataset",), best="ndcg@20") == Sentence("")
    with pytest.raises(KeyError, match="recall"):
        explore(runs(), "some-runs", filters=("dataset",), best="recall")


# --- in a browser


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture
def page(tmp_path: Path) -> Path:
    from itables import options
    from itables.javascript import generate_init_offline_itables_html

    library = generate_init_offline_itables_html(options.dt_bundle)
    file = tmp_path / "explorer.html"
    head = '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>runs</title></head><body><article>'
    file.write_text(f"{head}{library}{shown(runs())}</article></body></html>", encoding="utf-8")
    return file


def column(driver: Any, number: int) -> list[str]:
    return driver.execute_script(
        "return [...document.querySelectorAll('#some-runs tbody tr')].map(row => row.cells[arguments[0]]?.innerText)",
        number,
    )


def drawn(driver: Any, number: int, first: str) -> list[str]:
    """The column once its first row is ``first``: after a click or a key the table is drawn a moment later, at once."""
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(driver, 20).until(lambda shown: column(shown, number)[:1] == [first])
    return column(driver, number)


@pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="chromium and chromedriver are not installed")
@pytest.mark.browser
def test_runs_are_sorted_filtered_and_searched(page: Path, driver: Any) -> None:
    from selenium.webdriver.support.ui import Select, WebDriverWait

    show(driver, page, 1400)
    WebDriverWait(driver, 20).until(lambda d: d.find_elements("css selector", ".explorer-filters select"))
    scores = [float(text) for text in column(driver, 3)]
    assert len(scores) == 10 and scores == sorted(scores, reverse=True) and scores[0] == max(runs()["ndcg@20"])
    menus = driver.find_elements("css selector", ".explorer-filters label")
    assert [menu.text.split()[0] for menu in menus] == ["dataset", "model"]
    dataset, model = (Select(menu.find_element("css selector", "select")) for menu in menus)
    assert [option.text for option in model.options] == ["all", "bpr", "lattice", "vbpr"]
    model.select_by_visible_text("bpr")  # "lattice" and "vbpr" must not match, though the last holds its letters
    dataset.select_by_visible_text("null")
    assert set(column(driver, 1)) == {"bpr"} and set(column(driver, 0)) == {"null"}
    model.select_by_visible_text("all")
    assert set(column(driver, 1)) == set(MODELS)
    driver.find_element("css selector", "#some-runs_wrapper thead th:nth-child(5)").click()
    of_null = sorted(runs().query("dataset == 'null'")["key"])
    assert drawn(driver, 4, first=of_null[0]) == of_null[:10]
    driver.find_element("css selector", ".dt-search input").send_keys(f"{ROWS - 1:016x}")
    assert drawn(driver, 4, first=of_null[-1]) == [f"{ROWS - 1:016x}"]
    assert remote_requests(driver) == [] and severe(driver) == []
    assert driver.execute_script(FAULTS) == {}
