"""The book's own Sphinx extension: a book that needs no network, numbered results tables, fresh quotations.

1. MathJax is served from the book itself; only the file and the fonts that pages load are copied.
2. A page that quotes a notebook is read again when that notebook changes.
3. ``{glue-table} key`` shows a glued table as a numbered, captioned table that scrolls by itself, ``{glue-figure} key``
   a drawing made of HTML as a numbered, captioned figure.
4. Thebe (live code) is left out: it names a remote script on every page, and pages here need none.
"""

import html
import importlib.util
import re
import shutil
from pathlib import Path
from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from myst_nb.core.variables import RetrievalError, render_variable_outputs
from myst_nb.ext.glue.utils import PendingGlueReference, create_pending_glue_ref, retrieve_glue_data
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective
from sphinx.util.typing import ExtensionMetadata, OptionSpec
from sphinx.writers.html5 import HTML5Translator

_LOGGER = logging.getLogger(__name__)
_MATHJAX = ("tex-chtml-full.js", "output/chtml/fonts")  # the full build fetches no further TeX extension later

_METRIC = re.compile(r"(<th[^>]*>[^<>@]*\w)@(?=\d)")  # Recall@10 may break before its @ in narrow columns


class ResultsTable(nodes.General, nodes.Element):
    """A caption and a glued table; numbered together with ordinary tables."""


class GlueTable(SphinxDirective):
    """``{glue-table} key`` with the caption as content; ``:doc:`` names the notebook of another page."""

    required_arguments = 1
    has_content = True
    option_spec: ClassVar[OptionSpec] = {
        "doc": directives.unchanged,
        "name": directives.unchanged,
        "class": directives.class_option,
    }

    def run(self) -> list[nodes.Node]:
        return self.captioned(ResultsTable(classes=["results-table"]))

    def captioned(self, node: nodes.Element) -> list[nodes.Node]:
        """``node`` with its caption and what was glued; no nodes if this notebook glued nothing by that name."""
        key = self.arguments[0]
        source, line = self.get_source_info()
        node["classes"] += self.options.get("class", [])
        self.set_source_info(node)
        self.add_name(node)
        content = nodes.Element()
        self.state.nested_parse(self.content, self.content_offset, content)
        if not content.children or not isinstance(content[0], nodes.paragraph):
            raise self.error(f"{self.name} {key!r} needs a caption: one paragraph below its options")
        caption = nodes.caption(content[0].rawsource, "", *content[0].children)
        if "doc" in self.options:
            shown = [create_pending_glue_ref(self.state.document, source, line, self.options["doc"], key)]
        else:
            try:
                data = retrieve_glue_data(self.state.document, key)
            except RetrievalError:
                _LOGGER.warning("%s: no %r in this notebook", self.name, key, location=(self.env.docname, line))
                return []
            shown = render_variable_outputs([data], self.state.document, line, source)
        node += [caption, *shown] if isinstance(node, ResultsTable) else [*shown, caption]
        return [node]


class GlueFigure(GlueTable):
    """``{glue-figure} key``, as ``{glue-table}``, for what is drawn in HTML; its caption stands below."""

    def run(self) -> list[nodes.Node]:
        return self.captioned(nodes.figure(classes=["drawing"]))


def caption_of(node: nodes.Node) -> str:
    """What lists of tables and ``{numref}`` call the table."""
    return next((child.astext() for child in node.children if isinstance(child, nodes.caption)), "")


def visit_html(translator: HTML5Translator, node: nodes.Element) -> None:
    """The figure, its numbered caption, and the opening of the box that scrolls."""
    translator.body.append(translator.starttag(node, "figure", CLASS=" ".join(node["classes"])))
    caption = node[0]
    translator.body.append("<figcaption>")
    translator.add_fignumber(node)
    translator.body.append('<span class="caption-text">')
    for child in caption.children:
        child.walkabout(translator)
    translator.body.append("</span>")
    if node["ids"]:
        translator.add_permalink_ref(node, "Link to this table")
    label = html.escape(caption.astext(), quote=True)
    translator.body.append(f'</figcaption>\n<div class="table-scroll" role="region" tabindex="0" aria-label="{label}">')
    start = len(translator.body)
    for child in node.children[1:]:
        child.walkabout(translator)
    translator.body[start:] = [_METRIC.sub(r"\1<wbr>@", part) for part in translator.body[start:]]
    translator.body.append("</div></figure>\n")
    raise nodes.SkipNode


def visit_plain(translator: nodes.NodeVisitor, node: nodes.Element) -> None:
    """Other builders show the caption and what they can of the table."""


def depart_plain(translator: nodes.NodeVisitor, node: nodes.Element) -> None:
    """Nothing to close."""


def copy_mathjax(app: Sphinx) -> None:
    """Copy MathJax to where the pages look for it. A missing package is a warning, hence an error with ``-W``."""
    if app.builder.format != "html":
        return
    found = importlib.util.find_spec("sphinx-mathjax-offline")  # only carries the files; never loaded as extension
    if found is None or not found.submodule_search_locations:
        _LOGGER.warning("sphinx-mathjax-offline is not installed; formulas would need the network")
        return
    source = Path(next(iter(found.submodule_search_locations))) / "static" / "mathjax"
    target = Path(app.outdir) / "_static" / "mathjax"
    for name in _MATHJAX:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        if (source / name).is_dir():
            shutil.copytree(source / name, target / name, dirs_exist_ok=True)
        else:
            shutil.copyfile(source / name, target / name)
    app.config.mathjax_path = "mathjax/tex-chtml-full.js"


def note_quotations(app: Sphinx, document: nodes.document) -> None:
    """The page depends on every notebook it quotes."""
    for reference in document.findall(PendingGlueReference):
        app.env.note_dependency(app.env.doc2path(reference.refdoc, base=False))


def drop_thebe(app: Sphinx, page: str, template: str, context: dict[str, Any], document: nodes.document | None) -> None:
    """Take Thebe's file and its inline snippet out of a page's scripts."""

    def thebe(script: object) -> bool:
        body = getattr(script, "attributes", {}).get("body") or ""
        name = str(getattr(script, "filename", None) or script)
        return "THEBE_JS_URL" in body or "thebe" in name.lower()

    context["script_files"] = [script for script in context.get("script_files", []) if not thebe(script)]


def setup(app: Sphinx) -> ExtensionMetadata:
    """Register all of the above with Sphinx."""
    plain = (visit_plain, depart_plain)
    app.add_enumerable_node(ResultsTable, "table", caption_of, html=(visit_html, depart_plain), latex=plain, text=plain)
    app.add_directive("glue-table", GlueTable)
    app.add_directive("glue-figure", GlueFigure)
    app.connect("builder-inited", copy_mathjax)
    app.connect("doctree-read", note_quotations)
    app.connect("html-page-context", drop_thebe, priority=900)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
