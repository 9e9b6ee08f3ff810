"""Tables of other papers, as awkward as they are printed: read as they stand, or refused with a cure."""

import time
from pathlib import Path

import numpy as np
import pytest

from lmmrec_core.audit.checks import banded, check_printed
from lmmrec_core.audit.printed import System, read_printed
from lmmrec_core.audit.relations import PrintedValue
from lmmrec_core.cli import main
from lmmrec_core.errors import DataError


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join([*lines, ""]), encoding="utf-8")
    return path


def test_a_wide_table_with_data_sets_in_its_heads(tmp_path: Path) -> None:
    """Facts of zhangbinbinya/DANCE: image/ExperimentResult.png, where one row cannot be right."""
    path = write(
        tmp_path / "t.csv",
        "model,Baby R@10,Baby R@20,Baby N@10,Baby N@20,Clothing R@10,Clothing R@20,Clothing N@10,Clothing N@20",
        "SLMRec (TMM'22),0.0529,0.0775,0.0290,0.0353,0.0452,0.0675,0.0247,0.0303",
        "MGCN (MM'23),0.0620,0.0964,0.0339,0.0427,0.0441,0.0945,0.0347,0.0428",
        "DANCE,0.0696*,0.1061*,0.0374*,0.0465*,0.0721*,0.1044*,0.0393*,0.0476*",
    )
    table = read_printed(path)
    assert len(table) == 6 and sum(map(len, table.values())) == 24
    assert table[System("Clothing", "DANCE")]["recall", 20].starred
    assert not table[System("Baby", "SLMRec (TMM'22)")]["recall", 20].starred
    (found,) = [finding for finding in check_printed(table, "few") if finding.kind == "impossible"]
    assert found.rows == ("MGCN (MM'23) on Clothing",)
    assert {system.model for system, *_ in banded(table)} == {"SLMRec (TMM'22)"}
    assert not [finding for finding in check_printed(table) if finding.kind == "outside the band"]


def test_a_wide_table_of_percentages_with_holes_and_other_cutoffs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(
        tmp_path / "t.csv",
        "dataset,model,Hit Rate@5,recall_5,Recall@50,NDCG 5,nDCG@50,MAP@5",
        "Amazon Baby,VBPR,3.10,2.90,12.00,2.00,4.10,1.5",
        "Amazon Baby,BM3,-,2.95%,13.00,2.05,n/a,",
        "Amazon Baby,Odd,3.00,2.90,12.00,2.00,2.60,1.5",
    )
    table = read_printed(path, percent=True)
    assert table[System("Amazon Baby", "VBPR")]["recall", 50].number == PrintedValue(0.12, 0.00005)
    assert table[System("Amazon Baby", "BM3")]["recall", 5].number.value == pytest.approx(0.0295)
    assert (table.absent, table.unchecked) == (3, ["map@5"])
    assert main(["check-table", str(path), "--percent", "--held-out", "few"]) == 1
    out = capsys.readouterr().out
    assert "3 cells hold no number" in out and "no relation is known for map@5" in out
    assert "impossible (no ranking gives these numbers): 1" in out and "Odd on Amazon Baby" in out
    assert main(["check-table", str(path)]) == 1
    assert "value 3.10 is above 1; write a percentage as a share, 3.71 % as 0.0371, or say --percent" in (
        capsys.readouterr().err
    )


def test_a_long_table_with_a_dash_and_unknown_metrics(tmp_path: Path) -> None:
    path = write(
        tmp_path / "t.csv", "model,dataset,metric,value", "A,d,recall@20,0.08", "A,d,ndcg@20,-", "A,d,novelty@20,0.9"
    )
    table = read_printed(path)
    assert (table.absent, table.unchecked) == (1, ["novelty@20"])
    assert set(table[System("d", "A")]) == {("recall", 20), ("novelty", 20)}


def test_the_two_forms_of_one_table_are_read_alike(tmp_path: Path) -> None:
    wide = write(tmp_path / "w.csv", "model,dataset,system,R@10,N@10", "A,d,x,0.05,0.03*", "A,d,y,0.06,0.04")
    long = write(
        tmp_path / "l.csv", "model,dataset,system,metric,value,star", "A,d,x,recall@10,0.05,", "A,d,x,ndcg@10,0.03,*",
        "A,d,y,recall@10,0.06,", "A,d,y,ndcg@10,0.04,0",
    )  # fmt: skip
    numbers = [
        {
            system: {metric: (cell.number, cell.starred) for metric, cell in cells.items()}
            for system, cells in table.items()
        }
        for table in map(read_printed, (wide, long))
    ]
    assert numbers[0] == numbers[1]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["model,R@10", "A,0.05"], "line 1: no column 'dataset'; add one, or .*'Baby R@10'"),
        (["model,R@10,R@10", "A,0.05,0.06"], "two columns 'R@10'; name the data set too"),
        (["Method,dataset,R@10", "A,d,0.05"], "no column 'model'"),
        (["model,dataset,venue,R@10", "A,d,AAAI,0.05"], "unknown column 'venue'"),
        (["model,dataset,recal@10", "A,d,0.05"], "line 2: unknown metric 'recal@10'; did you mean recall@10"),
        (["model,dataset,metric,value", "A,d,ndgc@10,0.05"], "unknown metric 'ndgc@10'; did you mean ndcg@10"),
        (["model,dataset,R@10", "A,d,0,0479"], "line 2: more cells than heads; put text with commas in quotes"),
        (["model,dataset,R@10", 'A,d,"0,0479"'], "value '0,0479' is not a plain number .* write a point for the comma"),
        (["model,dataset,R@10", "A,d,**0.0479**"], "value '\\*\\*0.0479' is not a plain number"),
        (["model,dataset,R@10", "A,d,0.05", "A,d,0.06"], "line 3: A on d, R@10 is 0.06 here and 0.05 in line 2"),
        (["model,dataset,R@10", ",d,0.05"], "line 2: nothing in column 'model'"),
        (["model,dataset,R@0", "A,d,0.05"], "metric 'R@0' has no name and cutoff"),
    ],
)
def test_what_cannot_be_honoured_is_refused_with_a_cure(tmp_path: Path, lines: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_printed(write(tmp_path / "t.csv", *lines))


@pytest.mark.parametrize("cutoffs", [(5, 50), (1, 5, 10, 20, 50, 100)])
def test_wide_tables_of_random_rankings_raise_no_alarm(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], cutoffs: tuple[int, ...]
) -> None:
    rng = np.random.default_rng(11)
    heads = [f"{name}@{k}" for k in cutoffs for name in ("recall", "ndcg", "hit")]
    lines = []
    for model in range(6):
        ranks = rng.permutation(400)[:300] + 1  # of the one held-out item of 300 users
        values = [
            number for k in cutoffs
            for number in (np.mean(ranks <= k), np.mean((ranks <= k) / np.log2(ranks + 1)), np.mean(ranks <= k))
        ]  # fmt: skip
        lines.append(f"M{model},random," + ",".join(f"{100 * value:.2f}" for value in values))
    path = write(tmp_path / "t.csv", "model,dataset," + ",".join(heads), *lines)
    for held_out in ("one", "few", "any"):
        assert main(["check-table", str(path), "--percent", "--held-out", held_out]) == 0
        assert "impossible (no ranking gives these numbers): none" in capsys.readouterr().out


@pytest.mark.parametrize("piece", [" ", "a ", "a@", "Baby R@", "x:/|"])
def test_long_heads_and_metrics_take_no_time(tmp_path: Path, piece: str) -> None:
    long = "Baby R" + piece * (100_000 // len(piece))
    start = time.process_time()
    for lines in ([f"model,{long}", "A,0.1"], ["model,metric,value", f"A,{long},0.1"]):
        with pytest.raises(DataError):
            read_printed(write(tmp_path / "t.csv", *lines))
    assert time.process_time() - start < 2
