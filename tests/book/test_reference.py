"""The reference is read from the code: signatures in its words, fields with the comments beside them."""

import importlib
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lmmrec_core.flow import Catalogue, Split
from tests.book.source import ROOT


@pytest.fixture
def reference(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(ROOT / "book" / "_ext"))
    monkeypatch.delitem(sys.modules, "reference", raising=False)
    return importlib.import_module("reference")


@dataclass(frozen=True)
class Made:
    """Something."""

    plain: int
    told: tuple[str, ...] = ()  # one a user; "" and * mean nothing
    _hidden: int = 0  # of nobody's concern


def test_signatures_have_the_words_of_the_code(reference: Any) -> None:
    array = "~numpy.ndarray[tuple[~typing.Any, ...], ~numpy.dtype[~numpy.int64]]"
    assert reference.shorten(f"(n: {array}, path: ~pathlib.Path)") == "(n: IntArray, path: Path)"
    assert reference.shorten("(m: ~typing.Literal['visual', 'textual'] = 0.5)") == "(m: Modality = 0.5)"
    assert reference.shorten(None) is None


def test_fields_are_listed_with_their_comments(reference: Any) -> None:
    lines: list[str] = []
    reference.list_fields(None, "class", "Made", Made, None, lines)
    told = r"- **told** (``tuple[str, ...]``, optional): one a user; ``''`` and \* mean nothing".replace("''", '""')
    assert lines == ["- **plain** (``int``)", told, ""]
    for value in (Catalogue, Split):
        lines = []
        reference.list_fields(None, "class", "", value, None, lines)
        assert [line.split("**")[1] for line in lines if line] == list(value.__dataclass_fields__)


def test_what_is_no_value_keeps_its_signature(reference: Any) -> None:
    assert reference.sign(None, "class", "", Made, None, "(plain: int)", None) == ("", None)
    assert reference.sign(None, "class", "", Path, None, "(a: ~pathlib.Path)", "~pathlib.Path") == ("(a: Path)", "Path")
    assert reference.skip(None, "class", "model_config", None, False, None) is True
    assert reference.skip(None, "class", "other", None, False, None) is None
