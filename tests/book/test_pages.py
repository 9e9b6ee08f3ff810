"""The book: sources are sound, the rendering is complete and local, numbers are quoted and never typed."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

import pytest
import torch
import yaml
from bs4 import BeautifulSoup, Tag

from lmmrec_core.book.pages import pages
from lmmrec_core.book.rendering import fresh
from lmmrec_core.encoders import ENCODERS
from lmmrec_core.roles import Recommender, TrainingData
from lmmrec_core.study.track import is_multimodal
from lmmrec_core.study.weights.recipes import MultimodalSettings
from tests.book.accessible import FAULTS
from tests.book.browser import CHROMIUM, DRIVER, browser, remote_requests, severe, show
from tests.book.rendered import declared_pages, notebook_at, prose, quotations, rendered, toc_files

ROOT = Path(__file__).resolve().parents[2]
PROSE = prose(ROOT)
REMOTE = re.compile(r"^(https?:)?//")


# --- sources


def test_the_table_of_contents_names_every_notebook_once_per_track_or_once() -> None:
    files = toc_files(ROOT)
    assert len(files) == len(set(files))
    assert {page.target for page in pages(ROOT)} == {page.target for page in declared_pages(ROOT)}
    shared = [page for page in pages(ROOT) if page.track is None]
    assert {page.source.stem for page in shared} == {"06_audit", "07_public_code", "08_calibration", "09_verdicts"}
    assert all(page.values == {} and page.target.parent.name == "shared" for page in shared)


def test_every_chapter_is_in_the_table_of_contents() -> None:
    assert set((ROOT / "book").glob("**/*.md")) == set(PROSE)


def test_the_configuration_keeps_the_rest_of_the_repository_out() -> None:
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    assert {".*", "**/.*"} <= set(config["exclude_patterns"])
    assert config["execute"]["execute_notebooks"] == "off"
    assert not (ROOT / "_static").exists(), "a _static folder in the root puts every script on every page"
    assert not (ROOT / "conf.py").exists()


@pytest.mark.parametrize("path", PROSE, ids=lambda path: path.stem)
def test_no_measured_number_is_typed(path: Path) -> None:
    """Metric values, p-values and percentages of ours come from notebooks; prose holds definitions only."""
    text = re.sub(r"```.*?```|`[^`]*`|\$[^$]*\$", " ", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    typed = re.findall(r"(?<![\w.])0?\.\d{3,}|[+±-]\s?\d+(?:\.\d+)?\s?%|\bp\s?[=<]\s?0?\.\d+", text)
    assert typed == []


@pytest.mark.parametrize("path", PROSE, ids=lambda path: path.stem)
def test_prose_names_only_what_the_package_has(path: Path) -> None:
    """Files, modules and make targets that a chapter names exist."""
    text = path.read_text(encoding="utf-8")
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert set(re.findall(r"(?:^|`)make ([a-z]+)", text, flags=re.MULTILINE)) <= set(targets)
    allowed = {"lmmrec_core/recommenders/centroid.py"}  # the file that the worked example creates
    for name in set(re.findall(r"(?:lmmrec_core|notebooks|tests)/[\w/]+\.(?:py|ipynb|yaml)", text)) - allowed:
        assert (ROOT / name).is_file(), name


def worked_example() -> str:
    text = (ROOT / "book" / "chapters" / "add_recommender.md").read_text(encoding="utf-8")
    return re.search(r"```python\n(.*?)```", text, flags=re.DOTALL)[1]


def test_the_worked_example_of_a_recommender_works() -> None:
    space: dict[str, Any] = {"__name__": "centroid"}
    exec(compile(worked_example(), "add_recommender.md", "exec"), space)  # our own text, as a reader would run it
    visual = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.0, 2.0]])
    data = TrainingData(2, 4, torch.tensor([0, 1]), torch.tensor([0, 2]), {"visual": visual})
    centroid = space["Centroid"]
    model = centroid(data, centroid.Settings.build({}), torch.Generator())
    assert isinstance(model, Recommender) and centroid.name == "centroid"
    scores = model.scorer()(torch.tensor([0, 1]))
    assert scores.shape == (2, 4)
    assert scores[0].argsort(descending=True)[:2].tolist() == [0, 1]
    torch.testing.assert_close(scores[1, 2:], torch.ones(2))
    weighted = centroid(data, centroid.Settings.build({"popularity": 1.0}), torch.Generator())
    bonus = weighted.scorer()(torch.tensor([0]))[0] - scores[0]
    torch.testing.assert_close(bonus, torch.tensor([2.0, 1.0, 2.0, 1.0]).log())
    assert len(worked_example().splitlines()) < 50


def test_the_worked_entries_of_encoders_are_valid_settings() -> None:
    text = (ROOT / "book" / "chapters" / "add_encoder.md").read_text(encoding="utf-8")
    blocks = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", text, flags=re.DOTALL)]
    entries = [block.get("encoders", {"own": block}) for block in blocks]  # one block is a file with a single entry
    checked = []
    for entry in (entry for block in entries for entry in block.values()):
        members = [entry] if is_multimodal(entry) else list(entry.values())
        for member in members:
            settings = MultimodalSettings.build(member, "add_encoder.md")
            cls = ENCODERS[settings.encoder]
            checked.append(cls.Settings.build(settings.settings, "add_encoder.md"))
    assert len(entries) == 4 and len(checked) == 5


# --- the rendered book


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
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
    sizes = {path.name: path.stat().st_size for path in documents(site)}
    assert {name: size for name, size in sizes.items() if size > 1_000_000} == {}


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
def test_the_verdict_is_on_the_first_screen(site: Path, driver: Any) -> None:
    for path, page in documents(site).items():
        if path.parent.parent.name != "_generated" or path.stem[:2] in ("06", "07", "08"):
            continue
        assert page.find("article").find("h2").get_text().startswith("Verdict"), path
        show(driver, path, 1400)
        top = "return document.querySelector('article h2').getBoundingClientRect().top"
        assert driver.execute_script(top) < 500, path


@needs_browser
@pytest.mark.browser
def test_the_receipt_can_be_searched(site: Path, driver: Any) -> None:
    found = [path for path, page in documents(site).items() if page.find(id="receipt-runs")]
    if not found:
        pytest.skip("no track has stored runs on an up-to-date receipt page; `make reproduce` makes one")
    show(driver, found[0], 1400)
    rows = "return document.querySelectorAll('#receipt-runs tbody tr td:nth-child(2)').length"
    field = driver.find_element("css selector", ".dt-search input")
    before = driver.execute_script(rows)
    field.send_keys("no such run anywhere")
    assert before > 0 and driver.execute_script(rows) == 0
