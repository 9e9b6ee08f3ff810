"""The page of speeds shows what the records say, and says in words what they lack."""

import json

import pytest

from lmmrec_core.errors import ConfigError
from lmmrec_core.recommenders import RECOMMENDERS
from lmmrec_core.report.html import Sentence
from lmmrec_core.report.labels import model_name
from lmmrec_core.report.speed import SpeedPage

MADE = {"machine": {"cpu": "A processor"}, "commit": "0123456789"}


def entry(epoch, evaluation, gib, whole=True):
    return {"epoch_seconds": epoch, "whole_epoch": whole, "evaluation_seconds": evaluation, "peak_bytes": gib * 2**30,
            "clock": "a clock", "provenance": MADE}  # fmt: skip


def size(users, items, interactions):
    return {"users": users, "items": items, "train": interactions - 20, "valid": 10, "test": 10}


@pytest.fixture
def folder(tmp_path):
    growth = {
        "sizes": {"baby": size(100, 50, 1000), "electronics": size(1000, 500, 10_000)},
        "models": {
            "baby": {"vbpr": entry(2.0, 1.0, 1), "bpr": entry(1.0, 1.0, 1), "ease": {**entry(0, 3.0, 1)}},
            "electronics": {"bpr": entry(10.0, 100.0, 2), "vbpr": entry(40.0, 10.0, 4, whole=False),
                            "ease": {"refused": "too many items"}},
        },
    }  # fmt: skip
    for entries in growth["models"].values():
        entries["ease"].pop("epoch_seconds", None)
    (tmp_path / "growth.json").write_text(json.dumps(growth))
    return tmp_path


def cells(shown):
    return {row.iloc[0]: row.iloc[1:].to_dict() for _, row in shown.numbers.iterrows()}


def test_seconds_memory_and_refusals_by_size(folder):
    page = SpeedPage.open(folder)
    seconds, memory = cells(page.seconds()), cells(page.memory())
    assert seconds["VBPR"]["Baby, epoch"] == "2.00" and seconds["VBPR"]["Electronics, epoch"] == "~40.0"
    assert seconds["BPR"]["Electronics, evaluation"] == "100"
    assert seconds["EASE"]["Electronics, epoch"] == "" and memory["VBPR"]["Electronics"] == "4.00"
    assert page.refusals() == "- EASE at the size of Electronics: too many items"
    assert "drawn" not in page.in_words()
    page.records["growth"]["models"]["baby"]["bpr"]["neighbours"] = "drawn after the first blocks"
    assert "For BPR at the size of Baby, item graphs were searched in their first blocks only" in page.in_words()
    assert "1 of 5 epochs were broken off" in page.in_words() and "largest peak is 4.0 GiB" in page.in_words()


def test_slopes_are_exponents_between_the_smallest_and_the_largest(folder):
    slopes = SpeedPage.open(folder).slopes()
    assert slopes.loc["bpr", "epoch"] == pytest.approx(1.0)  # ten times the rows, ten times the seconds
    assert slopes.loc["bpr", "evaluation"] == pytest.approx(1.0)  # a hundred times the pairs
    assert slopes.loc["vbpr", "epoch"] == pytest.approx(1.30103) and slopes.loc["vbpr", "evaluation"] == pytest.approx(
        0.5
    )
    assert "ease" not in slopes.index
    assert "in 1 of 2 models; not in VBPR." in SpeedPage.open(folder).in_words()


def test_without_records_the_page_says_so(tmp_path):
    page = SpeedPage.open(tmp_path)
    shown = (page.sizes(), page.seconds(), page.memory(), page.growth(), page.at_baby(), page.beside_the_toolbox(),
             page.encoders(), page.updates())  # fmt: skip
    assert all(isinstance(table, Sentence) for table in shown)
    for words in (page.in_words(), page.machines(), page.toolbox_conditions()):
        assert words.startswith("Not measured yet")
    assert page.refusals() == "" and "not run" in page.growth_figure().axes[0].texts[0].get_text()
    with pytest.raises(ConfigError, match="in the repository only"):
        SpeedPage.open(tmp_path / "none")


def test_the_page_shows_the_numbers_of_the_committed_records(root):
    page, folder = SpeedPage.open(), root / "benchmarks"
    growth = json.loads((folder / "growth.json").read_text())
    seconds = cells(page.seconds())
    for name, title in (("baby", "Baby"), ("electronics", "Electronics")):
        for model in RECOMMENDERS:
            measured = growth["models"][name].get(model, {}).get("epoch_seconds")
            shown = seconds.get(model_name(model), {}).get(f"{title}, epoch", "").removeprefix("~")
            assert (float(shown) == pytest.approx(measured, rel=0.01, abs=0.005)) if measured else shown == ""
    toolbox = cells(page.beside_the_toolbox())
    assert toolbox["LATTICE"]["epoch, times"] == "22.2" and toolbox["BPR"]["evaluation, times"] == "8.0"
    assert "is missed by BPR, VBPR, FREEDOM, BM3, SLMRec, MMGCN" in page.toolbox_conditions()
    speed = json.loads((folder / "speed.json").read_text())
    rehearsal = json.loads((folder / "rehearsal.json").read_text())
    at_baby = cells(page.at_baby())
    assert at_baby["VBPR"]["CPU, s per epoch"] == f"{speed['models']['vbpr']['epoch_seconds']:.2f}"
    assert at_baby["VBPR"]["GPU, s per epoch"] == f"{rehearsal['parts']['recommenders']['vbpr']['epoch_seconds']:.2f}"
    assert (
        rehearsal["machine"]["gpu"]["name"] in page.machines() and speed["provenance"]["commit"][:7] in page.machines()
    )
    update = rehearsal["parts"]["update"]["clip-b16, fp32, chunk 64"]
    (row,) = [r for r in page.encoders().numbers.to_dict("records") if (r["encoder"], r["on"], r["precision"],
              r["items at once"]) == ("clip-b16", "GPU", "fp32", "64")]  # fmt: skip
    assert row["ms per item"] == f"{1000 * update['update_seconds_per_item']:.2f}"
    assert row["peak, GiB"] == f"{update['peak_bytes'] / 2**30:.2f}"
    assert len(page.growth_figure().axes[0].lines) >= 2  # a model at two sizes, and the line of proportion
