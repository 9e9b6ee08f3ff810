"""What the checks find in printed tables, and that they find nothing in tables of random rankings."""

import re
import time
from importlib.resources import files
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmmrec_core.audit.anchors import BAND_MARGIN, published_band, published_bands, read_anchors
from lmmrec_core.audit.checks import FINDINGS, Finding, check_printed
from lmmrec_core.audit.printed import PrintedTable, System, read_printed
from lmmrec_core.audit.relations import PrintedValue, broken_relations, slope_limits
from lmmrec_core.cli import main
from lmmrec_core.cli.arguments import CHECK_TABLE_FORM
from lmmrec_core.errors import ConfigError, DataError
from lmmrec_core.metrics.evaluate import evaluate_lists
from lmmrec_core.names import MODEL_TITLES
from tests.metrics.splits import random_lists, random_split

HEADER = "model,dataset,system,metric,value,star"


def write(path: Path, lines: list[str], header: str = HEADER) -> Path:
    path.write_text("\n".join([header, *lines, ""]), encoding="utf-8")
    return path


def paper_table(number: int, folder: Path) -> Path:
    """Table 3 or 4 of the paper in the form that the command reads."""
    source = files("lmmrec_core.report") / "published" / f"table{number}.csv"
    frame = pd.read_csv(str(source), dtype=str, keep_default_na=False)
    frame["system"] = frame["encoder"] + frame["paradigm"].map(lambda name: "" if name == "none" else f"-{name}")
    frame["metric"] += "@" + frame["k"]
    columns = {"starred": "star"}
    path = folder / f"table{number}.csv"
    frame.rename(columns=columns)[HEADER.split(",")].to_csv(path, index=False)
    return path


def of_kind(table: PrintedTable, kind: str, **options: str) -> list[Finding]:
    return [finding for finding in check_printed(table, **options) if finding.kind == kind]


# --- the paper's tables


def test_nine_of_135_printed_quadruples_are_impossible(tmp_path: Path) -> None:
    tables = [read_printed(paper_table(number, tmp_path)) for number in (3, 4)]
    assert [len(table) for table in tables] == [45, 90]
    rows = [[finding.rows[0] for finding in of_kind(table, "impossible", held_out="few")] for table in tables]
    assert [len(found) for found in rows] == [3, 6]
    for table, found in zip(tables, rows, strict=True):  # without a word on the data it is a question
        assert of_kind(table, "impossible") == []
        assert [finding.rows[0] for finding in of_kind(table, "impossible if few")] == found
    assert {row.replace("VLMo on", "VLMo-PT on").replace("CLIP on", "CLIP-PT on") for row in rows[0] + rows[1]} == {
        "SLMRec CLIP-ETE on sports",
        "LATTICE VLMo-PT on clothing",
        *(f"MMGCN {encoder}-{paradigm} on clothing" for encoder in ("VLMo", "CLIP") for paradigm in ("PT", "FT")),
    }


def test_with_one_held_out_item_four_more_rows_are_too_steep(tmp_path: Path) -> None:
    tables = [read_printed(paper_table(number, tmp_path)) for number in (3, 4)]
    few, one = (
        {finding.rows[0] for table in tables for finding in of_kind(table, "impossible", held_out=word)}
        for word in ("few", "one")
    )
    assert one - few == {
        "SLMRec VLMo-FT on baby", "SLMRec CLIP-FT on baby", "LATTICE VLMo-FT on baby", "LATTICE baseline on sports",
    }  # fmt: skip


def test_stars_of_table_3_mark_33_falls(tmp_path: Path) -> None:
    found = of_kind(read_printed(paper_table(3, tmp_path)), "worse with a star")
    assert len(found) == 33
    assert sum("LATTICE" not in finding.rows[0] for finding in found) == 9


def test_lattice_end_to_end_is_the_same_system_with_either_encoder(tmp_path: Path) -> None:
    (found,) = of_kind(read_printed(paper_table(4, tmp_path)), "alike")
    assert set(found.rows) == {"LATTICE VLMo-ETE", "LATTICE CLIP-ETE"}
    assert found.text == "4 of 12 numbers equal, the others at most 0.0003 apart"


def test_baselines_far_from_published_ones(tmp_path: Path) -> None:
    found = of_kind(read_printed(paper_table(3, tmp_path)), "outside the band")
    assert {finding.rows[0] for finding in found} == {
        "VBPR baseline on baby", "VBPR baseline on clothing", "MMGCN baseline on sports", "MMGCN baseline on clothing",
    }  # fmt: skip


def test_the_command_prints_the_findings_and_ends_with_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(paper_table(4, tmp_path))
    assert main(["check-table", path]) == 0
    out = capsys.readouterr().out
    assert "held-out items of a user: not said" in out and "impossible (no ranking gives these numbers): none" in out
    assert "impossible if few (possible only if users have more held-out items than the smaller cutoff): 6" in out
    assert main(["check-table", path, "--held-out", "few"]) == 1
    out = capsys.readouterr().out
    assert "360 numbers in 90 rows" in out
    assert "impossible (no ranking gives these numbers): 6" in out
    assert "SLMRec CLIP-ETE on sports\n    from 10 to 20 NDCG grows by 0.0046, Recall by 0.0337" in out
    assert all(f"\n{kind} (" in out for kind in FINDINGS)


# --- single relations


def row(**values: str) -> dict[tuple[str, int], PrintedValue]:
    """``row(recall10="0.05")`` → the printed number of Recall@10."""
    found = {name: re.fullmatch(r"([a-z]+)(\d+)", name) for name in values}
    return {(match[1], int(match[2])): PrintedValue.parse(values[name]) for name, match in found.items() if match}


def test_the_limits_of_the_slope_are_those_of_hits_at_the_last_and_first_rank() -> None:
    assert slope_limits(10, 20) == (pytest.approx(0.22767, abs=5e-6), pytest.approx(0.27894, abs=5e-6))
    assert slope_limits(1, 2) == (pytest.approx(0.63093, abs=5e-6),) * 2


def test_our_own_rankings_are_possible() -> None:
    rng = np.random.default_rng(2)
    split = random_split(rng)
    frame, _ = evaluate_lists(random_lists(split, rng), np.arange(split.n_users), split, "test")
    exact = {(m, k): PrintedValue(float(frame[f"{m}@{k}"].mean()), 0.0) for m in ("recall", "ndcg") for k in (10, 20)}
    assert broken_relations(exact) == []
    assert broken_relations({**exact, ("recall", 20): PrintedValue(exact["recall", 10].value - 0.01, 0.0)}) != []


@pytest.mark.parametrize(
    ("values", "held_out", "words"),
    [
        ({"recall10": "0.0500", "recall20": "0.0499"}, "any", "Recall@20 0.0499 is below Recall@10 0.05"),
        ({"hit5": "0.10", "hit50": "0.09"}, "any", "Hit@50 0.09 is below Hit@5 0.1"),
        ({"ndcg10": "0.0300", "ndcg20": "0.0299"}, "few", "NDCG@20"),
        ({"recall10": "0.0500", "ndcg10": "0.0100"}, "any", "less than if every hit were at rank 10"),
        ({"recall10": "0.0500", "ndcg10": "0.0502"}, "one", "more than if every hit were at rank 1"),
    ],
)
def test_a_broken_relation_is_named(values: dict[str, str], held_out: str, words: str) -> None:
    (text,) = broken_relations(row(**values), held_out)
    assert words in text


@pytest.mark.parametrize(
    ("values", "held_out"),
    [
        ({"recall10": "0.0500", "recall20": "0.05"}, "any"),
        ({"recall10": "0.0512", "recall20": "0.051"}, "any"),  # printed with fewer digits
        ({"ndcg10": "0.0300", "ndcg20": "0.0299"}, "any"),  # the ideal grows where users have many held-out items
        ({"recall10": "0.0500", "ndcg10": "0.0502"}, "few"),
        ({"recall10": "0.0500", "ndcg10": "0.0501"}, "one"),  # rounding
    ],
)
def test_what_may_be_is_not_reported(values: dict[str, str], held_out: str) -> None:
    assert broken_relations(row(**values), held_out) == []


def test_a_held_out_word_is_checked() -> None:
    with pytest.raises(ConfigError, match="did you mean 'few'"):
        broken_relations({}, "fewer")


# --- random rankings


def random_row(
    rng: np.random.Generator, users: int, most: int, cutoffs: tuple[int, ...]
) -> dict[tuple[str, int], float]:
    """Recall, hit rate and NDCG of random rankings of 60 items, with up to ``most`` held-out items per user."""
    values: dict[tuple[str, int], list[float]] = {}
    for _ in range(users):
        n = int(rng.integers(1, most + 1))
        relevant = np.zeros(60)
        # held-out items come early for some users, late for others
        start, width = int(rng.integers(0, 60 - n + 1)), int(rng.integers(n, 61))
        places = np.arange(start, min(60, start + width))
        relevant[rng.choice(places if len(places) >= n else np.arange(60), size=n, replace=False)] = 1
        discounts = 1 / np.log2(np.arange(60) + 2)
        for k in cutoffs:
            hits = relevant[:k]
            ideal = discounts[: min(n, k)].sum()
            values.setdefault(("recall", k), []).append(hits.sum() / n)
            values.setdefault(("hit", k), []).append(float(hits.any()))
            values.setdefault(("ndcg", k), []).append(float((hits * discounts[:k]).sum() / ideal))
    return {name: float(np.mean(column)) for name, column in values.items()}


CASES = [("one", 1, (1, 5, 10, 20)), ("few", 1, (1, 10, 20)), ("few", 5, (5, 10, 50)), ("few", 10, (10, 20)),
         ("any", 40, (1, 5, 10, 20, 50))]  # fmt: skip


@pytest.mark.parametrize(("held_out", "most", "cutoffs"), CASES, ids=str)
@settings(max_examples=40, derandomize=True, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), users=st.integers(1, 40), decimals=st.sampled_from([4, 4, 3, 2]))
def test_tables_of_random_rankings_raise_no_alarm(
    held_out: str, most: int, cutoffs: tuple[int, ...], seed: int, users: int, decimals: int
) -> None:
    rng = np.random.default_rng(seed)
    for _ in range(4):
        means = random_row(rng, users, most, cutoffs)
        printed = {name: PrintedValue.parse(f"{value:.{decimals}f}") for name, value in means.items()}
        assert broken_relations(printed, held_out) == []


def test_numbers_of_two_rankings_do_raise_one() -> None:
    """The relations are sharp enough to notice a column that comes from elsewhere."""
    rng = np.random.default_rng(5)
    found = 0
    for _ in range(100):
        a, b = (random_row(rng, 40, 1, (10, 20)) for _ in range(2))
        mixed = {name: (b if name == ("ndcg", 20) else a)[name] for name in a}
        found += bool(broken_relations({k: PrintedValue.parse(f"{v:.4f}") for k, v in mixed.items()}, "one"))
    assert found > 50


def test_a_random_table_passes_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(3)
    lines = [
        f"M{model},random,,{name}@{k},{value:.4f},"
        for model in range(5)
        for (name, k), value in random_row(rng, 300, 6, (10, 20)).items()
    ]
    assert main(["check-table", str(write(tmp_path / "random.csv", lines))]) == 0
    assert capsys.readouterr().out.count(": none") == len(FINDINGS)


# --- reading


def test_short_names_a_repeated_number_and_a_star_are_read(tmp_path: Path) -> None:
    lines = ["A,d,,R@10,0.0310,", "A,d,,recall@10,0.0310,*", "A,d,,N@20,.02,0"]
    table = read_printed(write(tmp_path / "t.csv", lines))
    cells = table[System("d", "A")]
    assert cells["recall", 10].number == PrintedValue(0.031, 0.00005)
    assert cells["recall", 10].starred and not cells["ndcg", 20].starred


def test_repeated_rows_are_found(tmp_path: Path) -> None:
    def found(**values: str) -> list[Finding]:
        lines = [f"{model},d,,{name[:-2]}@{name[-2:]},{value}," for model in "AB" for name, value in values.items()]
        return of_kind(read_printed(write(tmp_path / "t.csv", lines)), "repeated")

    (finding,) = found(recall10="0.0512", recall20="0.0810", ndcg10="0.0321")
    assert finding.rows == ("A on d", "B on d") and finding.text == "the same 3 numbers"
    assert found(recall10="0.05", recall20="0.08", ndcg10="0.03") == []  # that few digits may be equal by chance


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["A,d,,recall@10,3.71,"], "line 2: value 3.71 is above 1; write a percentage as a share"),
        (["A,d,,recall@10,0.1,", "A,d,,recall,0.1,"], "line 3: metric 'recall' has no name and cutoff"),
        (["A,d,,recall@10,0.0371*,"], "line 2: value '0.0371\\*' is not a plain number"),
        (["A,d,,recall@10,0.1,maybe"], "line 2: star 'maybe' is not understood"),
        (["A,d,,recall@10,0.1,", "A,d,,R@10,0.2,"], "line 3: A on d, R@10 is 0.2 here and 0.1 in line 2"),
        (["A,,,recall@10,0.1,"], "line 2: nothing in column 'dataset'"),
        ([], "has a header and no rows"),
    ],
)
def test_what_cannot_be_read_is_named_with_its_line(tmp_path: Path, lines: list[str], message: str) -> None:
    with pytest.raises(DataError, match=f"t.csv.*{message}"):
        read_printed(write(tmp_path / "t.csv", lines))


@pytest.mark.parametrize(
    ("header", "message"),
    [("model,dataset,metrics,value", "no column 'metric'; rename 'metrics'"),
     ("model,dataset,metric,value,colour", "unknown column 'colour'"),
     ("model,dataset,metric,value,value", "two columns 'value'; rename or remove one"),
     ("model,model,dataset,r@10", "two columns 'model'; rename or remove one")],
)  # fmt: skip
def test_a_wrong_header_is_named(tmp_path: Path, header: str, message: str) -> None:
    with pytest.raises(DataError, match=f"line 1: {message}"):
        read_printed(write(tmp_path / "t.csv", ["A,d,recall@10,0.1"], header))


def test_a_file_or_reference_that_is_not_there_is_told_in_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check-table", str(tmp_path / "none.csv")]) == 1
    assert "none.csv: cannot be read" in capsys.readouterr().err
    path = write(tmp_path / "t.csv", ["A,d,own,recall@10,0.1,"])
    assert main(["check-table", str(path), "--reference", "base"]) == 1
    assert "no row is of system 'base'; the column 'system' has: own" in capsys.readouterr().err


# --- anchors


def test_every_anchor_has_a_source_and_a_known_model() -> None:
    anchors = read_anchors()
    assert (anchors != "").all(axis=None)
    assert set(anchors["model"]) <= set(MODEL_TITLES)
    assert anchors["source"].str.contains(r"^[\w-]+/[\w-]+ at [0-9a-f]{7}: |^www\.nature\.com/articles/[\w-]+/").all()
    assert set(anchors["dataset"]) == {"baby", "sports", "clothing"}
    assert anchors["value"].between(0, 0.2).all()
    assert not anchors.duplicated(["model", "dataset", "metric", "source"]).any()


def test_the_help_names_every_data_set_with_anchors() -> None:
    named = CHECK_TABLE_FORM[CHECK_TABLE_FORM.index("The published band") :]
    assert all(f'("{dataset}")' in named or f'dataset "{dataset}"' in named for dataset in read_anchors()["dataset"])


def test_anchors_are_themselves_possible() -> None:
    for _, group in read_anchors().groupby(["model", "dataset", "source"]):
        names = [(name, int(k)) for name, _, k in group["metric"].str.partition("@").to_numpy()]
        values = [PrintedValue.parse(f"{value:.4f}") for value in group["value"]]
        assert broken_relations(dict(zip(names, values, strict=True))) == []


def test_a_band_holds_every_published_value() -> None:
    assert published_band("mmgcn", "sports", "recall@10") == pytest.approx(
        (0.0370 * (1 - BAND_MARGIN), 0.0384 * (1 + BAND_MARGIN))
    )
    assert published_band("mmgcl", "baby", "recall@10") is None
    assert published_band("vbpr", "nowhere", "recall@10") is None
    anchors, bands = read_anchors(), published_bands()
    both = anchors.merge(bands, left_on=["dataset", "model", "metric"], right_index=True)
    assert len(both) == len(anchors) == bands["sources"].sum()
    assert both["value"].between(both["low"], both["high"]).all()


def test_clothing_and_mmgcl_have_anchors() -> None:
    assert published_band("slmrec", "clothing", "ndcg@10") == pytest.approx((0.0247 * 0.9, 0.0247 * 1.1))
    assert published_band("mmgcl", "sports", "ndcg@20") == pytest.approx((0.0409 * 0.9, 0.0409 * 1.1))
    assert published_band("vbpr", "clothing", "recall@20") == pytest.approx((0.0415 * 0.9, 0.0481 * 1.1))


def test_thousands_of_rows_are_checked_in_seconds(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    lines = [f"M{n},a,{r:.4f},{r / 2:.4f},{r + 0.2:.4f},{r / 2 + 0.05:.4f}" for n, r in enumerate(rng.random(3998) / 2)]
    lines += ["X,a,0.1113,0.0517,0.2219,0.0791", "Y,a,0.1113,0.0517,0.2219,0.0791"]
    table = read_printed(write(tmp_path / "t.csv", lines, "model,dataset,R@10,N@10,R@20,N@20"))
    start = time.process_time()
    check_printed(table)
    assert time.process_time() - start < 10
    small = read_printed(write(tmp_path / "s.csv", lines[-8:], "model,dataset,R@10,N@10,R@20,N@20"))
    assert [finding.rows for finding in of_kind(small, "repeated")] == [("X on a", "Y on a")]


def test_of_many_equal_rows_each_is_named_with_the_first(tmp_path: Path) -> None:
    lines = [f"M{n:02},a,0.1113,0.0517,0.2219" for n in range(30)]
    found = of_kind(read_printed(write(tmp_path / "t.csv", lines, "model,dataset,R@10,N@10,R@20")), "repeated")
    assert [finding.rows for finding in found] in ([], [("M00 on a", f"M{n:02} on a") for n in range(1, 30)])
