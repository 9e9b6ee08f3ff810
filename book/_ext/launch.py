"""Links below the title of an executed page: its notebook in Binder and in Colab, where the repository is public.

``study_repository`` of ``_config.yml`` is the address. Without one there are no links: none is invented. They lead to
the notebook in ``notebooks/``, which the repository holds, and not to the executed page, which it does not.
"""

import html
import re
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.typing import ExtensionMetadata

_LOGGER = logging.getLogger(__name__)
_ADDRESS = re.compile(r"https://github\.com/(?P<name>[\w.-]+/[\w.-]+?)/?")
_PAGE = re.compile(r"book/_generated/[\w.-]+/(?P<stem>[\w.-]+)")
_SETUP = "!git clone --depth 1 {address} study && pip install -q './study[book]'\n%env LMMREC_HOME=/content/study"


def links(page: str, address: str, branch: str) -> str:
    """The links of a page; "" if it is no notebook, or without an address. Raises ValueError for a wrong one."""
    found = _PAGE.fullmatch(page)
    if not address or found is None:
        return ""
    repository = _ADDRESS.fullmatch(address)
    if repository is None:
        raise ValueError(f"study_repository = {address!r}: write https://github.com/OWNER/NAME, or leave it empty")
    name, file = repository["name"], f"notebooks/{found['stem']}.ipynb"
    binder = f"https://mybinder.org/v2/gh/{name}/{branch}?urlpath=lab/tree/{file}"
    colab = f"https://colab.research.google.com/github/{name}/blob/{branch}/{file}"
    setup = html.escape(_SETUP.format(address=f"https://github.com/{name}"))
    return (
        f'<div class="launch"><p>Run it: <a href="{html.escape(binder)}">Binder</a> · <a href="{colab}">Colab</a></p>'
        f"<details><summary>In Colab, run this first</summary><pre>{setup}</pre></details></div>"
    )


def check(app: Sphinx) -> None:
    """A wrong address is a warning, hence an error with ``-W``."""
    try:
        links("book/_generated/shared/any", app.config.study_repository, app.config.study_branch)
    except ValueError as error:
        _LOGGER.warning("%s", error)


def add_links(app: Sphinx, page: str, template: str, context: dict[str, Any], document: nodes.document | None) -> None:
    """Put the links of a page below its title."""
    try:
        told = links(page, app.config.study_repository, app.config.study_branch)
    except ValueError:  # told once, by check
        return
    context["body"] = context.get("body", "").replace("</h1>", f"</h1>\n{told}", 1) if told else context.get("body")


def setup(app: Sphinx) -> ExtensionMetadata:
    """Register the two settings and the links."""
    app.add_config_value("study_repository", "", "html", str)
    app.add_config_value("study_branch", "main", "html", str)
    app.connect("builder-inited", check)
    app.connect("html-page-context", add_links)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
