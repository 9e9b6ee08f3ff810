"""Values of a notebook's parameters: names that nobody has are refused before a cell runs."""

from pathlib import Path

import pytest

from lmmrec_core.book.runner import Parameter, parameters_of, read_notebook
from lmmrec_core.book.values import check_values
from lmmrec_core.cli import main
from lmmrec_core.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
RQ3 = ROOT / "notebooks" / "04_rq3_modalities.ipynb"


@pytest.fixture(scope="module")
def declared() -> dict[str, Parameter]:
    return parameters_of(read_notebook(RQ3), RQ3.name)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"encoder": "resnet"}, "unknown encoder 'resnet'"),
        ({"encoder": "baseline"}, "no paradigm 'ETE' in track 'controls'; give paradigm too, one of none"),
        ({"paradigm": "PTT"}, "no paradigm 'PTT'"),
        ({"models": ["vbpr", "vbbr"]}, "unknown model 'vbbr'; did you mean 'vbpr'"),
        ({"anchors": ["fredom"]}, "did you mean 'freedom'"),
        ({"metric": "ndgc@20"}, "unknown metric 'ndgc'; did you mean 'ndcg'"),
        ({"models": [["vbpr"]]}, r"unknown model \['vbpr'\]"),
        ({"metric": "ndcg"}, "has no cutoff"),
        ({"metric": "recall@²"}, "has no cutoff"),
        ({"track": "control"}, "did you mean 'controls'"),
        ({"models": []}, "models names none"),
    ],
)
def test_a_name_that_nobody_has_is_refused(declared: dict[str, Parameter], values: dict[str, object], message: str):
    with pytest.raises(ConfigError, match=message):
        check_values(values, declared, RQ3.name)


def test_metrics_in_a_list_are_looked_at_one_by_one() -> None:
    dose = ROOT / "notebooks" / "12_alignment_dose.ipynb"
    declared = parameters_of(read_notebook(dose), dose.name)
    for given, message in (
        ([], "metrics names none"),
        (["ndcg@20", "ndgc@20"], "did you mean 'ndcg'"),
        (["ndcg"], "cut"),
    ):
        with pytest.raises(ConfigError, match=message):
            check_values({"metrics": given}, declared, dose.name)
    check_values({"metrics": ["recall@5", "ndcg@20"]}, declared, dose.name)


def test_names_that_there_are_pass(declared: dict[str, Parameter]) -> None:
    check_values({}, declared, RQ3.name)
    check_values({"encoder": "baseline", "paradigm": "none"}, declared, RQ3.name)
    check_values({"encoder": "vlmo", "metric": "recall@10", "models": ["vbpr"]}, declared, RQ3.name)


def test_a_notebook_of_no_track_may_mean_what_it_likes() -> None:
    check_values({"encoder": "resnet"}, {"encoder": Parameter("encoder", None, "'vgg'")}, "theirs.ipynb")


def test_the_command_refuses_before_it_executes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "out.ipynb"
    assert main(["book", "run", str(RQ3), str(target), "-p", "encoder=resnet"]) == 2
    assert "unknown encoder 'resnet'" in capsys.readouterr().err and not target.exists()
