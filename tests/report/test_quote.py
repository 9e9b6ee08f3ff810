import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from myst_nb import glue

from lmmrec_core.errors import ResultError
from lmmrec_core.report import quote as quoting
from lmmrec_core.report.quote import quotable, quote, show
from lmmrec_core.report.tables import printed_table5


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.float64(0.5), 0.5),
        (np.int64(3), 3),
        (np.float32(0.25), 0.25),
        (7, 7),
        ("not run", "not run"),
        (np.str_("a"), "a"),
    ],
)
def test_scalars_become_plain(value: Any, expected: Any) -> None:
    result = quotable("x", value)
    assert result == expected
    assert type(result) is type(expected)


@pytest.mark.parametrize("value", [math.nan, np.float64("nan"), math.inf, None, True, [1.0], np.array([1.0, 2.0])])
def test_what_is_no_number_is_refused_by_name(value: Any) -> None:
    with pytest.raises(ResultError, match="'gain'"):
        quotable("gain", value)


def test_glue_gets_plain_values_and_styled_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    glued: dict[str, tuple[Any, bool]] = {}
    monkeypatch.setattr(
        "lmmrec_core.report.quote._glue", lambda name, value, display=True: glued.update({name: (value, display)})
    )
    quote("gain", np.float64(0.5))
    show("table5", printed_table5())
    assert glued["gain"] == (0.5, False)
    assert type(glued["gain"][0]) is float
    assert "0.0467" in glued["table5"][0].to_html()


@pytest.mark.parametrize("display", [True, False])
@pytest.mark.parametrize("value", [0.5, "not run", pd.DataFrame({"a": [1]})], ids=["number", "words", "table"])
def test_what_is_kept_is_what_myst_nb_keeps(value: Any, display: bool) -> None:
    shown = []
    InteractiveShell.instance()
    for keep in (quoting._glue, glue):
        with capture_output() as caught:
            keep("name", value, display)
        (output,) = caught.outputs
        shown.append((output.data, output.metadata))
    assert shown[0] == shown[1] and shown[0][1]["scrapbook"]["name"] == "name"
