"""The rendered book: complete and local, numbers quoted, readable in a browser."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

import pytest
import yaml
from bs4 import BeautifulSoup, Tag

from lmmrec_core.book.rendering import fresh
from lmmrec_core.names import TRACKS
from tests.book.accessible import FAULTS
from tests.book.browser import CHROMIUM, DRIVER, browser, remote_requests, severe, show
from tests.book.rendered import notebook_at, prose, quotations, rendered, toc_files
from tests.book.source import SHOWING
from tests.book.traces import anchors, untraced

ROOT = Path(__file__).resolve().parents[2]
PROSE = prose(ROOT)
REMOTE = re.compile(r"^(https?:)?//")


#: A folder whose book was built of this code, to be tested as it is, with the pages that were executed there.
BUILT = "LMMREC_BOOK"
#: The file axe.min.js of axe-core, which is no dependency: with it every page is put before axe itself.
AXE = "LMMREC_AXE"


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if built := os.environ.get(BUILT):
        return Path(built)
    base = tmp_path_factory.getbasetemp()
    return rendered(ROOT, base.parent if base.name.startswith("popen-") else base)


def documents(site: Path) -> dict[Path, BeautifulSoup]:
    if site not in _PARSED:
        html = site / "_build" / "html"
        _PARSED[site] = {
            path: BeautifulSoup(path.read_text(encoding="utf-8"), "lxml")
            for name in toc_files(ROOT)
            if (path := html / f"{name}.html").is_file()
        }
    return _PARSED[site]


_PARSED: dict[Path, dict[Path, BeautifulSoup]] = {}


def test_it_renders_without_a_warning(site: Path) -> None:
    log = site / "log.txt"
    assert fresh(site), log.read_text(encoding="utf-8") if log.is_file() else "not rendered"


def test_exactly_the_pages_of_the_table_of_contents_are_rendered(site: Path) -> None:
    html = site / "_build" / "html"
    files = [path.relative_to(html).with_suffix("") for path in html.rglob("*.html")]
    built = {path.as_posix() for path in files if path.parts[0] != "_static"}
    assert built - {"index", "genindex", "search", "py-modindex"} == set(toc_files(ROOT))


def test_nothing_is_fetched_from_elsewhere(site: Path) -> None:
    for path, page in documents(site).items():
        for tag in page.find_all(["script", "link", "img", "iframe", "source", "video"]):
            address = tag.get("src") or (tag.get("href") if "canonical" not in (tag.get("rel") or []) else "") or ""
            assert not REMOTE.match(address), f"{path.name}: {tag}"
        scripts = " ".join(tag.get_text() for tag in page.find_all("script") if not tag.get("src"))
        assert not re.search(r"import\s*\(?\s*[\"']https?:|THEBE_JS_URL|importScripts\([\"']http", scripts), path.name


def ids_of(page: BeautifulSoup) -> set[str]:
    return {tag[key] for tag in page.find_all(True) for key in ("id", "name") if tag.get(key)}


def test_every_local_link_and_picture_exists(site: Path) -> None:
    parsed = {path.resolve(): page for path, page in documents(site).items()}
    anchors: dict[Path, set[str]] = {}
    for path, page in parsed.items():
        for tag in page.find_all(["a", "img", "script", "link"]):
            address = tag.get("href") if tag.name in ("a", "link") else tag.get("src")
            if not address or REMOTE.match(address) or address.startswith(("mailto:", "data:", "javascript:")):
                continue
            parts = urlparse(address)
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            assert target.exists(), f"{path.name}: {address}"
            if parts.fragment and target in parsed and tag.name == "a":
                known = anchors.setdefault(target, ids_of(parsed[target]))
                assert unquote(parts.fragment) in known | {"", "top"}, f"{path.name}: {address}"


def test_every_measured_number_leads_to_runs_that_the_receipt_lists(site: Path) -> None:
    pages = {path: page for path, page in documents(site).items() if path.parent.name in TRACKS}
    for path, page in pages.items():
        receipt = pages[path.parent / "05_receipt.html"]
        assert untraced(page.find("article")) == [], path
        assert anchors(page) <= {str(row["id"]) for row in receipt.select("table.cell-runs tr[id]")}, path


def visible(article: Tag) -> str:
    """The article's prose: code, outputs and formulas taken out."""
    copy = BeautifulSoup(str(article), "lxml")
    for tag in copy.select("pre, code, .math, script, style, table, .cell_output"):
        tag.decompose()
    return copy.get_text(" ")


def test_no_page_holds_leftovers(site: Path) -> None:
    for path, page in documents(site).items():
        article = page.find("article")
        assert article is not None and len(article.find_all("h1")) == 1, path
        assert article.select(".system-message, .problematic, .traceback, .output.stderr") == [], path
        assert "<Figure size" not in article.get_text(), f"{path}: a figure without axes is shown as its name"
        text = visible(article)
        assert not re.search(r"\{\w[\w:-]*\}`|\?\?|\bnan\b|Traceback|np\.float", text), path
        tables = " ".join(table.get_text(" ") for table in article.select("table"))
        assert not re.search(r"Traceback \(most recent|\bnan\b", tables, flags=re.IGNORECASE), path


def expected_text(notebook: Path, key: str, form: str) -> str:
    """The glued value of a notebook, formatted as the quoting page asks."""
    for cell in notebook_at(notebook).cells:
        for output in cell.get("outputs", []):
            if output.get("metadata", {}).get("scrapbook", {}).get("name") == key:
                text = next(value for mime, value in output.data.items() if mime.endswith("text/plain"))
                value = yaml.safe_load(text)
                return format(value, form) if form else str(value)
    raise AssertionError(f"{notebook}: nothing glued as {key!r}")


def test_quoted_numbers_are_those_of_the_notebooks(site: Path) -> None:
    for name in toc_files(ROOT):
        source = next(path for suffix in (".md", ".ipynb") if (path := site / f"{name}{suffix}").is_file())
        if source.suffix == ".md":
            texts = [source.read_text(encoding="utf-8")]
        else:
            texts = [cell.source for cell in notebook_at(source).cells if cell.cell_type == "markdown"]
        wanted = []
        for path, key, form in (quotation for text in texts for quotation in quotations(text)):
            if form != "table":
                folder = site if path and path.startswith("/") else source.parent
                wanted.append(expected_text(folder / path.lstrip("/") if path else source, key, form))
        page = documents(site)[site / "_build" / "html" / f"{name}.html"]
        assert [tag.get_text() for tag in page.select(".pasted-text")] == wanted, name


def test_pages_are_light(site: Path) -> None:
    sizes = {path.name: path.stat().st_size for path in [*documents(site), *(site / "_build" / "html").glob("*.html")]}
    assert {name: size for name, size in sizes.items() if size > 1_000_000} == {}


def test_terms_carry_their_definitions_and_drawings_are_part_of_their_pages(site: Path) -> None:
    terms = [link for page in documents(site).values() for link in page.select("article a:has(> .std-term)")]
    assert len(terms) > 60 and all(len(link.get("data-definition", "")) > 40 for link in terms)
    drawn = [svg for page in documents(site).values() for svg in page.select("article svg.drawn")]
    assert len(drawn) == len(list((ROOT / "book" / "_static").glob("*.svg"))) and all(
        svg["aria-label"] for svg in drawn
    )


def test_links_to_binder_and_colab_are_there_if_the_address_is_known(site: Path) -> None:
    known = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))["sphinx"]["config"]["study_repository"]
    for path, page in documents(site).items():
        assert bool(page.select(".launch")) == (bool(known) and "_generated" in path.parts), path


def test_formulas_are_served_by_the_book(site: Path) -> None:
    static = site / "_build" / "html" / "_static" / "mathjax"
    assert (static / "tex-chtml-full.js").is_file()
    assert any((static / "output" / "chtml" / "fonts").rglob("*.woff"))


# --- in a browser

needs_browser = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="chromium and chromedriver are not installed; the pages' looks are not tested"
)


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@needs_browser
@pytest.mark.browser
@pytest.mark.parametrize("width", [400, 1400])
def test_every_page_fits_typesets_and_asks_for_nothing(site: Path, driver: Any, width: int) -> None:
    for path, page in documents(site).items():
        show(driver, path, width)
        assert remote_requests(driver) == [], path.name
        assert severe(driver) == [], path.name
        formulas = len(page.select("article .math"))
        typeset = driver.execute_script("return document.querySelectorAll('article mjx-container').length")
        assert typeset >= formulas, path
        spread = driver.execute_script("return document.documentElement.scrollWidth")
        assert spread <= width, f"{path.name}: {spread} px wide on a screen of {width}"


@needs_browser
@pytest.mark.browser
@pytest.mark.parametrize(("width", "dark"), [(1400, False), (400, True)], ids=["desktop light", "phone dark"])
def test_every_page_can_be_read_by_everybody(site: Path, driver: Any, width: int, dark: bool) -> None:
    found = {}
    for path in documents(site):
        show(driver, path, width, dark=dark)
        assert driver.execute_script("return document.documentElement.dataset.theme") == ("dark" if dark else "light")
        if faults := driver.execute_script(FAULTS):
            found[path.relative_to(site / "_build" / "html").as_posix()] = faults
    assert found == {}


@needs_browser
@pytest.mark.browser
@pytest.mark.skipif(AXE not in os.environ, reason=f"{AXE} names no axe.min.js")
@pytest.mark.parametrize(("width", "dark"), [(1400, False), (400, True)], ids=["desktop light", "phone dark"])
def test_axe_finds_nothing_serious(site: Path, driver: Any, width: int, dark: bool) -> None:
    axe, found = Path(os.environ[AXE]).read_text(encoding="utf-8"), {}
    asked = """const done = arguments[0];
        axe.run(document, {resultTypes: ['violations']}).then(result => done(result.violations
            .filter(fault => ['serious', 'critical'].includes(fault.impact))
            .map(fault => `${fault.id}: ${fault.nodes.length}, ${fault.nodes[0].html.slice(0, 200)}`)));"""
    html = site / "_build" / "html"
    more = [path for name in ("search", "genindex") if (path := html / f"{name}.html").is_file()]
    show(driver, more[0], width, dark=dark)  # a change from light to dark takes a moment, in the first page alone
    for path in [*documents(site), *more]:
        show(driver, path, width, dark=dark)
        driver.execute_script(axe)
        if faults := driver.execute_async_script(asked):
            found[path.relative_to(html).as_posix()] = faults
    assert found == {}


@needs_browser
@pytest.mark.browser
def test_the_verdict_is_on_the_first_screen(site: Path, driver: Any) -> None:
    for path, page in documents(site).items():
        if path.parent.parent.name != "_generated" or path.stem in SHOWING:
            continue
        assert page.find("article").find("h2").get_text().startswith("Verdict"), path
        show(driver, path, 1400)
        top = "return document.querySelector('article h2').getBoundingClientRect().top"
        assert driver.execute_script(top) < 500, path


def test_figures_of_the_book_can_be_taken_home(site: Path) -> None:
    """The links below the figures of executed pages lead to their SVG, PDF and CSV."""
    found = [(path, box) for path, page in documents(site).items() for box in page.select("figure + p.table-files")]
    if not found:
        pytest.skip("no page is up to date; `make book` makes them")
    assert {tuple(link.get_text() for link in box.select("a[download]")) for _, box in found} == {("SVG", "PDF", "CSV")}
    for path, link in ((path, link) for path, box in found for link in box.select("a")):
        file = (path.parent / unquote(link["href"])).resolve()
        begins = {".pdf": b"%PDF-", ".svg": b"<?xml"}.get(file.suffix, b"")
        assert file.read_bytes().startswith(begins) and file.stat().st_size > 20, file


@needs_browser
@pytest.mark.browser
def test_the_front_page_tells_its_story_on_one_screen(site: Path, driver: Any) -> None:
    front = site / "_build" / "html" / "book" / "index.html"
    if not documents(site)[front].select("table.trial"):
        pytest.skip("the page that the front page quotes is not up to date; `make book` makes it")
    show(driver, front, 1400)
    top = "return document.querySelector(arguments[0]).getBoundingClientRect().top"
    for part in ("table.trial", ".forest", ".start"):
        assert driver.execute_script(top, part) < 700
    assert (
        driver.execute_script(top, "article h2") < 1200
    )  # with runs on films the table and the figure have more lines


@needs_browser
@pytest.mark.browser
def test_a_definition_shows_on_focus_and_escape_hides_it(site: Path, driver: Any) -> None:
    show(driver, site / "_build" / "html" / "book" / "chapters" / "training.html", 1400)
    shown = """const a = document.querySelector('article a.term'); a.focus({focusVisible: true});
        const shown = getComputedStyle(a, '::after'); return shown.display !== 'none' && shown.content.length > 40"""
    assert driver.execute_script(shown)
    driver.execute_script("dispatchEvent(new KeyboardEvent('keydown', {key: 'Escape'}))")
    hidden = "return getComputedStyle(document.querySelector('article a.term'), '::after').display"
    assert driver.execute_script(hidden) == "none"


@needs_browser
@pytest.mark.browser
def test_the_runs_of_a_receipt_can_be_explored(site: Path, driver: Any) -> None:
    """On the built page, with the one script that pages share; what menus and heads do is in test_explorer."""
    found = [path for path, page in documents(site).items() if page.find(id="receipt-runs")]
    if not found:
        pytest.skip("no track has stored runs on an up-to-date receipt page; `make reproduce` makes one")
    show(driver, found[0], 1400)
    rows = "return document.querySelectorAll('#receipt-runs tbody tr td:nth-child(2)').length"
    menus = (
        "return [...document.querySelectorAll('.explorer-filters label')].map(label => label.firstChild.data.trim())"
    )
    assert driver.execute_script(menus) == ["dataset", "model", "encoder", "paradigm", "modalities", "control"]
    field = driver.find_element("css selector", ".dt-search input")
    before = driver.execute_script(rows)
    field.send_keys("no such run anywhere")
    assert before > 0 and driver.execute_script(rows) == 0
