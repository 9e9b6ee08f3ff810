"""The reference pages: signatures as the code writes them, and the fields of a value with their comments.

autodoc prints what an alias stands for (``numpy.ndarray[tuple[Any, ...], numpy.dtype[numpy.int64]]``); here the alias
is put back. The fields of a frozen class are explained by comments beside them, which autodoc does not read.
"""

import dataclasses
import inspect
import re
from typing import Any

from sphinx.application import Sphinx
from sphinx.util.typing import ExtensionMetadata

_ARRAY = r"~?(?:numpy\.)?ndarray\[tuple\[~?(?:typing\.)?Any, \.\.\.\], ~?(?:numpy\.)?dtype\[~?(?:numpy\.)?{}\]\]"
#: What autodoc prints → what the code says.
_ALIASES = (
    *((re.compile(_ARRAY.format(kind)), name) for kind, name in (
        ("int64", "IntArray"), ("float64", "FloatArray"), ("float32", "Float32Array"), ("bool", "BoolArray"),
    )),
    (re.compile(r"~?(?:typing\.)?Literal\['visual', 'textual'\]"), "Modality"),
    (re.compile(r"<factory>"), "..."),
    (re.compile(r"~?\b(?:[a-z_]\w*\.)+(?=\w)"), ""),  # modules in front of names
)  # fmt: skip
_FIELD = re.compile(
    r"^    (?P<name>[a-z]\w*): (?P<kind>[^=#\n]+?)(?: = (?P<default>[^#\n]+?))?(?:  # (?P<words>.+))?$", re.M
)


def shorten(text: str | None) -> str | None:
    """A signature, or what it returns, in the words of the code."""
    for found, instead in _ALIASES:
        text = found.sub(instead, text) if text else text
    return text


def sign(
    app: Sphinx, what: str, name: str, thing: Any, options: Any, signature: str | None, returns: str | None
) -> Any:
    """A value is signed by its fields, which are listed below it; anything else as it is called."""
    if what == "class" and dataclasses.is_dataclass(thing):
        return "", None
    return shorten(signature), shorten(returns)


def skip(app: Sphinx, what: str, name: str, thing: Any, skipped: bool, options: Any) -> bool | None:
    """pydantic's own attribute of every settings class says nothing of it."""
    return True if name == "model_config" else None


def list_fields(app: Sphinx, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Add the fields of a value to its docstring: name, type, default, and the comment beside it."""
    if what != "class" or not dataclasses.is_dataclass(thing):
        return
    written = {match["name"]: match for match in _FIELD.finditer(inspect.getsource(thing))}
    for field in dataclasses.fields(thing):
        if (match := written.get(field.name)) and not field.name.startswith("_"):
            told = f": {match['words']}" if match["words"] else ""
            optional = ", optional" if match["default"] else ""
            lines.append(f"- **{field.name}** (``{match['kind']}``{optional}){_plain(told)}")
    lines.append("")


def _plain(comment: str) -> str:
    """A comment as text of a docstring: nothing in it is markup."""
    return comment.replace("*", r"\*").replace('""', '``""``')


def setup(app: Sphinx) -> ExtensionMetadata:
    """Register all of it with autodoc."""
    app.setup_extension("sphinx.ext.autodoc")
    app.connect("autodoc-process-signature", sign)
    app.connect("autodoc-process-docstring", list_fields)
    app.connect("autodoc-skip-member", skip)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
