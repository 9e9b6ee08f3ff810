"""The notebooks that belong to no track: audit, public code, calibration, verdicts, the abstract."""

from html import escape
from pathlib import Path

import pytest

from lmmrec_core.audit.ledger import read_ledger
from lmmrec_core.book.pages import pages
from lmmrec_core.errors import ConfigError
from lmmrec_core.report.abstract import ABSTRACT
from lmmrec_core.report.rule import read_rule
from lmmrec_core.results.provenance import code_now
from lmmrec_core.study import Study
from lmmrec_core.study.calibration.files import add_line, part_path
from lmmrec_core.study.calibration.worlds import worlds_of
from lmmrec_core.study.declared.track_file import read_track
from tests.book.executing import execute, synthetic
from tests.study.calibration.conftest import made_line

ROOT = Path(__file__).resolve().parents[2]
SHARED = [page.source for page in pages(ROOT, ["shared"])]
_NAMES = ("06_audit", "07_public_code", "08_calibration", "09_verdicts", "10_abstract", "14_speed")
AUDIT, PUBLIC_CODE, CALIBRATION, VERDICTS, ON_TRIAL, SPEED = (ROOT / "notebooks" / f"{name}.ipynb" for name in _NAMES)


def test_the_audit_shows_every_claim_and_every_impossible_system(glued: dict) -> None:
    shown = execute(AUDIT, None)["shown"]
    assert glued["verdict"].startswith("27 claims: 6 hold, 1 hold roughly")
    assert "9 of 135 printed quadruples" in shown["verdict"] and "33 of 36 cells" in shown["verdict"]
    assert (
        glued["verdicts"].to_html().count('<th id="T_verdicts') in (0, 27 + 6)
        and "83/120" in glued["verdicts"].to_html()
    )
    assert shown["impossible"].count("Amazon") == 6 and "0.0489" in shown["impossible"]
    assert "0.001173" in shown["counts"] and ">inside<" not in shown["bands-outside"]
    assert "MMGCN" in shown["bands-outside"] and "4 of 12" in shown["gaps"]
    assert all("nan" not in text.lower() for text in shown.values())


def test_with_other_held_out_items_the_audit_counts_otherwise(glued: dict) -> None:
    assert "0 of 135 printed quadruples" in execute(AUDIT, None, held_out="any")["shown"]["verdict"]


def test_the_ledger_shows_every_difference_or_those_of_one_part(glued: dict) -> None:
    shown = execute(PUBLIC_CODE, None)["shown"]
    names = [difference.name for difference in read_ledger().differences]
    assert all(any(f">{escape(name)}<" in text for text in shown.values()) for name in names)
    one = execute(PUBLIC_CODE, None, part="MMGCN")["shown"]
    assert "ids and preferences" in one["mmgcn"] and one["lattice"] == one["data-evidence"] == ""
    with pytest.raises(ConfigError, match="did you mean 'MMGCN'"):
        execute(PUBLIC_CODE, None, part="MMGC")


@pytest.mark.parametrize(
    ("track", "dataset", "words"),
    [("paper", "baby", ("supports", "contradicts")), ("films", "ml-sparse", ("transfers", "does not transfer"))],
)
def test_a_page_gives_words_with_their_evidence_on_real_data(
    track: str, dataset: str, words: tuple[str, str], glued: dict, empty_study: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = synthetic(dataset)
    monkeypatch.setattr(Study, "results", lambda self, question=None: runs)
    space = execute(ROOT / "notebooks" / "01_motivation.ipynb", track, seeds=[1, 2])
    judged = space["judged"][space["judged"]["outcome"] != "absent"]
    assert set(judged["dataset"]) == {dataset} and set(judged["model"]) == {"lattice"}
    assert set(judged["word"]) <= {*words, "inconclusive"}
    shown = space["shown"]
    assert all(text in shown["judged"] for text in ("detectable", "persons", "because"))
    assert "the printed changes are true" in shown["characteristics"] and "lead needed" in shown["claims"]
    assert read_rule().digest in shown["verdict-whole"]


def test_the_page_of_the_rule_states_it_and_what_it_would_say(glued: dict) -> None:
    shown = execute(VERDICTS, None, draws=500)["shown"]
    assert glued["verdict"] == read_rule().digest and read_rule().digest in shown["rule"]
    for page in ("characteristics", "elsewhere"):
        assert shown[page].count("nothing exists") == 12  # four questions, three sizes
    assert "with a correlation of 0.4" in shown["shared-users"]
    assert "does not transfer" in shown["elsewhere"] and "contradicts" in shown["characteristics"]
    assert "% at most" in shown["verdict"] and read_rule().history[0].digest in shown["history"]


def test_without_any_world_the_calibration_says_not_run(glued: dict, empty_study: None) -> None:
    shown = execute(CALIBRATION, None)["shown"]
    listings = {name for name in shown if not name.startswith("redone")}
    listings -= {"open", "stored", "bars", "p-value-figure", "power-figure", "verdict"}
    assert {shown[name] for name in listings} == {"*Not run yet: `make calibrate`.*"} and len(listings) == 14
    assert shown["bars"].count(">not run<") == 2 * 4 and shown["verdict"].count("not run") == 6
    assert "0 null worlds, 0 planted worlds, 0 power worlds, 0 capacity worlds, 0 pairs" in shown["stored"]
    assert {glued[f"{name}_rate"] for name in ("null", "aa", "aa_worlds")} == {"not run"}
    with pytest.raises(ConfigError, match="did you mean 'ndcg@20'"):
        execute(CALIBRATION, None, metric="ndcg@10")


def test_what_worlds_say_reaches_the_calibration(glued: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LMMREC_HOME", str(tmp_path))
    track = read_track("controls")
    for part, gain in (("null", 0.0), ("planted", 0.3), ("power", 0.05), ("capacity", 0.2)):
        for world in worlds_of(part, 4):
            add_line(part_path(tmp_path / "results", part), made_line(world, track, gain), code_now())
    space = execute(CALIBRATION, None)
    shown, page = space["shown"], space["page"]
    assert "4 null worlds, 8 planted worlds, 20 power worlds, 4 capacity worlds" in shown["stored"]
    assert "holds, too few yet" in shown["bars"] and "100.0 %" in shown["bars"]
    assert "too few yet" in shown["bars"]  # four worlds are not 200
    assert shown["null-rates"].count("LATTICE") == 2 and shown["divisions"].count("<tr>") == 4
    assert "VBPR: baseline real / T shuffled" in shown["planted"] and "Redundant" in shown["planted"]
    assert page.curve["content"].tolist() == [0.0, 0.05, 0.1, 0.2, 0.4, 1.0, 1.0]
    assert shown["capacity"].count("MMGCN") == 3 and shown["against-itself-worlds"].count("<tr>") == 7
    assert (glued["null_worlds"], glued["power_complementary"], glued["aa_worlds_pairs"]) == ("4", "100.0 %", "48")
    assert [axes.get_xlabel() for axes in page.power().axes] == ["planted effect"]
    labels = [text.get_text() for text in page.null_figure().axes[0].get_legend().get_texts()]
    assert labels == ["a right test, 95 %", "users and seeds (the book)", "users only"]
    assert all("nan" not in text.lower() for text in shown.values())


def test_without_runs_the_abstract_is_held_against_print_alone(glued: dict, empty_study: None) -> None:
    shown = execute(ON_TRIAL, None)["shown"]
    table, figure = glued["trial"].to_html(), glued["story"].to_html()
    # controls but for what was not planted, films in one cell, the paper's
    assert table.count(">not run<") == 4 + 5 + 5
    assert table.count(">no verdict<") == 1 and table.count('colspan="4"') == 1 + 5
    assert ">holds in some readings<" in table and ">holds<" in table and "; needs " in table
    assert figure.count("<svg") == 3 and figure.count('class="mark') == 0 and "printed +" in figure
    assert all("nan" not in text.lower() for text in (table, figure, *shown.values()))
    with pytest.raises(ConfigError, match="did you mean 'ndcg@20'"):
        execute(ON_TRIAL, None, metric="ndcg@2")


def test_runs_reach_the_abstract(glued: dict, empty_study: None, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = {"controls": synthetic("complementary"), "films": synthetic("ml-sparse"), "paper": synthetic("baby")}
    monkeypatch.setattr(Study, "results", lambda self, question=None: runs[self.track.name])
    shown = execute(ON_TRIAL, None)["shown"]
    table, figure = glued["trial"], glued["story"]
    words = table.numbers.set_index(["claim", "data"])["verdict"]
    first, last = (claim.words for claim in (ABSTRACT[0], ABSTRACT[-1]))
    pages = (ROOT / "notebooks" / f"{name}.ipynb" for name in ("01_motivation", "04_rq3_modalities"))
    there, made = (execute(path, track)["answer"] for path, track in zip(pages, ("films", "controls"), strict=True))
    assert list(there.apart) == ["ML-sparse", "ML-dense", "MT-sparse", "MT-full"]
    for place, verdict in there.apart.items():  # the front page says what the pages say
        assert words[first, place] == verdict.status == "not run"
    assert words[last, "Controls"] == made.status
    assert made.basis.removeprefix("planted: ").partition(" comparisons")[0] in table.to_html()
    assert "planted gain: +" in figure.description and 'class="mark gain"' in figure.to_html()
    assert "Controls" in shown["verdict"]


def test_the_page_of_speeds_shows_the_records_or_says_that_there_are_none(glued: dict, tmp_path: Path) -> None:
    shown = execute(SPEED, None)["shown"]
    assert "Electronics" in shown["seconds"] and "MMGCN" in shown["memory"] and "NVIDIA" in shown["machines"]
    assert "toolbox, s per epoch" in shown["toolbox"] and "~" in shown["seconds"] + "~"
    bare = execute(SPEED, None, records=str(tmp_path))["shown"]
    assert "Not measured yet" in bare["seconds"] and "Not measured yet" in bare["open"]
